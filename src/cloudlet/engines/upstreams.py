"""Image registries on this machine: the `Upstreams` port over HTTP and HTTPS.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md and, for the tokens that most registries want,
https://distribution.github.io/distribution/spec/auth/token/
"""

import asyncio
import base64
import re
import ssl
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote, urlencode, urljoin, urlsplit

import httptools
import msgspec

from cloudlet.engines.loopback import place_of
from cloudlet.engines.ports import Upstream, UpstreamManifest
from cloudlet.kernel.errors import Busy, Refused

CONNECT_S, STALL_S = 5.0, 60.0
READ_BYTES = 256 << 10
MANIFEST_BYTES_MAX, TOKEN_BYTES_MAX, HEAD_BYTES_MAX = 4 << 20, 1 << 20, 1 << 20
REDIRECTS_MAX, AUTHORIZATIONS_MAX = 5, 200
ACCEPT = ", ".join(("application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
                    "application/vnd.docker.distribution.manifest.list.v2+json",
                    "application/vnd.docker.distribution.manifest.v2+json"))
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class LocalUpstreams:
    """Asks only registries on loopback addresses: nothing leaves the machine."""

    def __init__(self) -> None:
        # By registry and repository, so that one image costs one token and not one for each layer.
        self._authorizations: OrderedDict[tuple[Upstream, str], str] = OrderedDict()

    async def check(self, upstream: Upstream) -> None:
        """See `ports.Upstreams`."""
        async with self._get(upstream, "", "/v2/"):
            pass

    async def manifest(self, upstream: Upstream, repository: str, reference: str) -> UpstreamManifest | None:
        """See `ports.Upstreams`."""
        async with self._get(upstream, repository, f"/v2/{quote(repository)}/manifests/{quote(reference)}") as answer:
            if answer.status == 404:
                return None
            media_type = answer.headers.get("content-type", "")
            return UpstreamManifest(media_type, await answer.read(MANIFEST_BYTES_MAX))

    async def blob(self, upstream: Upstream, repository: str, digest: str) -> AsyncGenerator[bytes, None]:
        """See `ports.Upstreams`."""
        async with self._get(upstream, repository, f"/v2/{quote(repository)}/blobs/{quote(digest)}") as answer:
            if answer.status == 404:
                raise Refused(f"{upstream.url} does not have the blob {digest} of {repository}")
            async for chunk in answer:
                yield chunk

    @asynccontextmanager
    async def _get(self, upstream: Upstream, repository: str, path: str) -> "AsyncIterator[_Answer]":
        """The answer to a GET: status 200 or 404, after whatever authorization the registry wanted."""
        key = (upstream, repository)
        for attempt in range(2):
            known = self._authorizations.get(key)
            async with _follow(upstream.url + path, {"Accept": ACCEPT, **({"Authorization": known} if known else {})},
                               ) as answer:
                if answer.status != 401:
                    _require_good(answer, upstream)
                    yield answer
                    return
                challenge = answer.headers.get("www-authenticate", "")
            self._authorizations.pop(key, None)
            if attempt == 0:
                self._authorizations[key] = await _authorization(upstream, challenge, repository)
                if len(self._authorizations) > AUTHORIZATIONS_MAX:
                    self._authorizations.popitem(last=False)
        raise Refused(f"{upstream.url} does not accept the credentials")


def _require_good(answer: "_Answer", upstream: Upstream) -> None:
    if answer.status == 429 or answer.status >= 500:
        raise Busy(f"{upstream.url} answered with status {answer.status}")
    if answer.status not in (200, 404):
        raise Refused(f"{upstream.url} refused with status {answer.status}")


