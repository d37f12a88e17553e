"""Buckets: made, listed, found and deleted."""

import re
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import any_resource
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import Bucket, BucketConfiguration
from cloudlet.services.s3.service import (
    AccessDenied,
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    BucketNotEmpty,
    IllegalLocationConstraint,
    InvalidArgument,
    InvalidBucketName,
    NoSuchBucket,
    bucket_arns,
    s3,
)
from cloudlet.store.db import Tx

LIST_MAX = 10_000
_NAME = re.compile(r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*(?:-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$)(?!.*\.\.)"
                   r"(?!(?:\d+\.){3}\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def require_bucket(tx: Tx, call: Call, request: dict[str, Any]) -> Bucket:
    """The bucket that a request means. Raises NoSuchBucket, AccessDenied where its owner is not the one expected."""
    name = request["Bucket"]
    found = tx.get(Bucket, name)
    if found is None:
        raise NoSuchBucket(BucketName=name)
    if request.get("ExpectedBucketOwner", found.account) != found.account:
        raise AccessDenied()
    return found


@s3.write(resources=bucket_arns, durable=True)
def create_bucket(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A new bucket, in the region that the request names. Its name is nobody else's, in any region."""
    name = request["Bucket"]
    if not _NAME.fullmatch(name):
        raise InvalidBucketName(BucketName=name)
    region = (request.get("CreateBucketConfiguration") or {}).get("LocationConstraint") or ""
    region = {"EU": "eu-west-1"}.get(region, region)
    if (region or "us-east-1") != call.region:
        raise IllegalLocationConstraint(
            f"The {region or 'unspecified'} location constraint is incompatible for the region specific endpoint this"
            " request was sent to.")
    found = tx.get(Bucket, name)
    if found is not None and found.account != call.account:
        raise BucketAlreadyExists(BucketName=name)
    if found is not None and (found.region, call.region) != ("us-east-1", "us-east-1"):
        raise BucketAlreadyOwnedByYou(BucketName=name)
    if found is None:
        tx.put(Bucket(name, int(tx.token(12), 16), call.account, call.region, tx.now,
                      ownership=request.get("ObjectOwnership", "BucketOwnerEnforced")))
    return {"Location": f"/{name}", "BucketArn": f"arn:aws:s3:::{name}"}


@s3.read(resources=bucket_arns, action="s3:ListBucket")
def head_bucket(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Whether a bucket is there, and where."""
    bucket = require_bucket(tx, call, request)
    return {"BucketRegion": bucket.region, "BucketArn": bucket.arn, "AccessPointAlias": False}


@s3.read(resources=bucket_arns)
def get_bucket_location(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The region of a bucket; none is said of us-east-1."""
    region = require_bucket(tx, call, request).region
    return {"LocationConstraint": None if region == "us-east-1" else region}


@s3.read(resources=any_resource, action="s3:ListAllMyBuckets")
def list_buckets(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The caller's buckets, in order of their names."""
    limit = request.get("MaxBuckets", LIST_MAX)
    if not 1 <= limit <= LIST_MAX:
        raise InvalidArgument(f"Argument maxBuckets must be an integer between 1 and {LIST_MAX}",
                              ArgumentName="max-buckets", ArgumentValue=str(limit))
    region, prefix = request.get("BucketRegion"), request.get("Prefix", "")
    found = [bucket for bucket in tx.find(Bucket, prefix, after=request.get("ContinuationToken", ""),
                                          account=call.account) if region in (None, bucket.region)]
    return {"Buckets": [{"Name": bucket.name, "CreationDate": bucket.created, "BucketRegion": bucket.region,
                         "BucketArn": bucket.arn} for bucket in found[:limit]],
            "Owner": {"ID": canonical_id(call.account)}, "Prefix": request.get("Prefix"),
            "ContinuationToken": found[limit - 1].name if len(found) > limit else None}


@s3.write(resources=bucket_arns, durable=True)
def delete_bucket(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Deletes a bucket in which nothing is left, neither versions nor markers."""
    bucket = require_bucket(tx, call, request)
    if tx.execute("select 1 from s3_version where bucket=? limit 1", (bucket.id,)).fetchone():
        raise BucketNotEmpty(BucketName=bucket.name)
    for configuration in tx.find(BucketConfiguration, f"{bucket.name}/"):
        tx.delete(BucketConfiguration, configuration.key)
    tx.delete(Bucket, bucket.name)
