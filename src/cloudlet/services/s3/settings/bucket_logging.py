"""Where the access logs of a bucket go: put, with what is wrong with it in AWS's words, and read.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
"""

from typing import Any

from cloudlet.kernel import policy
from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.services.s3.access import grants
from cloudlet.services.s3.access.grants import LOG_DELIVERY
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import ENFORCED, Bucket
from cloudlet.services.s3.service import (
    AccessControlListNotSupported,
    CrossLocationLogging,
    InvalidArgument,
    InvalidTargetBucket,
    MalformedXml,
    bucket_arns,
    s3,
)
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import LOCK, LOGGING
from cloudlet.store.db import Tx

SERVICE = "logging.s3.amazonaws.com"
PREFIX_BYTES_MAX = 800  # what else is in a log's key fits in the rest of 1,024
_PERMISSIONS = ("FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP")  # more than the model has, as on AWS
_SOURCES = ("EventTime", "DeliveryTime")
_CALLER = policy.Caller(frozenset({("Service", SERVICE), ("AWS", SERVICE)}))


@s3.write(resources=bucket_arns, durable=True)
def put_bucket_logging(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Has every request to a bucket recorded from now on, and the records put into another one; or no more."""
    bucket, asked = require_bucket(tx, call, request), request["BucketLoggingStatus"].get("LoggingEnabled")
    if asked is not None:
        _check(tx, bucket, asked)
    kept.act_on(tx, bucket, LOGGING, asked)


@s3.read(resources=bucket_arns)
def get_bucket_logging(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Where they go; nothing where there are none."""
    found = kept.get(tx, require_bucket(tx, call, request), LOGGING)
    return {"LoggingEnabled": found} if found is not None else {}


def _check(tx: Tx, bucket: Bucket, asked: dict[str, Any]) -> None:
    name, prefix, given = asked.get("TargetBucket"), asked.get("TargetPrefix"), asked.get("TargetGrants") or ()
    if not name or prefix is None:
        raise MalformedXml()
    _check_format(asked.get("TargetObjectKeyFormat"))
    for grant in given:
        if grant.get("Permission") not in _PERMISSIONS:
            raise MalformedXml()
    grantees = [grants.grantee(grant.get("Grantee") or {}) for grant in given]
    if len(prefix.encode()) > PREFIX_BYTES_MAX:
        raise InvalidArgument(f"The target prefix must not be longer than {PREFIX_BYTES_MAX} bytes",
                              ArgumentName="TargetPrefix", ArgumentValue=prefix)
    target = tx.get(Bucket, name)
    if target is None:
        raise _unfit(name, "The target bucket for logging does not exist")
    if target.account != bucket.account:
        raise _unfit(name, "The owner for the bucket to be logged and the target bucket must be the same.")
    if target.region != bucket.region:
        raise CrossLocationLogging(**{  # as GetBucketLocation says them
            f"{which}BucketLocation": each.region for which, each in (("Source", bucket), ("Target", target))
            if each.region != "us-east-1"})
    if target.ownership == ENFORCED and grantees:
        raise AccessControlListNotSupported()
    if (wrong := _unsuitable(tx, target)) is not None:
        raise _unfit(name, wrong)
    # The policy of a bucket without lists is asked only when logs are delivered, as on AWS: it may come later.
    if target.ownership != ENFORCED and not _is_let(target, bucket.name, f"{prefix}key"):
        raise _unfit(name, "You must give the log-delivery group WRITE and READ_ACP permissions to the target bucket")


def _check_format(said: dict[str, Any] | None) -> None:
    if said is None:
        return
    simple, partitioned = said.get("SimplePrefix"), said.get("PartitionedPrefix")
    if (simple is None) == (partitioned is None):
        raise MalformedXml()
    if partitioned is not None and partitioned.get("PartitionDateSource") not in _SOURCES:
        raise MalformedXml()


def _unfit(name: str, why: str) -> AwsError:
    return InvalidTargetBucket(why, TargetBucket=name)


def _unsuitable(tx: Tx, target: Bucket) -> str | None:
    """Why no logs can go to a bucket, whoever is let."""
    if target.requester_pays:
        return "The target bucket for logging must not have Requester Pays enabled"
    if (kept.get(tx, target, LOCK) or {}).get("Rule"):
        return "The target bucket for logging must not have a default retention of Object Lock"
    return None


def refusal(tx: Tx, target: Bucket | None, account: str, source: str, key: str) -> str | None:
    """Why the log of a bucket cannot be put into another one now; None where it can."""
    if target is None or target.account != account:
        return "the target bucket does not exist"
    if (wrong := _unsuitable(tx, target)) is not None:
        return wrong
    return None if _is_let(target, source, key) else f"neither policy nor list of the target bucket lets {SERVICE} put"


def _is_let(target: Bucket, source: str, key: str) -> bool:
    """Whether a bucket's policy, or its list where that counts, lets the log of another one in."""
    facts = {"aws:sourcearn": (f"arn:aws:s3:::{source}",), "aws:sourceaccount": (target.account,),
             "aws:principalservicename": (SERVICE,), "aws:principalisawsservice": ("true",)}
    level = policy.granted(policy.parse(target.policy), _CALLER, "s3:PutObject", f"{target.arn}/{key}",
                           facts.get) if target.policy else "none"
    if level != "none" or target.ownership == ENFORCED:
        return level not in ("none", "deny")
    acl = grants.load(target.acl, canonical_id(target.account))
    return all(grants.permitted(acl, LOG_DELIVERY, permission, ignore_public=True) != "none"
               for permission in ("WRITE", "READ_ACP"))
