"""Group commit: many requests that wait for the disk share one sync."""

import asyncio
from collections.abc import Callable


class Flusher:
    """Runs `sync` in a thread, once for everybody who asked before it began."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._waiters: list[asyncio.Future[None]] = []
        self._runner: asyncio.Task[None] | None = None

    async def flush(self) -> None:
        """Returns after a sync that began after this call. Raises the OSError of a sync that failed."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if self._runner is None:
            self._runner = asyncio.ensure_future(self._run())
        await waiter

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiters:
            group, self._waiters = self._waiters, []
            try:
                await loop.run_in_executor(None, self._sync)
            except OSError as error:
                for waiter in group:
                    if not waiter.done():
                        waiter.set_exception(error)
            else:
                for waiter in group:
                    if not waiter.done():
                        waiter.set_result(None)
        self._runner = None
