"""What is acknowledged is on the disk: the order of writing, and puts that end before their time."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cloudlet.kernel.http import Body
from cloudlet.services.s3 import contents
from cloudlet.services.s3.contents import INLINE_BYTES
from tests.services.s3.counter import Counter


def test_a_file_is_on_the_disk_before_its_row_and_its_row_before_the_answer(
        counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    diary: list[tuple[str, str]] = []
    rename, sync, keep = os.rename, counter.store._flusher._sync, contents.keep

    def synced(descriptor: int) -> None:
        diary.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))

    def renamed(source: Path, target: Path) -> None:
        diary.append(("rename", Path(target).name))
        rename(source, target)

    def kept(*args: Any) -> int:
        diary.append(("row", ""))
        return keep(*args)

    def flushed(told: Any) -> None:
        diary.append(("flush", ""))
        sync(told)
    monkeypatch.setattr(os, "fdatasync", synced)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    monkeypatch.setattr(contents, "keep", kept)
    monkeypatch.setattr(counter.store._flusher, "_sync", flushed)
    assert counter.ask("PUT", "/bkt/key", bytes(INLINE_BYTES + 1)).status == 200
    diary.append(("answer", ""))
    monkeypatch.undo()
    (name,) = [name for what, name in diary if what == "rename"]
    expected = [("sync", name), ("rename", name), ("sync", name[:2]), ("row", ""), ("flush", ""), ("answer", "")]
    assert [entry for entry in diary if entry in expected] == expected
    assert diary.index(("sync", "files")) < diary.index(("rename", name)), "a new directory has its own name by then"


@pytest.mark.parametrize(("method", "query"), [("PUT", {}), ("DELETE", {}), ("PUT", {"tagging": ""})])
def test_every_change_is_flushed_before_it_is_answered(counter: Counter, method: str, query: dict[str, str]) -> None:
    counter.ask("PUT", "/bkt/key", b"data")
    flushed = []

    async def flush(tx: Any = None) -> None:
        flushed.append(True)
    counter.store.flush = flush
    body = b"<Tagging><TagSet/></Tagging>" if query else b""
    assert counter.ask(method, "/bkt/key", body, **query).status in (200, 204)
    assert flushed


def test_a_disk_that_could_not_sync_acknowledges_nothing(counter: Counter) -> None:
    async def flush(tx: Any = None) -> None:
        raise OSError(5, "Input/output error")
    counter.store.flush = flush
    assert counter.ask("PUT", "/bkt/key", b"data").status == 500


def test_a_cancelled_put_leaves_no_file(counter: Counter) -> None:
    async def stalled() -> Any:
        yield bytes(INLINE_BYTES + 1)
        await asyncio.Event().wait()

    async def scenario() -> None:
        whole = counter.signed("PUT", "/bkt/key", bytes(INLINE_BYTES * 2))
        request = replace(whole, body=Body(stalled(), INLINE_BYTES * 2))
        task = asyncio.ensure_future(counter.gateway.handle(request))
        while not counter.files():  # noqa: ASYNC110 - threads announce nothing
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while counter.files():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert counter.ask("GET", "/bkt/key").code == "NoSuchKey"


def test_what_another_put_replaced_stays_until_that_is_on_the_disk(counter: Counter) -> None:
    """The first put is acknowledged once its own row is on the disk; a power cut then may undo the second."""
    gates: list[asyncio.Event] = []

    async def flush(tx: Any = None) -> None:
        gates.append(asyncio.Event())
        await gates[-1].wait()

    async def scenario() -> None:
        def begin(fill: bytes) -> "asyncio.Task[object]":
            return asyncio.ensure_future(counter.answer(counter.signed("PUT", "/bkt/key", fill * (INLINE_BYTES + 1))))
        first = begin(b"1")
        while not gates:  # noqa: ASYNC110 - threads announce nothing
            await asyncio.sleep(0.001)
        second = begin(b"2")
        while len(gates) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        gates[0].set()
        await first
        assert len(counter.files()) == 2
        sweep = asyncio.ensure_future(counter.collector.look())
        while len(gates) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert len(counter.files()) == 2
        for gate in gates:
            gate.set()
        await asyncio.gather(second, sweep)
        assert len(counter.files()) == 2, "a sweep leaves to the loop what the loop will see to"
    counter.store.flush = flush
    asyncio.run(asyncio.wait_for(scenario(), 60))
    del counter.store.flush
    counter.work()
    assert len(counter.files()) == 1
    assert counter.ask("GET", "/bkt/key").body == b"2" * (INLINE_BYTES + 1)
