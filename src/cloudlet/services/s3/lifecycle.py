"""Carries out the lifecycle rules of buckets, slice by slice through their index: each a transaction, safe to repeat.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lifecycle-mgmt.html
"""

from typing import Any, NamedTuple

from cloudlet.control.outcome import Done, Outcome
from cloudlet.services.s3 import lifecycle_rules, lock, notifications, parts, versions
from cloudlet.services.s3.lifecycle_rules import Due, Rule, Subject
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.bucket_lifecycle import WORK
from cloudlet.services.s3.settings.kept import LIFECYCLE
from cloudlet.services.s3.versions import COLUMNS, Version
from cloudlet.services.s3.walking import following
from cloudlet.store.db import Store, Tx

SLICE = 200  # rows of one transaction


def rules_of(tx: Tx, bucket: Bucket) -> list[Rule]:
    """The rules of a bucket that are enabled."""
    if LIFECYCLE not in bucket.acts:
        return []
    return lifecycle_rules.load((kept.get(tx, bucket, LIFECYCLE) or {"Rules": []})["Rules"])


def subject_of(version: Version) -> Subject:
    """What rules ask of a version."""
    return Subject(version.key, version.size, version.about.tags, version.modified, version.storage_class)


def expiration(tx: Tx, bucket: Bucket, version: Version) -> str | None:
    """The header that says when a current version expires; None where it does not."""
    if LIFECYCLE not in bucket.acts or not version.current:
        return None
    due = lifecycle_rules.expires(rules_of(tx, bucket), subject_of(version))
    return lifecycle_rules.header(due) if due is not None else None


def abort_members(tx: Tx, bucket: Bucket, key: str, initiated: float) -> dict[str, Any]:
    """What is said of an upload under way about when it is given up."""
    due = lifecycle_rules.aborts(rules_of(tx, bucket), key, initiated)
    return {"AbortDate": due.at, "AbortRuleId": due.rule} if due is not None else {}


class Place(NamedTuple):
    """Up to where a bucket has been gone through: a key, and one of its versions."""

    key: str
    id: int


