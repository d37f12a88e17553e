"""The loops that make VPCs and their interfaces real, and record what they saw.

`ec2.network` (key: the VPC's) makes the namespace of a VPC that has interfaces, `ec2.interface` each interface in it,
and `ec2.fabric` (key: the VPC's) says who may talk to whom and tells those who wait that their interface is ready.
Whatever is found missing is made again, with the same names and addresses.
"""

from collections.abc import Iterable
from dataclasses import replace

from cloudlet.control.controller import Controller
from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.control.rounds import every
from cloudlet.engines.ports import Engines, Interface
from cloudlet.kernel.errors import EngineError
from cloudlet.kernel.site import Site
from cloudlet.services.ec2 import pool
from cloudlet.services.ec2.connect import ACTIVE_KEYS, Withdrawal
from cloudlet.services.ec2.fabric import interface_spec, network_spec, refresh_fabric, render, snapshot
from cloudlet.services.ec2.instances.checks import EVERY_S, Checks
from cloudlet.services.ec2.instances.loop import CONSOLE, INSTANCE, InstanceLoop
from cloudlet.services.ec2.interfaces import vpc_key
from cloudlet.services.ec2.records import Ground, Network, NetworkInterface, Vpc
from cloudlet.services.ec2.storage import loops as storage
from cloudlet.store.db import Store, Tx

NETWORK, INTERFACE, FABRIC = "ec2.network", "ec2.interface", "ec2.fabric"
LINGER_S = 30.0  # how long an empty network stays: the next task of a service is often not far


def controller(store: Store, engines: Engines, site: Site) -> Controller:
    """EC2's loops. Tells the store what the installation is called, which transactions need to know."""
    with store.tx() as tx:
        tx.put(Ground(pool.GROUND_KEY, site.installation.id, site.public_cidr, site.instance_memory_bytes))
    loops, disks = Loops(store, engines, site), storage.controller(store, engines, site)
    checks = Checks(store, engines, site.installation)
    machines = InstanceLoop(store, engines, site.installation, checks)
    return Controller(
        {NETWORK: loops.network, INTERFACE: loops.interface, FABRIC: loops.fabric, INSTANCE: machines.reconcile,
         CONSOLE: machines.read_console, ACTIVE_KEYS: Withdrawal(store).reconcile, **disks.reconcilers},
        keeps={"networks": loops.keeps, "machines": machines.keeps, **disks.keeps},
        wakes={"networks": loops.wakes, "machines": machines.wakes, **disks.wakes},
        workers={"ec2.checks": every(EVERY_S, checks.look_at_all, store.clock, at_once=False), **disks.workers})


