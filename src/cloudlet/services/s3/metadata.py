"""What requests say of the objects that they make, and how answers say it again.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
"""

import base64
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import formatdate
from typing import Any

from cloudlet.services.s3 import checksums, encryption
from cloudlet.services.s3.encryption import CustomerKey
from cloudlet.services.s3.records import About
from cloudlet.services.s3.service import (
    InvalidRedirectLocation,
    InvalidStorageClass,
    KeyTooLong,
    MetadataTooLarge,
)
from cloudlet.services.s3.tags import of_header

KEY_BYTES_MAX = 1024
METADATA_BYTES_MAX = 2048
REDIRECT_BYTES_MAX = 2048
STANDARD = "STANDARD"
STORAGE_CLASSES = (STANDARD, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR",
                   "GLACIER", "DEEP_ARCHIVE")
CONTENT_TYPE = "binary/octet-stream"  # of what was put without one
_HEADERS = {"CacheControl": "cache_control", "ContentDisposition": "content_disposition",
            "ContentEncoding": "content_encoding", "ContentLanguage": "content_language",
            "ContentType": "content_type", "Expires": "expires"}

_OVERRIDES = {f"Response{name}": name for name in _HEADERS}  # members of requests


def require_key(request: Mapping[str, Any]) -> str:
    """The key that a request means. Raises KeyTooLong."""
    key: str = request["Key"]
    size = len(key.encode())
    if size > KEY_BYTES_MAX:
        raise KeyTooLong(Size=str(size), MaxSizeAllowed=str(KEY_BYTES_MAX))
    return key


def storage_class(request: Mapping[str, Any]) -> str:
    """The class that a request wants. Raises InvalidStorageClass."""
    said: str = request.get("StorageClass", STANDARD)
    if said not in STORAGE_CLASSES:
        raise InvalidStorageClass(StorageClassRequested=said)
    return said


def fields(request: Mapping[str, Any], key: CustomerKey | None) -> dict[str, Any]:
    """The fields of an `About` that the headers of a request give the object that it makes. Raises what is wrong."""
    tags = of_header(request) if request.get("Tagging") else {}
    found = said(request) | redirect(request) | encryption.asked(request, key)
    return found | {"tags": tags} if tags else found


def kept(about: About) -> dict[str, Any]:
    """The same fields of an object that is copied; where a website sends who asks for it is no part of them."""
    return {ours: getattr(about, ours) for ours in (*_HEADERS.values(), "metadata")}


def said(request: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an `About` that are in the headers of a request: those of HTTP, and the customer's metadata.

    Raises MetadataTooLarge.
    """
    found = {_HEADERS[name]: value for name in filter(_HEADERS.__contains__, request) if (value := request[name])}
    if "Metadata" not in request:
        return found
    metadata = {name.lower(): _decoded(value) for name, value in request["Metadata"].items()}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > METADATA_BYTES_MAX:
        raise MetadataTooLarge(Size=str(size), MaxSizeAllowed=str(METADATA_BYTES_MAX))
    return {**found, "metadata": metadata} if metadata else found


def redirect(request: Mapping[str, Any]) -> dict[str, str]:
    """The field of an `About` that says where a website sends who asks for an object. Raises InvalidRedirectLocation.
    """
    where: str = request.get("WebsiteRedirectLocation", "")
    if not where:
        return {}
    if not where.startswith(("/", "http://", "https://")):
        raise InvalidRedirectLocation()
    if len(where.encode()) > REDIRECT_BYTES_MAX:
        raise InvalidRedirectLocation("The length of website redirect location cannot exceed 2,048 characters.")
    return {"redirect": where}


def answered(about: About, request: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says of an object, as its request wants to have it said."""
    answer: dict[str, Any] = {theirs: value for theirs, ours in _HEADERS.items() if (value := getattr(about, ours))}
    answer.setdefault("ContentType", CONTENT_TYPE)
    if about.metadata:
        answer["Metadata"] = {name: _encoded(value) for name, value in about.metadata.items()}
    answer |= {"WebsiteRedirectLocation": about.redirect or None, "TagCount": len(about.tags) or None,
               "ReplicationStatus": about.replication or None}
    for asked, name in _OVERRIDES.items():
        if asked in request and (wanted := request[asked]):
            answer[name] = formatdate(wanted, usegmt=True) if name == "Expires" else wanted
    answer |= encryption.members(about)
    if request.get("ChecksumMode", "").upper() == "ENABLED":
        answer |= checksums.members(about)
    return answer


def _decoded(text: str) -> str:
    """A header's text that may be encoded by RFC 2047."""
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text


def _encoded(text: str) -> str:
    """The same the other way round, where it is not plain ASCII."""
    if text.isascii() and text.isprintable():
        return text
    return f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?="
