"""What the header of a copy says of its source."""

import re
from urllib.parse import unquote_plus

from cloudlet.services.s3.service import InvalidArgument

_HALF_ENCODED = re.compile(r"%(?![0-9a-fA-F]{2})")
_BUCKET = re.compile(r"(?!(?:\d+\.){3}\d+$)[A-Za-z0-9._-]{1,255}")


def source_of(header: str) -> tuple[str, str, str | None]:
    """Bucket, key and version of `[/]BUCKET/KEY[?versionId=ID]`, encoded as in a query: a plus is a space, as
    on AWS, and as Terraform writes it. Raises InvalidArgument."""
    path, is_named, query = header.partition("?versionId=")
    said = {"ArgumentName": "x-amz-copy-source", "ArgumentValue": header}
    if _HALF_ENCODED.search(path):
        raise InvalidArgument("Invalid copy source encoding", **said)
    bucket, _, key = unquote_plus(path).removeprefix("/").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidArgument("Invalid copy source bucket name", **said)
    if not key:
        raise InvalidArgument("Invalid copy source object key", **(said | {"ArgumentValue": "x-amz-copy-source"}))
    if is_named and not query:
        raise InvalidArgument("Version id cannot be the empty string", **said)
    return bucket, key, unquote_plus(query) if is_named else None
