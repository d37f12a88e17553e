"""The store: typed records, work, and services' own tables in one SQLite file with one writer.

A transaction never awaits, so on one event loop it is serializable for free.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import apsw

from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import AwsError
from cloudlet.store import schema, space
from cloudlet.store.blobs import Blobs
from cloudlet.store.directory import Unusable
from cloudlet.store.flush import Flusher
from cloudlet.store.news import News
from cloudlet.store.records import decode, encode, index_rows, key_of, kinds
from cloudlet.store.schema import NewerFormat as NewerFormat
from cloudlet.store.sealing import Seal

T = TypeVar("T")

LOG_BYTES = 4 << 20  # of the write-ahead log that are worth moving into the file
LOG_BYTES_KEPT = 2 * LOG_BYTES  # it has the space for so much, be the disk full
# So long may it get before the checkpoint's end makes writers wait; and so long its file stays, since bytes that are
# overwritten are on the disk several times sooner than those that make a file longer.
LOG_BYTES_MAX = 64 << 20
PAGE_BYTES = 4096
_LAST = "\U0010ffff"  # after every other character, so that `prefix + _LAST` is after every key with that prefix


class OutOfSpace(AwsError):
    """The disk is full. Nothing of the transaction was written, nothing written before is lost, and when there is
    space again everything goes on."""

    code, status = "ServiceUnavailable", 503
    default_message = "The disk that holds Cloudlet's data is full."


class Lost(AwsError):
    """What was written could not be committed, and was taken back."""

    code, status = "InternalError", 500
    default_message = "We encountered an internal error. Please try again."


class _Group:
    """What SQLite commits at once: one transaction, or several that share its commit. `error`: it was lost by this."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None


