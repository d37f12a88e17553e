"""Requests that lie, over real sockets: 4xx in time, nothing stored, nothing held in memory."""

import asyncio
import base64
import hashlib
import resource
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloudlet.wire import transfer
from cloudlet.wire.gateway import Gateway
from tests.services.s3.counter import Counter
from tests.wire.exchange import KEY, SECRET
from tests.wire.test_server import Client, serve

HOST = "localhost:4566"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
GIB = 1 << 30


@pytest.fixture
def gateway(counter: Counter) -> Gateway:
    return counter.gateway


def head(method: str = "PUT", path: str = "/bkt/key", *, payload: str = "UNSIGNED-PAYLOAD", secret: str = SECRET,
         **headers: str) -> bytes:
    """A signed head; headers with `_` for `-`. Content-Length and Transfer-Encoding are never signed."""
    class Signer(S3SigV4Auth):  # type: ignore[misc]
        def payload(self, request: Any) -> str:
            return payload
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    loose = {name: given.pop(name) for name in list(given) if name in ("content-length", "transfer-encoding", "expect")}
    request = AWSRequest(method, f"http://{HOST}{path}", headers=given, data=b"")
    Signer(Credentials(KEY, secret), "s3", "us-east-1").add_auth(request)
    signed = [(name, value) for name, value in request.headers.items()
              if name.lower() not in ("host", "content-length")]
    lines = [f"{method} {path} HTTP/1.1", f"host: {HOST}", *(f"{name}: {value}" for name, value in signed),
             *(f"{name}: {value}" for name, value in loose.items()), "", ""]
    return "\r\n".join(lines).encode()


async def said(client: Client) -> tuple[int, str]:
    status, _, body = await client.response()
    text = body.decode()
    return status, text.partition("<Code>")[2].partition("</Code>")[0]


