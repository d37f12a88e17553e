"""Checksums that clients send with their bodies, by the names of S3's headers."""

import hashlib
import zlib
from collections.abc import Callable
from typing import Protocol

HEADER = "x-amz-checksum-"


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
