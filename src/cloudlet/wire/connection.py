"""One client's connection: HTTP/1.1 by httptools, requests answered in order, bodies streamed both ways."""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol as Interface
from typing import cast

import httptools
import msgspec

from cloudlet.kernel.http import Handler, Request, Response, Sendable, Take
from cloudlet.wire import transfer
from cloudlet.wire.incoming import BUFFER_HIGH, BUFFER_LOW, Incoming

HEAD_BYTES_MAX = 64 * 1024  # request line and headers together
TARGET_BYTES_MAX = 16 * 1024
HEADERS_MAX = 200
PIPELINE_MAX = 32
DISCARD_MAX = 16 * 1024 * 1024  # of a body that nobody wants, before the connection is closed instead
CLIENT_CONNECTIONS_MAX = 512  # from one address inside a network: more are cut
HOPS = 64  # that a packet may pass, as Linux has it
HEAD_S, IDLE_S, STALL_S = 30.0, 75.0, 60.0  # to send a head; between requests; without progress in either direction

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_BODILESS = {204, 304}
_HARMLESS = str.maketrans("\r\n\0", "   ")  # of what would end a header
# Header names as clients mostly spell them: half of the time that a header takes is its name.
_NAMES = {spelt.encode(): name for name in (
    "accept", "accept-encoding", "amz-sdk-invocation-id", "amz-sdk-request", "authorization", "cache-control",
    "connection", "content-encoding", "content-length", "content-md5", "content-type", "date", "expect", "host",
    "if-match", "if-none-match", "range", "transfer-encoding", "user-agent", "x-amz-content-sha256", "x-amz-date",
    "x-amz-sdk-checksum-algorithm", "x-amz-security-token", "x-amz-target", "x-amzn-query-mode", "x-amzn-trace-id")
    for spelt in (name, name.title(), name.title().replace("Sha256", "SHA256").replace("Md5", "MD5"))}


class Owner(Interface):
    """What a connection needs of its server."""

    connections: "set[Connection]"
    clients: Counter[tuple[str, str]]
    stopping: bool

    def now(self) -> float:
        """Seconds since the epoch."""
        ...


class _Exchange(msgspec.Struct, eq=False):
    request: Request
    body: Incoming
    keep_alive: bool
    chunked: bool  # the client understands it


