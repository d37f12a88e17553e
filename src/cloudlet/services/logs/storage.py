"""Where streams and events are kept: rows for streams, compressed chunks for events, and reading them in order.

An event's place in its group is (timestamp, stream, sequence of its chunk, index in it): unique and total, so that one
number (`event_id`) names an event and serves as a token to go on from.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cloudlet.services.logs import chunks
from cloudlet.services.logs.chunks import Chunk, Event, Needles, Wanted
from cloudlet.store.db import Tx

EVENT_OVERHEAD_BYTES = 26  # what AWS adds to the length of each message
CHUNK_EVENTS_MAX, CHUNK_BYTES_MAX, CHUNK_SPAN_MS_MAX = 10_000, 1_048_576, 3_600_000
CHUNK_SMALL_BYTES = 96 * 1024  # a chunk below this is merged with its neighbours, by the loop MERGE
MERGE, MERGE_AFTER_S = "logs.chunks", 5.0  # kind of work, by stream; so long small chunks gather
DELETE = "logs.deleted"  # kind of work, by the id of a group that is gone
_STREAM_BITS, _SEQ_BITS, _INDEX_BITS = 48, 64, 32
_STREAM_COLUMNS = "id, name, created_ms, first_ms, last_ms, ingested_ms, next_seq"

Place = tuple[int, ...]  # a prefix of (timestamp, stream, sequence, index)
Batch = tuple[list[Event], int | None]


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream's row; the times of its events are None while it has none."""

    id: int
    name: str
    created_ms: int
    first_ms: int | None
    last_ms: int | None
    ingested_ms: int | None
    next_seq: int


def event_id(place: Sequence[int]) -> int:
    """The number of a place; places in order have numbers in order, and every event's number has 56 digits."""
    timestamp, stream, seq, index = (*place, 0, 0, 0)[:4]
    return ((timestamp << _STREAM_BITS | stream) << _SEQ_BITS | seq) << _INDEX_BITS | index


def place_of(number: int) -> Place:
    """The place that `event_id` gave a number."""
    number, index = number >> _INDEX_BITS, number & (1 << _INDEX_BITS) - 1
    number, seq = number >> _SEQ_BITS, number & (1 << _SEQ_BITS) - 1
    return number >> _STREAM_BITS, number & (1 << _STREAM_BITS) - 1, seq, index


def find_stream(tx: Tx, group: int, name: str) -> Stream | None:
    """A group's stream, or None."""
    row = tx.execute(f"select {_STREAM_COLUMNS} from logs_stream where log_group=? and name=?",
                     (group, name)).fetchone()
    return Stream(*row) if row else None


def find_streams(tx: Tx, group: int, *, prefix: str, by_time: bool, descending: bool, offset: int,
                 limit: int) -> list[Stream]:
    """A group's streams in order of name or of their last event's time."""
    order = "desc" if descending else "asc"
    by = f"last_ms {order}, name {order}" if by_time else f"name {order}"
    rows = tx.execute(
        f"select {_STREAM_COLUMNS} from logs_stream where log_group=? and name>=? and name<? order by {by}"
        " limit ? offset ?", (group, prefix, prefix + "\U0010ffff", limit, offset))
    return [Stream(*row) for row in rows]


def streams_since(tx: Tx, group: int, since_ms: int) -> list[Stream]:
    """The streams of a group to which something was appended at that time or later."""
    return [Stream(*row) for row in tx.execute(
        f"select {_STREAM_COLUMNS} from logs_stream where log_group=? and ingested_ms>=? order by name",
        (group, since_ms))]


def stream_name(tx: Tx, stream: int) -> str:
    """The name of a stream that is there."""
    ((name,),) = tx.execute("select name from logs_stream where id=?", (stream,))
    return str(name)


def create_stream(tx: Tx, group: int, name: str) -> None:
    """An empty stream; the caller has made sure that the name is free."""
    tx.execute("insert into logs_stream values (?,?,?,?,null,null,null,1,0)",
               (random_id(tx), group, name, int(tx.now * 1000)))


