"""What goes to the disk later: group commit, and the write-ahead log on its way into the file."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from cloudlet.kernel.clock import Clock

Told = Callable[[OSError | None], None]  # what is called at the end of a sync, with what went wrong


class Flusher:
    """Runs `sync` once for everybody who asked before it began, if `settle`, called just before, says that there is
    something to sync. Its end is the beginning of the next, and no task is between them: with many requests each turn
    of the event loop that somebody waits takes as long as several of them."""

    def __init__(self, settle: Callable[[], bool], sync: Callable[[Told], None]) -> None:
        self._settle, self._sync = settle, sync
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._group: list[asyncio.Future[None]] | None = None  # who waits for the sync under way
        self._failed: OSError | None = None

    def flush(self) -> asyncio.Future[None]:
        """Is done after a sync that began after this call.

        Fails with the OSError of a sync that failed, and for ever after: what Linux could not write it marks as clean,
        so that a later sync would succeed without it (https://lwn.net/Articles/752063/).
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        if self._failed:
            waiter.set_exception(OSError(*self._failed.args))
            return waiter
        if loop is not self._loop:  # nobody is left of an earlier one
            self._loop, self._waiters, self._group = loop, [], None
        if self._group is None and not self._waiters:
            loop.call_soon(self._begin)  # with those who ask in this turn
        self._waiters.append(waiter)
        return waiter

    def _begin(self) -> None:
        self._group, self._waiters = self._waiters, []
        try:
            if self._settle():
                self._sync(self._end)
                return
        except OSError as error:
            self._end(error)
            return
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        group, self._group, self._failed = self._group or [], None, error
        if error is not None:
            group, self._waiters = group + self._waiters, []
        elif self._waiters:
            self._begin()
        for waiter in group:
            if waiter.done():
                continue  # its request was cut off
            if error is not None:
                waiter.set_exception(OSError(*error.args))
            else:
                waiter.set_result(None)


class Logged(Protocol):
    """What `checkpoints` needs of the store."""

    def log_bytes(self) -> int:
        """The size of the write-ahead log."""
        ...

    def reserve(self) -> bool:
        """Takes some space for the log in advance; whether it did."""
        ...

    def settle_space(self) -> None:
        """Brings it to the disk, in a thread."""
        ...

    def checkpoint(self) -> None:
        """Moves the log into the file, in a thread."""
        ...

    def finish_checkpoint(self) -> None:
        """Moves the rest of it, on the spot."""
        ...


async def checkpoints(store: Logged, clock: Clock, *, every_s: float = 1.0, bytes_min: int = 4 << 20,
                      bytes_max: int = 64 << 20) -> None:
    """A worker: looks at the write-ahead log every second, lets it have space in advance and, once it has
    `bytes_min`, moves it into the file.

    Under constant writing something is always left over and the log goes on growing; beyond `bytes_max` the rest is
    moved while writers wait, a few milliseconds.
    """
    loop = asyncio.get_running_loop()
    while True:
        while store.reserve():
            await loop.run_in_executor(None, store.settle_space)
        await clock.sleep(every_s)
        if store.log_bytes() > bytes_min:
            await loop.run_in_executor(None, store.checkpoint)
            if store.log_bytes() > bytes_max:
                store.finish_checkpoint()
