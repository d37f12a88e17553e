"""Syncs beside the event loop, by the kernel and by a thread."""

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from cloudlet.store import disk
from cloudlet.store.disk import REQUESTS, Disk


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"x" * 10_000)
    yield descriptor
    os.close(descriptor)


async def synced(keeper: Disk, descriptor: int) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def told(error: OSError | None) -> None:
        done.set_exception(error) if error else done.set_result(None)
    keeper.sync(descriptor, told)
    assert not done.done(), "nobody has looked yet"
    await done


def test_the_kernel_syncs(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_sync", lambda descriptor: pytest.fail("a thread did"))
    keeper = Disk()

    async def main() -> None:
        for _ in range(3):
            await synced(keeper, file)
        await asyncio.gather(*(synced(keeper, file) for _ in range(REQUESTS)))
    for run in (asyncio.run, uvloop.run):  # the store outlives loops in tests only
        run(main())


def test_a_thread_syncs_where_the_kernel_does_not(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    sync = disk._sync
    monkeypatch.setattr(disk, "_sync", lambda descriptor: (threads.append(1), sync(descriptor))[1])

    async def main(count: int) -> None:
        before = len(os.listdir("/proc/self/fd"))
        keeper = Disk()
        await asyncio.gather(*(synced(keeper, file) for _ in range(count)))
        assert len(os.listdir("/proc/self/fd")) <= before + 2  # the kernel's and the loop's own
    asyncio.run(main(REQUESTS * 100))
    some = len(threads)
    assert some, "there were more than the kernel takes"
    monkeypatch.setattr(disk, "_open_context", lambda loop: None)
    asyncio.run(main(5))
    assert len(threads) == some + 5


@pytest.mark.parametrize("by_kernel", [True, False])
def test_what_cannot_be_synced_is_told(by_kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not by_kernel:
        monkeypatch.setattr(disk, "_open_context", lambda loop: None)
    reader, writer = os.pipe()
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        asyncio.run(synced(Disk(), writer))
    os.close(reader)
    os.close(writer)


def test_an_error_of_the_kernel_has_its_number() -> None:
    told: list[OSError | None] = []
    disk._end(told.append, (1 << 64) - errno.EIO)
    disk._end(told.append, 0)
    assert [error and error.errno for error in told] == [errno.EIO, None]
