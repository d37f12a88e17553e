"""What is in a bucket: ListObjects, ListObjectsV2 and ListObjectVersions, a page at a time.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ListingKeysUsingAPIs.html
"""

import base64
import binascii
from collections.abc import Iterable
from itertools import chain
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import Bucket, decode_about
from cloudlet.services.s3.restoring import ARCHIVED
from cloudlet.services.s3.service import InvalidArgument, bucket_arns, s3
from cloudlet.services.s3.versions import check_id
from cloudlet.services.s3.walking import Asked, Row, asked, name_of, page
from cloudlet.store.db import Tx

_CURRENT = ("from s3_version where bucket=? and key>=? and current=1 and marker=0 order by key")
_LISTED = "select key, size, etag, modified_ms, storage_class, checksum"
_VERSION = "select key, id, version, current, marker, size, etag, modified_ms, storage_class, checksum, owner, about"


@s3.read(resources=bucket_arns, action="s3:ListBucket")
def list_objects(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The objects of a bucket after a marker."""
    marker, want = request.get("Marker", ""), asked(request, "MaxKeys", "maxKeys")
    tells_owners = call.principal.kind != "anonymous"  # where V2 has a parameter for it
    answer, last = _objects(require_bucket(tx, call, request), tx, want, marker, tells_owners, _restored(request))
    return {"Marker": want.encode(marker), "NextMarker": want.encode(last) if last and want.delimiter else None,
            **answer}


@s3.read(resources=bucket_arns, action="s3:ListBucket")
def list_objects_v2(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The objects of a bucket, from where a token says, or after a key."""
    token, start, want = request.get("ContinuationToken"), request.get("StartAfter"), asked(
        request, "MaxKeys", "maxKeys")
    marker = (start or "") if token is None else _key_of(token)
    answer, last = _objects(require_bucket(tx, call, request), tx, want, marker, bool(request.get("FetchOwner")),
                            _restored(request))
    return {"StartAfter": None if start is None else want.encode(start), "ContinuationToken": token,
            "NextContinuationToken": _token_of(last) if last else None,
            "KeyCount": len(answer["Contents"]) + len(answer["CommonPrefixes"]), **answer}


def _objects(bucket: Bucket, tx: Tx, want: Asked, marker: str, owners: bool,
             restored: bool) -> tuple[dict[str, Any], str | None]:
    """What both answer, and the key or common prefix after which the next page begins. What is not in the index is read
    only where it is asked for."""
    owner = _owner_of(bucket) if owners else None
    columns = [_LISTED, *(["owner"] if owners and not owner else []), *(["about"] if restored else [])]

    def seek(key: str) -> Iterable[Row]:
        return tx.execute(f"{', '.join(columns)} {_CURRENT}", (bucket.id, key))
    rows, prefixes, last = page(want.walk(seek, marker), want.limit)
    encode = want.encode
    contents = [{"Key": encode(key), "LastModified": modified_ms // 1000, "ETag": f'"{etag}"', **_checksum(checksum),
                 "Size": size, "StorageClass": storage_class}
                for key, size, etag, modified_ms, storage_class, checksum, *_ in rows]
    if owners:
        for content, row in zip(contents, rows, strict=True):
            content["Owner"] = owner or {"ID": row[6]}
    if restored:
        for content, row in zip(contents, rows, strict=True):
            content["RestoreStatus"] = _restore_status(row[4], row[-1], tx.now)
    return ({"Name": bucket.name, **want.answer("MaxKeys", prefixes, last), "Contents": contents},
            None if last is None else name_of(last))


@s3.read(resources=bucket_arns, action="s3:ListBucketVersions")
def list_object_versions(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The versions and delete markers in a bucket, a key's newest first."""
    bucket, want = require_bucket(tx, call, request), asked(request, "MaxKeys", "maxKeys")
    marker, version_marker = request.get("KeyMarker", ""), request.get("VersionIdMarker", "")
    if version_marker:
        check_id(version_marker, "version-id-marker")
    if version_marker and "KeyMarker" not in request:
        raise InvalidArgument("A version-id marker cannot be specified without a key marker.",
                              ArgumentName="version-id-marker", ArgumentValue=version_marker)

    def seek(key: str) -> Iterable[Row]:
        return tx.execute(f"{_VERSION} from s3_version where bucket=? and key>=? order by key, id desc",
                          (bucket.id, key))
    found = want.walk(seek, marker)
    if version_marker and marker.startswith(want.prefix) and not want.rolls_up(marker):
        found = chain(_rest_of_key(tx, bucket, marker, version_marker), found)
    rows, prefixes, last = page(found, want.limit)
    versions, markers = _of_versions(rows, want, _owner_of(bucket))
    if _restored(request):
        for version, row in zip(versions, (row for row in rows if not row[4]), strict=True):
            version["RestoreStatus"] = _restore_status(row[8], row[-1], tx.now)
    return {"Name": bucket.name, "KeyMarker": want.encode(marker), "VersionIdMarker": version_marker,
            "NextKeyMarker": None if last is None else want.encode(name_of(last)),
            "NextVersionIdMarker": None if last is None or isinstance(last, str) else last[2],
            **want.answer("MaxKeys", prefixes, last), "Versions": versions, "DeleteMarkers": markers}


def _of_versions(rows: list[Row], want: Asked, owner: dict[str, str] | None) -> tuple[list[Any], list[Any]]:
    """The versions and the markers among rows, as they are answered."""
    versions, markers = [], []
    for key, _, version, current, is_marker, size, etag, modified_ms, storage_class, checksum, its_owner, _ in rows:
        one = {"Key": want.encode(key), "VersionId": version, "IsLatest": bool(current),
               "LastModified": modified_ms // 1000, "Owner": owner or {"ID": its_owner}}
        if is_marker:
            markers.append(one)
        else:
            versions.append({**one, "ETag": f'"{etag}"', **_checksum(checksum), "Size": size,
                             "StorageClass": storage_class})
    return versions, markers


def _rest_of_key(tx: Tx, bucket: Bucket, key: str, version: str) -> Iterable[Row]:
    """The versions of a key that are older than one of them; all, where that one was deleted since it was listed."""
    row: Any = tx.execute("select id from s3_version where bucket=? and key=? and version=?",
                          (bucket.id, key, version)).fetchone()
    if row is None:
        return tx.execute(f"{_VERSION} from s3_version where bucket=? and key=? order by id desc", (bucket.id, key))
    return tx.execute(f"{_VERSION} from s3_version where bucket=? and key=? and id<? order by id desc",
                      (bucket.id, key, row[0]))


def _restored(request: dict[str, Any]) -> bool:
    """Whether a request asks until when archived objects can be read."""
    return "RestoreStatus" in (request.get("OptionalObjectAttributes") or ())


def _restore_status(storage_class: str, about: bytes, now: float) -> dict[str, Any] | None:
    until = decode_about(about).restored_until if storage_class in ARCHIVED else 0
    return {"IsRestoreInProgress": False, "RestoreExpiryDate": until} if until > now else None


def _owner_of(bucket: Bucket) -> dict[str, str] | None:
    """Whose all objects are; None where each says so itself."""
    return {"ID": canonical_id(bucket.account)} if bucket.ownership == "BucketOwnerEnforced" else None


def _checksum(listed: str) -> dict[str, Any]:
    """What `checksums.listed` says, as members."""
    if not listed:
        return {}
    algorithms, _, kind = listed.partition(" ")
    return {"ChecksumAlgorithm": algorithms.split(","), "ChecksumType": kind}


def _token_of(key: str) -> str:
    """A token for going on after a key or a common prefix."""
    return base64.urlsafe_b64encode(b"1" + key.encode()).decode()


def _key_of(token: str) -> str:
    """What a token stands for. Raises InvalidArgument."""
    try:
        found = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        found = ""
    if not found.startswith("1"):
        raise InvalidArgument("The continuation token provided is incorrect", ArgumentName="continuation-token",
                              ArgumentValue=token)
    return found[1:]
