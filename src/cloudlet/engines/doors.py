"""The control plane's sockets inside networks: the `Doors` port over any `Networks`."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping

from cloudlet.engines.ports import Networks
from cloudlet.kernel.errors import Busy

ADDRESS = "169.254.170.2"  # where tasks find their metadata and credentials, as on ECS

Close = Callable[[], Awaitable[object]]
OpenDoor = Callable[[socket.socket, str, str], Awaitable[Close]]


class ControlDoors:
    """Opens the same doors in every network. `ports` maps a door's kind ("metadata", "api") to its port; `open_door`
    (socket, network, kind) serves a listening socket, owns it from then on, and returns how to shut it."""

    def __init__(self, networks: Networks, open_door: OpenDoor, ports: Mapping[str, int]) -> None:
        self._networks, self._open_door, self._ports = networks, open_door, dict(ports)
        self._open: dict[tuple[str, str], Close] = {}
        self._lock = asyncio.Lock()

    async def ensure(self, network: str) -> None:
        """See `ports.Doors`."""
        async with self._lock:
            for kind, port in self._ports.items():
                await self._ensure(network, kind, port)

    async def _ensure(self, network: str, kind: str, port: int) -> None:
        shut = self._open.get((network, kind))
        try:
            listener = await self._networks.listen(network, ADDRESS, port)
        except Busy:
            if shut is None:
                raise
            return  # taken: by our own door, which is still there
        if shut is not None:  # the network was made anew, and our door is in one that is gone
            del self._open[network, kind]
            await shut()
        try:
            self._open[network, kind] = await self._open_door(listener, network, kind)
        except BaseException:
            listener.close()
            raise

    async def destroy(self, network: str) -> None:
        """See `ports.Doors`."""
        async with self._lock:
            for door in [door for door in self._open if door[0] == network]:
                await self._open.pop(door)()
