"""Signatures, against botocore's own signers: what they sign is accepted, and each way to be wrong has its own word."""

import asyncio
import base64
import hashlib
import hmac
import io
import re
import zlib
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.kernel import digests
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.identity import Credential
from cloudlet.kernel.service import Service
from cloudlet.wire import payload, sigv4
from cloudlet.wire.faults import faults_of
from cloudlet.wire.gateway import Gateway
from tests.wire.exchange import (
    HOST,
    KEY,
    ROOT,
    SECRET,
    FixedIdentities,
    ManualClock,
    gateway_of,
    json_request,
    presigned,
    request_of,
    signed,
    text_of,
)

STS = b"Action=GetCallerIdentity&Version=2011-06-15"
EC2 = b"Action=DescribeVpcs&Version=2016-11-15"
ECS = "AmazonEC2ContainerServiceV20141113"
S3_URL = f"http://{HOST}/bucket/some%20key/a%2Bb"
TOKEN = "a-session-token"
S3_FAULTS = faults_of("s3", "rest-xml")


def services() -> list[Service]:
    sts, ecs, ec2, s3, eks = Service("sts"), Service("ecs"), Service("ec2"), Service("s3"), Service("eks")

    @sts.read
    def get_caller_identity(call: Any, tx: Any, request: Any) -> Any:
        return {"Account": call.account, "Arn": call.principal.arn, "UserId": call.region}

    @ecs.read
    def list_clusters(call: Any, tx: Any, request: Any) -> Any:
        return {"clusterArns": []}

    @ec2.read
    def describe_vpcs(call: Any, tx: Any, request: Any) -> Any:
        return {"Vpcs": []}

    @s3.wait
    async def put_object(call: Any, store: Any, request: Any) -> Any:
        body = await request["Body"].read(10_000_000) if "Body" in request else b""
        return {"ETag": hashlib.md5(body).hexdigest(), "VersionId": request["Key"].encode().hex()}

    @s3.wait
    async def get_object(call: Any, store: Any, request: Any) -> Any:
        return {"Body": b"content", "ContentType": "text/plain"}

    @s3.write
    def put_bucket_policy(call: Any, tx: Any, request: Any) -> Any:
        return None

    @eks.read
    def describe_cluster(call: Any, tx: Any, request: Any) -> Any:
        return {"cluster": {"name": request["name"]}}
    return [sts, ecs, ec2, s3, eks]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def identities(clock: ManualClock) -> FixedIdentities:
    return FixedIdentities(
        Credential(KEY, SECRET, ROOT), Credential("ASIASESSION", "s3cret", ROOT, TOKEN, clock.now() + 3600),
        Credential("ASIAEXPIRED", "s3cret", ROOT, TOKEN, clock.now() - 1))


@pytest.fixture
def gateway(clock: ManualClock, identities: FixedIdentities, tmp_path: Any) -> Gateway:
    return gateway_of(*services(), identities=identities, clock=clock, directory=tmp_path)


def answer(gateway: Gateway, request: Request) -> Response:
    return asyncio.run(gateway.handle(request))


def code_of(response: Response) -> str:
    text = text_of(response)
    found = re.search(r"<Code>(.*?)</Code>", text) or re.search(r'"__type":"(.*?)"', text)
    return found[1] if found else response.headers.get("x-amzn-errortype", text)


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


@settings(max_examples=150, deadline=None)
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


# bodies of S3

def put(body: bytes, headers: dict[str, str] | None = None) -> Request:
    return signed("s3", body, method="PUT", url=S3_URL, headers=headers)


def test_a_body_that_is_not_what_was_signed(gateway: Gateway) -> None:
    request = put(b"right")
    wrong = request_of("PUT", S3_URL, dict(request.headers), b"wrong")
    assert code_of(answer(gateway, wrong)) == "XAmzContentSHA256Mismatch"


@pytest.mark.parametrize("algorithm", digests.ALGORITHMS)
def test_checksums_in_headers(gateway: Gateway, algorithm: str) -> None:
    digest = digests.ALGORITHMS[algorithm]()
    digest.update(b"hello")
    name, value = "x-amz-checksum-" + algorithm, base64.b64encode(digest.digest()).decode()
    assert answer(gateway, put(b"hello", {name: value})).status == 200
    assert code_of(answer(gateway, put(b"hallo", {name: value}))) == "BadDigest"
    assert code_of(answer(gateway, put(b"hello", {name: "AAA"}))) == "InvalidRequest"


@pytest.mark.parametrize(("algorithm", "expected"), [  # the published check values of "123456789"
    ("crc32", 0xCBF43926), ("crc32c", 0xE3069283), ("crc64nvme", 0xAE8B14860A799888),
    ("xxhash64", 0x8CB841DB40E6AE83)])
def test_crcs(algorithm: str, expected: int) -> None:
    digest = digests.ALGORITHMS[algorithm]()
    digest.update(b"1234")
    digest.update(b"56789")
    assert int.from_bytes(digest.digest(), "big") == expected


