"""S3: buckets and the objects in them."""

from importlib import resources

from cloudlet.services.s3 import (
    attributes,
    buckets,
    copies,
    listing,
    objects,
    tagging,
    versioning,
)
from cloudlet.services.s3.garbage import controller
from cloudlet.services.s3.service import s3

__all__ = ["TABLES", "attributes", "buckets", "controller", "copies", "listing", "objects", "s3", "tagging",
           "versioning"]

TABLES = resources.files("cloudlet.services.s3").joinpath("tables.sql").read_text()
