"""What goes to the disk later: group commit, and the write-ahead log on its way into the file."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from cloudlet.kernel.clock import Clock


class Flusher:
    """Runs `sync` once for everybody who asked before it began, if `settle`, called just before, says that there is
    something to sync."""

    def __init__(self, settle: Callable[[], bool], sync: Callable[[], Awaitable[None]]) -> None:
        self._settle, self._sync = settle, sync
        self._waiters: list[asyncio.Future[None]] = []
        self._runner: asyncio.Task[None] | None = None
        self._failed: OSError | None = None

    def flush(self) -> asyncio.Future[None]:
        """Is done after a sync that began after this call.

        Fails with the OSError of a sync that failed, and for ever after: what Linux could not write it marks as clean,
        so that a later sync would succeed without it (https://lwn.net/Articles/752063/).
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._failed:
            waiter.set_exception(OSError(*self._failed.args))
            return waiter
        self._waiters.append(waiter)
        if self._runner is None:
            self._runner = asyncio.ensure_future(self._run())
        return waiter

    async def _run(self) -> None:
        group: list[asyncio.Future[None]] = []
        try:
            while self._waiters:
                group, self._waiters = self._waiters, []
                try:
                    if self._settle():
                        await self._sync()
                except OSError as error:
                    self._failed = error
                for waiter in group:
                    if waiter.done():
                        continue  # its request was cut off
                    if self._failed:
                        waiter.set_exception(OSError(*self._failed.args))
                    else:
                        waiter.set_result(None)
        finally:
            self._runner = None
            for waiter in group + self._waiters:
                waiter.cancel()  # we were cut off ourselves: nobody is left waiting


class Logged(Protocol):
    """What `checkpoints` needs of the store."""

    def log_bytes(self) -> int:
        """The size of the write-ahead log."""
        ...

    def reserve(self) -> None:
        """Takes space for the log in advance."""
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
        store.reserve()
        await clock.sleep(every_s)
        if store.log_bytes() > bytes_min:
            await loop.run_in_executor(None, store.checkpoint)
            if store.log_bytes() > bytes_max:
                store.finish_checkpoint()
