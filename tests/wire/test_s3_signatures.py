"""S3's own words about signatures: presigned URLs, other mechanisms, what its errors tell."""

import asyncio
import hashlib
import re
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.service import Service
from cloudlet.wire.gateway import Gateway
from cloudlet.wire.s3 import bucket_of_host
from tests.wire.exchange import HOST, KEY, SECRET, ManualClock, gateway_of, presigned, request_of, signed, text_of

URL = f"http://{HOST}/bucket/key"
DAY = 24 * 3600


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gateway(clock: ManualClock, tmp_path: Any) -> Gateway:
    s3 = Service("s3")

    @s3.wait
    async def get_object(call: Any, store: Any, request: Any) -> Any:
        said = {name: request[name] for name in ("ResponseContentType", "ResponseCacheControl") if name in request}
        return {"Body": f"{request['Bucket']}|{request['Key']}|{call.region}".encode(),
                "ContentType": said.get("ResponseContentType", "text/plain")}

    @s3.wait
    async def put_object(call: Any, store: Any, request: Any) -> Any:
        body = request["Body"]
        body.want("md5")
        data = await body.read(1_000_000)
        assert body.digests["md5"] == hashlib.md5(data).digest()
        return {"ETag": body.digests["md5"].hex(), "VersionId": repr(sorted((request.get("Metadata") or {}).items()))}
    return gateway_of(s3, clock=clock, directory=tmp_path)


def answer(gateway: Gateway, request: Request) -> Response:
    return asyncio.run(gateway.handle(request))


def presign(url: str = URL, **options: Any) -> Request:
    return presigned("s3", url, signer=S3SigV4QueryAuth, **options)


def edited(request: Request, old: str, new: str) -> Request:
    assert re.search(old, request.query), request.query
    query = re.sub(old, new, request.query)
    return Request(request.method, request.path, query, request.headers, request.body)


def said(response: Response, element: str) -> str:
    found = re.search(f"<{element}>(.*?)</{element}>", text_of(response), re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("expires", [1, 604800])
def test_a_url_lasts_from_a_second_to_a_week(gateway: Gateway, clock: ManualClock, expires: int) -> None:
    request, start = presign(expires=expires), int(clock.now())
    clock.at = start + expires - 0.5
    assert answer(gateway, request).status == 200
    clock.at = start + expires + 1.5
    response = answer(gateway, request)
    assert (response.status, said(response, "Code")) == (403, "AccessDenied")
    assert said(response, "Message") == "Request has expired"
    assert said(response, "X-Amz-Expires") == str(expires)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said(response, "Expires"))
    assert said(response, "ServerTime") > said(response, "Expires")


def test_a_url_of_the_future_is_not_valid_yet(gateway: Gateway, clock: ManualClock) -> None:
    request, start = presign(expires=DAY), clock.now()
    clock.at = start - 1000
    assert said(answer(gateway, request), "Message") == "Request is not valid yet"
    clock.at = start - 800
    assert answer(gateway, request).status == 200


@pytest.mark.parametrize(("old", "new", "message"), [
    ("X-Amz-Expires=60", "X-Amz-Expires=604801", "X-Amz-Expires must be less than a week (in seconds); that is, the"
                                                 " given X-Amz-Expires must be less than 604800 seconds"),
    ("X-Amz-Expires=60", "X-Amz-Expires=-1", "X-Amz-Expires must be non-negative"),
    ("X-Amz-Expires=60", "X-Amz-Expires=soon", "X-Amz-Expires should be a number"),
    ("X-Amz-Expires=60", "X-Amz-Expires=" + "9" * 40, "X-Amz-Expires should be a number"),
    ("&X-Amz-Expires=60", "", "Query-string authentication version 4 requires"),
    ("&X-Amz-SignedHeaders=host", "", "Query-string authentication version 4 requires"),
    ("AWS4-HMAC-SHA256", "AWS4", "X-Amz-Algorithm only supports"),
    ("aws4_request", "aws3_request", "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed"),
    (r"X-Amz-Date=\w+", "X-Amz-Date=today", "X-Amz-Date must be in the ISO8601 Long Format"),
    (r"X-Amz-Date=\w+", "X-Amz-Date=20010203T040506Z", "Invalid credential date")])
