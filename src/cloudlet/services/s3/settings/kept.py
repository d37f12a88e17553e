"""What is configured of a bucket: kept beside it, as the customer said it, and gone when it goes."""

import dataclasses
from typing import Any

from cloudlet.kernel.errors import AwsError
from cloudlet.services.s3.records import Bucket, BucketConfiguration
from cloudlet.store.db import Tx

(ABAC, ACCELERATE, CORS, ENCRYPTION, INVENTORY, LIFECYCLE, LOCK, LOGGING, NOTIFICATION, REPLICATION, TAGGING,
 WEBSITE) = ("abac", "accelerate", "cors", "encryption", "inventory", "lifecycle", "object-lock", "logging",
             "notification", "replication", "tagging", "website")


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


def act_on(tx: Tx, bucket: Bucket, kind: str, body: dict[str, Any] | None) -> None:
    """The same, or nothing any more, of a kind that requests on objects act on: the bucket itself says if it has it."""
    others = tuple(each for each in bucket.acts if each != kind)
    if body is None:
        delete(tx, bucket, kind)
    else:
        put(tx, bucket, kind, body)
    tx.put(dataclasses.replace(bucket, acts=others if body is None else (*others, kind)))


def delete(tx: Tx, bucket: Bucket, kind: str) -> None:
    """Forgets a configuration, where there is one."""
    tx.delete(BucketConfiguration, f"{bucket.name}/{kind}")
