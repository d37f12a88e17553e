"""The server over real sockets: framing, streaming, limits, clients that misbehave."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop

from cloudlet.kernel.http import BodyTooLarge, BodyTruncated, Handler, Request, Response
from cloudlet.wire import connection
from cloudlet.wire.incoming import BUFFER_HIGH
from cloudlet.wire.server import Server

Scenario = Callable[["Client"], Awaitable[Any]]
CHUNK = b"x" * 65536


class Client:
    """A raw connection: what is written is written, what comes is read as HTTP."""

    def __init__(self, server: Server, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.port, self.reader, self.writer = server, port, reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(first.split(" ")[1]), headers

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        if "transfer-encoding" in headers:
            parts = []
            while size := int(await self.reader.readline(), 16):
                parts.append(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return status, headers, b"".join(parts)
        return status, headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def ended(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(), 10) == b""
        except ConnectionError:
            return True


def serve(handler: Handler, scenario: Scenario, tls: Any = None) -> Any:
    async def run() -> Any:
        server = Server(handler)
        port = await server.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await asyncio.wait_for(scenario(Client(server, port, reader, writer)), 30)
        finally:
            writer.close()
            await server.close()
            assert not server.connections
    return uvloop.run(run())


async def echo(request: Request) -> Response:
    try:
        body = await request.body.read(1_000_000)
    except BodyTooLarge:
        return Response(413, {}, b"too large")
    except BodyTruncated:
        return Response(400, {}, b"truncated")
    return Response(200, {"x-path": request.path, "x-query": request.query, "x-method": request.method,
                          "x-host": request.headers.get("host", "")}, body)


def post(body: bytes, extra: bytes = b"") -> bytes:
    return b"POST /a%%20b?c=%%64 HTTP/1.1\r\nHost: h:1\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), extra, body)


def test_a_request_and_its_answer() -> None:
    async def scenario(client: Client) -> None:
        client.send(post(b"hello"))
        status, headers, body = await client.response()
        assert (status, body) == (200, b"hello")
        assert (headers["x-path"], headers["x-query"], headers["x-host"]) == ("/a%20b", "c=%64", "h:1")
        assert "date" in headers
    serve(echo, scenario)


def test_keep_alive_and_pipelining() -> None:
    async def scenario(client: Client) -> None:
        client.send(b"".join(post(b"%d" % index) for index in range(100)))
        assert [(await client.response())[2] for _ in range(100)] == [b"%d" % index for index in range(100)]
        client.send(post(b"last", b"Connection: close\r\n"))
        _, headers, body = await client.response()
        assert (body, headers["connection"]) == (b"last", "close")
        assert await client.ended()
    serve(echo, scenario)


def test_http_1_0() -> None:
    async def scenario(client: Client) -> None:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        assert (await client.response())[1]["connection"] == "keep-alive"
        assert (await client.response())[1]["connection"] == "close"
        assert await client.ended()
    serve(echo, scenario)


def test_head_has_no_body_but_its_length() -> None:
    async def handler(request: Request) -> Response:
        return Response(200, {}, b"hello")

    async def scenario(client: Client) -> None:
        client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.head())[1]["content-length"] == "5"
        assert (await client.response())[2] == b"hello"
    serve(handler, scenario)


def test_a_chunked_request() -> None:
    async def scenario(client: Client) -> None:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await asyncio.sleep(0.01)
        client.send(b"6\r\n world\r\n0\r\n\r\n")
        assert (await client.response())[2] == b"hello world"
    serve(echo, scenario)


def test_a_streamed_answer() -> None:
    async def handler(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"one"
            yield b""
            await asyncio.sleep(0)
            yield b"two"
        sized = {"content-length": "6"} if request.path == "/sized" else {}
        return Response(200, sized, body())

    async def scenario(client: Client) -> None:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /sized HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        assert (await client.response())[2] == b"onetwo"
        _, headers, body = await client.response()
        assert (body, headers["content-length"]) == (b"onetwo", "6")
        await client.head()
        assert await client.reader.read() == b"onetwo"
    serve(handler, scenario)


def test_a_streamed_answer_that_fails_looks_cut() -> None:
    async def handler(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"one"
            raise asyncio.CancelledError
        return Response(200, {}, body())

    async def scenario(client: Client) -> None:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await client.head()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.reader.readuntil(b"0\r\n\r\n")
    serve(handler, scenario)


def test_expect_continue_waits_for_the_reader() -> None:
    async def handler(request: Request) -> Response:
        return Response(403, {}, b"no") if request.path == "/refused" else await echo(request)

    async def scenario(client: Client) -> None:
        ask = b"PUT /%b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        client.send(ask % b"read")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        assert (await client.response())[2] == b"hello"
        client.send(ask % b"refused")
        status, headers, _ = await client.response()
        assert (status, headers["connection"]) == (403, "close")
        assert await client.ended()
    serve(handler, scenario)


def test_backpressure_towards_the_client_that_sends() -> None:
    gate, seen = asyncio.Event(), []

    async def handler(request: Request) -> Response:
        await gate.wait()
        size = 0
        async for data in request.body:
            size += len(data)
        return Response(200, {}, b"%d" % size)

    async def scenario(client: Client) -> None:
        total = 64 * 1024 * 1024
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % total)

        async def write() -> None:
            for _ in range(total // len(CHUNK)):
                client.send(CHUNK)
                await client.writer.drain()
        writing = asyncio.ensure_future(write())
        await asyncio.sleep(0.3)
        (one,) = client.server.connections
        assert one._receiving is not None
        seen.append(one._receiving.buffered)
        assert not writing.done()
        gate.set()
        assert (await client.response())[2] == b"%d" % total
        await writing
    serve(handler, scenario)
    assert seen[0] < 4 * BUFFER_HIGH


def test_backpressure_towards_the_handler_that_answers() -> None:
    written = 0

    async def handler(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            nonlocal written
            for _ in range(1000):
                written += len(CHUNK)
                yield CHUNK
        return Response(200, {}, body())

    async def scenario(client: Client) -> None:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await asyncio.sleep(0.3)
        assert written < 20_000_000
        assert len((await client.response())[2]) == 1000 * len(CHUNK)
    serve(handler, scenario)


@pytest.mark.parametrize(("data", "status"), [
    (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"h%d: v\r\n" % index for index in range(300)) + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: h\r\nlong: " + b"v" * 100_000, 431),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"nonsense\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
    (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00", 400)])
def test_what_is_refused_before_it_is_a_request(data: bytes, status: int) -> None:
    async def scenario(client: Client) -> None:
        client.send(data)
        assert (await client.response())[0] == status
        assert await client.ended()
    serve(echo, scenario)


def test_a_bad_request_does_not_overtake_a_good_one() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.05)
        return await echo(request)

    async def scenario(client: Client) -> None:
        client.send(post(b"good") + b"nonsense\r\n\r\n")
        assert (await client.response())[2] == b"good"
        assert (await client.response())[0] == 400
        assert await client.ended()
    serve(handler, scenario)


def test_a_body_over_the_limit() -> None:
    async def scenario(client: Client) -> None:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n")
        assert (await client.response())[0] == 413
        client.send(b"x" * 2_000_000 + post(b"after"))
        assert (await client.response())[2] == b"after"
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + b"10000\r\n" + CHUNK + b"\r\n")
        for _ in range(20):
            client.send(b"10000\r\n" + CHUNK + b"\r\n")
        assert (await client.response())[0] == 413
    serve(echo, scenario)


def test_a_truncated_body() -> None:
    async def scenario(client: Client) -> None:
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello")
        client.writer.write_eof()
        status, _, body = await client.response()
        assert (status, body) == (400, b"truncated")
        assert await client.ended()
    serve(echo, scenario)


def test_a_client_that_leaves_cancels_its_request() -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            left.set()
        return Response(200)

    async def scenario(client: Client) -> None:
        client.send(post(b""))
        await begun.wait()
        client.writer.close()
        await left.wait()
    serve(handler, scenario)


@pytest.mark.parametrize("data", [b"", b"GET / HT", post(b"hello")[:-2]], ids=["connected", "head", "body"])
def test_silent_clients_are_dropped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.05)
    monkeypatch.setattr(connection, "STALL_S", 0.05)
    monkeypatch.setattr("cloudlet.wire.server.SWEEP_S", 0.05)

    async def scenario(client: Client) -> None:
        client.send(data)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.reader.readexactly(1)
    serve(echo, scenario)


def test_idle_connections_are_dropped_but_busy_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.05)
    monkeypatch.setattr("cloudlet.wire.server.SWEEP_S", 0.02)

    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.3)
        return await echo(request)

    async def scenario(client: Client) -> None:
        client.send(post(b"slow"))
        assert (await client.response())[2] == b"slow"
        assert await client.ended()
    serve(handler, scenario)


def test_headers_cannot_be_injected() -> None:
    async def handler(request: Request) -> Response:
        return Response(200, {"x-note": "a\r\nset-cookie: b"}, b"")

    async def scenario(client: Client) -> None:
        client.send(post(b""))
        _, headers, _ = await client.response()
        assert "set-cookie" not in headers
    serve(handler, scenario)


def test_headers_sent_twice_are_joined() -> None:
    async def handler(request: Request) -> Response:
        return Response(200, {}, request.headers["x-a"].encode())

    async def scenario(client: Client) -> None:
        client.send(post(b"", b"X-A: 1\r\nx-a: 2\r\nX-a: \xc3\xa9\r\n"))
        assert (await client.response())[2] == "1,2,é".encode()
    serve(handler, scenario)


def test_an_offer_to_upgrade_is_ignored() -> None:
    async def scenario(client: Client) -> None:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await client.response())[0] == 200
        client.send(post(b"after"))
        assert (await client.response())[2] == b"after"
    serve(echo, scenario)


def test_the_absolute_form() -> None:
    async def scenario(client: Client) -> None:
        client.send(b"GET http://h:1/a?b HTTP/1.1\r\nHost: h:1\r\n\r\n")
        _, headers, _ = await client.response()
        assert (headers["x-path"], headers["x-query"]) == ("/a", "b")
    serve(echo, scenario)


def test_further_sockets_come_and_go() -> None:
    async def other(request: Request) -> Response:
        return Response(200, {}, f"{request.network} {request.source}".encode())

    async def scenario(client: Client) -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        closer = await client.server.open(sock, other, "cl-abcdef-vpc-1")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        second = Client(client.server, port, reader, writer)
        second.send(post(b""))
        assert (await second.response())[2] == b"cl-abcdef-vpc-1 127.0.0.1"
        await closer.close()
        second.send(post(b""))
        assert (await second.response())[0] == 200
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        client.send(post(b"main"))
        assert (await client.response())[2] == b"main"
    serve(echo, scenario)


def test_stopping_lets_answers_finish() -> None:
    begun, enough = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        begun.set()
        await enough.wait()
        return Response(200, {}, b"done")

    async def scenario(client: Client) -> None:
        client.send(post(b""))
        await begun.wait()
        stopping = asyncio.ensure_future(client.server.close())
        await asyncio.sleep(0.01)
        enough.set()
        _, headers, body = await client.response()
        assert (body, headers["connection"]) == (b"done", "close")
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", client.port)
    serve(handler, scenario)


def test_a_taken_port_says_so() -> None:
    async def scenario(client: Client) -> None:
        with pytest.raises(OSError, match="in use"):
            await Server(echo).listen("127.0.0.1", client.port)
    serve(echo, scenario)


# ── Inside networks ──────────────────────────────────────────────────────────────────────────────────────────────────


def inside(handler: Handler, scenario: Callable[[Server, int], Awaitable[Any]]) -> Any:
    """Runs a scenario against a socket that stands for one in a network."""
    async def run() -> Any:
        server, sock = Server(handler), socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        await server.open(sock, handler, "vpc")
        try:
            return await asyncio.wait_for(scenario(server, sock.getsockname()[1]), 30)
        finally:
            await server.close()
    return uvloop.run(run())


def test_an_answer_may_go_no_farther_than_it_should() -> None:
    async def handler(request: Request) -> Response:
        return Response(200, body=request.network.encode(), hops=2 if request.path == "/near" else None)

    async def scenario(server: Server, port: int) -> list[tuple[bytes, int]]:
        found = []
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path in ("/near", "/far"):
            writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            answer = await reader.readuntil(b"vpc")
            (connection_,) = server.connections
            assert connection_._transport is not None
            ours = connection_._transport.get_extra_info("socket")
            found.append((answer[-3:], ours.getsockopt(socket.IPPROTO_IP, socket.IP_TTL)))
        writer.close()
        return found
    assert inside(handler, scenario) == [(b"vpc", 2), (b"vpc", connection.HOPS)]


def test_one_address_inside_has_only_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CLIENT_CONNECTIONS_MAX", 3)

    async def handler(request: Request) -> Response:
        return Response(200, body=b"ok")

    async def scenario(server: Server, port: int) -> None:
        async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            return reader, writer
        first = [await opened() for _ in range(3)]
        for reader, _ in first:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        reader, writer = await opened()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        for _, writer in first:
            writer.close()
        for _ in range(1000):
            await asyncio.sleep(0.01 if server.clients else 0)
        assert not server.clients
        reader, writer = await opened()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    inside(handler, scenario)
