"""CompleteMultipartUpload: an upload's parts become an object without being moved.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""

import base64
import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import quote

from cloudlet.kernel.call import Call
from cloudlet.services.s3 import (
    checksums,
    encryption,
    lifecycle,
    lock,
    notifications,
    parts,
    replication_rules,
    uploads,
    versions,
)
from cloudlet.services.s3.access.keys import creates
from cloudlet.services.s3.access.needs import of_change
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.metadata import require_key
from cloudlet.services.s3.objects import admit
from cloudlet.services.s3.records import Bucket, decode_about
from cloudlet.services.s3.service import (
    BadDigest,
    ConditionalRequestConflict,
    EntityTooSmall,
    InvalidArgument,
    InvalidPart,
    InvalidPartOrder,
    InvalidRequest,
    MalformedXml,
    NoSuchUpload,
    s3,
)
from cloudlet.services.s3.uploads import PARTS_MAX, Upload
from cloudlet.services.s3.versions import Draft, Version
from cloudlet.store.db import Tx

PART_BYTES_MIN = 5 << 20  # of each part but the last


class Part(NamedTuple):
    """A part that came. `crc64` is the CRC-64/NVME of its bytes, `about` the JSON of what else is known of it."""

    number: int
    size: int
    etag: str
    crc64: bytes
    about: bytes

    def sum(self, algorithm: str) -> bytes:
        """One of its checksums; "" for the default."""
        return base64.b64decode(decode_about(self.about).checksums[algorithm]) if algorithm else self.crc64


@s3.write(resources=of_change, action="s3:PutObject", context=creates, durable=True)
def complete_multipart_upload(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Makes the parts that a request names an object. Asked again, it answers the same as long as that is there."""
    bucket, key, asked = require_bucket(tx, call, request), require_key(request), _asked_parts(request)
    try:
        upload = uploads.find(tx, bucket, request)
    except NoSuchUpload:
        done = _completed(tx, bucket, key, request["UploadId"], asked)
        if done is None:
            raise
        return _answer(call, tx, bucket, done)
    came = _parts(tx, upload.id)
    found, sums = _matched(upload, came, asked)
    size = sum(part.size for part in found)
    _check_size(request, size)
    checksum = _checksum(upload, [(value, part.size) for value, part in zip(sums, found, strict=True)], request)
    admit(call, tx, request, key)
    _check_undisturbed(tx, bucket, upload, request)
    about = upload.about.replace(checksums=checksum, parts=len(found), lock=None, disturbed=False)
    locked = lock.of_new(tx, bucket, lock.Lock(*upload.about.lock or ()))
    etag = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in found), usedforsecurity=False).hexdigest()
    _lay_out(tx, upload, found, came)
    version = versions.put_version(tx, bucket, key, Draft(
        size, f"{etag}-{len(found)}", upload.owner, about, upload=upload.id, storage_class=upload.storage_class,
        **locked))
    notifications.announce(tx, notifications.cause_of(call), bucket, "ObjectCreated:CompleteMultipartUpload", version)
    replication_rules.enqueue(tx, bucket, version)
    return _answer(call, tx, bucket, version)


