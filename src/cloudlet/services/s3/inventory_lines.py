"""Versions as lines of an inventory, and the manifest of its file.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from cloudlet.services.s3.notifications import time_text
from cloudlet.services.s3.records import About
from cloudlet.services.s3.versions import Version

FORMAT = "2016-11-30"
_OF_VERSIONS = ("VersionId", "IsLatest", "IsDeleteMarker")
_STATUS = {"AES256": "SSE-S3", "aws:kms": "SSE-KMS", "aws:kms:dsse": "DSSE-KMS"}
Said = Mapping[str, Any]


def _bit(value: object) -> str:
    return "true" if value else "false"


# How each optional field is said, in the order of their columns; nothing of a marker but when it came, and whose it is.
_COLUMNS: dict[str, Callable[[Version, About], str]] = {
    "Size": lambda version, about: str(version.size),
    "LastModifiedDate": lambda version, about: time_text(version.modified),
    "ETag": lambda version, about: version.etag,
    "StorageClass": lambda version, about: version.storage_class,
    "IsMultipartUploaded": lambda version, about: _bit(version.upload),
    "ReplicationStatus": lambda version, about: about.replication,
    "EncryptionStatus": lambda version, about: "SSE-C" if about.customer_key_md5 else _STATUS[about.encryption],
    "ObjectLockRetainUntilDate": lambda version, about: (
        time_text(version.retain_until_ms / 1000) if version.retain_until_ms else ""),
    "ObjectLockMode": lambda version, about: version.mode,
    "ObjectLockLegalHoldStatus": lambda version, about: "ON" if version.legal_hold else "OFF",
    "IntelligentTieringAccessTier": lambda version, about: (
        "FREQUENT" if version.storage_class == "INTELLIGENT_TIERING" else ""),
    "BucketKeyStatus": lambda version, about: "ENABLED" if about.bucket_key else "DISABLED",
    "ChecksumAlgorithm": lambda version, about: ",".join(about.checksums).upper(),
    "ObjectOwner": lambda version, about: version.owner,
}
_OF_MARKERS = ("LastModifiedDate", "ObjectOwner", "ReplicationStatus")
EXPIRY = "LifecycleExpirationDate"  # which the caller knows


def columns(said: Said) -> list[str]:
    """The names of what a configuration's lines have, in order."""
    wanted = said.get("OptionalFields") or ()
    of_versions = _OF_VERSIONS if said["IncludedObjectVersions"] == "All" else ()
    return ["Bucket", "Key", *of_versions, *(name for name in (*_COLUMNS, EXPIRY) if name in wanted)]


def line(bucket: str, names: Sequence[str], version: Version, expires: str) -> str:
    """A version, as the columns of those names want it."""
    about = version.about
    known = {"Bucket": bucket, "Key": quote(version.key), "VersionId": "" if version.version == "null" else
             version.version, "IsLatest": _bit(version.current), "IsDeleteMarker": _bit(version.marker),
             EXPIRY: expires}
    cells = (known[name] if name in known else "" if version.marker and name not in _OF_MARKERS else
             _COLUMNS[name](version, about) for name in names)
    return ",".join(f'"{cell}"' for cell in cells) + "\n"


def manifest(source: str, said: Said, created: float, files: Sequence[tuple[str, int, str]]) -> bytes:
    """What says of which files (key, size, MD5 in hex) an inventory is."""
    return json.dumps({
        "sourceBucket": source, "destinationBucket": said["Destination"]["S3BucketDestination"]["Bucket"],
        "version": FORMAT, "creationTimestamp": str(int(created * 1000)), "fileFormat": "CSV",
        "fileSchema": ", ".join(columns(said)),
        "files": [{"key": key, "size": size, "MD5checksum": md5} for key, size, md5 in files]}, indent=2).encode()
