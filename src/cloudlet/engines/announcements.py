"""What an engine tells whoever listens: the names of objects to which something happened."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager


class Announcements:
    """Any number of listeners hear every name that is told while they listen, in order."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[str]] = set()

    def tell(self, name: str) -> None:
        """Something happened to the object of that name."""
        for heard in self._listeners:
            heard.put_nowait(name)

    @contextmanager
    def listening(self) -> Iterator[asyncio.Queue[str]]:
        """What is told meanwhile is in the queue."""
        heard: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.add(heard)
        try:
            yield heard
        finally:
            self._listeners.discard(heard)

    async def stream(self) -> AsyncIterator[str]:
        """Each name as it is told. Listening begins with the first `anext`."""
        with self.listening() as heard:
            while True:
                yield await heard.get()
