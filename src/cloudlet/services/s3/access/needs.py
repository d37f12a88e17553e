"""What operations on objects need besides their action: for what they say of tags, lists and locks, and of a source.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from collections.abc import Iterable

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Need
from cloudlet.services.s3.copysource import source_of
from cloudlet.services.s3.service import bucket_arn, object_arns

_ACL = ("ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")

_MORE = frozenset(("Tagging", "IfMatch", "ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus",
                   *_ACL))


def of_new_object(call: Call, request: Input) -> Iterable[str | Need]:
    """Of putting an object: its ARN, and a permission for each thing that comes with it."""
    arns = object_arns(call, request)
    return arns if _MORE.isdisjoint(request) else (*arns, *_of_what_comes_with_it(arns[0], request))


def _of_what_comes_with_it(arn: str, request: Input) -> Iterable[Need]:
    if request.get("Tagging"):
        yield Need("s3:PutObjectTagging", arn)
    if any(map(request.get, _ACL)):
        yield Need("s3:PutObjectAcl", arn)
    if request.get("IfMatch"):
        yield Need("s3:GetObject", arn)
    if request.get("ObjectLockMode") or request.get("ObjectLockRetainUntilDate"):
        yield Need("s3:PutObjectRetention", arn)
    if request.get("ObjectLockLegalHoldStatus"):
        yield Need("s3:PutObjectLegalHold", arn)


def of_change(call: Call, request: Input) -> Iterable[str | Need]:
    """Of deleting an object or making it of an upload: its ARN, and reading it where its entity tag is asked about.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
    """
    (arn,) = object_arns(call, request)
    yield arn
    if request.get("IfMatch", "*") != "*":
        yield Need("s3:GetObject", arn)


def of_copy(call: Call, request: Input) -> Iterable[str | Need]:
    """Of copying an object, or a part of one: what putting needs, and reading the source."""
    yield from of_new_object(call, request)
    bucket, key, version = source_of(request["CopySource"])
    yield Need("s3:GetObjectVersion" if version else "s3:GetObject", f"{bucket_arn(bucket)}/{key}")


def of_new_bucket(call: Call, request: Input) -> Iterable[str | Need]:
    """Of creating a bucket: its ARN, and a permission for each thing that is set at once.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
    """
    arn = bucket_arn(request["Bucket"])
    yield arn
    if any(map(request.get, _ACL)):
        yield Need("s3:PutBucketAcl", arn)
    if request.get("ObjectOwnership"):
        yield Need("s3:PutBucketOwnershipControls", arn)
    if request.get("ObjectLockEnabledForBucket"):
        yield Need("s3:PutBucketObjectLockConfiguration", arn)
        yield Need("s3:PutBucketVersioning", arn)
    if (request.get("CreateBucketConfiguration") or {}).get("Tags"):
        yield Need("s3:TagResource", arn)
