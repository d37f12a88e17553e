"""The wire's own errors, as each protocol and service says them: signatures, routing, malformed and invalid input.

Codes and sentences: https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html (query),
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html (ec2),
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (s3), and what AWS's JSON services answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cloudlet.kernel.digests import ALGORITHMS
from cloudlet.kernel.errors import AwsError, declare
from cloudlet.wire.validate import Demands, Violation

Error = type[AwsError]
Say = Callable[[list[Violation]], AwsError]

INVALID_TOKEN = "The security token included in the request is invalid."
EXPIRED_TOKEN = "The security token included in the request is expired"
MISMATCH = ("The request signature we calculated does not match the signature you provided. Check your AWS Secret"
            " Access Key and signing method. Consult the service documentation for details.")
EC2_REFUSES = "AWS was not able to validate the provided access credentials"


def _coral(error: Error) -> Say:
    """One error that lists every violation, as services built on AWS's own framework do."""
    def say(violations: list[Violation]) -> AwsError:
        count = len(violations)
        return error(f"{count} validation error{'s' if count > 1 else ''} detected: "
                     + "; ".join(violation.sentence() for violation in violations))
    return say


def _first(missing: Error, invalid: Error, missing_says: str, invalid_says: str) -> Say:
    """An error for the first violation: `missing` for an absent member, `invalid` for anything else."""
    def say(violations: list[Violation]) -> AwsError:
        first = violations[0]
        names = {"member": first.member, "path": first.path, "value": first.shown, "reason": first.constraint}
        return (missing(missing_says.format(**names)) if first.kind == "required"
                else invalid(invalid_says.format(**names)))
    return say


@dataclass(frozen=True, slots=True)
class Faults:
    """One service's words in one protocol. A field is an error class, its default message the usual sentence."""

    unsigned: Error
    incomplete: Error
    unknown_key: Error
    mismatch: Error
    expired_token: Error
    bad_token: Error
    skewed: Error
    expired_url: Error
    denied: Error
    unknown_operation: Error
    not_implemented: Error
    malformed: Error
    too_large: Error
    token_reused: Error
    bad_page: Error
    invalid: Say
    demands: Demands = field(default_factory=Demands)
    called: str = "web service"  # what an unknown action is not valid for
    otherwise: Mapping[str, str] = field(default_factory=dict)  # sentences of the service that this protocol says so
    body_mismatch: Error | None = None  # a body that is not what its signed digest says


InternalFailure = declare("InternalFailure", AwsError.default_message, status=500)

_JSON = Faults(
    unsigned=declare("MissingAuthenticationTokenException", "Missing Authentication Token"),
    incomplete=declare("IncompleteSignatureException"),
    unknown_key=declare("UnrecognizedClientException", INVALID_TOKEN),
    mismatch=declare("InvalidSignatureException", MISMATCH),
    expired_token=declare("ExpiredTokenException", EXPIRED_TOKEN),
    bad_token=declare("UnrecognizedClientException", INVALID_TOKEN),
    skewed=declare("InvalidSignatureException"),
    expired_url=declare("InvalidSignatureException"),
    denied=declare("AccessDeniedException"),
    unknown_operation=declare("UnknownOperationException"),
    not_implemented=declare("NotImplemented", status=501),
    malformed=declare("SerializationException"),
    too_large=declare("RequestEntityTooLargeException", "Request body is too large", status=413),
    token_reused=declare("IdempotentParameterMismatchException",
                         "The client token was used before with different parameters"),
    bad_page=declare("InvalidNextTokenException", "The pagination token is invalid"),
    invalid=_coral(declare("ValidationException")),
)

_QUERY = Faults(
    unsigned=declare("MissingAuthenticationToken", "Request is missing Authentication Token", status=403),
    incomplete=declare("IncompleteSignature"),
    unknown_key=declare("InvalidClientTokenId", INVALID_TOKEN, status=403),
    mismatch=declare("SignatureDoesNotMatch", MISMATCH, status=403),
    expired_token=declare("ExpiredToken", EXPIRED_TOKEN, status=403),
    bad_token=declare("InvalidClientTokenId", INVALID_TOKEN, status=403),
    skewed=declare("SignatureDoesNotMatch", status=403),
    expired_url=declare("SignatureDoesNotMatch", status=403),
    denied=declare("AccessDenied", status=403),
    unknown_operation=declare("InvalidAction"),
    not_implemented=declare("NotImplemented", status=501),
    malformed=declare("MalformedInput"),
    too_large=declare("RequestEntityTooLarge", "Request body is too large", status=413),
    token_reused=declare("IdempotentParameterMismatch", "The client token was used before with different parameters"),
    bad_page=declare("ValidationError", "The pagination token is invalid"),
    invalid=_coral(declare("ValidationError")),
)

