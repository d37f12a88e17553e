"""Versions of objects: the rows, and what putting and deleting mean in buckets with and without versioning.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
"""

from email.utils import formatdate
from typing import Any

import msgspec

from cloudlet.services.s3 import checksums, conditions, contents, parts
from cloudlet.services.s3.contents import Received
from cloudlet.services.s3.records import About, Bucket, decode_about, encode_about
from cloudlet.services.s3.service import InvalidArgument, MethodNotAllowed, NoSuchKey, NoSuchVersion
from cloudlet.store.db import Tx

ID_LENGTH = 32  # of the id of every other version
NULL = "null"  # the version of what was put while versioning was not enabled
COLUMNS = ("id, bucket, key, version, current, marker, size, etag, modified_ms, storage_class, owner, content, upload,"
           " mode, retain_until_ms, legal_hold, about, checksum")
_SAID = ("size, etag, modified_ms, storage_class, owner, content, upload, mode, retain_until_ms, legal_hold, about,"
         " checksum")
_FIND_CURRENT = f"select {COLUMNS} from s3_version where bucket=? and key=? and current=1"
_INSERT = f"insert into s3_version ({COLUMNS}) values ({', '.join('?' * len(COLUMNS.split(', ')))})"
_REPLACE = f"update s3_version set ({_SAID}) = (?,?,?,?,?,?,?,?,?,?,?,?) where id=?"
_FIND_ONLY = (f"select v.id, v.content, v.upload, {contents.IS_PLACE} from s3_version v left join s3_content c"
              " on c.id=v.content where v.bucket=? and v.key=? and v.current=1")
_DIGITS = frozenset("0123456789abcdef")


class Version(msgspec.Struct, frozen=True):
    """A row. `raw` is the JSON of `about`. `mode`: GOVERNANCE, COMPLIANCE or "". `checksum`: the algorithms and the
    type, as listings have them."""

    id: int
    bucket: int
    key: str
    version: str
    current: int
    marker: int
    size: int
    etag: str
    modified_ms: int
    storage_class: str
    owner: str
    content: int | None
    upload: str | None
    mode: str
    retain_until_ms: int
    legal_hold: int
    raw: bytes
    checksum: str

    @property
    def about(self) -> About:
        """What is known beyond the row."""
        return decode_about(self.raw)

    @property
    def modified(self) -> float:
        """When it was put, in epoch seconds."""
        return self.modified_ms / 1000

    @property
    def marks(self) -> dict[str, str]:
        """The headers that tell of a delete marker where its key was asked for."""
        return {"x-amz-delete-marker": "true", "x-amz-version-id": self.version}

    @property
    def quoted(self) -> str:
        """Its ETag as it stands in headers."""
        return f'"{self.etag}"'


def current(tx: Tx, bucket: Bucket, key: str) -> Version | None:
    """What a request without a version sees, perhaps a marker."""
    row = tx.row(_FIND_CURRENT, bucket.id, key)
    return Version(*row) if row else None


def find(tx: Tx, bucket: Bucket, key: str, version_id: str) -> Version | None:
    """One version, perhaps a marker. Raises InvalidArgument for what can be no version's id."""
    check_id(version_id, "versionId")
    row = tx.execute(f"select {COLUMNS} from s3_version where bucket=? and key=? and version=?",
                     (bucket.id, key, version_id)).fetchone()
    return Version(*row) if row else None


def is_id(text: str) -> bool:
    """Whether a text can be a version's id."""
    return text == NULL or (len(text) == ID_LENGTH and _DIGITS.issuperset(text))


def check_id(version_id: str, argument: str) -> None:
    """Raises InvalidArgument for what can be no version's id."""
    if not version_id:
        raise InvalidArgument("Version id cannot be the empty string", ArgumentName=argument, ArgumentValue="")
    if not is_id(version_id):
        raise InvalidArgument("Invalid version id specified", ArgumentName=argument, ArgumentValue=version_id[:1024])


def of_upload(tx: Tx, bucket: Bucket, key: str, upload: str) -> Version | None:
    """The version whose bytes are the parts of an upload."""
    row = tx.execute(f"select {COLUMNS} from s3_version where upload=? and bucket=? and key=?",
                     (upload, bucket.id, key)).fetchone()
    return Version(*row) if row else None


def require(tx: Tx, bucket: Bucket, key: str, version_id: str | None = None, method: str = "GET") -> Version:
    """The version that a request means. Raises NoSuchKey, NoSuchVersion, MethodNotAllowed for a marker.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html
    """
    if version_id is not None:
        found = find(tx, bucket, key, version_id)
        if found is None:
            raise NoSuchVersion(Key=key, VersionId=version_id)
        if found.marker:
            raise MethodNotAllowed(Method=method, ResourceType="DeleteMarker").with_headers(
                {**found.marks, "allow": "DELETE", "last-modified": formatdate(found.modified, usegmt=True)})
        return found
    found = current(tx, bucket, key)
    if found is None or found.marker:
        raise NoSuchKey(Key=key).with_headers(found.marks if found is not None else {})
    return found


