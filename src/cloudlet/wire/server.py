"""Carries handlers over sockets: the main addresses, and any further ones, each with a handler of its own."""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.http import Handler
from cloudlet.wire.connection import Connection

BACKLOG = 1024
SWEEP_S = 5.0  # how often silent clients are looked for
GRACE_S = 5.0  # how long answers under way may take once we stop


class Closer:
    """A listening socket that can be closed by itself."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    async def close(self) -> None:
        """Stops listening; requests under way are answered."""
        self._server.close()


class Server:
    """`handler` answers on the addresses given to `listen`; `open` adds sockets with handlers of their own."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._listening: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self.connections: set[Connection] = set()
        self.clients: Counter[tuple[str, str]] = Counter()  # connections by network and address
        self.stopping = False
        self.now: Callable[[], float] = SystemClock().now

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listens on an address; the bound port (`port` 0: any). Raises OSError where it is taken."""
        scheme = "https" if tls else "http"
        listening = await asyncio.get_running_loop().create_server(
            lambda: Connection(self, self._handler, "", scheme), host, port, backlog=BACKLOG, ssl=tls)
        self._keep(listening)
        bound: int = listening.sockets[0].getsockname()[1]
        return bound

    async def open(self, sock: socket.socket, handler: Handler, network: str) -> Closer:
        """Listens on a socket that is already bound, e.g. in a VPC's namespace; requests carry its `network`."""
        listening = await asyncio.get_running_loop().create_server(
            lambda: Connection(self, handler, network, "http"), sock=sock, backlog=BACKLOG)
        self._keep(listening)
        return Closer(listening)

    def _keep(self, listening: asyncio.Server) -> None:
        self._listening = [kept for kept in self._listening if kept.is_serving()]
        self._listening.append(listening)
        if self._sweeper is None:
            self._sweep()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self.connections):
            connection.abort_if_due(now)
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    async def close(self) -> None:
        """Stops: no new connections, answers under way get GRACE_S, then whatever is left is cut."""
        self.stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for listening in self._listening:
            listening.close()
        for connection in tuple(self.connections):
            connection.close_when_idle()
        loop = asyncio.get_running_loop()
        end = loop.time() + GRACE_S
        while self.connections and loop.time() < end:
            await SystemClock().sleep(0.02)
        for connection in tuple(self.connections):
            connection.cut()
        await SystemClock().sleep(0)
