"""The loop that keeps a stream's chunks large: it merges small ones, and deletes those of streams that are gone."""

import asyncio
from collections.abc import Sequence

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.logs import chunks, storage
from cloudlet.services.logs.storage import CHUNK_BYTES_MAX, CHUNK_SMALL_BYTES, CHUNK_SPAN_MS_MAX, Row
from cloudlet.store.db import Store

LOOKED_AT_MAX = 1000
DELETED_AT_ONCE = 500  # in one transaction, so that nobody waits long behind it


class Merging:
    """Looks at a stream some seconds after something small was appended, and after it was deleted.

    A merge is read in one transaction, compressed in a thread, and put in the place of its parts in another, whole or
    not at all: whoever reads meanwhile sees the events once, and so does whoever starts after a crash.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """One merge, or one slice of a deleted stream."""
        stream = int(key)
        with self._store.tx() as tx:
            if not storage.exists(tx, stream):
                gone = storage.delete_chunks(tx, stream, DELETED_AT_ONCE)
                return Again() if gone == DELETED_AT_ONCE else Done()
            rows = plan(storage.latest_chunks(tx, stream, LOOKED_AT_MAX))
            bodies = storage.bodies(tx, stream, rows)
        if not rows:
            return Done()
        parts = [(body, row.seq, row.ingested_ms) for body, row in zip(bodies, rows, strict=True)]
        body = await asyncio.get_running_loop().run_in_executor(None, chunks.merged, parts)
        with self._store.tx() as tx:
            if storage.exists(tx, stream):
                storage.replace(tx, stream, rows, body)
        return Again()


class Deletion:
    """Deletes what a deleted group held, a slice at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """One slice."""
        with self._store.tx() as tx:
            gone = storage.delete_slice(tx, int(key), DELETED_AT_ONCE)
        return Again() if gone == DELETED_AT_ONCE else Done()


def plan(rows: Sequence[Row]) -> list[Row]:
    """Which chunks to merge next, in order; `rows` are a stream's, latest first.

    Going back from the latest, a small chunk joins those after it while it is no larger than they are together. What is
    left alone is thus larger than all that follows, so that there are few, and an event is merged only about a dozen
    times, each time into something at least twice as large as the part it was in or as its largest neighbour.
    """
    group: list[Row] = []
    size = first = last = 0
    for row in rows:
        small = row.size < CHUNK_SMALL_BYTES
        joins = (group and small and row.size <= size and size + row.size <= CHUNK_BYTES_MAX
                 and max(last, row.last_ms) - min(first, row.first_ms) <= CHUNK_SPAN_MS_MAX)
        if joins:
            group.append(row)
            size, first, last = size + row.size, min(first, row.first_ms), max(last, row.last_ms)
            continue
        if len(group) > 1:
            break
        group = [row] if small else []
        size, first, last = row.size, row.first_ms, row.last_ms
    return group[::-1] if len(group) > 1 else []
