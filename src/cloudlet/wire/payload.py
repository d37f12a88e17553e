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

import msgspec

from cloudlet.kernel.digests import ALGORITHMS, HEADER, INLINE_BYTES, Bytes, Digest, digest_of, update
from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.http import Body, BodyTooLarge, BodyTruncated, Take
from cloudlet.wire.faults import Faults
from cloudlet.wire.sigv4 import STREAMING, UNSIGNED, Signed, digest_in, mismatched

SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

CHOSEN = "x-amz-sdk-checksum-algorithm"
_NO_CHECKSUMS = (f"{HEADER}algorithm", f"{HEADER}type", f"{HEADER}mode")

LINE_MAX = 4096  # bytes of a chunk's header or a trailer
CHUNK_BYTES_MIN = 8192  # of each signed chunk but the last
TRAILERS_MAX = 16

BadDigest = declare("BadDigest")
InvalidDigest = declare("InvalidDigest", "The Content-MD5 you specified was invalid.")
InvalidRequest = declare("InvalidRequest")
IncompleteBody = declare(
    "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
InvalidChunk = declare("InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than"
                       f" {CHUNK_BYTES_MIN} bytes", status=403)
MalformedTrailer = declare(
    "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our"
    " published schema.")
MissingContentLength = declare("MissingContentLength", "You must provide the Content-Length HTTP header.", status=411)

_EMPTY = hashlib.sha256().hexdigest()
_SIGNATURES = "signatures"  # what is no digest, and computed with them
_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")


class _Whole(Body, eq=False, kw_only=True):
    """One that was read already."""

    _data: bytes

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield self._data

    async def read(self, limit: int) -> bytes:
        """See Body."""
        if len(self._data) > limit:
            raise BodyTooLarge(limit)
        return self._data


async def verified_whole(data: bytes, signed: Signed, headers: Mapping[str, str], faults: Faults, limit: int, *,
                         says_checksums: bool = True) -> bytes:
    """The same for a body that was read whole."""
    whole = _Whole(None, len(data), _data=data)
    return await verified(whole, signed, headers, faults, says_checksums=says_checksums, streams=False).read(limit)


def verified(body: Body, signed: Signed, headers: Mapping[str, str], faults: Faults, *,
             says_checksums: bool = True, streams: bool = True) -> Body:
    """The body that the customer meant, verified as it is read. Raises AwsError for what can be seen beforehand.

    `says_checksums`: whether x-amz-checksum-… headers speak of the body; those of CompleteMultipartUpload do not.
    `streams`: it is an object's; of others S3 says an MD5 in another way.
    """
    claims, said = _announced(headers, says_checksums, streams), signed.payload
    if said is not None and said.startswith(STREAMING) and signed.may_sign_chunks:
        return _Chunks(None, _claims=claims, _source=aiter(body), _signed=signed, _headers=headers, _faults=faults)
    if streams and body.length == 0 and not ("content-length" in headers or "transfer-encoding" in headers):
        raise MissingContentLength()
    if _late(headers):
        raise MalformedTrailer()  # nothing comes after such a body
    if said is not None and said != UNSIGNED:  # what is no digest is another one
        if said.startswith(STREAMING):
            _check_decoded_length(body, headers)
        claims.insert(0, _Claim("sha256", digest_in(said), _other_body(faults, said)))
    return _Plain(None, body.length, _claims=claims, _source=body)


def _check_decoded_length(body: Body, headers: Mapping[str, str]) -> None:
    """Raises where a body that may not come in chunks has another length than its chunks are said to have."""
    length = _decoded_length(headers)
    if body.length is not None and length != body.length:
        raise _other_length(length, body.length)


def _decoded_length(headers: Mapping[str, str]) -> int:
    """The length of what comes in chunks. Raises MissingContentLength."""
    length = headers.get("x-amz-decoded-content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 19):
        raise MissingContentLength()
    return int(length)


def _other_length(expected: int, came: int) -> AwsError:
    return IncompleteBody(NumberBytesExpected=str(expected), NumberBytesProvided=str(came))


def _terminated() -> AwsError:
    """What S3 says of chunks that end too early or are not written as they should be."""
    return IncompleteBody("The request body terminated unexpectedly")


def require_checksum(headers: Mapping[str, str]) -> None:
    """Raises unless a request says a checksum of its body in one way or another."""
    if "content-md5" not in headers and not _said(headers) and not _late(headers):
        raise InvalidRequest(f"Missing required header for this request: Content-MD5 OR {HEADER}*")


class _Claim(msgspec.Struct):
    """What a client says that a digest comes to (None: not known yet, a trailer says it), and the error where it comes
    to something else."""

    algorithm: str
    expected: bytes | None
    differs: Callable[[bytes], AwsError]
    is_checksum: bool = False

    def settle(self, actual: bytes) -> None:
        """Raises unless the bytes came to what was announced."""
        if self.expected is not None and not hmac.compare_digest(actual, self.expected):
            raise self.differs(actual)


def _said(headers: Mapping[str, str]) -> list[str]:
    """The algorithms of the checksums in the headers, and whatever else is said in their place."""
    if HEADER not in "\n".join(headers):  # sooner known than by looking at each
        return []
    return [name[len(HEADER):] for name in headers if name.startswith(HEADER) and name not in _NO_CHECKSUMS]


def _late(headers: Mapping[str, str]) -> list[str]:
    """The same of the checksums that a trailer will say. Raises for a trailer that is none; commas may follow."""
    if "x-amz-trailer" not in headers:
        return []
    names = [name.strip().lower() for name in headers["x-amz-trailer"].strip().rstrip(",").split(",")]
    found = [name.removeprefix(HEADER) for name in names if name.startswith(HEADER)]
    if len(found) < len(names) or not ALGORITHMS.keys() >= set(found):
        raise InvalidRequest("The value specified in the x-amz-trailer header is not supported")
    return found


def _announced(headers: Mapping[str, str], says_checksums: bool, streams: bool) -> list["_Claim"]:
    claims = []
    if says_checksums:
        said, late = _said(headers), _late(headers)
        if len(said) > 1 or len(late) > 1:
            raise InvalidRequest(f"Expecting a single {HEADER} header. Multiple checksum Types are not allowed.")
        if said and late:
            raise InvalidRequest(f"Expecting a single {HEADER} header")
        claims = [_claim_of(name, headers[HEADER + name]) for name in said]
        if headers.get(CHOSEN):
            _check_chosen(headers[CHOSEN].lower(), said or late)
    if "content-md5" in headers:
        expected = _decoded(headers["content-md5"], "md5")
        claims.append(_Claim("md5", expected, _other_md5(expected.hex() if streams else headers["content-md5"])))
    return claims


def _check_chosen(chosen: str, said: list[str]) -> None:
    """Raises where the header that names the algorithm speaks of another than the one whose value is there."""
    if chosen not in ALGORITHMS:
        raise InvalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid"
                             f" types: [{', '.join(ALGORITHMS).upper()}]")
    if not said:
        raise InvalidRequest(f"{CHOSEN} specified, but no corresponding {HEADER}* or x-amz-trailer headers were found.")
    if said != [chosen]:
        raise InvalidRequest(f"Value for {CHOSEN} header is invalid.")


def _claim_of(algorithm: str, value: str | None) -> _Claim:
    if algorithm not in ALGORITHMS:
        raise InvalidRequest(f"The algorithm type you specified in {HEADER} header is invalid.")
    expected = None if value is None else _decoded(value, algorithm, f"{HEADER}{algorithm} header")
    return _Claim(algorithm, expected, _bad_digest(algorithm.upper()), is_checksum=True)


def _bad_digest(what: str) -> Callable[[bytes], AwsError]:
    return lambda _: BadDigest(f"The {what} you specified did not match the calculated checksum.")


def _other_md5(expected: str) -> Callable[[bytes], AwsError]:
    return lambda actual: BadDigest("The Content-MD5 you specified did not match what we received.",
                                    ExpectedDigest=expected, CalculatedDigest=base64.b64encode(actual).decode())


def _other_body(faults: Faults, said: str) -> Callable[[bytes], AwsError]:
    return lambda actual: (faults.body_mismatch or faults.mismatch)(
        ClientComputedContentSHA256=said[:256], S3ComputedContentSHA256=actual.hex())


def _decoded(value: str, algorithm: str, place: str = "") -> bytes:
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != len(ALGORITHMS[algorithm]().digest()) or (place and base64.b64encode(found) != value.encode()):
        raise InvalidRequest(f"Value for {place} is invalid.") if place else InvalidDigest(
            **{"Content-MD5": value[:1024]})
    return found


class _Verified(Body, eq=False, kw_only=True):
    """A body whose digests are compared with what was announced once it has ended."""

    _claims: list[_Claim]

    def __post_init__(self) -> None:
        for claim in self._claims:
            self._wanted[claim.algorithm] = None
            if claim.is_checksum:
                self.checksum = claim.algorithm

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


class _Plain(_Verified, eq=False, kw_only=True):
    """One whose bytes come as they are."""

    _source: Body

    def _pieces(self) -> AsyncIterator[bytes]:
        return aiter(self._source)

    async def read(self, limit: int) -> bytes:
        """See Body: a small one goes no long way."""
        if self.length is None or self.length > INLINE_BYTES:
            return await super().read(limit)
        try:
            data = await self._source.read(limit)
        except BodyTruncated:
            raise IncompleteBody() from None
        self.digests = {name: digest_of(name, data) for name in self._wanted}
        self._settle()
        return data

    async def pour(self, take: Take) -> int:
        """See Body: digests are computed in the thread that takes the bytes, while the processor has them at hand."""
        running = {name: self._digest(name) for name in self._wanted}

        def digest_and_take(data: memoryview) -> None:
            update(running.values(), data)
            take(data)
        try:
            size = await self._source.pour(digest_and_take)
        except BodyTruncated:
            raise IncompleteBody() from None
        self.digests.update((name, digest.digest()) for name, digest in running.items())
        self._settle()
        return size


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
            raise self._faults.mismatch(**mismatched(signed.scope.access_key_id, text, signature, rest))
        self._previous = expected


class _Chunks(_Verified, eq=False, kw_only=True):
    """The bytes within `aws-chunked`; signatures of chunks are verified within a piece (`kernel.digests`) of them."""

    _source: AsyncIterator[bytes]
    _signed: Signed
    _headers: Mapping[str, str]
    _faults: Faults
    _data: bytes = b""  # what came last
    _at: int = 0  # how far it was read
    _late: dict[str, _Claim] = msgspec.field(default_factory=dict)  # what trailers will say
    _has_trailers: bool = False
    _signatures: _Signatures | None = None
    _trailer: str = ""  # those that came, as they are signed
    _trailer_signature: str = ""
    _count: int = 0  # signed chunks so far
    _small: int = 0  # the size of the last one where it is less than usual

    def __post_init__(self) -> None:
        signed, headers = self._signed, self._headers
        if signed.payload not in (SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER):
            raise InvalidRequest(f"The value of x-amz-content-sha256 header is invalid: {(signed.payload or '')[:64]}")
        self._late = {HEADER + name: _claim_of(name, None) for name in _late(headers)}
        self._claims = [*self._claims, *self._late.values()]
        super().__post_init__()
        self._chunks, self.length = self._unchunked(), _decoded_length(headers)
        self._has_trailers = signed.payload != SIGNED_CHUNKS
        if signed.payload != UNSIGNED_CHUNKS_TRAILER:
            self._signatures = _Signatures(signed, self._faults)
            self.want(_SIGNATURES)

    def _digest(self, name: str) -> Digest:
        return self._signatures if name == _SIGNATURES and self._signatures else super()._digest(name)

    async def _settled(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in super()._settled(chunks):
            yield data
        if self._signatures and self._has_trailers:
            digest = hashlib.sha256((self._trailer or "\n").encode()).hexdigest()
            self._signatures.verify("AWS4-HMAC-SHA256-TRAILER", digest, self._trailer_signature)
            if not self._trailer:  # whose signature alone came, which S3 takes for a body that was cut off
                raise _terminated()

    async def _unchunked(self) -> AsyncIterator[bytes]:
        left = length = self.length or 0
        while size := self._header(await self._line()):
            left -= size
            if left < 0:
                raise _other_length(length, length - left)
            while size:
                if self._at == len(self._data):
                    await self._more()
                piece = self._data[self._at:self._at + size]  # no copy where that is all of it
                self._at += len(piece)
                size -= len(piece)
                yield piece
            if await self._line() != b"":
                raise _terminated()
        await self._read_trailers()
        if left:
            raise _other_length(length, length - left)
        async for _ in self._source:  # S3 minds nothing that comes after the end
            pass

    def _header(self, line: bytes) -> int:
        digits, _, parameter = line.partition(b";")
        name, _, value = parameter.partition(b"=")
        is_named = name.strip() == b"chunk-signature"
        signature = value.strip() if is_named else parameter
        if not _SIZE.fullmatch(digits.rstrip()) or bool(self._signatures) != bool(signature) or (
                is_named and b";" in signature):
            raise _terminated()
        size = int(digits, 16)
        if self._signatures:
            self._count += 1
            if size and self._small:  # S3 says the number of the chunk where it saw that
                raise InvalidChunk(Chunk=str(self._count), BadChunkSize=str(self._small))
            self._small = size if size < CHUNK_BYTES_MIN else 0
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
            if name == "x-amz-trailer-signature":
                self._trailer_signature = value.strip()
            else:
                found[name] = value.strip()  # the last one counts
            if len(found) > TRAILERS_MAX:
                raise MalformedTrailer()
        if self._signatures and self._has_trailers and not self._trailer_signature:
            raise _terminated()
        if found.keys() != self._late.keys():
            raise MalformedTrailer()
        self._trailer = "".join(f"{name}:{value}\n" for name, value in sorted(found.items()))
        for name, claim in self._late.items():
            claim.expected = _decoded(found[name], claim.algorithm, f"{name} trailing header")

    async def _more(self) -> None:
        self._data, self._at = await anext(self._source, b""), 0
        if not self._data:
            raise _terminated()

    async def _line(self, at_end: bool = False) -> bytes:
        """The next line; an empty one also where the body ends, if it may."""
        line = b""
        while True:
            end = self._data.find(b"\n", self._at, self._at + LINE_MAX)
            line += self._data[self._at:end + 1 if end >= 0 else self._at + LINE_MAX + 1]
            if len(line) > LINE_MAX:
                raise _terminated()
            if end >= 0:
                self._at = end + 1
                if not line.endswith(b"\r\n"):
                    raise _terminated()
                return line[:-2]
            self._data, self._at = await anext(self._source, b""), 0
            if not self._data:
                if at_end and not line:
                    return b""
                raise _terminated()
