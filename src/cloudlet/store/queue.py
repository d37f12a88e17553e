"""The work queue as the loop sees it: durable, delayed, one row a key."""

from collections.abc import Container
from dataclasses import dataclass

from cloudlet.store.db import Store

BACKOFF_MIN_S, BACKOFF_MAX_S = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class Work:
    """One question: look at `key` of `kind` at `due`. `asked` counts how often it was asked; `why` is the last word."""

    kind: str
    key: str
    due: float
    asked: int
    attempts: int
    why: str


@dataclass(frozen=True, slots=True)
class BrokenWork:
    """What a loop gave up on, and the reason."""

    kind: str
    key: str
    at: float
    reason: str


def waiting(store: Store, limit: int) -> list[Work]:
    """The next questions, earliest first; `due` by the wall clock."""
    with store.tx() as tx:
        rows = tx.execute("select kind, key, due-?, asked, attempts, why from work order by due limit ?",
                          (tx.clock.ahead, limit))
        return [Work(*row) for row in rows]


def due(store: Store, busy: Container[tuple[str, str]], room: int) -> tuple[list[Work], float | None]:
    """At most `room` questions that are due and whose key is not busy, and when to look again: the time of the first
    that is not due yet; None where there is none, or no room for it."""
    found: list[Work] = []
    with store.tx() as tx:
        for row in tx.execute("select kind, key, due, asked, attempts, why from work order by due"):
            if (row[0], row[1]) in busy:
                continue
            if len(found) == room:
                break
            if row[2] > tx.steady:
                return found, row[2]
            found.append(Work(*row))
    return found, None


def broken(store: Store) -> list[BrokenWork]:
    """What was given up, newest first."""
    with store.tx() as tx:
        rows = tx.execute("select kind, key, at, reason from broken order by at desc")
        return [BrokenWork(*row) for row in rows]


def finish(store: Store, work: Work, broken: str | None = None) -> None:
    """Removes the question that was answered; one asked meanwhile stays.

    `broken` is the reason where the loop gave up: it stays on show until the key's next step ends.
    """
    with store.tx() as tx:
        tx.execute("delete from work where kind=? and key=? and asked=?", (work.kind, work.key, work.asked))
        if broken is None:
            tx.execute("delete from broken where kind=? and key=?", (work.kind, work.key))
        else:
            tx.execute("insert into broken values (?,?,?,?) on conflict (kind, key) do update set"
                       " at=excluded.at, reason=excluded.reason", (work.kind, work.key, tx.now, broken))


def postpone(store: Store, work: Work, after: float, why: str) -> None:
    """Asks again in `after` seconds; at once, where it was asked meanwhile."""
    _again(store, work, after, 0.0, 0, why)


def fail(store: Store, work: Work, why: str) -> None:
    """Records what went wrong and backs off: half a second, doubling, at most a minute; where it was asked meanwhile,
    half a second, since a customer's newer wish may well succeed."""
    delay = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(work.attempts, 7))
    _again(store, work, delay, BACKOFF_MIN_S, work.attempts + 1, why)


def _again(store: Store, work: Work, after: float, after_if_asked: float, attempts: int, why: str) -> None:
    with store.tx() as tx:
        tx.execute("update work set due=case when asked=? then ? else ? end, attempts=?, why=? where kind=? and key=?",
                   (work.asked, tx.steady + after, tx.steady + after_if_asked, attempts, why, work.kind, work.key))
