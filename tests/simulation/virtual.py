"""An event loop whose time passes only when nothing else is to be done: an hour of sleeping takes no time at all."""

import asyncio
import contextlib
import random
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_700_000_000.0  # where virtual time begins


class Deadlock(AssertionError):
    """Everybody waits, and nothing is scheduled that could end it."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Instead of waiting for files, lets virtual time pass. Threads under way are waited for in real time."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop.threads:
            return super().select(30)
        if timeout is None:
            raise Deadlock("nothing is scheduled")
        self.loop.virtual += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop over virtual seconds."""

    def __init__(self) -> None:
        self.virtual, self.threads = 0.0, 0  # from 0, since at today's epoch a float is too coarse for asyncio
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.virtual

    def add_reader(self, descriptor: Any, callback: Any, *args: Any) -> None:
        raise NotImplementedError  # what the world says would come at no virtual time

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, future: Any) -> None:
        self.threads -= 1


class VirtualClock:
    """The clock of a simulation. Tokens come from the seed; `offset` is an operator turning the wall clock."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(f"tokens {seed}")
        self.offset = self.ahead = 0.0

    def now(self) -> float:
        """Virtual seconds since the epoch."""
        return EPOCH + asyncio.get_running_loop().time() + self.offset

    async def sleep(self, seconds: float) -> None:
        """Virtual seconds, which cost nothing."""
        await asyncio.sleep(seconds)

    def token(self, length: int = 17) -> str:
        """Hex digits, the same for the same seed."""
        return f"{self.random.getrandbits(4 * length):0{length}x}"


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody waited for is told, except the end of a simulated process."""
    if isinstance(context.get("exception"), Exception):
        loop.default_exception_handler(context)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end in virtual time, and whatever it left behind to its cancellation."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(_report)
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            with contextlib.suppress(Exception):
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
