"""The tags of a bucket, and whether they count in conditions of policies.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/buckets-tagging.html
"""

from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3 import tags
from cloudlet.services.s3.access.keys import bucket_tags
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import NoSuchTagSet, bucket_arns, s3
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import ABAC, TAGGING
from cloudlet.store.db import Tx


@s3.write(resources=bucket_arns, durable=True)
def put_bucket_tagging(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Gives a bucket its tags, in the place of those it had; none at all is no set."""
    bucket, given = require_bucket(tx, call, request), request["Tagging"].get("TagSet") or []
    tags.checked(((tag["Key"], tag["Value"]) for tag in given), tags.BUCKET_TAGS_MAX, "Bucket")
    if given:
        kept.put(tx, bucket, TAGGING, {"TagSet": given})
    else:
        kept.delete(tx, bucket, TAGGING)


@s3.read(resources=bucket_arns)
def get_bucket_tagging(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """A bucket's tags."""
    return kept.require(tx, require_bucket(tx, call, request), TAGGING, NoSuchTagSet)


@s3.write(resources=bucket_arns, action="s3:PutBucketTagging", durable=True)
def delete_bucket_tagging(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Takes all tags of a bucket away."""
    kept.delete(tx, require_bucket(tx, call, request), TAGGING)


@s3.write(resources=bucket_arns, durable=True)
def put_bucket_abac(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Says whether conditions on aws:ResourceTag/… see the tags of a bucket."""
    kept.put(tx, require_bucket(tx, call, request), ABAC, {"Status": request["AbacStatus"].get("Status", "Disabled")})


@s3.read(resources=bucket_arns)
def get_bucket_abac(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """Whether they do: not unless somebody said so."""
    return {"AbacStatus": kept.get(tx, require_bucket(tx, call, request), ABAC) or {"Status": "Disabled"}}


@s3.resource_tags
def tags_of(tx: Tx, arn: str) -> Mapping[str, str]:
    """The tags of the bucket that an ARN names, where they count; objects have theirs in s3:ExistingObjectTag/…"""
    name, _, key = arn.removeprefix("arn:aws:s3:::").partition("/")
    bucket = tx.get(Bucket, name) if not key else None
    return {} if bucket is None else bucket_tags(tx, bucket)
