"""Records, transactions and indexes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.errors import DeclarationError
from cloudlet.store import queue, records, schema
from cloudlet.store.db import Store
from cloudlet.store.records import record


@record("test.host", reconciled=True, indexes={"zone": lambda r: r.zone, "tag": lambda r: r.tags})
class Host:
    id: str
    zone: str | None = None
    tags: tuple[str, ...] = ()
    size: int = 0


@record("test.note")
class Note:
    id: str
    text: str = ""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path / "db"), SystemClock())
    yield made
    made.close()


def test_put_get_delete(store: Store) -> None:
    with store.tx() as tx:
        assert tx.get(Host, "a") is None
        tx.put(Host("a", "z1", ("x", "y")))
        tx.put(Note("a", "ünï"))
    with store.tx() as tx:
        assert tx.get(Host, "a") == Host("a", "z1", ("x", "y"))
        assert tx.get(Note, "a") == Note("a", "ünï")
        tx.delete(Host, "a")
        tx.delete(Host, "never")
    with store.tx() as tx:
        assert tx.get(Host, "a") is None
        assert tx.find(Host, zone="z1") == tx.find(Host, tag="x") == []
        assert tx.count(Host, tag="y") == 0


def test_find_pages_in_order_of_key(store: Store) -> None:
    keys = ["a/1", "a/2", "a/2x", "b/1", "b\U0010fffe", "ä/1"]
    with store.tx() as tx:
        for key in reversed(keys):
            tx.put(Host(key, "even" if key.endswith(("2", "x")) else "odd"))
        tx.put(Note("a/0"))
        assert [r.id for r in tx.find(Host)] == keys
        assert [r.id for r in tx.find(Host, "a/")] == ["a/1", "a/2", "a/2x"]
        assert [r.id for r in tx.find(Host, "a/", after="a/1")] == ["a/2", "a/2x"]
        assert [r.id for r in tx.find(Host, "b", after="a/1", limit=1)] == ["b/1"]
        assert [r.id for r in tx.find(Host, after="b/1", limit=2)] == ["b\U0010fffe", "ä/1"]
        assert [r.id for r in tx.find(Host, zone="even")] == ["a/2", "a/2x"]
        assert [r.id for r in tx.find(Host, "a/", after="a/2", zone="even", limit=1)] == ["a/2x"]
        assert tx.count(Host, zone="odd") == 4
        with pytest.raises(KeyError):
            tx.find(Host, colour="red")
        with pytest.raises(KeyError):
            tx.count(Note, zone="z")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("uv"),
                          st.lists(st.sampled_from("xyz"), max_size=3).map(tuple), st.booleans()), max_size=12))
def test_indexes_always_say_what_the_records_say(store: Store, moves: list[Any]) -> None:
    with store.tx() as tx:
        tx.clear()
        model: dict[str, Host] = {}
        for key, zone, tags, delete in moves:
            if delete:
                tx.delete(Host, key)
                model.pop(key, None)
            else:
                tx.put(Host(key, zone, tags))
                model[key] = Host(key, zone, tags)
            for zone in "uv":
                assert tx.find(Host, zone=zone) == [model[k] for k in sorted(model) if model[k].zone == zone]
            for tag in "xyz":
                assert tx.find(Host, tag=tag) == [model[k] for k in sorted(model) if tag in model[k].tags]


def test_an_exception_takes_everything_back(store: Store) -> None:
    woke = []
    store.on_work = lambda: woke.append(1)

    def fail_halfway() -> None:
        with store.tx() as tx:
            tx.put(Host("a", "z"))
            raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    with store.tx() as tx:
        assert tx.find(Host) == tx.find(Host, zone="z") == []
    assert queue.waiting(store, 9) == []
    assert woke == []
    with store.tx() as tx:
        tx.put(Host("a"))
    assert woke == [1]


def test_transactions_do_not_nest(store: Store) -> None:
    with store.tx() as tx:
        tx.put(Host("a"))
        with pytest.raises(Exception, match="within a transaction"), store.tx():
            pass
    with store.tx() as tx:
        assert tx.get(Host, "a")


def test_swap_writes_only_over_what_was_seen(store: Store) -> None:
    with store.tx() as tx:
        tx.put(Host("a"))
    work = queue.waiting(store, 1)[0]
    queue.finish(store, work)
    with store.tx() as tx:
        assert tx.swap(Host("a"), Host("a", size=1))
        assert not tx.swap(Host("a"), Host("a", size=2))
        assert tx.swap(Host("a", size=1), Host("a", size=1))
        assert not tx.swap(Host("gone"), Host("gone", size=2))
        assert tx.get(Host, "a") == Host("a", size=1)
    assert queue.waiting(store, 1) == [], "a step that records what it saw must not wake itself"


def test_the_file_stands_when_opened_again(tmp_path: Path) -> None:
    first = Store(str(tmp_path / "db"), SystemClock())
    with first.tx() as tx:
        tx.put(Host("a", "z"))
    first.close()
    second = Store(str(tmp_path / "db"), SystemClock())
    with second.tx() as tx:
        assert tx.find(Host, zone="z") == [Host("a", "z")]
    assert [work.key for work in queue.waiting(second, 9)] == ["a"]
    second.close()


def test_a_record_finds_its_way_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @record("test.versioned", indexes={"name": lambda r: r.name})
    class Old:
        id: str
        name: str

    store = Store(str(tmp_path / "db"), SystemClock())
    with store.tx() as tx:
        tx.put(Old("a", "Ada Lovelace"))
    store.close()
    monkeypatch.delitem(records._kinds, "test.versioned")

    def upgrade(version: int, fields: dict[str, Any]) -> dict[str, Any]:
        assert version == 1
        first, last = fields.pop("name").split()
        return {**fields, "first": first, "last": last}

    @record("test.versioned", version=2, indexes={"last": lambda r: r.last}, upgrade=upgrade)
    class New:
        id: str
        first: str
        last: str
        born: int = 1815

    store = Store(str(tmp_path / "db"), SystemClock())
    with store.tx() as tx:
        assert tx.get(New, "a") == New("a", "Ada", "Lovelace")
        assert tx.find(New, last="Lovelace") == [New("a", "Ada", "Lovelace")], "a new index lists what was there"
        tx.put(New("a", "Ada", "King"))
        assert tx.find(New, last="Lovelace") == []
        assert tx.execute("select count(*) from record_index where kind='test.versioned'").fetchone() == (1,)
        with pytest.raises(DeclarationError):
            tx.get(Old, "a")
    store.close()


def test_indexes_are_listed_anew_only_when_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "db"), SystemClock())
    with store.tx() as tx:
        tx.put(Host("a", "z"))
    store.close()
    store = Store(str(tmp_path / "db"), SystemClock())
    with store.tx() as tx:
        tx.execute("delete from record_index")
    store.close()
    store = Store(str(tmp_path / "db"), SystemClock())
    with store.tx() as tx:
        assert tx.find(Host, zone="z") == []
    store.close()
    monkeypatch.setitem(Host.INDEXES, "zone", lambda r: f"eu-{r.zone}")  # type: ignore[attr-defined]
    store = Store(str(tmp_path / "db"), SystemClock())
    with store.tx() as tx:
        assert tx.find(Host, zone="eu-z") == [Host("a", "z")]
    store.close()


def test_two_records_of_one_kind_are_refused() -> None:
    with pytest.raises(DeclarationError):
        record("test.host")(type("Other", (), {"__annotations__": {"id": str}}))


@record("test.site", lasting=True, indexes={"id": lambda r: r.id})
class Lasting:
    id: str


def test_clear_leaves_nothing_but_work_and_what_lasts(store: Store) -> None:
    with store.tx() as tx:
        tx.put(Lasting("here"))
    store.create_tables("create table if not exists line (text text not null)")
    with store.tx() as tx:
        tx.put(Host("a", "z", ("t",)))
        tx.put(Note("n"))
        tx.execute("insert into line values ('x')")
    queue.finish(store, queue.waiting(store, 1)[0], broken="because")
    with store.tx() as tx:
        tx.clear()
    with store.tx() as tx:
        assert tx.find(Lasting, id="here") == [Lasting("here")]
        for table in ("record where kind<>'test.site'", "record_index where kind<>'test.site'", "line", "broken"):
            assert tx.execute(f"select count(*) from {table}").fetchone() == (0,)
    assert [(work.kind, work.key) for work in queue.waiting(store, 9)] == [("test.host", "a")]


def test_enqueue_all_spreads_over_time(store: Store) -> None:
    with store.tx() as tx:
        for n in range(4):
            tx.put(Host(str(n)), wake=False)
        tx.put(Note("n"))
        tx.enqueue("test.host", "3", after=0.5)
        tx.enqueue_all(over_s=8)
        now = tx.now
    assert [(w.key, w.due - now, w.asked) for w in queue.waiting(store, 9)] == [
        ("3", 0.5, 2), ("0", 2, 1), ("1", 4, 1), ("2", 6, 1)]


def test_formats_go_up_and_never_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "db")
    monkeypatch.setattr(schema, "FORMAT", 90)
    store = Store(path, SystemClock())
    with store.tx() as tx:
        tx.put(Host("a"))
    store.close()
    monkeypatch.setattr(schema, "FORMAT", 92)
    monkeypatch.setattr(schema, "UPGRADES", {90: "create table extra (n); insert into extra values (1)",
                                             91: "update extra set n=n+1"})
    for _ in range(2):
        store = Store(path, SystemClock())
        with store.tx() as tx:
            assert tx.execute("select n from extra").fetchall() == [(2,)]
            assert tx.get(Host, "a")
        store.close()
    monkeypatch.setattr(schema, "FORMAT", 93)
    monkeypatch.setattr(schema, "UPGRADES", {92: "drop table extra; select no_such_thing"})
    with pytest.raises(Exception, match="no_such_thing"):
        Store(path, SystemClock())
    monkeypatch.setattr(schema, "FORMAT", 92)
    store = Store(path, SystemClock())  # an upgrade that failed left everything as it was
    with store.tx() as tx:
        assert tx.execute("select n from extra").fetchall() == [(2,)]
    store.close()
    monkeypatch.setattr(schema, "FORMAT", 91)
    with pytest.raises(schema.NewerFormat, match="format 92"):
        Store(path, SystemClock())


def test_the_first_format_goes_up(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    store = Store(path, SystemClock())
    store._db.execute("drop table rising; pragma user_version=1")
    store.close()
    store = Store(path, SystemClock())
    with store.tx() as tx:
        assert tx.rising("thing", 7, 10) == 7
    store.close()
