"""Delivers inventories: lists of what is in a bucket become objects in another one, each day or week.

A list is read slice by slice, so that it is of no single moment, as on AWS; its objects appear together.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.control.rounds import DAY_S
from cloudlet.kernel.clock import as_uuid
from cloudlet.kernel.http import Body
from cloudlet.services.s3 import contents, delivered, inventory_lines, lifecycle, lifecycle_rules
from cloudlet.services.s3.inventory_lines import EXPIRY, Said
from cloudlet.services.s3.notifications import by_s3, time_text
from cloudlet.services.s3.records import Bucket, BucketConfiguration
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.bucket_inventory import WORK, is_let, kind_of
from cloudlet.services.s3.settings.kept import INVENTORY
from cloudlet.services.s3.versions import COLUMNS, Version
from cloudlet.services.s3.walking import following
from cloudlet.store.db import Store, Tx

SLICE = 500  # versions of one transaction
_EPOCHS_SUNDAY_S = 3 * DAY_S  # the first of January 1970 was a Thursday
SHUT_RETRY_S = 300.0
_GZIP = 31  # in zlib's words


class Asked(NamedTuple):
    """A list that is wanted now."""

    bucket: Bucket
    said: Said

    @property
    def target(self) -> str:
        """The name of the bucket that it goes to."""
        arn: str = self.said["Destination"]["S3BucketDestination"]["Bucket"]
        return arn.rpartition(":")[2]

    def key(self, rest: str) -> str:
        """The key of one of its objects."""
        prefix = self.said["Destination"]["S3BucketDestination"].get("Prefix", "").rstrip("/")
        return "/".join(part for part in (prefix, self.bucket.name, self.said["Id"], rest) if part)


def is_due(said: Said, delivered_at: float, now: float) -> bool:
    """Whether a list is to be delivered: the first soon, others after midnight of UTC, or that before Sunday."""
    every, since = (DAY_S, 0) if said["Schedule"]["Frequency"] == "Daily" else (7 * DAY_S, _EPOCHS_SUNDAY_S)
    return bool(said["IsEnabled"]) and delivered_at < now - (now - since) % every


class Lister:
    """The loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self) -> None:
        """Has what is due delivered: asked for once a day."""
        with self._store.tx() as tx:
            for bucket in tx.find(Bucket):
                for each in tx.find(BucketConfiguration, f"{bucket.name}/{INVENTORY}/"):
                    tx.enqueue(WORK, f"{bucket.name}/{each.key.rpartition('/')[2]}")

    async def deliver(self, key: str) -> Outcome:
        """Delivers a list, if it is due. Cut off at any point, it begins again: none of it is seen before its end."""
        with self._store.tx() as tx:
            asked = _due(tx, key)
            shut = asked is not None and not _is_let(tx, asked, [asked.key("data/x.csv.gz")])
        if asked is None:
            return Done()
        if shut:
            return Again(SHUT_RETRY_S, f"the policy of {asked.target} does not let its inventory in")
        made_at, unique = self._store.clock.now(), as_uuid(self._store.clock.token(32))
        with ExitStack() as stack:
            lines = stack.enter_context(await contents.receive(self._store, Body(self._lines(asked), None)))
            data = asked.key(f"data/{unique}.csv.gz")
            text = inventory_lines.manifest(asked.bucket.name, asked.said, made_at,
                                            [(data, lines.size, lines.digests["md5"].hex())])
            manifest = stack.enter_context(await contents.receive(self._store, delivered.body_of(text)))
            at = datetime.fromtimestamp(made_at, UTC)
            folder = asked.key(f"{at:%Y-%m-%dT%H-%MZ}")
            rest = {f"{folder}/manifest.checksum": manifest.digests["md5"].hex(),
                    asked.key(f"hive/dt={at:%Y-%m-%d-%H-%M}/symlink.txt"): f"s3://{asked.target}/{data}\n"}
            objects = {data: (lines, "application/x-gzip"), f"{folder}/manifest.json": (manifest, "application/json")}
            for name, said in rest.items():
                one = stack.enter_context(await contents.receive(self._store, delivered.body_of(said.encode())))
                objects[name] = (one, "text/plain")
            with self._store.tx() as tx:
                _put(tx, key, asked, objects, made_at)
            await self._store.flush()
        return Again()

    async def _lines(self, asked: Asked) -> AsyncIterator[bytes]:
        """The list, compressed as it is read."""
        squeezed, names = zlib.compressobj(wbits=_GZIP), inventory_lines.columns(asked.said)
        place: tuple[str, int] | None = None
        while True:
            with self._store.tx() as tx:
                found = _slice(tx, asked, place)
                rules = lifecycle.rules_of(tx, asked.bucket) if EXPIRY in names else []
            if not found:
                break
            text = "".join(inventory_lines.line(asked.bucket.name, names, version, _expires(rules, version))
                           for version in found)
            if piece := squeezed.compress(text.encode()):
                yield piece
            place = found[-1].key, found[-1].id
            await self._store.clock.sleep(0)
        yield squeezed.flush()


def _due(tx: Tx, key: str) -> Asked | None:
    name, _, id = key.partition("/")
    bucket = tx.get(Bucket, name)
    found: Any = kept.get(tx, bucket, kind_of(id)) if bucket is not None else None
    if bucket is None or found is None or not is_due(found["said"], found["delivered"], tx.now):
        return None
    return Asked(bucket, found["said"])


def _slice(tx: Tx, asked: Asked, place: tuple[str, int] | None) -> list[Version]:
    """The next versions in the order of keys, a key's newest first."""
    prefix = (asked.said.get("Filter") or {}).get("Prefix", "")
    only = "" if asked.said["IncludedObjectVersions"] == "All" else "and current=1 and marker=0"
    end = following(prefix)
    bound, limit = ("and key<?", (end,)) if end is not None else ("", ())
    rows: list[Any] = [] if place is None or only else tx.execute(
        f"select {COLUMNS} from s3_version where bucket=? and key=? and id<? order by id desc limit ?",
        (asked.bucket.id, *place, SLICE)).fetchall()
    if len(rows) < SLICE:
        rows += tx.execute(
            f"select {COLUMNS} from s3_version where bucket=? and key{'>=' if place is None else '>'}? {bound} {only}"
            " order by key, id desc limit ?",
            (asked.bucket.id, prefix if place is None else place[0], *limit, SLICE - len(rows))).fetchall()
    return [Version(*row) for row in rows]


def _expires(rules: list[lifecycle_rules.Rule], version: Version) -> str:
    due = lifecycle_rules.expires(rules, lifecycle.subject_of(version)) if rules and version.current and (
        not version.marker) else None
    return time_text(due.at) if due is not None else ""


def _is_let(tx: Tx, asked: Asked, keys: Iterable[str]) -> bool:
    target = tx.get(Bucket, asked.target)
    return target is not None and all(is_let(target, asked.bucket, key) for key in keys)


def _put(tx: Tx, key: str, asked: Asked, objects: dict[str, Any], made_at: float) -> None:
    """Puts all that belongs to a list, where it is still wanted as it was and may be put."""
    now, target = _due(tx, key), tx.get(Bucket, asked.target)
    if now is None or target is None or (now.bucket.id, now.said) != (asked.bucket.id, asked.said) or (
            not _is_let(tx, asked, objects)):
        return
    kept.put(tx, asked.bucket, kind_of(asked.said["Id"]), {"said": asked.said, "delivered": made_at})
    for name, (received, content_type) in objects.items():
        delivered.put(tx, target, name, received, by_s3(tx), content_type)
