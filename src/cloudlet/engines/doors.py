"""The control plane's sockets inside networks: the `Doors` port over any `Networks`."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping

from cloudlet.engines.ports import Networks
from cloudlet.kernel.errors import Busy

TASKS = "169.254.170.2"  # where tasks find their metadata and credentials, as on ECS
INSTANCES = "169.254.169.254"  # where instances find theirs, as on EC2

Close = Callable[[], Awaitable[object]]
OpenDoor = Callable[[socket.socket, str, str], Awaitable[Close]]


class ControlDoors:
    """Opens the same doors in every network. `places` maps a door's kind ("metadata", "instances", "api") to its
    address and port; `open_door` (socket, network, kind) serves a listening socket, owns it from then on, and returns
    how to shut it."""

    def __init__(self, networks: Networks, open_door: OpenDoor,
                 places: Mapping[str, tuple[str, int]]) -> None:
        self._networks, self._open_door, self._places = networks, open_door, dict(places)
        self._open: dict[tuple[str, str], Close] = {}
        self._lock = asyncio.Lock()

    async def ensure(self, network: str) -> None:
        """See `ports.Doors`."""
        async with self._lock:
            for kind, place in self._places.items():
                await self._ensure(network, kind, *place)

    async def _ensure(self, network: str, kind: str, address: str, port: int) -> None:
        shut = self._open.get((network, kind))
        try:
            listener = await self._networks.listen(network, address, port)
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
