"""Brings the world to what the records say: one step at a time for a key, many keys side by side.

The queue is in the database and every step is safe to repeat, so a crash anywhere costs nothing but time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from cloudlet.control.outcome import Again, Broken, Done, Outcome
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import AwsError, EngineError, Refused
from cloudlet.store import queue, steadiness
from cloudlet.store.db import Store
from cloudlet.store.queue import Work

log = logging.getLogger(__name__)

Reconcile = Callable[[str], Awaitable[Outcome]]

IDLE_S = 30.0  # how long the loop sleeps when nothing is due and nobody wakes it
STORE_RETRY_S = 1.0  # how long a key rests whose outcome could not be written


class Loop:
    """Runs the reconciler of each kind on the keys that are due; at most `limit` steps at once.

    `busy` holds the steps under way. It also sees to it that nothing waits longer where the wall clock is set back.
    """

    def __init__(self, store: Store, clock: Clock, reconcilers: Mapping[str, Reconcile], limit: int = 64) -> None:
        self.store, self.clock, self.reconcilers, self.limit = store, clock, reconcilers, limit
        self.busy: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._last = self._noted = 0.0
        self._mute = False  # outcomes cannot be written, and the log says so already
        store.on_work = self._wake.set

    async def run(self) -> None:
        """Until cancelled. Steps under way are cut off where they stand; their questions stay."""
        try:
            while True:
                self._wake.clear()
                delay = self._start_due()
                try:
                    async with asyncio.timeout(delay):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            steps = list(self.busy.values())
            for step in steps:
                step.cancel()
            await asyncio.gather(*steps, return_exceptions=True)

    def _start_due(self) -> float:
        """Starts what is due; the seconds until the next is."""
        self._follow_clock()
        found, next_due = queue.due(self.store, self.busy, self.limit - len(self.busy))
        for work in found:
            self.busy[work.kind, work.key] = asyncio.ensure_future(self._step(work))
        late = self.clock.now() + self.clock.ahead
        return IDLE_S if next_due is None else min(IDLE_S, max(0.0, next_due - late))

    def _follow_clock(self) -> None:
        """Between two looks at it there are at most some seconds more than IDLE_S."""
        now = self.clock.now()
        last, self._last = self._last or now, now
        if now < last - 1:
            log.warning("the clock went back by %.0f s", last - now)
            steadiness.follow(self.store, now - last)
            self._noted = now
        elif self.clock.ahead and now > last + 2 * IDLE_S:
            steadiness.follow(self.store, now - last - IDLE_S)
        elif self.clock.ahead and now > self._noted + steadiness.NOTED_EVERY_S:
            steadiness.follow(self.store, 0.0)
            self._noted = now

    async def _step(self, work: Work) -> None:
        try:
            try:
                await self._answer(work)
            except Exception as error:  # One of the two places that may catch everything; the other is the gateway.
                queue.fail(self.store, work, self._complaint(work, error))
            self._mute = False
        except Exception as error:
            # Not even that could be written (a full disk): the question stays as it was, and must not be asked at once.
            if not self._mute:
                log.error("%s %s: cannot write the outcome (nor others from now on): %s", work.kind, work.key, error)
            self._mute = True
            await self.clock.sleep(STORE_RETRY_S)
        finally:
            self.busy.pop((work.kind, work.key), None)
            self._wake.set()

    async def _answer(self, work: Work) -> None:
        reconcile = self.reconcilers.get(work.kind)
        if reconcile is None:
            raise Refused(f"no loop is responsible for {work.kind}")
        match await reconcile(work.key):
            case Again(after, why):
                queue.postpone(self.store, work, after, why)
            case Broken(reason):
                log.warning("%s %s: gave up: %s", work.kind, work.key, reason)
                queue.finish(self.store, work, reason)
            case Done():
                queue.finish(self.store, work)

    @staticmethod
    def _complaint(work: Work, error: Exception) -> str:
        """What `cloudlet status` shows of a failed step. A trace goes to the log only where it is a bug of ours."""
        if isinstance(error, EngineError | AwsError):
            text = f"{type(error).__name__}: {error}"
            log.info("%s %s: %s", work.kind, work.key, text)
            return text
        log.error("%s %s: a bug of ours", work.kind, work.key, exc_info=error)
        return repr(error)


async def supervise(name: str, worker: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Runs a background worker for ever: when it ends, that is logged and it starts again, later each time."""
    delay = queue.BACKOFF_MIN_S
    while True:
        started = clock.now()
        try:
            await worker()
            log.warning("the worker %s ended", name)
        except (EngineError, AwsError) as error:
            log.warning("the worker %s failed: %s: %s", name, type(error).__name__, error)
        except Exception:
            log.exception("the worker %s failed", name)
        if clock.now() - started > queue.BACKOFF_MAX_S:
            delay = queue.BACKOFF_MIN_S
        await clock.sleep(delay)
        delay = min(queue.BACKOFF_MAX_S, delay * 2)
