"""What buckets and objects say of who may do something with them: ownership, policies, access control lists.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-s3-evaluates-access-control.html
"""

from functools import lru_cache
from typing import Any

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import RequestKeys, nothing_asked
from cloudlet.kernel.policy import Grant as Level
from cloudlet.kernel.policy import listed
from cloudlet.kernel.service import Access
from cloudlet.services.iam import Permissions
from cloudlet.services.s3 import versions
from cloudlet.services.s3.access import grants
from cloudlet.services.s3.access.keys import CREATES
from cloudlet.services.s3.access.public import is_public
from cloudlet.services.s3.owners import account_of, canonical_id
from cloudlet.services.s3.records import ENFORCED, Bucket
from cloudlet.services.s3.service import AccessControlListNotSupported, AccessDenied, NoSuchKey, s3
from cloudlet.services.s3.versions import Version
from cloudlet.store.db import Tx

_PREFIX = len("arn:aws:s3:::")
# Which permission of a bucket's list, and of an object's, allows what.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#permissions
_OF_BUCKET = {
    "s3:ListBucket": "READ", "s3:ListBucketVersions": "READ", "s3:ListBucketMultipartUploads": "READ",
    "s3:PutObject": "WRITE", "s3:DeleteObject": "WRITE", "s3:GetBucketAcl": "READ_ACP", "s3:PutBucketAcl": "WRITE_ACP"}
_OF_OBJECT = {
    "s3:GetObject": "READ", "s3:GetObjectVersion": "READ", "s3:GetObjectAttributes": "READ",
    "s3:GetObjectVersionAttributes": "READ", "s3:GetObjectAcl": "READ_ACP", "s3:GetObjectVersionAcl": "READ_ACP",
    "s3:PutObjectAcl": "WRITE_ACP", "s3:PutObjectVersionAcl": "WRITE_ACP"}
# What is of objects and its owner's alone: no list gives it to others.
_OF_OBJECTS_OWNER = frozenset({
    "s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"})
# What comes with a new object: who puts one into another account's bucket says it of their own, whoever owns it then.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html#example-bucket-policies-acl-2 asks
# for a list, and for no permission but s3:PutObject.
_OF_WRITER = "s3:PutObjectAcl"
# What the root user of a bucket's account may always do, whatever the policy says.
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html
_OF_POLICY = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})
_OWN = Permissions((s3,))


@s3.resource_access
def access_of(tx: Tx, call: Call, action: str, arn: str, keys: RequestKeys) -> Access:
    """What a bucket says of a caller, or an object and its bucket. Of one that is not there the caller's own policies
    decide, and the operation says that it is not."""
    name, _, key = arn[_PREFIX:].partition("/")
    bucket = tx.get(Bucket, name)
    if bucket is None or (not key and keys().get(CREATES) == (arn,)):
        return Access(call.account)
    policy = _policy_for(call, bucket, action)
    if action == _OF_WRITER and _is_stranger(call, bucket) and keys().get(CREATES) == (arn,):
        return Access(call.account, _denials(policy))
    if bucket.ownership == ENFORCED:  # nearly always, and then nothing more needs to be looked at
        return Access(bucket.account, policy)
    return _with_lists(tx, call, bucket, key, action, policy, keys, keys().get(CREATES) == (arn,))


def _policy_for(call: Call, bucket: Bucket, action: str) -> str | None:
    if not bucket.policy:
        return None
    own = call.account == bucket.account
    if own and call.principal.kind == "root" and action in _OF_POLICY:
        return None
    if not own and bucket.shuts("RestrictPublicBuckets") and is_public(bucket.policy):
        return None
    return bucket.policy


