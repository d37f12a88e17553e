"""Files on their way out: what is sent is what was published, at the pace of whoever takes it."""

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import uvloop

from cloudlet.kernel.digests import digest_of
from cloudlet.kernel.http import Body
from cloudlet.store import outgoing
from cloudlet.store.blobs import Blobs
from cloudlet.store.outgoing import Check, File, Rotten

NAME = "0123456789abcdef0123456789abcdef"
WINDOW = 64 << 10


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Blobs]:
    made = Blobs(tmp_path / "blobs", hashed=False)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(os.urandom(5 * WINDOW + 17))
    return tmp_path / "file"


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - threads announce nothing
        await asyncio.sleep(0.001)


async def put(blobs: Blobs, data: bytes) -> str:
    async def once() -> AsyncIterator[bytes]:
        yield data
    upload = await blobs.begin(NAME)
    await upload.write(Body(once()))
    await upload.publish(NAME)
    return NAME


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def received(client: socket.socket, size: int, delay: float = 0.0) -> bytes:
    loop, parts = asyncio.get_running_loop(), []
    while size > 0:
        part = await loop.sock_recv(client, 1 << 16)
        assert part, "the connection ended early"
        parts.append(part)
        size -= len(part)
        await asyncio.sleep(delay)
    return b"".join(parts)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    server, client = socket.socketpair()
    server.setblocking(False)
    client.setblocking(False)
    yield server, client
    server.close()
    client.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("delay", [0.0, 0.02])  # a client slower than a thread's patience is waited for without one
def test_sending_to_a_socket(blobs: Blobs, pair: tuple[socket.socket, socket.socket], delay: float,
                             new_loop: Callable[[], asyncio.AbstractEventLoop],
                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "SEND_PATIENCE_MS", 10)
    server, client = pair
    data = os.urandom((2 << 20) + 17)
    crc64 = digest_of("crc64nvme", data)

    async def scenario() -> None:
        digest = await put(blobs, data)
        for start, length in ((0, len(data)), (5, 1_000_000), (7, 0)):
            reader = blobs.open(digest, start, length, crc64)
            expected = b"head" + data[start:start + length]
            _, got = await asyncio.wait_for(asyncio.gather(
                reader.send_to(server.fileno(), b"head"), received(client, len(expected), delay)), 20)
            assert got == expected
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize(("spoil", "why"), [
    (lambda file: file.write_bytes(b"X" + file.read_bytes()[1:]), "its checksum is another"),
    (lambda file: os.truncate(file, 1_000_000), "shorter")])
def test_the_end_of_what_is_rotten_is_not_handed_over(blobs: Blobs, pair: tuple[socket.socket, socket.socket],
                                                      spoil: Callable[[Path], object], why: str) -> None:
    server, client = pair
    data = os.urandom((2 << 20) + 17)

    async def scenario() -> None:
        digest = await put(blobs, data)
        sent, read = (blobs.open(digest, crc64=digest_of("crc64nvme", data)) for _ in range(2))
        spoil(blobs._path(digest))
        sending = asyncio.ensure_future(sent.send_to(server.fileno(), b""))
        receiving = asyncio.ensure_future(received(client, len(data), 0.0))
        with pytest.raises(Rotten, match=why):
            await sending
        server.close()
        with pytest.raises(AssertionError, match="ended early"):
            await asyncio.wait_for(receiving, 20)
        with pytest.raises(Rotten, match=why):
            [chunk async for chunk in read]
    asyncio.run(scenario())


def test_sending_to_a_client_that_goes_away_or_stalls(blobs: Blobs, pair: tuple[socket.socket, socket.socket],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    server, client = pair
    monkeypatch.setattr(outgoing, "STALL_S", 0.05)

    async def scenario() -> None:
        digest = await put(blobs, os.urandom(4 << 20))
        before = descriptors()
        with pytest.raises(TimeoutError):
            await blobs.open(digest).send_to(server.fileno(), b"")
        monkeypatch.setattr(outgoing, "STALL_S", 60)
        cancelled = asyncio.ensure_future(blobs.open(digest).send_to(server.fileno(), b""))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        sending = asyncio.ensure_future(blobs.open(digest).send_to(server.fileno(), b""))
        await asyncio.sleep(0.05)
        client.close()
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            await sending
        del cancelled, sending
        await until(lambda: descriptors() <= before)
    asyncio.run(asyncio.wait_for(scenario(), 20))


def drain(client: socket.socket) -> bytes:
    found = b""
    while True:
        try:
            found += client.recv(1 << 20)
        except BlockingIOError:
            return found


def flip(file: Path, at: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        (byte,) = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte ^ 1]))


def begun(file: Path, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
          ) -> tuple[File, File, Check, int, bytes]:
    """A file that is being sent in small windows, and has come to the midst of the second."""
    monkeypatch.setattr(outgoing, "WINDOW_BYTES", WINDOW)
    monkeypatch.setattr(outgoing, "SEND_BYTES", WINDOW * 3 // 2)
    data, (server, client) = file.read_bytes(), pair
    sent, opened, check = File(server.fileno()), File(file, os.O_RDONLY), Check(digest_of("crc64nvme", data), len(data))
    _, at, _ = outgoing.send(sent, opened, b"", 0, len(data), check)
    got = drain(client)
    assert WINDOW < at < 2 * WINDOW
    assert got == data[:at]
    return sent, opened, check, at, got


def test_a_slow_client_gets_all_windows(file: Path, pair: tuple[socket.socket, socket.socket],
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    sent, opened, check, at, got = begun(file, pair, monkeypatch)
    data = file.read_bytes()
    while at < len(data):
        _, at, _ = outgoing.send(sent, opened, b"", at, len(data), check)
        got += drain(pair[1])
    assert got == data


@pytest.mark.parametrize("at_byte", [WINDOW, 2 * WINDOW - 1, 2 * WINDOW, 5 * WINDOW + 16])
def test_what_rots_while_a_slow_client_is_away_is_noticed(
        file: Path, pair: tuple[socket.socket, socket.socket], at_byte: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, opened, check, at, got = begun(file, pair, monkeypatch)
    data = file.read_bytes()
    flip(file, at_byte)

    def go_on() -> None:
        nonlocal at, got
        while at < len(data):
            _, at, _ = outgoing.send(sent, opened, b"", at, len(data), check)
            got += drain(pair[1])
    with pytest.raises(Rotten, match="its checksum is another"):
        go_on()
    assert len(got) < len(data)
    if at_byte < 2 * WINDOW:  # in the window that it had begun: not one byte more
        assert got == data[:at]


def test_what_the_disk_cannot_read_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size, real = file.stat().st_size, outgoing._madvise

    def fail(address: int, length: int, advice: int) -> int:  # a page that is not there is as one that cannot be read
        os.truncate(file, 100)
        return int(real(address, length, advice))
    monkeypatch.setattr(outgoing, "_madvise", fail)
    with pytest.raises(OSError, match=r"Errno 5\b"):
        Check(b"", size).window(File(file, os.O_RDONLY), 0)


@pytest.mark.parametrize("rotten", [False, True])
def test_an_older_kernel_reads_what_it_cannot_map_safely(file: Path, rotten: bool,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    data = file.read_bytes()
    monkeypatch.setattr(outgoing, "_MADV_POPULATE_READ", 9999)  # a call that this one does not know either
    if rotten:
        flip(file, len(data) - 1)
    check = Check(digest_of("crc64nvme", data), len(data))
    with pytest.raises(Rotten) if rotten else nullcontext():
        assert check.window(File(file, os.O_RDONLY), 0) == len(data)
