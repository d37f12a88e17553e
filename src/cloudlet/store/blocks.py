"""Checksums of the blocks of a file, by which any range of it can be verified without reading all of it."""

from cloudlet.kernel.digests import ALGORITHMS, COMBINE, Bytes
from cloudlet.store.outgoing import WINDOW_BYTES, File, Rotten, digest

BLOCK_BYTES = 256 << 10  # whole pages; what is read besides for a range of a few bytes
SUM_BYTES = 8


class Sums:
    """The CRC-64/NVME of each block of bytes that come one after the other, and that of all, which follows from them.
    """

    def __init__(self) -> None:
        self._done, self._running, self._left = bytearray(), ALGORITHMS["crc64nvme"](), BLOCK_BYTES
        self._whole = 0

    def update(self, data: Bytes) -> None:
        """Takes more bytes."""
        rest = memoryview(data)
        while rest:
            piece = rest[:self._left]
            self._running.update(piece)
            self._left -= len(piece)
            rest = rest[len(piece):]
            if not self._left:
                self._end()

    def finish(self) -> tuple[bytes, bytes]:
        """Those of the blocks, one after the other, and that of all bytes; the last block may be shorter."""
        if self._left < BLOCK_BYTES:
            self._end()
        return bytes(self._done), self._whole.to_bytes(SUM_BYTES, "big")

    def _end(self) -> None:
        block = self._running.digest()
        self._done += block
        self._whole = COMBINE["crc64nvme"](self._whole, int.from_bytes(block, "big"), BLOCK_BYTES - self._left)
        self._running, self._left = ALGORITHMS["crc64nvme"](), BLOCK_BYTES


class Blocks:
    """Compares a range of a file with the checksums of its blocks, each before any of its bytes are used."""

    def __init__(self, file: File, sums: bytes, size: int, start: int, end: int) -> None:
        """`size` is the file's; `start` and `end` are the range's."""
        self._file, self._sums, self._size, self._end = file, sums, size, end
        self._at = self._known = start

    def take(self, data: bytes) -> None:
        """Takes the next bytes. Raises Rotten, or OSError."""
        self._at += len(data)
        while self._known < self._at:
            self._known = self.window(self._file, self._known)

    def window(self, file: File, at: int) -> int:
        """Up to where the bytes from `at` on are as they should be. Raises Rotten, or OSError."""
        first = at - at % BLOCK_BYTES
        stop = min(first + WINDOW_BYTES, self._end)
        blocks = [(ALGORITHMS["crc64nvme"](), min(BLOCK_BYTES, self._size - start))
                  for start in range(first, stop, BLOCK_BYTES)]
        digest(file, first, blocks)
        place = first // BLOCK_BYTES * SUM_BYTES
        if b"".join(running.digest() for running, _ in blocks) != self._sums[place:place + len(blocks) * SUM_BYTES]:
            raise Rotten("its checksum is another")
        return stop