def _with_lists(tx: Tx, call: Call, bucket: Bucket, key: str, action: str, policy: str | None,
                keys: RequestKeys, made: bool) -> Access:
    who, owner = canonical_id(call.account) if call.account else "", canonical_id(bucket.account)
    ignore_public = bucket.shuts("IgnorePublicAcls")

    def of_bucket(permission: str | None) -> Level:
        return "none" if permission is None else grants.permitted(
            grants.load(bucket.acl, owner), who, permission, ignore_public=ignore_public)

    if key and (action in _OF_OBJECT or action in _OF_OBJECTS_OWNER):
        if made:
            return Access(call.account, _denials(policy)) if _is_stranger(call, bucket) else Access(
                bucket.account, policy, of_bucket("WRITE"))
        version = keys().get("s3:versionid")
        found = versions.find(tx, bucket, key, version[0]) if version else versions.current(tx, bucket, key)
        if found is None or found.marker:  # who may list the bucket may know that it is not there
            return Access(bucket.account, policy, of_bucket("READ"))
        if found.owner != owner:
            policy = _denials(policy)
        permission = _OF_OBJECT.get(action)
        level: Level = "none" if permission is None else grants.permitted(
            grants.load(found.about.acl, found.owner), who, permission, ignore_public=ignore_public)
        return Access(account_of(found.owner) or found.owner, policy, level)
    return Access(bucket.account, policy, of_bucket(_OF_BUCKET.get(action)))


def _is_stranger(call: Call, bucket: Bucket) -> bool:
    return call.account not in ("", bucket.account)


@lru_cache(maxsize=256)
def _denials(document: str | None) -> str | None:
    """What counts of a bucket's policy for an object that another account owns."""
    if document is None:
        return None
    content = msgspec.json.decode(document)
    content["Statement"] = [each for each in listed(content["Statement"]) if each["Effect"] == "Deny"]
    return msgspec.json.encode(content).decode()


def is_allowed(tx: Tx, call: Call, action: str, arn: str, keys: RequestKeys = nothing_asked) -> bool:
    """Whether the caller may, for operations that find out only on their way what they need."""
    return _OWN.refusal(tx, call, action, (arn,), keys) is None


def check_allowed(tx: Tx, call: Call, action: str, arn: str, keys: RequestKeys) -> None:
    """Raises AccessDenied, in AWS's words, where the caller may not."""
    refusal = _OWN.refusal(tx, call, action, (arn,), keys)
    if refusal is not None:
        raise AccessDenied(refusal.message)


def present(tx: Tx, call: Call, bucket: Bucket, key: str, version_id: str | None = None,
            method: str = "GET") -> Version:
    """The version that a request means. Raises NoSuchVersion, and NoSuchKey where the caller may list the bucket, since
    nobody else may know that: they get AccessDenied.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    try:
        return versions.require(tx, bucket, key, version_id, method)
    except NoSuchKey:
        if is_allowed(tx, call, "s3:ListBucket", bucket.arn):
            raise
        raise AccessDenied() from None


def present_or_marker(tx: Tx, call: Call, bucket: Bucket, key: str, version_id: str | None, method: str) -> Version:
    """The same for operations of which S3 says where a marker covers the key that they are not for markers, instead of
    that there is no such key."""
    there = versions.current(tx, bucket, key) if version_id is None else None
    named = there.version if there is not None and there.marker else version_id
    return present(tx, call, bucket, key, named, method)


def owner_of_new(call: Call, bucket: Bucket, acl: str | None = None) -> str:
    """The canonical user id of who owns what a caller puts; `acl`: the canned list that was asked for.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
    """
    if bucket.ownership == ENFORCED or (
            bucket.ownership == "BucketOwnerPreferred" and acl == "bucket-owner-full-control"):
        return canonical_id(bucket.account)
    return canonical_id(call.account)


def acl_of_new(call: Call, bucket: Bucket, request: dict[str, Any]) -> tuple[str, str]:
    """The owner and the list, as it is stored, of an object that a request makes. Raises what forbids them."""
    owner, bucket_owner = owner_of_new(call, bucket, request.get("ACL")), canonical_id(bucket.account)
    acl = grants.requested(request, owner, bucket_owner)
    if acl is None:
        return owner, ""
    if bucket.ownership == ENFORCED:
        if acl != grants.private(bucket_owner):
            raise AccessControlListNotSupported()
        return owner, ""
    check_not_public(bucket, acl)
    return owner, grants.dump(acl, owner)


def check_not_public(bucket: Bucket, acl: grants.Acl) -> None:
    """Raises where a list would open something that the bucket's public access block keeps shut."""
    if bucket.shuts("BlockPublicAcls") and grants.is_public(acl):
        raise AccessDenied()
