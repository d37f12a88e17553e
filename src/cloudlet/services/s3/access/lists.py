"""The access control lists of buckets and objects: put and read."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3 import notifications, replication_rules, versions
from cloudlet.services.s3.access import grants
from cloudlet.services.s3.access.decision import check_not_public, present, present_or_marker
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.notifications import cause_of
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import ENFORCED, Bucket
from cloudlet.services.s3.service import (
    AccessControlListNotSupported,
    bucket_arns,
    by_version,
    object_arns,
    s3,
)
from cloudlet.services.s3.versions import Version
from cloudlet.store.db import Tx


@s3.write(resources=bucket_arns, durable=True)
def put_bucket_acl(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Gives a bucket its list."""
    bucket = require_bucket(tx, call, request)
    owner = canonical_id(bucket.account)
    acl = _demanded(request, bucket, owner)
    tx.put(dataclasses.replace(bucket, acl=grants.dump(acl, owner)))


@s3.read(resources=bucket_arns)
def get_bucket_acl(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A bucket's list; where lists do not count it says that the owner may do everything."""
    bucket = require_bucket(tx, call, request)
    owner = canonical_id(bucket.account)
    return grants.members(grants.load("" if bucket.ownership == ENFORCED else bucket.acl, owner), owner)


@s3.write(resources=object_arns, action=by_version("s3:PutObjectAcl", "s3:PutObjectVersionAcl"), durable=True)
def put_object_acl(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Gives a version of an object its list."""
    bucket = require_bucket(tx, call, request)
    version = present_or_marker(tx, call, bucket, request["Key"], request.get("VersionId"), "PUT")
    acl = _demanded(request, bucket, version.owner)
    about = version.about
    changed = about.replace(acl=grants.dump(acl, version.owner))
    if changed != about:
        version = versions.set_about(tx, version, changed)
        notifications.announce(tx, cause_of(call), bucket, "ObjectAcl:Put", version)
        replication_rules.enqueue(tx, bucket, version)
    return {}


@s3.read(resources=object_arns, action=by_version("s3:GetObjectAcl", "s3:GetObjectVersionAcl"))
def get_object_acl(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The list of a version of an object."""
    bucket, version = _object(call, tx, request)
    if bucket.ownership == ENFORCED:
        owner = canonical_id(bucket.account)
        return grants.members(grants.private(owner), owner)
    return grants.members(grants.load(version.about.acl, version.owner), version.owner)


def _demanded(request: dict[str, Any], bucket: Bucket, owner: str) -> grants.Acl:
    """The list that a request says. Raises what is wrong with it, or where the bucket does not allow it: then only
    bucket-owner-full-control, or the same as a document.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-ownership-error-responses.html
    """
    bucket_owner = canonical_id(bucket.account)
    acl = grants.demanded(request, owner, bucket_owner)
    if bucket.ownership == ENFORCED and (acl != grants.private(bucket_owner) or request.get("ACL") == "private"):
        raise AccessControlListNotSupported()
    check_not_public(bucket, acl)
    return acl


def _object(call: Call, tx: Tx, request: dict[str, Any]) -> tuple[Bucket, Version]:
    bucket = require_bucket(tx, call, request)
    version = present(tx, call, bucket, request["Key"], request.get("VersionId"))
    return bucket, version
