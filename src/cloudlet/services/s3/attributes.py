"""GetObjectAttributes: what is known of an object, as far as it is asked for.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html
"""

from collections.abc import Iterable
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Need
from cloudlet.services.s3 import checksums, encryption
from cloudlet.services.s3.access.decision import present
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.metadata import require_key
from cloudlet.services.s3.records import About, decode_about
from cloudlet.services.s3.service import InvalidArgument, by_version, object_arns, s3
from cloudlet.services.s3.versions import Version
from cloudlet.store.db import Tx

ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
PARTS_MAX = 1000  # of one answer


def _needs(call: Call, request: Input) -> Iterable[str | Need]:
    (arn,) = object_arns(call, request)
    yield arn
    yield Need("s3:GetObjectVersion" if request.get("VersionId") else "s3:GetObject", arn)


@s3.read(resources=_needs, action=by_version("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"))
def get_object_attributes(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """What is known of an object."""
    wanted = [name.strip() for name in request["ObjectAttributes"]]
    if not wanted or not set(wanted) <= set(ATTRIBUTES):
        raise InvalidArgument("Invalid attribute name specified.", ArgumentName="x-amz-object-attributes",
                              ArgumentValue=",".join(wanted))
    bucket, customer = require_bucket(tx, call, request), encryption.customer_key(request)
    version = present(tx, call, bucket, require_key(request), request.get("VersionId"))
    about = version.about
    encryption.check_key(about, customer)
    known = {"ETag": version.etag, "Checksum": _checksum(about),
             "ObjectParts": _parts(tx, version, request) if "ObjectParts" in wanted and version.upload else None,
             "StorageClass": version.storage_class, "ObjectSize": version.size}
    return {"LastModified": version.modified_ms // 1000, "VersionId": version.version if bucket.versioning else None,
            **{name: known[name] for name in ATTRIBUTES if name in wanted}}


def _checksum(about: About) -> dict[str, str] | None:
    """The checksum; of how many parts it is made is told by `ObjectParts` here."""
    return {member: value.partition("-")[0] for member, value in checksums.members(about).items()} or None


def _parts(tx: Tx, version: Version, request: Input) -> dict[str, Any]:
    """The parts in which it came; each is told only where the client chose a checksum for them, as on AWS."""
    most, marker = min(request.get("MaxParts", PARTS_MAX), PARTS_MAX), request.get("PartNumberMarker", 0)
    if most < 0 or marker < 0:
        raise InvalidArgument("MaxParts and PartNumberMarker must not be negative")
    total = {"TotalPartsCount": version.about.parts}
    rows: list[Any] = tx.execute(
        "select number, size, about from s3_part where upload=? and number>? order by number limit ?",
        (version.upload, marker, most + 1)).fetchall()
    parts = [{"PartNumber": number, "Size": size, **checksums.of_part(decode_about(about).checksums)}
             for number, size, about in rows[:most]]
    if not decode_about(_first_about(tx, version)).checksums:
        return total
    return {**total, "PartNumberMarker": marker, "NextPartNumberMarker": parts[-1]["PartNumber"] if parts else 0,
            "MaxParts": most, "IsTruncated": bool(most) and len(rows) > most, "Parts": parts}


def _first_about(tx: Tx, version: Version) -> bytes:
    """What is known of an object's first part, as of all others."""
    row: Any = tx.execute("select about from s3_part where upload=? order by number limit 1",
                          (version.upload,)).fetchone()
    return bytes(row[0])
