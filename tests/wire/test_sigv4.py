"""Signatures, against botocore's own signers: what they sign is accepted, and each way to be wrong has its own word."""

from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4QueryAuth
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.kernel.http import Request
from cloudlet.wire import sigv4
from cloudlet.wire.gateway import Gateway
from tests.wire import signing
from tests.wire.exchange import (
    HOST,
    SECRET,
    ManualClock,
    json_request,
    presigned,
    request_of,
    signed,
    text_of,
)
from tests.wire.signing import EC2, ECS, S3_FAULTS, S3_URL, STS, TOKEN, answer, code_of

clock, identities, gateway = signing.clock, signing.identities, signing.gateway  # the fixtures


def changed(request: Request, **headers: str | None) -> Request:
    given = dict(request.headers)
    for name, value in headers.items():
        name = name.replace("_", "-")
        given.pop(name, None)
        if value is not None:
            given[name] = value
    return Request(request.method, request.path, request.query, given, request.body)


# what is accepted

def test_a_header_signature(gateway: Gateway) -> None:
    response = answer(gateway, signed("sts", STS, region="eu-west-1"))
    assert response.status == 200
    assert "<UserId>eu-west-1</UserId>" in text_of(response)


def test_a_session(gateway: Gateway) -> None:
    assert answer(gateway, signed("sts", STS, key="ASIASESSION", secret="s3cret", token=TOKEN)).status == 200


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_presigned_url(gateway: Gateway, token: str | None) -> None:
    owner = {"key": "ASIASESSION", "secret": "s3cret"} if token else {}
    request = presigned("sts", f"http://{HOST}/?Action=GetCallerIdentity&Version=2011-06-15", token=token, **owner)
    assert answer(gateway, request).status == 200


def test_a_presigned_s3_url(gateway: Gateway) -> None:
    response = answer(gateway, presigned("s3", S3_URL + "?versionId=a%2Fb", signer=S3SigV4QueryAuth))
    assert (response.status, response.body) == (200, b"content")


def test_paths_are_encoded_twice_but_for_s3(gateway: Gateway) -> None:
    assert answer(gateway, signed("eks", method="GET", url=f"http://{HOST}/clusters/a%20b%2Fc")).status == 200
    assert answer(gateway, signed("s3", b"x", method="PUT", url=S3_URL)).status == 200
    assert answer(gateway, signed("s3", b"x", method="PUT", url=f"http://{HOST}/bucket/a//b/../c")).status == 200


def test_s3_paths_may_come_unencoded(gateway: Gateway) -> None:
    request = signed("s3", b"x", method="PUT", url=f"http://{HOST}/bucket/a%28b%29")
    loose = Request(request.method, "/bucket/a(b)", "", request.headers, request.body)
    assert answer(gateway, loose).status == 200


def test_a_date_header_will_do(gateway: Gateway) -> None:
    request = signed("sts", STS, headers={"Date": "Sun, 06 Nov 1994 08:49:37 GMT"})
    assert "x-amz-date" not in request.headers
    assert answer(gateway, request).status == 200


SAFE = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)


@settings(max_examples=150)
@given(key=SAFE.filter(lambda text: text not in ("", ".", "..")),
       query=st.dictionaries(SAFE.filter(bool), SAFE, max_size=4))
def test_any_key_and_query(key: str, query: dict[str, str]) -> None:
    names = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items())
    request = signed("s3", method="GET", url=f"http://{HOST}/bucket/{quote(key, safe='/~')}?{names}")
    found = sigv4.read(request, S3_FAULTS)
    assert sigv4.check(request, found, SECRET, sigv4.payload_of(found, b"", True, S3_FAULTS), S3_FAULTS)


# what is refused, in each family's words

def ecs(**options: Any) -> Request:
    return json_request(ECS, "ListClusters", b"{}", "ecs", **options)


def s3(**options: Any) -> Request:
    return signed("s3", method="GET", url=S3_URL, **options)


FAMILIES = {"json": ecs, "query": lambda **o: signed("sts", STS, **o), "ec2": lambda **o: signed("ec2", EC2, **o),
            "s3": s3, "rest": lambda **o: signed("eks", method="GET", url=f"http://{HOST}/clusters/a", **o)}
