"""The condition keys of S3's own: what policies may ask of a request, and of the object that it is about.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html#amazons3-policy-keys
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.s3 import versions
from cloudlet.services.s3.copysource import source_of
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import bucket_arns, object_arns, s3
from cloudlet.services.s3.settings import kept
from cloudlet.store.db import Tx

CREATES = "cloudlet:creates"  # the ARN of what a request makes: who may is its bucket's to say
_CREATION = "s3:ObjectCreationOperation"
_MEMBERS = {
    "Prefix": "s3:prefix", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys", "VersionId": "s3:VersionId",
    "ACL": "s3:x-amz-acl", "GrantRead": "s3:x-amz-grant-read", "GrantWrite": "s3:x-amz-grant-write",
    "GrantReadACP": "s3:x-amz-grant-read-acp", "GrantWriteACP": "s3:x-amz-grant-write-acp",
    "GrantFullControl": "s3:x-amz-grant-full-control", "CopySource": "s3:x-amz-copy-source",
    "MetadataDirective": "s3:x-amz-metadata-directive", "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "SSECustomerAlgorithm": "s3:x-amz-server-side-encryption-customer-algorithm",
    "StorageClass": "s3:x-amz-storage-class", "WebsiteRedirectLocation": "s3:x-amz-website-redirect-location",
    "ObjectOwnership": "s3:x-amz-object-ownership", "ObjectLockMode": "s3:object-lock-mode",
    "ObjectLockLegalHoldStatus": "s3:object-lock-legal-hold", "IfMatch": "s3:if-match",
    "IfNoneMatch": "s3:if-none-match"}


def creates_bucket(call: Call, request: Input) -> Mapping[str, str]:
    """`context=` of the operation that makes a bucket."""
    return {CREATES: bucket_arns(call, request)[0]}


def creates(call: Call, request: Input) -> Mapping[str, str]:
    """`context=` of the operations that make an object."""
    return {CREATES: object_arns(call, request)[0], _CREATION: "true"}


def prepares(call: Call, request: Input) -> Mapping[str, str]:
    """`context=` of those that make an upload or a part of one, for which policies that demand conditional writes make
    an exception.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
    """
    return {CREATES: object_arns(call, request)[0], _CREATION: "false"}


@s3.condition_keys
def keys_of(call: Call, tx: Tx, request: Input) -> Mapping[str, str | Iterable[str] | None]:
    """All of them that a request has."""
    found: dict[str, str | Iterable[str] | None] = {
        key: str(request[member]) for member, key in _MEMBERS.items() if request.get(member) is not None}
    found |= _of_lock(call, request)
    found.update(_of_signature(call))
    tags = _asked_tags(request)
    found |= {f"s3:RequestObjectTag/{name}": value for name, value in tags.items()}
    if tags:
        found["s3:RequestObjectTagKeys"] = tuple(tags)
    configuration = request.get("CreateBucketConfiguration") or {}
    if configuration.get("LocationConstraint"):
        found["s3:LocationConstraint"] = configuration["LocationConstraint"]
    fields = (request.get("InventoryConfiguration") or {}).get("OptionalFields")
    if fields:
        found["s3:InventoryAccessibleOptionalFields"] = tuple(fields)
    bucket, key, version = _subject(request)
    found["s3:VersionId"] = version
    held = tx.get(Bucket, bucket) if bucket else None
    if held is not None:
        found["s3:ResourceAccount"] = held.account
        found |= {f"s3:BucketTag/{name}": value for name, value in bucket_tags(tx, held).items()}
    return found | (_existing_tags(tx, held, key, version) if held is not None and key else {})


def bucket_tags(tx: Tx, bucket: Bucket) -> dict[str, str]:
    """The tags of a bucket, where they count."""
    if (kept.get(tx, bucket, kept.ABAC) or {}).get("Status") != "Enabled":
        return {}
    return {tag["Key"]: tag["Value"] for tag in (kept.get(tx, bucket, kept.TAGGING) or {}).get("TagSet", ())}


def _of_signature(call: Call) -> dict[str, str | None]:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/bucket-policy-s3-sigv4-conditions.html"""
    if not call.access_key_id:
        return {}
    kind = "POST" if call.is_form else "REST-QUERY-STRING" if call.in_query else "REST-HEADER"
    return {"s3:signatureversion": "AWS4-HMAC-SHA256" if call.names_region else "AWS", "s3:authType": kind,
            "s3:signatureAge": _age_ms(call), "s3:x-amz-content-sha256": call.payload or None}


def _age_ms(call: Call) -> str | None:
    """How old a signature is; None where it does not say."""
    try:
        at = datetime.strptime(call.stamp, "%Y%m%dT%H%M%S%z")
    except ValueError:  # of version 2
        return None
    return str(max(0, round((call.now - at.timestamp()) * 1000)))


def _subject(request: Input) -> tuple[str, str, str | None]:
    """Bucket, key and version that are read: of a copy, its source's."""
    if request.get("CopySource"):
        return source_of(request["CopySource"])
    return request.get("Bucket", ""), request.get("Key", ""), request.get("VersionId")


def _existing_tags(tx: Tx, bucket: Bucket, key: str, version: str | None) -> dict[str, str]:
    found = versions.find(tx, bucket, key, version) if version else versions.current(tx, bucket, key)
    return {f"s3:ExistingObjectTag/{name}": value for name, value in found.about.tags.items()} if found else {}


def _asked_tags(request: Input) -> dict[str, str]:
    header, body = request.get("Tagging"), request.get("Tagging")
    if isinstance(header, str):
        return dict(parse_qsl(header, keep_blank_values=True))
    tags: list[Any] = (body or {}).get("TagSet") or [] if isinstance(body, dict) else []
    return {tag.get("Key", ""): tag.get("Value", "") for tag in tags}


def _of_lock(call: Call, request: Input) -> dict[str, str]:
    until = request.get("ObjectLockRetainUntilDate") or (request.get("Retention") or {}).get("RetainUntilDate")
    mode, hold = (request.get("Retention") or {}).get("Mode"), (request.get("LegalHold") or {}).get("Status")
    found = {"s3:object-lock-mode": mode, "s3:object-lock-legal-hold": hold}
    if until is not None:
        found["s3:object-lock-retain-until-date"] = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found["s3:object-lock-remaining-retention-days"] = str(int((until - call.now) // 86400))
    return {key: value for key, value in found.items() if value}
