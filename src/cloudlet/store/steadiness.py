"""The time by which what waits is due: the wall clock's, but that it does not go back.

Who sets the clock back by two hours must not make a message, a retry or a loop wait two hours longer than it was told
to, not even through restarts. So times in the future are kept by this one (`Tx.steady`), which is as much ahead of the
wall clock as that was set back, until that is set forward or, where it was in the meantime, Cloudlet starts again.
"""

from cloudlet.store.db import Store
from cloudlet.store.records import record

NOTED_EVERY_S = 60.0


@record("store.steadiness", lasting=True)
class Steadiness:
    """By how much it is ahead, and how late it was when that was noted, in epoch seconds. There is one at most, whose
    key is empty: it is there while the two are not the same."""

    key: str
    ahead: float
    seen: float


def restore(store: Store) -> None:
    """At a start: it goes on where it was, or with the wall clock where that is later by now."""
    with store.tx() as tx:
        found = tx.get(Steadiness, "")
        store.clock.ahead = max(0.0, found.seen - tx.now) if found is not None else 0.0


def follow(store: Store, moved_s: float) -> None:
    """Somebody moved the wall clock by so many seconds, back by those below 0; with 0, notes how late it is."""
    clock = store.clock
    clock.ahead = max(0.0, clock.ahead - moved_s)
    with store.tx() as tx:
        if clock.ahead:
            tx.put(Steadiness("", clock.ahead, tx.steady))
        else:
            tx.delete(Steadiness, "")