_EC2 = replace(
    _QUERY,
    unsigned=declare("AuthFailure", EC2_REFUSES, status=401),
    incomplete=declare("IncompleteSignature"),
    unknown_key=declare("AuthFailure", EC2_REFUSES, status=401),
    mismatch=declare("AuthFailure", EC2_REFUSES, status=401),
    expired_token=declare("RequestExpired", "Request has expired."),
    bad_token=declare("AuthFailure", EC2_REFUSES, status=401),
    skewed=declare("RequestExpired", "Request has expired."),
    expired_url=declare("RequestExpired", "Request has expired."),
    denied=declare("UnauthorizedOperation", status=403),
    malformed=declare("InvalidParameterValue"),
    bad_page=declare("InvalidParameterValue", "Unable to parse pagination token"),
    invalid=_first(declare("MissingParameter"), declare("InvalidParameterValue"),
                   "The request must contain the parameter {member}",
                   "Value ({value}) for parameter {path} is invalid. {reason}"),
    demands=Demands(patterns=False),
)

_REST_JSON = replace(
    _JSON,
    unsigned=declare("MissingAuthenticationTokenException", "Missing Authentication Token", status=403),
    incomplete=declare("IncompleteSignatureException", status=403),
    unknown_key=declare("UnrecognizedClientException", INVALID_TOKEN, status=403),
    mismatch=declare("InvalidSignatureException", MISMATCH, status=403),
    expired_token=declare("ExpiredTokenException", EXPIRED_TOKEN, status=403),
    bad_token=declare("UnrecognizedClientException", INVALID_TOKEN, status=403),
    skewed=declare("InvalidSignatureException", status=403),
    expired_url=declare("InvalidSignatureException", status=403),
    denied=declare("AccessDeniedException", status=403),
    unknown_operation=declare("UnknownOperationException", status=404),
)

_REST_XML = replace(_QUERY, malformed=declare("MalformedInput"), unknown_operation=declare("InvalidAction"))

_S3_MALFORMED = declare("MalformedXML", "The XML you provided was not well-formed or did not validate against our"
                        " published schema")
