"""An HTTP exchange as our parts see it, whichever server carries it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol, runtime_checkable

import msgspec

from cloudlet.kernel.digests import ALGORITHMS, Digest, digested, finished, gathered, threads

Chunks = AsyncIterator[bytes]
Take = Callable[[memoryview], None]  # keeps nothing of what it is given: the memory is used again


class BodyTooLarge(Exception):
    """More bytes came than `read(limit)` allows."""


class BodyTruncated(Exception):
    """The client stopped sending before the end that it had announced."""


class Body(msgspec.Struct, eq=False):
    """A request body: read it whole within a limit, or iterate over its chunks once.

    `length` is its Content-Length, or None where the client sends chunks. Its reader may `want` digests beforehand.
    They are computed on the way, in threads, and stand in `digests` at the end, beside those that the wire compared
    with what the client had announced. `checksum` is the one of these algorithms by which the client chose to say a
    checksum, "" where it said none.
    """

    _chunks: Chunks | None  # None: a subclass has its own way to them
    length: int | None = None
    digests: dict[str, bytes] = msgspec.field(default_factory=dict)  # by the names of `kernel.digests.ALGORITHMS`
    checksum: str = ""
    _wanted: dict[str, None] = msgspec.field(default_factory=dict)  # in order

    def want(self, *algorithms: str) -> None:
        """Has these digests computed while the body is read."""
        self._wanted.update(dict.fromkeys(algorithms))

    def _digest(self, name: str) -> Digest:
        return ALGORITHMS[name]()

    def __aiter__(self) -> Chunks:
        return self._digested() if self._wanted else self._pieces()

    def _pieces(self) -> Chunks:
        assert self._chunks is not None
        return self._chunks

    async def _digested(self) -> Chunks:
        running = {name: self._digest(name) for name in self._wanted}
        async for piece in digested(self._pieces(), running.values()):
            yield piece
        self.digests.update((name, digest.digest()) for name, digest in running.items())

    async def pour(self, take: Take) -> int:
        """Hands all bytes, piece by piece, to `take` in a thread; their number. Where there are many it costs less
        than to iterate, since they need not pass through the event loop at all.

        Raises what iterating raises, and what `take` does; then `take` is not running any more.
        """
        run, size = asyncio.get_running_loop().run_in_executor, 0
        job: asyncio.Future[None] | None = None
        try:
            async for piece in gathered(aiter(self)):
                if job is not None:
                    await finished(job)
                job = run(threads, take, memoryview(piece))
                size += len(piece)
            if job is not None:
                await finished(job)
        finally:
            if job is not None and not job.done():
                await asyncio.wait([job])
        return size

    async def read(self, limit: int) -> bytes:
        """All bytes. Raises BodyTooLarge as soon as there are more than `limit`, BodyTruncated where some are missing.
        """
        if self.length is not None and self.length > limit:
            raise BodyTooLarge(limit)
        parts, size = [], 0
        async for chunk in self:
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(limit)
            parts.append(chunk)
        return b"".join(parts)


class Request(msgspec.Struct, frozen=True):
    """`path` is as sent (percent-encoded, no query); `query` the raw text after "?"; header names are lower case.

    A header sent twice is joined with a comma. `source` is the peer's address; `network` is the engine name of the
    VPC whose namespace took the connection, "" for the public endpoint.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Body
    source: str = "127.0.0.1"
    scheme: str = "http"
    network: str = ""

    @property
    def endpoint(self) -> str:
        """scheme://host[:port] as the client addressed us."""
        return f"{self.scheme}://{self.headers.get('host', 'localhost')}"


@runtime_checkable
class Sendable(Protocol):
    """A body that can write itself to a socket, past the server's buffers; it can be iterated over as well."""

    async def send_to(self, descriptor: int, head: bytes) -> None:
        """Sends `head` and the body to a non-blocking socket, which stays open. Raises OSError where the client has
        gone or takes nothing for a minute."""
        ...


class Response(msgspec.Struct, frozen=True):
    """`body` is bytes, or an iterator of chunks for what is too large to hold (best one that is `Sendable`). `hops` is
    the time to live of its packets, which every router lowers (1: no router passes them on); None: as usual."""

    status: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes | Chunks = b""
    hops: int | None = None


Handler = Callable[[Request], Awaitable[Response]]
