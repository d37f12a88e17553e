"""A mail server on loopback that does as a test tells it: RFC 5321, with STARTTLS and AUTH PLAIN."""

import asyncio
import base64
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server called localhost, with a certificate of its own, and for clients that trust it."""
    key, day = ec.generate_private_key(ec.SECP256R1()), datetime.timedelta(days=1)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
                   .sign(key, hashes.SHA256()))
    public = certificate.public_bytes(serialization.Encoding.PEM)
    pem = directory / "mail.pem"
    pem.write_bytes(public + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cadata=public.decode())


@dataclass
class MailServer:
    """`answers` has the answer to a command where it is not the usual one ("" for none at all); `mails` are those that
    were taken: sender, recipient and text."""

    answers: dict[str, str] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    login: str = ""
    mails: list[tuple[str, str, bytes]] = field(default_factory=list)
    port: int = 0

    @asynccontextmanager
    async def running(self, *, tls: bool = False) -> AsyncIterator["MailServer"]:
        """Listens; over TLS from the beginning, where that is wanted."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context if tls else None)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender = recipient = ""
        await self._say(writer, "hello", "220 here")
        while line := (await reader.readline()).decode().strip():
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    await self._say(writer, "EHLO", "250-here\r\n" + ("250-STARTTLS\r\n" if self.context else "")
                                    + "250-SMTPUTF8\r\n250-8BITMIME\r\n250 AUTH PLAIN")
                case "STARTTLS":
                    await self._say(writer, "STARTTLS", "220 go on")
                    await writer.start_tls(self.context)  # type: ignore[arg-type]
                case "AUTH":
                    right = base64.b64encode(f"\0{self.login}".encode()).decode() == rest.partition(" ")[2]
                    await self._say(writer, "AUTH", "235 welcome" if right else "535 who are you")
                case "MAIL":
                    sender = rest[rest.index("<") + 1:rest.index(">")]
                    await self._say(writer, "MAIL", "250 ok")
                case "RCPT":
                    recipient = rest[rest.index("<") + 1:rest.index(">")]
                    await self._say(writer, "RCPT", "250 ok")
                case "DATA":
                    await self._say(writer, "DATA", "354 go on")
                    text = (await reader.readuntil(b"\r\n.\r\n"))[:-3].replace(b"\r\n..", b"\r\n.")
                    if await self._say(writer, "text", "250 taken"):
                        self.mails.append((sender, recipient, text))
                case _:
                    await self._say(writer, verb, "250 ok")

    async def _say(self, writer: asyncio.StreamWriter, to: str, usual: str) -> bool:
        """Answers; whether as usual."""
        answer = self.answers.get(to, usual)
        if not answer:
            await asyncio.Event().wait()
        writer.write(f"{answer}\r\n".encode())
        await writer.drain()
        return answer == usual
