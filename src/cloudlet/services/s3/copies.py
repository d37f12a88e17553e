"""CopyObject: another object with the same bytes, which are shared where they can be.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import keys_of
from cloudlet.kernel.http import Body
from cloudlet.kernel.service import Input
from cloudlet.services.s3 import (
    checksums,
    conditions,
    contents,
    encryption,
    lifecycle,
    lock,
    metadata,
    notifications,
    reading,
    replication_rules,
    restoring,
    versions,
)
from cloudlet.services.s3.access import keys, needs
from cloudlet.services.s3.access.decision import acl_of_new, check_allowed, present
from cloudlet.services.s3.access.keys import creates
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.copysource import source_of
from cloudlet.services.s3.encryption import CustomerKey
from cloudlet.services.s3.metadata import require_key
from cloudlet.services.s3.objects import admit
from cloudlet.services.s3.records import About, Bucket
from cloudlet.services.s3.service import InvalidArgument, InvalidRequest, bucket_arn, object_arns, s3
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.versions import Draft, Version
from cloudlet.store.db import Store, Tx

SOURCE_BYTES_MAX = 5 << 30
_CHANGES = ("StorageClass", "WebsiteRedirectLocation", "ServerSideEncryption", "SSECustomerAlgorithm")


class Source(NamedTuple):
    """What is to be copied."""

    bucket: Bucket
    version: Version
    about: About
    key: CustomerKey | None
    is_named: bool  # by its version

    @property
    def told_version(self) -> str | None:
        """Which version it is, as answers tell it: of "null" only who asked for that."""
        version = self.version.version
        return version if self.bucket.versioning and (version != versions.NULL or self.is_named) else None


def find_source(call: Call, tx: Tx, request: Input) -> Source:
    """The source that a request of CopyObject or UploadPartCopy names, where its conditions hold. Raises what S3 says
    where it cannot be read."""
    name, key, version_id = source_of(request["CopySource"])
    customer = encryption.customer_key(request, "CopySource")
    expected = {"ExpectedBucketOwner": request["ExpectedSourceBucketOwner"]} if (
        "ExpectedSourceBucketOwner" in request) else {}
    bucket = require_bucket(tx, call, {"Bucket": name, **expected})
    if version_id is not None:
        found = versions.find(tx, bucket, key, version_id)
        if found is not None and found.marker:
            raise InvalidRequest("The source of a copy request may not specifically refer to a delete marker by version"
                                 " id.")
    version = present(tx, call, bucket, key, version_id)
    about = version.about
    encryption.check_key(about, customer)
    conditions.check_copy(request, version.etag, version.modified, tx.now)
    restoring.require_readable(version, about, tx.now, "Operation is not valid for the source object's storage class")
    return Source(bucket, version, about, customer, version_id is not None)


@s3.wait(resources=needs.of_copy, action="s3:PutObject", context=creates)
async def copy_object(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """Makes the bytes of another object what a key is. It survives a power cut when this answers."""
    key, customer = require_key(request), encryption.customer_key(request)
    with store.tx() as tx:
        source = find_source(call, tx, request)
        bucket = admit(call, tx, request, key)
        _check_change(tx, source, bucket, key, request)
        algorithm = (request.get("ChecksumAlgorithm") or next(iter(source.about.checksums), checksums.DEFAULT)).lower()
        if source.version.size > SOURCE_BYTES_MAX:
            raise InvalidRequest("The specified copy source is larger than the maximum allowable size for a copy"
                                 f" source: {SOURCE_BYTES_MAX}")
        content, about = source.version.content, _about(source.about, request, customer)
        if source.about.tags and request.get("TaggingDirective") != "REPLACE":
            _check_may_copy_tags(call, tx, request)
        if content is not None and source.key is None and customer is None and algorithm in source.about.checksums:
            contents.share(tx, content)
            version = _put(call, tx, bucket, key, request, about, source.version.size, source.version.etag, content)
            expires, body = lifecycle.expiration(tx, bucket, version), None
        else:
            body = body_of(tx, source)
    if body is not None:
        with await contents.receive(store, body, (algorithm,), customer) as received:
            with store.tx() as tx:
                bucket = admit(call, tx, request, key)
                about = about.replace(checksums={algorithm: checksums.text(received.digests[algorithm])},
                                    checksum_type=checksums.FULL_OBJECT)
                version = _put(call, tx, bucket, key, request, about, received.size, received.etag,
                               received)
                expires = lifecycle.expiration(tx, bucket, version)
    await store.flush()
    return {"CopyObjectResult": {"ETag": version.quoted, "LastModified": version.modified_ms // 1000,
                                 **checksums.members(about)},
            "VersionId": version.version if bucket.versioning else None, "Expiration": expires,
            "CopySourceVersionId": source.told_version,
            **encryption.members(about)}


def body_of(tx: Tx, source: Source, part: conditions.Range | None = None) -> Body:
    """The bytes of a source, or a part of them, to be received again."""
    found = reading.read(tx, source.version, part, source.key)
    return Body(_once(found) if isinstance(found, bytes) else found,
                source.version.size if part is None else part.length)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _check_change(tx: Tx, source: Source, bucket: Bucket, key: str, request: Input) -> None:
    """Raises where an object would become what it is; not where a version is named, or the default encryption is, which
    might have been another one before."""
    if (bucket.name, key) != (source.bucket.name, source.version.key) or source.is_named:
        return
    if kept.get(tx, bucket, kept.ENCRYPTION) is not None or source.about.restored_until:
        return
    if request.get("MetadataDirective") != "REPLACE" and not any(request.get(member) for member in _CHANGES):
        raise InvalidRequest("This copy request is illegal because it is trying to copy an object to itself without"
                             " changing the object's metadata, storage class, website redirect location or encryption"
                             " attributes.")


def _check_may_copy_tags(call: Call, tx: Tx, request: Input) -> None:
    """Raises AccessDenied unless the caller may read the tags of the source and tag the copy.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
    """
    (made,), (name, key, version_id) = object_arns(call, request), source_of(request["CopySource"])
    of_source = "s3:GetObjectVersionTagging" if version_id else "s3:GetObjectTagging"
    own = {**keys.keys_of(call, tx, request), **creates(call, request)}
    for action, arn in ((of_source, f"{bucket_arn(name)}/{key}"), ("s3:PutObjectTagging", made)):
        check_allowed(tx, call, action, arn, lambda: keys_of(own))


def _about(source: About, request: Input, customer: CustomerKey | None) -> About:
    """What is known of a copy: of its source, or of the request where that says so."""
    for member, name in (("MetadataDirective", "metadata"), ("TaggingDirective", "tagging")):
        if request.get(member, "COPY") not in ("COPY", "REPLACE"):
            raise InvalidArgument(f"Unknown {name} directive.", ArgumentName=f"x-amz-{name}-directive",
                                  ArgumentValue=request[member])
    fields = metadata.fields(request, customer)
    if request.get("MetadataDirective") != "REPLACE":
        fields |= metadata.kept(source)
    if request.get("TaggingDirective") != "REPLACE":
        fields["tags"] = source.tags
    return About(**fields, checksums=source.checksums, checksum_type=source.checksum_type)


def _put(call: Call, tx: Tx, bucket: Bucket, key: str, request: Input, about: About, size: int, etag: str,
         content: int | contents.Received) -> Version:
    owner, acl = acl_of_new(call, bucket, request)
    version = versions.put_version(tx, bucket, key, Draft(
        size, etag, owner, about.replace(acl=acl), content, storage_class=metadata.storage_class(request),
        **lock.of_new(tx, bucket, lock.asked(tx, bucket, request))))
    notifications.announce(tx, notifications.cause_of(call), bucket, "ObjectCreated:Copy", version)
    replication_rules.enqueue(tx, bucket, version)
    return version