def test_parameters_that_cannot_be_right(gateway: Gateway, old: str, new: str, message: str) -> None:
    response = answer(gateway, edited(presign(), old, new))
    assert (response.status, said(response, "Code")) == (400, "AuthorizationQueryParametersError")
    assert said(response, "Message").startswith(message.replace('"', '"'))


@pytest.mark.parametrize("old", ["X-Amz-Expires=60", "host&", "us-east-1", "key"])
def test_what_was_signed_cannot_be_changed(gateway: Gateway, old: str) -> None:
    request = presign(URL + "?response-content-type=a%2Fkey")
    other = {"X-Amz-Expires=60": "X-Amz-Expires=61", "host&": "host%3Bdate&", "us-east-1": "eu-west-1", "key": "kez"}
    response = answer(gateway, edited(request, old, other[old]))
    assert (response.status, said(response, "Code")) == (403, "SignatureDoesNotMatch")


def test_a_mismatch_tells_what_was_signed(gateway: Gateway) -> None:
    response = answer(gateway, signed("s3", method="GET", url=URL, secret="wrong"))
    assert said(response, "AWSAccessKeyId") == KEY
    assert said(response, "CanonicalRequest").startswith("GET\n/bucket/key\n\nhost:localhost:4566\n")
    assert said(response, "StringToSign").startswith("AWS4-HMAC-SHA256\n")
    assert bytes.fromhex(said(response, "StringToSignBytes")).decode() == said(response, "StringToSign")
    assert bytes.fromhex(said(response, "CanonicalRequestBytes")).decode() == said(response, "CanonicalRequest")
    assert len(said(response, "SignatureProvided")) == 64
    assert said(answer(gateway, signed("s3", method="GET", url=URL, key="AKIANO")), "AWSAccessKeyId") == "AKIANO"


def test_headers_may_stand_in_the_query_and_are_signed_there(gateway: Gateway) -> None:
    md5_free = presign(URL + "?x-amz-meta-colour=r%C3%A9d", method="PUT")
    response = answer(gateway, md5_free)
    assert (response.status, response.headers["x-amz-version-id"]) == (200, repr([("colour", "réd")]))
    of_nothing = presign(URL + "?x-amz-checksum-crc32=AAAAAQ%3D%3D&x-amz-sdk-checksum-algorithm=CRC32", method="PUT")
    assert answer(gateway, of_nothing).status == 200  # https://github.com/aws/aws-sdk/issues/480
    digest = hashlib.sha256(b"").hexdigest()
    assert answer(gateway, presign(URL + f"?X-Amz-Content-Sha256={digest}", method="PUT")).status == 403
    assert answer(gateway, presign(URL + "?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", method="PUT")).status == 200


def test_headers_beside_a_presigned_url_must_be_signed(gateway: Gateway) -> None:
    request = presign(method="PUT")
    more = Request("PUT", request.path, request.query, {**request.headers, "x-amz-meta-a": "b"}, request.body)
    response = answer(gateway, more)
    assert (response.status, said(response, "HeadersNotSigned")) == (403, "x-amz-meta-a")
    signed_too = AWSRequest("PUT", URL, headers={"x-amz-meta-a": "b"})
    S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", "us-east-1", 60).add_auth(signed_too)
    assert answer(gateway, request_of("PUT", signed_too.url, {"x-amz-meta-a": "b"})).status == 200
    assert answer(gateway, request_of("PUT", signed_too.url, {"x-amz-meta-a": "c"})).status == 403


def test_what_is_answered_may_be_overridden(gateway: Gateway) -> None:
    response = answer(gateway, presign(URL + "?response-content-type=image%2Fpng"))
    assert (response.status, response.headers["content-type"]) == (200, "image/png")


def test_version_4a_is_refused(gateway: Gateway) -> None:
    response = answer(gateway, request_of("GET", URL, {
        "Authorization": "AWS4-ECDSA-P256-SHA256 Credential=test/20260102/s3/aws4_request, SignedHeaders=host,"
                         " Signature=00"}))
    assert (response.status, said(response, "Code")) == (400, "InvalidRequest")
    assert said(response, "Message").endswith("Please use AWS4-HMAC-SHA256.")


@pytest.mark.parametrize(("header", "status", "code"), [
    ("Bearer x", 400, "InvalidArgument"), ("", 400, "InvalidArgument"), ("Basic dGVzdDp0ZXN0", 400, "InvalidArgument"),
    ("AWS4-HMAC-SHA256", 400, "AuthorizationHeaderMalformed"),
    ("AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0", 400, "AuthorizationHeaderMalformed"),
    ("AWS4-HMAC-SHA256 Credential=a/20260102/r/s3/aws4_request, SignedHeaders=host, Signature=0", 403, "AccessDenied")])
