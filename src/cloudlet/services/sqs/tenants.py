"""Fair queues: in a standard queue, message groups are tenants, and those that take much of its consumers come last.

What a tenant has in a queue lies under a number of its own, so that a receive costs the same whatever the backlog of
others; numbers of tenants are negative. Messages without a group lie under the queue's number as ever.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html
"""

import math
from typing import NamedTuple

from cloudlet.store.db import Tx

SHARE_MAX = 0.1  # of what is in flight, or of the recent time of consumers: who has more is noisy
FLYING_MIN = 30  # in flight, for the first of the two to count
RECENT_MS = 60_000  # what was that long ago counts 1/e of what is now
LOOK_MS = 1000  # after which a noisy tenant is looked at anew
NOISY_MAX = 20  # looked at by one receive; shares of more than a tenth leave no place for many


class Load(NamedTuple):
    """What a tenant, or a whole queue, has in flight, the average of that in the recent past, and when that was so."""

    flying: float
    recent: float
    seen_ms: int

    def after(self, now_ms: int, change: float) -> "Load":
        """The same later, when so many were added."""
        kept = math.exp((self.seen_ms - now_ms) / RECENT_MS)
        return Load(max(0, self.flying + change), self.recent * kept + self.flying * (1 - kept), now_ms)


class Source(NamedTuple):
    """Where to take from: messages under `store` that can be received since `until_ms` or before, at most `limit`."""

    store: int
    until_ms: int
    limit: int


def enter(tx: Tx, queue: int, group: str, visible_ms: int, now_ms: int) -> int:
    """A tenant's message comes; the number under which it is to be stored."""
    number, flying, seen_ms = tx.row(
        "insert into sqs_tenant (queue, grp, noisy, head_ms, flying, recent, seen_ms) values (?,?,0,?,0,0,?)"
        " on conflict (queue, grp) do update set head_ms=min(head_ms, excluded.head_ms)"
        " returning id, flying, seen_ms", queue, group, visible_ms, now_ms)
    if flying and seen_ms < now_ms - LOOK_MS:
        settle(tx, queue, -number, now_ms)  # so that there is never much to count at once
        tx.execute("update sqs_tenant set head_ms=min(head_ms, ?) where id=?", (visible_ms, number))
    return -int(number)


def belongs(tx: Tx, store: int, queue: int) -> bool:
    """Whether what lies under `store` is in that queue."""
    return store == queue or (store < 0 and tx.row("select queue from sqs_tenant where id=?", -store) == (queue,))


def settle(tx: Tx, queue: int, store: int, now_ms: int, *, before_ms: int = 0, after_ms: int = 0,
           count: int = 1) -> None:
    """Says anew what is in flight and whether that is much, after `count` messages of what is under `store`, which
    somebody had until `before_ms`, are had until `after_ms` (0: never, or it has left). In flight is what is had for
    longer than until the last look, wherever the clock went in between."""
    whole = _whole(tx, queue, now_ms)
    now_ms = max(now_ms, whole.seen_ms)
    own = whole if store == queue else Load(*tx.row(
        "select flying, recent, seen_ms from sqs_tenant where id=?", -store))
    change = count * ((after_ms > own.seen_ms) - (before_ms > own.seen_ms)) - _landed(tx, store, own, now_ms)
    also = 0 if store == queue else _landed(tx, queue, whole, now_ms)  # of what has no tenant
    whole = whole.after(now_ms, change - also)
    tx.execute("update sqs_tenant set flying=?, recent=?, seen_ms=? where queue=? and grp=''", (*whole, queue))
    if store == queue:
        return
    own = own.after(max(now_ms, own.seen_ms), change)
    head_ms = tx.row("select min(visible_ms) from sqs_message where store=?", store)[0]
    if head_ms is None:
        tx.execute("delete from sqs_tenant where id=?", (-store,))
        return
    tx.execute("update sqs_tenant set noisy=?, head_ms=?, flying=?, recent=?, seen_ms=? where id=?",
               (_is_noisy(own, whole), head_ms, *own, -store))


def _is_noisy(own: Load, whole: Load) -> bool:
    return (own.flying >= FLYING_MIN and own.flying > SHARE_MAX * whole.flying) or own.recent > SHARE_MAX * whole.recent