async def _authorization(upstream: Upstream, challenge: str, repository: str) -> str:
    """What to send after a 401: the credentials, or a token that they (or nobody's) are exchanged for."""
    scheme, asked = challenge.partition(" ")[0].lower(), dict(_PARAMETER.findall(challenge))
    basic = "Basic " + base64.b64encode(f"{upstream.username}:{upstream.password}".encode()).decode()
    if scheme == "basic" and upstream.username:
        return basic
    if scheme != "bearer" or "realm" not in asked:
        raise Refused(f"{upstream.url} asks for credentials")
    scope = {"scope": f"repository:{repository}:pull"} if repository else {}
    query = urlencode({**({"service": asked["service"]} if "service" in asked else {}), **scope})
    url = f"{asked['realm']}{'&' if '?' in asked['realm'] else '?'}{query}"
    async with _follow(url, {"Authorization": basic} if upstream.username else {}) as answer:
        if answer.status in (400, 401, 403):
            raise Refused(f"{upstream.url} does not accept the credentials")
        _require_good(answer, upstream)
        try:
            found = msgspec.json.decode(await answer.read(TOKEN_BYTES_MAX), type=dict[str, object])
        except msgspec.DecodeError:
            raise Refused(f"{upstream.url} has a token server that says nothing of use") from None
    token = found.get("token") or found.get("access_token")
    if not isinstance(token, str) or not token.isascii() or "\n" in token or "\r" in token:
        raise Refused(f"{upstream.url} has a token server that gives no token")
    return f"Bearer {token}"


@asynccontextmanager
async def _follow(url: str, headers: Mapping[str, str]) -> "AsyncIterator[_Answer]":
    """The answer to a GET, redirects followed; another host is not told the authorization."""
    first = urlsplit(url).netloc
    for _ in range(REDIRECTS_MAX + 1):
        kept = headers if urlsplit(url).netloc == first else \
            {name: value for name, value in headers.items() if name != "Authorization"}
        async with _ask(url, kept) as answer:
            location = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or location is None:
                yield answer
                return
        url = urljoin(url, location)
    raise Refused(f"{first} redirects in circles")


@asynccontextmanager
async def _ask(url: str, headers: Mapping[str, str]) -> "AsyncIterator[_Answer]":
    """One request on a connection of its own. The world's errors are raised as ours, those of reading too."""
    place = place_of(url, "a registry", "registries")
    host = place.host
    lines = [f"GET {place.target} HTTP/1.1", *place.head, *(f"{name}: {value}" for name, value in headers.items())]
    tls = ssl.create_default_context() if place.tls_name else None
    writer = None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                place.address, place.port, ssl=tls, server_hostname=place.tls_name)
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        answer = _Answer(reader)
        await answer.begin()
        yield answer
    except TimeoutError as error:
        raise Busy(f"{host} did not answer in time") from error
    except ssl.SSLError as error:
        raise Refused(f"the certificate of {host} is not trusted") from error
    except OSError as error:
        raise Busy(f"{host} cannot be reached: {error}") from error
    except httptools.HttpParserError as error:
        raise Refused(f"{host} does not speak HTTP") from error
    finally:
        if writer is not None:
            writer.transport.abort()


class _Answer:
    """An answer as it arrives: status and headers, then the body."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.status, self.headers = 0, dict[str, str]()
        self._reader, self._parser = reader, httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._headed = self._ended = False

    async def begin(self) -> None:
        """Until the headers are here. Refused where there are too many of them."""
        size = 0
        while not self._headed:
            size += await self._more()
            if size > HEAD_BYTES_MAX:
                raise Refused("the answer's head is too long")

    async def read(self, limit: int) -> bytes:
        """All of the body. Refused where there is more of it."""
        body = b""
        async for chunk in self:
            body += chunk
            if len(body) > limit:
                raise Refused(f"the answer has more than {limit} bytes")
        return body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            parts, self._parts = self._parts, []
            for part in parts:
                yield part
            if self._ended:
                return
            await self._more()

    async def _more(self) -> int:
        async with asyncio.timeout(STALL_S):
            data = await self._reader.read(READ_BYTES)
        if not data:
            raise ConnectionResetError("the connection broke off")
        self._parser.feed_data(data)
        return len(data)

    # what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """All headers."""
        self.status, self._headed = self._parser.get_status_code(), True

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """The end."""
        self._ended = True
