"""Copies new versions to other buckets of this installation, with their ids, sharing their bytes.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-what-is-isnt-replicated.html
"""

from collections.abc import Mapping
from typing import Any

from cloudlet.control.outcome import Done, Outcome
from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.services.s3 import contents, lock, notifications, versions
from cloudlet.services.s3.access.decision import is_allowed
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import ENFORCED, About, Bucket
from cloudlet.services.s3.replication_rules import (
    COMPLETED,
    FAILED,
    PENDING,
    REPLICA,
    THRESHOLD_S,
    Rule,
    is_measured,
    is_timed,
    rules_for,
    rules_of,
)
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import REPLICATION
from cloudlet.services.s3.versions import COLUMNS, Draft, Version
from cloudlet.services.sts import role_principal
from cloudlet.store.db import Store, Tx

SLICE = 50  # versions of one transaction
_SESSION = "s3-replication"


class Copier:
    """The loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def copy(self, name: str) -> Outcome:
        """Copies what waits for it in a bucket. Cut off at any point, it goes on with what is left."""
        while True:
            with self._store.tx() as tx:
                bucket = tx.get(Bucket, name)
                if bucket is None or not _slice(tx, bucket):
                    return Done()
            await self._store.clock.sleep(0)


def _slice(tx: Tx, bucket: Bucket) -> bool:
    """Copies the next versions; whether there were any."""
    waiting: list[Any] = tx.execute("select id from s3_replication where bucket=? order by id limit ?",
                                    (bucket.id, SLICE)).fetchall()
    rules, configuration = rules_of(tx, bucket), kept.get(tx, bucket, REPLICATION) or {}
    call = _call(tx, bucket, configuration.get("Role", "")) if waiting else None
    for (number,) in waiting:
        row = tx.execute(f"select {COLUMNS} from s3_version where id=? and bucket=?", (number, bucket.id)).fetchone()
        version = Version(*row) if row else None
        if version is not None and (about := version.about).replication in (PENDING, REPLICA):
            wanted = rules_for(rules, version, about)
            _tell_of_untracked(tx, bucket, version, about, wanted)
            failures = [_copy(tx, call, bucket, version, about, rule) for rule in wanted]
            status = about.replication if about.replication == REPLICA else (
                COMPLETED if failures and not any(failures) else FAILED)
            versions.set_about(tx, version, about.replace(replication=status, tracked={}))
        tx.execute("delete from s3_replication where id=?", (number,))
    return bool(waiting)


def _call(tx: Tx, bucket: Bucket, role: str) -> Call | None:
    """What S3 does with the role that the customer gave it; None where it may not have it (any more)."""
    try:
        principal = role_principal(tx, role, _SESSION, bucket.arn, notifications.SERVICE)
    except AwsError:
        return None
    return Call(tx.token(32), principal.account, bucket.region, principal, tx.now, "")


def _copy(tx: Tx, call: Call | None, bucket: Bucket, version: Version, about: About, rule: Rule) -> str:
    """Makes the replica that a rule wants, or what is there as it is here, and tells of it; why it cannot be made, ""
    where it was."""
    target = tx.get(Bucket, rule["Destination"]["Bucket"].rpartition(":")[2])
    there = versions.find(tx, target, version.key, version.version) if target is not None else None
    why = _obstacle(tx, call, bucket, target, version, about, rule)
    if not why and about.replication == REPLICA and there is None:
        why = "DstVersionNotFound"
    if not why and call is not None and target is not None:
        _put(tx, call, target, there, version, about, rule)
    _tell(tx, bucket, version, rule, why, is_new=there is None)
    return why


def _obstacle(tx: Tx, call: Call | None, bucket: Bucket, target: Bucket | None, version: Version, about: About,
              rule: Rule) -> str:
    """Why a bucket does not take a replica, or the role may not make it; "" for nothing."""
    if call is None:
        return "AssumeRoleNotPermitted"
    if target is None:
        return "DstBucketNotFound"
    if target.versioning != "Enabled":
        return "DstBucketUnversioned"
    if bucket.lock_enabled and not target.lock_enabled:
        return "DstBucketObjectLockConfigMissing"
    source, replica = f"{bucket.arn}/{version.key}", f"{target.arn}/{version.key}"
    needed = [("s3:ReplicateDelete", replica, "DstDelObjNotPermitted")] if version.marker else [
        ("s3:GetObjectVersionForReplication", source, "SrcGetObjectNotPermitted"),
        ("s3:ReplicateObject", replica, "DstPutObjectNotPermitted")]
    if about.tags:
        needed += [("s3:GetObjectVersionTagging", source, "SrcGetTaggingNotPermitted"),
                   ("s3:ReplicateTags", replica, "DstPutTaggingNotPermitted")]
    if rule["Destination"].get("AccessControlTranslation"):
        needed.append(("s3:ObjectOwnerOverrideToBucketOwner", replica, "DstPutObjectNotPermitted"))
    return next((why for action, arn, why in needed if not is_allowed(tx, call, action, arn)), "")


def _put(tx: Tx, call: Call, target: Bucket, there: Version | None, version: Version, about: About, rule: Rule) -> None:
    wanted: Mapping[str, Any] = rule["Destination"]
    taken = target.ownership == ENFORCED or bool(wanted.get("AccessControlTranslation"))
    kept_about = about.replace(replication=REPLICA, tracked={}, acl="" if taken else about.acl,
                               restored_until=0)
    retained = lock.of_new(tx, target, lock.Lock(version.mode, version.retain_until_ms, version.legal_hold)) if (
        target.lock_enabled and not version.marker) else {}
    if there is not None:  # what has changed is what is known of it, never its bytes
        own = there.about
        versions.set_about(tx, there, kept_about.replace(replication=own.replication, tracked=own.tracked))
        if retained:
            tx.execute("update s3_version set mode=?, retain_until_ms=?, legal_hold=? where id=?",
                       (*retained.values(), there.id))
        return
    if version.content is not None:
        contents.share(tx, version.content)
    replica = versions.put_version(tx, target, version.key, Draft(
        version.size, version.etag, canonical_id(target.account) if taken else version.owner, kept_about,
        version.content, version.upload, wanted.get("StorageClass") or version.storage_class, marker=version.marker,
        version=version.version, modified_ms=version.modified_ms, **retained))
    notifications.announce(tx, notifications.cause_of(call), target, "ObjectRemoved:DeleteMarkerCreated" if
                           version.marker else "ObjectCreated:Put", replica)


def _tell(tx: Tx, bucket: Bucket, version: Version, rule: Rule, why: str, *, is_new: bool) -> None:
    """Tells of a copy that failed, or of a new one that came late, whoever wants to know, where the rule asks for that.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-metrics-events.html
    """
    events = ["OperationFailedReplication"] if why and is_measured(rule) else []
    if is_new and is_timed(rule) and tx.now - version.modified > THRESHOLD_S:
        events = ["OperationMissedThreshold", *(events if why else ["OperationReplicatedAfterThreshold"])]
    for event in events:
        _announce(tx, bucket, version, event, rule["ID"], rule["Destination"]["Bucket"], why)


def _tell_of_untracked(tx: Tx, bucket: Bucket, version: Version, about: About, wanted: list[Rule]) -> None:
    """Tells of rules that would have measured how a version is copied, and have ceased to: they were changed or taken
    away, or its tags were, before its turn came."""
    measured = {(rule["ID"], rule["Destination"]["Bucket"]) for rule in wanted if is_measured(rule)}
    for rule, destination in about.tracked.items():
        if (rule, destination) not in measured:
            _announce(tx, bucket, version, "OperationNotTracked", rule, destination)


def _announce(tx: Tx, bucket: Bucket, version: Version, event: str, rule: str, destination: str, why: str = "") -> None:
    data = {"replicationRuleId": rule, "destinationBucket": destination,
            "s3Operation": "OBJECT_DELETE" if version.marker else "OBJECT_PUT",
            "requestTime": notifications.time_text(version.modified)}
    notifications.announce(tx, notifications.by_s3(tx), bucket, f"Replication:{event}", version,
                           replicationEventData=data | ({"failureReason": why} if why else {}))
