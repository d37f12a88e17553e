"""What is configured of a bucket: kept beside it, as the customer said it, and gone when it goes."""

from typing import Any

from cloudlet.kernel.errors import AwsError
from cloudlet.services.s3.records import Bucket, BucketConfiguration
from cloudlet.store.db import Tx

ABAC, ACCELERATE, CORS, ENCRYPTION, LOCK, TAGGING, WEBSITE = (
    "abac", "accelerate", "cors", "encryption", "object-lock", "tagging", "website")


def put(tx: Tx, bucket: Bucket, kind: str, body: dict[str, Any]) -> None:
    """Keeps a configuration, in the place of the one before."""
    tx.put(BucketConfiguration(f"{bucket.name}/{kind}", body))


def get(tx: Tx, bucket: Bucket, kind: str) -> dict[str, Any] | None:
    """A configuration, or None where there is none."""
    found = tx.get(BucketConfiguration, f"{bucket.name}/{kind}")
    return found.body if found is not None else None


def require(tx: Tx, bucket: Bucket, kind: str, error: type[AwsError]) -> dict[str, Any]:
    """A configuration. Raises the error that says that there is none."""
    found = get(tx, bucket, kind)
    if found is None:
        raise error(BucketName=bucket.name)
    return found


def delete(tx: Tx, bucket: Bucket, kind: str) -> None:
    """Forgets a configuration, where there is one."""
    tx.delete(BucketConfiguration, f"{bucket.name}/{kind}")
