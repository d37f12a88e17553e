"""Brings the world to what the records say: one step at a time for a key, many keys side by side.

The queue is in the database and every step is safe to repeat, so a crash anywhere costs nothing but time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from cloudlet.control.outcome import Again, Broken, Outcome
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import EngineError
from cloudlet.store import queue
from cloudlet.store.db import Store
from cloudlet.store.queue import Work

log = logging.getLogger(__name__)

Reconcile = Callable[[str], Awaitable[Outcome]]

IDLE_S = 30.0  # how long the loop sleeps when nothing is due and nobody wakes it


class Loop:
    """Runs the reconciler of each kind on the keys that are due; at most `limit` steps at once."""

    def __init__(self, store: Store, clock: Clock, reconcilers: Mapping[str, Reconcile], limit: int = 64) -> None:
        self.store, self.clock, self.reconcilers, self.limit = store, clock, reconcilers, limit
        self.busy: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        store.on_work = self._wake.set

    async def run(self) -> None:
        """Until cancelled. Steps under way are cancelled with it."""
        try:
            while True:
                self._wake.clear()
                delay = self._start_due()
                await self._sleep(delay)
        finally:
            for task in self.busy.values():
                task.cancel()

    def _start_due(self) -> float:
        """Starts what is due; the seconds until the next is."""
        now = self.clock.now()
        for work in queue.waiting(self.store, len(self.busy) + self.limit):
            if (work.kind, work.key) in self.busy:
                continue
            if work.due > now:
                return min(IDLE_S, work.due - now)
            if len(self.busy) >= self.limit:
                break
            self.busy[work.kind, work.key] = asyncio.ensure_future(self._step(work))
        return IDLE_S

    async def _sleep(self, delay: float) -> None:
        waiter, timer = asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self.clock.sleep(delay))
        try:
            await asyncio.wait({waiter, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
            timer.cancel()

    async def _step(self, work: Work) -> None:
        try:
            match await self.reconcilers[work.kind](work.key):
                case Again(after, why):
                    queue.postpone(self.store, work, after, why)
                case Broken(reason):
                    log.warning("%s %s: gave up: %s", work.kind, work.key, reason)
                    queue.give_up(self.store, work, reason)
                case _:
                    queue.finish(self.store, work)
        except EngineError as error:
            log.info("%s %s: %s: %s", work.kind, work.key, type(error).__name__, error)
            queue.fail(self.store, work, f"{type(error).__name__}: {error}")
        except Exception as error:  # One of the two places that may catch everything; the other is the gateway.
            log.exception("%s %s: a bug of ours", work.kind, work.key)
            queue.fail(self.store, work, repr(error))
        finally:
            self.busy.pop((work.kind, work.key), None)
            self._wake.set()


async def supervise(name: str, worker: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Runs a background worker for ever: when it fails, that is logged and it starts again, later each time."""
    delay = 0.5
    while True:
        started = clock.now()
        try:
            await worker()
        except Exception:
            log.exception("the worker %s failed", name)
        delay = 0.5 if clock.now() - started > queue.BACKOFF_MAX_S else min(queue.BACKOFF_MAX_S, delay * 2)
        await clock.sleep(delay)
