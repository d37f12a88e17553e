"""Multipart uploads: begun, their parts sent or copied, listed, and given up.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3 import checksums, conditions, contents, copies, encryption, lifecycle, lock, metadata, parts
from cloudlet.services.s3.access import needs
from cloudlet.services.s3.access.decision import acl_of_new
from cloudlet.services.s3.access.keys import prepares
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.contents import CRC64, Received
from cloudlet.services.s3.encryption import CustomerKey
from cloudlet.services.s3.metadata import require_key
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import About, Bucket, decode_about, encode_about
from cloudlet.services.s3.service import (
    AccessDenied,
    InvalidArgument,
    InvalidRequest,
    NoSuchUpload,
    NotImplementedHere,
    bucket_arns,
    object_arns,
    s3,
)
from cloudlet.services.s3.walking import Row, asked, page
from cloudlet.store.db import Store, Tx

PARTS_MAX = 10_000
PART_BYTES_MAX = 5 << 30
_PAGE_MAX = 1000
_ID = re.compile(r"[0-9a-zA-Z]{64}")
_COLUMNS = "key, id, bucket, initiated_ms, storage_class, owner, initiator, checksum, about"


@dataclass(frozen=True, slots=True)
class Upload:
    """A row. `checksum` has the algorithm that the client chose, and its type, "" where it left that to us; `about` is
    what is known of the object to be."""

    key: str
    id: str
    bucket: int
    initiated_ms: int
    storage_class: str
    owner: str
    initiator: str
    checksum: str
    raw: bytes

    @property
    def about(self) -> About:
        """What the object will have."""
        return decode_about(self.raw)

    @property
    def algorithm(self) -> str:
        """The algorithm chosen for its checksum, in lower case, "" for none."""
        return self.checksum.partition(" ")[0].lower()

    @property
    def members(self) -> dict[str, Any]:
        """What is said of it wherever it is listed."""
        algorithm, _, kind = self.checksum.partition(" ")
        return {"StorageClass": self.storage_class, "Owner": {"ID": self.owner}, "Initiator": {"ID": self.initiator},
                "ChecksumAlgorithm": algorithm or None, "ChecksumType": kind or None}


@s3.write(resources=needs.of_new_object, action="s3:PutObject", context=prepares, durable=True)
def create_multipart_upload(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Begins an upload; what is said of the object is said here."""
    if call.principal.kind == "anonymous":
        raise AccessDenied("Anonymous users cannot initiate multipart uploads.  Please authenticate.")
    bucket, key, customer = require_bucket(tx, call, request), require_key(request), encryption.customer_key(request)
    owner, acl = acl_of_new(call, bucket, request)
    locked = lock.asked(tx, bucket, request)
    algorithm, kind = checksums.multipart_choice(request.get("ChecksumAlgorithm"), request.get("ChecksumType"))
    about = About(**metadata.fields(request, customer), checksum_type=kind, acl=acl,
                  lock=locked if locked != lock.Lock() else None)
    now_ms, who = int(tx.now * 1000), call.principal
    upload = Upload(key, f"{now_ms:012x}{tx.token(52)}", bucket.id, now_ms, metadata.storage_class(request), owner,
                    canonical_id(call.account) if who.kind == "root" else who.arn,
                    f"{algorithm.upper()} {kind}" if algorithm else "", encode_about(about))
    tx.execute(f"insert into s3_upload ({_COLUMNS}) values (?,?,?,?,?,?,?,?,?)", (
        key, upload.id, bucket.id, now_ms, upload.storage_class, owner, upload.initiator, upload.checksum, upload.raw))
    return {"Bucket": bucket.name, "Key": key, "UploadId": upload.id, **encryption.members(about),
            **lifecycle.abort_members(tx, bucket, key, tx.now),
            "ChecksumAlgorithm": algorithm.upper() or None, "ChecksumType": kind if algorithm else None}


def find(tx: Tx, bucket: Bucket, request: dict[str, Any]) -> Upload:
    """The upload that a request means. Raises NoSuchUpload."""
    row = tx.execute(f"select {_COLUMNS} from s3_upload where id=? and bucket=? and key=?",
                     (request["UploadId"], bucket.id, request["Key"])).fetchone()
    if row is None:
        raise NoSuchUpload(UploadId=request["UploadId"])
    return Upload(*row)


# ── Parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@s3.wait(resources=object_arns, action="s3:PutObject", context=prepares)
async def upload_part(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """Takes a part; one that comes again replaces what it was. It survives a power cut when this answers."""
    number, customer, body = _number_of(request), encryption.customer_key(request), request["Body"]
    with store.tx() as tx:
        upload = _find_for_part(call, tx, request, customer)
    if body.checksum and upload.algorithm not in ("", body.checksum):
        raise _mismatch(upload.algorithm, body.checksum)
    if not body.checksum and upload.checksum.endswith(checksums.COMPOSITE):
        raise _mismatch(upload.algorithm, "null")
    wanted = (upload.algorithm,) if upload.algorithm else ()
    with await contents.receive(store, body, wanted, customer) as received:
        with store.tx(shared=True) as tx:
            upload = _find_for_part(call, tx, request, customer)
            sums = _sums(upload, received)
            parts.put(tx, upload.id, number, received.size, received.etag, sums, received.digests[CRC64],
                      contents.keep(tx, received))
        await store.flush(tx)
    said = {received.checksum: checksums.text(received.digests[received.checksum])} if received.checksum else sums
    return {"ETag": f'"{received.etag}"', **checksums.of_part(said), **encryption.members(upload.about)}


@s3.wait(resources=needs.of_copy, action="s3:PutObject", context=prepares)
async def upload_part_copy(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """Takes bytes of another object as a part: an object that has them as they are shares them."""
    number, customer = _number_of(request), encryption.customer_key(request)
    with store.tx() as tx:
        upload = _find_for_part(call, tx, request, customer)
        source = copies.find_source(call, tx, request)
        version = source.version
        part = conditions.copy_range(request.get("CopySourceRange"), version.size)
        if (version.size if part is None else part.length) > PART_BYTES_MAX:
            raise InvalidRequest("The specified copy source is larger than the maximum allowable size for a copy"
                                 f" source: {PART_BYTES_MAX}")
        sums = {name: value for name, value in source.about.checksums.items() if name == upload.algorithm}
        is_whole = part is None or part.length == version.size
        etag, body = version.etag, None
        if is_whole and version.content is not None and source.key is None and customer is None and (
                sums or not upload.algorithm):
            row: Any = tx.execute("select crc64 from s3_content where id=?", (version.content,)).fetchone()
            contents.share(tx, version.content)
            parts.put(tx, upload.id, number, version.size, etag, sums, row[0], version.content)
        else:
            body = copies.body_of(tx, source, part)
    if body is not None:
        wanted = (upload.algorithm,) if upload.algorithm else ()
        with await contents.receive(store, body, wanted, customer) as received:
            with store.tx() as tx:
                upload = _find_for_part(call, tx, request, customer)
                etag, sums = received.etag, _sums(upload, received)
                parts.put(tx, upload.id, number, received.size, etag, sums, received.digests[CRC64],
                          contents.keep(tx, received))
    await store.flush()
    return {"CopyPartResult": {"ETag": f'"{etag}"', "LastModified": int(store.clock.now()), **checksums.of_part(sums)},
            "CopySourceVersionId": source.told_version,
            **encryption.members(upload.about)}


def _number_of(request: dict[str, Any]) -> int:
    number: int = request["PartNumber"]
    if not 1 <= number <= PARTS_MAX:
        raise InvalidArgument(f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive",
                              ArgumentName="partNumber", ArgumentValue=str(number))
    return number


def _find_for_part(call: Call, tx: Tx, request: dict[str, Any], customer: CustomerKey | None) -> Upload:
    """The upload that a part is for, which was begun with the same key. Raises what S3 says where that is not so."""
    upload = find(tx, require_bucket(tx, call, request), request)
    begun_with = upload.about.customer_key_md5
    if bool(begun_with) != (customer is not None):  # S3 says the same either way round
        raise InvalidRequest("The multipart upload initiate requested encryption. Subsequent part requests must include"
                             " the appropriate encryption parameters.")
    if customer is not None and customer.md5 != begun_with:
        raise InvalidRequest("The provided encryption parameters did not match the ones used originally.")
    return upload


def _mismatch(expected: str, actual: str) -> Exception:
    return InvalidRequest(f"Checksum Type mismatch occurred, expected checksum Type: {expected or 'null'}, actual"
                          f" checksum Type: {actual}")


def _sums(upload: Upload, received: Received) -> dict[str, str]:
    """What a part keeps of its checksums: that which was chosen for the upload."""
    return {upload.algorithm: checksums.text(received.digests[upload.algorithm])} if upload.algorithm else {}


@s3.read(resources=object_arns, action="s3:ListMultipartUploadParts")
def list_parts(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The parts of an upload that came so far."""
    bucket, limit, marker = require_bucket(tx, call, request), request.get("MaxParts", _PAGE_MAX), request.get(
        "PartNumberMarker", 0)
    for name, value in (("max-parts", limit), ("part-number-marker", marker)):
        if value < 0:
            raise InvalidArgument(f"Argument {name} must be an integer between 0 and 2147483647", ArgumentName=name,
                                  ArgumentValue=str(value))
    upload, limit = find(tx, bucket, request), min(limit, _PAGE_MAX)
    rows: list[Any] = tx.execute("select number, size, etag, modified_ms, about from s3_part where upload=? and"
                                 " number>? order by number limit ?", (upload.id, marker, limit + 1)).fetchall()
    shown = rows[:limit]
    return {"Bucket": bucket.name, "Key": upload.key, "UploadId": upload.id, "PartNumberMarker": marker,
            "NextPartNumberMarker": shown[-1][0] if shown else 0, "MaxParts": limit,
            "IsTruncated": bool(limit) and len(rows) > limit, **upload.members,
            **lifecycle.abort_members(tx, bucket, upload.key, upload.initiated_ms / 1000),
            "Parts": [{"PartNumber": number, "LastModified": modified_ms // 1000, "ETag": f'"{etag}"', "Size": size,
                       **checksums.of_part(decode_about(about).checksums)}
                      for number, size, etag, modified_ms, about in shown]}


@s3.write(resources=object_arns, action="s3:AbortMultipartUpload", durable=True)
def abort_multipart_upload(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Gives an upload up; the bytes of its parts go."""
    if "IfMatchInitiatedTime" in request:
        raise NotImplementedHere(Header="x-amz-if-match-initiated-time")  # directory buckets'
    parts.drop_upload(tx, find(tx, require_bucket(tx, call, request), request).id)


@s3.read(resources=bucket_arns, action="s3:ListBucketMultipartUploads")
def list_multipart_uploads(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The uploads under way in a bucket, by key, a key's oldest first: their ids begin with their time."""
    bucket, want = require_bucket(tx, call, request), asked(request, "MaxUploads", "max-uploads")
    marker, id_marker = request.get("KeyMarker", ""), request.get("UploadIdMarker", "")

    def seek(key: str) -> Iterable[Row]:
        return tx.execute(f"select {_COLUMNS} from s3_upload where bucket=? and key>=? order by key, id",
                          (bucket.id, key))
    if not marker:  # alone it says nothing, as on AWS
        id_marker = ""
    if id_marker and not _may_follow(tx, marker, id_marker):
        raise InvalidArgument("Invalid uploadId marker", ArgumentName="upload-id-marker", ArgumentValue=id_marker[:256])
    found = want.walk(seek, marker)
    if id_marker and marker.startswith(want.prefix) and not want.rolls_up(marker):
        rest = tx.execute(f"select {_COLUMNS} from s3_upload where bucket=? and key=? and id>? order by id",
                          (bucket.id, marker, id_marker))
        found = chain(rest, found)
    rows, prefixes, last = page(found, want.limit)
    uploads = [Upload(*row) for row in rows]
    if not isinstance(last, str):  # of this listing S3 tells the last upload also where no page follows
        last_key, last_id = (uploads[-1].key, uploads[-1].id) if uploads else ("", "")
    else:
        last_key, last_id = last, ""
    return {"Bucket": bucket.name, "KeyMarker": want.encode(marker), "UploadIdMarker": id_marker,
            "NextKeyMarker": want.encode(last_key), "NextUploadIdMarker": last_id,
            **want.answer("MaxUploads", prefixes, last), "Prefix": want.encode(want.prefix) or None,
            "Uploads": [{"UploadId": upload.id, "Key": want.encode(upload.key),
                         "Initiated": upload.initiated_ms // 1000, **upload.members} for upload in uploads]}


def _may_follow(tx: Tx, key: str, upload: str) -> bool:
    """Whether a listing can go on after an upload of a key, which may have ended meanwhile."""
    row: Any = tx.execute("select key from s3_upload where id=?", (upload,)).fetchone()
    return row[0] == key if row else _ID.fullmatch(upload) is not None
