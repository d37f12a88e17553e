"""The loop that runs queries, a few milliseconds at a time, so that nobody waits behind one.

A query that is under way is in memory only: after a restart it begins anew, and says so by its statistics.
"""

import asyncio
import dataclasses
from collections.abc import Iterator

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.logs import query_results, storage
from cloudlet.services.logs.chunks import Chunk
from cloudlet.services.logs.groups import Group, group_key
from cloudlet.services.logs.insights.aggregates import TooMuch
from cloudlet.services.logs.insights.plan import Plan
from cloudlet.services.logs.insights.row import Origin, Row
from cloudlet.services.logs.insights.syntax import Malformed
from cloudlet.services.logs.queries import (
    ACTIVE,
    COMPLETE,
    FAILED,
    KEPT_S,
    RUNNING,
    SCHEDULED,
    TIMEOUT,
    Query,
    Statistics,
)
from cloudlet.services.logs.storage import EVENT_OVERHEAD_BYTES, Mark
from cloudlet.store.db import Store, Tx

AT_ONCE_MAX = 4  # queries under way; the others wait for their turn
WAIT_S = 0.1
RUN_S_MAX = 3600.0
SLICES_A_STEP = 50  # after so many, the record says how far the query is
SLICE_ROWS_MAX, SLICE_S_MAX, LOOK_ROWS = 2000, 0.003, 16  # the clock is looked at once in so many rows
STREAMS_AT_ONCE = 200