def chunks(*parts: bytes, trailer: bytes = b"x-amz-checksum-crc32:AAAAAA==\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"


def chunked(length: int, body: bytes) -> bytes:
    return head(payload=UNSIGNED_TRAILER, x_amz_decoded_content_length=str(length), content_encoding="aws-chunked",
                x_amz_trailer="x-amz-checksum-crc32", content_length=str(len(body))) + body


def test_an_honest_one(gateway: Gateway, counter: Counter) -> None:
    async def scenario(client: Client) -> None:
        client.send(head(content_length="5") + b"hello")
        assert (await client.response())[0] == 200
        body = chunks(b"x" * 10, trailer=b"x-amz-checksum-crc32:" + b"NvxqXA==\r\n")
        client.send(chunked(10, body))
        assert (await said(client))[1] in ("", "BadDigest")
    serve(gateway.handle, scenario)
    assert counter.ask("GET", "/bkt/key").body == b"hello"


SMUGGLED = {
    "two lengths": b"content-length: 5\r\ncontent-length: 50\r\n",
    "a length and chunks": b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
    "chunks and a length": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    "chunks that are not last": b"transfer-encoding: chunked, identity\r\n",
    "an unknown encoding": b"transfer-encoding: xchunked\r\n",
    "a list of lengths": b"content-length: 5, 5\r\n",
    "a negative length": b"content-length: -5\r\n",
    "a length with a sign": b"content-length: +5\r\n",
    "a length in hexadecimal digits": b"content-length: 0x5\r\n",
    "a length beyond all numbers": b"content-length: " + b"9" * 40 + b"\r\n",
    "a space before the colon": b"content-length : 5\r\n",
    "a folded header": b"content-length: 5\r\n 0\r\n",
    "chunks with a tab": b"transfer-encoding:\tchunked\x0b\r\n",
    "a null": b"content-length: 5\x00\r\n",
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_lengths_that_proxies_read_differently_are_refused(gateway: Gateway, counter: Counter, case: str) -> None:
    async def scenario(client: Client) -> None:
        client.send(head().removesuffix(b"\r\n") + SMUGGLED[case] + b"\r\n0\r\n\r\nhello"
                    b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.response())[0] in (400, 501)
        assert await client.ended()  # what follows was never taken for a request
        assert counter.rows("s3_version") == 0
    serve(gateway.handle, scenario)


def test_what_stands_after_the_last_chunk_belongs_to_nobody(gateway: Gateway, counter: Counter) -> None:
    """The length of HTTP counts; what aws-chunked leaves over of it is never a request, and nothing else, as on AWS."""
    body = chunks(b"hello", trailer=b"") + b"PUT /bkt/smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
    raw = head(payload=UNSIGNED_TRAILER, x_amz_decoded_content_length="5", content_encoding="aws-chunked",
               content_length=str(len(body))) + body

    async def scenario(client: Client) -> None:
        client.send(raw)
        assert (await client.response())[0] == 200
        assert counter.rows("s3_version") == 1
    serve(gateway.handle, scenario)
    assert counter.ask("GET", "/bkt/key").body == b"hello"


LIES = {
    "a decoded length too small": (5, chunks(b"x" * 10), "IncompleteBody"),
    "a decoded length too large": (50, chunks(b"x" * 10), "IncompleteBody"),
    "a decoded length of ages": (10**17, chunks(b"x" * 10), "EntityTooLarge"),
    "a chunk larger than all": (10, b"ffffffffffffffff\r\nhello", "IncompleteBody"),
    "a size that is none": (10, b"-5\r\nhello\r\n0\r\n\r\n", "IncompleteBody"),
    "a size with blanks": (10, b" a \r\n" + b"x" * 10 + b"\r\n0\r\n\r\n", "IncompleteBody"),
    "a size too long": (10, b"0" * 17 + b"a\r\n" + b"x" * 10 + b"\r\n0\r\n\r\n", "IncompleteBody"),
    "a header without end": (10, b"a" * 50_000, "IncompleteBody"),
    "a signature where none is due": (10, b"a;chunk-signature=" + b"0" * 64 + b"\r\n", "IncompleteBody"),
    "line feeds alone": (10, b"a\n" + b"x" * 10 + b"\n0\n\n", "IncompleteBody"),
    "no end of a chunk": (10, b"a\r\n" + b"x" * 10 + b"0\r\n\r\n", "IncompleteBody"),
    "no trailer": (10, chunks(b"x" * 10, trailer=b""), "MalformedTrailerError"),
    "another trailer": (10, chunks(b"x" * 10, trailer=b"x-amz-checksum-sha1:AAAA\r\n"), "MalformedTrailerError"),
    "a trailer twice, of which the last counts": (
        10, chunks(b"x" * 10, trailer=b"x-amz-checksum-crc32:PAUHag==\r\nx-amz-checksum-crc32:AAAAAA==\r\n"),
        "BadDigest"),
    "a trailer that lies": (10, chunks(b"x" * 10), "BadDigest"),
    "a trailer that is none": (10, chunks(b"x" * 10, trailer=b"x-amz-checksum-crc32:%%%\r\n"), "InvalidRequest"),
    "a trailer without end": (10, chunks(b"x" * 10, trailer=b"x" * 50_000), "IncompleteBody"),
    "many trailers": (10, chunks(b"x" * 10, trailer=b"".join(b"a%d:b\r\n" % n for n in range(1000))),
                      "MalformedTrailerError"),
}


@pytest.mark.parametrize("case", LIES)
def test_chunks_that_lie(gateway: Gateway, counter: Counter, case: str) -> None:
    length, body, code = LIES[case]

    async def scenario(client: Client) -> None:
        client.send(chunked(length, body))
        assert await said(client) == (400, code)
        assert counter.rows("s3_version") == 0
    serve(gateway.handle, scenario)


def test_ten_thousand_headers(gateway: Gateway) -> None:
    async def scenario(client: Client) -> None:
        many = b"".join(b"x-amz-meta-%d: x\r\n" % number for number in range(10_000))
        client.send(b"PUT /bkt/key HTTP/1.1\r\nhost: h\r\n" + many + b"\r\n")
        assert (await client.response())[0] == 431
        assert await client.ended()
    serve(gateway.handle, scenario)


@pytest.mark.parametrize("expects", [True, False])
def test_what_will_be_refused_is_refused_before_its_body(gateway: Gateway, counter: Counter, expects: bool) -> None:
    """A gigabyte is announced and never sent."""
    asked = {"expect": "100-continue"} if expects else {}

    async def scenario(client: Client) -> None:
        client.send(head(secret="wrong", content_length=str(GIB), **asked))
        assert await said(client) == (403, "SignatureDoesNotMatch")
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        other = Client(client.server, client.port, reader, writer)
        other.send(head(content_length=str(6 * GIB), **asked))
        assert await said(other) == (400, "EntityTooLarge")
        writer.close()
        assert counter.rows("s3_version") == 0
    serve(gateway.handle, scenario)


def test_slow_clients_are_dropped(gateway: Gateway, counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "STALL_S", 0.05)

    async def scenario(client: Client) -> None:
        client.send(head(content_length=str(GIB)) + b"a few bytes")
        assert (await said(client)) == (400, "IncompleteBody")
        assert await client.ended()
        assert counter.rows("s3_version") == 0
    serve(gateway.handle, scenario)


def test_memory_is_flat_while_much_comes(gateway: Gateway, counter: Counter) -> None:
    """Far more than may stay in memory passes, poured and in chunks."""
    piece, count = b"x" * (1 << 20), 150

    async def scenario(client: Client) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        client.send(head(content_length=str(len(piece) * count)))
        for _ in range(count):
            client.send(piece)
            await client.writer.drain()
        assert (await client.response())[0] == 200
        client.send(head(payload=UNSIGNED_TRAILER, x_amz_decoded_content_length=str(len(piece) * count),
                         content_encoding="aws-chunked", transfer_encoding="chunked"))
        for _ in range(count):
            chunk = b"100000\r\n" + piece + b"\r\n"
            client.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await client.writer.drain()
        client.send(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n")
        assert (await client.response())[0] == 200
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024
    serve(gateway.handle, scenario)


# documents

def bomb(depth: int = 10) -> bytes:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, depth))
    return f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY e0 "ha">{entities}]><Delete>&e{depth - 1};</Delete>'.encode()


