"""What is left of a crash, and of other people's hands: found again by name, made whole or removed."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudlet.engines import netns, nft
from cloudlet.engines.edge import EDGE_LINK
from cloudlet.engines.netlink import Netlink
from cloudlet.engines.networks import FabricNetworks
from cloudlet.engines.ports import InterfaceSpec
from tests.engines.fabric_ground import (
    FabricGround,
    assert_nothing_is_left,
    fabric_ground,
    member,
    opened,
    real,
    routes_of,
    rule,
)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[FabricGround]:
    with fabric_ground(tmp_path) as found:
        yield found


class Killed(BaseException):
    """The process ends here: nothing that would clean up runs."""


class Reaper:
    """Ends the process at the n-th thing it does to the world."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        for owner, name in ((Netlink, "ask"), (netns, "create"), (netns, "remove")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))
        apply, start = nft.apply, asyncio.create_subprocess_exec
        async def counted_apply(namespace: str, commands: str) -> None:
            self.tick()
            await apply(namespace, commands)
        async def counted_start(*arguments: Any, **more: Any) -> Any:
            self.tick()
            return await start(*arguments, **more)
        monkeypatch.setattr(nft, "apply", counted_apply)
        monkeypatch.setattr(asyncio, "create_subprocess_exec", counted_start)

    def tick(self) -> None:
        if self.left is not None:
            if self.left <= 0:
                raise Killed
            self.left -= 1

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            self.tick()
            return call(*arguments, **more)
        return counted

    def dies(self, ground: FabricGround, after: int, work: Any) -> bool:
        """Whether a new control plane dies in the work, after so many effects."""
        networks = ground.start()
        self.left = after
        async def main() -> bool:
            try:
                await work(networks)
            except Killed:
                return True
            return False
        try:
            return ground.run(main())
        finally:
            self.left = None


@real
@pytest.mark.parametrize("stride", [range(1, 40, 4), range(41, 400, 9)], ids=["early", "late"])
def test_a_crash_while_making_is_repaired(ground: FabricGround, monkeypatch: pytest.MonkeyPatch, stride: range) -> None:
    reaper, network, spec = Reaper(monkeypatch), ground.network(), ground.interface(10)
    async def make(networks: FabricNetworks) -> None:
        await networks.ensure_network(network)
        await networks.ensure_interface(spec)
    for after in stride:
        died = reaper.dies(ground, after, make)
        owned = ground.run(ground.start().owned())
        assert not died or set(netns.names(ground.site.installation.prefix)) <= {
            *owned, f"{ground.site.installation.prefix}edge"}
        if after % 2:  # the next control plane goes on …
            ground.run(make(ground.start()))
            assert ground.run(ground.networks.observe(spec.name))
            _works(ground, spec)
        ground.start()
        ground.clear()  # … or takes away what there is
        assert_nothing_is_left(ground.site)
        if not died:
            return


@real
def test_a_crash_while_removing_is_finished(ground: FabricGround, monkeypatch: pytest.MonkeyPatch) -> None:
    reaper = Reaper(monkeypatch)
    async def remove(networks: FabricNetworks) -> None:
        await networks.destroy_all()
    for after in range(0, 60, 2):
        ground.start()
        ground.build(10, 11)
        died = reaper.dies(ground, after, remove)
        ground.start()
        for name in ground.run(ground.networks.owned()):  # as the sweep does
            ground.run(ground.networks.destroy(name))
        if after % 4:
            ground.clear()
        if not routes_of(ground.site.public_cidr) or after % 4:
            assert_nothing_is_left(ground.site)
        if not died:
            return
    raise AssertionError("it takes more than 60 steps to remove two interfaces?")


def _works(ground: FabricGround, spec: InterfaceSpec) -> None:
    public = ground.public(0)
    ground.apply([member(spec, public=public, internet=("0.0.0.0/0",))], sg_a=opened(rule("ingress")))
    with ground.server(spec):
        assert ground.tcp(None, public) == ground.host