def check_write(found: Version | None, if_match: str | None, if_none_match: str | None, key: str) -> None:
    """Raises unless what is there now is as a conditional write demands (see `conditions`)."""
    conditions.check_write(if_match, if_none_match, key, None if found is None or found.marker else found.etag)


def named(bucket: Bucket, version: Version) -> str | None:
    """The version that an answer to who made it names: with versioning suspended S3 does not say that it is null."""
    return version.version if bucket.versioning == "Enabled" else None


class Draft(msgspec.Struct, frozen=True):
    """A version to be put: its bytes are what was received, or those of a `content` or of the parts of an `upload`."""

    size: int
    etag: str
    owner: str
    about: About
    content: int | Received | None = None
    upload: str | None = None
    storage_class: str = "STANDARD"
    mode: str = ""
    retain_until_ms: int = 0
    legal_hold: int = 0
    marker: int = 0
    version: str = ""  # of a replica, which has both from what it is one of
    modified_ms: int = 0


def put_version(tx: Tx, bucket: Bucket, key: str, draft: Draft) -> Version:
    """Makes a draft what the key is from now on. Where versioning is not enabled it replaces the null version."""
    before = None if bucket.versioning else _only(tx, bucket, key)
    place = before.content if before is not None and before.is_place else None
    content = contents.keep(tx, draft.content, place) if isinstance(draft.content, Received) else draft.content
    modified_ms = draft.modified_ms or int(tx.now * 1000)
    said: Any = (draft.size, draft.etag, modified_ms, draft.storage_class, draft.owner, content, draft.upload,
                 draft.mode, draft.retain_until_ms, draft.legal_hold, encode_about(draft.about),
                 checksums.listed(draft.about))
    if before is not None:
        if place is not None and content == place:
            tx.put_off(_REPLACE, (*said, before.id))  # which changes nothing that `_only` asks
        else:
            tx.execute(_REPLACE, (*said, before.id))
            _release(tx, before.content, before.upload)
        return Version(before.id, bucket.id, key, NULL, 1, 0, *said)
    if bucket.versioning == "Suspended":
        _drop_null(tx, bucket, key)
    if bucket.versioning:
        tx.execute("update s3_version set current=0 where bucket=? and key=? and current=1", (bucket.id, key))
    name = draft.version or tx.token(ID_LENGTH) if bucket.versioning == "Enabled" else NULL
    version = Version(contents.new_id(tx), bucket.id, key, name, 1, draft.marker, *said)
    tx.put_off(_INSERT, msgspec.structs.astuple(version), about=(bucket.id, key))
    return version


class _Only(msgspec.Struct, frozen=True):
    """The one version that a key has in a bucket without versioning, whose row stays where it is: that writes half the
    pages. `is_place`: its content's does as well."""

    id: int
    content: int | None
    upload: str | None
    is_place: int | None


def _only(tx: Tx, bucket: Bucket, key: str) -> _Only | None:
    row = tx.peek(_FIND_ONLY, bucket.id, key, about=(bucket.id, key))
    return _Only(*row) if row else None


def set_about(tx: Tx, version: Version, about: About) -> Version:
    """Changes what is known of a version beyond its row (its tags, its list), and nothing else; what it is now."""
    raw = encode_about(about)
    tx.execute("update s3_version set about=? where id=?", (raw, version.id))
    return msgspec.structs.replace(version, raw=raw)


def add_marker(tx: Tx, bucket: Bucket, key: str, owner: str) -> Version:
    """Deletes a key in a bucket with versioning: a marker becomes what the key is."""
    return put_version(tx, bucket, key, Draft(0, "", owner, About(), marker=1))


def remove(tx: Tx, version: Version) -> None:
    """Deletes one version for good; of those left the newest becomes what the key is."""
    tx.execute("delete from s3_version where id=?", (version.id,))
    if version.current:
        parts.disturb(tx, version.bucket, version.key)
        tx.execute("update s3_version set current=1 where id=(select max(id) from s3_version where bucket=? and key=?)",
                   (version.bucket, version.key))
    _release(tx, version.content, version.upload)


def _drop_null(tx: Tx, bucket: Bucket, key: str) -> None:
    rows: list[Any] = tx.execute("delete from s3_version where bucket=? and key=? and version=?"
                                 " returning content, upload", (bucket.id, key, NULL)).fetchall()
    for content, upload in rows:
        _release(tx, content, upload)


def _release(tx: Tx, content: int | None, upload: str | None) -> None:
    if content is not None:
        contents.release(tx, content)
    # A replica has the parts of what it is one of.
    if upload is not None and not tx.execute("select 1 from s3_version where upload=?", (upload,)).fetchone():
        parts.drop(tx, upload)