DOCUMENTS = {
    "an entity bomb": bomb(),
    "an external entity": b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&e;</Key>'
                          b"</Object></Delete>",
    "deep nesting": b"<Delete>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</Delete>",
    "no end": b"<Delete><Object>" * 10_000,
    "many elements": b"<Delete>" + b"<Object/>" * 450_000 + b"</Delete>",
    "no XML": b"\x00" * 1000, "another document": b"<CompleteMultipartUpload/>",
}


@pytest.mark.parametrize("case", DOCUMENTS)
@pytest.mark.parametrize("operation", ["POST /bkt?delete", "POST /bkt/key?uploadId=x"])
def test_documents(gateway: Gateway, counter: Counter, case: str, operation: str) -> None:
    body, (method, target) = DOCUMENTS[case], operation.split()
    if case == "another document" and "uploadId" in target:
        body = b"<Delete/>"

    async def scenario(client: Client) -> None:
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        client.send(head(method, target, payload=hashlib.sha256(body).hexdigest(), content_length=str(len(body)),
                         content_md5=md5) + body)
        status, _ = await said(client)
        assert status in (400, 413)
        assert counter.rows("s3_version") == 0
    serve(gateway.handle, scenario)


def test_a_document_without_end_is_not_read(gateway: Gateway) -> None:
    async def scenario(client: Client) -> None:
        client.send(head("POST", "/bkt?delete", content_length=str(GIB)))
        assert (await said(client))[0] in (400, 413)
    serve(gateway.handle, scenario)