class Keeper:
    """The loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self) -> None:
        """Has the rules of all buckets carried out: asked for after midnight of UTC, when things fall due."""
        with self._store.tx() as tx:
            for bucket in tx.find(Bucket):
                if LIFECYCLE in bucket.acts:
                    tx.enqueue(WORK, bucket.name)

    async def carry_out(self, name: str) -> Outcome:
        """Carries out what is due in a bucket. Cut off at any point, it begins again and does what is left."""
        with self._store.tx() as tx:
            bucket = tx.get(Bucket, name)
            prefixes = lifecycle_rules.prefixes(rules_of(tx, bucket)) if bucket is not None else []
        for prefix in prefixes:
            for step in (_slice_of_versions, _slice_of_uploads):
                place: Any = None
                while True:
                    with self._store.tx() as tx:
                        bucket = tx.get(Bucket, name)
                        rules = rules_of(tx, bucket) if bucket is not None else []
                        if bucket is None or not rules:
                            return Done()
                        place = step(tx, bucket, rules, prefix, place)
                    if place is None:
                        break
                    await self._store.clock.sleep(0)
        return Done()


def _slice_of_versions(tx: Tx, bucket: Bucket, rules: list[Rule], prefix: str, place: Place | None) -> Place | None:
    """Does what is due with the next versions; up to where. None: that was all."""
    end = following(prefix)
    bound, limit = ("and key<?", (end,)) if end is not None else ("", ())
    within: list[Any] = [] if place is None else tx.execute(
        f"select {COLUMNS} from s3_version where bucket=? and key=? and id<? order by id desc limit ?",
        (bucket.id, place.key, place.id, SLICE)).fetchall()
    rest: list[Any] = [] if len(within) == SLICE else tx.execute(
        f"select {COLUMNS} from s3_version where bucket=? and key{'>=' if place is None else '>'}? {bound}"
        " order by key, id desc limit ?",
        (bucket.id, prefix if place is None else place.key, *limit, SLICE - len(within))).fetchall()
    found = [Version(*row) for row in (*within, *rest)]
    if not found:
        return None
    # Of a key that a slice before has begun, what is newer is counted as it is now.
    newer, since = _newer(tx, found[0]) if within else (0, 0.0)
    key = found[0].key
    minimum = (kept.get(tx, bucket, LIFECYCLE) or {}).get("TransitionDefaultMinimumObjectSize", "")
    for version in found:
        if version.key != key:
            key, newer = version.key, 0
        if version.current:
            _current(tx, bucket, rules, version, str(minimum))
        else:
            _noncurrent(tx, bucket, rules, version, since, newer, str(minimum))
            newer += 1
        since = version.modified
    return Place(found[-1].key, found[-1].id)


def _newer(tx: Tx, version: Version) -> tuple[int, float]:
    """How many versions of a key are newer than one and not current, and when the one after it came."""
    row: Any = tx.execute("select count(*), min(id) from s3_version where bucket=? and key=? and id>? and current=0",
                          (version.bucket, version.key, version.id)).fetchone()
    then: Any = tx.execute("select modified_ms from s3_version where bucket=? and key=? and id>? order by id limit 1",
                           (version.bucket, version.key, version.id)).fetchone()
    return row[0], then[0] / 1000 if then else version.modified


def _is_due(due: Due | None, now: float) -> bool:
    return due is not None and due.at <= now


def _current(tx: Tx, bucket: Bucket, rules: list[Rule], version: Version, minimum: str) -> None:
    if version.marker:
        older = tx.execute("select 1 from s3_version where bucket=? and key=? and id<? limit 1",
                           (version.bucket, version.key, version.id)).fetchone()
        if not older and _is_due(lifecycle_rules.marker_expires(rules, version.key, version.modified), tx.now):
            _remove(tx, bucket, version)
        return
    subject = subject_of(version)
    if _is_due(lifecycle_rules.expires(rules, subject), tx.now):
        if bucket.versioning:
            marker = versions.add_marker(tx, bucket, version.key, canonical_id(bucket.account))
            notifications.announce(tx, notifications.by_s3(tx), bucket, "LifecycleExpiration:DeleteMarkerCreated",
                                   marker)
        else:
            _remove(tx, bucket, version)
        return
    _move(tx, bucket, version, lifecycle_rules.moves_to(rules, subject, tx.now, minimum))


def _noncurrent(tx: Tx, bucket: Bucket, rules: list[Rule], version: Version, since: float, newer: int,
                minimum: str) -> None:
    subject = subject_of(version)
    due = lifecycle_rules.noncurrent_expires(rules, subject, since, newer, marker=bool(version.marker))
    if _is_due(due, tx.now) and not lock.is_locked(version, tx.now):
        _remove(tx, bucket, version)
    elif not version.marker:
        _move(tx, bucket, version, lifecycle_rules.moves_to(rules, subject, tx.now, minimum, since=since, newer=newer))


def _remove(tx: Tx, bucket: Bucket, version: Version) -> None:
    versions.remove(tx, version)
    notifications.announce(tx, notifications.by_s3(tx), bucket, "LifecycleExpiration:Delete", version)


def _move(tx: Tx, bucket: Bucket, version: Version, target: str | None) -> None:
    if target is not None:
        tx.execute("update s3_version set storage_class=? where id=?", (target, version.id))
        notifications.announce(tx, notifications.by_s3(tx), bucket, "LifecycleTransition", version,
                               lifecycleEventData={"transitionEventData": {"destinationStorageClass": target}})


def _slice_of_uploads(tx: Tx, bucket: Bucket, rules: list[Rule], prefix: str,
                      place: tuple[str, str] | None) -> tuple[str, str] | None:
    """Gives up the next uploads that are due; up to where. None: that was all."""
    rows: list[Any] = tx.execute("select key, id, initiated_ms from s3_upload where bucket=? and (key, id)>(?,?)"
                                 " order by key, id limit ?", (bucket.id, *(place or (prefix, "")), SLICE)).fetchall()
    rows = [row for row in rows if row[0].startswith(prefix)]
    for key, upload, initiated_ms in rows:
        if _is_due(lifecycle_rules.aborts(rules, key, initiated_ms / 1000), tx.now):
            parts.drop_upload(tx, upload)
    return rows[-1][:2] if rows else None
