"""What every implementation of the Networks port must do, whatever is behind it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from cloudlet.engines.ports import Address, Fabric, InterfaceSpec, Member, Networks, NetworkSpec, Rule
from cloudlet.kernel.errors import Conflict
from cloudlet.kernel.names import Installation

OPEN = {"sg-open": (Rule("egress", "-1", None, None, "0.0.0.0/0"), Rule("ingress", "-1", None, None, "0.0.0.0/0"))}


@dataclass(frozen=True)
class Ground:
    """Where the suite runs: the port, and the installation whose names it uses."""

    networks: Networks
    installation: Installation

    def network(self, key: str) -> NetworkSpec:
        """A VPC; all of them have the same range."""
        return NetworkSpec(self.installation.name("vpc", key), ("10.1.0.0/16",), ("10.1.0.1",), "10.1.0.2")

    def interface(self, key: str, network: NetworkSpec, last: int) -> InterfaceSpec:
        """The interface 10.1.0.`last` of a VPC."""
        return InterfaceSpec(self.installation.name("eni", f"{network.name} {key}"), network.name,
                             (f"10.1.0.{last}",), "10.1.0.1", f"0a:00:00:00:00:{last:02x}")

    async def made(self, key: str, interfaces: int = 0) -> tuple[NetworkSpec, list[InterfaceSpec]]:
        """A VPC with some interfaces."""
        network = self.network(key)
        specs = [self.interface(f"eni-{number}", network, 10 + number) for number in range(interfaces)]
        await self.networks.ensure_network(network)
        await asyncio.gather(*(self.networks.ensure_interface(spec) for spec in specs))
        return network, specs


async def an_interface_lives_and_is_removed(ground: Ground) -> None:
    network, _ = await ground.made("life")
    spec = ground.interface("one", network, 10)
    assert await ground.networks.observe(spec.name) is None
    made = await ground.networks.ensure_interface(spec)
    assert made.name == spec.name
    assert made == await ground.networks.ensure_interface(spec) == await ground.networks.observe(spec.name)
    assert {network.name, spec.name} <= set(await ground.networks.owned())
    for _ in range(2):
        await ground.networks.destroy(spec.name)
        assert await ground.networks.observe(spec.name) is None
        assert spec.name not in await ground.networks.owned()
    assert network.name in await ground.networks.owned()
    await ground.networks.destroy(network.name)


async def a_network_takes_its_interfaces_with_it(ground: Ground) -> None:
    network, specs = await ground.made("whole", 3)
    other, others = await ground.made("other", 1)
    for _ in range(2):
        await ground.networks.destroy(network.name)
    assert not {network.name, *(spec.name for spec in specs)} & set(await ground.networks.owned())
    assert [await ground.networks.observe(spec.name) for spec in specs] == [None, None, None]
    assert await ground.networks.observe(others[0].name)
    await ground.networks.destroy(other.name)


async def a_network_may_be_ensured_again_and_changed(ground: Ground) -> None:
    network, specs = await ground.made("again", 1)
    await ground.networks.ensure_network(network)
    await ground.networks.ensure_network(replace(network, cidrs=("10.1.0.0/16", "10.2.0.0/16"),
                                                 gateways=("10.1.0.1", "10.2.0.1")))
    assert await ground.networks.observe(specs[0].name)
    await ground.networks.destroy(network.name)


async def what_needs_a_network_says_that_there_is_none(ground: Ground) -> None:
    network = ground.network("missing")
    with pytest.raises(Conflict):
        await ground.networks.ensure_interface(ground.interface("one", network, 10))
    with pytest.raises(Conflict):
        await ground.networks.apply(Fabric(network.name, 1, ()))
    with pytest.raises(Conflict):
        await ground.networks.listen(network.name, "169.254.170.2", 80)
    assert not await ground.networks.owned()


async def an_address_has_one_interface(ground: Ground) -> None:
    network, (first,) = await ground.made("address", 1)
    rival = replace(ground.interface("rival", network, 10), mac="0a:00:00:00:00:99")
    with pytest.raises(Conflict):
        await ground.networks.ensure_interface(rival)
    assert await ground.networks.observe(rival.name) is None
    assert rival.name not in await ground.networks.owned()
    await ground.networks.destroy(first.name)
    assert await ground.networks.ensure_interface(rival)
    await ground.networks.destroy(network.name)


async def addresses_come_and_go(ground: Ground) -> None:
    network, (namespace, other) = await ground.made("further", 2)
    tap = replace(ground.interface("machine", network, 20), workload="tap")
    for spec in (namespace, tap):
        made = await ground.networks.ensure_interface(spec)
        assert made.addresses == spec.addresses
        wide = replace(spec, addresses=(*spec.addresses, "10.1.0.30", "10.1.0.31"))
        grown = await ground.networks.ensure_interface(wide)
        assert grown == replace(made, addresses=wide.addresses) == await ground.networks.observe(spec.name)
        with pytest.raises(Conflict):
            await ground.networks.ensure_interface(replace(other, addresses=(*other.addresses, "10.1.0.31")))
        left = await ground.networks.observe(other.name)
        assert left and left.addresses == other.addresses, "it keeps what it had"
        narrow = replace(spec, addresses=(*spec.addresses, "10.1.0.31"))
        assert (await ground.networks.ensure_interface(narrow)).addresses == narrow.addresses
        assert await ground.networks.ensure_interface(replace(other, addresses=(*other.addresses, "10.1.0.30")))
        assert await ground.networks.ensure_interface(other)
        assert await ground.networks.ensure_interface(spec) == made == await ground.networks.observe(spec.name)
    await ground.networks.destroy(network.name)


async def many_at_once(ground: Ground) -> None:
    network, specs = await ground.made("many", 30)
    assert all([await ground.networks.observe(spec.name) for spec in specs])
    await asyncio.gather(*(ground.networks.destroy(spec.name) for spec in specs[:20]),
                         *(ground.networks.ensure_interface(spec) for spec in specs[20:]))
    assert set(await ground.networks.owned()) == {network.name, *(spec.name for spec in specs[20:])}
    await ground.networks.destroy(network.name)


async def who_is_there_answers(ground: Ground) -> None:
    network, specs = await ground.made("answers", 3)
    nobody = replace(ground.interface("machine", network, 30), workload="tap")
    await ground.networks.ensure_interface(nobody)
    other, others = await ground.made("others", 1)
    names = [spec.name for spec in specs]
    assert await ground.networks.answering(network.name, names) == {*names}
    assert await ground.networks.answering(network.name, names[:1]) == {names[0]}, "who was not asked"
    assert await ground.networks.answering(network.name, ()) == frozenset()
    asked = (names[0], nobody.name, others[0].name, ground.installation.name("eni", "unknown"))
    assert await ground.networks.answering(network.name, asked) == {names[0]}
    await ground.networks.destroy(network.name)
    with pytest.raises(Conflict):
        await ground.networks.answering(network.name, names)
    await ground.networks.destroy(other.name)


async def a_tap_is_a_device_and_no_namespace(ground: Ground) -> None:
    network, _ = await ground.made("tap")
    spec = replace(ground.interface("machine", network, 10), workload="tap")
    made = await ground.networks.ensure_interface(spec)
    assert "/" not in made.path
    assert made == await ground.networks.ensure_interface(spec) == await ground.networks.observe(spec.name)
    await ground.networks.destroy(spec.name)
    assert await ground.networks.observe(spec.name) is None
    await ground.networks.destroy(network.name)


async def fabrics_of_any_revision_are_taken(ground: Ground) -> None:
    network, specs = await ground.made("fabric", 2)
    members = tuple(Member(spec.name, (Address(spec.address, names=(f"host-{n}.internal",)),), ("sg-open",))
                    for n, spec in enumerate(specs))
    for revision, named in ((2, members), (2, members), (1, ()), (3, members[:1])):
        await ground.networks.apply(Fabric(network.name, revision, named, OPEN))
    await ground.networks.destroy(network.name)


async def a_socket_listens_inside(ground: Ground) -> None:
    network, _ = await ground.made("door")
    with await ground.networks.listen(network.name, "169.254.170.2", 80) as door:
        assert door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    await ground.networks.destroy(network.name)


Check = Callable[[Ground], Awaitable[None]]
CHECKS: tuple[Check, ...] = (
    an_interface_lives_and_is_removed, a_network_takes_its_interfaces_with_it,
    a_network_may_be_ensured_again_and_changed, what_needs_a_network_says_that_there_is_none,
    an_address_has_one_interface, addresses_come_and_go, many_at_once, a_tap_is_a_device_and_no_namespace,
    fabrics_of_any_revision_are_taken, a_socket_listens_inside, who_is_there_answers)
