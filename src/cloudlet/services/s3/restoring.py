"""RestoreObject: archived objects made readable for some days. Nothing is ever far away here, so it takes no time.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html
"""

from email.utils import formatdate
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3 import notifications, versions
from cloudlet.services.s3.access.decision import present
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.metadata import require_key
from cloudlet.services.s3.notifications import cause_of, time_text
from cloudlet.services.s3.records import About, Bucket
from cloudlet.services.s3.service import (
    InvalidArgument,
    InvalidObjectState,
    MalformedXml,
    NotImplementedHere,
    object_arns,
    s3,
)
from cloudlet.services.s3.versions import COLUMNS, Version
from cloudlet.store.db import Store, Tx

ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")  # classes whose bytes cannot be read as they are
DAY_S = 86_400
DAYS_MAX = 2**31 - 1
SLICE = 200  # versions of one transaction


@s3.write(resources=object_arns, durable=True)
def restore_object(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Makes an archived object readable until midnight (UTC) after so many days; asked again, it is until then."""
    said: dict[str, Any] = request.get("RestoreRequest") or {}
    if "Type" in said or "SelectParameters" in said or "OutputLocation" in said:
        raise NotImplementedHere("Cloudlet has no S3 Select")
    bucket = require_bucket(tx, call, request)
    version = present(tx, call, bucket, require_key(request), request.get("VersionId"), "POST")
    if version.storage_class not in ARCHIVED:
        raise InvalidObjectState("Restore is not allowed for the object's current storage class",
                                 StorageClass=version.storage_class)
    days = said.get("Days")
    if days is None:
        raise MalformedXml()
    if not 1 <= days <= DAYS_MAX:
        raise InvalidArgument("restoration days should be at least 1", ArgumentName="Days", ArgumentValue=str(days))
    tier = (said.get("GlacierJobParameters") or {}).get("Tier", said.get("Tier", "Standard"))
    if tier == "Expedited" and version.storage_class == "DEEP_ARCHIVE":
        raise InvalidArgument("Retrieval option is not supported by this storage class", ArgumentName="Tier",
                              ArgumentValue=tier)
    again = is_restored(version.about, tx.now)
    until = (int(tx.now) // DAY_S + days + 1) * DAY_S
    versions.set_about(tx, version, version.about.replace(restored_until=until))
    tx.execute("insert into s3_restored values (?,?,?) on conflict (id) do update set until_s=excluded.until_s",
               (version.id, bucket.name, until))
    if not again:
        notifications.announce(tx, cause_of(call), bucket, "ObjectRestore:Post", version)
        notifications.announce(tx, cause_of(call), bucket, "ObjectRestore:Completed", version,
                               glacierEventData=_data(version, until))
    return {"Status": 200 if again else 202}


def _data(version: Version, until: int) -> dict[str, Any]:
    """What events say of a restored copy."""
    return {"restoreEventData": {"lifecycleRestorationExpiryTime": time_text(until),
                                 "lifecycleRestoreStorageClass": version.storage_class}}


class Closer:
    """The worker."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self) -> None:
        """Tells of restored copies that are readable no more, which ends at midnights of UTC."""
        while self._slice():
            await self._store.clock.sleep(0)

    def _slice(self) -> bool:
        with self._store.tx() as tx:
            rows: list[Any] = tx.execute("delete from s3_restored where id in (select id from s3_restored where"
                                         " until_s<=? order by until_s limit ?) returning id, bucket",
                                         (int(tx.now), SLICE)).fetchall()
            for number, name in rows:
                _close(tx, number, name)
        return bool(rows)


def _close(tx: Tx, number: int, name: str) -> None:
    """Forgets that a version was restored, where it is still there and that has ended, and tells so."""
    bucket = tx.get(Bucket, name)
    row = tx.execute(f"select {COLUMNS} from s3_version where id=? and bucket=?",
                     (number, bucket.id)).fetchone() if bucket is not None else None
    if bucket is None or row is None:
        return
    version = Version(*row)
    until = version.about.restored_until
    if 0 < until <= tx.now:
        version = versions.set_about(tx, version, version.about.replace(restored_until=0))
        notifications.announce(tx, notifications.by_s3(tx), bucket, "ObjectRestore:Delete", version,
                               glacierEventData=_data(version, until))


def is_restored(about: About, now: float) -> bool:
    """Whether an archived object can be read at the time."""
    return about.restored_until > now


def require_readable(version: Version, about: About, now: float, sentence: str | None = None) -> None:
    """Raises InvalidObjectState where a version is archived and not restored; with a sentence of the caller's own."""
    if version.storage_class in ARCHIVED and not is_restored(about, now):
        raise InvalidObjectState(sentence, StorageClass=version.storage_class)


def members(version: Version, about: About, now: float) -> dict[str, str]:
    """What answers say of a restored object."""
    if version.storage_class not in ARCHIVED or not is_restored(about, now):
        return {}
    return {"Restore": f'ongoing-request="false", expiry-date="{formatdate(about.restored_until, usegmt=True)}"'}
