"""Bodies that a thread takes from the socket: whole, in order, with what follows them; and what breaks."""

import asyncio
import hashlib
import os
import threading

import pytest

from cloudlet.kernel.http import BodyTruncated, Handler, Request, Response
from cloudlet.wire import transfer
from tests.wire.test_server import Client, serve

LARGE = os.urandom((3 << 20) + 7)


def put(size: int, extra: bytes = b"") -> bytes:
    return b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%b\r\n" % (size, extra)


def pouring(threads: set[str] | None = None) -> Handler:
    """Answers with the size and the MD5 of what was poured."""
    async def handler(request: Request) -> Response:
        digest = hashlib.md5()

        def take(data: memoryview) -> None:
            assert threading.current_thread() is not threading.main_thread()
            if threads is not None:
                threads.add(threading.current_thread().name.partition("_")[0])
            digest.update(data)
        try:
            size = await request.body.pour(take)
        except BodyTruncated:
            return Response(400, {}, b"truncated")
        return Response(200, {}, f"{size} {digest.hexdigest()}".encode())
    return handler


def expected(data: bytes) -> bytes:
    return f"{len(data)} {hashlib.md5(data).hexdigest()}".encode()


def test_what_follows_a_poured_body_is_the_next_request() -> None:
    threads: set[str] = set()

    async def scenario(client: Client) -> None:
        small = b"small"
        for _ in range(3):
            client.send(put(len(LARGE)) + LARGE + put(len(small)) + small + put(0))
            assert [(await client.response())[2] for _ in range(3)] == [expected(LARGE), expected(small), expected(b"")]
        assert threads == {"transfer", "bodies"}  # the small ones came whole with their heads
    serve(pouring(threads), scenario)


def test_a_pipelined_body_is_poured_once_it_is_its_turn() -> None:
    release = asyncio.Event()
    inner = pouring()

    async def handler(request: Request) -> Response:
        if request.method == "GET":
            await release.wait()
            return Response(200, {}, b"first")
        return await inner(request)

    async def scenario(client: Client) -> None:
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + put(len(LARGE)) + LARGE)
        await asyncio.sleep(0.05)
        release.set()
        assert [(await client.response())[2] for _ in range(2)] == [b"first", expected(LARGE)]
    serve(handler, scenario)


def test_a_slow_sender_keeps_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_threads", transfer.ThreadPoolExecutor(1, thread_name_prefix="transfer"))

    async def scenario(client: Client) -> None:
        client.send(put(len(LARGE)) + LARGE[:100])
        await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        other = Client(client.server, client.port, reader, writer)
        other.send(put(len(LARGE)) + LARGE)
        assert (await other.response())[2] == expected(LARGE)  # while the first one holds its connection only
        client.send(LARGE[100:2_000_000])
        await asyncio.sleep(0.05)
        client.send(LARGE[2_000_000:])
        assert (await client.response())[2] == expected(LARGE)
        writer.close()
    serve(pouring(), scenario)


def test_the_body_is_asked_for_when_it_is_poured() -> None:
    async def scenario(client: Client) -> None:
        client.send(put(len(LARGE), b"Expect: 100-continue\r\n"))
        assert (await client.head())[0] == 100
        client.send(LARGE)
        assert (await client.response())[2] == expected(LARGE)
    serve(pouring(), scenario)


def test_a_sender_who_leaves_is_noticed() -> None:
    async def scenario(client: Client) -> None:
        client.send(put(len(LARGE)) + LARGE[:-1])
        await asyncio.sleep(0.05)
        client.writer.write_eof()
        assert (await client.response())[::2] == (400, b"truncated")
        assert await client.ended()
    serve(pouring(), scenario)


def test_a_sender_who_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "STALL_S", 0.4)  # longer than a busy machine keeps the rest waiting

    async def scenario(client: Client) -> None:
        client.send(put(len(LARGE)) + LARGE[:-1])
        assert (await client.response())[::2] == (400, b"truncated")
        assert await client.ended()
    serve(pouring(), scenario)


def test_a_receiver_that_fails_can_answer_but_nothing_follows() -> None:
    async def handler(request: Request) -> Response:
        taken = 0

        def take(data: memoryview) -> None:
            nonlocal taken
            taken += len(data)
            if taken > 1 << 20:
                raise OSError("full")
        with pytest.raises(OSError, match="full"):
            await request.body.pour(take)
        return Response(507, {}, b"full")

    async def scenario(client: Client) -> None:
        client.send(put(len(LARGE)) + LARGE + put(0))
        status, headers, body = await client.response()
        assert (status, headers["connection"], body) == (507, "close", b"full")
        assert await client.ended()
    serve(handler, scenario)


def test_cutting_a_connection_ends_its_transfer() -> None:
    taken = asyncio.Event()
    ended = asyncio.Event()

    async def handler(request: Request) -> Response:
        loop = asyncio.get_running_loop()
        try:
            await request.body.pour(lambda data: loop.call_soon_threadsafe(taken.set) and None)
        finally:
            ended.set()
        return Response(200, {}, b"")

    async def scenario(client: Client) -> None:
        client.send(put(len(LARGE)) + LARGE[:2_000_000])
        await taken.wait()
        for connection in tuple(client.server.connections):
            connection.cut()
        await ended.wait()
        assert await client.ended()
    serve(handler, scenario)
