"""HTTP's conditional headers and ranges as S3 reads them, for reading, for copying and for writing; pure.

The order is that of RFC 9110 §13.2.2: an entity tag decides, a date only where no tag was asked about.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

import re
from collections.abc import Mapping
from email.utils import formatdate
from types import MappingProxyType
from typing import Any, NamedTuple

from cloudlet.services.s3.service import (
    InvalidArgument,
    InvalidRange,
    InvalidRequest,
    NoSuchKey,
    NotImplementedHere,
    NotModified,
    PreconditionFailed,
)

COPY = "CopySource"  # what CopyObject and UploadPartCopy put before the members' names
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE | re.ASCII)
_COPY_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})", re.ASCII)
_CONDITIONS = {prefix: tuple(f"{prefix}{name}" for name in ("Match", "NoneMatch", "ModifiedSince", "UnmodifiedSince"))
               for prefix in ("If", f"{COPY}If")}
_TAG = re.compile(r'\s*(?:(W/)?"([^"]*)"|([^\s,"]+))\s*(?:,|$)')


class Range(NamedTuple):
    """A part of an object: `length` bytes from `start` on, which are there."""

    start: int
    length: int

    def header(self, size: int) -> str:
        """The Content-Range of it."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def check_read(request: Mapping[str, Any], etag: str, modified_s: float, now: float,
               fresh: Mapping[str, str] = MappingProxyType({})) -> None:
    """Raises unless an object is to be answered: PreconditionFailed or NotModified. `etag` is without quotes; `fresh`:
    the headers that tell for how long it may be kept (RFC 9110 §15.4.5)."""
    failed = _failed(request, "If", etag, modified_s, now)
    if failed in ("If-None-Match", "If-Modified-Since"):
        kept = {name: value for name, value in fresh.items() if value}
        raise NotModified().with_headers({"etag": f'"{etag}"', "last-modified": formatdate(modified_s, usegmt=True),
                                          **kept})
    if failed:
        raise PreconditionFailed(Condition=failed)


def check_copy(request: Mapping[str, Any], etag: str, modified_s: float, now: float) -> None:
    """Raises PreconditionFailed unless an object may be copied."""
    failed = _failed(request, f"{COPY}If", etag, modified_s, now)
    if failed:
        raise PreconditionFailed(Condition=f"x-amz-copy-source-{failed}")


def _failed(request: Mapping[str, Any], prefix: str, etag: str, modified_s: float, now: float) -> str:
    """The header whose demand is not met, or "". HTTP's dates have whole seconds. Since when something must have been
    modified may not be yet to come: such a date is none (RFC 2616 §14.25), which S3 still goes by."""
    if request.keys().isdisjoint(_CONDITIONS[prefix]):
        return ""
    since = request.get(f"{prefix}UnmodifiedSince")
    match = request.get(f"{prefix}Match")
    if match is not None:
        if not matches(match, etag):
            return "If-Match"
    elif since is not None and int(modified_s) > since:
        return "If-Unmodified-Since"
    since, none_match = request.get(f"{prefix}ModifiedSince"), request.get(f"{prefix}NoneMatch")
    if none_match is not None:
        return "If-None-Match" if matches(none_match, etag, weakly=True) else ""
    return "If-Modified-Since" if since is not None and int(modified_s) <= since <= now else ""


def matches(tags: str, etag: str, weakly: bool = False) -> bool:
    """Whether an entity tag is among those of a header, quoted, half or not at all; `*` stands for any."""
    if tags.strip() == "*" or tags.strip().strip('"') == etag:
        return True
    return any((quoted or plain) == etag and (weakly or not weak) for weak, quoted, plain in _TAG.findall(tags))


def check_write(if_match: str | None, if_none_match: str | None, key: str, etag: str | None) -> None:
    """Raises unless a key may be written: PreconditionFailed, NoSuchKey; NotImplemented for what S3 does not take.

    `etag` is that of the object that is there now, None where there is none.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    """
    if if_match is not None and if_none_match is not None:
        raise NotImplementedHere(Header="If-Match,If-None-Match", additionalMessage="Multiple conditional request"
                                 " headers present in the request")
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise _unacceptable("If-None-Match")
        if etag is not None:
            raise PreconditionFailed(Condition="If-None-Match")
    if if_match is not None:
        if if_match.strip() == "*":
            raise _unacceptable("If-Match")
        if etag is None:
            raise NoSuchKey(Key=key)
        if not matches(if_match, etag):
            raise PreconditionFailed(Condition="If-Match")


def _unacceptable(header: str) -> Exception:
    return NotImplementedHere(Header=header, additionalMessage="We don't accept the provided value of"
                              f" {header} header for this API")


def check_delete(if_match: str, key: str, etag: str | None, *, of_marker: bool) -> None:
    """Raises unless a key may be deleted: PreconditionFailed, NoSuchKey.

    `etag` as above; `of_marker`: there is a marker, for which AWS has another word than for nothing at all.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
    """
    if etag is None and not of_marker:
        raise NoSuchKey(Key=key)
    if etag is None or not matches(if_match, etag):
        raise PreconditionFailed(Condition="If-Match")


def byte_range(header: str | None, size: int) -> Range | None:
    """The part of an object that a Range header asks for; None: all of it, also where the header is none that S3
    understands or asks for several parts. Raises InvalidRange where nothing of it is there."""
    found = _RANGE.fullmatch(header.strip()) if header else None
    if header is None or found is None or found[1] == found[2] == "" or max(map(len, found.groups())) > 19:
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        if last and int(last) < start:
            return None
    if start > end:
        raise InvalidRange(RangeRequested=header, ActualObjectSize=str(size))
    return Range(start, end - start + 1)


def copy_range(header: str | None, size: int) -> Range | None:
    """The part that x-amz-copy-source-range names, which must be there in full; None: all. Raises InvalidArgument, and
    InvalidRequest where nothing of it is there."""
    if header is None:
        return None
    found = _COPY_RANGE.fullmatch(header.strip())
    said = {"ArgumentName": "x-amz-copy-source-range", "ArgumentValue": header}
    if found is None or int(found[2]) < int(found[1]):
        raise InvalidArgument("The x-amz-copy-source-range value must be of the form bytes=first-last where first and"
                              " last are the zero-based offsets of the first and last bytes to copy", **said)
    start, last = int(found[1]), int(found[2])
    if start >= size:
        raise InvalidRequest("The specified copy range is invalid for the source object size")
    if last >= size:
        raise InvalidArgument(f"Range specified is not valid for source object of size: {size}", **said)
    return Range(start, last - start + 1)
