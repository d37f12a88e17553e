"""The public access block of a bucket, and the ownership of the objects in it."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3.access import grants
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import ENFORCED, SWITCHES, Bucket
from cloudlet.services.s3.service import (
    InvalidBucketAclWithObjectOwnership,
    MalformedXml,
    NoSuchPublicAccessBlock,
    OwnershipControlsNotFound,
    bucket_arns,
    s3,
)
from cloudlet.store.db import Tx


@s3.write(resources=bucket_arns, action="s3:PutBucketPublicAccessBlock", durable=True)
def put_public_access_block(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Sets the four switches; one that is not named is off."""
    bucket, said = require_bucket(tx, call, request), request.get("PublicAccessBlockConfiguration")
    if said is None:
        raise MalformedXml()
    tx.put(dataclasses.replace(bucket, block=tuple(name for name in SWITCHES if said.get(name))))


@s3.read(resources=bucket_arns, action="s3:GetBucketPublicAccessBlock")
def get_public_access_block(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The four switches."""
    bucket = require_bucket(tx, call, request)
    if bucket.block is None:
        raise NoSuchPublicAccessBlock(BucketName=bucket.name)
    return {"PublicAccessBlockConfiguration": {name: name in bucket.block for name in SWITCHES}}


@s3.write(resources=bucket_arns, action="s3:PutBucketPublicAccessBlock", durable=True)
def delete_public_access_block(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Takes the block away: nothing public is kept shut any more."""
    tx.put(dataclasses.replace(require_bucket(tx, call, request), block=None))


@s3.write(resources=bucket_arns, durable=True)
def put_bucket_ownership_controls(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Says who owns new objects, and whether lists count at all."""
    bucket, rules = require_bucket(tx, call, request), request["OwnershipControls"].get("Rules") or []
    if len(rules) != 1:
        raise MalformedXml()
    check_ownership(bucket, rules[0]["ObjectOwnership"])
    tx.put(dataclasses.replace(bucket, ownership=rules[0]["ObjectOwnership"]))


def check_ownership(bucket: Bucket, ownership: str) -> None:
    """Raises where lists cannot be switched off, since the bucket's own lets others in."""
    owner = canonical_id(bucket.account)
    if ownership == ENFORCED and grants.load(bucket.acl, owner) != grants.private(owner):
        raise InvalidBucketAclWithObjectOwnership()


@s3.read(resources=bucket_arns)
def get_bucket_ownership_controls(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Who owns new objects."""
    bucket = require_bucket(tx, call, request)
    if not bucket.ownership:
        raise OwnershipControlsNotFound(BucketName=bucket.name)
    return {"OwnershipControls": {"Rules": [{"ObjectOwnership": bucket.ownership}]}}


@s3.write(resources=bucket_arns, action="s3:PutBucketOwnershipControls", durable=True)
def delete_bucket_ownership_controls(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Takes the rule away: as in buckets that never had one, whoever puts an object owns it, and lists count."""
    tx.put(dataclasses.replace(require_bucket(tx, call, request), ownership=""))
