"""What S3 says of a signature that cannot be right, in its own words, before `sigv4` verifies it.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from collections.abc import Mapping

from msgspec.structs import replace

from cloudlet.kernel.errors import declare
from cloudlet.kernel.http import Request
from cloudlet.wire import sigv2, sigv4
from cloudlet.wire.faults import Faults
from cloudlet.wire.scalars import iso
from cloudlet.wire.sigv4 import Signed

AccessDenied = declare("AccessDenied", "Access Denied", status=403)
HeaderMalformed = declare("AuthorizationHeaderMalformed")
InvalidArgument = declare("InvalidArgument")
InvalidRequest = declare("InvalidRequest")
QueryMalformed = declare("AuthorizationQueryParametersError")

UNSUPPORTED = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
MALFORMED = 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
_NEEDED = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders",
           "X-Amz-Expires")
_YEAR_10000 = 253402300800
_OWN = {name.lower() for name in _NEEDED} | {"x-amz-security-token", "x-amz-content-sha256"}


def read(request: Request, now: float, faults: Faults) -> Signed | None:
    """What a request says of its signature, of whichever kind; None where it bears none. Raises what is wrong with it,
    its time included, in S3's words."""
    header = request.headers.get("authorization")
    if request.query:
        given = dict(sigv2.parameters(request))
        presigned = "X-Amz-Algorithm" in given or "X-Amz-Signature" in given
        if (header is not None) + presigned + sigv2.in_query(request) > 1:
            raise InvalidArgument(
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string"
                " parameter or the Authorization header should be specified", ArgumentName="Authorization",
                ArgumentValue=(header or given.get("X-Amz-Algorithm", ""))[:256])
        if presigned:
            _screen_query(given, now)
    if header is not None and not sigv2.in_header(request):
        return _of_header(request, header, now, faults)
    if sigv4.is_unsigned(request):
        return None
    return sigv2.read(request, now) if sigv2.is_signed(request) else sigv4.read_in_time(request, now, faults)


def meant(request: Request) -> Request:
    """A presigned request with the x-amz-… parameters of its query as the headers that they stand for.

    SDKs put there what they would else have to tell the URL's user to send; it is signed with the query. Checksums
    there are no promise, as on AWS: JavaScript's SDK puts that of an empty body into every link.
    """
    if "X-Amz-Signature=" not in request.query and not sigv2.in_query(request):
        return request
    given = {key.lower(): value for key, value in sigv2.parameters(request)}
    hoisted = {key: value for key, value in given.items()
               if key.startswith("x-amz-") and key not in _OWN and key not in request.headers
               and not key.startswith(("x-amz-checksum-", "x-amz-sdk-checksum-"))}
    if not hoisted:
        return request
    return replace(request, headers={**request.headers, **hoisted})


def _of_header(request: Request, header: str, now: float, faults: Faults) -> Signed:
    signed = sigv4.claimed(request, header)
    if signed is not None:
        at = sigv4.seconds_of(signed.stamp)
        if at is not None and abs(now - at) <= sigv4.SKEW_MAX_S and signed.stamp[:8] == signed.scope.date:
            return signed
    _screen_header(request, header, now)
    return sigv4.read_in_time(request, now, faults)


def _screen_header(request: Request, header: str, now: float) -> None:
    if not header.startswith(sigv4.ALGORITHM):
        if header.startswith("AWS4-ECDSA"):
            raise InvalidRequest(UNSUPPORTED)
        raise InvalidArgument("Unsupported Authorization Type", ArgumentName="Authorization",
                              ArgumentValue=header[:256])
    if not ("Credential=" in header and "SignedHeaders=" in header and "Signature=" in header):
        raise HeaderMalformed("The authorization header is malformed; the authorization header requires three"
                              " components: Credential, SignedHeaders, and Signature.")
    scope, stamp = sigv4.find_scope(request), sigv4.stamp_of_headers(request.headers)
    if scope is None:
        raise HeaderMalformed(f"The authorization header is malformed; {MALFORMED}")
    at = sigv4.seconds_of(stamp)
    if at is None:
        raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header")
    if stamp[:8] != scope.date:
        raise HeaderMalformed(f'The authorization header is malformed; Invalid credential date "{scope.date[:32]}". '
                              f'This date is not the same as X-Amz-Date: "{stamp[:8]}".')
    if abs(now - at) > sigv4.SKEW_MAX_S:
        raise sigv2.TimeTooSkewed(RequestTime=stamp, ServerTime=iso(int(now)),
                                  MaxAllowedSkewMilliseconds=sigv4.SKEW_MAX_S * 1000)


def _screen_query(given: Mapping[str, str], now: float) -> None:
    if not all(given.get(name) for name in _NEEDED):
        raise QueryMalformed(f"Query-string authentication version 4 requires the {', '.join(_NEEDED[:-1])}, and"
                             f" {_NEEDED[-1]} parameters.")
    if given["X-Amz-Algorithm"] != sigv4.ALGORITHM:
        raise QueryMalformed(f'X-Amz-Algorithm only supports "{sigv4.ALGORITHM}"')
    scope, stamp = sigv4.scope_of(given["X-Amz-Credential"]), given["X-Amz-Date"]
    if scope is None:
        raise QueryMalformed(f"Error parsing the X-Amz-Credential parameter; {MALFORMED}")
    at = sigv4.seconds_of(stamp)
    if at is None:
        raise QueryMalformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if stamp[:8] != scope.date:
        raise QueryMalformed(f'Invalid credential date "{scope.date[:32]}". This date is not the same as X-Amz-Date:'
                             f' "{stamp[:8]}".')
    end = at + _expires(given["X-Amz-Expires"])
    said = {"X-Amz-Expires": given["X-Amz-Expires"], "Expires": iso(min(end, _YEAR_10000 - 1)),
            "ServerTime": iso(int(now))}
    if at > now + sigv4.SKEW_MAX_S:
        raise AccessDenied("Request is not valid yet", **said)
    if now >= end:
        raise AccessDenied("Request has expired", **said)


def _expires(text: str) -> int:
    try:
        expires_s = int(text) if len(text) < 16 and text.isascii() else None
    except ValueError:
        expires_s = None
    if expires_s is None:
        raise QueryMalformed("X-Amz-Expires should be a number")
    if expires_s < 0:
        raise QueryMalformed("X-Amz-Expires must be non-negative")
    if expires_s > sigv4.EXPIRES_MAX_S:
        raise QueryMalformed("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires"
                             f" must be less than {sigv4.EXPIRES_MAX_S} seconds")
    return expires_s
