"""Web servers on this machine are told, and nobody else is."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cloudlet.engines import webhooks
from cloudlet.engines.fake.webhooks import FakeServer, FakeWebhooks
from cloudlet.engines.ports import Webhooks
from cloudlet.engines.webhooks import LocalWebhooks
from cloudlet.kernel.errors import Busy, Refused
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from tests.engines.fabric_ground import fabric_ground, member, opened, real, rule

SITE = Site(Installation("abcdef"), Path("/nowhere"), public_cidr="198.51.100.0/28")


async def conforms(port: Webhooks, url: str, nowhere: str, got: Callable[[], list[bytes]]) -> None:
    """What every implementation must do: the server answers 200, then 503."""
    assert await port.post(url, {"X-A": "b"}, "grüße".encode()) == 200
    assert await port.post(url, {}, b"") == 503
    assert got() == ["grüße".encode(), b""]
    with pytest.raises(Busy):
        await port.post(nowhere, {}, b"x")


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
        await conforms(LocalWebhooks(SITE), f"http://u%40:p@localhost:{port}/a?b=c", "http://127.0.0.1:1/",
                       lambda: [body for _, body in got])
        assert got[0][0].startswith(b"POST /a?b=c HTTP/1.1\r\nHost: localhost:%d\r\n" % port)
        assert b"\r\nX-A: b\r\n" in got[0][0] and b"\r\nAuthorization: Basic dUA6cA==\r\n" in got[0][0]
    serve([b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 503 No\r\n\r\nbody"], case)


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"", b"HTTP/1.1 abc x\r\n", b"x" * 100_000])
def test_servers_that_speak_no_http(answer: bytes) -> None:
    async def case(port: int, got: list[tuple[bytes, bytes]]) -> None:
        with pytest.raises(Busy):
            await LocalWebhooks(SITE).post(f"http://127.0.0.1:{port}/", {}, b"")
    serve([answer], case)


@pytest.mark.parametrize("url", ["http://example.com/", "https://192.0.2.1/", "ftp://localhost/", "http://localhost:x/",
                                 "http://localhost/a b", "http:///x", "http://localhost/\n"])
def test_what_is_not_asked(url: str) -> None:
    with pytest.raises(Refused):
        asyncio.run(LocalWebhooks(SITE).post(url, {}, b""))


@pytest.mark.parametrize("host", [
    "198.51.100.1", "198.51.100.16", "198.51.101.1", "ec2-192-0-2-1.compute-1.amazonaws.com",
    "ec2-198-51-100-1.compute-1.amazonaws.com", "ec2-1-2-3.compute-1.amazonaws.com"])
def test_addresses_that_are_nobodys_here(host: str) -> None:
    """The host itself among them: what it serves on loopback and elsewhere is not for who sends messages."""
    with pytest.raises(Refused):
        asyncio.run(LocalWebhooks(SITE).post(f"http://{host}/", {}, b""))


@pytest.mark.parametrize("host", ["198.51.100.2", "ec2-198-51-100-2.eu-west-1.compute.amazonaws.com"])
def test_a_public_address_without_a_network(host: str) -> None:
    """Nothing is sent by any other way, were there one."""
    with pytest.raises(Busy, match="No such device"):
        asyncio.run(LocalWebhooks(SITE).post(f"http://{host}/", {}, b""))


@real
def test_a_guest_is_told_at_its_public_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_S", 1.0)
    with fabric_ground(tmp_path) as ground:
        (web,) = ground.build(10)
        address, port = ground.public(0), LocalWebhooks(ground.site)

        def allow(peer: str) -> None:
            ground.apply([member(web, public=address, internet=("0.0.0.0/0",))],
                         sg_a=opened(rule("ingress", "tcp", (80, 80), peer)))

        async def told(host: str) -> int:
            return await port.post(f"http://{host}/hook", {"X-A": "b"}, b"hello")
        with ground.inside(web, socket.SOCK_STREAM) as listener:
            listener.bind(("0.0.0.0", 80))
            listener.listen()
            got: list[bytes] = []

            def serve() -> None:
                for _ in range(2):
                    listener.settimeout(20)
                    client, (source, _) = listener.accept()
                    with client:
                        got.append(source.encode() + b" " + client.recv(4096))
                        client.sendall(b"HTTP/1.1 202 Fine\r\n\r\n")
            thread = threading.Thread(target=serve)
            thread.start()
            allow("0.0.0.0/0")
            assert ground.run(told(address)) == 202
            allow(f"{ground.host}/32")
            assert ground.run(told(f"ec2-{address.replace('.', '-')}.compute-1.amazonaws.com")) == 202
            thread.join()
            assert all(each.startswith(f"{ground.host} POST /hook HTTP/1.1".encode()) for each in got) and len(got) == 2
            allow("10.0.0.0/8")
            with pytest.raises(Busy, match="did not answer"):
                ground.run(told(address))
            with pytest.raises(Busy):  # nobody has it
                ground.run(told(ground.public(1)))
            with pytest.raises(Refused):
                ground.run(told(ground.host))
