"""One transaction: records, rows of services' own tables, work."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

import apsw
import msgspec

from cloudlet.kernel.clock import Clock
from cloudlet.store import schema
from cloudlet.store.blobs import Blobs
from cloudlet.store.news import News
from cloudlet.store.records import decode, encode, index_rows, key_of, kinds
from cloudlet.store.sealing import Seal
from cloudlet.store.session import Group, OutOfSpace, Session

T = TypeVar("T")

KNOWN_RECORDS, KNOWN_BYTES = 8192, 4096  # so many records are kept in memory, of at most so many bytes each
LATER_MAX = 128  # rows of a kind that one transaction has put off: they are in memory, be they messages of a megabyte
_LAST = "\U0010ffff"  # after every other character, so that `prefix + _LAST` is after every key with that prefix


class Owner(Protocol):
    """What a transaction needs of its store."""

    clock: Clock
    seal: Seal
    blobs: dict[str, Blobs]
    news: News
    on_work: Callable[[], None]
    inside: bool


class Tx(msgspec.Struct, eq=False):
    """One transaction: commits at the end of the block, rolls back on any exception. Nothing in it may await.

    `now` is its time in epoch seconds; `token` draws random hex digits; `seal` keeps secrets; `blobs` are the store's,
    for what is opened in the transaction that says which file it is, and so is `news`, which what is in `after` tells
    once this is done: who hears of it may share the commit, and who does not, commits.
    """

    _owner: Owner
    _session: Session
    _cursor: apsw.Cursor
    _shared: bool
    group: Group
    now: float
    woke: bool = False
    _wrote: bool = False
    _later: dict[str, list[Sequence[Any]]] = msgspec.field(default_factory=dict)
    after: list[Callable[[], object]] = msgspec.field(default_factory=list)

    def __enter__(self) -> "Tx":
        if self._owner.inside:
            raise RuntimeError("cannot start a transaction within a transaction")
        self._owner.inside = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        session, group = self._session, self.group
        self._owner.inside = False
        if error is not None:
            session.take_back(group, self._wrote, error)
            if isinstance(error, apsw.FullError):
                raise OutOfSpace from error
            return
        group.check()
        later = self._later
        for sql, rows in later.items():
            group.later.setdefault(sql, []).extend(rows)
        if not self._shared:
            session.commit(group)
        elif self._wrote or later:
            session.join(group, self._wrote)
        elif group is not session.open:
            session.end()
        if self.woke:
            self._owner.on_work()
        for tell in self.after:
            tell()

    @property
    def steady(self) -> float:
        """`now`, as if nobody had ever set the clock back: for when something is due, see `store.steadiness`."""
        return self.now + self.clock.ahead

    @property
    def clock(self) -> Clock:
        """See Tx."""
        return self._owner.clock

    @property
    def news(self) -> News:
        """See Tx."""
        return self._owner.news

    @property
    def seal(self) -> Seal:
        """See Tx."""
        return self._owner.seal

    @property
    def blobs(self) -> Mapping[str, Blobs]:
        """See Tx."""
        return self._owner.blobs

    def token(self, length: int = 17) -> str:
        """`length` random lower-case hex digits."""
        return self.clock.token(length)

    # ── Services' own tables ─────────────────────────────────────────────────────────────────────────────────────────

    def execute(self, sql: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> apsw.Cursor:
        """SQL on a service's own tables (`tables.sql`), in the subset that SQLite and PostgreSQL share."""
        self._ready(sql)
        return self._session.db.execute(sql, values)

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """All rows that SQL finds there."""
        self._ready(sql)
        found: list[Any] = self._cursor.execute(sql, values).fetchall()
        return found

    def row(self, sql: str, *values: Any) -> Any:
        """The first of them; None where there is none."""
        self._ready(sql)
        return self.peek(sql, *values)

    def peek(self, sql: str, *values: Any, about: object = None) -> Any:
        """The first row that SQL finds, or None, without what was put off, which then still need not be done: to be
        asked only of what nothing that is ever put off changes, but for what was put off `about` the same."""
        if about in self.group.about:
            self._ready(sql)
        self._session.begin()
        found = self._cursor.execute(sql, values).fetchall()
        return found[0] if found else None

    def _ready(self, sql: str) -> None:
        """Before anybody looks at what may have been put off, or writes."""
        if not self._wrote:
            if self._later or not sql.startswith("select"):
                self._write()
            else:
                self._session.write_out(self.group)
                self._session.begin()
        if self._later:
            self._do_later()

    def put_off(self, sql: str, values: Sequence[Any], about: object = None) -> None:
        """A write of which nothing more is to be known here. It is done before the next statement on services' tables,
        whoever asks it, or with the commit, or when there is much of it: together with others of its kind, which costs
        a fraction of one by one. What was put off meanwhile may be done in any order. `about`: see `peek`."""
        if about is not None:
            self.group.about.add(about)  # stays there, at worst for nothing, where this is taken back
        rows = self._later.setdefault(sql, [])
        rows.append(values)
        if len(rows) == LATER_MAX:
            self._write()
            self._do_later()

    def _do_later(self) -> None:
        later, self._later = self._later, {}
        self._session.run(later)

    def last_id(self) -> int:
        """The number that the last inserted row got as its `integer primary key`."""
        return self._session.db.last_insert_rowid()

    def rising(self, name: str, least: int, ahead: int) -> int:
        """A number that is at least `least`, and greater than all that were given under that name before, in whichever
        life of the store. Only each time that so many (`ahead`) are used up, one is written down."""
        given = self._session.given
        number = max(least, given.get(name, -1) + 1)
        if number > self._session.bounds.get(name, -1):
            number = self._bound(name, number, ahead)
        given[name] = number
        return number

    def _bound(self, name: str, number: int, ahead: int) -> int:
        self._write()
        if name not in self._session.given:
            row = self._cursor.execute("select bound from rising where name=?", (name,)).fetchone()
            number = max(number, row[0] + 1) if row else number
        self._session.bounds[name] = number + ahead
        self._cursor.execute("insert into rising values (?,?) on conflict (name) do update set bound=excluded.bound",
                         (name, number + ahead))
        return number

    def _write(self) -> None:
        """Before anything is written."""
        if not self._wrote:
            self._session.save(self.group)
            self._wrote = True

    # ── Records ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def get(self, cls: type[T], key: str) -> T | None:
        """The record of that key, or None."""
        known = self._session.known
        found: T | None = known.get((cls, key))
        if found is None and (row := self._stored(_kind(cls), key)):
            found = decode(cls, row[1], row[0])
            if len(row[1]) <= KNOWN_BYTES:
                if len(known) >= KNOWN_RECORDS:
                    known.clear()
                known[cls, key] = found
        return found

    def find(self, cls: type[T], prefix: str = "", *, after: str = "", limit: int = -1, **where: str) -> list[T]:
        """Records in order of key: those whose key begins with `prefix`, or one index's value, e.g. `vpc="vpc-1"`.

        `after` (a key) and `limit` page. Raises KeyError for an index that the class does not declare.
        """
        self._session.begin()
        kind, first, last = _kind(cls), max(prefix, after + "\0" if after else ""), prefix + _LAST
        if where:
            name, value = _one_index(cls, where)
            rows = self._cursor.execute(
                "select r.version, r.body from record_index i join record r on r.kind=i.kind and r.key=i.key"
                " where i.kind=? and i.name=? and i.value=? and i.key>=? and i.key<? order by i.key limit ?",
                (kind, name, value, first, last, limit))
        else:
            rows = self._cursor.execute("select version, body from record where kind=? and key>=? and key<?"
                                    " order by key limit ?", (kind, first, last, limit))
        return [decode(cls, body, version) for version, body in rows]

    def count(self, cls: type, **where: str) -> int:
        """How many records one index lists under a value, without reading them; KeyError as for `find`."""
        self._session.begin()
        name, value = _one_index(cls, where)
        row = self._cursor.execute("select count(*) from record_index where kind=? and name=? and value=?",
                               (_kind(cls), name, value)).fetchone()
        return int(row[0]) if row else 0

    def put(self, rec: Any, *, wake: bool = True) -> None:
        """Inserts or replaces. A reconciled record becomes work unless `wake` is off (a step recording what it saw)."""
        kind, key, body = rec.KIND, key_of(rec), encode(rec)
        before = self._stored(kind, key)
        if before != (rec.VERSION, body):
            self._write()
            self._session.known.pop((type(rec), key), None)
            self._cursor.execute("insert into record values (?,?,?,?) on conflict (kind, key) do update set"
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
            self._write()
            self._session.known.pop((cls, key), None)
            self._cursor.execute("delete from record where kind=? and key=?", (kind, key))
            self._list(cls, key, before, set())
        if cls.RECONCILED:  # type: ignore[attr-defined]
            self.enqueue(kind, key)

    def enqueue(self, kind: str, key: str, after: float = 0.0) -> None:
        """Asks the loop of `kind` to look at `key` in `after` seconds; news upwards is work, never a call.

        Questions about one key merge, and the earliest counts: a step that must look again later says so itself
        (`Again`), rather than rely on a delayed question asked before.
        """
        self._write()
        self._cursor.execute(
            "insert into work values (?,?,?,1,0,'') on conflict (kind, key) do update set"
            " due=min(due, excluded.due), asked=asked+1", (kind, key, self.steady + after))
        self.woke = True

    def enqueue_all(self, over_s: float = 0.0) -> None:
        """Asks the loops to look at every reconciled record, the last of them in `over_s` seconds."""
        self._write()
        for kind in _reconciled():
            self._cursor.execute(
                "insert into work select kind, key, ? + ? * row_number() over (order by key) / count(*) over (),"
                " 1, 0, '' from record where kind=? on conflict (kind, key) do update set"
                " due=min(due, excluded.due), asked=asked+1", (self.steady, over_s, kind))
        self.woke = True

    def clear(self) -> None:
        """Deletes every record that is not lasting, and every row of the services' tables; the loops then remove what
        they stood for. What was to be asked later is asked now: it is about records that are gone. Numbers that were
        given by `autoincrement` or `rising` are not given again, since work and customers may still name them."""
        self.enqueue_all()
        self._session.known.clear()
        self._cursor.execute("update work set due=min(due,?), asked=asked+1", (self.steady,))
        lasting = [_kind(cls) for cls in kinds() if cls.LASTING]  # type: ignore[attr-defined]
        spared = f"where kind not in ({', '.join('?' * len(lasting))})"
        for (table,) in self._cursor.execute("select name from sqlite_schema where type='table'"
                                         " and name not like 'sqlite!_%' escape '!'").fetchall():
            if table in ("record", "record_index"):
                self._cursor.execute(f"delete from {table} {spared}", lasting)
            elif table == "broken" or table not in schema.OURS:
                self.execute(f'delete from "{table}"')

    def _stored(self, kind: str, key: str) -> tuple[int, bytes] | None:
        self._session.begin()
        row: tuple[int, bytes] | None = self._cursor.execute(
            "select version, body from record where kind=? and key=?", (kind, key)).fetchone()
        return row

    def _list(self, cls: type, key: str, before: tuple[int, bytes] | None, now: set[tuple[str, str]]) -> None:
        """Brings the indexes from what they said of the record as it was stored to what they should say now."""
        old = index_rows(decode(cls, before[1], before[0])) if before else set()
        for name, value in old - now:
            self._cursor.execute("delete from record_index where kind=? and name=? and value=? and key=?",
                             (_kind(cls), name, value, key))
        for name, value in now - old:
            self._cursor.execute("insert or ignore into record_index values (?,?,?,?)", (_kind(cls), name, value, key))


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
