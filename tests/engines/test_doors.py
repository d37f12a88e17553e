"""The control plane's sockets inside networks."""

import asyncio
import socket
from dataclasses import dataclass, field

import pytest

from cloudlet.engines.doors import INSTANCES, TASKS, ControlDoors
from cloudlet.kernel.errors import Busy


@dataclass
class Streets:
    """Networks of which only `listen` matters: a port is taken as long as its socket is open."""

    open: dict[tuple[str, str, int], socket.socket] = field(default_factory=dict)

    async def listen(self, network: str, address: str, port: int) -> socket.socket:
        taken = self.open.get((network, address, port))
        if taken is not None and taken.fileno() >= 0:
            raise Busy("address already in use")
        made = self.open[network, address, port] = socket.socket()
        return made


@dataclass
class Served:
    """What the app does with doors."""

    doors: list[tuple[str, str]] = field(default_factory=list)
    fails: bool = False

    async def open(self, sock: socket.socket, network: str, kind: str) -> "object":
        if self.fails:
            raise OSError("no")
        self.doors.append((network, kind))
        async def close() -> None:
            sock.close()
            self.doors.remove((network, kind))
        return close


def doors(streets: Streets, served: Served) -> ControlDoors:
    return ControlDoors(streets, served.open, {
        "metadata": (TASKS, 80), "instances": (INSTANCES, 80), "api": (TASKS, 4566)})  # type: ignore[arg-type]


def test_doors_open_once_and_shut() -> None:
    async def main() -> None:
        streets, served = Streets(), Served()
        made = doors(streets, served)
        for _ in range(2):
            await made.ensure("a")
        await asyncio.gather(made.ensure("b"), made.ensure("b"))
        assert sorted(served.doors) == [
            (network, kind) for network in "ab" for kind in ("api", "instances", "metadata")]
        assert set(streets.open) == {(network, *place) for network in "ab"
                                     for place in ((TASKS, 80), (INSTANCES, 80), (TASKS, 4566))}
        for _ in range(2):
            await made.destroy("a")
        assert sorted(served.doors) == [("b", "api"), ("b", "instances"), ("b", "metadata")]
        await made.destroy("b")
    asyncio.run(main())


def test_a_network_that_was_made_anew_gets_new_doors() -> None:
    async def main() -> None:
        streets, served = Streets(), Served()
        made = doors(streets, served)
        await made.ensure("a")
        old = list(streets.open.values())
        streets.open.clear()  # the namespace is gone, and another has its name
        await made.ensure("a")
        assert all(sock.fileno() < 0 for sock in old)
        assert len(served.doors) == 3
        await made.destroy("a")
    asyncio.run(main())


def test_a_port_that_somebody_else_has_is_said() -> None:
    async def main() -> None:
        streets, served = Streets(), Served()
        other, made = doors(streets, served), doors(streets, served)
        await other.ensure("a")
        with pytest.raises(Busy):
            await made.ensure("a")
        await other.destroy("a")
        await made.ensure("a")
        await made.destroy("a")
    asyncio.run(main())


def test_a_door_that_cannot_be_served_is_not_left_open() -> None:
    async def main() -> None:
        streets, served = Streets(), Served(fails=True)
        with pytest.raises(OSError, match="no"):
            await doors(streets, served).ensure("a")
        assert [sock.fileno() for sock in streets.open.values()] == [-1]
    asyncio.run(main())