def _asked_parts(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts that a request names, in order. Raises InvalidRequest, MalformedXml, InvalidArgument, InvalidPartOrder.
    """
    if "MultipartUpload" not in request:
        raise InvalidRequest("You must specify at least one part")
    asked: list[dict[str, Any]] = request["MultipartUpload"].get("Parts") or []
    if not 0 < len(asked) <= PARTS_MAX or any("PartNumber" not in part or "ETag" not in part for part in asked):
        raise MalformedXml()
    numbers = [part["PartNumber"] for part in asked]
    if numbers[0] < 1:
        raise InvalidArgument("PartNumber must be >= 1", ArgumentName="PartNumber", ArgumentValue=str(numbers[0]))
    if any(number >= following for number, following in pairwise(numbers)):
        raise InvalidPartOrder(UploadId=request["UploadId"])
    return asked


def _parts(tx: Tx, upload: str) -> dict[int, Part]:
    rows: list[Any] = tx.execute("select number, size, etag, crc64, about from s3_part where upload=?",
                                 (upload,)).fetchall()
    return {row[0]: Part(*row) for row in rows}


def _completed(tx: Tx, bucket: Bucket, key: str, upload_id: str, asked: list[dict[str, Any]]) -> Version | None:
    """The object that an upload became of these very parts, where it is still there."""
    version = versions.of_upload(tx, bucket, key, upload_id)
    if version is None:
        return None
    same = {part["PartNumber"]: part["ETag"].strip('"') for part in asked} == {
        number: part.etag for number, part in _parts(tx, upload_id).items()}
    return version if same else None


def _matched(upload: Upload, came: dict[int, Part], asked: list[dict[str, Any]]) -> tuple[list[Part], list[bytes]]:
    """The parts that were asked for, and their checksums. Raises InvalidPart, EntityTooSmall, or InvalidRequest where a
    checksum misses."""
    found, sums, algorithm, is_composite = [], [], upload.algorithm, upload.checksum.endswith(checksums.COMPOSITE)
    for one in asked:
        number, etag = one["PartNumber"], one["ETag"].strip('"')
        part = came.get(number)
        if part is None or part.etag != etag:
            raise InvalidPart(UploadId=upload.id, PartNumber=str(number), ETag=etag)
        found.append(part)
        sums.append(part.sum(algorithm))
        if is_composite or len(one) > 2:  # there may be ten thousand
            _check_part(upload, part, sums[-1], checksums.said(one))
    for part in found[:-1]:
        if part.size < PART_BYTES_MIN:
            raise EntityTooSmall(ProposedSize=str(part.size), MinSizeAllowed=str(PART_BYTES_MIN),
                                 PartNumber=str(part.number), ETag=part.etag)
    return found, sums


def _check_part(upload: Upload, part: Part, actual: bytes, said: dict[str, str]) -> None:
    """Raises unless what a request says of a part's checksum is so; for a composite it must say it."""
    algorithm = upload.algorithm
    if said == {algorithm or checksums.DEFAULT: checksums.text(actual)}:
        return
    if len(said) > 1 or not all(checksums.is_one(name, value) for name, value in said.items()):
        raise InvalidArgument("Invalid Base64 or multiple checksums present in request", ArgumentName="Checksum")
    for other in said:
        if algorithm and other != algorithm and upload.about.checksum_type == checksums.FULL_OBJECT:
            raise BadDigest(f"The {other} you specified for part {part.number} did not match what we received.")
    if (algorithm or checksums.DEFAULT) not in said:
        if upload.checksum.endswith(checksums.COMPOSITE):
            raise InvalidRequest(f"The upload was created using a {algorithm} checksum. The complete request must"
                                 f" include the checksum for each part. It was missing for part {part.number} in the"
                                 " request.")
    else:
        raise InvalidPart(UploadId=upload.id, PartNumber=str(part.number), ETag=part.etag)


def _check_undisturbed(tx: Tx, bucket: Bucket, upload: Upload, request: dict[str, Any]) -> None:
    """Raises ConditionalRequestConflict where a condition holds, but the key was written or deleted since the upload
    began: then S3 wants it to be begun again.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    asked = [header for member, header in (("IfMatch", "If-Match"), ("IfNoneMatch", "If-None-Match"))
             if member in request]
    if not asked:
        return
    there = versions.current(tx, bucket, upload.key)
    if upload.about.disturbed or (there is not None and there.modified_ms > upload.initiated_ms):
        raise ConditionalRequestConflict(Condition=asked[0], Key=upload.key)


def _check_size(request: dict[str, Any], size: int) -> None:
    said = request.get("MpuObjectSize")
    if said is None:
        return
    if said < 0:
        raise InvalidRequest(f"Value for x-amz-mp-object-size header is less than zero: '{said}'")
    if said != size:
        raise InvalidRequest(f"The provided 'x-amz-mp-object-size' header value {said} does not match what was"
                             f" computed: {size}")


def _checksum(upload: Upload, found: list[tuple[bytes, int]], request: dict[str, Any]) -> dict[str, str]:
    """The object's checksum, from its parts' checksums and sizes. Raises where a request says another one: BadDigest,
    InvalidRequest."""
    algorithm, kind = upload.algorithm, upload.about.checksum_type
    if request.get("ChecksumType", kind) != kind:
        raise InvalidRequest(f"The upload was created using the {kind} checksum mode. The complete request must use the"
                             " same checksum mode.")
    name, said = algorithm or checksums.DEFAULT, checksums.said(request)
    if len(said) > 1:
        raise InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    for other, expected in said.items():
        value, dash, count = expected.partition("-")
        if not checksums.is_one(other, value) or (dash and not count.isdigit()):
            raise InvalidRequest(f"Value for x-amz-checksum-{other} header is invalid.")
    value = checksums.of_parts(name, kind, found)
    for other, expected in said.items():
        if other == name:
            if expected not in (value, value.partition("-")[0]):
                raise BadDigest(f"The {name} you specified did not match the calculated checksum.")
        elif algorithm:
            raise InvalidRequest(f"Checksum Type mismatch occurred, expected checksum Type: {algorithm}, actual"
                                 f" checksum Type: {other}")
    return {name: value}


def _lay_out(tx: Tx, upload: Upload, laid: list[Part], came: Iterable[int]) -> None:
    """Lets each part know where it begins in the object; those that do not belong to it go, as the upload does."""
    parts.forget(tx, upload.id, sorted({*came} - {part.number for part in laid}))
    tx.execute("update s3_part set start=laid.start from (select number, sum(size) over (order by number) - size as"
               " start from s3_part where upload=?) as laid where s3_part.upload=? and s3_part.number=laid.number",
               (upload.id, upload.id))
    tx.execute("delete from s3_upload where id=?", (upload.id,))


def _answer(call: Call, tx: Tx, bucket: Bucket, version: Version) -> dict[str, Any]:
    about = version.about
    host = call.endpoint.partition("://")[2]
    path = "" if host.startswith(f"{bucket.name}.") else f"/{bucket.name}"
    return {"Location": f"{call.endpoint}{path}/{quote(version.key)}", "Bucket": bucket.name, "Key": version.key,
            "ETag": version.quoted, "Expiration": lifecycle.expiration(tx, bucket, version),
            "VersionId": version.version if bucket.versioning else None,
            "ServerSideEncryption": encryption.members(about).get("ServerSideEncryption"), **checksums.members(about)}
