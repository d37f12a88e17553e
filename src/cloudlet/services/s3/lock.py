"""Object lock: versions that nobody deletes before their time, or while a legal hold is on.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.s3 import notifications, replication_rules
from cloudlet.services.s3.access.decision import is_allowed, present
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.metadata import require_key
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import (
    AccessDenied,
    InvalidArgument,
    InvalidBucketState,
    InvalidRequest,
    MalformedXml,
    NoSuchObjectLock,
    NotImplementedHere,
    ObjectLockNotFound,
    bucket_arns,
    object_arns,
    s3,
)
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.versions import Version
from cloudlet.store.db import Tx

GOVERNANCE, COMPLIANCE = "GOVERNANCE", "COMPLIANCE"
ON, OFF, NEVER = 1, -1, 0  # legal holds, as rows have them
DAYS_MAX, YEARS_MAX = 36_500, 100
_BYPASS_HEADER = "x-amz-bypass-governance-retention"
ASKED = frozenset(("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus"))  # what asks for one
_HOLDS = {"ON": ON, "OFF": OFF}
_PROTECTED = "Access Denied because object protected by object lock."


class Lock(NamedTuple):
    """What locks a version; the members of a `versions.Draft`."""

    mode: str = ""
    retain_until_ms: int = 0
    legal_hold: int = NEVER


Guard = Callable[[Version], None]  # raises AccessDenied unless a version may be deleted for good


# ── What is locked ───────────────────────────────────────────────────────────────────────────────────────────────────


def is_locked(version: Version, now: float) -> bool:
    """Whether a version may not be deleted, but by who bypasses governance."""
    return version.legal_hold == ON or _is_retained(version, now)


def _is_retained(version: Version, now: float) -> bool:
    return version.mode != "" and version.retain_until_ms > now * 1000


def guard(call: Call, tx: Tx, bucket: Bucket, bypass: bool | None) -> Guard:
    """What stands before deletions in a bucket; `bypass`: the caller wants to get past governance, and must be allowed;
    None: nothing is said of it.

    Raises InvalidArgument where there is nothing that could be bypassed or not.
    """
    if bypass is not None and not bucket.lock_enabled:
        raise InvalidArgument(f"{_BYPASS_HEADER} is only applicable to Object Lock enabled buckets.",
                              ArgumentName=_BYPASS_HEADER)

    def check(version: Version) -> None:
        if version.legal_hold == ON or (_is_retained(version, tx.now) and (
                version.mode != GOVERNANCE or not bypass or not _may_bypass(call, tx, bucket, version.key))):
            raise AccessDenied(_PROTECTED)
    return check


def _may_bypass(call: Call, tx: Tx, bucket: Bucket, key: str) -> bool:
    return is_allowed(tx, call, "s3:BypassGovernanceRetention", f"{bucket.arn}/{key}")


# ── New objects ──────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(tx: Tx, bucket: Bucket, request: Input) -> Lock:
    """What the headers of a request that makes an object lock it with. Raises what is wrong with them."""
    if ASKED.isdisjoint(request):
        return Lock()
    mode, until, hold = map(request.get, ("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus"))
    if not bucket.lock_enabled:
        raise InvalidRequest("Bucket is missing Object Lock Configuration")
    if (mode is None) != (until is None):
        raise InvalidArgument("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
                              ArgumentName="x-amz-object-lock-mode" if mode is None else
                              "x-amz-object-lock-retain-until-date")
    if mode not in (None, GOVERNANCE, COMPLIANCE):
        raise InvalidArgument("Unknown wormMode directive.", ArgumentName="x-amz-object-lock-mode", ArgumentValue=mode)
    if hold is not None and hold not in _HOLDS:
        raise InvalidArgument("Legal Hold must be either of 'ON' or 'OFF'",
                              ArgumentName="x-amz-object-lock-legal-hold", ArgumentValue=hold)
    if until is not None:
        _check_future(tx, until, "x-amz-object-lock-retain-until-date")
    return Lock(mode or "", int((until or 0) * 1000), _HOLDS.get(hold or "", NEVER))


def of_new(tx: Tx, bucket: Bucket, lock: Lock) -> dict[str, Any]:
    """The fields of a `versions.Draft`: as was asked for, else by the bucket's default."""
    if bucket.lock_enabled and not lock.mode:
        default = _default(tx, bucket)
        if default:
            lock = lock._replace(mode=default["Mode"], retain_until_ms=int(_until(tx.now, default) * 1000))
    return lock._asdict()


def _default(tx: Tx, bucket: Bucket) -> Mapping[str, Any]:
    found: Mapping[str, Any] = ((kept.get(tx, bucket, kept.LOCK) or {}).get("Rule") or {}).get("DefaultRetention") or {}
    return found


def _until(now: float, retention: Mapping[str, Any]) -> float:
    days: int = retention.get("Days") or 365 * retention["Years"]
    return now + days * 86_400


def check_digest(tx: Tx, bucket: Bucket, lock: Lock, has_digest: bool) -> None:
    """Raises InvalidRequest for an object to be locked whose bytes come without an MD5 or a checksum.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
    """
    if not has_digest and (lock != Lock() or (bucket.lock_enabled and _default(tx, bucket))):
        raise InvalidRequest("Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with"
                             " Object Lock parameters")


