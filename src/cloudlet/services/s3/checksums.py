"""Checksums of objects: which there are, of what type they may be, and what those of parts come to for the whole.

FULL_OBJECT is the checksum of all bytes, COMPOSITE the checksum of the parts' checksums, one after the other, with
their number. https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cloudlet.kernel.digests import ALGORITHMS, COMBINE, digest_of
from cloudlet.services.s3.contents import CRC64, Received
from cloudlet.services.s3.records import About
from cloudlet.services.s3.service import InvalidRequest

DEFAULT = CRC64  # of what was put without one
COMPOSITE, FULL_OBJECT = "COMPOSITE", "FULL_OBJECT"
MEMBERS = {name: f"Checksum{name.upper()}" for name in ALGORITHMS}  # in requests and answers
_NAMES = {member: name for name, member in MEMBERS.items()}
_LENGTHS = {name: len(digest_of(name, b"")) for name in ALGORITHMS}
TYPES = {name: (FULL_OBJECT,) if name == DEFAULT else (COMPOSITE, FULL_OBJECT) if name in COMBINE else (COMPOSITE,)
         for name in ALGORITHMS}  # that a multipart upload may have, its default first


def text(value: bytes) -> str:
    """A checksum as headers and XML say it."""
    return binascii.b2a_base64(value, newline=False).decode()


def checksums_of(received: Received) -> dict[str, str]:
    """What an object keeps: the checksum that its client sent, else CRC64NVME."""
    name = received.checksum or DEFAULT
    return {name: text(received.digests[name])}


def members(about: About) -> dict[str, str]:
    """An object's checksums as an answer has them."""
    found = of_part(about.checksums)
    if found:
        found["ChecksumType"] = about.checksum_type
    return found


def of_part(checksums: Mapping[str, str]) -> dict[str, str]:
    """The same of a part, whose type nobody says."""
    return {MEMBERS[name]: value for name, value in checksums.items()}


def listed(about: About) -> str:
    """The algorithms and the type of an object's checksums, as its row keeps them for listings."""
    return f"{','.join(about.checksums).upper()} {about.checksum_type}" if about.checksums else ""


def said(request: Mapping[str, Any]) -> dict[str, str]:
    """The checksums that a request's members (of CompleteMultipartUpload, of one of its parts) have, by algorithm."""
    return {_NAMES[member]: value for member, value in request.items() if member in _NAMES}


def is_one(algorithm: str, value: str) -> bool:
    """Whether a text can be the checksum of an algorithm."""
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(found) == _LENGTHS[algorithm]


def multipart_choice(algorithm: str | None, kind: str | None) -> tuple[str, str]:
    """The algorithm and type of a new multipart upload's checksum; ("", …) where the client leaves it to us.

    Raises InvalidRequest.
    """
    if algorithm is None:
        if kind is not None:
            raise InvalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm"
                                 " header.")
        return "", FULL_OBJECT
    name = algorithm.lower()
    if name not in TYPES:
        raise InvalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types:"
                             f" [{', '.join(ALGORITHMS).upper()}]")
    if kind is not None and kind not in (COMPOSITE, FULL_OBJECT):
        raise InvalidRequest("Value for x-amz-checksum-type header is invalid.")
    if kind is not None and kind not in TYPES[name]:
        raise InvalidRequest(f"The {kind} checksum type cannot be used with the {name} checksum algorithm.")
    return name, kind or TYPES[name][0]


def of_parts(algorithm: str, kind: str, parts: Sequence[tuple[bytes, int]]) -> str:
    """The checksum of what parts (checksum, size) make together, of the one type or the other."""
    if kind == FULL_OBJECT:
        return text(_combined(algorithm, parts))
    return f"{text(digest_of(algorithm, b''.join([value for value, size in parts])))}-{len(parts)}"


def _combined(algorithm: str, parts: Iterable[tuple[bytes, int]]) -> bytes:
    combine, whole = COMBINE[algorithm], 0
    for value, size in parts:
        whole = combine(whole, int.from_bytes(value, "big"), size)
    return whole.to_bytes(_LENGTHS[algorithm], "big")
