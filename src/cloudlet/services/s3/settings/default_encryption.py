"""How a bucket's new objects are encrypted where their requests do not say it, and by what they must not be.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-encryption.html
"""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.service import InvalidArgument, InvalidRequest, MalformedXml, bucket_arns, s3
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import ENCRYPTION
from cloudlet.store.db import Tx

_USUAL: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}


@s3.write(resources=bucket_arns, action="s3:PutEncryptionConfiguration", durable=True)
def put_bucket_encryption(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Sets the one rule. There is no KMS here yet, so that it can only be SSE-S3."""
    bucket, rules = require_bucket(tx, call, request), request["ServerSideEncryptionConfiguration"].get("Rules") or []
    if len(rules) != 1:
        raise MalformedXml()
    usual = rules[0].get("ApplyServerSideEncryptionByDefault") or _USUAL["ApplyServerSideEncryptionByDefault"]
    if usual["SSEAlgorithm"] != "AES256":
        raise InvalidRequest("Cloudlet has no KMS: the default encryption is SSE-S3 (AES256)")
    if usual.get("KMSMasterKeyID"):
        raise InvalidArgument("a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or"
                              " aws:kms:dsse", ArgumentName="ApplyServerSideEncryptionByDefault")
    kept.put(tx, bucket, ENCRYPTION, {"Rules": [{**_USUAL, **rules[0]}]})


@s3.read(resources=bucket_arns, action="s3:GetEncryptionConfiguration")
def get_bucket_encryption(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """The rule; SSE-S3 where nobody set one, as on AWS since 2023."""
    bucket = require_bucket(tx, call, request)
    return {"ServerSideEncryptionConfiguration": kept.get(tx, bucket, ENCRYPTION) or {"Rules": [_USUAL]}}


@s3.write(resources=bucket_arns, action="s3:PutEncryptionConfiguration", durable=True)
def delete_bucket_encryption(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Back to what nobody set."""
    kept.delete(tx, require_bucket(tx, call, request), ENCRYPTION)
