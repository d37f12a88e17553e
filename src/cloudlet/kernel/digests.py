"""Digests of bytes that stream, by the names of S3's headers, computed off the event loop."""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

HEADER = "x-amz-checksum-"
PIECE_BYTES = 1 << 20  # gathered for one turn of a thread; two of them are in memory for each body
INLINE_BYTES = 64 << 10  # of a body that is digested on the spot: a thread's turn costs more
THREADS = 8

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="digests")


class Digest(Protocol):
    """What hashlib's objects offer, as far as it is needed."""

    def update(self, data: bytes, /) -> None:
        """Takes more bytes."""
        ...

    def digest(self) -> bytes:
        """The checksum so far, as bytes."""
        ...


class _Crc32:
    """The checksum of zip and PNG; zlib has it."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _ReflectedCrc:
    """A reflected CRC, a byte at a time: Python's library has none but CRC-32."""

    def __init__(self, polynomial: int, bits: int) -> None:
        self._mask, self._bits = (1 << bits) - 1, bits
        self._value = self._mask
        self._table = _table(polynomial)

    def update(self, data: bytes, /) -> None:
        value, table = self._value, self._table
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        self._value = value

    def digest(self) -> bytes:
        return (self._value ^ self._mask).to_bytes(self._bits // 8, "big")


_tables: dict[int, list[int]] = {}


def _table(polynomial: int) -> list[int]:
    if polynomial not in _tables:
        table = []
        for value in range(256):
            for _ in range(8):
                value = value >> 1 ^ polynomial if value & 1 else value >> 1
            table.append(value)
        _tables[polynomial] = table
    return _tables[polynomial]


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
ALGORITHMS: dict[str, Callable[[], Digest]] = {
    "crc32": _Crc32,
    "crc32c": lambda: _ReflectedCrc(0x82F63B78, 32),
    "crc64nvme": lambda: _ReflectedCrc(0x9A6C9329AC4BC9B5, 64),
    "sha1": hashlib.sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "md5": hashlib.md5,
}


async def digested(chunks: AsyncIterator[bytes], digests: Iterable[Digest]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces; at the end all of them went through the digests.

    A piece is digested while its receiver works on it and the next one comes. What a digest raises is raised here, at
    the latest after the last piece.
    """
    run, wanted = asyncio.get_running_loop().run_in_executor, tuple(digests)
    job: asyncio.Future[None] | None = None
    try:
        async for piece in _gathered(chunks):
            if job is not None:
                await job
            if len(piece) <= INLINE_BYTES:
                job = None
                _update(wanted, piece)
            else:
                job = run(_pool, _update, wanted, piece)
            yield piece
        if job is not None:
            await job
    finally:
        if job is not None and not job.cancel() and not job.cancelled():
            job.exception()  # seen, also where the receiver has gone


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
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


def _update(digests: tuple[Digest, ...], piece: bytes) -> None:
    for digest in digests:
        digest.update(piece)
