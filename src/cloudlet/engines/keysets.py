"""The keys of OpenID Connect providers on this machine: the `KeySets` port over HTTPS.

https://openid.net/specs/openid-connect-discovery-1_0.html
"""

import asyncio
import hashlib
import ssl

import msgspec

from cloudlet.engines.loopback import Place, place_of
from cloudlet.kernel.errors import Busy, Refused

TIMEOUT_S, BYTES_MAX = 5.0, 1 << 20


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class LocalKeySets:
    """Asks only providers on loopback addresses: nothing leaves the machine."""

    async def fetch(self, issuer: str, thumbprints: tuple[str, ...]) -> str:
        """See `ports.KeySets`."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                found = await _get(f"{issuer.rstrip('/')}/.well-known/openid-configuration", thumbprints)
                discovery = msgspec.json.decode(found, type=_Discovery)
                if discovery.issuer != issuer:
                    raise Refused(f"{issuer} says that it is {discovery.issuer[:255]}")
                return (await _get(discovery.jwks_uri, thumbprints)).decode()
        except TimeoutError as error:
            raise Busy(f"{issuer} did not answer within {TIMEOUT_S:.0f} s") from error
        except ssl.SSLError as error:
            raise Refused(f"the certificate of {issuer} is not trusted, and is none of its thumbprints") from error
        except OSError as error:
            raise Busy(f"{issuer} cannot be reached: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(f"{issuer} did not answer with an OpenID Connect configuration") from error


async def _get(url: str, thumbprints: tuple[str, ...]) -> bytes:
    place = place_of(url, "an identity provider", "identity providers")
    if place.tls_name is None:
        raise Refused(f"{url} is not an https URL")
    lines = [f"GET {place.target} HTTP/1.0", *place.head, "Accept: application/json"]
    reader, writer = await _connect(place, thumbprints)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        await writer.drain()
        answer = await reader.read(BYTES_MAX)
        while len(answer) < BYTES_MAX and (more := await reader.read(BYTES_MAX - len(answer))):
            answer += more
    finally:
        writer.transport.abort()
    status, _, rest = answer.partition(b"\r\n")
    if status.split(b" ")[1:2] != [b"200"]:
        raise Refused(f"{url} answered {status[:64].decode('latin-1')}")
    return rest.partition(b"\r\n\r\n")[2]


async def _connect(place: Place, thumbprints: tuple[str, ...]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to whom the machine's certificates, or the thumbprints, vouch for."""
    try:
        return await asyncio.open_connection(place.address, place.port, ssl=ssl.create_default_context(),
                                             server_hostname=place.tls_name)
    except ssl.SSLCertVerificationError:
        if not thumbprints:
            raise
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the thumbprint is compared instead
    reader, writer = await asyncio.open_connection(place.address, place.port, ssl=context,
                                                   server_hostname=place.tls_name)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    if hashlib.sha1(certificate or b"").hexdigest() not in {text.lower() for text in thumbprints}:
        writer.transport.abort()
        raise ssl.SSLError("no thumbprint fits")
    return reader, writer
