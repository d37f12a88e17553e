"""What tags may be, of buckets and of objects; pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from cloudlet.services.s3.service import BadRequest, InvalidArgument, InvalidTag

BUCKET_TAGS_MAX, OBJECT_TAGS_MAX = 50, 10
_RESERVED = {"Bucket": "System tags cannot be added/updated by requester",
             "Object": "Your TagKey cannot be prefixed with aws:"}
_HALF_ENCODED = re.compile(r"%(?![0-9a-fA-F]{2})")
_ALLOWED = re.compile(r"[\w\s.:/=+\-@]*")


def checked(tags: Iterable[tuple[str, str]], most: int = OBJECT_TAGS_MAX, of: str = "Object") -> dict[str, str]:
    """Tags of a "Bucket" or an "Object". Raises InvalidTag, and BadRequest where there are too many."""
    found: dict[str, str] = {}
    for key, value in tags:
        if key in found:
            raise InvalidTag("Cannot provide multiple Tags with the same key", TagKey=key)
        if key.lower().startswith("aws:"):
            raise InvalidTag(_RESERVED[of], TagKey=key)
        if not 0 < len(key) <= 128 or not _ALLOWED.fullmatch(key):
            raise InvalidTag("The TagKey you have provided is invalid", TagKey=key)
        if len(value) > 256 or not _ALLOWED.fullmatch(value):
            raise InvalidTag("The TagValue you have provided is invalid", TagKey=key, TagValue=value)
        found[key] = value
    if len(found) > most:
        raise BadRequest(f"{of} tags cannot be greater than {most}")
    return found


def of_header(request: Mapping[str, Any]) -> dict[str, str]:
    """The tags that x-amz-tagging gives a new object, as a query string. Raises as above."""
    header: str = request.get("Tagging", "")
    if not header:
        return {}
    try:
        pairs = parse_qsl(header, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        pairs = [("", "")]
    is_wrong = _HALF_ENCODED.search(header) or any(pair.count("=") > 1 for pair in header.split("&"))
    if is_wrong or "" in dict(pairs) or len(dict(pairs)) < len(pairs):
        raise InvalidArgument("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query"
                              " parameters without tag name duplicates.", ArgumentName="x-amz-tagging",
                              ArgumentValue=header)
    return checked(pairs)
