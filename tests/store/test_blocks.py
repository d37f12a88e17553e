"""Checksums of blocks, and ranges that are verified by them."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from cloudlet.kernel.digests import digest_of
from cloudlet.store import blocks
from cloudlet.store.blobs import Blobs
from cloudlet.store.blocks import BLOCK_BYTES, SUM_BYTES, Blocks, Sums
from cloudlet.store.outgoing import File, Rotten
from tests.store.test_outgoing import NAME, put, received

SIZE = 5 * BLOCK_BYTES + 17
RANGES = [(0, 1), (0, BLOCK_BYTES), (BLOCK_BYTES - 1, BLOCK_BYTES + 1), (3 * BLOCK_BYTES, SIZE), (SIZE - 1, SIZE),
          (1, SIZE), (0, SIZE - 1), (2 * BLOCK_BYTES + 5, 2 * BLOCK_BYTES + 6)]


def sums_of(data: bytes) -> bytes:
    sums = Sums()
    sums.update(data)
    return sums.finish()[0]


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, 1_000_000])
@pytest.mark.parametrize("step", [1_000, 70_000, BLOCK_BYTES, 700_000])
def test_each_block_has_its_own_however_the_bytes_come(size: int, step: int) -> None:
    data, sums = os.urandom(size), Sums()
    for at in range(0, size, step):
        sums.update(memoryview(data)[at:at + step])
    expected = [digest_of("crc64nvme", data[at:at + BLOCK_BYTES]) for at in range(0, size, BLOCK_BYTES)]
    assert sums.finish() == (b"".join(expected), digest_of("crc64nvme", data))
    assert len(b"".join(expected)) == SUM_BYTES * -(-size // BLOCK_BYTES)


@pytest.mark.parametrize(("start", "end"), RANGES)
@pytest.mark.parametrize("window", [BLOCK_BYTES, 3 * BLOCK_BYTES])
def test_what_rots_within_the_blocks_of_a_range_is_noticed_and_nothing_else(
        start: int, end: int, window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WINDOW_BYTES", window)
    data = os.urandom(SIZE)
    sums, concerned = sums_of(data), range(start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1)

    def look(number: int | None) -> None:
        """Goes through the range, both ways, where one block is another."""
        path = tmp_path / "file"
        at = 0 if number is None else number * BLOCK_BYTES
        path.write_bytes(data if number is None else data[:at] + b"!" + data[at + 1:])
        file = File(path, os.O_RDONLY)
        at, check = start, Blocks(file, sums, SIZE, start, end)
        while at < end:
            stop = check.window(file, at)
            assert at < stop <= max(end, at + window)
            at = stop
        by_bytes = Blocks(file, sums, SIZE, start, end)
        for at in range(start, end, 100_000):
            by_bytes.take(data[at:min(at + 100_000, end)])
    look(None)
    for number in range(6):
        if number in concerned and data[number * BLOCK_BYTES] != ord("!"):
            with pytest.raises(Rotten):
                look(number)
        else:
            look(number)


@pytest.mark.parametrize(("start", "end"), RANGES)
def test_a_range_reaches_a_socket_or_is_broken_off(start: int, end: int, tmp_path: Path) -> None:
    blobs, data = Blobs(tmp_path / "blobs", hashed=False), os.urandom(SIZE)
    failed: list[str] = []
    blobs.on_failure = failed.append

    async def send() -> bytes:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            reader = blobs.open(NAME, start, end - start, None, sums_of(data))
            sending = asyncio.ensure_future(reader.send_to(ours.fileno(), b"head"))
            got = asyncio.ensure_future(received(theirs, 4 + end - start))
            await asyncio.wait({sending, got}, return_when=asyncio.FIRST_EXCEPTION)
            got.cancel()
            await sending
            return await got
    asyncio.run(put(blobs, data))
    assert asyncio.run(send()) == b"head" + data[start:end]
    (path,) = (each for each in tmp_path.rglob(NAME))
    last = (end - 1) // BLOCK_BYTES * BLOCK_BYTES  # the block of the last byte
    with open(path, "r+b") as opened:
        opened.seek(last)
        opened.write(bytes([data[last] ^ 1]))
    with pytest.raises(Rotten):
        asyncio.run(send())
    assert failed == [NAME]
    blobs.close()
