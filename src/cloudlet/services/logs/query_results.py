"""What queries found: rows kept in parts, and pointers from a row to its event."""

import base64
import binascii
import re
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from cloudlet.services.logs import storage
from cloudlet.services.logs.groups import Group
from cloudlet.services.logs.insights.row import Origin, Row
from cloudlet.services.logs.insights.values import text
from cloudlet.services.logs.service import InvalidParameter
from cloudlet.services.logs.storage import event_id, place_of
from cloudlet.store.db import Tx

PART_ROWS, PAGE_ROWS_MAX = 250, 10_000
_TOKEN = re.compile(r"r/(\d{1,9})")
_POINTER_BYTES_MAX = 4096

Columns = list[tuple[str, str]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[list[tuple[str, str]]]).decode
_decode_pointer = msgspec.json.Decoder(tuple[str, str, str]).decode


def keep(tx: Tx, query: str, part: int, rows: Sequence[Columns]) -> None:
    """Writes a part of a result: PART_ROWS rows, or what is left."""
    tx.execute("insert into logs_result values (?,?,?)", (query, part, zlib.compress(_encode(rows), 1)))


def forget(tx: Tx, query: str) -> None:
    """Deletes what is kept of a query."""
    tx.execute("delete from logs_result where query=?", (query,))


def page(tx: Tx, query: str, count: int, token: str | None, limit: int | None) -> tuple[list[list[dict[str, str]]],
                                                                                      str | None]:
    """Some of a query's `count` rows, and the token of the next page. Raises InvalidParameter for a foreign token."""
    found = _TOKEN.fullmatch(token) if token else None
    if token and not found:
        raise InvalidParameter("The specified nextToken is invalid.")
    start = int(found[1]) if found else 0
    end = min(count, start + (limit or PAGE_ROWS_MAX))
    rows: list[Columns] = []
    for (body,) in tx.execute("select body from logs_result where query=? and part>=? and part<=? order by part",
                              (query, start // PART_ROWS, (end - 1) // PART_ROWS)) if end > start else ():
        rows += _decode(zlib.decompress(body))
    skipped = start % PART_ROWS
    shown = [[{"field": name, "value": value} for name, value in row] for row in rows[skipped:skipped + end - start]]
    return shown, f"r/{end}" if end < count else None


def pointer(row: Row) -> str:
    """What names a row's event, for GetLogRecord."""
    assert row.origin is not None
    parts = row.origin.group, row.origin.stream, str(event_id(row.place))
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode()


def place_at(text: str) -> tuple[str, str, storage.Place]:
    """The group, the stream and the place that a pointer names. Raises InvalidParameter."""
    try:
        group, stream, number = _decode_pointer(base64.urlsafe_b64decode(text[:_POINTER_BYTES_MAX]))
        return group, stream, place_of(int(number[:60]))
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise InvalidParameter("The specified log record pointer is invalid.") from None


def log_record(tx: Tx, group: Group, stream: str, place: storage.Place) -> dict[str, Any] | None:
    """All fields of an event; None where it is gone, or not in that stream."""
    found = storage.find_stream(tx, group.id, stream)
    if found is None or found.id != place[1] or place[0] < group.oldest_ms(tx.now):
        return None
    event = storage.find_event(tx, place)
    if event is None:
        return None
    log = f"{group.account}:{group.name}"
    row = Row(Origin(log, group.name, stream), event[:4], event[4], event[5])
    return {**{name: text(value) for name, value in row.discovered().items()}, "@message": row.message, "@log": log,
            "@logStream": stream, "@timestamp": str(event[0]), "@ingestionTime": str(row.ingested),
            "@ptr": pointer(row)}