class Tx:
    """One transaction. `now` is its time in epoch seconds; `token` draws random hex digits; `seal` keeps secrets;
    `blobs` are the store's, for what is opened in the transaction that says which file it is, and so is `news`, which
    what is in `after` tells once this is done: who hears of it may share the commit, and who does not, commits."""

    __slots__ = ("_db", "after", "blobs", "clock", "group", "news", "now", "seal", "woke")

    def __init__(self, db: apsw.Connection, clock: Clock, seal: Seal, blobs: Mapping[str, Blobs], news: News,
                 group: _Group) -> None:
        self._db, self.clock, self.seal, self.blobs, self.news, self.group = db, clock, seal, blobs, news, group
        self.now, self.woke = clock.now(), False
        self.after: list[Callable[[], object]] = []

    def token(self, length: int = 17) -> str:
        """`length` random lower-case hex digits."""
        return self.clock.token(length)

    def execute(self, sql: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> apsw.Cursor:
        """SQL on a service's own tables (`tables.sql`), in the subset that SQLite and PostgreSQL share."""
        return self._db.execute(sql, values)

    def last_id(self) -> int:
        """The number that the last inserted row got as its `integer primary key`."""
        return self._db.last_insert_rowid()

    def get(self, cls: type[T], key: str) -> T | None:
        """The record of that key, or None."""
        row = self._stored(_kind(cls), key)
        return decode(cls, row[1], row[0]) if row else None

    def find(self, cls: type[T], prefix: str = "", *, after: str = "", limit: int = -1, **where: str) -> list[T]:
        """Records in order of key: those whose key begins with `prefix`, or one index's value, e.g. `vpc="vpc-1"`.

        `after` (a key) and `limit` page. Raises KeyError for an index that the class does not declare.
        """
        kind, first, last = _kind(cls), max(prefix, after + "\0" if after else ""), prefix + _LAST
        if where:
            name, value = _one_index(cls, where)
            rows = self._db.execute(
                "select r.version, r.body from record_index i join record r on r.kind=i.kind and r.key=i.key"
                " where i.kind=? and i.name=? and i.value=? and i.key>=? and i.key<? order by i.key limit ?",
                (kind, name, value, first, last, limit))
        else:
            rows = self._db.execute("select version, body from record where kind=? and key>=? and key<?"
                                    " order by key limit ?", (kind, first, last, limit))
        return [decode(cls, body, version) for version, body in rows]

    def count(self, cls: type, **where: str) -> int:
        """How many records one index lists under a value, without reading them; KeyError as for `find`."""
        name, value = _one_index(cls, where)
        row = self._db.execute("select count(*) from record_index where kind=? and name=? and value=?",
                               (_kind(cls), name, value)).fetchone()
        return int(row[0]) if row else 0

    def put(self, rec: Any, *, wake: bool = True) -> None:
        """Inserts or replaces. A reconciled record becomes work unless `wake` is off (a step recording what it saw)."""
        kind, key, body = rec.KIND, key_of(rec), encode(rec)
        before = self._stored(kind, key)
        if before != (rec.VERSION, body):
            self._db.execute("insert into record values (?,?,?,?) on conflict (kind, key) do update set"
                             " version=excluded.version, body=excluded.body", (kind, key, rec.VERSION, body))
            if rec.INDEXES:
                self._list(type(rec), key, before, index_rows(rec))
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
        kind = _kind(cls)
        if before := self._stored(kind, key):
            self._db.execute("delete from record where kind=? and key=?", (kind, key))
            self._list(cls, key, before, set())
        if cls.RECONCILED:  # type: ignore[attr-defined]
            self.enqueue(kind, key)

    def enqueue(self, kind: str, key: str, after: float = 0.0) -> None:
        """Asks the loop of `kind` to look at `key` in `after` seconds; news upwards is work, never a call.

        Questions about one key merge, and the earliest counts: a step that must look again later says so itself
        (`Again`), rather than rely on a delayed question asked before.
        """
        self._db.execute(
            "insert into work values (?,?,?,1,0,'') on conflict (kind, key) do update set"
            " due=min(due, excluded.due), asked=asked+1", (kind, key, self.now + after))
        self.woke = True

    def enqueue_all(self, over_s: float = 0.0) -> None:
        """Asks the loops to look at every reconciled record, the last of them in `over_s` seconds."""
        for kind in _reconciled():
            self._db.execute(
                "insert into work select kind, key, ? + ? * row_number() over (order by key) / count(*) over (),"
                " 1, 0, '' from record where kind=? on conflict (kind, key) do update set"
                " due=min(due, excluded.due), asked=asked+1", (self.now, over_s, kind))
        self.woke = True

    def clear(self) -> None:
        """Deletes every record that is not lasting, and every row of the services' tables; the loops then remove what
        they stood for. What was to be asked later is asked now: it is about records that are gone. Numbers that were
        given by `autoincrement` are not given again, since work and customers may still name them."""
        self.enqueue_all()
        self._db.execute("update work set due=min(due,?), asked=asked+1", (self.now,))
        lasting = [_kind(cls) for cls in kinds() if cls.LASTING]  # type: ignore[attr-defined]
        spared = f"where kind not in ({', '.join('?' * len(lasting))})"
        for (table,) in self._db.execute("select name from sqlite_schema where type='table'"
                                         " and name not like 'sqlite!_%' escape '!'").fetchall():
            if table in ("record", "record_index"):
                self._db.execute(f"delete from {table} {spared}", lasting)
            elif table == "broken" or table not in schema.OURS:
                self._db.execute(f'delete from "{table}"')

    def _stored(self, kind: str, key: str) -> tuple[int, bytes] | None:
        row: tuple[int, bytes] | None = self._db.execute(
            "select version, body from record where kind=? and key=?", (kind, key)).fetchone()
        return row

    def _list(self, cls: type, key: str, before: tuple[int, bytes] | None, now: set[tuple[str, str]]) -> None:
        """Brings the indexes from what they said of the record as it was stored to what they should say now."""
        old = index_rows(decode(cls, before[1], before[0])) if before else set()
        for name, value in old - now:
            self._db.execute("delete from record_index where kind=? and name=? and value=? and key=?",
                             (_kind(cls), name, value, key))
        for name, value in now - old:
            self._db.execute("insert or ignore into record_index values (?,?,?,?)", (_kind(cls), name, value, key))


def _kind(cls: type) -> str:
    kind: str = cls.KIND  # type: ignore[attr-defined]
    return kind


def _one_index(cls: type, where: dict[str, str]) -> tuple[str, str]:
    ((name, value),) = where.items()
    if name not in cls.INDEXES:  # type: ignore[attr-defined]
        raise KeyError(f"{cls.__name__} declares no index {name}")
    return name, value


def _reconciled() -> list[str]:
    return [_kind(cls) for cls in kinds() if cls.RECONCILED]  # type: ignore[attr-defined]


class Store:
    """The file and its one connection. `on_work` is called after a transaction that wrote work; `blobs` are the files
    that go with the records, by the service that owns them: whoever opens a service's front door puts them there;
    `news` reaches the requests that wait for it.

    One process at a time: whoever opens it holds the data directory's lock (`directory.DataDirectory`). The kinds of
    record should be declared (imported) before, so that their indexes are brought up to date here.
    """

    def __init__(self, path: str, clock: Clock) -> None:
        """Opens or makes the file. Raises NewerFormat, or Unusable: damaged, unreadable, or not ours."""
        self.clock = clock
        self.path = path
        self.on_work: Callable[[], None] = lambda: None
        self.blobs: dict[str, Blobs] = {}
        self.news = News()
        self._inside = False  # a transaction's block
        self._log_pages = 0
        self._shared: _Group | None = None  # what waits for its commit
        self._synced = -1  # rows that had been written when the last sync began
        self._flusher = Flusher(self._settle, self._sync)
        self._seal = Seal(Path(path).with_name("seal.key"), clock.token)
        try:
            self._db = apsw.Connection(path)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise
        except apsw.Error as error:
            raise Unusable(f"cannot use {path}: {error}") from error

    def _open(self) -> None:
        self._db.set_busy_timeout(5000)
        # Else a statement is planned anew each time that a value is bound to it, which costs more than to run it.
        # https://sqlite.org/queryplanner-ng.html#qpstab
        self._db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        schema.prepare(self._db, self.path)
        for pragma, value in (("journal_mode", "wal"), ("synchronous", "normal"), ("wal_autocheckpoint", 0),
                              ("journal_size_limit", LOG_BYTES_MAX), ("cache_size", -16384), ("temp_store", "memory")):
            self._db.pragma(pragma, value)
        self._db.set_wal_hook(self._count_log)
        schema.reindex(self._db)
        directory = os.open(Path(self.path).parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # or a power cut might leave the log without a name
        finally:
            os.close(directory)

    def create_tables(self, script: str) -> None:
        """Runs a service's `tables.sql` (only `create … if not exists`)."""
        with self._db:
            self._db.execute(script)
        self._synced = -1  # which counts no rows

    @contextmanager
    def tx(self, *, shared: bool = False) -> Iterator[Tx]:
        """One transaction: commits at the end of the block, rolls back on any exception. Nothing in it may await.

        `shared` leaves the commit to `flush`, or to whoever commits before, so that requests which wait for the disk
        anyway cost one commit together: nothing may be answered of what was written until `flush` of it returned. Who
        does not share commits those that do as well, so that what was answered is never taken back.

        Raises OutOfSpace when the disk is full.
        """
        if self._inside:
            raise RuntimeError("cannot start a transaction within a transaction")
        joined, written = self._shared is not None, self._db.total_changes()
        group = self._shared or _Group()
        tx = Tx(self._db, self.clock, self._seal, self.blobs, self.news, group)
        self._db.execute("savepoint shared" if joined else "begin")
        self._inside = True
        try:
            yield tx
            if joined:
                self._db.execute("release shared")
        except BaseException as error:
            self._take_back(group, error)
            if isinstance(error, apsw.FullError):
                raise OutOfSpace from error
            raise
        finally:
            self._inside = False
        if shared and (joined or self._db.total_changes() != written):
            self._shared = group
        else:
            self._commit(group)
        if tx.woke:
            self.on_work()
        for tell in tx.after:
            tell()

    def _take_back(self, group: _Group, error: BaseException) -> None:
        """Undoes one transaction, and with it those whose commit it shares only where SQLite has done so already."""
        if not self._db.in_transaction:
            self._shared, group.error = None, error
        elif group is self._shared:
            self._db.execute("rollback to shared")
            self._db.execute("release shared")
        else:
            self._db.execute("rollback")

    def _commit(self, group: _Group) -> None:
        self._shared = None
        try:
            self._db.execute("commit")
        except BaseException as error:
            group.error = error
            if self._db.in_transaction:  # SQLite may have rolled back already
                self._db.execute("rollback")
            if isinstance(error, apsw.FullError):
                raise OutOfSpace from error
            raise

    def _commit_shared(self) -> None:
        """Raises nothing: who waits for a commit that fails is told by `flush`."""
        if self._shared is not None:
            with suppress(Exception):
                self._commit(self._shared)

    def _settle(self) -> bool:
        """Commits what waits for that; whether anything was written since the last sync began."""
        self._commit_shared()
        synced, self._synced = self._synced, self._db.total_changes()
        return synced != self._synced

    async def flush(self, tx: Tx | None = None) -> None:
        """Returns when everything committed before the call, and what shares its commit with `tx`, would survive a
        power cut. Raises OSError if it would not, and what kept `tx` from its commit (OutOfSpace: a full disk).

        With `synchronous=normal` SQLite syncs the write-ahead log only before a checkpoint; `full` would add a sync of
        it after each commit (https://sqlite.org/pragma.html#pragma_synchronous). This is that sync, once for many.
        """
        await self._flusher.flush()
        if tx is not None and tx.group.error is not None:
            raise (OutOfSpace() if isinstance(tx.group.error, apsw.FullError) else Lost()) from tx.group.error

    def _sync(self) -> None:
        # Safe to open and close beside SQLite, unlike the file itself, whose POSIX locks a close would drop.
        descriptor = os.open(self.path + "-wal", os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def log_bytes(self) -> int:
        """The size of the write-ahead log, of which the file may be longer."""
        return self._log_pages * PAGE_BYTES

    def _count_log(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._log_pages = pages  # as of a commit
        return apsw.SQLITE_OK

    def reserve(self) -> None:
        """Makes the log's file longer in advance, by a piece each time: so that what frees space can be written on a
        disk that others have filled, and, where there is plenty, that all it will ever hold overwrites something."""
        descriptor = os.open(self.path + "-wal", os.O_RDWR)
        try:
            if not space.is_full(descriptor):
                size = LOG_BYTES_MAX if space.is_plenty(descriptor) else LOG_BYTES_KEPT
                space.lengthen(descriptor, size, LOG_BYTES_KEPT)
        finally:
            os.close(descriptor)

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the file, from a second connection so that writers go on. Call in a thread.
        Nothing where another is at it."""
        second = apsw.Connection(self.path)
        try:
            second.set_busy_timeout(1000)
            second.execute("select 1 from sqlite_schema").fetchone()  # until it reads it does not know of the log
            with suppress(apsw.BusyError):
                pages, moved = second.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                if moved == pages == self._log_pages:
                    self._log_pages = 0  # the next commit is its first
        finally:
            second.close()

    def finish_checkpoint(self) -> None:
        """Moves what was written while `checkpoint` ran, so that the log begins anew; writers wait meanwhile."""
        self._commit_shared()
        self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def close(self) -> None:
        """Closes the connection; the file is whole at any moment anyway."""
        self._commit_shared()
        self._db.close()
