"""How many messages of a queue can be received, are in flight and are delayed.

Those that can be received cost nothing, since all are counted as they come and go. The others become visible by
themselves, so they are counted when somebody asks: a few exactly, and many not at every question and not in one go. On
AWS these numbers "may not achieve consistency until at least 1 minute after the producers stop sending messages".
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html
"""

from contextlib import suppress

from cloudlet.services.sqs import messages
from cloudlet.services.sqs.records import Queue
from cloudlet.store.db import OutOfSpace, Store, Tx

EXACT = 2000  # of what cannot be received, counted anew for each question
AT_ONCE = 10_000  # of more, in one turn of the event loop
KEPT_MS = 5000  # for which a count of more is true enough
COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


async def counts(store: Store, queue: Queue) -> dict[str, int]:
    """The three numbers, by their names."""
    with store.tx() as tx:
        count = _Count(queue, messages.now_ms(tx))
        known = None if count.go_on(tx, EXACT) else _known(tx, queue)
        if known is not None or count.done:
            return _said(messages.total(tx, queue), *(known or (count.hidden, count.flying)))
    while True:
        await store.clock.sleep(0)
        with store.tx() as tx:
            if count.go_on(tx, AT_ONCE):
                said = _said(messages.total(tx, queue), count.hidden, count.flying)
                break
    with suppress(OutOfSpace), store.tx() as tx:  # it is an answer even so
        tx.put_off("insert into sqs_count values (?,?,?,?) on conflict (store) do update set"
                   " at_ms=excluded.at_ms, hidden=excluded.hidden, flying=excluded.flying",
                   (queue.store, messages.now_ms(tx), count.hidden, count.flying))
    return said


def _known(tx: Tx, queue: Queue) -> tuple[int, int] | None:
    """What was counted a moment ago."""
    now = messages.now_ms(tx)
    found: tuple[int, int] | None = tx.row(
        "select hidden, flying from sqs_count where store=? and at_ms>? and at_ms<=?", queue.store, now - KEPT_MS, now)
    return found


def _said(total: int, hidden: int, flying: int) -> dict[str, int]:
    """Of messages that were counted some may have left."""
    hidden = min(hidden, total)
    flying = min(flying, hidden)
    return dict(zip(COUNTS, (total - hidden, flying, hidden - flying), strict=True))


class _Count:
    """A count of the messages that cannot be received, `flying` of them because somebody has them, and how far it is:
    in the order of their time, first those without a tenant."""

    def __init__(self, queue: Queue, now_ms: int) -> None:
        self.hidden = self.flying = 0
        self.done = False
        self._queue, self._store, self._tenant = queue, queue.store, ""
        self._now = self._after_ms = now_ms

    def go_on(self, tx: Tx, room: int) -> bool:
        """Counts some more, about `room`; whether that was all."""
        while room > 0 and not self.done:
            last = tx.row("select visible_ms from sqs_message where store=? and visible_ms>?"
                          " order by visible_ms limit 1 offset ?", self._store, self._after_ms, room - 1)
            until, values = ("", ()) if last is None else (" and visible_ms<=?", (last[0],))
            hidden, flying = tx.row(
                "select count(*), count(*) filter (where receives>0) from sqs_message where store=? and visible_ms>?"
                + until, self._store, self._after_ms, *values)
            self.hidden, self.flying = self.hidden + hidden, self.flying + flying
            room -= hidden + 1
            if last is not None:
                self._after_ms = last[0]
            else:
                self._turn_to_next_tenant(tx)
        return self.done

    def _turn_to_next_tenant(self, tx: Tx) -> None:
        found = tx.row("select grp, -id from sqs_tenant where queue=? and grp>? order by grp limit 1",
                       self._queue.store, self._tenant) if self._queue.fair else None
        if found is None:
            self.done = True
        else:
            (self._tenant, self._store), self._after_ms = found, self._now
