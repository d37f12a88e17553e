"""Group commit and checkpoints."""

import asyncio
import shutil
from pathlib import Path

import apsw
import pytest

from cloudlet.kernel.clock import SystemClock
from cloudlet.store.db import LOG_BYTES, LOG_BYTES_MAX, Store
from cloudlet.store.flush import Flusher, Told, checkpoints
from tests.simulation.virtual import VirtualClock, run


def test_many_who_wait_share_one_sync() -> None:
    under_way: list[Told] = []

    async def main() -> None:
        flusher = Flusher(lambda: True, under_way.append)
        first = flusher.flush()
        await asyncio.sleep(0)
        assert len(under_way) == 1
        others = [flusher.flush() for _ in range(20)]
        others[3].cancel()  # a client that hung up
        await asyncio.sleep(0.01)
        assert len(under_way) == 1
        assert not first.done()
        under_way.pop()(None)
        await first
        assert len(under_way) == 1, "those who asked during the first sync need another, but only one"
        assert not others[0].done()
        under_way.pop()(None)
        await asyncio.gather(*others, return_exceptions=True)
        assert sum(other.cancelled() for other in others) == 1
        last = flusher.flush()
        await asyncio.sleep(0)
        under_way.pop()(None)
        await last
        flusher.flush()
        await asyncio.sleep(0)
    for _ in range(2):  # the store outlives loops in tests only, and then what was under way may not end
        asyncio.run(main())
        under_way.clear()


def test_after_a_failed_sync_nothing_is_promised_any_more() -> None:
    def sync(told: Told) -> None:
        asyncio.get_running_loop().call_later(0.01, told, OSError(5, "Input/output error"))

    async def main() -> None:
        flusher = Flusher(lambda: True, sync)
        waiting = [flusher.flush(), flusher.flush()]
        await asyncio.sleep(0)
        failed = await asyncio.gather(*waiting, flusher.flush(), return_exceptions=True)
        assert [getattr(error, "errno", None) for error in failed] == [5, 5, 5]
        with pytest.raises(OSError, match="Input/output"):
            await flusher.flush()
    asyncio.run(main())


def test_where_nothing_can_be_settled_all_are_told() -> None:
    def settle() -> bool:
        raise OSError(5, "Input/output error")

    async def main() -> None:
        flusher = Flusher(settle, lambda told: pytest.fail("there is nothing to sync"))
        failed = await asyncio.gather(flusher.flush(), flusher.flush(), return_exceptions=True)
        assert [getattr(error, "errno", None) for error in failed] == [5, 5]
    asyncio.run(main())


def test_the_log_stays_short_under_constant_writing(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store(str(tmp_path / "db"), VirtualClock())
        store.create_tables("create table if not exists line (n integer primary key, text blob not null)")
        worker = asyncio.ensure_future(checkpoints(store, VirtualClock(), bytes_max=LOG_BYTES))
        longest = 0
        for n in range(60):
            with store.tx() as tx:
                tx.execute("insert or replace into line values (?, ?)", (n % 3, bytes(1 << 20)))
            await asyncio.sleep(1)
            longest = max(longest, store.log_bytes())
        await store.flush()
        assert 1 << 20 < longest < 30 << 20
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        store.close()
    run(main())


def test_the_log_begins_anew_in_the_space_that_it_has(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "db"), SystemClock())
    store.create_tables("create table if not exists line (n integer primary key, text blob not null)")

    def write(count: int) -> int:
        for n in range(count):
            with store.tx() as tx:
                tx.execute("insert or replace into line values (?, ?)", (n, bytes(1 << 20)))
        return (tmp_path / "db-wal").stat().st_size
    size = write(8)
    assert 8 << 20 <= store.log_bytes() <= size < 9 << 20
    store.checkpoint()
    store.finish_checkpoint()
    assert write(1) == size and 1 << 20 <= store.log_bytes() < 2 << 20
    store.checkpoint()
    assert store.log_bytes() == 0
    pieces = 0
    while store.reserve():
        store.settle_space()
        pieces += 1
    assert pieces == 7
    assert (tmp_path / "db-wal").stat().st_size == LOG_BYTES_MAX and store.log_bytes() == 0
    assert write(12) == LOG_BYTES_MAX
    read = apsw.Connection(str(tmp_path / "db"))
    assert read.execute("select count(*), sum(length(text)) from line").fetchone() == (12, 12 << 20)
    read.close()
    for name in ("db", "db-wal"):  # as a power cut would leave them
        (tmp_path / "copy" / name).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / name, tmp_path / "copy" / name)
    found = apsw.Connection(str(tmp_path / "copy" / "db"))
    assert found.execute("select count(*) from line").fetchone() == (12,)
    found.close()
    store.close()


def test_a_checkpoint_beside_a_writer_loses_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store(str(tmp_path / "db"), SystemClock())
        store.create_tables("create table if not exists line (n integer primary key)")
        moving = [asyncio.get_running_loop().run_in_executor(None, store.checkpoint) for _ in range(3)]
        for n in range(500):
            with store.tx() as tx:
                tx.execute("insert into line values (?)", (n,))
            if n % 100 == 0:
                moving.append(asyncio.get_running_loop().run_in_executor(None, store.checkpoint))
                await asyncio.sleep(0)
        await asyncio.gather(*moving)
        store.finish_checkpoint()
        with store.tx() as tx:
            assert tx.execute("select count(*) from line").fetchone() == (500,)
        store.close()
    asyncio.run(main())
