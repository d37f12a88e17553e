"""AWS Signature Version 2 as S3 still takes it: the links that boto3 and the aws CLI presign unless told otherwise.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html
"""

import base64
import hmac
from collections.abc import Iterator
from urllib.parse import quote, unquote, unquote_to_bytes

from cloudlet.kernel.errors import declare
from cloudlet.kernel.http import Request
from cloudlet.wire.faults import Faults
from cloudlet.wire.scalars import Malformed, iso, time_of_rfc822
from cloudlet.wire.sigv4 import SKEW_MAX_S, Scope, Signed, seconds_of

AccessDenied = declare("AccessDenied", "Access Denied", status=403)
InvalidArgument = declare("InvalidArgument")
TimeTooSkewed = declare("RequestTimeTooSkewed", "The difference between the request time and the current time is too"
                        " large.", status=403)

_MARK = "AWS "
_NEEDED = ("Signature", "Expires", "AWSAccessKeyId")
# What of a query is signed: the list that clients share; each of them leaves out what is newer than itself.
_SIGNED = frozenset((
    "accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location",
    "logging", "metrics", "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment",
    "response-cache-control", "response-content-disposition", "response-content-encoding",
    "response-content-language", "response-content-type", "response-expires", "restore", "select", "select-type",
    "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website"))


def in_header(request: Request) -> bool:
    """Whether a request's header claims such a signature."""
    return request.headers.get("authorization", "").startswith(_MARK)


def in_query(request: Request) -> bool:
    """Whether a request's query does."""
    if not request.query or ("Signature=" not in request.query and "AWSAccessKeyId=" not in request.query):
        return False
    return any(name in ("Signature", "AWSAccessKeyId") for name, _ in parameters(request))


def is_signed(request: Request) -> bool:
    """Whether a request bears such a signature, in its header or its query."""
    return in_header(request) or in_query(request)


def read(request: Request, now: float) -> Signed:
    """The signature of a request that bears one. Raises what is wrong with it, its time included."""
    headers = request.headers
    payload = headers.get("x-amz-content-sha256")
    if in_header(request):
        key_id, found, signature = headers["authorization"].removeprefix(_MARK).strip().rpartition(":")
        if not (found and key_id and signature):
            raise InvalidArgument("AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
                                  ArgumentName="Authorization", ArgumentValue=headers["authorization"][:256])
        _check_date(headers.get("x-amz-date", headers.get("date", "")), now)
        return Signed(_scope(key_id), headers.get("date", ""), (), signature, headers.get("x-amz-security-token"),
                      payload)
    given = dict(parameters(request))
    if not all(given.get(name) for name in _NEEDED):
        raise AccessDenied("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
    expires = given["Expires"]
    if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
        raise AccessDenied(f"Invalid date (should be seconds since epoch): {expires[:64]}")
    if now >= int(expires):
        raise AccessDenied("Request has expired", Expires=iso(int(expires)), ServerTime=iso(int(now)))
    token = headers.get("x-amz-security-token") or given.get("x-amz-security-token")
    return Signed(_scope(given["AWSAccessKeyId"]), expires, (), given["Signature"], token, payload,
                  int(expires) - int(now))


def check(request: Request, bucket: str, signed: Signed, secret: str, faults: Faults) -> None:
    """Raises unless the signature is the secret's over this request; `bucket` is the one that its host names, or ""."""
    texts = _strings_to_sign(request, bucket, signed)
    for text in texts:
        expected = base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1"))
        if hmac.compare_digest(expected, signed.signature.encode()):
            return
    raise faults.mismatch(AWSAccessKeyId=signed.scope.access_key_id, StringToSign=texts[0],
                          SignatureProvided=signed.signature, StringToSignBytes=texts[0].encode().hex(" "))


def _scope(access_key_id: str) -> Scope:
    return Scope(access_key_id, "", "", "s3")


def parameters(request: Request) -> Iterator[tuple[str, str]]:
    """The pairs of a request's query as signatures read it: decoded, and a plus is a plus."""
    if not request.query:
        return
    for pair in request.query.split("&"):
        name, _, value = pair.partition("=")
        yield unquote(name), unquote(value)


def _check_date(text: str, now: float) -> None:
    at = seconds_of(text)
    if at is None:
        try:
            at = time_of_rfc822(text)
        except Malformed:
            raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header") from None
    if abs(now - at) > SKEW_MAX_S:
        raise TimeTooSkewed(RequestTime=text[:64], ServerTime=iso(int(now)),
                            MaxAllowedSkewMilliseconds=SKEW_MAX_S * 1000)


def _strings_to_sign(request: Request, bucket: str, signed: Signed) -> list[str]:
    """What was signed, once for each way in which clients spell the path."""
    headers, by_query = request.headers, not in_header(request)
    own = {name: value for name, value in headers.items() if name.startswith("x-amz-")}
    if by_query:  # those are signed as the headers that they stand for
        own = {name.lower(): value for name, value in parameters(request) if name.lower().startswith("x-amz-")} | own
    date = signed.stamp if by_query or "x-amz-date" not in headers else ""
    lines = [request.method, headers.get("content-md5", ""), headers.get("content-type", ""), date,
             *(f"{name}:{own[name].strip()}" for name in sorted(own))]
    asked = sorted((name, pair) for pair in request.query.split("&") if (name := pair.partition("=")[0]) in _SIGNED)
    query = "&".join(f"{name}={unquote(pair.partition('=')[2])}" if "=" in pair else name for name, pair in asked)
    path = f"/{bucket}{request.path}" if bucket else request.path
    paths = dict.fromkeys((path, quote(unquote_to_bytes(path), safe="/-_.~"),
                           path if "/" in path[1:] else path + "/"))  # of a bucket alone botocore signs a slash as well
    front, end = "\n".join(lines) + "\n", f"?{query}" if query else ""
    return [f"{front}{path}{end}" for path in paths]
