"""What a record is: a frozen dataclass with a key, declared indexes, a version, and its way up from older versions."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, TypeVar, dataclass_transform

import msgspec

from cloudlet.kernel.errors import DeclarationError

T = TypeVar("T")
Index = Callable[[Any], str | Iterable[str] | None]
Upgrade = Callable[[int, dict[str, Any]], dict[str, Any]]


class Record(Protocol):
    """The class attributes that `@record` sets."""

    KIND: ClassVar[str]
    KEY: ClassVar[str]
    VERSION: ClassVar[int]
    RECONCILED: ClassVar[bool]
    LASTING: ClassVar[bool]
    INDEXES: ClassVar[dict[str, Index]]
    UPGRADE: ClassVar[Upgrade | None]


_kinds: dict[str, type] = {}


@dataclass_transform(frozen_default=True)
def record(kind: str, *, version: int = 1, reconciled: bool = False, lasting: bool = False,
           indexes: dict[str, Index] | None = None, upgrade: Upgrade | None = None) -> Callable[[type[T]], type[T]]:
    """Class decorator: a frozen, slotted dataclass whose first field is its key (a string).

    `kind` is "<service>.<noun>". `reconciled`: a loop brings the world to it, so every put is work. `lasting`: it
    belongs to the installation and no customer, so that a reset leaves it as it is. `indexes` maps a name to a function
    of the record that gives the value or values (None: not listed) under which `Tx.find` finds it; what such functions
    give for a stored record may only change with the record's version or our release, since the store lists records
    anew only then or when the functions' own code changed. `upgrade(version, fields)` turns the stored fields of an
    older version into today's; a new field with a default needs no new version. Raises DeclarationError for a kind that
    is taken.
    """
    def wrap(cls: type[T]) -> type[T]:
        if kind in _kinds:
            raise DeclarationError(f"two records are called {kind}")
        made = dataclasses.dataclass(frozen=True, slots=True)(cls)
        key = dataclasses.fields(made)[0].name  # type: ignore[arg-type]
        for name, value in (("KIND", kind), ("KEY", key), ("VERSION", version), ("RECONCILED", reconciled),
                            ("LASTING", lasting), ("INDEXES", indexes or {}), ("UPGRADE", upgrade)):
            setattr(made, name, staticmethod(value) if callable(value) else value)
        _kinds[kind] = made
        return made
    return wrap


def kinds() -> tuple[type, ...]:
    """Every record class declared so far."""
    return tuple(_kinds.values())


def key_of(rec: Any) -> str:
    """A record's key: its first field."""
    key: str = getattr(rec, rec.KEY)
    return key


def index_rows(rec: Any) -> set[tuple[str, str]]:
    """Each (index, value) under which a record is listed."""
    rows = set()
    for name, index in rec.INDEXES.items():
        value = index(rec)
        if isinstance(value, str):
            rows.add((name, value))
        elif value is not None:
            rows.update((name, one) for one in value)
    return rows


_encode = msgspec.json.Encoder().encode
_decoders: dict[type, Any] = {}


def encode(rec: Any) -> bytes:
    """A record as stored."""
    return _encode(rec)


def decode(cls: type[T], body: bytes, version: int) -> T:
    """A stored record; upgraded where it was written by an older version of its class."""
    if version != cls.VERSION:  # type: ignore[attr-defined]
        upgrade = cls.UPGRADE  # type: ignore[attr-defined]
        if upgrade is None or version > cls.VERSION:  # type: ignore[attr-defined]
            raise DeclarationError(f"{cls.__name__} has no way up from version {version}")
        return msgspec.convert(upgrade(version, msgspec.json.decode(body)), cls)
    decoder = _decoders.get(cls)
    if decoder is None:
        decoder = _decoders[cls] = msgspec.json.Decoder(cls)
    result: T = decoder.decode(body)
    return result
