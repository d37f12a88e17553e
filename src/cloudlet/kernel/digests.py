"""Digests of bytes that stream, by the names of S3's headers, computed off the event loop."""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
from awscrt import checksums as crt
from cryptography.hazmat.primitives.hashes import MD5, Hash

HEADER = "x-amz-checksum-"
PIECE_BYTES = 512 << 10  # gathered for one turn of a thread; a few of them are in memory for each body
INLINE_BYTES = 64 << 10  # of a body that is digested on the spot: a thread's turn costs more
THREADS = 8

T = TypeVar("T")
Bytes = bytes | memoryview

threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bodies")


class Digest(Protocol):
    """What hashlib's objects offer, as far as it is needed."""

    def update(self, data: Bytes, /) -> None:
        """Takes more bytes."""
        ...

    def digest(self) -> bytes:
        """The checksum so far, as bytes."""
        ...


class _Crc(msgspec.Struct, eq=False):
    """A running CRC by a function of the next bytes and the value so far."""

    _step: Callable[[Any, int], int]
    _size: int
    _value: int

    def update(self, data: Bytes, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def _crc(step: Callable[[Any, int], int], size: int, data: Bytes = b"") -> _Crc:
    return _Crc(step, size, step(data, 0))


class _Md5:
    """A running MD5 by the OpenSSL that comes with cryptography, whose code takes a twentieth less of the processor
    than that of a distribution's, which hashlib has: of a large body MD5 is two thirds of the work."""

    def __init__(self) -> None:
        self._hash = Hash(MD5())

    def update(self, data: Bytes, /) -> None:
        self._hash.update(data)

    def digest(self) -> bytes:
        return self._hash.copy().finalize()


class _XxHash:
    """One of the XXHash family, of seed 0."""

    def __init__(self, make: Callable[[], crt.XXHash], data: Bytes = b"") -> None:
        self._hash = make()
        self.update(data)

    def update(self, data: Bytes, /) -> None:
        self._hash.update(bytes(data))  # no copy where it is bytes

    def digest(self) -> bytes:
        return bytes(self._hash.finalize())


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
ALGORITHMS: dict[str, Callable[..., Digest]] = {  # of no bytes yet, or of those that are passed
    "crc32": partial(_crc, zlib.crc32, 4),  # zlib lets other threads run meanwhile, as hashlib does
    "crc32c": partial(_crc, crt.crc32c, 4),
    "crc64nvme": partial(_crc, crt.crc64nvme, 8),
    "sha1": hashlib.sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "md5": lambda data=b"": hashlib.md5(data) if data else _Md5(),
    "xxhash64": partial(_XxHash, crt.XXHash.new_xxhash64),
    "xxhash3": partial(_XxHash, crt.XXHash.new_xxhash3_64),
    "xxhash128": partial(_XxHash, crt.XXHash.new_xxhash3_128),
}

# The CRC of two pieces of bytes from the CRC of each and the length of the second, without reading either again.
COMBINE: dict[str, Callable[[int, int, int], int]] = {
    "crc32": crt.combine_crc32, "crc32c": crt.combine_crc32c, "crc64nvme": crt.combine_crc64nvme}


def digest_of(algorithm: str, data: bytes) -> bytes:
    """The digest of bytes in memory. KeyError for an algorithm that there is not."""
    return ALGORITHMS[algorithm](data).digest()


async def digested(chunks: AsyncIterator[bytes], digests: Iterable[Digest]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces; at the end all of them went through the digests.

    A piece is digested while its receiver works on it and the next one comes. What a digest raises is raised here, at
    the latest after the last piece.
    """
    run, wanted = asyncio.get_running_loop().run_in_executor, tuple(digests)
    job: asyncio.Future[None] | None = None
    try:
        async for piece in gathered(chunks):
            if job is not None:
                await job
            if len(piece) <= INLINE_BYTES:
                job = None
                update(wanted, piece)
            else:
                job = run(threads, update, wanted, piece)
            yield piece
        if job is not None:
            await job
    finally:
        if job is not None and not job.cancel() and not job.cancelled():
            job.exception()  # seen, also where the receiver has gone


async def gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of PIECE_BYTES and more, but for the last."""
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= PIECE_BYTES:
            piece, parts, size = b"".join(parts), [], 0
            yield piece
    if parts:
        yield b"".join(parts)


def update(digests: Iterable[Digest], piece: Bytes) -> None:
    """Feeds all of them."""
    for digest in digests:
        digest.update(piece)


async def finished(job: "asyncio.Future[T]") -> T:
    """What a thread's work comes to. Where we are cancelled meanwhile it is waited for all the same, so that whoever
    cleans up after us does not meet it."""
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        while not job.done():
            with suppress(asyncio.CancelledError):  # what was cancelled twice waits as well
                await asyncio.wait([job])
        raise
