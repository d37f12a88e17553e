"""What every implementation of the Machines and Disks ports must do, whatever is behind it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest

from cloudlet.engines.ports import (
    Disks,
    DiskSpec,
    Drive,
    InterfaceSpec,
    Lease,
    Machine,
    Machines,
    MachineSpec,
    Networks,
    NetworkSpec,
    Nic,
)
from cloudlet.kernel.errors import Busy, Conflict
from cloudlet.kernel.names import Installation

T = TypeVar("T")
MIB = 1 << 20


@dataclass(frozen=True)
class Ground:
    """Where the suite runs. `sleep` waits; `power_off` is what a guest does, `lose` kills the process of a machine;
    `base` is a layer that brings a kernel where machines need one, and `booted` waits for a guest that listens."""

    machines: Machines
    disks: Disks
    networks: Networks
    installation: Installation
    sleep: Callable[[float], Awaitable[None]]
    power_off: Callable[[MachineSpec], Awaitable[None]]
    lose: Callable[[MachineSpec], Awaitable[None]]
    booted: Callable[[MachineSpec], Awaitable[None]]
    base: str | None = None

    def name(self, kind: str, key: str) -> str:
        return self.installation.name(kind, key)

    @property
    def network(self) -> NetworkSpec:
        return NetworkSpec(self.name("vpc", "a"), ("10.1.0.0/16",), ("10.1.0.1",), "10.1.0.2")

    async def nic(self, last: int) -> Nic:
        """A card on the interface 10.1.0.`last`, which is there."""
        address = f"10.1.0.{last}"
        spec = InterfaceSpec(self.name("eni", address), self.network.name, (address,), "10.1.0.1",
                             f"02:00:00:00:00:{last:02x}", "tap",
                             Lease("10.1.0.0/24", "10.1.0.2", f"ip-10-1-0-{last}.ec2.internal"))
        found = await self.networks.ensure_interface(spec)
        return Nic(spec.name, found.path, spec.mac)

    async def drive(self, key: str, size_mib: int = 16) -> Drive:
        """A disk, which is there."""
        name = self.name("vol", key)
        await self.disks.ensure(DiskSpec(name, size_mib * MIB, self.base))
        return Drive(name, f"vol{key:0>17}")

    async def spec(self, key: str, last: int = 10) -> MachineSpec:
        """A machine of one drive and one card, not yet powered on."""
        await self.networks.ensure_network(self.network)
        return MachineSpec(self.name("vm", key), self.network.name, 1, 384 * MIB, (await self.drive(key),),
                           (await self.nic(last),), self.base)

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What an engine says once it is no longer busy."""
        for _ in range(200):
            try:
                return await ask()
            except Busy:
                await self.sleep(0.2)
        raise AssertionError("still busy")

    async def ended(self, name: str) -> Machine:
        """The machine, once it is off."""
        for _ in range(200):
            seen = await self.patiently(lambda: self.machines.observe(name))
            assert seen is not None
            if seen.state == "off":
                return seen
            await self.sleep(0.1)
        raise AssertionError("it does not end")


async def a_machine_is_powered_on_once(ground: Ground) -> None:
    spec = await ground.spec("one")
    assert await ground.machines.observe(spec.name) is None
    made = await ground.machines.ensure(spec)
    assert (made.name, made.state, made.ended) == (spec.name, "running", "")
    assert (made.drives, made.nics) == ((spec.drives[0].disk,), (spec.nics[0].interface,))
    assert made == await ground.machines.ensure(spec) == await ground.machines.observe(spec.name)
    assert await ground.machines.owned() == (spec.name,)
    for _ in range(2):
        await ground.machines.destroy(spec.name)
        assert await ground.machines.observe(spec.name) is None
        assert not await ground.machines.owned()
    assert await ground.disks.observe(spec.drives[0].disk), "its disk stays"
    assert await ground.networks.observe(spec.nics[0].interface)


async def how_a_machine_ended_is_known(ground: Ground) -> None:
    spec = await ground.spec("one")
    for end, expected in ((ground.power_off, "guest"), (ground.lose, "lost")):
        first = await ground.machines.ensure(spec)
        await ground.booted(spec)
        await end(spec)
        seen = await ground.ended(spec.name)
        assert (seen.ended, seen.drives, seen.nics, seen.pid) == (expected, (), (), None)
        assert await ground.machines.ensure(spec) == seen, "one that is off is left as it is"
        await ground.machines.stop(spec.name, 0)
        assert await ground.machines.observe(spec.name) == seen
        await ground.machines.destroy(spec.name)
        assert first.state == "running"


async def the_power_button_is_heard_and_the_plug_pulled(ground: Ground) -> None:
    spec = await ground.spec("one")
    for grace_s in (30, 0):
        await ground.machines.ensure(spec)
        await ground.booted(spec)
        for _ in range(2):
            await ground.machines.stop(spec.name, grace_s)
        assert (await ground.ended(spec.name)).ended == "host"
        await ground.machines.destroy(spec.name)


