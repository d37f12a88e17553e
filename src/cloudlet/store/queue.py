"""The work queue as the loop sees it: durable, delayed, one row a key."""

from dataclasses import dataclass

from cloudlet.store.db import Store

BACKOFF_MAX_S = 60.0


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
    """The next questions, earliest first."""
    with store.tx() as tx:
        rows = tx.execute("select kind, key, due, asked, attempts, why from work order by due limit ?", (limit,))
        return [Work(*row) for row in rows]


def broken(store: Store) -> list[BrokenWork]:
    """What was given up, newest first."""
    with store.tx() as tx:
        rows = tx.execute("select kind, key, at, reason from broken order by at desc")
        return [BrokenWork(*row) for row in rows]


def finish(store: Store, work: Work) -> None:
    """Removes the question that was answered; one asked meanwhile stays."""
    with store.tx() as tx:
        tx.execute("delete from broken where kind=? and key=?", (work.kind, work.key))
        tx.execute("delete from work where kind=? and key=? and asked=?", (work.kind, work.key, work.asked))


def postpone(store: Store, work: Work, after: float, why: str) -> None:
    """Asks again in `after` seconds; at once, where it was asked meanwhile."""
    with store.tx() as tx:
        tx.execute("update work set due=case when asked=? then ? else ? end, attempts=0, why=? where kind=? and key=?",
                   (work.asked, tx.now + after, tx.now, why, work.kind, work.key))


def fail(store: Store, work: Work, why: str) -> None:
    """Records what went wrong and backs off: half a second, doubling, at most a minute."""
    with store.tx() as tx:
        delay = min(BACKOFF_MAX_S, 0.5 * 2 ** min(work.attempts, 7))
        tx.execute("update work set due=?, attempts=attempts+1, why=? where kind=? and key=?",
                   (tx.now + delay, why, work.kind, work.key))


def give_up(store: Store, work: Work, reason: str) -> None:
    """Ends the question with a reason that stays on show until the key's next step."""
    finish(store, work)
    with store.tx() as tx:
        tx.execute("insert into broken values (?,?,?,?) on conflict (kind, key) do update set"
                   " at=excluded.at, reason=excluded.reason", (work.kind, work.key, tx.now, reason))
