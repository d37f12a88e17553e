"""What is in the file: its tables, its format and the way up from older ones, and whether its indexes are today's."""

import hashlib
from types import CodeType

import apsw

from cloudlet import __version__
from cloudlet.store.directory import Unusable
from cloudlet.store.records import Index, decode, index_rows, kinds

APPLICATION = 0x436C646C  # "Cldl" in the file's header: this is the store of a Cloudlet and no other program's file
FORMAT = 2

_RISING = """
create table rising (
  name text not null primary key, bound bigint not null) without rowid;
"""
UPGRADES = {1: _RISING}  # format -> SQL that turns a file of that format into one of the next

TABLES = """
create table record (
  kind text not null, key text not null, version integer not null, body blob not null,
  primary key (kind, key)) without rowid;
create table record_index (
  kind text not null, name text not null, value text not null, key text not null,
  primary key (kind, name, value, key)) without rowid;
create table record_signature (
  kind text not null primary key, signature text not null) without rowid;
create table work (
  kind text not null, key text not null, due real not null, asked integer not null, attempts integer not null,
  why text not null, primary key (kind, key)) without rowid;
create index work_due on work (due);
create table broken (
  kind text not null, key text not null, at real not null, reason text not null, primary key (kind, key)) without rowid;
""" + _RISING
OURS = ("record", "record_index", "record_signature", "work", "broken", "rising")


class NewerFormat(Unusable):
    """The data directory was written by a newer Cloudlet."""


def prepare(db: apsw.Connection, path: str) -> None:
    """Makes the tables, or brings an older format up, in one transaction. Raises NewerFormat, or Unusable for a file
    that is not ours."""
    found, application = int(db.pragma("user_version")), int(db.pragma("application_id"))
    empty = db.execute("select 1 from sqlite_master").fetchone() is None
    if not empty and application != APPLICATION:
        raise Unusable(f"{path} belongs to another program")
    if found > FORMAT:
        raise NewerFormat(f"{path} has format {found}; this Cloudlet knows formats up to {FORMAT}")
    if found == FORMAT:
        return
    with db:
        if empty:
            db.pragma("application_id", APPLICATION)
            db.execute(TABLES)
        else:
            for older in range(found, FORMAT):
                db.execute(UPGRADES[older])
        db.pragma("user_version", FORMAT)


def reindex(db: apsw.Connection) -> None:
    """Lists all records anew under each kind whose indexes were declared otherwise when they were last listed."""
    with db:
        known = dict(db.execute("select kind, signature from record_signature"))
        for cls in kinds():
            kind: str = cls.KIND  # type: ignore[attr-defined]
            signature = _signature(cls)
            if known.get(kind) == signature:
                continue
            db.execute("delete from record_index where kind=?", (kind,))
            for key, version, body in db.execute("select key, version, body from record where kind=?", (kind,)):
                db.executemany("insert into record_index values (?,?,?,?)", [
                    (kind, name, value, key) for name, value in index_rows(decode(cls, body, version))])
            db.execute("insert into record_signature values (?,?) on conflict (kind) do update set"
                       " signature=excluded.signature", (kind, signature))


def _signature(cls: type) -> str:
    """Changes with the record's version, its indexes, their code, and our release (for what that code calls)."""
    indexes: dict[str, Index] = cls.INDEXES  # type: ignore[attr-defined]
    version: int = cls.VERSION  # type: ignore[attr-defined]
    text = repr((__version__, version, [(name, _code(index)) for name, index in sorted(indexes.items())]))
    return hashlib.blake2s(text.encode()).hexdigest()


def _code(function: object) -> object:
    """What a function does, as text that is the same in every process."""
    code = getattr(function, "__code__", function)
    if isinstance(code, CodeType):
        return code.co_code, code.co_names, [_code(constant) for constant in code.co_consts]
    return sorted(map(repr, code)) if isinstance(code, frozenset) else repr(code)
