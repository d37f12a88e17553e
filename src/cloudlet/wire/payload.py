"""Bodies that are verified while they stream: digests, checksums, and the signed chunks of `aws-chunked`.

A verified body raises an AwsError from its iterator where something does not fit, at the latest after its last piece;
so whoever reads one must keep nothing of it before its end. What was computed for that stands in its `digests`.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

from cloudlet.kernel.digests import ALGORITHMS, HEADER, INLINE_BYTES, Bytes, update
from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.http import Body, BodyTruncated, Take
from cloudlet.wire.faults import Faults
from cloudlet.wire.sigv4 import STREAMING, UNSIGNED, Signed

SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

CHOSEN = "x-amz-sdk-checksum-algorithm"

LINE_MAX = 4096  # bytes of a chunk's header or a trailer
TRAILERS_MAX = 16

BadDigest = declare("BadDigest")
InvalidDigest = declare("InvalidDigest", "The Content-MD5 you specified was invalid.")
InvalidRequest = declare("InvalidRequest")
IncompleteBody = declare(
    "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
InvalidChunk = declare("InvalidChunkSizeError", "The chunk is not as aws-chunked requires")
MalformedTrailer = declare(
    "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our"
    " published schema.")
MissingContentLength = declare("MissingContentLength", "You must provide the Content-Length HTTP header.", status=411)

_EMPTY = hashlib.sha256().hexdigest()
_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")


def is_chunked(signed: Signed) -> bool:
    """Whether the body comes as `aws-chunked`."""
    return (signed.payload or "").startswith(STREAMING)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def verified_whole(data: bytes, signed: Signed, headers: Mapping[str, str], faults: Faults, limit: int, *,
                         says_checksums: bool = True) -> bytes:
    """The same for a body that was read whole."""
    body = verified(Body(_once(data), len(data)), signed, headers, faults, says_checksums=says_checksums)
    return await body.read(limit)


def verified(body: Body, signed: Signed, headers: Mapping[str, str], faults: Faults, *,
             says_checksums: bool = True) -> Body:
    """The body that the customer meant, verified as it is read. Raises AwsError for what can be seen beforehand.

    `says_checksums`: whether x-amz-checksum-… headers speak of the body; those of CompleteMultipartUpload do not.
    """
    claims, said = _announced(headers, says_checksums), signed.payload
    if said is not None and said.startswith(STREAMING):
        return _Chunks(body, signed, headers, faults, claims)
    if said is not None and said != UNSIGNED:
        claims.append(_Claim("sha256", bytes.fromhex(said), faults.body_mismatch or faults.mismatch))
    return _Plain(body, claims)


def require_checksum(headers: Mapping[str, str]) -> None:
    """Raises unless a request says a checksum of its body in one way or another."""
    if "content-md5" not in headers and not _said(headers) and not _late(headers):
        raise InvalidRequest(f"Missing required header for this request: Content-MD5 OR {HEADER}*")


class _Claim:
    """What a client says that a digest comes to (None: not known yet, a trailer says it)."""

    def __init__(self, algorithm: str, expected: bytes | None, error: Callable[[], AwsError],
                 is_checksum: bool = False) -> None:
        self.algorithm, self.expected, self._error, self.is_checksum = algorithm, expected, error, is_checksum

    def settle(self, actual: bytes) -> None:
        """Raises unless the bytes came to what was announced."""
        if self.expected is not None and not hmac.compare_digest(actual, self.expected):
            raise self._error()


def _said(headers: Mapping[str, str]) -> list[str]:
    """The algorithms of the checksums in the headers, and whatever else is said in their place."""
    found = [name.removeprefix(HEADER) for name in headers if name.startswith(HEADER)]
    return [name for name in found if name not in ("algorithm", "type", "mode")]


def _late(headers: Mapping[str, str]) -> list[str]:
    """The same of the checksums that a trailer will say."""
    return [name.removeprefix(HEADER) for name in _trailers(headers) if name.startswith(HEADER)]


def _trailers(headers: Mapping[str, str]) -> set[str]:
    return {name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",") if name.strip()}


def _announced(headers: Mapping[str, str], says_checksums: bool) -> list["_Claim"]:
    claims = []
    if says_checksums:
        said, late = _said(headers), _late(headers)
        claims = [_claim_of(name, headers[HEADER + name]) for name in said]
        if len(said) + len(late) > 1:
            raise InvalidRequest(f"Expecting a single {HEADER} header. Multiple checksum Types are not allowed.")
        _check_chosen(headers, said or late)
    if "content-md5" in headers:
        claims.append(_Claim("md5", _decoded(headers["content-md5"], "md5"), _md5_differs))
    return claims


def _check_chosen(headers: Mapping[str, str], said: list[str]) -> None:
    """Raises where the header that names the algorithm speaks of another than the one whose value is there."""
    chosen = headers.get(CHOSEN, "").lower()
    if not chosen:
        return
    if chosen not in ALGORITHMS:
        raise InvalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid"
                             f" types: [{', '.join(ALGORITHMS).upper()}]")
    if not said and "content-md5" not in headers:
        raise InvalidRequest(f"{CHOSEN} specified, but no corresponding {HEADER}* or x-amz-trailer headers were found.")
    if said and said != [chosen]:
        raise InvalidRequest(f"Value for {CHOSEN} header is invalid.")


def _claim_of(algorithm: str, value: str | None) -> _Claim:
    if algorithm not in ALGORITHMS:
        raise InvalidRequest(f"The algorithm type you specified in {HEADER} header is invalid.")
    expected = None if value is None else _decoded(value, algorithm, f"{HEADER}{algorithm} header")
    return _Claim(algorithm, expected, _bad_digest(algorithm.upper()), is_checksum=True)


def _bad_digest(what: str) -> Callable[[], AwsError]:
    return lambda: BadDigest(f"The {what} you specified did not match the calculated checksum.")


def _md5_differs() -> AwsError:
    return BadDigest("The Content-MD5 you specified did not match what we received.")


def _decoded(value: str, algorithm: str, place: str = "") -> bytes:
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != len(ALGORITHMS[algorithm]().digest()):
        raise InvalidRequest(f"Value for {place} is invalid.") if place else InvalidDigest()
    return found


class _Verified(Body):
    """A body whose digests are compared with what was announced once it has ended."""

    def __init__(self, chunks: AsyncIterator[bytes], length: int | None, claims: list[_Claim]) -> None:
        super().__init__(chunks, length)
        self._claims = claims
        self.want(*(claim.algorithm for claim in claims))
        self.checksum = next((claim.algorithm for claim in claims if claim.is_checksum), "")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._settled(super().__aiter__())

    async def _settled(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for data in chunks:
                yield data
        except BodyTruncated:
            raise IncompleteBody() from None
        self._settle()

    def _settle(self) -> None:
        for claim in self._claims:
            claim.settle(self.digests[claim.algorithm])


class _Plain(_Verified):
    """One whose bytes come as they are."""

    def __init__(self, source: Body, claims: list[_Claim]) -> None:
        super().__init__(aiter(source), source.length, claims)
        self._source = source

    async def read(self, limit: int) -> bytes:
        """See Body: a small one goes no long way."""
        if self.length is None or self.length > INLINE_BYTES:
            return await super().read(limit)
        try:
            data = await self._source.read(limit)
        except BodyTruncated:
            raise IncompleteBody() from None
        update(self._wanted.values(), data)
        self._digest_and_settle()
        return data

    async def pour(self, take: Take) -> int:
        """See Body: digests are computed in the thread that takes the bytes, while the processor has them at hand."""
        digests = tuple(self._wanted.values())

        def digest_and_take(data: memoryview) -> None:
            update(digests, data)
            take(data)
        try:
            size = await self._source.pour(digest_and_take)
        except BodyTruncated:
            raise IncompleteBody() from None
        self._digest_and_settle()
        return size

    def _digest_and_settle(self) -> None:
        for name, digest in self._wanted.items():
            self.digests[name] = digest.digest()
        self._settle()


class _Signatures:
    """The signatures of a body's chunks, to be fed with the bytes within them as if it were a digest."""

    def __init__(self, signed: Signed, faults: Faults) -> None:
        self._signed, self._faults, self._previous = signed, faults, signed.signature
        self._chunks: deque[tuple[int, str]] = deque()  # sizes and signatures of those that were not verified yet
        self._digest, self._size = hashlib.sha256(), 0  # of the first of them, as far as it came

    def expect(self, size: int, signature: str) -> None:
        """A chunk begins; call it before its bytes are fed."""
        self._chunks.append((size, signature))

    def update(self, data: Bytes, /) -> None:
        """Takes the bytes of chunks. Raises where a chunk that ended is not what was signed."""
        rest = memoryview(data)
        while rest:
            size, signature = self._chunks[0]
            part = rest[:size - self._size]
            rest = rest[len(part):]
            self._digest.update(part)
            self._size += len(part)
            if self._size == size:
                self._end(signature)

    def digest(self) -> bytes:
        """Verifies the last chunk, which is empty; no digest of anything."""
        self._end(self._chunks[0][1])
        return b""

    def _end(self, signature: str) -> None:
        self.verify("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY}\n{self._digest.hexdigest()}", signature)
        self._chunks.popleft()
        self._digest, self._size = hashlib.sha256(), 0

    def verify(self, kind: str, rest: str, signature: str) -> None:
        """Raises unless a signature follows the one before it."""
        signed = self._signed
        text = f"{kind}\n{signed.stamp}\n{signed.scope.text}\n{self._previous}\n{rest}"
        expected = hmac.digest(signed.key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise self._faults.mismatch()
        self._previous = expected


class _Chunks(_Verified):
    """The bytes within `aws-chunked`; signatures of chunks are verified within a piece (`kernel.digests`) of them."""

    def __init__(self, source: Body, signed: Signed, headers: Mapping[str, str], faults: Faults,
                 claims: list[_Claim]) -> None:
        if signed.payload not in (SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER):
            raise InvalidRequest(f"The value of x-amz-content-sha256 header is invalid: {(signed.payload or '')[:64]}")
        length = headers.get("x-amz-decoded-content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 19):
            raise MissingContentLength()
        self._trailers = _trailers(headers)
        self._late = {name: _claim_of(name, None) for name in _late(headers)}
        super().__init__(self._unchunked(), int(length), [*claims, *self._late.values()])
        self._source, self._data, self._at = aiter(source), b"", 0  # what came last, and how far it was read
        self._has_trailers = signed.payload != SIGNED_CHUNKS
        self._signatures = None if signed.payload == UNSIGNED_CHUNKS_TRAILER else _Signatures(signed, faults)
        self._trailer = ""  # those that came, as they are signed
        if self._signatures:
            self._wanted["signatures"] = self._signatures

    async def _settled(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in super()._settled(chunks):
            yield data
        if self._signatures and self._has_trailers:
            digest = hashlib.sha256(self._trailer.encode()).hexdigest()
            self._signatures.verify("AWS4-HMAC-SHA256-TRAILER", digest, self._trailer_signature)

    async def _unchunked(self) -> AsyncIterator[bytes]:
        left = self.length or 0
        while True:
            size = self._header(await self._line())
            left -= size
            if left < 0:
                raise IncompleteBody()
            if not size:
                break
            while size:
                if self._at == len(self._data):
                    await self._more()
                piece = self._data[self._at:self._at + size]  # no copy where that is all of it
                self._at += len(piece)
                size -= len(piece)
                yield piece
            if await self._line() != b"":
                raise InvalidChunk()
        if left:
            raise IncompleteBody()
        await self._read_trailers()
        await self._read_end()

    async def _read_end(self) -> None:
        """Raises where more comes than the empty line at the end."""
        rest = self._data[self._at:]
        while len(rest) <= 2 and (more := await anext(self._source, b"")):
            rest += more
        if rest not in (b"", b"\r\n"):
            raise InvalidChunk()

    def _header(self, line: bytes) -> int:
        digits, _, signature = line.partition(b";chunk-signature=")
        if not _SIZE.fullmatch(digits) or bool(self._signatures) != bool(signature):
            raise InvalidChunk()
        size = int(digits, 16)
        if self._signatures:
            self._signatures.expect(size, signature.decode("latin-1"))
        return size

    async def _read_trailers(self) -> None:
        found: dict[str, str] = {}
        self._trailer_signature = ""
        while self._has_trailers:
            line = (await self._line(at_end=True)).decode("latin-1")
            if not line:
                break
            name, _, value = line.partition(":")
            name = name.strip().lower()
            if name in found or len(found) == TRAILERS_MAX:
                raise MalformedTrailer()
            if name == "x-amz-trailer-signature":
                self._trailer_signature = value.strip()
            else:
                found[name] = value.strip()
        if found.keys() != self._trailers:
            raise MalformedTrailer()
        self._trailer = "".join(f"{name}:{value}\n" for name, value in sorted(found.items()))
        for name, claim in self._late.items():
            claim.expected = _decoded(found[HEADER + name], name, f"{HEADER}{name} trailing header")

    async def _more(self) -> None:
        self._data, self._at = await anext(self._source, b""), 0
        if not self._data:
            raise IncompleteBody()

    async def _line(self, at_end: bool = False) -> bytes:
        """The next line; an empty one also where the body ends, if it may."""
        line = b""
        while True:
            end = self._data.find(b"\n", self._at, self._at + LINE_MAX)
            line += self._data[self._at:end + 1 if end >= 0 else self._at + LINE_MAX + 1]
            if len(line) > LINE_MAX:
                raise InvalidChunk()
            if end >= 0:
                self._at = end + 1
                if not line.endswith(b"\r\n"):
                    raise InvalidChunk()
                return line[:-2]
            self._data, self._at = await anext(self._source, b""), 0
            if not self._data:
                if at_end and not line:
                    return b""
                raise IncompleteBody()
