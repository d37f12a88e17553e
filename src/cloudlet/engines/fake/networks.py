"""Networks without a world: what was made and applied, never a packet."""

import socket
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from cloudlet.engines.ports import Fabric, Interface, InterfaceSpec, NetworkSpec
from cloudlet.kernel.errors import Conflict

if TYPE_CHECKING:
    from cloudlet.engines.fake import World


class FakeNetworks:
    """Networks, interfaces and the fabric last applied to each network. Packets are not simulated."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.networks: dict[str, NetworkSpec] = {}
        self.interfaces: dict[str, InterfaceSpec] = {}
        self.births: Counter[str] = Counter()  # how often each interface was made
        self.fabrics: dict[str, Fabric] = {}

    async def ensure_network(self, spec: NetworkSpec) -> None:
        """See `ports.Networks`."""
        def effect() -> None:
            self.networks[spec.name] = spec
        await self._world.verb("ensure_network", spec.name, effect, makes=True)

    async def ensure_interface(self, spec: InterfaceSpec) -> Interface:
        """See `ports.Networks`. Conflict where its network is missing, or another interface has its address."""
        def effect() -> Interface:
            if spec.network not in self.networks:
                raise Conflict(f"the network {spec.network} does not exist")
            for other in self.interfaces.values():
                shared = set(other.addresses) & set(spec.addresses)
                if other.network == spec.network and shared and other.name != spec.name:
                    raise Conflict(f"{min(shared)} belongs to {other.name}")
            self.births[spec.name] += spec.name not in self.interfaces
            self.interfaces[spec.name] = spec
            return self._interface(spec)
        return await self._world.verb("ensure_interface", spec.name, effect, makes=True)

    async def apply(self, fabric: Fabric) -> None:
        """See `ports.Networks`. Conflict where the network is missing."""
        def effect() -> None:
            if fabric.network not in self.networks:
                raise Conflict(f"the network {fabric.network} does not exist")
            now = self.fabrics.get(fabric.network)
            if now is None or now.revision <= fabric.revision:
                self.fabrics[fabric.network] = fabric
        await self._world.verb("apply", fabric.network, effect)

    async def observe(self, name: str) -> Interface | None:
        """See `ports.Networks`."""
        def effect() -> Interface | None:
            spec = self.interfaces.get(name)
            return self._interface(spec) if spec else None
        return await self._world.verb("observe", name, effect)

    async def answering(self, network: str, interfaces: Collection[str]) -> frozenset[str]:
        """See `ports.Networks`. Conflict where the network is missing."""
        def effect() -> frozenset[str]:
            if network not in self.networks:
                raise Conflict(f"the network {network} does not exist")
            found = [self.interfaces[name] for name in interfaces if name in self.interfaces]
            return frozenset(spec.name for spec in found if spec.network == network and (
                spec.workload == "namespace" or self._world.machines.answers(spec.name)))
        return await self._world.verb("answering", network, effect)

    async def destroy(self, name: str) -> None:
        """See `ports.Networks`."""
        def effect() -> None:
            self.interfaces.pop(name, None)
            if self.networks.pop(name, None):
                self.fabrics.pop(name, None)
                for inner in [i.name for i in self.interfaces.values() if i.network == name]:
                    del self.interfaces[inner]
        await self._world.verb("destroy", name, effect)

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Networks`."""
        return await self._world.verb("owned", "networks", lambda: (*self.networks, *self.interfaces))

    async def listen(self, network: str, address: str, port: int) -> socket.socket:
        """A socket on a free port of the host's loopback: the fake has no namespaces. Conflict: no such network."""
        if network not in self.networks:
            raise Conflict(f"the network {network} does not exist")
        return socket.create_server(("127.0.0.1", 0))

    def vanish(self, name: str) -> None:
        """Somebody removed it behind our back."""
        self.interfaces.pop(name, None)

    @staticmethod
    def _interface(spec: InterfaceSpec) -> Interface:
        path = f"/run/netns/{spec.name}" if spec.workload == "namespace" else spec.name
        return Interface(spec.name, path, spec.addresses)


class FakeDoors:
    """Which networks have their doors open (`open`)."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.open: set[str] = set()

    async def ensure(self, network: str) -> None:
        """See `ports.Doors`. Conflict where the network is missing."""
        def effect() -> None:
            if network not in self._world.networks.networks:
                raise Conflict(f"the network {network} does not exist")
            self.open.add(network)
        await self._world.verb("open", network, effect)

    async def destroy(self, network: str) -> None:
        """See `ports.Doors`."""
        await self._world.verb("shut", network, lambda: self.open.discard(network))
