"""Blobs: what is published is whole and named by its content, whatever happens on the way."""

import asyncio
import errno
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from cloudlet.store import blobs as module
from cloudlet.store.blobs import BlobMissing, Blobs, DigestMismatch, UploadBusy, digest_of

NAME = "0123456789abcdef-1"


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[Blobs]:
    made = Blobs(tmp_path / "blobs")
    yield made
    made.close()


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def put(blobs: Blobs, *parts: bytes) -> str:
    upload = await blobs.begin(NAME)
    await upload.write(chunks(*parts))
    digest = digest_of(b"".join(parts))
    await upload.publish(digest)
    return digest


async def get(blobs: Blobs, digest: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in blobs.open(digest, start, length)])


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - threads announce nothing
        await asyncio.sleep(0.001)


def files(blobs: Blobs) -> list[Path]:
    return [path for path in blobs._blobs.parent.rglob("*") if path.is_file()]


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("sizes", [(), (1,), (5, 0, 7), (3 << 20,), (100_000,) * 50, (1, 5 << 20, 1)])
def test_what_goes_in_comes_out(blobs: Blobs, sizes: tuple[int, ...]) -> None:
    parts = [os.urandom(size) for size in sizes]

    async def scenario() -> None:
        digest = await put(blobs, *parts)
        whole = b"".join(parts)
        assert blobs.size(digest) == len(whole)
        assert await get(blobs, digest) == whole
        assert await get(blobs, digest, 3, 600_000) == whole[3:600_003]
        assert await get(blobs, digest, len(whole) + 5) == b""
        assert await blobs.names() == [digest]
        assert await blobs.uploads() == []
    asyncio.run(scenario())


def test_a_wrong_digest_leaves_nothing(blobs: Blobs) -> None:
    async def scenario() -> None:
        upload = await blobs.begin(NAME)
        await upload.write(chunks(b"what came"))
        announced = digest_of(b"what was announced")
        with pytest.raises(DigestMismatch) as mismatch:
            await upload.publish(announced)
        assert mismatch.value.actual == digest_of(b"what came")
        assert files(blobs) == []
        assert blobs.upload(NAME) is None
    asyncio.run(scenario())


def test_an_upload_goes_on_after_a_restart(blobs: Blobs, tmp_path: Path) -> None:
    first, second = os.urandom(2_500_000), os.urandom(700_000)

    async def scenario() -> None:
        upload = await blobs.begin(NAME)
        await upload.write(chunks(first))
        restarted = Blobs(tmp_path / "blobs")
        found = restarted.upload(NAME)
        assert found is not None
        assert found.offset == len(first)
        await found.write(chunks(second))
        await found.publish(digest_of(first + second))
        assert await get(restarted, digest_of(first + second)) == first + second
        restarted.close()
    asyncio.run(scenario())


def test_what_came_before_the_client_went_away_stays(blobs: Blobs) -> None:
    first, second = os.urandom(2 << 20), os.urandom(100)

    async def broken() -> AsyncIterator[bytes]:
        yield first
        raise ConnectionError

    async def scenario() -> None:
        upload = await blobs.begin(NAME)
        with pytest.raises(ConnectionError):
            await upload.write(broken())
        await until(lambda: not upload.busy)
        assert upload.offset == len(first)
        await upload.write(chunks(second))
        await upload.publish(digest_of(first + second))
    asyncio.run(scenario())


