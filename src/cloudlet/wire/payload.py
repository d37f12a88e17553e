"""Bodies that are verified while they stream: digests, checksums, and the signed chunks of `aws-chunked`.

A verified body raises an AwsError from its iterator where something does not fit; so whoever reads one must keep
nothing of it before its end. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping

from cloudlet.kernel.errors import declare
from cloudlet.kernel.http import Body, BodyTruncated
from cloudlet.wire.digests import ALGORITHMS, HEADER, Digest
from cloudlet.wire.faults import Faults
from cloudlet.wire.sigv4 import STREAMING, UNSIGNED, Signed

SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

LINE_MAX = 4096  # bytes of a chunk's header or a trailer
TRAILERS_MAX = 16
PIECE = 256 * 1024

BadDigest = declare("BadDigest")
InvalidDigest = declare("InvalidDigest", "The Content-MD5 you specified was invalid.")
InvalidRequest = declare("InvalidRequest")
IncompleteBody = declare(
    "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
InvalidChunk = declare("InvalidChunkSizeError", "The chunk is not as aws-chunked requires")
MissingContentLength = declare("MissingContentLength", "You must provide the Content-Length HTTP header.", status=411)

_EMPTY = hashlib.sha256().hexdigest()


def is_chunked(signed: Signed) -> bool:
    """Whether the body comes as `aws-chunked`."""
    return (signed.payload or "").startswith(STREAMING)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def verified_whole(data: bytes, signed: Signed, headers: Mapping[str, str], faults: Faults, limit: int) -> bytes:
    """The same for a body that was read whole."""
    return await verified(Body(_once(data), len(data)), signed, headers, faults).read(limit)


def verified(body: Body, signed: Signed, headers: Mapping[str, str], faults: Faults) -> Body:
    """The body that the customer meant, verified as it is read. Raises AwsError for what can be seen beforehand."""
    checks = _expected(headers)
    said = signed.payload
    if said is not None and said.startswith(STREAMING):
        body = _Chunks(body, signed, headers, faults, checks)
    elif said is not None and said != UNSIGNED:
        checks.append(_Check("sha256", hashlib.sha256(), bytes.fromhex(said), faults.body_mismatch or faults.mismatch))
    return _Checked(body, checks)


class _Check:
    """A checksum and what it should come to (None: not known yet, a trailer says it)."""

    def __init__(self, name: str, digest: Digest, expected: bytes | None, error: type[Exception] | None = None) -> None:
        self.name, self.digest, self.expected, self._error = name, digest, expected, error

    def settle(self) -> None:
        """Raises unless the bytes came to what was announced."""
        if self.expected is None or hmac.compare_digest(self.digest.digest(), self.expected):
            return
        if self._error:
            raise self._error()
        what = "Content-MD5" if self.name == "content-md5" else self.name.upper()
        raise BadDigest(f"The {what} you specified did not match the calculated checksum.")


def _expected(headers: Mapping[str, str]) -> list[_Check]:
    checks = [_check_of(name.removeprefix(HEADER), value) for name, value in headers.items()
              if name.startswith(HEADER) and name not in (HEADER + "algorithm", HEADER + "type", HEADER + "mode")]
    if "content-md5" in headers:
        checks.append(_Check("content-md5", hashlib.md5(), _decoded(headers["content-md5"], 16)))
    return checks


def _check_of(algorithm: str, value: str | None) -> _Check:
    if algorithm not in ALGORITHMS:
        raise InvalidRequest(f"Value for {HEADER}{algorithm[:32]} header is invalid: no such checksum is known here.")
    digest = ALGORITHMS[algorithm]()
    return _Check(algorithm, digest, None if value is None else _decoded(value, len(digest.digest()), algorithm))


def _decoded(value: str, size: int, algorithm: str = "") -> bytes:
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != size:
        raise InvalidRequest(f"Value for {HEADER}{algorithm} header is invalid.") if algorithm else InvalidDigest()
    return found


class _Checked(Body):
    """A body with checksums that are settled at its end."""

    def __init__(self, body: Body, checks: list[_Check]) -> None:
        super().__init__(self._iterate(body, checks), body.length)

    async def _iterate(self, body: Body, checks: list[_Check]) -> AsyncIterator[bytes]:
        try:
            async for data in body:
                for check in checks:
                    check.digest.update(data)
                yield data
        except BodyTruncated:
            raise IncompleteBody() from None
        for check in checks:
            check.settle()


class _Chunks(Body):
    """The bytes within `aws-chunked`, each chunk's signature verified before the next is read."""

    def __init__(self, source: Body, signed: Signed, headers: Mapping[str, str], faults: Faults,
                 checks: list[_Check]) -> None:
        if signed.payload not in (SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER):
            raise InvalidRequest(f"The value of x-amz-content-sha256 header is invalid: {(signed.payload or '')[:64]}")
        length = headers.get("x-amz-decoded-content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 19):
            raise MissingContentLength()
        super().__init__(self._iterate(), int(length))
        self._source, self._buffer = aiter(source), b""
        self._signed, self._faults, self._previous = signed, faults, signed.signature
        self._is_signed = signed.payload != UNSIGNED_CHUNKS_TRAILER
        self._trailers = {name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",") if name.strip()}
        self._late = {name: _check_of(name.removeprefix(HEADER), None) for name in self._trailers
                      if name.startswith(HEADER)}
        checks.extend(self._late.values())

    async def _iterate(self) -> AsyncIterator[bytes]:
        left = self.length or 0
        while True:
            size, signature = self._header(await self._line())
            digest = hashlib.sha256() if self._is_signed else None
            left -= size
            if left < 0:
                raise IncompleteBody()
            async for piece in self._exactly(size):
                if digest:
                    digest.update(piece)
                yield piece
            if digest:
                self._verify("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY}\n{digest.hexdigest()}", signature)
            if size == 0:
                break
            if await self._line() != b"":
                raise InvalidChunk()
        if left:
            raise IncompleteBody()
        await self._read_trailers()

    def _header(self, line: bytes) -> tuple[int, str]:
        size, _, signature = line.partition(b";chunk-signature=")
        if not 0 < len(size) <= 16 or self._is_signed != bool(signature):
            raise InvalidChunk()
        try:
            return int(size, 16), signature.decode("ascii")
        except ValueError:
            raise InvalidChunk() from None

    async def _read_trailers(self) -> None:
        found: dict[str, str] = {}
        signature = None
        while self._signed.payload != SIGNED_CHUNKS:
            line = (await self._line()).decode("latin-1")
            if not line or len(found) > TRAILERS_MAX:
                break
            name, _, value = line.partition(":")
            if name.lower() == "x-amz-trailer-signature":
                signature = value.strip()
            else:
                found[name.strip().lower()] = value.strip()
        if found.keys() != self._trailers:
            raise InvalidRequest("The trailers are not those that the x-amz-trailer header announced.")
        if self._is_signed and self._signed.payload == SIGNED_CHUNKS_TRAILER:
            text = "".join(f"{name}:{value}\n" for name, value in sorted(found.items()))
            self._verify("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(text.encode()).hexdigest(), signature or "")
        for name, check in self._late.items():
            check.expected = _decoded(found[name], len(check.digest.digest()), check.name)

    def _verify(self, kind: str, rest: str, signature: str) -> None:
        signed = self._signed
        text = f"{kind}\n{signed.stamp}\n{signed.scope.text}\n{self._previous}\n{rest}"
        expected = hmac.new(signed.key, text.encode(), "sha256").hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise self._faults.mismatch()
        self._previous = expected

    async def _more(self) -> bool:
        data = await anext(self._source, b"")
        self._buffer += data
        return bool(data)

    async def _line(self) -> bytes:
        while True:
            line, found, rest = self._buffer.partition(b"\r\n")
            if found:
                self._buffer = rest
                return line
            if len(self._buffer) > LINE_MAX:
                raise InvalidChunk()
            if not await self._more():
                if self._buffer:
                    raise IncompleteBody()
                return b""

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            if not self._buffer and not await self._more():
                raise IncompleteBody()
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece
