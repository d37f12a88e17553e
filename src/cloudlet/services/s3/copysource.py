"""What the header of a copy says of its source."""

from urllib.parse import unquote_plus

from cloudlet.services.s3.service import InvalidArgument


def source_of(header: str) -> tuple[str, str, str | None]:
    """Bucket, key and version of `[/]BUCKET/KEY[?versionId=ID]`, encoded as in a query: a plus is a space, as
    on AWS, and as Terraform writes it. Raises InvalidArgument."""
    path, _, query = header.partition("?versionId=")
    bucket, _, key = unquote_plus(path).removeprefix("/").partition("/")
    if not bucket or not key:
        raise InvalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
                              ArgumentName="x-amz-copy-source", ArgumentValue=header)
    return bucket, key, unquote_plus(query) or None