def _whole(tx: Tx, queue: int, now_ms: int) -> Load:
    """The load of a queue, which has the row of a tenant without a name."""
    row = tx.row("select flying, recent, seen_ms from sqs_tenant where queue=? and grp=''", queue)
    if row is not None:
        return Load(*row)
    count = tx.row("select count(*) from sqs_message where store=? and visible_ms>? and receives>0", queue, now_ms)[0]
    tx.execute("insert into sqs_tenant (queue, grp, noisy, flying, recent, seen_ms) values (?,'',0,?,0,?)",
               (queue, count, now_ms))
    return Load(count, 0, now_ms)


def _landed(tx: Tx, store: int, load: Load, now_ms: int) -> int:
    """How many that were in flight came back since it was looked at, because their time was up."""
    if not load.flying:
        return 0
    count: int = tx.row("select count(*) from sqs_message where store=? and visible_ms>? and visible_ms<=?"
                        " and receives>0", store, load.seen_ms, now_ms)[0]
    return count


def flying(tx: Tx, queue: int, now_ms: int) -> int:
    """How many messages of a queue are in flight, about."""
    settle(tx, queue, queue, now_ms)
    return int(_whole(tx, queue, now_ms).flying)


def next_ms(tx: Tx, queue: int) -> int | None:
    """From when on a tenant has something to give; None where none has any."""
    found = [at for noisy in (0, 1)
             if (at := tx.row("select min(head_ms) from sqs_tenant where queue=? and noisy=?", queue, noisy)[0])]
    return min(found, default=None)


def source(tx: Tx, queue: int, now_ms: int, count: int) -> Source | None:
    """Where to take at most `count` messages from next: what was there first, but only then what noisy tenants have,
    and of them the one that has the least in flight. None where there is nothing. What is taken from is settled."""
    for (number,) in tx.rows("select id from sqs_tenant where queue=? and noisy=1 and seen_ms<? limit ?",
                           queue, now_ms - LOOK_MS, NOISY_MAX):
        settle(tx, queue, -number, now_ms)
    while True:
        own_ms = tx.row("select min(visible_ms) from sqs_message where store=?", queue)[0]
        quiet = [(-number, head_ms, seen_ms) for number, head_ms, seen_ms in tx.rows(
            "select id, head_ms, seen_ms from sqs_tenant where queue=? and noisy=0 and head_ms<=? order by head_ms"
            " limit 2", queue, now_ms)]
        heads = sorted([*(head_ms for _, head_ms, _ in quiet), *([] if own_ms is None else [own_ms]), now_ms])
        if own_ms is not None and own_ms <= heads[0]:
            settle(tx, queue, queue, now_ms)
            return Source(queue, heads[1], count)
        if not quiet:
            return _of_noisy(tx, queue, now_ms, count)
        store, _, seen_ms = quiet[0]
        if seen_ms < now_ms:
            settle(tx, queue, store, now_ms)  # it may have become noisy by keeping long what it has
            if tx.row("select noisy from sqs_tenant where id=?", -store) != (0,):
                continue
        return Source(store, heads[1], count)


def _of_noisy(tx: Tx, queue: int, now_ms: int, count: int) -> Source | None:
    found = tx.rows("select id, flying from sqs_tenant where queue=? and noisy=1 and head_ms<=?"
                    " order by flying, recent, head_ms limit 2", queue, now_ms)
    if not found:
        return None
    settle(tx, queue, -found[0][0], now_ms)
    level = found[1][1] - found[0][1] + 1 if len(found) == 2 else count
    return Source(-found[0][0], now_ms, min(count, level))


def expired(tx: Tx, queue: int, oldest_ms: int, limit: int) -> list[int]:
    """The numbers of tenants whose first message could be received that long ago."""
    return [-number for noisy in (0, 1) for (number,) in tx.rows(
        "select id from sqs_tenant where queue=? and noisy=? and head_ms<=? limit ?",
        queue, noisy, oldest_ms, limit)]


def stores(tx: Tx, queue: int, limit: int = -1) -> list[int]:
    """The numbers of the tenants of a queue."""
    return [-number for (number,) in tx.rows(
        "select id from sqs_tenant where queue=? and grp<>'' limit ?", queue, limit)]


def drop(tx: Tx, store: int) -> None:
    """Forgets a tenant of a queue that is gone, or what was known of the whole queue."""
    if store < 0:
        tx.execute("delete from sqs_tenant where id=?", (-store,))
    else:
        tx.execute("delete from sqs_tenant where queue=? and grp=''", (store,))