class Connection(asyncio.Protocol):
    """Reads requests, runs the handler on one at a time, writes its answers in order."""

    def __init__(self, owner: Owner, handler: Handler, network: str, scheme: str) -> None:
        self._owner, self._handler, self._network, self._scheme = owner, handler, network, scheme
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target, self._headers, self._repeated = b"", dict[str, str](), 0  # what has been read of a head so far
        self._head_bytes, self._heads, self._reading_head = 0, 0, True
        self._receiving: Incoming | None = None  # the body that is arriving
        self._pending: deque[_Exchange] = deque()
        self._exchange: _Exchange | None = None  # what is being answered
        self._task: asyncio.Task[None] | None = None  # that answers
        self._next: asyncio.Future[None] | None = None  # what it waits for when there is nothing to answer
        self._reading_paused = False
        self._transferring, self._lost = False, False  # whether a thread reads; whether it left off within a body
        self._drained: asyncio.Future[None] | None = None  # set while the client does not take our answer
        self._refusal: Response | None = None  # ends the connection once earlier requests are answered
        self._source, self._counted, self._hops = "", False, HOPS
        self.deadline: float | None = None  # loop time at which an idle or stalled client is dropped

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        peer = transport.get_extra_info("peername")
        self._source = peer[0] if isinstance(peer, tuple) else "127.0.0.1"
        if self._network:
            self._owner.clients[self._network, self._source] += 1
            self._counted = True
            if self._owner.clients[self._network, self._source] > CLIENT_CONNECTIONS_MAX:
                self._abort()
        self._owner.connections.add(self)
        self.deadline = self._loop.time() + HEAD_S

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._refusal is not None:
            return
        in_head, heads = self._reading_head, self._heads
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError as error:
            self._refuse(self._too_large(error) or _plain(HTTPStatus.BAD_REQUEST))
            return
        if in_head and self._reading_head and heads == self._heads:  # nothing but a piece of a head
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(_plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        elif self._receiving is not None:
            self.deadline = self._loop.time() + STALL_S
            self.throttle()

    def eof_received(self) -> bool:
        """The client sends no more: it has gone, unless it is in the middle of a body, about which it is told."""
        if self._receiving is None or self._exchange is None:
            return False
        self._receiving.end(broken=True)
        self._close_after_answers()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: nobody waits for the answer any more."""
        self._owner.connections.discard(self)
        if self._counted:
            self._counted = False
            self._owner.clients[self._network, self._source] -= 1
            if not self._owner.clients[self._network, self._source]:
                del self._owner.clients[self._network, self._source]
        self._transport = None
        self._pending.clear()
        if self._receiving is not None:
            self._receiving.end(broken=True)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The client does not take what we send."""
        self._drained = self._loop.create_future()
        self.deadline = self._loop.time() + STALL_S

    def resume_writing(self) -> None:
        """It takes it again."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained, self.deadline = None, None

    # what the parser calls

    def on_url(self, url: bytes) -> None:
        """The request's target, whole or a part of it."""
        self._target += url
        if len(self._target) > TARGET_BYTES_MAX:
            raise _TargetTooLong

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        key, given = _NAMES.get(name) or name.decode("latin-1").lower(), self._headers
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("latin-1")
        if key not in given:
            given[key] = text
            return
        given[key] = f"{given[key]},{text}"
        self._repeated += 1  # headers whose name had come before
        if self._repeated > HEADERS_MAX:
            raise _TooManyHeaders

    def on_headers_complete(self) -> None:
        """A request begins."""
        target, headers, count = self._target, self._headers, len(self._headers) + self._repeated
        self._target, self._headers, self._repeated = b"", {}, 0
        self._reading_head = False
        self._heads += 1
        self._head_bytes = 0
        self.deadline = None
        if count > HEADERS_MAX:
            raise _TooManyHeaders
        version = self._parser.get_http_version()
        path, query = _split(target)
        if "host" not in headers and version == "1.1":
            raise _NoHost
        length = headers.get("content-length")
        self._receiving = Incoming(
            None, int(length) if length else None if "transfer-encoding" in headers else 0, source=self,
            expects_continue="expect" in headers and headers["expect"].lower() == "100-continue")
        request = Request(self._parser.get_method().decode(), path, query, headers, self._receiving, self._source,
                          self._scheme, self._network)
        keep_alive = version != "1.0"
        if "connection" in headers:
            options = headers["connection"].lower()
            keep_alive = "close" not in options if keep_alive else "keep-alive" in options
        exchange = _Exchange(request, self._receiving, keep_alive, version == "1.1")
        if self._exchange is None:
            self._start(exchange)
        else:
            self._pending.append(exchange)

    def on_body(self, data: bytes) -> None:
        """A piece of its body."""
        body = self._receiving
        assert body is not None
        body.feed(data)
        if body.unwanted and body.buffered > DISCARD_MAX:
            self._abort()

    def on_message_complete(self) -> None:
        """It has all been sent."""
        if self._receiving is not None:
            self._receiving.end()
            self._receiving = None
        self._reading_head = True
        self.deadline = None
        if self._exchange is None:
            self._await_next()
        elif len(self._pending) > PIPELINE_MAX:
            self.throttle()

    # our own

    def throttle(self) -> None:
        """Reads from the client, or does not, as the readers of its requests keep up."""
        waiting = self._receiving.buffered if self._receiving is not None and not self._receiving.unwanted else 0
        full = waiting > BUFFER_HIGH or len(self._pending) > PIPELINE_MAX
        if self._transferring:
            return
        if full and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self.deadline = None
            self._transport.pause_reading()
        elif (self._reading_paused and waiting < BUFFER_LOW and len(self._pending) <= PIPELINE_MAX // 2
                and self._transport is not None):
            self._reading_paused = False
            self._transport.resume_reading()

    async def transfer(self, body: Incoming, length: int, take: Take) -> int | None:
        """See Source."""
        transport = self._transport
        if transport is None or body is not self._receiving or self._scheme != "http" or self._refusal is not None:
            return None
        self._transferring, self._lost, self.deadline = True, True, None
        if not self._reading_paused:
            transport.pause_reading()
        self._reading_paused = True
        waiting = body.drain()
        try:
            came = await transfer.receive(transport.get_extra_info("socket").fileno(), length, take, waiting)
            self._lost = came < length
        finally:
            self._transferring = False
        if self._lost:
            body.end(broken=True)
            self._close_after_answers()
        else:
            self._parser = httptools.HttpRequestParser(self)  # the old one waits for a body that is here
            self.on_message_complete()
        self.throttle()
        return len(waiting) + came

    def write(self, data: bytes) -> None:
        """Sends bytes; nothing where the client has gone."""
        if self._transport is not None:
            self._transport.write(data)

    def cut(self) -> None:
        """Ends the connection at once."""
        self._abort()

    def close_when_idle(self) -> None:
        """Closes now where nothing is being answered, else after the answers under way."""
        if self._exchange is None:
            self._abort()
        else:
            self._close_after_answers()

    def abort_if_due(self, now: float) -> None:
        """Drops a client that has been silent past its deadline."""
        if self.deadline is not None and now > self.deadline:
            self._abort()

    def _start(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        if self._task is None:
            self._task = self._loop.create_task(self._answer())
        elif self._next is not None and not self._next.done():
            self._next.set_result(None)

    async def _answer(self) -> None:
        """Runs the handler and sends what it answers, for one request after the other: all are of one task, since to
        make one for each takes longer than to read the request."""
        try:
            while (exchange := self._exchange) is not None:
                response = await self._handler(exchange.request)
                unasked = exchange.body.expects_continue and not exchange.body.ended  # does it come now? who can tell
                keep_alive = exchange.keep_alive and not unasked and not self._owner.stopping and not self._lost
                if (response.hops or HOPS) != self._hops:
                    self._limit_hops(response.hops or HOPS)
                if isinstance(response.body, bytes):
                    self.write(_head(exchange, response, keep_alive, len(response.body), self._owner.now)
                               + (response.body if exchange.request.method != "HEAD" else b""))
                    await self._drain()
                else:
                    keep_alive = await self._stream(exchange, response, keep_alive)
                self._next = self._loop.create_future()
                self._finish(exchange, keep_alive)
                if not keep_alive:
                    break
                await self._next  # at least one turn of the loop, for the sake of others
        except BaseException:  # cancelled as the client has gone, or a bug of the handler's: nothing can follow
            self._abort()
            raise

    def _limit_hops(self, hops: int) -> None:
        """How far what is sent from now on gets."""
        if self._transport is not None:
            self._transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            self._hops = hops

    async def _stream(self, exchange: _Exchange, response: Response, keep_alive: bool) -> bool:
        """Sends a body of unknown size; whether the connection can go on after it."""
        sized = "content-length" in response.headers
        chunked = exchange.chunked and not sized
        keep_alive = keep_alive and (sized or chunked)
        head = _head(exchange, response, keep_alive, None, self._owner.now)
        assert not isinstance(response.body, bytes)
        transport = self._transport
        if (sized and isinstance(response.body, Sendable) and exchange.request.method != "HEAD"
                and self._scheme == "http" and transport is not None and not transport.get_write_buffer_size()):
            # Nothing waits in the transport, so the bytes may go around it.
            await response.body.send_to(transport.get_extra_info("socket").fileno(), head)
            return keep_alive
        self.write(head)
        if exchange.request.method == "HEAD":
            return keep_alive
        async for data in response.body:  # where this fails the connection is cut, so that the answer looks cut too
            if data:
                self.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                await self._drain()
        if chunked:
            self.write(b"0\r\n\r\n")
        return keep_alive

    async def _drain(self) -> None:
        if self._drained is not None:
            await self._drained
        if self._transport is None:
            raise asyncio.CancelledError

    def _finish(self, exchange: _Exchange, keep_alive: bool) -> None:
        """After an answer: the next request, or the end."""
        self._exchange = None
        if not exchange.body.ended:
            exchange.body.discard()
            self.throttle()
        if not keep_alive:
            self._pending.clear()
            self._linger()
        elif self._pending:
            self._start(self._pending.popleft())
            self.throttle()
        elif self._refusal is not None:
            self._refuse(self._refusal)
        elif exchange.body.ended:
            self._await_next()
        else:
            self.deadline = self._loop.time() + STALL_S

    def _await_next(self) -> None:
        self.deadline = self._loop.time() + IDLE_S

    def _linger(self) -> None:
        """Closes, but lets a client that is still sending see the answer before the connection breaks."""
        if self._receiving is None or self._transport is None:
            self._close()
            return
        self._refusal = _plain(HTTPStatus.BAD_REQUEST)  # nothing that comes now is read
        self._loop.call_later(2.0, self._abort)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _refuse(self, response: Response) -> None:
        """Answers what is not HTTP as we speak it, after what came before it, and ends the connection."""
        self._refusal = response
        if self._receiving is not None:
            self._receiving.end(broken=True)
            self._refusal = Response(0)  # whoever reads that body has an answer to give
        if self._exchange is None and self._transport is not None:
            self._transport.write(_refusal_bytes(response))
            self._close()

    def _close_after_answers(self) -> None:
        if self._refusal is None:
            self._refusal = Response(0)

    def _upgrade(self) -> None:
        """We speak HTTP/1.1 only, so an offer of something else is ignored: the request counts, what follows is new."""
        if self._receiving is not None and self._receiving.length:
            self._refuse(_plain(HTTPStatus.BAD_REQUEST))
            return
        self.on_message_complete()
        self._parser = httptools.HttpRequestParser(self)

    def _too_large(self, error: Exception) -> Response | None:
        match error.__context__ or error.__cause__:
            case _TargetTooLong():
                return _plain(HTTPStatus.REQUEST_URI_TOO_LONG)
            case _TooManyHeaders():
                return _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return None

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _TargetTooLong(Exception):
    pass


class _TooManyHeaders(Exception):
    pass


class _NoHost(Exception):
    pass


def _split(target: bytes) -> tuple[str, str]:
    """Path and query of a request's target, as sent."""
    text = target.decode("ascii")
    if not text.startswith("/") and "://" in text:
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, _, query = text.partition("?")
    return path, query


def _plain(status: HTTPStatus) -> Response:
    return Response(status.value, {"content-type": "text/plain"}, status.phrase.encode())


def _refusal_bytes(response: Response) -> bytes:
    if not response.status or not isinstance(response.body, bytes):
        return b""
    return (f"{_STATUS_LINES[response.status]}content-type: text/plain\r\ncontent-length: {len(response.body)}\r\n"
            "connection: close\r\n\r\n").encode() + response.body


_date: tuple[int, str] = (0, "")


def _date_line(now: float) -> str:
    global _date
    if _date[0] != int(now):
        _date = (int(now), f"date: {formatdate(now, usegmt=True)}\r\n")
    return _date[1]


def _head(exchange: _Exchange, response: Response, keep_alive: bool, size: int | None,
          now: Callable[[], float]) -> bytes:
    headers, status = response.headers, response.status
    said = "\r\n".join(map(": ".join, headers.items())) + "\r\n" if headers else ""
    if not said.count("\n") == said.count("\r") == len(headers) or "\0" in said:  # a value has one: it must not
        said = "".join(f"{name}: {value}".translate(_HARMLESS) + "\r\n" for name, value in headers.items())
    length = "" if status in _BODILESS or "content-length" in headers else (
        f"content-length: {size}\r\n" if size is not None else
        "transfer-encoding: chunked\r\n" if exchange.chunked else "")
    end = "connection: close\r\n" if not keep_alive else "" if exchange.chunked else "connection: keep-alive\r\n"
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    return f"{first}{_date_line(now())}{said}{length}{end}\r\n".encode()
