"""What the header of a copy says of its source."""

from urllib.parse import unquote

from cloudlet.services.s3.service import InvalidArgument


def source_of(header: str) -> tuple[str, str, str | None]:
    """Bucket, key and version of `[/]BUCKET/KEY[?versionId=ID]`, percent-encoded. Raises InvalidArgument."""
    path, _, query = header.partition("?versionId=")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    if not bucket or not key:
        raise InvalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
                              ArgumentName="x-amz-copy-source", ArgumentValue=header)
    return bucket, key, unquote(query) or None
