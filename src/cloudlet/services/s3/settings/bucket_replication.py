"""Where new objects of a bucket are copied to: put, with what is wrong with it in AWS's words, and read.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketReplication.html
"""

from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.iam import find_role, pass_role_refusal
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.metadata import STORAGE_CLASSES
from cloudlet.services.s3.notifications import SERVICE
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.replication_rules import THRESHOLD_MIN, copies_markers, is_measured, is_timed
from cloudlet.services.s3.service import (
    AccessDenied,
    InvalidArgument,
    InvalidRequest,
    MalformedXml,
    NoSuchReplication,
    NotImplementedHere,
    bucket_arns,
    s3,
)
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import REPLICATION
from cloudlet.services.s3.tags import checked
from cloudlet.store.db import Tx

RULES_MAX, ID_MAX = 1000, 255
_GUIDE = "Please refer to S3 Developer Guide for more information."
_VERSION = f"must be specified for this version of Cross Region Replication configuration schema. {_GUIDE}"


@s3.write(resources=bucket_arns, action="s3:PutReplicationConfiguration", durable=True)
def put_bucket_replication(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Says where what is put from now on is copied to, and with which role."""
    bucket, wanted = require_bucket(tx, call, request), request["ReplicationConfiguration"]
    given = wanted.get("Rules") or []
    if not 0 < len(given) <= RULES_MAX:
        raise MalformedXml()
    if bucket.versioning != "Enabled":
        raise InvalidRequest("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
    rules = [{**rule, "ID": rule.get("ID") or tx.token(32)} for rule in given]
    if len({rule["ID"] for rule in rules}) < len(rules):
        raise InvalidRequest("Rule Id must be unique")
    if len({"Filter" in rule for rule in rules}) > 1:
        raise InvalidRequest("Cannot mix the versions of the replication configuration schema in its rules")
    priorities = [rule["Priority"] for rule in rules if "Priority" in rule]
    if len(set(priorities)) < len(priorities):
        raise InvalidRequest(f"Found duplicate priorities {sorted(priorities)}. Priority must be unique")
    for rule in rules:
        _check(rule)
        _check_destination(tx, bucket, rule["Destination"])
    role = wanted["Role"]
    if find_role(tx, role) is None:
        raise InvalidArgument("Invalid Role ARN", ArgumentName="Role", ArgumentValue=role)
    refusal = pass_role_refusal(tx, call, role, SERVICE)
    if refusal is not None:
        raise AccessDenied(refusal.message)
    kept.act_on(tx, bucket, REPLICATION, {"Role": role, "Rules": rules})


@s3.read(resources=bucket_arns, action="s3:GetReplicationConfiguration")
def get_bucket_replication(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """What was put."""
    return {"ReplicationConfiguration": kept.require(tx, require_bucket(tx, call, request), REPLICATION,
                                                     NoSuchReplication)}


@s3.write(resources=bucket_arns, action="s3:PutReplicationConfiguration", durable=True)
def delete_bucket_replication(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Copies nothing any more; what waits for it has failed."""
    kept.act_on(tx, require_bucket(tx, call, request), REPLICATION, None)


def _check(rule: Mapping[str, Any]) -> None:
    if len(rule["ID"]) > ID_MAX:
        raise InvalidArgument(f"ID length should not exceed allowed limit of {ID_MAX}")
    if rule["Status"] not in ("Enabled", "Disabled") or ("Prefix" in rule and "Filter" in rule):
        raise MalformedXml()
    only: Mapping[str, Any] = rule.get("Filter") or {}
    if len(only) > 1:
        raise MalformedXml()
    both: Mapping[str, Any] = only.get("And") or {}
    tags = both.get("Tags") or ([only["Tag"]] if "Tag" in only else [])
    checked((tag["Key"], tag["Value"]) for tag in tags)
    if "Filter" in rule:
        for name in ("Priority", "DeleteMarkerReplication"):
            if name not in rule:
                raise InvalidRequest(f"{name} {_VERSION}")
        if tags and copies_markers(rule):
            raise InvalidRequest(f"Delete marker replication is not supported if any Tag filter is specified. {_GUIDE}")
    elif "DeleteMarkerReplication" in rule:
        raise InvalidRequest(f"DeleteMarkerReplication is not supported without a Filter. {_GUIDE}")
    elif "ReplicationTime" in rule["Destination"] or "Metrics" in rule["Destination"]:
        raise InvalidRequest(f"ReplicationTime and Metrics are not supported without a Filter. {_GUIDE}")
    criteria: Mapping[str, Any] = rule.get("SourceSelectionCriteria") or {}
    for name, part in (("ExistingObjectReplication", rule.get("ExistingObjectReplication")),
                       ("SseKmsEncryptedObjects", criteria.get("SseKmsEncryptedObjects"))):
        if (part or {}).get("Status") == "Enabled":
            raise NotImplementedHere(f"Cloudlet has no {name}")


def _check_times(wanted: Mapping[str, Any]) -> None:
    """Raises where what a destination says of copies that fail or come late is not as it can be on AWS: of a quarter
    of an hour, and in time only together with being measured.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-time-control.html
    """
    time, metrics = wanted.get("ReplicationTime"), wanted.get("Metrics")
    for said, minutes in ((time, (time or {}).get("Time")), (metrics, (metrics or {}).get("EventThreshold"))):
        if said is not None and said.get("Status") not in ("Enabled", "Disabled"):
            raise MalformedXml()
        if minutes is not None and minutes.get("Minutes") != THRESHOLD_MIN:
            raise InvalidArgument(f"Only {THRESHOLD_MIN} minutes are supported for replication", ArgumentName="Minutes",
                                  ArgumentValue=str(minutes.get("Minutes")))
    if is_timed({"Destination": wanted}):
        if (time or {}).get("Time") is None:
            raise MalformedXml()
        if not is_measured({"Destination": wanted}) or (metrics or {}).get("EventThreshold") is None:
            raise InvalidRequest("ReplicationTime must be specified with Metrics and its EventThreshold")


def _check_destination(tx: Tx, bucket: Bucket, wanted: Mapping[str, Any]) -> None:
    if "EncryptionConfiguration" in wanted:
        raise NotImplementedHere("Cloudlet has no EncryptionConfiguration of replication")
    _check_times(wanted)
    if wanted.get("StorageClass") not in (None, *STORAGE_CLASSES):
        raise MalformedXml()
    arn: str = wanted["Bucket"]
    if not arn.startswith("arn:aws:s3:::"):
        raise InvalidArgument("Invalid bucket ARN", ArgumentName="Bucket", ArgumentValue=arn)
    target = tx.get(Bucket, arn.rpartition(":")[2])
    if target is None:
        raise InvalidRequest("Destination bucket must exist.")
    if target.name == bucket.name:
        raise InvalidRequest("Destination bucket cannot be the same as the source bucket.")
    if target.versioning != "Enabled":
        raise InvalidRequest("Destination bucket must have versioning enabled.")
    if bucket.lock_enabled and not target.lock_enabled:
        raise InvalidRequest("Object Lock must be enabled on the destination bucket.")
    if wanted.get("AccessControlTranslation") and "Account" not in wanted:
        raise InvalidRequest("Account must be specified with AccessControlTranslation.")
    if wanted.get("Account", target.account) != target.account:
        raise InvalidRequest("Destination bucket is not owned by the account specified.")