@real
def test_addresses_change_whole_or_not_at_all(ground: FabricGround, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever instruction is the last, the next control plane brings it to what is wanted, and nobody else suffers."""
    reaper = Reaper(monkeypatch)
    spec = ground.build(10)[0]
    states = [replace(spec, addresses=(spec.address, *more)) for more in (("10.1.0.30", "10.1.0.31"), ("10.1.0.31",))]
    ends = 0
    for after in range(60):
        ground.run(ground.networks.ensure_interface(states[0]))
        ends += not reaper.dies(ground, after, lambda networks: networks.ensure_interface(states[1]))
        ground.start()
        seen = ground.run(ground.networks.observe(spec.name))
        assert seen and seen.addresses[0] == spec.address and "10.1.0.31" in seen.addresses
        assert ground.run(ground.networks.ensure_interface(states[1])) == ground.run(ground.networks.observe(spec.name))
        routes = ground.command(ground.network(), "ip", "route")
        assert "10.1.0.31" in routes and "10.1.0.30" not in routes
        if ends:
            return
    raise AssertionError("it takes more than 60 steps to take an address away?")


def _cut_veth(ground: FabricGround, spec: InterfaceSpec) -> None:
    ground.command(spec, "ip", "link", "delete", "eth0")


def _take_namespace(ground: FabricGround, spec: InterfaceSpec) -> None:
    subprocess.run(["ip", "netns", "delete", spec.name], check=True)


def _take_route(ground: FabricGround, spec: InterfaceSpec) -> None:
    ground.command(ground.network(), "ip", "route", "delete", f"{spec.address}/32")


def _take_address(ground: FabricGround, spec: InterfaceSpec) -> None:
    ground.command(spec, "ip", "address", "delete", f"{spec.address}/32", "dev", "eth0")


def _change_mac(ground: FabricGround, spec: InterfaceSpec) -> None:
    ground.command(spec, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:77")


def _set_down(ground: FabricGround, spec: InterfaceSpec) -> None:
    ground.command(spec, "ip", "link", "set", "eth0", "down")


def _forget_neighbour(ground: FabricGround, spec: InterfaceSpec) -> None:
    ground.command(ground.network(), "ip", "neighbour", "flush", "nud", "permanent", "to", spec.address)


@real
@pytest.mark.parametrize("harm", [_cut_veth, _take_namespace, _take_route, _take_address, _change_mac, _set_down,
                                  _forget_neighbour], ids=lambda harm: harm.__name__.strip("_"))
def test_harm_is_seen_and_repaired(ground: FabricGround, harm: Callable[[FabricGround, InterfaceSpec], None]) -> None:
    spec = ground.build(10)[0]
    _works(ground, spec)
    harm(ground, spec)
    assert ground.run(ground.networks.observe(spec.name)) is None
    ground.run(ground.networks.ensure_interface(spec))
    assert ground.run(ground.networks.observe(spec.name))
    with ground.server(spec):  # the fabric that named it still does
        assert ground.tcp(None, ground.public(0)) == ground.host


@real
def test_harm_to_a_network_is_repaired(ground: FabricGround) -> None:
    spec, network = ground.build(10)[0], ground.network()
    edge = f"{ground.site.installation.prefix}edge"
    _works(ground, spec)
    def again() -> None:
        ground.run(ground.networks.ensure_network(network))
        with ground.server(spec):
            assert ground.tcp(None, ground.public(0)) == ground.host
    subprocess.run(["ip", "netns", "exec", network.name, "nft", "flush", "ruleset"], check=True)
    again()
    subprocess.run(["ip", "-n", network.name, "link", "delete", EDGE_LINK], check=True)
    again()
    subprocess.run(["ip", "netns", "delete", edge], check=True)
    again()
    subprocess.run(["ip", "netns", "exec", network.name, "nft", "flush", "ruleset"], check=True)
    subprocess.run(["ip", "netns", "delete", edge], check=True)
    ground.start()  # nor is it forgotten by a control plane that was not there when it was said
    again()
    subprocess.run(["ip", "netns", "delete", network.name], check=True)
    assert ground.run(ground.networks.observe(spec.name)) is None
    ground.run(ground.networks.ensure_network(network))
    ground.run(ground.networks.ensure_interface(spec))
    again()


@real
def test_a_reboot_leaves_names_without_namespaces(ground: FabricGround) -> None:
    spec, network = ground.build(10)[0], ground.network()
    for name in netns.names(ground.site.installation.prefix):  # what a /run on disk looks like after a power cut
        subprocess.run(["umount", netns.path_of(name)], check=True)
    assert ground.run(ground.start().observe(spec.name)) is None
    ground.run(ground.networks.ensure_network(network))
    ground.run(ground.networks.ensure_interface(spec))
    _works(ground, spec)


@real
def test_the_next_control_plane_finds_everything(ground: FabricGround) -> None:
    spec = ground.build(10)[0]
    _works(ground, spec)
    before = ground.run(ground.networks.observe(spec.name)), set(ground.run(ground.networks.owned()))
    ground.start()
    assert (ground.run(ground.networks.observe(spec.name)), set(ground.run(ground.networks.owned()))) == before
    with ground.server(spec):
        call = ground.call(None, ground.public(0))
        assert call
        with call:
            ground.build(10)
            assert call.echoes()


@real
def test_a_further_address_that_is_lost_is_seen_and_repaired(ground: FabricGround) -> None:
    spec = replace(ground.build(10)[0], addresses=("10.1.0.10", "10.1.0.30"))
    ground.run(ground.networks.ensure_interface(spec))
    _works(ground, spec)  # by the public address of the last of them
    for harm in (("ip", "route", "delete", "10.1.0.30/32"), ("ip", "neighbour", "flush", "nud", "permanent", "to",
                                                            "10.1.0.30")):
        ground.command(ground.network(), *harm)
        seen = ground.run(ground.networks.observe(spec.name))
        assert seen and seen.addresses == ("10.1.0.10",), "what it has is there"
        assert ground.run(ground.networks.ensure_interface(spec)).addresses == spec.addresses
    ground.start()  # as after kill -9: the fabric in the ledger knows all addresses
    subprocess.run(["nsenter", f"--net={netns.path_of(spec.network)}", "nft", "flush", "ruleset"], check=True)
    ground.run(ground.networks.ensure_network(ground.network()))
    with ground.server(spec):
        assert ground.tcp(None, ground.public(0)) == ground.host


_CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from cloudlet.engines.networks import FabricNetworks
from cloudlet.engines.ports import Address, Fabric, InterfaceSpec, Member, NetworkSpec, Rule
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site

async def main(mark, cidr, public, vpc, eni):
    networks = FabricNetworks(Site(Installation(mark), Path("/nonexistent"), public_cidr=cidr))
    await networks.ensure_network(NetworkSpec(vpc, ("10.1.0.0/16",), ("10.1.0.1",), "10.1.0.2"))
    await networks.ensure_interface(InterfaceSpec(eni, vpc, ("10.1.0.10",), "10.1.0.1", "0a:00:00:00:01:0a"))
    everything = tuple(Rule(way, "-1", None, None, "0.0.0.0/0") for way in ("ingress", "egress"))
    member = Member(eni, (Address("10.1.0.10", public, ("web.internal",)),), ("sg-a",), ("0.0.0.0/0",))
    await networks.apply(Fabric(vpc, 1, (member,), {"sg-a": everything}))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main(*sys.argv[1:]))
"""


@real
def test_everything_outlives_the_process_that_made_it(ground: FabricGround) -> None:
    spec = ground.interface(10)
    ended = subprocess.run([sys.executable, "-c", _CHILD, ground.site.installation.id, ground.site.public_cidr,
                            ground.public(0), spec.network, spec.name], check=False)
    assert ended.returncode == -signal.SIGKILL
    with ground.server(spec):
        assert ground.tcp(None, ground.public(0)) == ground.host
    assert ground.resolve(spec, "web.internal") == (0, [spec.address])
    assert ground.run(ground.networks.observe(spec.name))


@real
def test_the_guard_comes_first_and_goes_last(ground: FabricGround, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    ask = Netlink.ask
    def watched(self: Netlink, *arguments: Any) -> list[bytes]:
        routes = ground.threads.submit(routes_of, ground.site.public_cidr).result()  # a thread that stays at home
        seen.append(any("blackhole" in line for line in routes))
        assert seen[-1] or not routes
        return ask(self, *arguments)
    monkeypatch.setattr(Netlink, "ask", watched)
    ground.build(10)
    ground.clear()
    first, last = seen.index(True), len(seen) - 1 - seen[::-1].index(True)
    assert all(seen[first:last + 1])
    assert not any(seen[:first]) and first <= 3


@real
def test_many_at_once_do_not_stop_the_loop(ground: FabricGround) -> None:
    ground.build()
    specs = [ground.interface(last) for last in range(10, 60)]
    async def main() -> int:
        done, turns = asyncio.Event(), 0
        async def turn() -> None:
            nonlocal turns
            while not done.is_set():
                turns += 1
                await asyncio.sleep(0)
        turning = asyncio.create_task(turn())
        await asyncio.gather(*(ground.networks.ensure_interface(spec) for spec in specs))
        done.set()
        await turning
        return turns
    assert ground.run(main()) > len(specs)  # others had their turn meanwhile
    assert all(ground.run(ground.networks.observe(spec.name)) for spec in specs)
