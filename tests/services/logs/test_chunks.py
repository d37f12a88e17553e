"""Chunks: what is in them comes back, also merged, also from older ones; and the loop that merges."""

import asyncio
import itertools
import zlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cloudlet.control.outcome import Again, Done
from cloudlet.services.logs import chunks, logs, merging, storage
from cloudlet.services.logs.merging import plan
from cloudlet.services.logs.storage import CHUNK_BYTES_MAX, CHUNK_SMALL_BYTES, CHUNK_SPAN_MS_MAX, Row, Scan, Source
from tests.services.desk import Desk
from tests.services.logs.test_events import GROUP, filtered, now_ms
from tests.services.logs.test_groups import make, put

STREAM = 7
runs = st.lists(st.lists(st.tuples(st.integers(0, 2**50), st.text(min_size=1)), min_size=1, max_size=5), min_size=1,
                max_size=6)


def packed(seq: int, ingested: int, events: list[tuple[int, str]]) -> bytes:
    texts = [message.encode() for _, message in events]
    return chunks.packed(seq, ingested, [time for time, _ in events], list(map(len, texts)), b"".join(texts))


@given(runs, st.text(min_size=1, max_size=3))
def test_what_is_merged_comes_back_with_its_places(runs: list[list[tuple[int, str]]], needle: str) -> None:
    rows = [(packed(seq * 3, seq * 1000, run), seq * 3, seq * 1000) for seq, run in enumerate(runs)]
    expected = [(time, STREAM, seq * 3, index, message, seq * 1000) for seq, run in enumerate(runs)
                for index, (time, message) in enumerate(run)]
    halves = [(chunks.merged(part), *part[0][1:]) for part in (rows[:2], rows[2:]) if part]
    for body in (chunks.merged(rows), chunks.merged(halves)):
        chunk = chunks.unpacked(body, 0, 0)
        assert chunk is not None
        assert chunk.events(STREAM) == expected
        looked = chunks.unpacked(body, 0, 0, (needle.encode(),))
        assert [event for event in (looked.containing(STREAM, (needle.encode(),)) if looked else ())
                if needle in event[4]] == [event for event in expected if needle in event[4]]


def test_chunks_of_the_first_format_are_read_and_merged() -> None:
    older = zlib.compress(msgspec.msgpack.encode(((5, 6), ("ä", "b"))), 1), 3, 99
    expected = [(5, STREAM, 3, 0, "ä", 99), (6, STREAM, 3, 1, "b", 99)]
    chunk = chunks.unpacked(*older)
    assert chunk is not None
    assert chunk.events(STREAM) == expected
    merged = chunks.unpacked(chunks.merged([older, (packed(4, 100, [(7, "c")]), 4, 100)]), 0, 0)
    assert merged is not None
    assert merged.events(STREAM) == [*expected, (7, STREAM, 4, 0, "c", 100)]


def rows_of(*sizes: int, first_ms: int = 0) -> list[Row]:
    return [Row(seq, first_ms, first_ms, 0, size) for seq, size in enumerate(sizes)][::-1]


def planned(rows: list[Row]) -> list[int]:
    return [row.seq for row in plan(rows)]


def test_a_merge_never_costs_more_than_it_brings() -> None:
    assert planned([]) == planned(rows_of(1)) == []
    assert planned(rows_of(1, 1)) == [0, 1]
    assert planned(rows_of(400, 200, 100, 50)) == []  # each is larger than what follows
    assert planned(rows_of(400, 200, 100, 50, 50)) == [0, 1, 2, 3, 4]
    assert planned(rows_of(100, 5, 5)) == [1, 2]
    assert planned(rows_of(5, 5, 100, 10)) == [0, 1, 2]
    assert planned(rows_of(1, 1, CHUNK_SMALL_BYTES, 3)) == [0, 1]  # what is large stands between
    fit = CHUNK_BYTES_MAX // (CHUNK_SMALL_BYTES - 1)
    assert planned(rows_of(*[CHUNK_SMALL_BYTES - 1] * (fit + 2))) == list(range(2, fit + 2))
    assert planned([Row(1, CHUNK_SPAN_MS_MAX + 1, CHUNK_SPAN_MS_MAX + 1, 0, 1), Row(0, 0, 0, 0, 1)]) == []


@given(st.lists(st.integers(1, CHUNK_BYTES_MAX), max_size=60))
def test_merging_ends_with_few_small_chunks(sizes: list[int]) -> None:
    rows, turns = rows_of(*sizes), 0
    while group := plan(rows):
        assert sum(row.size for row in group) <= CHUNK_BYTES_MAX
        whole = Row(group[0].seq, 0, 0, 0, sum(row.size for row in group))
        rows = sorted([row for row in rows if row not in group] + [whole], key=lambda row: -row.seq)
        turns += 1
    assert turns <= len(sizes)
    assert sum(row.size for row in rows) == sum(sizes)
    pairs = itertools.pairwise(rows)
    assert all(later.size + earlier.size > CHUNK_BYTES_MAX or earlier.size > later.size
               or max(later.size, earlier.size) >= CHUNK_SMALL_BYTES for later, earlier in pairs)


