"""Objects: put, got, asked about and deleted."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.s3 import (
    checksums,
    conditions,
    contents,
    encryption,
    lifecycle,
    lock,
    metadata,
    notifications,
    reading,
    replication_rules,
    restoring,
    versions,
)
from cloudlet.services.s3.access.decision import acl_of_new, owner_of_new, present
from cloudlet.services.s3.access.keys import creates
from cloudlet.services.s3.access.needs import of_change, of_new_object
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.conditions import Range
from cloudlet.services.s3.contents import INLINE_BYTES
from cloudlet.services.s3.encryption import CustomerKey
from cloudlet.services.s3.metadata import require_key
from cloudlet.services.s3.notifications import cause_of
from cloudlet.services.s3.records import About, Bucket, decode_about
from cloudlet.services.s3.service import (
    InvalidArgument,
    InvalidPartNumber,
    InvalidRequest,
    NotImplementedHere,
    by_version,
    object_arns,
    s3,
)
from cloudlet.services.s3.versions import Draft, Version
from cloudlet.store.db import Store, Tx

PARTS_MAX = 10_000
_NTH_PART = "from s3_part where upload=? order by number limit 1 offset ?"  # an object's parts count without gaps


@s3.wait(resources=of_new_object, context=creates)
async def put_object(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """Makes a body what a key is. It survives a power cut when this answers."""
    key, body, customer = require_key(request), request["Body"], encryption.customer_key(request)
    fields, storage_class = metadata.fields(request, customer), metadata.storage_class(request)
    if "WriteOffsetBytes" in request:
        raise NotImplementedHere(Header="x-amz-write-offset-bytes")
    if body.length is None or body.length > INLINE_BYTES:  # before so much is taken for nothing
        with store.tx() as tx:
            admit(call, tx, request, key)
    with await contents.receive(store, body, key=customer) as received:
        with store.tx(shared=True) as tx:
            bucket = admit(call, tx, request, key)
            owner, acl = acl_of_new(call, bucket, request)
            about = About(**fields, checksums=checksums.checksums_of(received), acl=acl)
            version = versions.put_version(tx, bucket, key, Draft(
                received.size, received.etag, owner, about, received, storage_class=storage_class,
                **_lock(tx, bucket, request)))
            expires = _follow_up(call, tx, bucket, version) if bucket.acts else None
        await store.flush(tx)
    return {"ETag": version.quoted, "Expiration": expires,
            "VersionId": versions.named(bucket, version), **encryption.members(about), **checksums.members(about)}


def _follow_up(call: Call, tx: Tx, bucket: Bucket, version: Version) -> str | None:
    """Has done what a bucket's configurations want of a new object; the header that says when it expires."""
    notifications.announce(tx, cause_of(call), bucket, f"ObjectCreated:{'Post' if call.is_form else 'Put'}", version)
    replication_rules.enqueue(tx, bucket, version)
    return lifecycle.expiration(tx, bucket, version)


def admit(call: Call, tx: Tx, request: Input, key: str) -> Bucket:
    """The bucket, where it takes an object of that key as things are now: a request's conditions hold."""
    bucket = require_bucket(tx, call, request)
    if "IfMatch" in request or "IfNoneMatch" in request:
        versions.check_write(versions.current(tx, bucket, key), request.get("IfMatch"), request.get("IfNoneMatch"), key)
    return bucket


def _lock(tx: Tx, bucket: Bucket, request: Input) -> dict[str, Any]:
    if not bucket.lock_enabled and lock.ASKED.isdisjoint(request):  # nearly always
        return {}
    asked = lock.asked(tx, bucket, request)
    lock.check_digest(tx, bucket, asked, bool(request["Body"].checksum or "ContentMD5" in request))
    return lock.of_new(tx, bucket, asked)


