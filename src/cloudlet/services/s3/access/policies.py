"""Bucket policies: put, read and deleted."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.iam import find_role, find_user
from cloudlet.services.s3.access.decision import is_allowed
from cloudlet.services.s3.access.policy_rules import check
from cloudlet.services.s3.access.public import is_public
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import (
    AccessDenied,
    MalformedPolicy,
    MethodNotAllowed,
    NoSuchBucketPolicy,
    bucket_arns,
    s3,
)
from cloudlet.store.db import Tx


@s3.write(resources=bucket_arns, durable=True)
def put_bucket_policy(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Gives a bucket its policy, in the place of the one it had."""
    bucket = require_bucket(tx, call, request)
    _check_same_account(call, bucket)
    document = check(request["Policy"], bucket.name, lambda arn: bool(find_user(tx, arn) or find_role(tx, arn)))
    if bucket.shuts("BlockPublicPolicy") and is_public(document):
        raise AccessDenied(
            f"User: {call.principal.arn} is not authorized to perform: s3:PutBucketPolicy on resource: "
            f'"{bucket.arn}" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public'
            " Access.")
    tx.put(dataclasses.replace(bucket, policy=document))
    # The root user of its account may always put another (`decision`): nobody can lock themselves out for good.
    if not request.get("ConfirmRemoveSelfBucketAccess") and not is_allowed(
            tx, call, "s3:PutBucketPolicy", bucket.arn):
        raise MalformedPolicy("The policy would deny the caller the right to change it: confirm the removal of your own"
                              " access, or leave it to you.")


@s3.read(resources=bucket_arns)
def get_bucket_policy(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A bucket's policy, as it was put."""
    return {"Policy": _policy(call, tx, request)}


@s3.read(resources=bucket_arns)
def get_bucket_policy_status(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Whether a bucket's policy is public."""
    return {"PolicyStatus": {"IsPublic": is_public(_policy(call, tx, request))}}


@s3.write(resources=bucket_arns, durable=True)
def delete_bucket_policy(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Takes a bucket's policy away, where it has one."""
    bucket = require_bucket(tx, call, request)
    _check_same_account(call, bucket)
    tx.put(dataclasses.replace(bucket, policy=""))


def _policy(call: Call, tx: Tx, request: dict[str, Any]) -> str:
    bucket = require_bucket(tx, call, request)
    _check_same_account(call, bucket)
    if not bucket.policy:
        raise NoSuchBucketPolicy(BucketName=bucket.name)
    return bucket.policy


def _check_same_account(call: Call, bucket: Bucket) -> None:
    """A bucket's policy is its own account's business, whatever it allows others: AWS says 405."""
    if call.account != bucket.account:
        raise MethodNotAllowed(ResourceType="BUCKETPOLICY")