def random_id(tx: Tx) -> int:
    """A number of 48 bits that nothing else has."""
    return int(tx.token(_STREAM_BITS // 4), 16)


def delete_stream(tx: Tx, stream: int) -> None:
    """A stream; its chunks are seen by nobody from now on, and the loop MERGE deletes them."""
    tx.execute("delete from logs_stream where id=?", (stream,))
    tx.enqueue(MERGE, str(stream))


def exists(tx: Tx, stream: int) -> bool:
    """Whether nobody has deleted a stream."""
    return tx.execute("select 1 from logs_stream where id=?", (stream,)).fetchone() is not None


def delete_chunks(tx: Tx, stream: int, limit: int) -> int:
    """Deletes up to `limit` chunks of a stream that is gone; how many they were."""
    rows = tx.execute("select seq from logs_chunk where stream=? limit ?", (stream, limit)).fetchall()
    for (seq,) in rows:
        tx.execute("delete from logs_chunk where stream=? and seq=?", (stream, seq))
    return len(rows)


def delete_slice(tx: Tx, group: int, limit: int) -> int:
    """Deletes up to `limit` chunks, and then streams, of a group that is gone; how many they were."""
    rows = tx.execute("select stream, seq from logs_chunk where log_group=? limit ?", (group, limit)).fetchall()
    for row in rows:
        tx.execute("delete from logs_chunk where stream=? and seq=?", row)
    streams = tx.execute("select id from logs_stream where log_group=? limit ?", (group, limit - len(rows))).fetchall()
    for row in streams:
        tx.execute("delete from logs_stream where id=?", row)
    return len(rows) + len(streams)


def stored_bytes(tx: Tx, group: int) -> int:
    """The sum of the messages' lengths in UTF-8, and 26 bytes an event."""
    ((total,),) = tx.execute("select coalesce(sum(stored_bytes), 0) from logs_stream where log_group=?", (group,))
    return int(total)


def append(tx: Tx, group: int, stream: Stream, events: Sequence[tuple[int, str]]) -> int:
    """Adds events of (timestamp_ms, message) in chronological order; the number of the stream's next chunk."""
    if not events:
        return stream.next_seq
    times, messages = zip(*events, strict=True)
    lengths = [len(message) if message.isascii() else len(message.encode()) for message in messages]
    ingested, seq, total = int(tx.now * 1000), stream.next_seq, 0
    for start, end in _cuts(times, lengths):
        size = sum(lengths[start:end]) + EVENT_OVERHEAD_BYTES * (end - start)
        tx.execute("insert into logs_chunk values (?,?,?,?,?,?,?,?)",
                   (stream.id, seq, group, times[start], times[end - 1], ingested, size, chunks.packed(
                       seq, ingested, times[start:end], lengths[start:end], "".join(messages[start:end]).encode())))
        seq, total = seq + 1, total + size
        if size < CHUNK_SMALL_BYTES:
            tx.enqueue(MERGE, str(stream.id), MERGE_AFTER_S)
    tx.execute("update logs_stream set first_ms=?, last_ms=?, ingested_ms=?, next_seq=?,"
               " stored_bytes=stored_bytes+? where id=?",
               (times[0] if stream.first_ms is None else min(times[0], stream.first_ms),
                times[-1] if stream.last_ms is None else max(times[-1], stream.last_ms), ingested, seq, total,
                stream.id))
    return seq


def _cuts(times: Sequence[int], lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where events are cut into chunks within the limits."""
    if (len(times) <= CHUNK_EVENTS_MAX and times[-1] - times[0] <= CHUNK_SPAN_MS_MAX
            and sum(lengths) + EVENT_OVERHEAD_BYTES * len(lengths) <= CHUNK_BYTES_MAX):
        yield 0, len(times)  # the usual case
        return
    start = size = 0
    for at, (time, length) in enumerate(zip(times, lengths, strict=True)):
        more = length + EVENT_OVERHEAD_BYTES
        if at > start and (at - start == CHUNK_EVENTS_MAX or size + more > CHUNK_BYTES_MAX
                           or time - times[start] > CHUNK_SPAN_MS_MAX):
            yield start, at
            start, size = at, 0
        size += more
    yield start, len(times)


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a chunk without reading it."""

    seq: int
    first_ms: int
    last_ms: int
    ingested_ms: int
    size: int


def latest_chunks(tx: Tx, stream: int, limit: int) -> list[Row]:
    """The latest chunks of a stream, latest first."""
    return [Row(*row) for row in tx.execute(
        "select seq, first_ms, last_ms, ingested_ms, stored_bytes from logs_chunk where stream=? order by seq desc"
        " limit ?", (stream, limit))]


def bodies(tx: Tx, stream: int, rows: Sequence[Row]) -> list[bytes]:
    """What is in chunks that are there, in the same order."""
    return [body for row in rows for (body,) in tx.execute("select body from logs_chunk where stream=? and seq=?",
                                                            (stream, row.seq))]


def replace(tx: Tx, stream: int, rows: Sequence[Row], body: bytes) -> bool:
    """Puts one chunk in the place of several, given in order; False where one of them is not there any more."""
    seqs = [row.seq for row in rows]
    marks = ",".join("?" * len(seqs))
    found = tx.execute(f"select log_group, count(*) from logs_chunk where stream=? and seq in ({marks})"
                       " group by log_group", (stream, *seqs)).fetchone()
    if found is None or found[1] < len(seqs):
        return False
    tx.execute(f"delete from logs_chunk where stream=? and seq in ({marks})", (stream, *seqs))
    tx.execute("insert into logs_chunk values (?,?,?,?,?,?,?,?)",
               (stream, seqs[0], found[0], min(row.first_ms for row in rows), max(row.last_ms for row in rows),
                rows[-1].ingested_ms, sum(row.size for row in rows), body))
    return True


@dataclass(frozen=True, slots=True)
class Source:
    """Whose events a scan reads, as a condition on chunks."""

    where: str
    values: tuple[int | str, ...]

    @classmethod
    def group(cls, group: int) -> "Source":
        """All streams of a group."""
        return cls("log_group=? and exists (select 1 from logs_stream where id=stream)", (group,))

    @classmethod
    def streams(cls, streams: Sequence[int]) -> "Source":
        """Some streams, by id."""
        return cls(f"stream in ({','.join('?' * len(streams))})", tuple(streams))

    @classmethod
    def prefix(cls, group: int, prefix: str) -> "Source":
        """The streams of a group whose names begin so."""
        return cls("stream in (select id from logs_stream where log_group=? and name>=? and name<?)",
                   (group, prefix, prefix + "\U0010ffff"))


class Scan:
    """Reads the events of a source in order, a batch at a time.

    `low` and `high` bound the places: low <= event < high. `needles`: a wanted message contains one of these texts
    (none: nothing is known), so that only what does is looked at. `bytes` is how much has been gone through so far.
    """

    def __init__(self, tx: Tx, source: Source, low: Place, high: Place, wanted: Wanted | None = None,
                 needles: Needles = ()) -> None:
        self._tx, self._source, self.low, self.high, self._wanted = tx, source, low, high, wanted
        self._needles = needles
        self.bytes = 0

    def forward(self) -> Iterator[Batch]:
        """Batches in order, each with the time before which nothing more will come (None: that was all)."""
        pending: list[Event] = []
        for stream, seq, first_ms, last_ms, ingested_ms, size, body in self._rows(
                "first_ms>=? and first_ms<=? and last_ms>=?", (self.low[0] - CHUNK_SPAN_MS_MAX, self.high[0],
                                                               self.low[0]), "first_ms, stream, seq"):
            cut = bisect_left(pending, (first_ms,))
            yield pending[:cut], first_ms
            del pending[:cut]
            pending += self._events(stream, seq, first_ms, last_ms, ingested_ms, body)
            pending.sort()
            self.bytes += size
        yield pending, None

    def backward(self) -> Iterator[Batch]:
        """The same from the end: each batch in falling order, with the time after which nothing more will come."""
        pending: list[Event] = []
        for stream, seq, first_ms, last_ms, ingested_ms, size, body in self._rows(
                "last_ms>=? and last_ms<=? and first_ms<=?", (self.low[0], self.high[0] + CHUNK_SPAN_MS_MAX,
                                                              self.high[0]), "last_ms desc, stream desc, seq desc"):
            cut = bisect_left(pending, (last_ms + 1,))
            yield pending[cut:][::-1], last_ms
            del pending[cut:]
            pending += self._events(stream, seq, first_ms, last_ms, ingested_ms, body)
            pending.sort()
            self.bytes += size
        yield pending[::-1], None

    def _rows(self, where: str, values: tuple[int, ...], order: str) -> Iterable[tuple[int, int, int, int, int, int,
                                                                                      bytes]]:
        return self._tx.execute("select stream, seq, first_ms, last_ms, ingested_ms, stored_bytes, body from logs_chunk"
                                f" where {self._source.where} and {where} order by {order}",
                                self._source.values + values)

    def _events(self, stream: int, seq: int, first_ms: int, last_ms: int, ingested_ms: int, body: bytes) -> list[Event]:
        chunk = chunks.unpacked(body, seq, ingested_ms, self._needles)
        if chunk is None:
            return []
        wanted = self._wanted
        if self._needles:
            events = [event for event in chunk.containing(stream, self._needles) if wanted is None or wanted(event[4])]
        else:
            events = chunk.events(stream, wanted)
        if (first_ms,) < self.low or (last_ms + 1,) > self.high:
            return [event for event in events if self.low <= event < self.high]
        return events


def appended(tx: Tx, stream: int, seq: int, after_ms: int, budget: int) -> tuple[list[Event], int, bool]:
    """What was appended to a stream from a sequence number on and after a time, as far back as `budget` bytes reach;
    the bytes looked at, and whether that was all."""
    found: list[Event] = []
    looked_at = 0
    for first, ingested_ms, size, body in tx.execute(
            "select seq, ingested_ms, stored_bytes, body from logs_chunk where stream=? order by seq desc", (stream,)):
        if ingested_ms <= after_ms:
            break
        if looked_at + size > budget:
            return found, looked_at, False
        chunk = chunks.unpacked(body, first, ingested_ms)
        found[:0] = [event for event in (chunk.events(stream) if chunk else ())
                     if event[2] >= seq and event[5] > after_ms]
        looked_at += size
        if first <= seq:
            break
    return found, looked_at, True


def find_event(tx: Tx, place: Place) -> Event | None:
    """The event of a place in full (timestamp, stream, sequence, index), or None where it is gone."""
    row = tx.execute("select seq, ingested_ms, body from logs_chunk where stream=? and seq<=? order by seq desc"
                     " limit 1", place[1:3]).fetchone()
    chunk = chunks.unpacked(row[2], row[0], row[1]) if row and exists(tx, place[1]) else None
    return next((event for event in chunk.events(place[1]) if event[:4] == tuple(place)), None) if chunk else None


def expire(tx: Tx, group: int, before_ms: int, limit: int) -> int:
    """Deletes up to `limit` chunks whose events are all older than a time; how many they were."""
    rows = tx.execute("select stream, seq, stored_bytes from logs_chunk where log_group=? and last_ms<? limit ?",
                      (group, before_ms, limit)).fetchall()
    for stream, seq, size in rows:
        tx.execute("delete from logs_chunk where stream=? and seq=?", (stream, seq))
        tx.execute("update logs_stream set stored_bytes=stored_bytes-? where id=?", (size, stream))
    return len(rows)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a stream was read: up to which run, and the chunk it was in as it was then."""

    run: int = 0
    row: int = 0
    size: int = 0


def streams_between(tx: Tx, group: int, low_ms: int, high_ms: int, after: str, limit: int) -> list[tuple[int, str]]:
    """The next streams of a group, by name, that may hold events of a time: their ids and names."""
    return list(tx.execute("select id, name from logs_stream where log_group=? and name>? and last_ms>=?"
                           " and first_ms<=? order by name limit ?", (group, after, low_ms, high_ms, limit)))


def next_chunk(tx: Tx, stream: int, mark: Mark, low_ms: int, high_ms: int) -> tuple[Chunk, Mark] | None:
    """The next chunk of a stream that may hold events of a time, and the mark after it. Runs up to `mark.run`
    in it were read before: chunks may have been merged since."""
    columns = "select seq, ingested_ms, stored_bytes, body from logs_chunk where stream=? and"
    row = tx.execute(f"{columns} seq<=? order by seq desc limit 1", (stream, mark.run)).fetchone() if mark.run else None
    if row is None or (row[0], row[2]) == (mark.row, mark.size):
        row = tx.execute(f"{columns} seq>? and last_ms>=? and first_ms<=? order by seq limit 1",
                         (stream, mark.run, low_ms, high_ms)).fetchone()
    if row is None:
        return None
    seq, ingested_ms, size, body = row
    chunk = chunks.unpacked(body, seq, ingested_ms)
    return (chunk, Mark(max(mark.run, chunk.seqs[-1]), seq, size)) if chunk else None
