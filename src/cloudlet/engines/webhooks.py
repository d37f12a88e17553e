"""Web servers on this machine: the `Webhooks` port over HTTP and HTTPS."""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from urllib.parse import unquote

from cloudlet.engines.loopback import Place, place_of
from cloudlet.kernel.errors import Busy, Refused

TIMEOUT_S = 15.0  # https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
HEAD_BYTES_MAX = 64 << 10


class LocalWebhooks:
    """Asks only servers on loopback addresses: nothing leaves the machine."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See `ports.Webhooks`."""
        if not url.isascii() or not url.isprintable() or " " in url:
            raise Refused(f"{url} is no URL of a web server")
        place = place_of(url, "a web server", "web servers")
        parts, host = place.url, place.host
        lines = [f"POST {place.target} HTTP/1.1", *place.head, f"Content-Length: {len(body)}",
                 *(f"{name}: {value}" for name, value in headers.items())]
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            lines.append("Authorization: Basic " + base64.b64encode(login.encode()).decode())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await _status(place, "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body)
        except TimeoutError as error:
            raise Busy(f"{host} did not answer within {TIMEOUT_S:.0f} s") from error
        except ssl.SSLError as error:
            raise Busy(f"the certificate of {host} is not trusted") from error
        except OSError as error:
            raise Busy(f"{host} cannot be reached: {error}") from error
        except (ValueError, asyncio.LimitOverrunError, asyncio.IncompleteReadError) as error:
            raise Busy(f"{host} does not answer as a web server does") from error


async def _status(place: Place, request: bytes) -> int:
    context = ssl.create_default_context() if place.tls_name else None
    reader, writer = await asyncio.open_connection(place.address, place.port, ssl=context,
                                                   server_hostname=place.tls_name, limit=HEAD_BYTES_MAX)
    try:
        writer.write(request)
        await writer.drain()
        version, status, *_ = (await reader.readuntil(b"\r\n")).split(b" ")
        if not version.startswith(b"HTTP/1.") or len(status.strip()) != 3:
            raise ValueError(version)
        return int(status)
    finally:
        writer.transport.abort()
