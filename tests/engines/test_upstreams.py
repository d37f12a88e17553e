"""Other registries: the suite on the fake and on HTTP, and what registries do beyond it."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from cloudlet.engines import loopback
from cloudlet.engines.fake import World
from cloudlet.engines.fake.upstreams import FakeRegistry
from cloudlet.engines.ports import Upstream
from cloudlet.engines.upstreams import LocalUpstreams
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.errors import Busy, Refused
from cloudlet.kernel.http import Request, Response
from cloudlet.wire.server import Server
from tests.engines.upstreams_conformance import BLOB, MANIFEST, SUITE, Ground

LOGIN = ("ann", "secret: with a colon")
BASIC = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


class Registry:
    """A registry on loopback, as strict and as roundabout as a test wants it."""

    def __init__(self, auth: str = "", blobs_at: str = "") -> None:
        self.auth, self.blobs_at, self.asked = auth, blobs_at, list[Request]()
        self.port, self.grants, self.status = 0, 0, 0

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    async def handle(self, request: Request) -> Response:
        self.asked.append(request)
        authorization = request.headers.get("authorization")
        if self.status:
            return Response(self.status)
        if request.path == "/token":
            query = parse_qs(request.query)
            if authorization not in (None, BASIC) or (self.auth == "bearer" and authorization is None):
                return Response(401)
            self.grants += 1
            return Response(200, {}, json.dumps({"token": query.get("scope", ["any"])[0]}).encode())
        if request.path.startswith("/elsewhere/"):
            assert authorization is None or self.blobs_at == ""
            return Response(200, {}, chunks(BLOB))
        if self.auth == "basic" and authorization != BASIC:
            return Response(401, {"www-authenticate": 'Basic realm="here"'})
        scope = "repository:team/app:pull" if "/team/app/" in request.path else \
            "repository:team/other:pull" if "/team/other/" in request.path else "any"
        if self.auth in ("bearer", "anonymous") and authorization != f"Bearer {scope}":
            return Response(401, {"www-authenticate": f'Bearer realm="{self.url}/token",service="registry"'})
        match request.path:
            case "/v2/":
                return Response(200, {}, b"{}")
            case "/v2/team/app/manifests/v1":
                assert MANIFEST.media_type in request.headers["accept"]
                return Response(200, {"content-type": MANIFEST.media_type}, MANIFEST.body)
            case "/v2/team/app/blobs/sha256%3Ablob":
                if self.blobs_at:
                    return Response(307, {"location": self.blobs_at})
                return Response(200, {"content-length": str(len(BLOB))}, chunks(BLOB))
        return Response(404, {}, b'{"errors":[]}')


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 100_000):
        yield data[at:at + 100_000]


@asynccontextmanager
async def serving(*registries: Registry) -> AsyncIterator[None]:
    servers = []
    for registry in registries:
        servers.append(Server(registry.handle))
        registry.port = await servers[-1].listen("127.0.0.1", 0)
    try:
        yield
    finally:
        for server in servers:
            await server.close()


def nowhere() -> Upstream:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return Upstream(f"http://127.0.0.1:{closed.getsockname()[1]}")


@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.__name__)
def test_the_fake(case: Callable[[Ground], Awaitable[None]]) -> None:
    world = World(SystemClock())
    for name, login in (("open", None), ("closed", LOGIN)):
        world.upstreams.registries[f"https://{name}.example.com"] = FakeRegistry(
            {("team/app", "v1"): MANIFEST}, {("team/app", "sha256:blob"): BLOB}, login)
    asyncio.run(case(Ground(world.upstreams, Upstream("https://open.example.com"),
                            Upstream("https://closed.example.com", *LOGIN), Upstream("https://away.example.com"))))


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.__name__)
def test_http(case: Callable[[Ground], Awaitable[None]], auth: str) -> None:
    async def scenario() -> None:
        anyone, closed = Registry("anonymous"), Registry(auth)
        async with serving(anyone, closed):
            await case(Ground(LocalUpstreams(), Upstream(anyone.url), Upstream(closed.url, *LOGIN), nowhere()))
    asyncio.run(scenario())


def test_a_token_is_fetched_once_and_again_when_it_is_refused() -> None:
    async def scenario() -> None:
        registry, upstreams = Registry("bearer"), LocalUpstreams()
        async with serving(registry):
            upstream = Upstream(registry.url, *LOGIN)
            for _ in range(3):
                assert await upstreams.manifest(upstream, "team/app", "v1") == MANIFEST
            assert registry.grants == 1
            upstreams._authorizations[upstream, "team/app"] = "Bearer expired"
            assert await upstreams.manifest(upstream, "team/app", "v1") == MANIFEST
            assert registry.grants == 2
    asyncio.run(scenario())


def test_a_redirect_is_followed_and_other_hosts_are_not_told_the_password() -> None:
    async def scenario() -> None:
        store, registry = Registry(), Registry("basic")
        async with serving(store, registry):
            registry.blobs_at = f"http://127.0.0.1:{store.port}/elsewhere/blob?signed=1"
            got = [chunk async for chunk in LocalUpstreams().blob(
                Upstream(registry.url, *LOGIN), "team/app", "sha256:blob")]
            assert b"".join(got) == BLOB
            assert [(request.path, request.query) for request in store.asked] == [("/elsewhere/blob", "signed=1")]
            for target, error in ((f"{registry.url}/v2/team/app/blobs/sha256%3Ablob", "circles"),
                                  ("https://blobs.example.com/x", "not on this machine")):
                registry.blobs_at = target
                with pytest.raises(Refused, match=error):
                    _ = [chunk async for chunk in LocalUpstreams().blob(
                        Upstream(registry.url, *LOGIN), "team/app", "sha256:blob")]
    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["https://registry-1.docker.io", "http://192.0.2.1:5000", "https://10.0.0.1",
                                 "http://[2001:db8::1]"])
def test_nothing_is_asked_of_other_machines(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*arguments: object, **options: object) -> None:
        raise AssertionError("a connection was made")
    monkeypatch.setattr(asyncio, "open_connection", connect)
    with pytest.raises(Refused, match="not on this machine"):
        asyncio.run(LocalUpstreams().check(Upstream(url)))


def test_a_name_that_the_machine_calls_itself_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 registry.example.com # mine\n192.0.2.1 other.example.com\n")
    monkeypatch.setattr(loopback, "HOSTS", hosts)

    async def scenario() -> None:
        registry = Registry()
        async with serving(registry):
            await LocalUpstreams().check(Upstream(f"http://registry.example.com:{registry.port}"))
            assert registry.asked[0].headers["host"] == f"registry.example.com:{registry.port}"
            with pytest.raises(Refused, match="not on this machine"):
                await LocalUpstreams().check(Upstream(f"http://other.example.com:{registry.port}"))
            with pytest.raises((Busy, Refused)):
                await LocalUpstreams().check(Upstream(f"https://registry.example.com:{registry.port}"))
    asyncio.run(scenario())


@pytest.mark.parametrize(("status", "error"), [(403, Refused), (400, Refused), (429, Busy), (500, Busy), (503, Busy)])
def test_other_statuses(status: int, error: type[Exception]) -> None:
    async def scenario() -> None:
        registry = Registry()
        async with serving(registry):
            registry.status = status
            with pytest.raises(error):
                await LocalUpstreams().manifest(Upstream(registry.url), "team/app", "v1")
    asyncio.run(scenario())


@pytest.mark.parametrize(("said", "error"), [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort", Busy), (b"", Busy), (b"SSH-2.0\r\n\r\n", Refused),
    (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300_000, Refused),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n" + b" " * 5_000_000, Refused)])
def test_nonsense(said: bytes, error: type[Exception]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        try:
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass

    async def scenario() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(error):
            await LocalUpstreams().manifest(Upstream(f"http://127.0.0.1:{port}"), "team/app", "v1")
        server.close()
    asyncio.run(scenario())