class Loops:
    """The steps, over one store and the engines of one installation."""

    def __init__(self, store: Store, engines: Engines, site: Site) -> None:
        self.store, self.networks, self.doors = store, engines.networks, engines.doors
        self.installation = site.installation

    def name(self, key: str) -> str:
        """The engine name of a VPC."""
        return self.installation.name("vpc", key)

    def keeps(self, tx: Tx) -> Iterable[str]:
        """The engine names of networks and interfaces that records account for."""
        return [*(self.name(network.key) for network in tx.find(Network)),
                *(interface.fabric_name for interface in tx.find(NetworkInterface) if interface.real)]

    def wakes(self, tx: Tx, name: str) -> tuple[str, str] | None:
        """Whose loop is to look when something happened to the network or interface of that engine name."""
        for network in tx.find(Network):
            if self.name(network.key) == name:
                return NETWORK, network.key
        for interface in tx.find(NetworkInterface):
            if interface.fabric_name == name:
                return INTERFACE, interface.key
        return None

    # ── ec2.network ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def network(self, key: str) -> Outcome:
        """The VPC's namespace is there while interfaces need it, and goes some time after the last of them."""
        with self.store.tx() as tx:
            seen, vpc = tx.get(Network, key), tx.get(Vpc, key)
            needed = seen is not None and tx.count(NetworkInterface, world=seen.vpc_id) > 0
            spec = network_spec(tx, self.name(key), vpc) if vpc else None
            now = tx.now
        if seen is None:
            await self._destroy(key)
            return Done()
        if spec is None:
            return await self._remove(seen)
        if needed:
            if seen.up and spec.name not in await self.networks.owned():
                return self._record(seen, replace(seen, up=False)) or Again(why="the network is gone: making it again")
            await self.networks.ensure_network(spec)
            await self.doors.ensure(spec.name)
            return self._came_up(seen)
        if seen.empty_since is None:
            return self._record(seen, replace(seen, empty_since=now)) or Again(LINGER_S, "removed if it stays empty")
        left = seen.empty_since + LINGER_S - now
        return Again(left, "removed if it stays empty") if left > 0 else await self._remove(seen)

    def _came_up(self, seen: Network) -> Outcome:
        """Records that the namespace is there; what waited for it, or may have been lost with it, is looked at."""
        with self.store.tx() as tx:
            if not tx.swap(seen, replace(seen, up=True, empty_since=None)):
                return Again()
            if not seen.up:
                for interface in tx.find(NetworkInterface, world=seen.vpc_id):
                    tx.enqueue(INTERFACE, interface.key)
                refresh_fabric(tx, seen.key)
        return Done()

    def _record(self, seen: Network, changed: Network) -> Outcome | None:
        with self.store.tx() as tx:
            return None if tx.swap(seen, changed) else Again()

    async def _remove(self, seen: Network) -> Outcome:
        """Shuts the doors and removes the namespace with everything in it, then its record.

        The record says that it is down before the first effect, so that whoever needs it meanwhile has it made again.
        """
        down = replace(seen, up=False)
        if again := self._record(seen, down):
            return again
        await self._destroy(seen.key)
        with self.store.tx() as tx:
            if tx.get(Network, seen.key) != down:
                return Again()
            pool.drained(tx, seen.key)
            tx.delete(Network, seen.key)
        return Done()

    async def _destroy(self, key: str) -> None:
        await self.doors.destroy(self.name(key))  # first: a socket would keep the namespace alive
        await self.networks.destroy(self.name(key))

    # ── ec2.interface ────────────────────────────────────────────────────────────────────────────────────────────────

    async def interface(self, key: str) -> Outcome:
        """One interface: there, as its record wants it, or gone, where it was released."""
        with self.store.tx() as tx:
            seen = tx.get(NetworkInterface, key)
            network = tx.get(Network, vpc_key(seen)) if seen else None
        if seen is None:
            await self.networks.destroy(self.installation.name("eni", key))
            return Done()
        if seen.releasing:
            return await self._forget(seen)
        if not seen.real:
            return await self._withdraw(seen) if seen.path else Done()
        found = await self.networks.observe(seen.fabric_name) if seen.path else None
        if found is None and seen.path:
            return self._lost(seen)
        spec = interface_spec(seen)
        if found is None or found.addresses != spec.addresses:
            if network is None or not network.up:
                return Done()  # the network's step wakes everything that waits for it
            try:
                found = await self.networks.ensure_interface(spec)
            except EngineError:
                self._suspect(vpc_key(seen))
                raise
        return self._found(seen, found)

    def _found(self, seen: NetworkInterface, found: Interface) -> Outcome:
        """Records where the interface is; the fabric is to name it."""
        with self.store.tx() as tx:
            now = tx.get(NetworkInterface, seen.key)
            if now is None or now.releasing:
                return Again()
            if now.path != found.path:
                tx.put(replace(now, path=found.path), wake=False)
            if not now.ready:
                refresh_fabric(tx, vpc_key(now))
        return Done()

    def _lost(self, seen: NetworkInterface) -> Outcome:
        """The interface was there and is not (a reboot, or somebody's hand): its network may be gone as well."""
        with self.store.tx() as tx:
            now = tx.get(NetworkInterface, seen.key)
            if now is not None and not now.releasing:
                tx.put(replace(now, path="", ready=False), wake=False)
                if now.ready and now.notify:
                    tx.enqueue(*now.notify)
        return Again(why="the interface is gone: making it again")

    def _suspect(self, key: str) -> None:
        """An engine failed in a VPC: perhaps because its namespace is gone."""
        with self.store.tx() as tx:
            tx.enqueue(NETWORK, key)

    async def _forget(self, seen: NetworkInterface) -> Outcome:
        await self.networks.destroy(seen.fabric_name)
        with self.store.tx() as tx:
            tx.delete(NetworkInterface, seen.key)
            self._left(tx, seen)
        return Done()

    async def _withdraw(self, seen: NetworkInterface) -> Outcome:
        """It was taken out of its instance: what is left is a record with addresses."""
        await self.networks.destroy(seen.fabric_name)
        with self.store.tx() as tx:
            if not tx.swap(seen, replace(seen, path="", ready=False)):
                return Again()
            self._left(tx, seen)
        return Done()

    def _left(self, tx: Tx, seen: NetworkInterface) -> None:
        """An interface has left its network, which goes with the last."""
        if not tx.count(NetworkInterface, world=seen.vpc_id):
            tx.enqueue(NETWORK, vpc_key(seen))

    # ── ec2.fabric ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def fabric(self, key: str) -> Outcome:
        """A VPC's whole document, rendered from records and applied."""
        with self.store.tx() as tx:
            network, vpc = tx.get(Network, key), tx.get(Vpc, key)
            seen = snapshot(tx, self.name(key), vpc) if vpc else None
        if network is None or seen is None or not network.up:
            return Done()  # the network's step asks again once it is up
        try:
            await self.networks.apply(render(seen))
        except EngineError:
            self._suspect(key)
            raise
        with self.store.tx() as tx:
            pool.drained(tx, key, frozenset(public for i in seen.interfaces for public in i.public_ips))
            for interface in seen.interfaces:
                if not interface.ready:
                    _ready(tx, interface)
        return Done()


def _ready(tx: Tx, seen: NetworkInterface) -> None:
    """The fabric that was applied names the interface: whoever waits for it is told."""
    now = tx.get(NetworkInterface, seen.key)
    if now is not None and now.path == seen.path and not now.releasing and not now.ready:
        tx.put(replace(now, ready=True), wake=False)
        if now.notify:
            tx.enqueue(*now.notify)
