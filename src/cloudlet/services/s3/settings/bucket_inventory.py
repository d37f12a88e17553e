"""Lists of all objects of a bucket, wanted daily or weekly: put, with what is wrong in AWS's words, read, and listed.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html
"""

import re
from collections.abc import Mapping
from typing import Any

from cloudlet.kernel import paging, policy
from cloudlet.kernel.call import Call
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.notifications import SERVICE
from cloudlet.services.s3.records import Bucket, BucketConfiguration
from cloudlet.services.s3.service import (
    IdMismatch,
    InvalidArgument,
    InvalidDestination,
    MalformedXml,
    NoSuchConfiguration,
    NotImplementedHere,
    TooManyConfigurations,
    bucket_arns,
    s3,
)
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import INVENTORY
from cloudlet.store.db import Tx

CONFIGURATIONS_MAX, PAGE = 1000, 100
WORK = "s3.inventory"  # kind of work: the list that a configuration (`BUCKET/ID`) wants is to be delivered
ABSENT_FIELDS = ("ObjectAccessControlList", "ObjectLockEventHoldStatus", "ObjectLockEventHoldDuration",
                 "IntelligentTieringReferenceDate")
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PREFIX_BYTES_MAX = 512
_CALLER = policy.Caller(frozenset({("Service", SERVICE), ("AWS", SERVICE)}))


def kind_of(name: str) -> str:
    """Under what a configuration of that id is kept beside its bucket."""
    return f"{INVENTORY}/{name}"


@s3.write(resources=bucket_arns, action="s3:PutInventoryConfiguration", durable=True)
def put_bucket_inventory_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Has a list of what is in a bucket delivered soon, and each day or week from then on."""
    bucket, wanted = require_bucket(tx, call, request), request["InventoryConfiguration"]
    name = wanted["Id"]
    if name != request["Id"]:
        raise IdMismatch()
    if not _ID.fullmatch(name):
        raise InvalidArgument("The inventory id is not valid", ArgumentName="id",
                              ArgumentValue=request["Id"][:256])
    _check(tx, bucket, wanted)
    before = kept.get(tx, bucket, kind_of(name))
    if before is None and len(configurations(tx, bucket)) >= CONFIGURATIONS_MAX:
        raise TooManyConfigurations()
    kept.put(tx, bucket, kind_of(name), {"said": wanted, "delivered": (before or {}).get("delivered", 0.0)})
    if wanted["IsEnabled"]:
        tx.enqueue(WORK, f"{bucket.name}/{name}")


@s3.read(resources=bucket_arns, action="s3:GetInventoryConfiguration")
def get_bucket_inventory_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """What was put."""
    return {"InventoryConfiguration": _found(tx, require_bucket(tx, call, request), request)["said"]}


@s3.write(resources=bucket_arns, action="s3:PutInventoryConfiguration", durable=True)
def delete_bucket_inventory_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Has no more lists delivered."""
    bucket = require_bucket(tx, call, request)
    _found(tx, bucket, request)
    kept.delete(tx, bucket, kind_of(request["Id"]))


@s3.read(resources=bucket_arns, action="s3:GetInventoryConfiguration")
def list_bucket_inventory_configurations(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """All of them, a hundred on a page."""
    bucket, token = require_bucket(tx, call, request), request.get("ContinuationToken")
    try:
        page, following = paging.cut(configurations(tx, bucket), token=token, limit=PAGE, scope=bucket.arn,
                                     identity=lambda each: str(each["Id"]))
    except paging.InvalidToken:
        raise InvalidArgument("The continuation token provided is incorrect", ArgumentName="continuation-token",
                              ArgumentValue=str(token)[:256]) from None
    return {"InventoryConfigurationList": page, "ContinuationToken": token, "IsTruncated": following is not None,
            "NextContinuationToken": following}


def _found(tx: Tx, bucket: Bucket, request: dict[str, Any]) -> dict[str, Any]:
    found = kept.get(tx, bucket, kind_of(request["Id"]))
    if found is None:
        raise NoSuchConfiguration()
    return found


def configurations(tx: Tx, bucket: Bucket) -> list[Mapping[str, Any]]:
    """What was said of each, by their ids."""
    return [each.body["said"] for each in tx.find(BucketConfiguration, f"{bucket.name}/{INVENTORY}/")]  # type: ignore[misc]


def _check(tx: Tx, bucket: Bucket, wanted: Mapping[str, Any]) -> None:
    to: Mapping[str, Any] = wanted["Destination"]["S3BucketDestination"]
    if to["Format"] not in ("CSV", "ORC", "Parquet") or wanted["IncludedObjectVersions"] not in ("All", "Current") or (
            wanted["Schedule"]["Frequency"] not in ("Daily", "Weekly")):
        raise MalformedXml()
    if to["Format"] != "CSV":
        raise NotImplementedHere(f"Cloudlet delivers inventories as CSV, not as {to['Format']}")
    if "SSEKMS" in (to.get("Encryption") or {}):
        raise NotImplementedHere("Cloudlet has no KMS: have inventories encrypted by SSE-S3")
    for field in wanted.get("OptionalFields") or ():
        if field in ABSENT_FIELDS:
            raise NotImplementedHere(f"Cloudlet has no {field} in inventories")
    if len(to.get("Prefix", "").encode()) > _PREFIX_BYTES_MAX:
        raise InvalidArgument(f"The destination prefix must not be longer than {_PREFIX_BYTES_MAX} bytes",
                              ArgumentName="Prefix", ArgumentValue=to["Prefix"][:256])
    if not to["Bucket"].startswith("arn:aws:s3:::"):
        raise InvalidDestination("Invalid bucket ARN.")
    target = tx.get(Bucket, to["Bucket"].rpartition(":")[2])
    if target is None or to.get("AccountId", target.account) != target.account:
        raise InvalidDestination("The destination bucket does not exist, or belongs to another account")
    if target.region != bucket.region:
        raise InvalidDestination("The destination bucket must be in the same Region as the source bucket")


def is_let(target: Bucket, bucket: Bucket, key: str) -> bool:
    """Whether the policy of a bucket lets inventories of another one in, as AWS demands even of an account's own.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/configure-inventory.html
    """
    facts = {"aws:sourcearn": (bucket.arn,), "aws:sourceaccount": (bucket.account,), "aws:principalservicename": (
        SERVICE,), "aws:principalisawsservice": ("true",), "s3:x-amz-acl": ("bucket-owner-full-control",)}
    return bool(target.policy) and policy.granted(
        policy.parse(target.policy), _CALLER, "s3:PutObject", f"{target.arn}/{key}", facts.get) == "direct"
