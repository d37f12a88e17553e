"""The access log of buckets: a row for each request to a bucket that has one, to be delivered by `log_delivery`."""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from cloudlet.kernel.exchange import Exchange
from cloudlet.kernel.http import Response, Sendable
from cloudlet.services.s3 import log_lines, pages
from cloudlet.services.s3.log_lines import Sent
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import s3
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import LOGGING
from cloudlet.store.db import OutOfSpace, Store

log = logging.getLogger(__name__)


class Sink(msgspec.Struct, frozen=True):
    """Where a record goes, as things were when its request was answered: the members of `LoggingEnabled`, and whose
    the bucket is that it is about."""

    said: dict[str, Any]
    account: str
    region: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is to be written of a request once its answer has been sent."""

    store: Store
    exchange: Exchange
    response: Response
    bucket: Bucket
    sink: str
    answered: float

    def write(self, size: int | None) -> None:
        """Writes its rows. Best effort, as on AWS: where the disk is full the request goes before its record."""
        now, owner = self.exchange.clock.now(), canonical_id(self.bucket.account)
        sent = Sent(size, self.answered - self.exchange.began, now - self.exchange.began)
        lines = [log_lines.line(owner, self.bucket.name, self.exchange, self.response, sent, pages.HOST),
                 *self._deletions(owner)]
        try:
            with self.store.tx() as tx:
                for line in lines:
                    tx.execute("insert into s3_access (bucket, sink, at_ms, line) values (?,?,?,?)",
                               (self.bucket.name, self.sink, int(tx.now * 1000), line))
        except OutOfSpace:
            log.warning("the disk is full: a request to %s is not in its log", self.bucket.name)

    def _deletions(self, owner: str) -> list[str]:
        """Of the keys that DeleteObjects deleted, or did not."""
        asked, output = self.exchange.members.get("Delete"), self.exchange.output
        if asked is None or output is None:
            return []
        errors = {(each["Key"], each.get("VersionId") or ""): each["Code"] for each in output["Errors"]}
        named = [(each["Key"], each.get("VersionId") or "") for each in asked["Objects"]]
        return [log_lines.line_of_deletion(owner, self.bucket.name, self.exchange, self.response, key, version,
                                           errors.get((key, version), "")) for key, version in named]


@s3.record_of_requests
def record(store: Store, exchange: Exchange, response: Response) -> Response:
    """Records a request to a bucket that has a log, once its answer has been sent. Of any other bucket nothing is
    looked at but what its admission found."""
    found = exchange.admitted
    if found is not None and LOGGING not in found.acts:
        return response
    name = unquote(exchange.path[1:].partition("/")[0])
    if not name:
        return response
    with store.tx() as tx:  # of a request that was refused, or answered in front, it is not known yet
        bucket = tx.get(Bucket, name)
        said = kept.get(tx, bucket, LOGGING) if bucket is not None and LOGGING in bucket.acts else None
    if bucket is None or said is None:
        return response
    sink = msgspec.json.encode(Sink(said, bucket.account, bucket.region), order="sorted").decode()
    entry = _Entry(store, exchange, response, bucket, sink, exchange.clock.now())
    body = response.body
    if isinstance(body, bytes) or exchange.request.method == "HEAD":
        entry.write(len(body) if isinstance(body, bytes) else None)
        return response
    if isinstance(body, Sendable):
        size = response.headers.get("content-length", "")
        return replace(response, body=Watched(body, int(size) if size.isdigit() else None, entry.write))
    return replace(response, body=_counted(body, entry.write))


async def _counted(body: AsyncIterator[bytes], done: Callable[[int | None], None]) -> AsyncIterator[bytes]:
    size = 0
    try:
        async for chunk in body:
            size += len(chunk)
            yield chunk
    finally:
        done(size)


class Watched:
    """A body that writes itself to a socket, of which the log hears when it has."""

    def __init__(self, body: Sendable, size: int | None, done: Callable[[int | None], None]) -> None:
        self._body, self._size, self._done = body, size, done
        self._chunks: AsyncIterator[bytes] = _counted(body, done)  # type: ignore[arg-type]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def send_to(self, descriptor: int, head: bytes) -> None:
        """See `kernel.http.Sendable`. Of one that is broken off nobody knows how much was sent."""
        sent = None
        try:
            await self._body.send_to(descriptor, head)
            sent = self._size
        finally:
            self._done(sent)
