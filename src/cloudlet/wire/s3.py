"""What only S3 does: virtual hosts, errors without an envelope, roots and headers of its own."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import unquote

from botocore.model import OperationModel, StructureShape
from msgspec.structs import replace

from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.service import Service
from cloudlet.wire import s3_forms, s3_signatures, scalars, sigv2, sigv4, xml
from cloudlet.wire.protocol import Located, Message, Parse, Print
from cloudlet.wire.query import error_text
from cloudlet.wire.rest import RestXml
from cloudlet.wire.scalars import Malformed, MalformedParameter
from cloudlet.wire.sigv4 import Signed

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
_ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult", "ListDirectoryBuckets": "ListAllMyDirectoryBucketsResult",
    "ListObjects": "ListBucketResult", "ListObjectsV2": "ListBucketResult", "ListObjectVersions": "ListVersionsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult", "ListParts": "ListPartsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult", "DeleteObjects": "DeleteResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult", "CreateSession": "CreateSessionResult",
    "GetBucketAcl": "AccessControlPolicy", "GetObjectAcl": "AccessControlPolicy", "GetBucketTagging": "Tagging",
    "GetObjectTagging": "Tagging", "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketCors": "CORSConfiguration", "GetBucketWebsite": "WebsiteConfiguration",
    "GetBucketLifecycle": "LifecycleConfiguration", "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketNotification": "NotificationConfiguration",
    "GetBucketNotificationConfiguration": "NotificationConfiguration", "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "ListBucketAnalyticsConfigurations": "ListBucketAnalyticsConfigurationResult",
    "ListBucketInventoryConfigurations": "ListInventoryConfigurationsResult",
    "ListBucketMetricsConfigurations": "ListMetricsConfigurationsResult",
    "GetObjectAttributes": "GetObjectAttributesResponse",
}
InvalidArgument = declare("InvalidArgument")
MissingRequestBody = declare("MissingRequestBodyError", "Request Body is empty")
_HALF_OF_A_PART = {name: f"This operation does not accept {name} without {other}" for name, other in (
    ("partNumber", "uploadId"), ("uploadId", "partNumber"))}  # it would become the whole object
# Parameters that make a request another one than its client meant, and what S3 says of them.
_REFUSED = {
    "PutObject": _HALF_OF_A_PART, "CopyObject": _HALF_OF_A_PART,
    "ListObjects": {
        "continuation-token": "continuation-token only supported in REST.GET.BUCKET with list-type=2",
        "start-after": "startAfter only supported in REST.GET.BUCKET with list-type=2",
        "list-type": "Invalid List Type specified in Request"},
    "ListObjectsV2": {"marker": "Marker unsupported with REST.GET.BUCKET in list-type=2"},
}
_PAGED = ("ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads", "ListParts")
_NUMBERS = ("max-keys", "max-uploads", "max-parts", "part-number-marker")
_READ, _ENCRYPTION = ("GetObject", "HeadObject"), "x-amz-server-side-encryption"
_HOSTS = (".s3.", ".s3-")
_SINCE = ("if-modified-since", "if-unmodified-since")
_DATES = {"x-amz-object-lock-retain-until-date": "The retain until date must be provided in ISO 8601 format"}


@lru_cache(maxsize=1024)
def bucket_of_host(host: str) -> str:
    """The bucket of a virtual-hosted request, e.g. `BUCKET.s3.localhost:4566`; "" where the host names none.

    `BUCKET.localhost` is what clients make of an endpoint that is called localhost.
    """
    name = host.rpartition(":")[0] or host
    for mark in _HOSTS:
        bucket, found, _ = name.rpartition(mark)
        if found:
            return bucket
    bucket, found, rest = name.rpartition(".localhost")
    return bucket if found and not rest and bucket != "s3" and not bucket.startswith(("s3.", "s3-")) else ""


def path_style(request: Request) -> str:
    """The path with the bucket in front, whichever way the client spelled it; a bucket alone has no slash after it."""
    bucket = bucket_of_host(request.headers.get("host", ""))
    path = f"/{bucket}{request.path}" if bucket else request.path
    return path[:-1] if path.endswith("/") and path.count("/") == 2 else path


def _check_parameters(message: Message, refused: Mapping[str, str]) -> None:
    for name, value in message.parameters:
        if name in refused:
            raise InvalidArgument(refused[name], ArgumentName=name, ArgumentValue=value[:1024])


def _without_dates_that_are_none(message: Message) -> Message:
    """A condition whose date cannot be read is none (RFC 9110 §13.1.3 and §13.1.4)."""
    headers = message.request.headers
    bad = [name for name in _SINCE if name in headers and not _is_date(headers[name])]
    if not bad:
        return message
    left = {name: value for name, value in headers.items() if name not in bad}
    return replace(message, request=replace(message.request, headers=left))


def _without_numbers_that_are_none(message: Message) -> Message:
    """Where nothing is said of how many or from where on, S3 does as it always does."""
    left = [(name, value) for name, value in message.parameters if value or name not in _NUMBERS]
    return message if len(left) == len(message.parameters) else replace(message, parameters=left)


def _is_date(text: str) -> bool:
    try:
        scalars.time_of_rfc822(text)
    except Malformed:
        return False
    return True


def _typed(response: Response, content_type: str) -> Response:
    return replace(response, headers={**response.headers, "content-type": content_type})


@lru_cache(maxsize=256)
def _needs_body(operation: OperationModel) -> bool:
    """Whether a request is a document, which no header stands for."""
    shape, name = operation.input_shape, operation.name
    payload = shape.serialization.get("payload") if shape else None
    return bool(payload) and shape.members[payload].type_name == "structure" and (
        name.startswith("Put") and not name.endswith("Acl"))


class S3(RestXml):
    """rest-xml as S3 speaks it."""

    name: ClassVar[str] = "rest-xml"
    takes_unsigned: ClassVar[bool] = True
    checksum_needed: ClassVar[tuple[str, ...]] = (
        "DeleteObjects", "PutObjectLegalHold", "PutObjectLockConfiguration", "PutObjectRetention")

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._xmlns = NAMESPACE

    def headers(self, request_id: str) -> dict[str, str]:
        """See Rest."""
        short = request_id.replace("-", "").upper()
        return {"x-amz-request-id": short[:16], "x-amz-id-2": short, "server": "AmazonS3"}

    def signature(self, request: Request, operation: OperationModel, now: float) -> Signed | None:
        """See Protocol."""
        return s3_signatures.read(request, now, self.faults)

    def check(self, request: Request, signed: Signed, secret: str, whole: bytes | None) -> bytes:
        """See Protocol. What Version 2 signs is followed by nothing."""
        if signed.scope.region:
            return super().check(request, signed, secret, whole)
        sigv2.check(request, bucket_of_host(request.headers.get("host", "")), signed, secret, self.faults)
        return b""

    def bucket_of_form(self, request: Request) -> str | None:
        """See Protocol."""
        if request.method != "POST":
            return None
        path = self.path(request)
        return unquote(path[1:]) if s3_forms.is_form(path, request) else None

    def meant(self, request: Request) -> Request:
        """See Protocol."""
        return s3_signatures.meant(request)

    def path(self, request: Request) -> str:
        """See Protocol."""
        return path_style(request)

    def locate(self, request: Request, path: str, body: bytes) -> Located:
        """See Protocol. Who signs in a header must say what the body is even where nothing is to be done, as on AWS."""
        found = super().locate(request, path, body)
        if not found.name and (request.headers.get("authorization") or "").startswith(sigv4.ALGORITHM):
            sigv4.payload_of(sigv4.read(request, self.faults), None, True, self.faults)
        return found

    def root(self, shape: StructureShape, operation: OperationModel, payload: str | None) -> str:
        """See RestXml."""
        return _ROOTS.get(operation.name) or super().root(shape, operation, payload)

    def parse(self, operation: OperationModel, message: Message) -> dict[str, Any]:
        """See Protocol. A document that is missing is told from one that is wrong."""
        if not message.body and _needs_body(operation):
            raise MissingRequestBody()
        return super().parse(operation, message)

    def compile_parser(self, operation: OperationModel) -> Parse:
        """See Protocol. How a body was sent in chunks is no part of what was meant."""
        parse, refused = super().compile_parser(operation), _REFUSED.get(operation.name)
        only_reads, is_paged = operation.name in _READ, operation.name in _PAGED

        def parse_unchunked(message: Message) -> dict[str, Any]:
            if refused is not None and message.parameters:
                _check_parameters(message, refused)
            if is_paged:
                message = _without_numbers_that_are_none(message)
            elif only_reads:
                message = _without_dates_that_are_none(message)
            out, headers = parse(message), message.request.headers
            if only_reads and _ENCRYPTION in headers:
                raise InvalidArgument(f"{_ENCRYPTION} header is not supported for this operation.",
                                      ArgumentName=_ENCRYPTION, ArgumentValue=headers[_ENCRYPTION][:1024])
            if "ChecksumAlgorithm" in out:  # S3 takes it in any case
                out["ChecksumAlgorithm"] = out["ChecksumAlgorithm"].upper()
            if not headers.get("x-amz-content-sha256", "").startswith(sigv4.STREAMING):
                return out
            length = headers.get("x-amz-decoded-content-length")
            if length is not None and "ContentLength" in out:
                out["ContentLength"] = scalars.long(length)
            if "aws-chunked" in out.get("ContentEncoding", ""):
                kept = [part.strip() for part in out.pop("ContentEncoding").split(",") if part.strip() != "aws-chunked"]
                if kept:
                    out["ContentEncoding"] = ", ".join(kept)
            return out
        return parse_unchunked

    def malformed(self, wrong: Malformed) -> AwsError:
        """See Protocol."""
        if not isinstance(wrong, MalformedParameter):
            return self.faults.malformed()
        said = f"Provided {wrong.name} not an integer or within integer range" if (
            str(wrong).endswith(("Integer", "Long"))) else _DATES.get(wrong.name, str(wrong))
        return InvalidArgument(said, ArgumentName=wrong.name, ArgumentValue=wrong.value[:1024])

    def compile_printer(self, operation: OperationModel) -> Print:
        """See Protocol. GetBucketLocation alone has its value in the root itself; a part of an object says that it is
        one."""
        whole = super().compile_printer(operation)
        if operation.name in _READ:
            def print_object(output: Any, request_id: str) -> Response:
                response = whole(output, request_id)
                return response if "content-range" not in response.headers else replace(response, status=206)
            return print_object
        if operation.name == "HeadBucket":  # it has a document's type, as its errors do
            return lambda output, request_id: _typed(whole(output, request_id), self.content_type)
        if operation.name != "GetBucketLocation":
            return whole

        def print_(output: Any, request_id: str) -> Response:
            where = xml.escape((output or {}).get("LocationConstraint") or "")
            text = f'{_DECLARATION}<LocationConstraint xmlns="{NAMESPACE}">{where}</LocationConstraint>'
            return Response(200, self.headers(request_id) | {"content-type": self.content_type}, text.encode())
        return print_

    def failure(self, error: AwsError, request_id: str) -> Response:
        """See Protocol."""
        if error.status == 304:
            return Response(304, {**self.headers(request_id), **error.headers})
        headers = {**self.headers(request_id), "content-type": self.content_type, **error.headers}
        said = "" if error.message == error.code else xml.escape(error.message)  # S3 has no sentence for some
        text = (f"{_DECLARATION}<Error><Code>{error.code}</Code><Message>{said}</Message>"
                f"{error_text(self, self.writer, error)}<RequestId>{headers['x-amz-request-id']}</RequestId>"
                f"<HostId>{headers['x-amz-id-2']}</HostId></Error>")
        return Response(error.status, headers, text.encode())