def members(tx: Tx, call: Call, bucket: Bucket, version: Version) -> dict[str, Any]:
    """What an answer says of a version's lock to those who may know it."""
    if not (version.mode or version.legal_hold):
        return {}
    found: dict[str, Any] = {}
    arn = f"{bucket.arn}/{version.key}"
    if version.mode and is_allowed(tx, call, "s3:GetObjectRetention", arn):
        found |= {"ObjectLockMode": version.mode, "ObjectLockRetainUntilDate": version.retain_until_ms / 1000}
    if version.legal_hold and is_allowed(tx, call, "s3:GetObjectLegalHold", arn):
        found["ObjectLockLegalHoldStatus"] = "ON" if version.legal_hold == ON else "OFF"
    return found


# ── Operations ───────────────────────────────────────────────────────────────────────────────────────────────────────


@s3.write(resources=bucket_arns, action="s3:PutBucketObjectLockConfiguration", durable=True)
def put_object_lock_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Turns object lock on, for good, and says how new objects are retained by default."""
    bucket, wanted = require_bucket(tx, call, request), request.get("ObjectLockConfiguration") or {}
    if wanted.get("ObjectLockEnabled") != "Enabled":
        raise MalformedXml()
    if bucket.versioning != "Enabled":
        raise InvalidBucketState("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
    rule = wanted.get("Rule")
    if rule is not None:
        _check_default(rule.get("DefaultRetention") or {})
        kept.put(tx, bucket, kept.LOCK, {"Rule": rule})
    else:
        kept.delete(tx, bucket, kept.LOCK)
    tx.put(dataclasses.replace(bucket, lock_enabled=True))
    return {}


def _check_default(retention: Mapping[str, Any]) -> None:
    if "DefaultEventHold" in retention:
        raise NotImplementedHere("Cloudlet has no event holds")
    if retention.get("Mode") not in (GOVERNANCE, COMPLIANCE) or ("Days" in retention) == ("Years" in retention):
        raise MalformedXml()
    for name, most in (("Days", DAYS_MAX), ("Years", YEARS_MAX)):
        if retention.get(name, 1) < 1:
            raise InvalidArgument("Default retention period must be a positive integer value.", ArgumentName=name)
        if retention.get(name, 1) > most:
            raise InvalidArgument("Default retention period too large.", ArgumentName=name)


@s3.read(resources=bucket_arns, action="s3:GetBucketObjectLockConfiguration")
def get_object_lock_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Whether object lock is on, and the default."""
    bucket = require_bucket(tx, call, request)
    if not bucket.lock_enabled:
        raise ObjectLockNotFound(BucketName=bucket.name)
    return {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled", **(kept.get(tx, bucket, kept.LOCK) or {})}}


@s3.write(resources=object_arns, durable=True)
def put_object_retention(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Retains a version until a date: later ones always, earlier ones and others only past governance."""
    bucket, version = _find(call, tx, request, "PUT")
    wanted = request.get("Retention") or {}
    if "EventHold" in wanted or "EventHoldDuration" in wanted:
        raise NotImplementedHere("Cloudlet has no event holds")
    mode, until = wanted.get("Mode", ""), wanted.get("RetainUntilDate")
    if (mode != "") != (until is not None):
        raise MalformedXml()
    if until is not None:
        _check_future(tx, until, "RetainUntilDate")
    until_ms = int((until or 0) * 1000)
    if _is_retained(version, tx.now) and _loosens(version, mode, until_ms) and (
            version.mode == COMPLIANCE or not request.get("BypassGovernanceRetention")
            or not _may_bypass(call, tx, bucket, version.key)):
        raise AccessDenied(_PROTECTED)
    tx.execute("update s3_version set mode=?, retain_until_ms=? where id=?", (mode, until_ms, version.id))
    notifications.announce(tx, notifications.cause_of(call), bucket, "ObjectRetention:Put", version)
    replication_rules.enqueue(tx, bucket, version)
    return {}


def _loosens(version: Version, mode: str, until_ms: int) -> bool:
    """Whether a version would be held less than it is, or otherwise. What is governed may not even be made compliant
    without a bypass, as on AWS."""
    return mode != version.mode or until_ms < version.retain_until_ms


@s3.read(resources=object_arns)
def get_object_retention(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Until when a version is retained."""
    version = _find(call, tx, request)[1]
    if not version.mode:
        raise NoSuchObjectLock()
    return {"Retention": {"Mode": version.mode, "RetainUntilDate": version.retain_until_ms / 1000}}


@s3.write(resources=object_arns, durable=True)
def put_object_legal_hold(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Puts a legal hold on a version, or takes it off."""
    status = (request.get("LegalHold") or {}).get("Status")
    bucket, version = _find(call, tx, request, "PUT")
    if status not in _HOLDS:
        raise MalformedXml()
    tx.execute("update s3_version set legal_hold=? where id=?", (_HOLDS[status], version.id))
    replication_rules.enqueue(tx, bucket, version)
    return {}


@s3.read(resources=object_arns)
def get_object_legal_hold(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Whether a legal hold is on a version."""
    version = _find(call, tx, request)[1]
    if version.legal_hold == NEVER:
        raise NoSuchObjectLock()
    return {"LegalHold": {"Status": "ON" if version.legal_hold == ON else "OFF"}}


def _find(call: Call, tx: Tx, request: Input, method: str = "GET") -> tuple[Bucket, Version]:
    bucket = require_bucket(tx, call, request)
    if not bucket.lock_enabled:
        raise InvalidRequest("Bucket is missing Object Lock Configuration")
    return bucket, present(tx, call, bucket, require_key(request), request.get("VersionId"), method)


def _check_future(tx: Tx, until: float, name: str) -> None:
    if until <= tx.now:
        said = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise InvalidArgument("The retain until date must be in the future!", ArgumentName=name, ArgumentValue=said)