CASES = {
    "wrong secret": ({"secret": "wrong"}, {
        "json": (400, "InvalidSignatureException"), "query": (403, "SignatureDoesNotMatch"),
        "ec2": (401, "AuthFailure"), "s3": (403, "SignatureDoesNotMatch"), "rest": (403, "InvalidSignatureException")}),
    "unknown key": ({"key": "AKIANOBODY"}, {
        "json": (400, "UnrecognizedClientException"), "query": (403, "InvalidClientTokenId"),
        "ec2": (401, "AuthFailure"), "s3": (403, "InvalidAccessKeyId"), "rest": (403, "UnrecognizedClientException")}),
    "expired session": ({"key": "ASIAEXPIRED", "secret": "s3cret", "token": TOKEN}, {
        "json": (400, "ExpiredTokenException"), "query": (403, "ExpiredToken"), "ec2": (400, "RequestExpired"),
        "s3": (400, "ExpiredToken"), "rest": (403, "ExpiredTokenException")}),
    "wrong session token": ({"key": "ASIASESSION", "secret": "s3cret", "token": "another"}, {
        "json": (400, "UnrecognizedClientException"), "query": (403, "InvalidClientTokenId"),
        "ec2": (401, "AuthFailure"), "s3": (400, "InvalidToken"), "rest": (403, "UnrecognizedClientException")}),
    "no session token": ({"key": "ASIASESSION", "secret": "s3cret"}, {
        "json": (400, "UnrecognizedClientException"), "query": (403, "InvalidClientTokenId"),
        "ec2": (401, "AuthFailure"), "s3": (400, "InvalidToken"), "rest": (403, "UnrecognizedClientException")}),
    "a token with a key that has none": ({"token": "surplus"}, {
        "json": (400, "UnrecognizedClientException"), "query": (403, "InvalidClientTokenId"),
        "ec2": (401, "AuthFailure"), "s3": (400, "InvalidToken"), "rest": (403, "UnrecognizedClientException")}),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES)
def test_refused(gateway: Gateway, case: str, family: str) -> None:
    options, expected = CASES[case]
    response = answer(gateway, FAMILIES[family](**options))
    assert (response.status, code_of(response)) == expected[family]


@pytest.mark.parametrize(("family", "status", "code"), [
    ("json", 400, "InvalidSignatureException"), ("query", 403, "SignatureDoesNotMatch"), ("ec2", 400, "RequestExpired"),
    ("s3", 403, "RequestTimeTooSkewed"), ("rest", 403, "InvalidSignatureException")])
@pytest.mark.parametrize("shift", [-901, 901])
def test_skew(gateway: Gateway, clock: ManualClock, family: str, status: int, code: str, shift: int) -> None:
    request = FAMILIES[family]()
    clock.at = clock.now() + shift + (1 if shift > 0 else -1)
    response = answer(gateway, request)
    assert (response.status, code_of(response)) == (status, code)


@pytest.mark.parametrize("shift", [-890, 890])
def test_a_quarter_of_an_hour_is_forgiven(gateway: Gateway, clock: ManualClock, shift: int) -> None:
    request = ecs()
    clock.at = clock.now() + shift
    assert answer(gateway, request).status == 200


@pytest.mark.parametrize(("family", "status", "code"), [
    ("json", 400, "MissingAuthenticationTokenException"), ("query", 403, "MissingAuthenticationToken"),
    ("s3", 403, "AccessDenied")])
def test_unsigned(gateway: Gateway, family: str, status: int, code: str) -> None:
    form = {"content_type": "application/x-www-form-urlencoded"} if family == "query" else {}
    response = answer(gateway, changed(FAMILIES[family](), authorization=None, **form))
    assert (response.status, code_of(response)) == (status, code)


def test_an_unsigned_query_that_names_its_version(gateway: Gateway) -> None:
    response = answer(gateway, request_of("GET", f"http://{HOST}/?Action=DescribeVpcs&Version=2016-11-15", {}))
    assert (response.status, code_of(response)) == (401, "AuthFailure")


@pytest.mark.parametrize("header", [
    "AWS4-HMAC-SHA256 Credential=test/20260102/us-east-1/ecs/aws4_request",
    "AWS4-HMAC-SHA256 Credential=test/20260102/us-east-1/ecs/aws4_request, Signature=00",
    "AWS4-HMAC-SHA256 Credential=test/20260102/us-east-1/ecs/aws4_request, SignedHeaders=host",
    "AWS4-ECDSA-P256-SHA256 Credential=test/20260102/us-east-1/ecs/aws4_request, SignedHeaders=host, Signature=00",
    "AWS4-HMAC-SHA256 Credential=test/20260102/ecs, SignedHeaders=host, Signature=00",
    "AWS4-HMAC-SHA256", "AWS test:signature", "Bearer x", ""])
