"""S3: buckets and the objects in them."""

from importlib import resources

from cloudlet.services.s3 import (
    access_log,
    attributes,
    buckets,
    completion,
    copies,
    deletions,
    front,
    listing,
    lock,
    objects,
    restoring,
    tagging,
    uploads,
    versioning,
)
from cloudlet.services.s3.access import admission, blocks, decision, keys, lists, policies
from cloudlet.services.s3.buckets import set_object_ownership
from cloudlet.services.s3.loops import controller
from cloudlet.services.s3.service import s3
from cloudlet.services.s3.settings import (
    absent,
    bucket_inventory,
    bucket_lifecycle,
    bucket_logging,
    bucket_notification,
    bucket_replication,
    bucket_tagging,
    cors,
    default_encryption,
    payment,
    website,
)

__all__ = [
    "TABLES",
    "absent",
    "access_log",
    "admission",
    "attributes",
    "blocks",
    "bucket_inventory",
    "bucket_lifecycle",
    "bucket_logging",
    "bucket_notification",
    "bucket_replication",
    "bucket_tagging",
    "buckets",
    "completion",
    "controller",
    "copies",
    "cors",
    "decision",
    "default_encryption",
    "deletions",
    "front",
    "keys",
    "listing",
    "lists",
    "lock",
    "objects",
    "payment",
    "policies",
    "restoring",
    "s3",
    "set_object_ownership",
    "tagging",
    "uploads",
    "versioning",
    "website",
]

TABLES = resources.files("cloudlet.services.s3").joinpath("tables.sql").read_text()