_S3_ACL = declare("MalformedACLError", _S3_MALFORMED.default_message)
_S3_ARGUMENT = declare("InvalidArgument")
_S3_STORAGE_CLASS = declare("InvalidStorageClass", "The storage class you specified is not valid")
_S3_REQUEST = declare("InvalidRequest")
_S3_POLICY = declare("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
_S3_TAG = declare("InvalidTag", "The TagKey you have provided is invalid")
_S3_HEADERS = {
    "aCL": ("x-amz-acl", ""), "objectLockMode": ("x-amz-object-lock-mode", "Unknown wormMode directive."),
    "objectLockLegalHoldStatus": ("x-amz-object-lock-legal-hold", "Legal Hold must be either of 'ON' or 'OFF'"),
    "metadataDirective": ("x-amz-metadata-directive", "Unknown metadata directive."),
    "taggingDirective": ("x-amz-tagging-directive", "Unknown tagging directive."),
    "serverSideEncryption": ("x-amz-server-side-encryption", "The encryption method specified is not supported"),
    "encodingType": ("encoding-type", "Invalid Encoding Method specified in Request"),
    "maxBuckets": ("max-buckets", "Argument max-buckets must be an integer between 1 and 10000."),
    "transitionDefaultMinimumObjectSize": ("x-amz-transition-default-minimum-object-size",
                                           "Invalid x-amz-transition-default-minimum-object-size header: {}")}
_S3_CHECKSUMS = {
    "checksumType": "Value for x-amz-checksum-type header is invalid.",
    "checksumAlgorithm": "Checksum algorithm provided is unsupported. Please try again with any of the valid types:"
                         f" [{', '.join(ALGORITHMS).upper()}]"}


def _s3_invalid(violations: list[Violation]) -> AwsError:
    """Of a document S3 says hardly more than that it is wrong; of a header or parameter, what."""
    first = violations[0]
    if first.member in _S3_CHECKSUMS:
        return _S3_REQUEST(_S3_CHECKSUMS[first.member])
    if first.path == "objectAttributes":
        return _S3_REQUEST("The x-amz-object-attributes header specifying the attributes to be retrieved is either"
                           " missing or empty")
    if first.path.startswith("objectAttributes."):
        return _S3_ARGUMENT("Invalid attribute name specified.", ArgumentName="x-amz-object-attributes",
                            ArgumentValue=first.shown)
    if first.kind == "enum" and ".events." in first.path:
        return _S3_ARGUMENT("The event is not supported for notifications", ArgumentName="event",
                            ArgumentValue=first.shown)
    if first.path == "objectOwnership":
        return _S3_ARGUMENT(f"Invalid x-amz-object-ownership header: {first.shown}",
                            ArgumentName="x-amz-object-ownership")
    if first.path == "policy":  # an empty one, which is none
        return _S3_POLICY()
    if first.kind == "enum" and first.path.endswith(".protocol"):
        return _S3_REQUEST("Invalid protocol, protocol can be http or https. If not defined the protocol will be"
                           " selected automatically.")
    if first.kind == "length" and first.path.endswith(".errorDocument.key"):
        return _S3_ARGUMENT("The ErrorDocument Key is not well formed", ArgumentName="ErrorDocument",
                            ArgumentValue=first.shown)
    if first.member in _S3_HEADERS:
        header, sentence = _S3_HEADERS[first.member]
        return _S3_ARGUMENT(sentence.format(first.shown), ArgumentName=header, ArgumentValue=first.shown)
    if first.kind == "length" and ".tagSet." in first.path and first.path.endswith(".key"):
        return _S3_TAG(TagKey="")
    if "." in first.path and not first.path.startswith("optionalObjectAttributes."):  # a header
        return _S3_ACL() if first.path.startswith("accessControlPolicy.") else _S3_MALFORMED()
    if first.member == "storageClass":
        return _S3_STORAGE_CLASS(StorageClassRequested=first.shown)
    return _first(_S3_ARGUMENT, _S3_ARGUMENT, "{member} is required", "{path}: {reason}")(violations)


_S3 = replace(
    _REST_XML,
    unsigned=declare("AccessDenied", "Access Denied", status=403),
    incomplete=declare("AuthorizationHeaderMalformed"),
    unknown_key=declare("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.",
                        status=403),
    mismatch=declare("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you"
                     " provided. Check your key and signing method.", status=403),
    expired_token=declare("ExpiredToken", "The provided token has expired."),
    bad_token=declare("InvalidToken", "The provided token is malformed or otherwise invalid."),
    skewed=declare("RequestTimeTooSkewed", "The difference between the request time and the current time is too"
                   " large.", status=403),
    expired_url=declare("AccessDenied", "Request has expired", status=403),
    unknown_operation=declare("MethodNotAllowed", "The specified method is not allowed against this resource.",
                              status=405),
    not_implemented=declare("NotImplemented", status=501),
    malformed=_S3_MALFORMED,
    too_large=declare("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size."),
    bad_page=declare("InvalidArgument", "The continuation token provided is incorrect"),
    invalid=_s3_invalid,
    demands=Demands(patterns=False),
    body_mismatch=declare("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what"
                          " was computed."),
)

_PROTOCOLS: Mapping[str, Faults] = {
    "json": _JSON, "smithy-rpc-v2-cbor": _JSON, "query": _QUERY, "ec2": _EC2, "rest-json": _REST_JSON,
    "rest-xml": _REST_XML,
}

# CloudWatch and SQS: AWS gives their JSON and CBOR errors the codes of the query protocol they came from.
_CLOUDWATCH_INVALID = _first(
    declare("MissingParameter"), declare("InvalidParameterValue"), "The parameter {member} is required.",
    "The value {value} for parameter {path} is invalid: {reason}")
_SQS_INVALID = _first(
    declare("MissingParameter", shape_name="MissingRequiredParameterException"),
    declare("InvalidParameterValue", shape_name="InvalidParameterValueException"),
    "The request must contain the parameter {member}.",
    "Value {value} for parameter {member} is invalid. Reason: {reason}.")
_SQS_MISMATCH = declare("SignatureDoesNotMatch", MISMATCH, status=403, shape_name="InvalidSignatureException")
_SQS_STRANGER = declare("InvalidClientTokenId", INVALID_TOKEN, status=403, shape_name="UnrecognizedClientException")
_INVALID_PARAMETER = declare("InvalidParameterException")
_SNS_NESTED = _coral(declare("ValidationError"))
_SNS_OWN = _first(declare("InvalidParameter"), declare("InvalidParameter"),
                  "Invalid parameter: {member} Reason: no value for required parameter",
                  "Invalid parameter: {member} Reason: {reason}")


def _sns_invalid(violations: list[Violation]) -> AwsError:
    """Of a request's own members SNS speaks itself; of what is in them, the framework that it is built on."""
    return _SNS_NESTED(violations) if "." in violations[0].path else _SNS_OWN(violations)


_SERVICES: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("ecs", "json"): {
        "invalid": _coral(_INVALID_PARAMETER), "bad_page": declare("InvalidParameterException", "Invalid token"),
        "token_reused": declare("ConflictException", "The client token was used before with different parameters")},
    ("ecr", "json"): {
        "invalid": _coral(_INVALID_PARAMETER),
        "bad_page": declare("InvalidParameterException", "Invalid parameter at 'nextToken'")},
    ("logs", "json"): {
        "invalid": _coral(_INVALID_PARAMETER),
        "bad_page": declare("InvalidParameterException", "The specified nextToken is invalid.")},
    ("ssm", "json"): {"bad_page": declare("InvalidNextToken", "The specified token is not valid.")},
    ("eks", "rest-json"): {
        "invalid": _coral(_INVALID_PARAMETER), "bad_page": declare("InvalidParameterException", "Invalid nextToken"),
        "token_reused": declare("InvalidParameterException",
                                "The client token was used before with different parameters")},
    ("sqs", "json"): {
        "invalid": _SQS_INVALID, "demands": Demands(enums=False), "called": "endpoint",
        "unsigned": declare("MissingAuthenticationToken", "Request is missing Authentication Token", status=403,
                            shape_name="MissingAuthenticationTokenException"),
        "unknown_key": _SQS_STRANGER, "bad_token": _SQS_STRANGER, "mismatch": _SQS_MISMATCH, "skewed": _SQS_MISMATCH,
        "expired_url": _SQS_MISMATCH,
        "expired_token": declare("ExpiredToken", EXPIRED_TOKEN, status=403, shape_name="ExpiredTokenException"),
        "denied": declare("AccessDenied", status=403, shape_name="AccessDeniedException"),
        "unknown_operation": declare("InvalidAction", shape_name="UnknownOperationException")},
    ("sqs", "query"): {
        "invalid": _SQS_INVALID, "demands": Demands(enums=False), "called": "endpoint",
        "otherwise": {"The specified queue does not exist.":
                      "The specified queue does not exist for this wsdl version."}},
    ("cloudwatch", "json"): {
        "invalid": _CLOUDWATCH_INVALID, "bad_page": declare("InvalidNextToken", "The next token is invalid.")},
    ("cloudwatch", "smithy-rpc-v2-cbor"): {
        "invalid": _CLOUDWATCH_INVALID, "bad_page": declare("InvalidNextToken", "The next token is invalid.")},
    ("cloudwatch", "query"): {
        "invalid": _CLOUDWATCH_INVALID, "bad_page": declare("InvalidNextToken", "The next token is invalid.")},
    ("autoscaling", "query"): {
        "bad_page": declare("InvalidNextToken", "The token is not valid.")},
    ("sns", "query"): {
        "denied": declare("AuthorizationError", status=403),
        "invalid": _sns_invalid,
        "bad_page": declare("InvalidParameter", "Invalid parameter: NextToken")},
    ("rds", "query"): {
        "invalid": _first(declare("MissingParameter"), declare("InvalidParameterValue"),
                          "The request must contain the parameter {member}",
                          "Invalid value for parameter {path}: {reason}"),
        "bad_page": declare("InvalidParameterValue", "The request marker is invalid")},
    ("s3", "rest-xml"): {name: getattr(_S3, name) for name in Faults.__slots__},
}


def worded(error: Error, sentence: str) -> AwsError:
    """An error with its own sentence where it has one (EC2, S3), else with this one."""
    return error() if error.default_message != error.code else error(sentence)


def faults_of(service: str, protocol: str) -> Faults:
    """What a service says in a protocol."""
    return replace(_PROTOCOLS[protocol], **_SERVICES.get((service, protocol), {}))  # type: ignore[arg-type]
