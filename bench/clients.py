"""A client that costs little: signed requests of AWS's JSON and query protocols over one kept connection."""

import asyncio
import datetime
import hashlib
import hmac
from typing import Any
from urllib.parse import urlencode

import httptools
import msgspec

ACCESS_KEY, SECRET, REGION = "test", "test", "us-east-1"
SIGNED = "content-type;host;x-amz-date"
PREFIXES, VERSIONS = {"sqs": "AmazonSQS"}, {"sns": "2010-03-31"}

_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict[str, Any]).decode


class Signer:
    """Signs requests of one service to one port by SigV4, with the time at which it was made."""

    def __init__(self, service: str, port: int) -> None:
        self.host, self._service = f"127.0.0.1:{port}", service
        self._stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        self._scope = f"{self._stamp[:8]}/{REGION}/{service}/aws4_request"
        key = f"AWS4{SECRET}".encode()
        for part in self._scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._mac = hmac.new(key, digestmod="sha256")
        self._known: dict[str, tuple[Any, str]] = {}

    def json(self, operation: str, members: dict[str, Any]) -> tuple[str, bytes]:
        """Head and body of a JSON request."""
        return self._signed("application/x-amz-json-1.0", _encode(members), f"{PREFIXES[self._service]}.{operation}")

    def query(self, operation: str, **parameters: str) -> tuple[str, bytes]:
        """Head and body of a form."""
        body = urlencode({"Action": operation, "Version": VERSIONS[self._service], **parameters})
        return self._signed("application/x-www-form-urlencoded", body.encode(), "")

    def _signed(self, kind: str, body: bytes, target: str) -> tuple[str, bytes]:
        known = self._known.get(target)
        if known is None:
            known = self._known[target] = self._begun(kind, target)
        canonical, head = known[0].copy(), known[1]
        canonical.update(hashlib.sha256(body).hexdigest().encode())
        mac = self._mac.copy()
        mac.update(f"AWS4-HMAC-SHA256\n{self._stamp}\n{self._scope}\n{canonical.hexdigest()}".encode())
        return f"{head}{mac.hexdigest()}\r\nContent-Length: {len(body)}\r\n", body

    def _begun(self, kind: str, target: str) -> tuple[Any, str]:
        """What all requests of an operation begin with: the digest of what is signed, and the head."""
        named = SIGNED + ";x-amz-target" if target else SIGNED
        canonical = "\n".join((
            "POST", "/", "", f"content-type:{kind}", f"host:{self.host}", f"x-amz-date:{self._stamp}",
            *([f"x-amz-target:{target}"] if target else ()), "", named, ""))
        return hashlib.sha256(canonical.encode()), "".join((
            f"Host: {self.host}\r\nContent-Type: {kind}\r\nX-Amz-Date: {self._stamp}\r\n",
            f"X-Amz-Target: {target}\r\n" if target else "", f"Authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/"
            f"{self._scope}, SignedHeaders={named}, Signature="))


class Client(asyncio.Protocol):
    """One connection, made anew where the server ends it."""

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._parser: Any = None
        self._body = b""

    async def ask(self, operation: str, **members: Any) -> dict[str, Any]:
        """What a JSON operation answers; fails unless that is a success."""
        answer = await self.send(*self.signer.json(operation, members))
        return _decode(answer) if answer else {}

    async def send(self, head: str, body: bytes) -> bytes:
        """What a request is answered; fails unless that is a success."""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            host, _, port = self.signer.host.partition(":")
            await loop.create_connection(lambda: self, host, int(port))
            self._parser = httptools.HttpResponseParser(self)
        assert self._transport is not None
        self._answer, self._body = loop.create_future(), b""
        self._transport.write(f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body)
        return await self._answer

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.abort()

    # what the transport and the parser call

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
            self._transport = None
        status = self._parser.get_status_code()
        if status == 200:
            self._answer.set_result(self._body)
        else:
            self._answer.set_exception(AssertionError(f"{status}: {self._body!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._answer.done():
            self._answer.set_exception(AssertionError("the connection ended"))