def test_a_cancelled_write_keeps_hash_and_file_together(blobs: Blobs) -> None:
    part = os.urandom(1 << 20)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield part
            await asyncio.sleep(0)

    async def scenario() -> None:
        upload = await blobs.begin(NAME)
        writer = asyncio.ensure_future(upload.write(endless()))
        await until(lambda: upload.offset >= 5 << 20)
        writer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer
        await until(lambda: not upload.busy)
        whole = part * (upload.offset // len(part))
        await upload.publish(digest_of(whole))
        assert await get(blobs, digest_of(whole)) == whole
    asyncio.run(scenario())


def test_two_writers_never_mix(blobs: Blobs) -> None:
    async def scenario() -> None:
        begun, rest = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"one"
            begun.set()
            await rest.wait()
            yield b"two"

        upload = await blobs.begin(NAME)
        writer = asyncio.ensure_future(upload.write(slow()))
        await begun.wait()
        with pytest.raises(UploadBusy):
            await upload.write(chunks(b"other"))
        with pytest.raises(UploadBusy):
            await upload.publish(digest_of(b"one"))
        rest.set()
        await writer
        await upload.publish(digest_of(b"onetwo"))
    asyncio.run(scenario())


def test_a_full_disk_is_reported_and_leaves_no_debris(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 600_000:  # half of it fits: the file and the hash no longer agree
            return write(descriptor, bytes(memoryview(data)[:600_000]))
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario() -> None:
        upload = await blobs.begin(NAME)
        monkeypatch.setattr(module.os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            await upload.write(chunks(bytes(1 << 20)))
        monkeypatch.undo()
        await upload.discard()
        assert files(blobs) == []
        assert not upload.busy
    asyncio.run(scenario())


def test_a_disk_is_asked_again_after_so_many_bytes_and_each_time_while_it_is_full(
        blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, full = [], False

    def is_full(descriptor: int) -> bool:
        asked.append(descriptor)
        return full
    monkeypatch.setattr(module.space, "is_full", is_full)
    assert not blobs.is_full(1) and len(asked) == 1
    full = True
    assert not blobs.is_full(module.UNSEEN_BYTES) and len(asked) == 1
    assert blobs.is_full(1) and blobs.is_full(1) and len(asked) == 3
    full = False
    assert not blobs.is_full(None) and not blobs.is_full(None) and len(asked) == 5  # of what may be any size


def test_after_a_failed_write_the_file_is_hashed_again(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    async def scenario() -> None:
        upload = await blobs.begin(NAME)
        calls = iter((True, False))

        def half(descriptor: int, data: bytes) -> int:
            if next(calls):
                return write(descriptor, bytes(memoryview(data)[:10]))
            raise OSError(errno.EIO, "Input/output error")
        monkeypatch.setattr(module.os, "write", half)
        with pytest.raises(OSError, match="Input/output"):
            await upload.write(chunks(b"0123456789abcdef"))
        monkeypatch.undo()
        await upload.write(chunks(b"!"))
        await upload.publish(digest_of(b"0123456789!"))
    asyncio.run(scenario())


def test_discarding_spares_what_is_held_and_what_is_read(blobs: Blobs) -> None:
    data = os.urandom(3 << 20)

    async def scenario() -> None:
        digest = await put(blobs, data)
        with blobs.hold(digest):
            assert not blobs.discard(digest)
        reader = blobs.open(digest)
        received = [await anext(reader)]
        assert blobs.discard(digest)
        await blobs.purge()
        assert blobs.size(digest) is None
        with pytest.raises(BlobMissing):
            blobs.open(digest)
        received += [chunk async for chunk in reader]
        assert b"".join(received) == data
        assert files(blobs) == []
        assert blobs.discard(digest)  # gone already is fine
    asyncio.run(scenario())


def test_descriptors_are_given_back(blobs: Blobs) -> None:
    async def scenario() -> None:
        digest = await put(blobs, bytes(1 << 20))
        before = descriptors()
        for _ in range(20):
            blobs.open(digest)  # never read
            reader = blobs.open(digest)
            await anext(reader)  # read in part
            del reader
            upload = await blobs.begin(f"{NAME}-{_}")
            await upload.write(chunks(b"abandoned"))
        await until(lambda: descriptors() <= before + 1)
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_only_so_many_running_hashes_are_kept(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HASHES_MAX", 3)

    async def scenario() -> None:
        names = [f"{number:08x}" for number in range(10)]
        for name in names:
            upload = await blobs.begin(name)
            await upload.write(chunks(name.encode()))
        assert len(blobs._uploads) <= 4
        for name in names:
            again = blobs.upload(name)
            assert again is not None
            await again.write(chunks(b"!"))
            await again.publish(digest_of(name.encode() + b"!"))
    asyncio.run(scenario())


def test_a_disk_without_room_for_a_name_gets_its_space_back(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = asyncio.run(put(blobs, b"data"))

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(module.os, "rename", full)
    assert blobs.discard(digest)
    assert files(blobs) == []


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:" + "g" * 64, "sha256:../../etc/passwd", "sha256:" + "a" * 63,
                                  "sha256:" + "A" * 64, "sha512:" + "a" * 64, "sha256:" + "a" * 64 + "\n"])
def test_what_is_no_digest_is_no_path(blobs: Blobs, text: str) -> None:
    assert blobs.size(text) is None
    assert blobs.discard(text)
    with pytest.raises(BlobMissing):
        blobs.open(text)


@pytest.mark.parametrize("name", ["../etc", "", "a/b", "a" * 65, "0123456789abcdef\n"])
def test_what_is_no_name_of_an_upload_is_no_path(blobs: Blobs, name: str) -> None:
    assert blobs.upload(name) is None
    with pytest.raises(ValueError, match="not the name"):
        asyncio.run(blobs.begin(name))


def test_the_disk_is_asked_to_begin_early(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(module, "_writeback", begun.append)
    asyncio.run(put(blobs, *[bytes(1 << 20)] * 40))
    assert len(begun) == 2
    read, write = os.pipe()  # the real one says nothing where a file cannot do it
    module._find_writeback()(write)
    os.close(read)
    os.close(write)
