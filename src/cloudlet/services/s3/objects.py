"""Objects: put, got, asked about and deleted."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3 import checksums, contents, versions
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.contents import INLINE_BYTES
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import About, Bucket
from cloudlet.services.s3.service import (
    KeyTooLong,
    MetadataTooLarge,
    MissingContentLength,
    by_version,
    object_arns,
    s3,
)
from cloudlet.services.s3.versions import Draft, Version
from cloudlet.store.db import Store, Tx

KEY_BYTES_MAX = 1024
METADATA_BYTES_MAX = 2048
CONTENT_TYPE = "binary/octet-stream"  # of what was put without one
_HEADERS = {"ContentType": "content_type", "CacheControl": "cache_control",
            "ContentDisposition": "content_disposition", "ContentEncoding": "content_encoding",
            "ContentLanguage": "content_language", "Expires": "expires", "WebsiteRedirectLocation": "redirect",
            "Metadata": "metadata"}


def require_key(request: dict[str, Any]) -> str:
    """The key that a request means. Raises KeyTooLong."""
    key: str = request["Key"]
    size = len(key.encode(errors="surrogatepass"))
    if size > KEY_BYTES_MAX:
        raise KeyTooLong(Size=str(size), MaxSizeAllowed=str(KEY_BYTES_MAX))
    return key


def about_of(request: dict[str, Any], sums: dict[str, str]) -> About:
    """What a request says of the object that it makes. Raises MetadataTooLarge."""
    said = {ours: request[theirs] for theirs, ours in _HEADERS.items() if theirs in request}
    metadata = said.get("metadata", {})
    size = sum(len(name) + len(value.encode()) for name, value in metadata.items())
    if size > METADATA_BYTES_MAX:
        raise MetadataTooLarge(Size=str(size), MaxSizeAllowed=str(METADATA_BYTES_MAX))
    return About(**said, checksums=sums)


@s3.wait(resources=object_arns)
async def put_object(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """Makes a body what a key is. It survives a power cut when this answers."""
    key, body = require_key(request), request["Body"]
    if body.length is None:
        raise MissingContentLength()
    if body.length > INLINE_BYTES:  # before so much is taken for nothing
        with store.tx() as tx:
            require_bucket(tx, call, request)
    async with contents.receive(store, body) as received:
        with store.tx() as tx:
            bucket = require_bucket(tx, call, request)
            versions.check_write(versions.current(tx, bucket, key), request.get("IfMatch"), request.get("IfNoneMatch"),
                                 key)
            about = about_of(request, checksums.checksums_of(received))
            version = versions.put_version(tx, bucket, key, Draft(
                received.size, received.md5, canonical_id(call.account), about, contents.keep(tx, received)))
        await store.flush()
    answer = {"ETag": version.quoted, "ServerSideEncryption": about.encryption, **checksums.members(about)}
    if bucket.versioning:
        answer["VersionId"] = version.version
    return answer


@s3.read(resources=object_arns, action=by_version("s3:GetObject", "s3:GetObjectVersion"))
def get_object(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """An object's bytes and what is known of it."""
    version, answer = _describe(call, tx, request)
    assert version.content is not None
    answer["Body"] = contents.read(tx, version.content)
    return answer


@s3.read(resources=object_arns, action=by_version("s3:GetObject", "s3:GetObjectVersion"))
def head_object(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """What is known of an object."""
    return _describe(call, tx, request)[1]


@s3.write(resources=object_arns, action=by_version("s3:DeleteObject", "s3:DeleteObjectVersion"), durable=True)
def delete_object(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Deletes a version for good, or a key: with versioning a marker covers what it was."""
    bucket, key = require_bucket(tx, call, request), require_key(request)
    return delete(tx, bucket, key, request.get("VersionId"), canonical_id(call.account))


def delete(tx: Tx, bucket: Bucket, key: str, version_id: str | None, owner: str) -> dict[str, Any]:
    """What DeleteObject does and answers."""
    if version_id is not None:
        found = versions.find(tx, bucket, key, version_id)
        if found is not None:
            versions.remove(tx, found)
        return {"VersionId": version_id, "DeleteMarker": True if found is not None and found.marker else None}
    if bucket.versioning:
        return {"VersionId": versions.add_marker(tx, bucket, key, owner).version, "DeleteMarker": True}
    found = versions.current(tx, bucket, key)
    if found is not None:
        versions.remove(tx, found)
    return {}


def _describe(call: Call, tx: Tx, request: dict[str, Any]) -> tuple[Version, dict[str, Any]]:
    bucket, key = require_bucket(tx, call, request), require_key(request)
    version = versions.require(tx, bucket, key, request.get("VersionId"))
    about = version.about
    answer = {theirs: getattr(about, ours) or None for theirs, ours in _HEADERS.items()}
    answer |= {"ContentType": about.content_type or CONTENT_TYPE, "ContentLength": version.size,
               "ETag": version.quoted, "LastModified": version.modified_ms // 1000, "AcceptRanges": "bytes",
               "ServerSideEncryption": about.encryption,
               "StorageClass": None if version.storage_class == "STANDARD" else version.storage_class}
    if bucket.versioning:
        answer["VersionId"] = version.version
    if request.get("ChecksumMode") == "ENABLED":
        answer |= checksums.members(about)
    return version, answer
