"""Who pays for requests, and whether a bucket has a second name: nothing costs or is faster, but both are honoured.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html
"""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.service import InvalidRequest, MalformedXml, bucket_arns, s3
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import ACCELERATE
from cloudlet.store.db import Tx


@s3.write(resources=bucket_arns, durable=True)
def put_bucket_request_payment(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Says who pays: `admission` refuses those who do not know it."""
    bucket = require_bucket(tx, call, request)
    payer = request["RequestPaymentConfiguration"].get("Payer")
    tx.put(dataclasses.replace(bucket, requester_pays=payer == "Requester"))


@s3.read(resources=bucket_arns)
def get_bucket_request_payment(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Who pays."""
    return {"Payer": "Requester" if require_bucket(tx, call, request).requester_pays else "BucketOwner"}


@s3.write(resources=bucket_arns, action="s3:PutAccelerateConfiguration", durable=True)
def put_bucket_accelerate_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Says whether `BUCKET.s3-accelerate.…` is a name of the bucket."""
    bucket, status = require_bucket(tx, call, request), request["AccelerateConfiguration"].get("Status")
    if status is None:
        raise MalformedXml()
    if "." in bucket.name:
        raise InvalidRequest("S3 Transfer Acceleration is not supported for buckets with periods (.) in their names")
    kept.put(tx, bucket, ACCELERATE, {"Status": status})


@s3.read(resources=bucket_arns, action="s3:GetAccelerateConfiguration")
def get_bucket_accelerate_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """Whether it is; nothing where nobody ever said so."""
    return kept.get(tx, require_bucket(tx, call, request), ACCELERATE) or {}