@s3.read(resources=object_arns, action=by_version("s3:GetObject", "s3:GetObjectVersion"))
def get_object(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """An object's bytes, or some of them, and what is known of it."""
    customer = encryption.customer_key(request)
    version, part, answer = _describe(call, tx, request, customer)
    if version.storage_class in restoring.ARCHIVED:
        restoring.require_readable(version, version.about, tx.now)
    answer["Body"] = reading.read(tx, version, part, customer)
    return answer


@s3.read(resources=object_arns, action=by_version("s3:GetObject", "s3:GetObjectVersion"))
def head_object(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """What is known of an object."""
    return _describe(call, tx, request, encryption.customer_key(request))[2]


def _describe(call: Call, tx: Tx, request: Input,
              customer: CustomerKey | None) -> tuple[Version, Range | None, dict[str, Any]]:
    """The version that a request means, the part of it that it wants (None: all), and what the answer says."""
    bucket, key = require_bucket(tx, call, request), require_key(request)
    if call.principal.kind == "anonymous" and any(name.startswith("Response") for name in request):
        raise InvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
    _check_part_number(request)
    version = present(tx, call, bucket, key, request.get("VersionId"))
    about = version.about
    encryption.check_key(about, customer)
    conditions.check_read(request, version.etag, version.modified, tx.now,
                          {"cache-control": about.cache_control, "expires": about.expires})
    part = _part_of(tx, version, request)
    answer = {**metadata.answered(about, request), **restoring.members(version, about, tx.now)}
    answer |= {"ContentLength": version.size, "ETag": version.quoted, "LastModified": version.modified_ms // 1000,
               "AcceptRanges": "bytes", "VersionId": version.version if bucket.versioning else None,
               "StorageClass": None if version.storage_class == metadata.STANDARD else version.storage_class,
               "Expiration": None if "VersionId" in request else lifecycle.expiration(tx, bucket, version),
               **lock.members(tx, call, bucket, version)}
    if "PartNumber" in request:
        answer["PartsCount"] = about.parts or None
    if part is not None:
        answer |= {"ContentLength": part.length, "ContentRange": part.header(version.size)}
        if part.length < version.size:
            for member in (*checksums.MEMBERS.values(), "ChecksumType"):  # of all bytes, which these are not
                answer.pop(member, None)
        if "PartNumber" in request and request.get("ChecksumMode") == "ENABLED":
            answer |= _sums_of_part(tx, version, about, request["PartNumber"])
    return version, part, answer


def _check_part_number(request: Input) -> None:
    number = request.get("PartNumber")
    if number is None:
        return
    if request.get("Range"):
        raise InvalidRequest("Cannot specify both Range header and partNumber query parameter")
    if not 1 <= number <= PARTS_MAX:
        raise InvalidArgument(f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive",
                              ArgumentName="partNumber", ArgumentValue=str(number))


def _part_of(tx: Tx, version: Version, request: Input) -> Range | None:
    """The bytes that a request wants: a range, or one of the parts in which they came. None: all."""
    number = request.get("PartNumber")
    if number is None:
        return conditions.byte_range(request.get("Range"), version.size)
    found: Any = (0, version.size) if number == 1 else None
    if version.upload is not None:
        found = tx.execute(f"select start, size {_NTH_PART}", (version.upload, number - 1)).fetchone()
    if found is None:
        raise InvalidPartNumber(PartNumberRequested=str(number), ActualPartCount=str(version.about.parts or 1))
    return Range(*found) if found[1] else None


def _sums_of_part(tx: Tx, version: Version, about: About, number: int) -> dict[str, str]:
    """The checksums of one of the parts of an object, as an answer has them."""
    if version.upload is None:
        return checksums.members(about)
    row: Any = tx.execute(f"select about {_NTH_PART}", (version.upload, number - 1)).fetchone()
    found = checksums.of_part(decode_about(row[0]).checksums)
    return {**found, "ChecksumType": about.checksum_type} if found else {}


@s3.write(resources=of_change, action=by_version("s3:DeleteObject", "s3:DeleteObjectVersion"), durable=True)
def delete_object(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Deletes a version for good, or a key: with versioning a marker covers what it was."""
    bucket, key = require_bucket(tx, call, request), require_key(request)
    if "IfMatchLastModifiedTime" in request or "IfMatchSize" in request:
        raise NotImplementedHere(Header="x-amz-if-match-last-modified-time, x-amz-if-match-size")  # directory buckets'
    guard = lock.guard(call, tx, bucket, request.get("BypassGovernanceRetention"))
    return delete(call, tx, bucket, key, request.get("VersionId"), guard, request.get("IfMatch"))


def delete(call: Call, tx: Tx, bucket: Bucket, key: str, version_id: str | None, guard: lock.Guard,
           if_match: str | None = None) -> dict[str, Any]:
    """What DeleteObject does and answers. Raises AccessDenied where the guard does."""
    if if_match is not None:
        there = versions.current(tx, bucket, key)
        conditions.check_delete(if_match, key, None if there is None or there.marker else there.etag,
                                of_marker=there is not None)
    if version_id is not None:
        found = versions.find(tx, bucket, key, version_id)
        if found is not None:
            guard(found)
            _remove(call, tx, bucket, found)
        return {"VersionId": version_id, "DeleteMarker": True if found is not None and found.marker else None}
    if bucket.versioning:
        marker = versions.add_marker(tx, bucket, key, owner_of_new(call, bucket))
        notifications.announce(tx, cause_of(call), bucket, "ObjectRemoved:DeleteMarkerCreated", marker)
        replication_rules.enqueue(tx, bucket, marker)
        return {"VersionId": marker.version, "DeleteMarker": True}
    found = versions.current(tx, bucket, key)
    if found is not None:
        _remove(call, tx, bucket, found)
    return {}


def _remove(call: Call, tx: Tx, bucket: Bucket, version: Version) -> None:
    versions.remove(tx, version)
    notifications.announce(tx, cause_of(call), bucket, "ObjectRemoved:Delete", version)