def test_malformed_headers(gateway: Gateway, header: str) -> None:
    response = answer(gateway, changed(ecs(), authorization=header))
    assert response.status == 400
    assert code_of(response) == "IncompleteSignatureException"


@pytest.mark.parametrize("date", ["", "yesterday", "20260102", "20261302T030405Z", "99999999T999999Z"])
def test_malformed_dates(gateway: Gateway, date: str) -> None:
    assert code_of(answer(gateway, changed(ecs(), x_amz_date=date))) == "IncompleteSignatureException"


def test_a_date_of_another_day_than_the_scope(gateway: Gateway, clock: ManualClock) -> None:
    request = changed(ecs(), x_amz_date="20200102T030405Z")
    clock.at = 1577934245.0
    assert code_of(answer(gateway, request)) == "IncompleteSignatureException"


def test_tampering(gateway: Gateway) -> None:
    mismatch = "InvalidSignatureException"
    request = ecs()
    assert code_of(answer(gateway, changed(request, x_amz_target=f"{ECS}.ListTasks"))) in (mismatch, "NotImplemented")
    assert code_of(answer(gateway, changed(request, host="example.com"))) == mismatch
    other = request_of("POST", f"http://{HOST}/", dict(request.headers), b'{"maxResults": 5}')
    assert code_of(answer(gateway, other)) == mismatch
    longer = request_of("POST", f"http://{HOST}/?a=b", dict(request.headers), b"{}")
    assert code_of(answer(gateway, longer)) == mismatch
    header = request.headers["authorization"]
    for old, new in (("us-east-1", "us-east-2"), ("host;", ""), (header[-64:], "0" * 64), (header[-64:], "é")):
        assert code_of(answer(gateway, changed(ecs(), authorization=header.replace(old, new)))) == mismatch


@pytest.mark.parametrize(("part", "replacement", "code"), [
    ("X-Amz-Expires=60", "X-Amz-Expires=0", "IncompleteSignature"),
    ("X-Amz-Expires=60", "X-Amz-Expires=604801", "IncompleteSignature"),
    ("X-Amz-Expires=60", "X-Amz-Expires=61", "SignatureDoesNotMatch"),
    ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS4", "IncompleteSignature"),
    ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=", "IncompleteSignature"),
    ("Action=GetCallerIdentity", "Action=GetCallerIdentity&x=1", "SignatureDoesNotMatch")])
def test_bad_presigned_urls(gateway: Gateway, part: str, replacement: str, code: str) -> None:
    request = presigned("sts", f"http://{HOST}/?Action=GetCallerIdentity&Version=2011-06-15")
    assert part in request.query
    bad = Request("GET", "/", request.query.replace(part, replacement), request.headers, request.body)
    assert code_of(answer(gateway, bad)) == code


def test_an_expired_url(gateway: Gateway, clock: ManualClock) -> None:
    plain = presigned("sts", f"http://{HOST}/?Action=GetCallerIdentity&Version=2011-06-15", expires=3600)
    stored = presigned("s3", S3_URL, signer=S3SigV4QueryAuth, expires=3600)
    start = clock.now()
    clock.at = start + 3590  # long after any skew
    assert answer(gateway, plain).status == answer(gateway, stored).status == 200
    clock.at = start + 3602
    assert code_of(answer(gateway, plain)) == "SignatureDoesNotMatch"
    response = answer(gateway, stored)
    assert (code_of(response), "Request has expired" in text_of(response)) == ("AccessDenied", True)


def test_s3_wants_all_its_headers_signed(gateway: Gateway) -> None:
    assert code_of(answer(gateway, changed(s3(), x_amz_acl="public-read"))) == "AccessDenied"


def test_an_unsigned_body_is_for_s3_alone(gateway: Gateway) -> None:
    headers = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert code_of(answer(gateway, signed("sts", STS, headers=headers))) == "SignatureDoesNotMatch"


def test_signing_keys_are_kept_within_bounds() -> None:
    for index in range(2000):
        sigv4.signing_key("secret", f"{index}", "us-east-1", "sts")
    assert sigv4.signing_key.cache_info().currsize <= 1024
