"""Web servers on this machine are told, and nobody else is."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cloudlet.engines.fake.webhooks import FakeServer, FakeWebhooks
from cloudlet.engines.ports import Webhooks
from cloudlet.engines.webhooks import LocalWebhooks
from cloudlet.kernel.errors import Busy, Refused


async def conforms(webhooks: Webhooks, url: str, nowhere: str, got: Callable[[], list[bytes]]) -> None:
    """What every implementation must do: the server answers 200, then 503."""
    assert await webhooks.post(url, {"X-A": "b"}, "grüße".encode()) == 200
    assert await webhooks.post(url, {}, b"") == 503
    assert got() == ["grüße".encode(), b""]
    with pytest.raises(Busy):
        await webhooks.post(nowhere, {}, b"x")


def test_the_fake() -> None:
    fake = FakeWebhooks()
    fake.servers["http://a/"] = FakeServer([200, 503])
    asyncio.run(conforms(fake, "http://a/", "http://b/", lambda: [body for _, body in fake.servers["http://a/"].got]))


def serve(answers: list[bytes], case: Callable[[int, list[tuple[bytes, bytes]]], Awaitable[None]]) -> None:
    """Runs a case with a web server on loopback; it is given its port and what came: heads and bodies."""
    async def run() -> None:
        got: list[tuple[bytes, bytes]] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            got.append((head, await reader.readexactly(length)))
            writer.write(answers.pop(0))
            writer.close()
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        async with server:
            await case(server.sockets[0].getsockname()[1], got)
    asyncio.run(run())


def test_real_ones() -> None:
    async def case(port: int, got: list[tuple[bytes, bytes]]) -> None:
        await conforms(LocalWebhooks(), f"http://u%40:p@localhost:{port}/a?b=c", "http://127.0.0.1:1/",
                       lambda: [body for _, body in got])
        assert got[0][0].startswith(b"POST /a?b=c HTTP/1.1\r\nHost: localhost:%d\r\n" % port)
        assert b"\r\nX-A: b\r\n" in got[0][0] and b"\r\nAuthorization: Basic dUA6cA==\r\n" in got[0][0]
    serve([b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 503 No\r\n\r\nbody"], case)


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"", b"HTTP/1.1 abc x\r\n", b"x" * 100_000])
def test_servers_that_speak_no_http(answer: bytes) -> None:
    async def case(port: int, got: list[tuple[bytes, bytes]]) -> None:
        with pytest.raises(Busy):
            await LocalWebhooks().post(f"http://127.0.0.1:{port}/", {}, b"")
    serve([answer], case)


@pytest.mark.parametrize("url", ["http://example.com/", "https://192.0.2.1/", "ftp://localhost/", "http://localhost:x/",
                                 "http://localhost/a b", "http:///x", "http://localhost/\n"])
def test_what_is_not_asked(url: str) -> None:
    with pytest.raises(Refused):
        asyncio.run(LocalWebhooks().post(url, {}, b""))
