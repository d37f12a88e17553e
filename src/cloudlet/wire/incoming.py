"""A request's body as it arrives on a connection, read at the pace of whoever reads it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from cloudlet.kernel.http import Body, BodyTooLarge, BodyTruncated, Take

BUFFER_HIGH, BUFFER_LOW = 512 * 1024, 128 * 1024  # bytes of a body that wait for its reader
DIRECT_BYTES = 256 * 1024  # that are still to come make it worth while that a thread reads them

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Source(Protocol):
    """The connection, as far as a body knows it."""

    def throttle(self) -> None:
        """Reads from the client, or does not, as the reader keeps up."""
        ...

    def write(self, data: bytes) -> None:
        """Sends bytes to the client."""
        ...

    async def transfer(self, body: "Incoming", length: int, take: Take) -> int | None:
        """Hands what waits of a body, and then its last so many bytes, which are still to come, to `take` in a thread
        and around the event loop; how many that were. None where this connection has to read them itself."""
        ...


class Incoming(Body, eq=False, kw_only=True):
    """A body as it arrives. Its reader's pace is the client's: beyond BUFFER_HIGH the socket is not read."""

    source: Source
    expects_continue: bool
    buffered: int = 0
    ended: bool = False
    broken: bool = False
    unwanted: bool = False
    _parts: deque[bytes] = msgspec.field(default_factory=deque)
    _came: int = 0  # bytes so far
    _waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """Takes what came."""
        if not self.unwanted:
            self._parts.append(data)
        self.buffered += len(data)
        self._came += len(data)
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
        self.source.throttle()
        return data

    def _invite(self) -> None:
        if self.expects_continue:
            self.expects_continue = False
            self.source.write(_CONTINUE)

    async def _wait(self) -> None:
        self._invite()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            while self._parts:
                yield self._take()
            if self.ended:
                break
            await self._wait()
        if self.broken:
            raise BodyTruncated

    async def pour(self, take: Take) -> int:
        """See Body: what is still to come goes from the socket to `take` in one thread, where that is possible."""
        self._invite()
        if self._wanted or self.length is None or self.length - self._came < DIRECT_BYTES:
            return await super().pour(take)
        size = await self.source.transfer(self, self.length - self._came, take)
        if size is None:
            return await super().pour(take)
        if self.broken:
            raise BodyTruncated
        return size

    def drain(self) -> bytes:
        """All that waits for a reader."""
        data, self.buffered = b"".join(self._parts), 0
        self._parts.clear()
        return data

    async def read(self, limit: int) -> bytes:
        """See Body."""
        if self.length is not None and self.length > limit:
            raise BodyTooLarge(limit)
        if self.ended and not self.broken and len(self._parts) <= 1:  # the usual case: it came in one piece
            data = self.drain()
            if len(data) > limit:
                raise BodyTooLarge(limit)
            return data
        parts, size = [], 0
        async for chunk in self:
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(limit)
            parts.append(chunk)
        return b"".join(parts)
