"""Buckets: made, listed, found and deleted."""

import dataclasses
import re
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.model import region_names
from cloudlet.kernel.site import Site
from cloudlet.services.s3 import parts
from cloudlet.services.s3.access import grants
from cloudlet.services.s3.access.keys import creates_bucket
from cloudlet.services.s3.access.needs import of_new_bucket
from cloudlet.services.s3.owners import canonical_id, check_expected
from cloudlet.services.s3.records import ENFORCED, SWITCHES, Bucket, BucketConfiguration, NewBuckets
from cloudlet.services.s3.service import (
    AuthorizationHeaderMalformed,
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    BucketNotEmpty,
    IllegalLocationConstraint,
    InvalidBucketAclWithBlockPublicAccess,
    InvalidBucketAclWithObjectOwnership,
    InvalidBucketName,
    InvalidLocationConstraint,
    InvalidRequest,
    NoSuchBucket,
    TooManyBuckets,
    bucket_arn,
    bucket_arns,
    s3,
)
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.tags import BUCKET_TAGS_MAX, checked
from cloudlet.store.db import Store, Tx

LIST_MAX = BUCKETS_MAX = 10_000
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; AWS reserves amzn-s3-demo- as well, for
# the buckets of its own examples, which here can be made as they are written.
_NAME = re.compile(r"(?!xn--|sthree-)(?!.*(?:-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$)(?!.*\.\.)"
                   r"(?!(?:\d+\.){3}\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def require_bucket(tx: Tx, call: Call, request: dict[str, Any]) -> Bucket:
    """The bucket that a request means. Raises NoSuchBucket, AccessDenied where its owner is not the one expected."""
    name = request["Bucket"]
    found = tx.get(Bucket, name)
    if found is None:
        raise NoSuchBucket(BucketName=name)
    check_expected(request.get("ExpectedBucketOwner"), found.account)
    return found


@s3.write(resources=of_new_bucket, context=creates_bucket, durable=True)
def create_bucket(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A new bucket, in the region that the request names. Its name is nobody else's, in any region."""
    name, configuration = request["Bucket"], request.get("CreateBucketConfiguration") or {}
    if not _NAME.fullmatch(name):
        raise InvalidBucketName(BucketName=name)
    if any(configuration.get(member) for member in ("Location", "Bucket")) or (
            request.get("BucketNamespace", "global") != "global"):
        raise InvalidRequest("Cloudlet has neither directory buckets nor regional namespaces")
    region = _region(call, configuration.get("LocationConstraint") or "")
    found, answer = tx.get(Bucket, name), {"Location": f"/{name}", "BucketArn": bucket_arn(name)}
    if found is not None and found.account != call.account:
        raise BucketAlreadyExists(BucketName=name)
    if found is not None and not found.region == region == "us-east-1":
        raise BucketAlreadyOwnedByYou(BucketName=name)
    if found is not None:  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html: lists are reset
        tx.put(dataclasses.replace(found, acl=_first_acl(request, found)))
        return answer
    if tx.count(Bucket, account=call.account) >= BUCKETS_MAX:
        raise TooManyBuckets()
    bucket = _new(call, tx, request, region)
    tx.put(dataclasses.replace(bucket, acl=_first_acl(request, bucket)))
    if configuration.get("Tags"):
        checked(((tag["Key"], tag["Value"]) for tag in configuration["Tags"]), BUCKET_TAGS_MAX, "Bucket")
        kept.put(tx, bucket, kept.TAGGING, {"TagSet": configuration["Tags"]})
    return answer


def _region(call: Call, constraint: str) -> str:
    """Where a bucket is made: us-east-1's endpoint takes any region, every other one its own only, and said."""
    region, regions = {"EU": "eu-west-1"}.get(constraint, constraint), region_names("s3")
    if call.region not in regions:  # s3cmd's US, until it is told better
        raise AuthorizationHeaderMalformed(
            f"The authorization header is malformed; the region '{call.region}' is wrong; expecting 'us-east-1'",
            Region="us-east-1")
    if call.region == "us-east-1":
        if region == "us-east-1" or (region and region not in regions):
            raise InvalidLocationConstraint(LocationConstraint=constraint)
        return region or call.region
    if region != call.region:
        raise IllegalLocationConstraint(
            f"The {constraint or 'unspecified'} location constraint is incompatible for the region specific endpoint"
            " this request was sent to.")
    return region


def _new(call: Call, tx: Tx, request: dict[str, Any], region: str) -> Bucket:
    usual = tx.get(NewBuckets, "") or NewBuckets()
    locked = bool(request.get("ObjectLockEnabledForBucket"))
    return Bucket(request["Bucket"], int(tx.token(12), 16), call.account, region, tx.now,
                  versioning="Enabled" if locked else "", ownership=request.get("ObjectOwnership", usual.ownership),
                  block=SWITCHES if usual.ownership == ENFORCED else None, lock_enabled=locked)


def set_object_ownership(store: Store, site: Site) -> None:
    """Keeps the installation's setting where operations find it."""
    with store.tx() as tx:
        if (tx.get(NewBuckets, "") or NewBuckets()).ownership != site.object_ownership:
            tx.put(NewBuckets("", site.object_ownership))


def _first_acl(request: dict[str, Any], bucket: Bucket) -> str:
    owner = canonical_id(bucket.account)
    acl = grants.requested(request, owner, owner) or grants.private(owner)
    if bucket.ownership == ENFORCED and acl != grants.private(owner):
        raise InvalidBucketAclWithObjectOwnership()
    if bucket.shuts("BlockPublicAcls") and grants.is_public(acl):
        raise InvalidBucketAclWithBlockPublicAccess()
    return grants.dump(acl, owner)


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


@s3.read(resources=lambda call, request: [bucket_arn("*")], action="s3:ListAllMyBuckets")
def list_buckets(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The caller's buckets, in order of their names."""
    limit: int = request.get("MaxBuckets", LIST_MAX)
    region, prefix = request.get("BucketRegion"), request.get("Prefix", "")
    found = [bucket for bucket in tx.find(Bucket, prefix, after=request.get("ContinuationToken", ""),
                                          account=call.account) if region in (None, bucket.region)]
    return {"Buckets": [{"Name": bucket.name, "CreationDate": int(bucket.created), "BucketRegion": bucket.region,
                         "BucketArn": bucket.arn} for bucket in found[:limit]],
            "Owner": {"ID": canonical_id(call.account)}, "Prefix": request.get("Prefix"),
            "ContinuationToken": found[limit - 1].name if len(found) > limit else None}


@s3.write(resources=bucket_arns, durable=True)
def delete_bucket(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Deletes a bucket in which nothing is left, neither versions nor markers; uploads under way go with it."""
    bucket = require_bucket(tx, call, request)
    if tx.execute("select 1 from s3_version where bucket=? limit 1", (bucket.id,)).fetchone():
        raise BucketNotEmpty(BucketNotEmpty.default_message + (
            ". You must delete all versions in the bucket." if bucket.versioning else ""), BucketName=bucket.name)
    parts.drop_uploads(tx, bucket.id)
    tx.execute("delete from s3_replication where bucket=?", (bucket.id,))
    for configuration in tx.find(BucketConfiguration, f"{bucket.name}/"):
        tx.delete(BucketConfiguration, configuration.key)
    tx.delete(Bucket, bucket.name)
