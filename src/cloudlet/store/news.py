"""Who waits for what in this process: requests held open until there is news of a topic, or until an alarm goes."""

import asyncio
from collections import deque


class News:
    """Waiters by topic, in the order in which they came. News that nobody waits for is forgotten."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._alarms: dict[str, asyncio.TimerHandle] = {}

    def awaited(self, topic: str) -> bool:
        """Whether anybody waits for it."""
        return topic in self._waiting

    def tell(self, topic: str) -> bool:
        """Wakes the one that has waited longest; False where nobody waits."""
        waiting = self._waiting.get(topic)
        while waiting:
            waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False

    def tell_in(self, topic: str, seconds: float) -> None:
        """The same later, if anybody still waits then; of several times the earliest counts."""
        if topic not in self._waiting:
            return
        loop = asyncio.get_running_loop()
        known, when = self._alarms.get(topic), loop.time() + seconds
        if known is not None:
            if known.when() <= when:
                return
            known.cancel()
        self._alarms[topic] = loop.call_at(when, self._go_off, topic)

    async def wait(self, topic: str, seconds: float, alarm_s: float | None = None) -> bool:
        """Until there is news, at most so long; whether there was. `alarm_s`: after which somebody should look again,
        not necessarily this one. Who is cut off when it has just been told passes the news on."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, deque()).append(waiter)
        if alarm_s is not None:
            self.tell_in(topic, alarm_s)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            return waiter.done() and not waiter.cancelled()
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.tell(topic)
            raise
        finally:
            self._leave(topic, waiter)
        return True

    def _go_off(self, topic: str) -> None:
        del self._alarms[topic]
        self.tell(topic)

    def _leave(self, topic: str, waiter: "asyncio.Future[None]") -> None:
        waiting = self._waiting.get(topic)
        if waiting is None:
            return
        if waiter in waiting:
            waiting.remove(waiter)
        if not waiting:
            del self._waiting[topic]
            alarm = self._alarms.pop(topic, None)
            if alarm is not None:
                alarm.cancel()
