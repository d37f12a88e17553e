"""The store: typed records, work, and services' own tables in one SQLite file with one writer.

A transaction never awaits, so on one event loop it is serializable for free.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import apsw

from cloudlet.kernel.clock import Clock
from cloudlet.store.flush import Flusher
from cloudlet.store.records import decode, encode, index_values, key_of

T = TypeVar("T")

FORMAT = 1  # of the data directory; an older one is upgraded, a newer one refused

_SCHEMA = """
create table if not exists record (
  kind text not null, key text not null, version integer not null, body blob not null,
  primary key (kind, key)) without rowid;
create table if not exists record_index (
  kind text not null, name text not null, value text not null, key text not null,
  primary key (kind, name, value, key)) without rowid;
create table if not exists work (
  kind text not null, key text not null, due real not null, asked integer not null, attempts integer not null,
  why text not null, primary key (kind, key)) without rowid;
create index if not exists work_due on work (due);
create index if not exists record_index_key on record_index (kind, key);
create table if not exists broken (
  kind text not null, key text not null, at real not null, reason text not null, primary key (kind, key)) without rowid;
"""


class NewerFormat(Exception):
    """The data directory was written by a newer Cloudlet."""


class Tx:
    """One transaction. `now` is its time in epoch seconds; `token` draws random hex digits."""

    __slots__ = ("_db", "clock", "now", "woke")

    def __init__(self, db: apsw.Connection, clock: Clock) -> None:
        self._db, self.clock, self.now, self.woke = db, clock, clock.now(), False

    def token(self, length: int = 17) -> str:
        """`length` random lower-case hex digits."""
        return self.clock.token(length)

    def execute(self, sql: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> apsw.Cursor:
        """SQL on a service's own tables (`tables.sql`), in the subset that SQLite and PostgreSQL share."""
        return self._db.execute(sql, values)

    def get(self, cls: type[T], key: str) -> T | None:
        """The record of that key, or None."""
        row = self._db.execute("select version, body from record where kind=? and key=?", (_kind(cls), key)).fetchone()
        return decode(cls, row[1], row[0]) if row else None

    def find(self, cls: type[T], prefix: str = "", *, after: str = "", limit: int = -1, **where: str) -> list[T]:
        """Records in order of key: those whose key begins with `prefix`, or one index's value, e.g. `vpc="vpc-1"`.

        `after` (a key) and `limit` page. Raises KeyError for an index that the class does not declare.
        """
        if where:
            ((name, value),) = where.items()
            if name not in cls.INDEXES:  # type: ignore[attr-defined]
                raise KeyError(f"{cls.__name__} declares no index {name}")
            rows = self._db.execute(
                "select r.version, r.body from record_index i join record r on r.kind=i.kind and r.key=i.key"
                " where i.kind=? and i.name=? and i.value=? and i.key>? and i.key>=? and i.key<?"
                " order by i.key limit ?",
                (_kind(cls), name, value, after, prefix, prefix + "\U0010ffff", limit))
        else:
            rows = self._db.execute(
                "select version, body from record where kind=? and key>=? and key<? and key>? order by key limit ?",
                (_kind(cls), prefix, prefix + "\U0010ffff", after, limit))
        return [decode(cls, body, version) for version, body in rows]

    def count(self, cls: type, **where: str) -> int:
        """How many records one index lists under a value, without reading them; KeyError as for `find`."""
        ((name, value),) = where.items()
        if name not in cls.INDEXES:  # type: ignore[attr-defined]
            raise KeyError(f"{cls.__name__} declares no index {name}")
        row = self._db.execute("select count(*) from record_index where kind=? and name=? and value=?",
                               (_kind(cls), name, value)).fetchone()
        return int(row[0]) if row else 0

    def put(self, rec: Any, *, wake: bool = True) -> None:
        """Inserts or replaces. A reconciled record becomes work unless `wake` is off (a step recording what it saw)."""
        kind, key = rec.KIND, key_of(rec)
        self._db.execute("insert into record values (?,?,?,?) on conflict (kind, key) do update set"
                         " version=excluded.version, body=excluded.body", (kind, key, rec.VERSION, encode(rec)))
        if rec.INDEXES:
            self._db.execute("delete from record_index where kind=? and key=?", (kind, key))
            for name, index in rec.INDEXES.items():
                for value in index_values(rec, index):
                    self._db.execute("insert into record_index values (?,?,?,?)", (kind, name, value, key))
        if rec.RECONCILED and wake:
            self.enqueue(kind, key)

    def swap(self, seen: T, changed: T) -> bool:
        """Puts `changed` where the stored record still equals `seen`; a step's way to record what it observed.

        False: somebody wrote meanwhile, so look again. Does not wake the record's own loop.
        """
        if self.get(type(seen), key_of(seen)) != seen:
            return False
        if changed != seen:
            self.put(changed, wake=False)
        return True

    def delete(self, cls: type, key: str) -> None:
        """Removes a record; a reconciled one becomes work, so that its loop removes what it stood for."""
        self._db.execute("delete from record where kind=? and key=?", (_kind(cls), key))
        self._db.execute("delete from record_index where kind=? and key=?", (_kind(cls), key))
        if cls.RECONCILED:  # type: ignore[attr-defined]
            self.enqueue(_kind(cls), key)

    def enqueue(self, kind: str, key: str, after: float = 0.0) -> None:
        """Asks the loop of `kind` to look at `key` in `after` seconds; news upwards is work, never a call."""
        self._db.execute(
            "insert into work values (?,?,?,1,0,'') on conflict (kind, key) do update set"
            " due=min(due, excluded.due), asked=asked+1", (kind, key, self.now + after))
        self.woke = True


def _kind(cls: type) -> str:
    kind: str = cls.KIND  # type: ignore[attr-defined]
    return kind


class Store:
    """The file and its one connection. `on_work` is called after a commit that wrote work."""

    def __init__(self, path: str, clock: Clock) -> None:
        """Opens or makes the file. Raises NewerFormat, or apsw.Error where it cannot be opened."""
        self.clock = clock
        self.path = path
        self.on_work: Callable[[], None] = lambda: None
        self._db = apsw.Connection(path)
        self._db.set_busy_timeout(5000)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.execute("pragma wal_autocheckpoint=0")
        found: int = self._db.pragma("user_version")
        if found > FORMAT:
            self._db.close()
            raise NewerFormat(f"{path} has format {found}; this Cloudlet knows formats up to {FORMAT}")
        self._db.execute(_SCHEMA)
        self._db.execute(f"pragma user_version={FORMAT}")
        self._flusher = Flusher(self._sync)

    def create_tables(self, script: str) -> None:
        """Runs a service's `tables.sql` (only `create … if not exists`)."""
        self._db.execute(script)

    @contextmanager
    def tx(self) -> Iterator[Tx]:
        """One transaction: commits at the end of the block, rolls back on any exception. Nothing in it may await."""
        tx = Tx(self._db, self.clock)
        self._db.execute("begin")
        try:
            yield tx
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")
        if tx.woke:
            self.on_work()

    async def flush(self) -> None:
        """Returns when everything committed before the call would survive a power cut. Raises OSError if it would not.

        Frames of the write-ahead log are checksummed in order, so syncing that file is all that a commit still lacks.
        """
        await self._flusher.flush()

    def _sync(self) -> None:
        descriptor = os.open(self.path + "-wal", os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the file, from a second connection so that writers go on. Call in a thread."""
        second = apsw.Connection(self.path)
        try:
            second.set_busy_timeout(1000)
            second.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            second.close()

    def close(self) -> None:
        """Closes the connection; the file is whole at any moment anyway."""
        self._db.close()
