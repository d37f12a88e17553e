"""The store: typed records, work, and services' own tables in one SQLite file with one writer.

A transaction never awaits, so on one event loop it is serializable for free.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw

from cloudlet.kernel.clock import Clock
from cloudlet.store import schema, space
from cloudlet.store.blobs import Blobs
from cloudlet.store.directory import Unusable
from cloudlet.store.disk import Disk
from cloudlet.store.flush import Flusher, Told
from cloudlet.store.news import News
from cloudlet.store.schema import NewerFormat as NewerFormat
from cloudlet.store.sealing import Seal
from cloudlet.store.session import Group, Session
from cloudlet.store.session import Lost as Lost
from cloudlet.store.session import OutOfSpace as OutOfSpace
from cloudlet.store.tx import Tx as Tx

LOG_BYTES = 4 << 20  # of the write-ahead log that are worth moving into the file
LOG_BYTES_KEPT = 2 * LOG_BYTES  # it has the space for so much, be the disk full
# So long may it get before the checkpoint's end makes writers wait; and so long its file stays, since bytes that are
# overwritten are on the disk several times sooner than those that make a file longer.
LOG_BYTES_MAX = 64 << 20
PAGE_BYTES = 4096


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
        self.inside = False  # a transaction's block
        self._log_pages = 0
        self._log: int | None = None  # its descriptor, once it has been used
        self._synced = -1  # rows that had been written when the last sync began
        self._disk = Disk()
        self._flusher = Flusher(self._settle, self._sync)
        self.seal = Seal(Path(path).with_name("seal.key"), clock.token)
        try:
            self._db = apsw.Connection(path)
            self._session = Session(self._db)
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
        """Runs a service's `tables.sql`: `create … if not exists`, and what else may be run at each start."""
        with self._db:
            self._db.execute(script)
        self._synced = -1  # which counts no rows

    def tx(self, *, shared: bool = False) -> Tx:
        """One transaction: commits at the end of the block, rolls back on any exception. Nothing in it may await.

        `shared` leaves the commit to `flush`, or to whoever commits before, so that requests which wait for the disk
        anyway cost one commit together: nothing may be answered of what was written until `flush` of it returned. Who
        does not share commits those that do as well, so that what was answered is never taken back.

        Raises OutOfSpace when the disk is full.
        """
        session = self._session
        return Tx(self, session, session.cursor, shared, session.open or Group(), self.clock.now())

    def _commit_shared(self) -> None:
        """Raises nothing: who waits for a commit that fails is told by `flush`."""
        if self._session.open is not None:
            with suppress(Exception):
                self._session.commit(self._session.open)

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
        if tx is not None:
            tx.group.check()

    def _sync(self, told: Told) -> None:
        self._disk.sync(self._open_log(), told)

    def _open_log(self) -> int:
        """The log's descriptor; safe to have beside SQLite, unlike one of the file, whose close drops POSIX locks."""
        if self._log is None:
            self._log = os.open(self.path + "-wal", os.O_RDWR)
        return self._log

    def log_bytes(self) -> int:
        """The size of the write-ahead log, of which the file may be longer."""
        return self._log_pages * PAGE_BYTES

    def _count_log(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._log_pages = pages  # as of a commit
        return apsw.SQLITE_OK

    def reserve(self) -> bool:
        """Makes the log's file longer in advance, by a piece, and says whether it did: so that what frees space can be
        written on a disk that others have filled, and, where there is plenty, that all it will ever hold overwrites
        something."""
        descriptor = self._open_log()
        if space.is_full(descriptor):
            return False
        size = LOG_BYTES_MAX if space.is_plenty(descriptor) else LOG_BYTES_KEPT
        return space.lengthen(descriptor, size, LOG_BYTES_KEPT)

    def settle_space(self) -> None:
        """Brings that piece to the disk, so that nobody who waits for the disk waits for it. Call in a thread. What
        goes wrong is told to those: a descriptor of its own takes no error away from them."""
        descriptor = os.open(self.path + "-wal", os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fdatasync(descriptor)
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
        if self._log is not None:
            os.close(self._log)
            self._log = None