class Queries:
    """Brings every query to its end, and deletes it when its time is over. One slice of one query runs at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: dict[str, Execution] = {}
        self._turn = asyncio.Lock()

    async def reconcile(self, key: str) -> Outcome:
        """Starts, goes on with, or forgets a query."""
        with self._store.tx() as tx:
            query = tx.get(Query, key)
            outcome = self._without_work(tx, query, key)
            if outcome is None and query is not None and key not in self._under_way:
                self._begin(tx, query)
        if key not in self._under_way:
            return outcome or Again()
        ended = True  # also where this fails: it then begins anew
        try:
            ended = await self._go_on(self._under_way[key])
        finally:
            if ended:
                del self._under_way[key]
        return Again()

    def _without_work(self, tx: Tx, query: Query | None, key: str) -> Outcome | None:
        """The outcome where there is nothing to run now."""
        if query is not None and query.status in ACTIVE:
            if query.started and tx.now - query.started > RUN_S_MAX:
                tx.put(dataclasses.replace(query, status=TIMEOUT, ended=tx.now))
                return Again()
            waits = key not in self._under_way and len(self._under_way) >= AT_ONCE_MAX
            return Again(WAIT_S, "other queries run") if waits else None
        self._under_way.pop(key, None)
        if query is None:
            return Done()
        if query.status != COMPLETE:
            query_results.forget(tx, query.id)
        if tx.now - query.ended < KEPT_S:
            return Again(KEPT_S - (tx.now - query.ended))
        query_results.forget(tx, query.id)
        tx.delete(Query, key)
        return Done()

    def _begin(self, tx: Tx, query: Query) -> None:
        query_results.forget(tx, query.id)  # of a run that a crash cut off
        if query.status == SCHEDULED:
            query = dataclasses.replace(query, status=RUNNING, started=tx.now)
            tx.put(query)
        try:
            self._under_way[query.key] = Execution(self._store, query)
        except Malformed:  # accepted by an older release
            query = dataclasses.replace(query, status=FAILED, ended=tx.now)
            tx.put(query)

    async def _go_on(self, execution: "Execution") -> bool:
        """Some slices; whether the query ended with them."""
        for _ in range(SLICES_A_STEP):
            async with self._turn:
                if execution.slice():
                    return True
            await self._store.clock.sleep(0)
        with self._store.tx() as tx:
            execution.note(tx)
        return False


class Execution:
    """One query under way."""

    def __init__(self, store: Store, query: Query) -> None:
        self._store, self._query, self._plan = store, query, query.plan()
        self._scanned = self._bytes = self._groups = self._since = 0
        self._began = 0.0
        self._work = self._run()

    def slice(self) -> bool:
        """A little of the work; whether that was all, and the record says so."""
        self._began, self._since = self._store.clock.now(), 0
        try:
            return next(self._work, True)
        except TooMuch:
            with self._store.tx() as tx:
                self.note(tx, FAILED)
            return True

    def note(self, tx: Tx, status: str = RUNNING, rows: int = 0) -> None:
        """Writes how far it is, unless it was stopped meanwhile."""
        query = tx.get(Query, self._query.key)
        if query is not None and query.status in ACTIVE:
            statistics = Statistics(self._scanned, self._plan.matched, self._bytes, self._groups)
            tx.put(dataclasses.replace(query, status=status, statistics=statistics, rows=rows,
                                       ended=0.0 if status in ACTIVE else tx.now))

    def _run(self) -> Iterator[bool]:
        """Yields False after each slice; ends early where somebody has stopped or forgotten the query."""
        for name in self._query.groups:
            with self._store.tx() as tx:
                group = tx.get(Group, group_key(self._query.account, self._query.region, name))
            if group is not None:
                yield from self._scan(group)
                self._groups += 1
        rows: list[query_results.Columns] = []
        count = 0
        for row in self._plan.drain():
            if row is not None:
                rows.append(_columns(self._plan, row))
                count += 1
            if len(rows) == query_results.PART_ROWS:
                with self._store.tx() as tx:
                    self._keep(tx, count, rows)
                rows = []
                yield False
            elif self._is_time():
                yield False
        with self._store.tx() as tx:
            if rows:
                self._keep(tx, count, rows)
            self.note(tx, COMPLETE, count)

    def _keep(self, tx: Tx, count: int, rows: list[query_results.Columns]) -> None:
        if self._is_wanted(tx):
            query_results.keep(tx, self._query.id, (count - 1) // query_results.PART_ROWS, rows)

    def _scan(self, group: Group) -> Iterator[bool]:
        after = ""
        while True:
            with self._store.tx() as tx:
                low = max(self._query.start_ms, group.oldest_ms(tx.now))
                streams = storage.streams_between(tx, group.id, low, self._query.end_ms, after, STREAMS_AT_ONCE)
            for stream, name in streams:
                yield from self._read(stream, Origin(f"{group.account}:{group.name}", group.name, name), low)
                after = name
            if len(streams) < STREAMS_AT_ONCE:
                return

    def _read(self, stream: int, origin: Origin, low: int) -> Iterator[bool]:
        """Feeds the plan with a stream's events, whatever is merged or deleted meanwhile."""
        mark, high = Mark(), self._query.end_ms
        while True:
            with self._store.tx() as tx:
                found = storage.next_chunk(tx, stream, mark, low, high) if self._is_wanted(tx) else None
            if found is None:
                return
            read, (chunk, mark) = mark.run, found
            yield False
            for at, seq, index, ingested in _places(chunk, read):
                if low <= chunk.times[at] <= high:
                    message = chunk.message(at)
                    self._plan.feed(Row(origin, (chunk.times[at], stream, seq, index), message, ingested))
                    self._scanned += 1
                    self._bytes += chunk.lengths[at] + EVENT_OVERHEAD_BYTES
                if self._is_time():
                    yield False

    def _is_wanted(self, tx: Tx) -> bool:
        query = tx.get(Query, self._query.key)
        return query is not None and query.status in ACTIVE

    def _is_time(self) -> bool:
        """Whether the slice is over; asked for every row."""
        self._since += 1
        if self._since % LOOK_ROWS:
            return False
        return self._since >= SLICE_ROWS_MAX or self._store.clock.now() - self._began > SLICE_S_MAX


def _places(chunk: Chunk, read: int) -> Iterator[tuple[int, int, int, int]]:
    """Each event after the run `read`: its number in the chunk, its run, its number in that, when it was ingested."""
    first = 0
    for seq, ingested, count in zip(chunk.seqs, chunk.ingested, chunk.counts, strict=True):
        if seq > read:
            yield from ((first + index, seq, index, ingested) for index in range(count))
        first += count


def _columns(plan: Plan, row: Row) -> query_results.Columns:
    shown = plan.shown(row)
    return shown if row.origin is None else [*shown, ("@ptr", query_results.pointer(row))]
