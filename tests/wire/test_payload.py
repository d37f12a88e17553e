"""Bodies of S3: digests, checksums, signed chunks, trailers, and each way in which they are not what was said."""

import asyncio
import base64
import hashlib
import hmac
import io
import zlib
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum

from cloudlet.kernel import digests
from cloudlet.kernel.http import Request
from cloudlet.wire import payload, sigv4
from cloudlet.wire.gateway import Gateway
from tests.wire import signing
from tests.wire.exchange import (
    KEY,
    SECRET,
    request_of,
    signed,
    text_of,
)
from tests.wire.signing import S3_FAULTS, S3_URL, answer, code_of

clock, identities, gateway = signing.clock, signing.identities, signing.gateway  # the fixtures


def put(body: bytes, headers: dict[str, str] | None = None) -> Request:
    return signed("s3", body, method="PUT", url=S3_URL, headers=headers)


def test_a_body_that_is_not_what_was_signed(gateway: Gateway) -> None:
    request = put(b"right")
    wrong = request_of("PUT", S3_URL, dict(request.headers), b"wrong")
    response = answer(gateway, wrong)
    assert code_of(response) == "XAmzContentSHA256Mismatch"
    for said, body in (("ClientComputed", b"right"), ("S3Computed", b"wrong")):
        assert f"<{said}ContentSHA256>{hashlib.sha256(body).hexdigest()}</{said}ContentSHA256>" in text_of(response)


def test_its_signed_digest_is_looked_at_first(gateway: Gateway) -> None:
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(b"other").digest()).decode(), "x-amz-checksum-crc32": "AAAAAA=="}
    request = put(b"right", md5)
    wrong = request_of("PUT", S3_URL, dict(request.headers), b"wrong")
    assert code_of(answer(gateway, wrong)) == "XAmzContentSHA256Mismatch"
    assert code_of(answer(gateway, request)) == "BadDigest"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_comes_with_a_question_is_not_read(gateway: Gateway, method: str) -> None:
    request = signed("s3", b"said", method=method, url=S3_URL, headers={"Content-MD5": "x"})
    other = request_of(method, S3_URL, dict(request.headers), b"")
    assert code_of(answer(gateway, other)) not in ("XAmzContentSHA256Mismatch", "InvalidDigest")


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
    response = answer(gateway, put(b"hallo", {"Content-MD5": md5}))
    assert code_of(response) == "BadDigest"
    assert f"<ExpectedDigest>{hashlib.md5(b'hello').hexdigest()}</ExpectedDigest>" in text_of(response)
    assert code_of(answer(gateway, put(b"hello", {"Content-MD5": "x"}))) == "InvalidDigest"
    assert code_of(answer(gateway, put(b"hello", {"Content-MD5": md5[:-3] + "Z=="}))) == "BadDigest"


def test_a_checksum_is_written_in_one_way_only(gateway: Gateway) -> None:
    """The last digit of base64 has bits to spare, which S3 wants to be zero."""
    crc = base64.b64encode(zlib.crc32(b"hello").to_bytes(4)).decode()
    assert answer(gateway, put(b"hello", {"x-amz-checksum-crc32": crc})).status == 200
    other = crc[:-3] + chr(ord(crc[-3]) + 1) + "=="
    assert base64.b64decode(other) == base64.b64decode(crc)
    assert code_of(answer(gateway, put(b"hello", {"x-amz-checksum-crc32": other}))) == "InvalidRequest"


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
    given = {name: value for name, value in given.items() if value}
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
    if is_signed and kind.endswith("-TRAILER"):
        text = "".join(f"{name}:{value}\n" for name, value in sorted((trailers or {}).items()))
        signature = sign("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256((text or "\n").encode()).hexdigest())
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


CHUNKS = [b"hello " * 2000, b"w" * 70_000, b"orld"]
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
    (lambda raw: raw[:-80_000] if len(raw) > 80_000 else raw[:3], ("IncompleteBody",)),
    (lambda raw: b"zz" + raw, ("IncompleteBody",)),
    (lambda raw: b"7" + raw[1:], ("IncompleteBody", "SignatureDoesNotMatch")),
    (lambda raw: b"f" * 5000, ("IncompleteBody",)),
    (lambda raw: b"", ("IncompleteBody",))])