async def drives_and_cards_come_and_go(ground: Ground) -> None:
    spec = await ground.spec("one")
    more = replace(spec, drives=(*spec.drives, await ground.drive("two"), await ground.drive("three")),
                   nics=(*spec.nics, await ground.nic(11)))
    await ground.machines.ensure(spec)
    await ground.booted(spec)
    seen = await ground.patiently(lambda: ground.machines.ensure(more))
    assert set(seen.drives) == {drive.disk for drive in more.drives}
    assert set(seen.nics) == {nic.interface for nic in more.nics}
    fewer = replace(more, drives=(more.drives[0], more.drives[2]), nics=more.nics[:1])
    await ground.networks.destroy(more.nics[1].interface)  # by force
    seen = await ground.patiently(lambda: ground.machines.ensure(fewer))
    assert set(seen.drives) == {drive.disk for drive in fewer.drives}
    assert seen.nics == (spec.nics[0].interface,)
    await ground.disks.destroy(more.drives[1].disk)
    with pytest.raises(Conflict):
        await ground.disks.destroy(more.drives[2].disk)
    assert await ground.nic(11) == more.nics[1]
    again = await ground.patiently(lambda: ground.machines.ensure(replace(fewer, nics=more.nics)))
    assert set(again.nics) == {nic.interface for nic in more.nics}, "the same card once more"


async def a_disk_is_in_one_machine(ground: Ground) -> None:
    spec, rival = await ground.spec("one"), await ground.spec("two", 11)
    await ground.machines.ensure(spec)
    thief = replace(rival, drives=spec.drives)
    with pytest.raises(Conflict):
        await ground.machines.ensure(thief)
    assert await ground.machines.observe(thief.name) is None, "it is not there half"
    await ground.machines.ensure(rival)
    with pytest.raises(Conflict):
        await ground.machines.ensure(replace(rival, drives=(*rival.drives, *spec.drives)))
    seen = await ground.machines.observe(rival.name)
    assert seen is not None
    assert (seen.state, seen.drives) == ("running", (rival.drives[0].disk,))
    await ground.machines.destroy(rival.name)
    await ground.machines.stop(spec.name, 0)
    await ground.ended(spec.name)
    assert (await ground.machines.ensure(thief)).state == "running", "whose machine is off gives it up"


async def two_at_once_do_not_share_a_disk(ground: Ground) -> None:
    spec = await ground.spec("one")
    other = replace(await ground.spec("two", 11), drives=spec.drives)
    said: list[Any] = await asyncio.gather(ground.machines.ensure(spec), ground.machines.ensure(other),
                                           return_exceptions=True)
    assert sorted(type(each).__name__ for each in said) == ["Conflict", "Machine"]
    assert len(await ground.machines.owned()) == 1


async def what_is_missing_is_said(ground: Ground) -> None:
    spec = await ground.spec("one")
    for broken in (replace(spec, network=ground.name("vpc", "nowhere")),
                   replace(spec, drives=(Drive(ground.name("vol", "nothing"), "vol0"),))):
        with pytest.raises(Conflict):
            await ground.machines.ensure(broken)
        assert await ground.machines.observe(spec.name) is None
        assert not await ground.machines.owned()
    assert await ground.machines.console(spec.name) == b""
    for gone in (ground.machines.stop(spec.name, 1), ground.machines.destroy(spec.name)):
        await gone


async def a_disk_is_kept_and_grows_while_it_is_used(ground: Ground) -> None:
    spec = await ground.spec("one")
    disk = spec.drives[0].disk
    await ground.machines.ensure(spec)
    layer = ground.name("snap", "one")
    sealed = await ground.patiently(lambda: ground.disks.seal(disk, layer))
    assert (sealed.name, sealed.size_bytes) == (layer, 16 * MIB)
    assert await ground.disks.seal(disk, layer) == sealed == await ground.disks.observe(layer)
    grown = await ground.patiently(lambda: ground.disks.ensure(DiskSpec(disk, 32 * MIB)))
    assert grown.size_bytes == 32 * MIB
    seen = await ground.machines.observe(spec.name)
    assert seen is not None
    assert (seen.state, seen.drives) == ("running", (disk,))
    copy = await ground.disks.ensure(DiskSpec(ground.name("vol", "copy"), 16 * MIB, layer))
    assert copy.size_bytes == 16 * MIB


Check = Callable[[Ground], Awaitable[None]]
CHECKS: tuple[Check, ...] = (
    a_machine_is_powered_on_once, how_a_machine_ended_is_known, the_power_button_is_heard_and_the_plug_pulled,
    drives_and_cards_come_and_go, a_disk_is_in_one_machine, two_at_once_do_not_share_a_disk, what_is_missing_is_said,
    a_disk_is_kept_and_grows_while_it_is_used)
