"""Transactions that share a commit: each is whole by itself, and none is told of before all are on the disk."""

import asyncio
import errno
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import pytest

from cloudlet.kernel.clock import SystemClock
from cloudlet.store import tx as tx_module
from cloudlet.store.db import Lost, OutOfSpace, Store, Tx
from tests.store.test_faults import Thing, small_disk  # noqa: F401


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "db"), SystemClock())
    yield opened
    opened.close()


def on_disk(store: Store, sql: str = "select key from record order by key") -> list[str]:
    """What a kill -9 would leave."""
    other = apsw.Connection(store.path)
    try:
        return [one for (one,) in other.execute(sql)]
    finally:
        other.close()


def put(store: Store, name: str, *, shared: bool = True) -> Tx:
    with store.tx(shared=shared) as tx:
        tx.put(Thing(name))
    return tx


def fail(store: Store, *, shared: bool = True) -> None:
    with store.tx(shared=shared) as tx:
        tx.put(Thing("wrong"))
        tx.after.append(lambda: pytest.fail("it was taken back"))
        raise ZeroDivisionError


def test_many_share_one_commit_and_one_sync(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    sync = store._flusher._sync

    def synced(end: Any) -> None:
        told.append(on_disk(store))
        sync(end)
    monkeypatch.setattr(store._flusher, "_sync", synced)

    async def request(name: str) -> None:
        with store.tx(shared=True) as tx:
            tx.put(Thing(name))
        assert name not in on_disk(store)
        await store.flush(tx)
        assert name in on_disk(store)

    async def main() -> None:
        await asyncio.gather(*(request(name) for name in "abc"))
    asyncio.run(main())
    assert told == [["a", "b", "c"]]


def test_who_is_told_may_share_the_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[list[str]] = []

    def synced(told: Any) -> None:
        syncs.append(on_disk(store))
        told(None)
    monkeypatch.setattr(store._flusher, "_sync", synced)

    async def answer() -> None:
        assert await store.news.wait("news", 9)
        await store.flush(put(store, "b"))

    async def main() -> None:
        waiting = asyncio.ensure_future(answer())
        await asyncio.sleep(0)
        with store.tx(shared=True) as tx:
            tx.put(Thing("a"))
            tx.after.append(lambda: store.news.tell("news"))
        await asyncio.gather(store.flush(tx), waiting)
    asyncio.run(main())
    assert syncs == [["a", "b"]]


def test_who_shares_with_others_sees_what_they_wrote(store: Store) -> None:
    put(store, "a")
    with store.tx(shared=True) as tx:
        assert tx.get(Thing, "a")
    assert on_disk(store) == []


def test_one_that_fails_takes_back_nothing_of_the_others(store: Store) -> None:
    for names in ("ab", "c"):
        with pytest.raises(ZeroDivisionError):
            fail(store)
        for name in names:
            put(store, name)
        with pytest.raises(ZeroDivisionError):
            fail(store)
    asyncio.run(store.flush(put(store, "d")))
    assert on_disk(store) == ["a", "b", "c", "d"]


def test_who_does_not_share_commits_for_all(store: Store) -> None:
    """Whoever reads may be answered at once: what it read must not go away."""
    put(store, "a")
    with store.tx() as tx:
        assert tx.get(Thing, "a")
    assert on_disk(store) == ["a"]
    put(store, "b")
    with pytest.raises(ZeroDivisionError):
        fail(store, shared=False)
    assert on_disk(store) == ["a"], "one that fails commits nothing"
    put(store, "d", shared=False)
    assert on_disk(store) == ["a", "b", "d"]


def test_who_only_reads_leaves_nothing_open(store: Store) -> None:
    with store.tx(shared=True) as tx:
        assert tx.find(Thing) == []
    assert not store._db.in_transaction
    put(store, "a")
    assert store._db.in_transaction
    store.finish_checkpoint()
    assert not store._db.in_transaction
    put(store, "b")
    store.close()
    assert on_disk(store) == ["a", "b"]


def test_a_sync_is_spared_where_nothing_was_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[bool] = []

    def synced(told: Any) -> None:
        syncs.append(True)
        told(None)
    monkeypatch.setattr(store._flusher, "_sync", synced)
    asyncio.run(store.flush())
    assert syncs, "nobody knows what was before"
    asyncio.run(store.flush())
    assert len(syncs) == 1
    put(store, "a", shared=False)
    for _ in range(2):
        asyncio.run(store.flush())
    assert len(syncs) == 2


@pytest.mark.parametrize(("error", "expected"), [(apsw.FullError("full"), OutOfSpace), (apsw.IOError("io"), Lost)])
def test_a_commit_that_fails_is_told_to_all_who_shared_it(store: Store, monkeypatch: pytest.MonkeyPatch,
                                                          error: Exception, expected: type[Exception]) -> None:
    async def main() -> None:
        gone = [put(store, name) for name in "ab"]
        with monkeypatch.context() as broken:
            broken.setattr(store._session, "cursor", Broken(store._session.cursor, error))
            flushed = await asyncio.gather(*map(store.flush, gone), return_exceptions=True)
        assert [type(found) for found in flushed] == [expected, expected]
        await store.flush(put(store, "c"))
    asyncio.run(main())
    assert on_disk(store) == ["c"]


class Broken:
    """A cursor with which nothing can be committed."""

    def __init__(self, real: apsw.Cursor, error: Exception) -> None:
        self._real, self._error = real, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "commit":
            raise self._error
        return self._real.execute(sql, *values)


def test_a_sync_that_fails_is_told_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(told: Any) -> None:
        told(OSError(errno.EIO, "Input/output error"))
    monkeypatch.setattr(store._flusher, "_sync", sync)
    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(store.flush(put(store, "a")))


@pytest.mark.root
def test_a_full_disk_acknowledges_nothing_that_it_lost(small_disk: Path) -> None:  # noqa: F811
    """Whether it is the statement of one that finds the disk full, or the commit of all."""
    store = Store(str(small_disk / "db"), SystemClock())
    store._db.pragma("cache_size", 8)  # pages, so that large transactions write before they are committed
    (small_disk / "ballast").write_bytes(bytes(300_000))
    kept: list[str] = []

    async def request(name: str, size: int) -> None:
        with store.tx(shared=True) as tx:
            tx.put(Thing(name, "red", "x" * size))
        await store.flush(tx)
        kept.append(name)

    async def main(size: int) -> int:
        refused = 0
        for turn in range(30):
            done = await asyncio.gather(*(request(f"{size:05} {turn:03} {number}", size) for number in range(5)),
                                        return_exceptions=True)
            failed = [found for found in done if found is not None]
            assert all(isinstance(found, OutOfSpace) for found in failed), failed
            refused += len(failed)
        return refused
    assert asyncio.run(main(20_000))
    assert asyncio.run(main(1_000))
    assert kept
    with store.tx() as tx:
        assert [thing.id for thing in tx.find(Thing)] == sorted(kept)
    (small_disk / "ballast").unlink()
    asyncio.run(main(500))
    store.close()
    assert on_disk(store) == sorted(kept)


# ── What is put off ──────────────────────────────────────────────────────────────────────────────────────────────────

INSERT, NOTES = "insert into note values (?)", "select text from note order by text"


@pytest.fixture
def notes(store: Store) -> Store:
    store.create_tables("create table if not exists note (text text not null unique)")
    return store


def note(store: Store, *texts: str, shared: bool = True) -> Tx:
    with store.tx(shared=shared) as tx:
        for text in texts:
            tx.put_off(INSERT, (text,))
    return tx


def read(store: Store) -> list[str]:
    with store.tx(shared=True) as tx:
        return [text for (text,) in tx.execute(NOTES)]


def notes_on_disk(store: Store) -> list[str]:
    return on_disk(store, NOTES)


def test_what_is_put_off_is_written_at_once_for_many(notes: Store) -> None:
    said: list[str] = []
    notes._db.exec_trace = lambda cursor, sql, values: said.append(sql) or True
    txs = [note(notes, name) for name in "ab"]
    assert said == []
    asyncio.run(notes.flush(txs[0]))
    assert said == ["begin", INSERT, INSERT, "commit"]
    assert notes_on_disk(notes) == ["a", "b"]
    note(notes, "c", shared=False)
    assert notes_on_disk(notes) == ["a", "b", "c"]
    note(notes, "d")
    notes.close()
    assert notes_on_disk(notes) == ["a", "b", "c", "d"]


def test_much_that_is_put_off_does_not_wait_in_memory(notes: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tx_module, "LATER_MAX", 3)
    written = list[str]()
    notes._db.exec_trace = lambda cursor, sql, values: (sql == INSERT and written.append(values[0])) or True
    note(notes, "first")
    with notes.tx(shared=True) as tx:
        for number in range(8):
            tx.put_off(INSERT, (str(number),))
            assert len(written) >= number + 1 - 2

    def spoil() -> None:
        with notes.tx(shared=True) as tx:
            for text in "abcd":
                tx.put_off(INSERT, (text,))
            raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        spoil()
    assert written[-1] == "c"
    asyncio.run(notes.flush(note(notes, "last")))
    assert notes_on_disk(notes) == [*"01234567", "first", "last"], "and what failed is taken back as ever"


def test_who_only_peeks_leaves_it_put_off(notes: Store) -> None:
    said: list[str] = []
    note(notes, "a")
    notes._db.exec_trace = lambda cursor, sql, values: said.append(sql) or True
    with notes.tx(shared=True) as tx:
        tx.put_off(INSERT, ("b",))
        assert tx.peek("select count(*) from note where text<>?", "") == (0,)
        assert tx.peek("select text from note where text=?", "b") is None
    assert said == ["begin", *["select count(*) from note where text<>?", "select text from note where text=?"]]
    assert read(notes) == ["a", "b"]


@pytest.mark.parametrize("shared", [True, False])
def test_who_peeks_sees_what_was_put_off_about_the_same(notes: Store, shared: bool) -> None:
    """In the transaction itself, in one that shares its commit, and after one that was taken back."""
    find = "select text from note where text=?"
    with notes.tx(shared=True) as tx:
        tx.put_off(INSERT, ("a",), about="a")
        tx.put_off(INSERT, ("b",), about="b")
        assert tx.peek(find, "a", about="c") is None
        assert tx.peek(find, "a", about="a") == ("a",)
        tx.put_off(INSERT, ("c",), about="c")
    with suppress(KeyError), notes.tx(shared=True) as tx:
        tx.put_off(INSERT, ("d",), about="d")
        raise KeyError
    with notes.tx(shared=shared) as tx:
        assert [tx.peek(find, text, about=text) for text in "dcba"] == [None, ("c",), ("b",), ("a",)]
    assert read(notes) == ["a", "b", "c"]


def test_whoever_looks_sees_what_was_put_off(notes: Store) -> None:
    note(notes, "a")
    assert read(notes) == ["a"]
    with notes.tx(shared=True) as tx:
        tx.put_off(INSERT, ("b",))
        assert tx.execute("select count(*) from note").fetchone() == (2,)
        tx.put_off(INSERT, ("c",))
    note(notes, "d")
    assert notes_on_disk(notes) == []
    assert read(notes) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_one_that_fails_puts_nothing_off(notes: Store, before: bool, looks: bool) -> None:
    if before:
        note(notes, "a")

    def wrong() -> None:
        with notes.tx(shared=True) as tx:
            tx.put_off(INSERT, ("wrong",))
            if looks:
                assert tx.execute("select count(*) from note where text='wrong'").fetchone() == (1,)
            tx.put(Thing("wrong"))
            tx.put_off(INSERT, ("worse",))
            raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        wrong()
    last = note(notes, "z")
    asyncio.run(notes.flush(last))
    assert notes_on_disk(notes) == (["a", "z"] if before else ["z"])
    assert on_disk(notes) == []


@pytest.mark.parametrize("finds_out", ["commit", "reader", "writer"])
def test_a_write_put_off_that_fails_is_told_to_all_who_shared_it(notes: Store, finds_out: str) -> None:
    async def main() -> None:
        gone = [note(notes, name) for name in ("a", "a", "innocent")]
        if finds_out != "commit":
            with pytest.raises(apsw.ConstraintError):
                read(notes) if finds_out == "reader" else put(notes, "innocent")
        flushed = await asyncio.gather(*map(notes.flush, gone), return_exceptions=True)
        assert [type(found) for found in flushed] == [Lost] * 3
        await notes.flush(note(notes, "b"))
    asyncio.run(main())
    assert notes_on_disk(notes) == ["b"]
    assert on_disk(notes) == []


def test_numbers_rise_whatever_happens(tmp_path: Path) -> None:
    given: list[int] = []

    def rise(store: Store, least: int, *, fails: bool = False) -> None:
        with store.tx(shared=True) as tx:
            given.append(tx.rising("thing", least, 10))
            if fails:
                raise ZeroDivisionError

    for life in range(3):
        store = Store(str(tmp_path / "db"), SystemClock())
        for turn in range(25):
            if turn % 4 == 1:
                with pytest.raises(ZeroDivisionError):
                    rise(store, 100 * life, fails=True)
            rise(store, 100 - 50 * life)
            if turn % 7 == 3:
                asyncio.run(store.flush())
        asyncio.run(store.flush())
        other = apsw.Connection(store.path)  # what a kill -9 leaves
        (bound,) = other.execute("select bound from rising where name='thing'").fetchone()
        other.close()
        assert bound >= given[-1]
        store.close()
    assert given[0] >= 100
    assert all(earlier < later for earlier, later in pairwise(given))


def test_a_record_in_memory_is_as_it_is_stored(store: Store) -> None:
    asyncio.run(store.flush(put(store, "a")))
    with store.tx() as tx:
        assert tx.get(Thing, "a") is tx.get(Thing, "a")

    def wrong(shared: bool) -> None:
        with store.tx(shared=shared) as tx:
            tx.put(Thing("a", "blue"))
            found = tx.get(Thing, "a")
            assert found and found.colour == "blue"
            tx.delete(Thing, "a")
            assert tx.get(Thing, "a") is None
            tx.put(Thing("b"))
            assert tx.get(Thing, "b")
            raise ZeroDivisionError
    for shared in (True, False):
        with pytest.raises(ZeroDivisionError):
            wrong(shared)
        with store.tx() as tx:
            found = tx.get(Thing, "a")
            assert found and found.colour != "blue"
            assert tx.get(Thing, "b") is None
    with store.tx() as tx:
        tx.clear()
        assert tx.get(Thing, "a") is None
