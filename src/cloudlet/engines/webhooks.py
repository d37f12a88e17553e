"""Web servers on this machine and on public addresses of the installation: the `Webhooks` port over HTTP and HTTPS."""

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Mapping
from ipaddress import IPv4Network, ip_address
from urllib.parse import unquote

from cloudlet.engines.edge import host_address
from cloudlet.engines.loopback import NotHere, Place, address_of, is_loopback, place_of
from cloudlet.kernel.errors import Busy, Refused
from cloudlet.kernel.site import Site

TIMEOUT_S = 15.0  # https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
HEAD_BYTES_MAX = 64 << 10
# What EC2 calls public addresses: the name says which it is, so that nobody need be asked.
_PUBLIC_NAME = re.compile(r"ec2-(\d+)-(\d+)-(\d+)-(\d+)\.(?:compute-1|[a-z0-9-]+\.compute)\.amazonaws\.com")


class LocalWebhooks:
    """Asks only servers on loopback addresses, and on public ones of the installation by the link that leads to them:
    nothing leaves the machine."""

    def __init__(self, site: Site) -> None:
        self._public, self._host = IPv4Network(site.public_cidr), host_address(site.public_cidr)
        self._link = site.installation.link("host", "edge")

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See `ports.Webhooks`."""
        if not url.isascii() or not url.isprintable() or " " in url:
            raise Refused(f"{url} is no URL of a web server")
        place = place_of(url, "a web server", "web servers", self._find)
        parts, host = place.url, place.host
        lines = [f"POST {place.target} HTTP/1.1", *place.head, f"Content-Length: {len(body)}",
                 *(f"{name}: {value}" for name, value in headers.items())]
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            lines.append("Authorization: Basic " + base64.b64encode(login.encode()).decode())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._status(place, "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body)
        except TimeoutError as error:
            raise Busy(f"{host} did not answer within {TIMEOUT_S:.0f} s") from error
        except ssl.SSLError as error:
            raise Busy(f"the certificate of {host} is not trusted") from error
        except OSError as error:
            raise Busy(f"{host} cannot be reached: {error}") from error
        except (ValueError, asyncio.LimitOverrunError, asyncio.IncompleteReadError) as error:
            raise Busy(f"{host} does not answer as a web server does") from error

    def _find(self, host: str) -> str:
        """The address that a name stands for: a public one of the installation but the host's own, or a loopback one.
        Raises NotHere."""
        named = _PUBLIC_NAME.fullmatch(host)
        text = ".".join(named.groups()) if named else host
        try:
            found = ip_address(text)
        except ValueError:
            return address_of(host)
        if found in self._public and text != self._host:
            return text
        if is_loopback(host):
            return host
        raise NotHere(host)

    async def _status(self, place: Place, request: bytes) -> int:
        sock = await self._connected(place)
        context = ssl.create_default_context() if place.tls_name else None
        reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=place.tls_name,
                                                       limit=HEAD_BYTES_MAX)
        try:
            writer.write(request)
            await writer.drain()
            version, status, *_ = (await reader.readuntil(b"\r\n")).split(b" ")
            if not version.startswith(b"HTTP/1.") or len(status.strip()) != 3:
                raise ValueError(version)
            return int(status)
        finally:
            writer.transport.abort()

    async def _connected(self, place: Place) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in place.address else socket.AF_INET)
        try:
            sock.setblocking(False)
            if not is_loopback(place.address):  # by this link or not at all, whatever routes the host has
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._link.encode())
            await asyncio.get_running_loop().sock_connect(sock, (place.address, place.port))
        except BaseException:
            sock.close()
            raise
        return sock
