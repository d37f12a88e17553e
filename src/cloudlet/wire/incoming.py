"""A request's body as it arrives on a connection, read at the pace of whoever reads it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

from cloudlet.kernel.http import Body, BodyTooLarge, BodyTruncated

BUFFER_HIGH, BUFFER_LOW = 512 * 1024, 128 * 1024  # bytes of a body that wait for its reader

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Source(Protocol):
    """The connection, as far as a body knows it."""

    def throttle(self) -> None:
        """Reads from the client, or does not, as the reader keeps up."""
        ...

    def write(self, data: bytes) -> None:
        """Sends bytes to the client."""
        ...


class Incoming(Body):
    """A body as it arrives. Its reader's pace is the client's: beyond BUFFER_HIGH the socket is not read."""

    def __init__(self, source: Source, length: int | None, expects_continue: bool) -> None:
        self.length = length
        self._source, self.expects_continue = source, expects_continue
        self._parts: deque[bytes] = deque()
        self.buffered, self.ended, self.broken, self.unwanted = 0, False, False, False
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """Takes what came."""
        if not self.unwanted:
            self._parts.append(data)
        self.buffered += len(data)
        self._wake()

    def end(self, broken: bool = False) -> None:
        """Nothing more will come; `broken`: though more was announced."""
        if not self.ended:
            self.ended, self.broken = True, broken
            self._wake()

    def discard(self) -> None:
        """Nobody will read what is left."""
        self.unwanted = True
        self._parts.clear()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self) -> bytes:
        data = self._parts.popleft()
        self.buffered -= len(data)
        self._source.throttle()
        return data

    async def _wait(self) -> None:
        if self.expects_continue:
            self.expects_continue = False
            self._source.write(_CONTINUE)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _iterate(self) -> AsyncIterator[bytes]:
        while True:
            while self._parts:
                yield self._take()
            if self.ended:
                break
            await self._wait()
        if self.broken:
            raise BodyTruncated

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._iterate()

    async def read(self, limit: int) -> bytes:
        """See Body."""
        if self.length is not None and self.length > limit:
            raise BodyTooLarge(limit)
        if self.ended and not self.broken and len(self._parts) <= 1:  # the usual case: it came in one piece
            data = self._take() if self._parts else b""
            if len(data) > limit:
                raise BodyTooLarge(limit)
            return data
        parts, size = [], 0
        async for chunk in self._iterate():
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(limit)
            parts.append(chunk)
        return b"".join(parts)
