"""What is refused before anybody's permission is asked: buckets that are not there, or elsewhere, or another's."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3.owners import check_expected
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidArgument,
    NoSuchBucket,
    PermanentRedirect,
    s3,
)
from cloudlet.services.s3.settings import kept
from cloudlet.store.db import Tx

_EVERYWHERE = ("CreateBucket", "GetBucketLocation")  # asked of any region's endpoint
_MAKES = ("PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy")
_PAID = frozenset(name for name in s3.model.operation_names
                  if (shape := s3.model.operation_model(name).input_shape) and "RequestPayer" in shape.members)


@s3.admission
def admit(call: Call, tx: Tx, operation: str, request: dict[str, Any]) -> Bucket | None:
    """The bucket that a request is about; None where it is about all, or makes one. Raises NoSuchBucket; what tells a
    client the bucket's region; AccessDenied where its owner is not the one expected, or where others must pay and did
    not say that they do."""
    name = request.get("Bucket")
    if name is None or operation == "CreateBucket":
        return None
    bucket = tx.get(Bucket, name)
    if bucket is None:
        raise NoSuchBucket(BucketName=name)
    if call.names_region and call.region != bucket.region and operation not in _EVERYWHERE:
        raise _elsewhere(call, bucket, operation)
    check_expected(request.get("ExpectedBucketOwner"), bucket.account)
    if bucket.requester_pays and call.account != bucket.account and operation in _PAID and (
            call.principal.kind == "anonymous" or request.get("RequestPayer") != "requester"):
        raise AccessDenied()
    if request.get("SSECustomerAlgorithm") and operation in _MAKES and _blocks_customer_keys(tx, bucket):
        raise AccessDenied(
            f'User: {call.principal.arn} is not authorized to perform: s3:{operation} on resource:'
            f' "{bucket.arn}/{request["Key"]}" because this bucket has blocked upload requests that specify Server Side'
            " Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type")
    return bucket


def _blocks_customer_keys(tx: Tx, bucket: Bucket) -> bool:
    rules: Any = (kept.get(tx, bucket, kept.ENCRYPTION) or {}).get("Rules", ())
    return any("SSE-C" in ((rule.get("BlockedEncryptionTypes") or {}).get("EncryptionType") or ()) for rule in rules)


def _elsewhere(call: Call, bucket: Bucket, operation: str) -> Exception:
    """A signature for another region than the bucket's. One endpoint serves all regions here, where AWS says what is
    wrong with the signature; a client finds the right region in it, or in the header, and asks again."""
    headers = {"x-amz-bucket-region": bucket.region}
    if operation == "HeadBucket":
        return PermanentRedirect(Bucket=bucket.name, Endpoint=f"s3.{bucket.region}.amazonaws.com").with_headers(headers)
    wrong = f"the region '{call.region}' is wrong; expecting '{bucket.region}'"
    if call.is_form:
        return InvalidArgument(wrong, ArgumentName="X-Amz-Credential", ArgumentValue="/".join((
            call.access_key_id, call.stamp[:8], call.region, "s3", "aws4_request")), Region=bucket.region)
    if call.in_query:
        return AuthorizationQueryParametersError(f"Error parsing the X-Amz-Credential parameter; {wrong}",
                                                 Region=bucket.region).with_headers(headers)
    return AuthorizationHeaderMalformed(f"The authorization header is malformed; {wrong}",
                                        Region=bucket.region).with_headers(headers)