def chunk_count(desk: Desk) -> int:
    with desk.store.tx() as tx:
        return int(tx.execute("select count(*) from logs_chunk").fetchall()[0][0])


def stream_id(desk: Desk, name: str = "s") -> str:
    with desk.store.tx() as tx:
        return str(tx.execute("select id from logs_stream where name=?", (name,)).fetchall()[0][0])


def work(desk: Desk, kind: str) -> list[str]:
    with desk.store.tx() as tx:
        return [key for (key,) in tx.execute("select key from work where kind=?", (kind,))]


async def until_done(desk: Desk, kind: str, key: str) -> int:
    loop = {storage.MERGE: merging.Merging(desk.store).reconcile,
            storage.DELETE: merging.Deletion(desk.store).reconcile}[kind]
    turns = 1
    while await loop(key) == Again():
        turns += 1
    assert await loop(key) == Done()
    return turns


def test_small_batches_are_merged_and_everything_reads_as_before(desk: Desk) -> None:
    make(desk, "s", "t")
    now = now_ms(desk)
    for number in range(300):
        put(desk, "s", (now + 1000 - number, f"event {number}"), (now + 1000, "ünd"))
    put(desk, "t", (now, "other"))
    before = filtered(desk)
    middle = desk(logs, "FilterLogEvents", logGroupName=GROUP, limit=250)
    assert work(desk, storage.MERGE) == sorted([stream_id(desk), stream_id(desk, "t")])
    asyncio.run(until_done(desk, storage.MERGE, stream_id(desk)))
    assert chunk_count(desk) == 2
    assert filtered(desk) == before
    assert len(before) == 601
    rest = desk(logs, "FilterLogEvents", logGroupName=GROUP, nextToken=middle["nextToken"])
    assert middle["events"] + rest["events"] == before  # a token from before the merge
    stream = int(stream_id(desk))
    with desk.store.tx() as tx:
        scan = Scan(tx, Source.streams([stream]), (0,), (1 << 53,))
        for event in [event for batch, _ in scan.forward() for event in batch]:
            assert storage.find_event(tx, event[:4]) == event
        assert storage.find_event(tx, (now, stream, 999, 0)) is None


def test_what_was_appended_while_a_merge_ran_is_kept(desk: Desk) -> None:
    make(desk, "s")
    now = now_ms(desk)
    put(desk, "s", (now, "a"))
    put(desk, "s", (now, "b"))

    async def both() -> None:
        step = asyncio.ensure_future(merging.Merging(desk.store).reconcile(stream_id(desk)))
        await asyncio.sleep(0)
        put(desk, "s", (now, "c"))
        assert chunk_count(desk) == 3
        await step
    asyncio.run(both())
    assert [event["message"] for event in filtered(desk)] == ["a", "b", "c"]
    assert chunk_count(desk) == 2


def test_a_merge_of_what_is_gone_brings_nothing_back(desk: Desk) -> None:
    make(desk, "s")
    for _ in range(2):
        put(desk, "s", (now_ms(desk), "a"))

    async def both() -> None:
        step = asyncio.ensure_future(merging.Merging(desk.store).reconcile(stream_id(desk)))
        await asyncio.sleep(0)
        desk(logs, "DeleteLogStream", logGroupName=GROUP, logStreamName="s")
        await step
    key = stream_id(desk)
    asyncio.run(both())
    assert chunk_count(desk) == 2
    asyncio.run(until_done(desk, storage.MERGE, key))
    assert chunk_count(desk) == 0


def test_large_groups_and_streams_are_deleted_in_slices_and_hidden_at_once(desk: Desk) -> None:
    make(desk, "s", "t")
    for _ in range(merging.DELETED_AT_ONCE + 1):
        put(desk, "s", (now_ms(desk), "a"))
    put(desk, "t", (now_ms(desk), "b"))
    key = stream_id(desk)
    desk(logs, "DeleteLogStream", logGroupName=GROUP, logStreamName="s")
    assert [event["message"] for event in filtered(desk)] == ["b"]
    assert asyncio.run(until_done(desk, storage.MERGE, key)) == 2
    assert chunk_count(desk) == 1
    desk(logs, "CreateLogStream", logGroupName=GROUP, logStreamName="s")
    for _ in range(merging.DELETED_AT_ONCE + 1):
        put(desk, "s", (now_ms(desk), "a"))
    desk(logs, "DeleteLogGroup", logGroupName=GROUP)
    make(desk, "s")
    assert filtered(desk) == []
    put(desk, "s", (now_ms(desk), "new"))
    (gone,) = work(desk, storage.DELETE)
    assert asyncio.run(until_done(desk, storage.DELETE, gone)) == 2
    assert [event["message"] for event in filtered(desk)] == ["new"]
    assert chunk_count(desk) == 1