def test_content_md5(gateway: Gateway) -> None:
    md5 = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    assert answer(gateway, put(b"hello", {"Content-MD5": md5})).status == 200
    assert code_of(answer(gateway, put(b"hallo", {"Content-MD5": md5}))) == "BadDigest"
    assert code_of(answer(gateway, put(b"hello", {"Content-MD5": "x"}))) == "InvalidDigest"


def test_an_unknown_checksum_is_refused(gateway: Gateway) -> None:
    assert code_of(answer(gateway, put(b"hello", {"x-amz-checksum-crc16": "AAA="}))) == "InvalidRequest"
    unknown = chunked("STREAMING-UNSIGNED-PAYLOAD-TRAILER", CHUNKS, {"x-amz-checksum-crc16": "AAA="})
    assert code_of(answer(gateway, unknown)) == "InvalidRequest"


def test_one_checksum_and_the_chosen_one(gateway: Gateway) -> None:
    crc32, sha1 = (base64.b64encode(digests.digest_of(name, b"hello")).decode() for name in ("crc32", "sha1"))
    right = {"x-amz-checksum-crc32": crc32, "x-amz-sdk-checksum-algorithm": "CRC32"}
    assert answer(gateway, put(b"hello", right)).status == 200
    for wrong, says in ((right | {"x-amz-checksum-sha1": sha1}, "Expecting a single"),
                        (right | {"x-amz-sdk-checksum-algorithm": "SHA1"}, "Value for x-amz-sdk-checksum-algorithm"),
                        (right | {"x-amz-sdk-checksum-algorithm": "CRC16"}, "unsupported"),
                        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, "no corresponding"),
                        ({"x-amz-checksum-crc32": crc32, "X-Amz-Trailer": "x-amz-checksum-crc32"}, "Expecting")):
        response = answer(gateway, put(b"hello", wrong))
        assert (code_of(response), says in text_of(response)) == ("InvalidRequest", True), text_of(response)


def chunked(kind: str, chunks: list[bytes], trailers: dict[str, str] | None = None, *,
            headers: dict[str, str] | None = None, tamper: Any = lambda raw: raw, secret: str = SECRET) -> Request:
    """A request whose body comes in chunks, by the book (see `wire.payload`)."""
    given = {"X-Amz-Decoded-Content-Length": str(sum(map(len, chunks))), "Content-Encoding": "aws-chunked",
             **({"X-Amz-Trailer": ",".join(trailers)} if trailers else {}), **(headers or {})}
    seed = signing(kind, given, secret)
    authorization, stamp = seed.headers["authorization"], seed.headers["x-amz-date"]
    scope = authorization.split("Credential=test/")[1].split(",")[0]
    key = sigv4.signing_key(secret, *scope.split("/")[:3])
    previous, raw = authorization[-64:], b""
    is_signed = kind != "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    def sign(what: str, rest: str) -> str:
        nonlocal previous
        text = f"{what}\n{stamp}\n{scope}\n{previous}\n{rest}"
        previous = hmac.new(key, text.encode(), "sha256").hexdigest()
        return previous
    for chunk in [*chunks, b""]:
        raw += b"%x" % len(chunk)
        if is_signed:
            digest = f"{hashlib.sha256().hexdigest()}\n{hashlib.sha256(chunk).hexdigest()}"
            raw += b";chunk-signature=" + sign("AWS4-HMAC-SHA256-PAYLOAD", digest).encode()
        raw += b"\r\n" + chunk + (b"\r\n" if chunk else b"")
    for name, value in (trailers or {}).items():
        raw += f"{name}:{value}\r\n".encode()
    if trailers and is_signed:
        text = "".join(f"{name}:{value}\n" for name, value in sorted(trailers.items()))
        signature = sign("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(text.encode()).hexdigest())
        raw += b"x-amz-trailer-signature:" + signature.encode() + b"\r\n"
    raw = tamper(raw + b"\r\n")
    pieces = [raw[index:index + 11] for index in range(0, len(raw), 11)]  # cut where it hurts
    return request_of("PUT", S3_URL, seed.headers, *pieces)


def signing(kind: str, headers: dict[str, str], secret: str) -> Request:
    """The seed: a request whose payload is the streaming marker."""
    class Marker(S3SigV4Auth):  # type: ignore[misc]
        def payload(self, request: Any) -> str:
            return kind
    request = AWSRequest("PUT", S3_URL, headers=headers, data=b"")
    Marker(Credentials(KEY, secret), "s3", "us-east-1").add_auth(request)
    return request_of("PUT", S3_URL, dict(request.headers.items()))


CHUNKS = [b"hello ", b"w" * 70_000, b"orld"]
CRC32 = {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"".join(CHUNKS)).to_bytes(4, "big")).decode()}
KINDS = {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": None, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": CRC32,
         "STREAMING-UNSIGNED-PAYLOAD-TRAILER": CRC32}


@pytest.mark.parametrize("kind", KINDS)
def test_chunks(gateway: Gateway, kind: str) -> None:
    response = answer(gateway, chunked(kind, CHUNKS, KINDS[kind]))
    assert (response.status, response.headers.get("etag")) == (200, hashlib.md5(b"".join(CHUNKS)).hexdigest())


