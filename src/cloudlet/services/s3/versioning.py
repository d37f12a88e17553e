"""Whether a bucket keeps the versions of its objects.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html
"""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.service import (
    IllegalVersioningConfiguration,
    InvalidBucketState,
    NotImplementedHere,
    bucket_arns,
    s3,
)
from cloudlet.services.s3.settings.kept import REPLICATION
from cloudlet.store.db import Tx


@s3.write(resources=bucket_arns, durable=True)
def put_bucket_versioning(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Enables or suspends versioning. Once enabled it can only be suspended, and with object lock not even that."""
    bucket, wanted = require_bucket(tx, call, request), request["VersioningConfiguration"]
    if wanted.get("MFADelete") == "Enabled" or "MFA" in request:
        raise NotImplementedHere("Cloudlet has no MFA Delete")
    status = wanted.get("Status")
    if status is None:
        raise IllegalVersioningConfiguration()
    if bucket.lock_enabled and status != "Enabled":
        raise InvalidBucketState("An Object Lock configuration is present on this bucket, so the versioning state"
                                 " cannot be changed.")
    if REPLICATION in bucket.acts and status != "Enabled":
        raise InvalidBucketState("A replication configuration is present on this bucket, so you cannot change the"
                                 " versioning state. To change the versioning state, first delete the replication"
                                 " configuration.")
    tx.put(dataclasses.replace(bucket, versioning=status, mfa_delete=wanted.get("MFADelete") or bucket.mfa_delete))


@s3.read(resources=bucket_arns)
def get_bucket_versioning(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """What was put; nothing where versioning was never enabled."""
    bucket = require_bucket(tx, call, request)
    return {"Status": bucket.versioning or None, "MFADelete": bucket.mfa_delete or None}