def test_malformed_headers(gateway: Gateway, header: str, status: int, code: str) -> None:
    response = answer(gateway, request_of("GET", URL, {"Authorization": header}))
    assert (response.status, said(response, "Code")) == (status, code)


def test_only_one_mechanism_counts(gateway: Gateway) -> None:
    both = presign()
    twice = Request("GET", both.path, both.query, signed("s3", method="GET", url=URL).headers, both.body)
    response = answer(gateway, twice)
    assert said(response, "Message").startswith("Only one auth mechanism allowed")


def test_a_skewed_clock_is_told_the_time(gateway: Gateway, clock: ManualClock) -> None:
    request = signed("s3", method="GET", url=URL)
    clock.at = clock.now() + 1000
    response = answer(gateway, request)
    assert (response.status, said(response, "Code")) == (403, "RequestTimeTooSkewed")
    assert said(response, "RequestTime") == request.headers["x-amz-date"]
    assert (said(response, "MaxAllowedSkewMilliseconds"), said(response, "ServerTime")[-1]) == ("900000", "Z")


@pytest.mark.parametrize("key", [
    "a//b", "/", "//", "../x", "a/../../b", ".", "%", "%2F", "a+b c", "é\u2028", "a=b&c?d#e", "x" * 1024, "🙂/",
    "\x01\n", "?acl"])
@pytest.mark.parametrize("virtual", [False, True])
def test_any_key_by_path_and_by_host(gateway: Gateway, key: str, virtual: bool) -> None:
    host = "my.bucket.s3.eu-west-1.localhost:4566" if virtual else HOST
    path = quote(key, safe="/~") if virtual else "my.bucket/" + quote(key, safe="/~")
    for request in (signed("s3", method="GET", url=f"http://{host}/{path}", headers={"Host": host}, region="eu-west-1"),
                    presign(f"http://{host}/{path}")):
        request = Request("GET", "/" + path, request.query, {**request.headers, "host": host}, request.body)
        response = answer(gateway, request)
        assert text_of(response).rpartition("|")[0] == f"my.bucket|{key}"


@pytest.mark.parametrize(("host", "bucket"), [
    ("localhost:4566", ""), ("127.0.0.1:4566", ""), ("[::1]:4566", ""), ("s3.localhost:4566", ""),
    ("s3.eu-west-1.localhost", ""), ("s3-eu-west-1.localhost", ""), ("b.s3.localhost:4566", "b"),
    ("b.s3.eu-west-1.localhost", "b"), ("b.localhost:4566", "b"), ("a.b.localhost", "a.b"), ("b.s3.example.com", "b"),
    ("a.s3.b.s3.localhost", "a.s3.b"), ("b.s3-eu-west-1.amazonaws.com", "b"), ("example.com", ""),
    ("b.localhost.example.com", "")])
def test_the_bucket_of_a_host(host: str, bucket: str) -> None:
    assert bucket_of_host(host) == bucket


@pytest.mark.parametrize("url", [f"http://{HOST}/", f"http://{HOST}/bucket"])
def test_who_signs_in_a_header_says_what_the_body_is_also_where_nothing_is_to_be_done(gateway: Gateway, url: str
                                                                                      ) -> None:
    def status(request: Request, **headers: str) -> int:
        given = {name: value for name, value in {**request.headers, **headers}.items() if value}
        return answer(gateway, Request(request.method, request.path, request.query, given, request.body)).status
    by_header = signed("s3", method="HEAD" if url.endswith("/") else "PATCH", url=url)
    assert status(by_header) == 405
    assert status(by_header, **{"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}) == 405
    assert status(by_header, **{"x-amz-content-sha256": ""}) == 400
    assert status(by_header, **{"x-amz-content-sha256": "invalid"}) == 400
    by_query = presign(url, method=by_header.method)
    assert status(by_query) == status(by_query, **{"x-amz-content-sha256": "invalid"}) == 405
    assert status(request_of(by_header.method, url, {})) == status(request_of(
        by_header.method, url, {"authorization": "AWS test:c2lnbmF0dXJl"})) == 405