def test_chunks_as_botocore_makes_them(gateway: Gateway) -> None:
    body = b"".join(CHUNKS)
    raw = AwsChunkedWrapper(io.BytesIO(body), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32",
                            chunk_size=1000).read()
    request = chunked("STREAMING-UNSIGNED-PAYLOAD-TRAILER", [body], CRC32, tamper=lambda ours: raw)
    assert answer(gateway, request).headers.get("etag") == hashlib.md5(body).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("tamper", "code"), [
    (lambda raw: raw.replace(b"hello", b"hallo"), ("SignatureDoesNotMatch", "BadDigest")),
    (lambda raw: raw[:200], ("IncompleteBody",)),
    (lambda raw: raw[:-80_000] if len(raw) > 80_000 else raw[:3], ("IncompleteBody", "InvalidChunkSizeError")),
    (lambda raw: b"zz" + raw, ("InvalidChunkSizeError",)),
    (lambda raw: b"7" + raw[1:], ("InvalidChunkSizeError", "SignatureDoesNotMatch")),
    (lambda raw: b"f" * 5000, ("InvalidChunkSizeError",)),
    (lambda raw: b"", ("InvalidChunkSizeError", "IncompleteBody"))])
def test_chunks_gone_wrong(gateway: Gateway, kind: str, tamper: Any, code: tuple[str, ...]) -> None:
    response = answer(gateway, chunked(kind, CHUNKS, KINDS[kind], tamper=tamper))
    assert (response.status // 100, code_of(response) in code) == (4, True), text_of(response)


def test_chunks_must_come_to_the_announced_length(gateway: Gateway) -> None:
    for length in ("70009", "70011"):
        request = chunked(next(iter(KINDS)), CHUNKS, headers={"X-Amz-Decoded-Content-Length": length})
        assert code_of(answer(gateway, request)) == "IncompleteBody"
    request = chunked(next(iter(KINDS)), CHUNKS, headers={"X-Amz-Decoded-Content-Length": "many"})
    assert code_of(answer(gateway, request)) == "MissingContentLength"


def test_trailers_must_be_those_announced(gateway: Gateway) -> None:
    kind = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    wrong = {"x-amz-checksum-crc32": "AAAAAA=="}
    assert code_of(answer(gateway, chunked(kind, CHUNKS, wrong))) == "BadDigest"
    other = chunked(kind, CHUNKS, CRC32, headers={"X-Amz-Trailer": "x-amz-checksum-sha256"})
    assert code_of(answer(gateway, other)) == "MalformedTrailerError"
    tampered = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", CHUNKS, CRC32,
                       tamper=lambda raw: raw.replace(b"trailer-signature:", b"trailer-signature:0"))
    assert code_of(answer(gateway, tampered)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_reads_learns_the_digests(kind: str) -> None:
    request = chunked(kind, CHUNKS, KINDS[kind])
    seed = sigv4.read(request, S3_FAULTS)
    seed = replace(seed, key=sigv4.signing_key(SECRET, *seed.scope.text.split("/")[:3]))
    body = payload.verified(request.body, seed, request.headers, S3_FAULTS)
    body.want("md5")
    data = asyncio.run(body.read(1_000_000))
    assert (data, body.digests["md5"]) == (b"".join(CHUNKS), hashlib.md5(data).digest())
    assert body.checksum == ("crc32" if KINDS[kind] else "")
    assert body.digests.get("crc32") == (zlib.crc32(data).to_bytes(4, "big") if KINDS[kind] else None)


def test_checksum_headers_that_speak_of_something_else() -> None:
    """CompleteMultipartUpload's are about the object."""
    async def read(**more: bool) -> bytes:
        request = put(b"parts", {"x-amz-checksum-crc32": "AAAAAA==-3"})
        seed = sigv4.read(request, S3_FAULTS)
        return await payload.verified(request.body, seed, request.headers, S3_FAULTS, **more).read(100)
    with pytest.raises(payload.InvalidRequest):
        asyncio.run(read())
    assert asyncio.run(read(says_checksums=False)) == b"parts"


def test_an_unknown_way_to_stream(gateway: Gateway) -> None:
    request = chunked("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", CHUNKS)
    assert code_of(answer(gateway, request)) == "InvalidRequest"


def test_chunks_for_an_operation_that_takes_no_stream(gateway: Gateway) -> None:
    request = chunked("STREAMING-UNSIGNED-PAYLOAD-TRAILER", CHUNKS, CRC32)
    policy = Request("PUT", "/bucket/some%20key/a%2Bb", "acl", request.headers, request.body)
    assert code_of(answer(gateway, policy)) == "NotImplemented"  # PutObjectAcl is not declared here


def test_an_unsigned_body_is_for_s3_alone(gateway: Gateway) -> None:
    headers = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert code_of(answer(gateway, signed("sts", STS, headers=headers))) == "SignatureDoesNotMatch"


def test_signing_keys_are_kept_within_bounds() -> None:
    for index in range(2000):
        sigv4.signing_key("secret", f"{index}", "us-east-1", "sts")
    assert sigv4.signing_key.cache_info().currsize <= 1024