def test_chunks_gone_wrong(gateway: Gateway, kind: str, tamper: Any, code: tuple[str, ...]) -> None:
    response = answer(gateway, chunked(kind, CHUNKS, KINDS[kind], tamper=tamper))
    assert (response.status // 100, code_of(response) in code) == (4, True), text_of(response)


def test_chunks_must_come_to_the_announced_length(gateway: Gateway) -> None:
    for length in ("82003", "82005"):
        request = chunked(next(iter(KINDS)), CHUNKS, headers={"X-Amz-Decoded-Content-Length": length})
        response = answer(gateway, request)
        assert code_of(response) == "IncompleteBody"
        assert f"<NumberBytesExpected>{length}</NumberBytesExpected>" in text_of(response)
        assert "<NumberBytesProvided>82004</NumberBytesProvided>" in text_of(response)
    request = chunked(next(iter(KINDS)), CHUNKS, headers={"X-Amz-Decoded-Content-Length": "many"})
    assert code_of(answer(gateway, request)) == "MissingContentLength"


def test_signed_chunks_are_large_but_for_the_last(gateway: Gateway) -> None:
    for kind in KINDS:
        response = answer(gateway, chunked(kind, [b"x" * 1024, b"y" * 9000], KINDS[kind] and {
            "x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"x" * 1024 + b"y" * 9000).to_bytes(4)).decode()}))
        if kind.startswith("STREAMING-UNSIGNED"):
            assert response.status == 200
        else:
            assert (response.status, code_of(response)) == (403, "InvalidChunkSizeError")
            assert "<Chunk>2</Chunk><BadChunkSize>1024</BadChunkSize>" in text_of(response)


@pytest.mark.parametrize(("tamper", "code"), [  # what S3 makes of the line before a chunk
    (lambda raw: raw.replace(b";chunk-signature=", b" ; chunk-signature = "), ""),
    (lambda raw: raw.replace(b";chunk-signature", b";a=b;chunk-signature"), "SignatureDoesNotMatch"),
    (lambda raw: raw.replace(b"\r\nhello", b";a=b\r\nhello"), "IncompleteBody"),
    (lambda raw: raw.replace(b";chunk-signature", b";"), "SignatureDoesNotMatch"),
    (lambda raw: raw.replace(b";chunk-signature=", b";chunk-signature=;"), "IncompleteBody")])
def test_the_parameters_of_a_chunk(gateway: Gateway, tamper: Any, code: str) -> None:
    response = answer(gateway, chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", CHUNKS, tamper=tamper))
    assert (response.status == 200, code_of(response) if code else "") == (not code, code), text_of(response)
    assert ("<StringToSign>AWS4-HMAC-SHA256-PAYLOAD" in text_of(response)) == (code == "SignatureDoesNotMatch")


@pytest.mark.parametrize(("trailer", "right"), [
    ("x-amz-checksum-crc32,", True), ("x-amz-checksum-crc32, ", True), ("x-amz-checksum-crc32,,", True),
    (", x-amz-checksum-crc32", False), ("x-amz-checksum-crc32, ,", False), ("x-amz-checksum-crc16", False),
    ("x-amz-checksum-crc32,x-amz-meta-a", False), ("content-md5", False)])
def test_which_trailers_there_are(gateway: Gateway, trailer: str, right: bool) -> None:
    kind = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    response = answer(gateway, chunked(kind, CHUNKS, CRC32, headers={"X-Amz-Trailer": trailer}))
    assert response.status == (200 if right else 400)
    assert right or "The value specified in the x-amz-trailer header is not supported" in text_of(response)


def test_a_trailer_needs_chunks(gateway: Gateway) -> None:
    request = put(b"hello", {"x-amz-trailer": "x-amz-checksum-crc32"})
    assert code_of(answer(gateway, request)) == "MalformedTrailerError"


def test_trailers_must_be_those_announced(gateway: Gateway) -> None:
    kind = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    wrong = {"x-amz-checksum-crc32": "AAAAAA=="}
    assert code_of(answer(gateway, chunked(kind, CHUNKS, wrong))) == "BadDigest"
    other = chunked(kind, CHUNKS, CRC32, headers={"X-Amz-Trailer": "x-amz-checksum-sha256"})
    assert code_of(answer(gateway, other)) == "MalformedTrailerError"
    tampered = chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", CHUNKS, CRC32,
                       tamper=lambda raw: raw.replace(b"trailer-signature:", b"trailer-signature:0"))
    assert code_of(answer(gateway, tampered)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("kind", list(KINDS)[1:])
def test_trailers_that_nobody_announced(gateway: Gateway, kind: str) -> None:
    response = answer(gateway, chunked(kind, CHUNKS, CRC32, headers={"X-Amz-Trailer": ""}))
    assert (response.status, code_of(response)) == (400, "MalformedTrailerError"), text_of(response)


def test_a_signature_of_no_trailers(gateway: Gateway) -> None:
    """S3 takes the body for one that was cut off where its signature is right, and says so of one that is wrong."""
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    response = answer(gateway, chunked(kind, CHUNKS))
    assert (response.status, code_of(response)) == (400, "IncompleteBody"), text_of(response)
    tampered = chunked(kind, CHUNKS, tamper=lambda raw: raw.replace(b"trailer-signature:", b"trailer-signature:0"))
    assert code_of(answer(gateway, tampered)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_reads_learns_the_digests(kind: str) -> None:
    request = chunked(kind, CHUNKS, KINDS[kind])
    seed = sigv4.read(request, S3_FAULTS)
    seed = seed.verified(sigv4.signing_key(SECRET, *seed.scope.text.split("/")[:3]))
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
