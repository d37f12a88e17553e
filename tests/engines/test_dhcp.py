"""Machines in a VPC: what DHCP tells them, whom they reach and what is not let through, on real taps."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from cloudlet.engines.links import ROUTER_MAC
from cloudlet.engines.ports import InterfaceSpec, Lease, NetworkSpec
from tests.engines.fabric_ground import (
    OUT,
    FabricGround,
    assert_nothing_is_left,
    datagram,
    fabric_ground,
    member,
    opened,
    real,
    rule,
)
from tests.engines.guest import Guest, arp, ethernet, guests

pytestmark = [pytest.mark.engine("busybox")]
GROUPS = {"sg_a": opened(rule("ingress", peer="sg-a")), "sg_shut": (OUT,)}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dhcp")


@pytest.fixture(scope="module")
def ground(directory: Path) -> Iterator[FabricGround]:
    with fabric_ground(directory) as found:
        yield found


def machine(ground: FabricGround, last: int, subnet: str = "10.1.0.0/24") -> InterfaceSpec:
    """An interface of a machine in some subnet."""
    addresses = ip_network(subnet)
    address = str(addresses[last])
    name = f"ip-{address.replace('.', '-')}.eu-west-1.compute.internal"
    return replace(ground.interface(last), addresses=(address,), gateway=str(addresses[1]), workload="tap",
                   name=ground.site.installation.name("eni", f"{subnet} {last}"),
                   lease=Lease(subnet, "10.1.0.2", name))


def plugged(ground: FabricGround, directory: Path, *specs: InterfaceSpec, network: NetworkSpec | None = None,
            groups: tuple[str, ...] = ("sg-a",)) -> list[Guest]:
    """Machines on the interfaces, which the fabric names."""
    async def main() -> list[Guest]:
        await ground.networks.ensure_network(network or ground.network())
        return [Guest(spec, await ground.networks.ensure_interface(spec), directory) for spec in specs]
    found = ground.run(main())
    ground.apply([member(spec, *groups) for spec in specs], **GROUPS)
    return found


@real
@pytest.mark.parametrize("subnet", ["10.1.0.0/16", "10.1.16.0/20", "10.1.3.0/24", "10.1.4.16/28"])
def test_a_guest_learns_everything_by_dhcp(ground: FabricGround, directory: Path, subnet: str) -> None:
    spec = machine(ground, 10, subnet)
    network = replace(ground.network(), gateways=(spec.gateway,))
    with guests(*plugged(ground, directory, spec, network=network)) as (guest,):
        told = guest.ask()
        assert told is not None
        range_ = ip_network(subnet)
        assert (told["ip"], told["subnet"], told["router"]) == (spec.address, str(range_.netmask), spec.gateway)
        assert (told["dns"], told["domain"]) == ("10.1.0.2", "eu-west-1.compute.internal")
        assert told["hostname"] == f"ip-{spec.address.replace('.', '-')}"
        assert (told["mtu"], told["lease"], told["serverid"]) == ("1500", "3600", spec.gateway)
        assert guest.ask("-r", spec.address) == told | {}, "a guest that boots again learns the same"
        assert ground.resolve(guest, "localhost")[0] in (0, 3)  # type: ignore[arg-type]  # it reaches its resolver
        ground.run(ground.networks.destroy(spec.name))
        assert guest.ask(tries=1) is None


@real
def test_each_hardware_address_is_answered_on_its_own_device_only(ground: FabricGround, directory: Path) -> None:
    first, second = machine(ground, 10), machine(ground, 11)
    with guests(*plugged(ground, directory, first, second)) as (one, two):
        one.run("ip", "link", "set", "eth0", "address", second.mac)
        assert one.ask(tries=1) is None, "another's hardware address"
        one.run("ip", "link", "set", "eth0", "address", "0a:00:00:00:00:77")
        assert one.ask(tries=1) is None, "nobody's"
        one.run("ip", "link", "set", "eth0", "address", first.mac)
        told = one.ask("-r", second.address)
        assert told and told["ip"] == first.address, "whatever it asks for"
        told = two.ask("-x", "0x3d:01aabbccddeeff")  # another identity
        assert told and told["ip"] == second.address
    ground.run(ground.networks.destroy(ground.network().name))


@real
def test_dhcp_outlives_the_control_plane_and_is_found_again(ground: FabricGround, directory: Path) -> None:
    spec = machine(ground, 10)
    with guests(*plugged(ground, directory, spec)) as (guest,):
        assert guest.ask()
        before = servers(ground)
        ground.start()  # as after kill -9
        assert guest.ask("-r", spec.address)
        ground.run(ground.networks.ensure_network(ground.network()))
        ground.run(ground.networks.ensure_interface(spec))
        assert servers(ground) == before and len(before) == 1
        os.kill(before[0], signal.SIGKILL)
        while servers(ground):
            time.sleep(0.01)
        ground.run(ground.networks.ensure_network(ground.network()))
        (server,) = servers(ground)
        assert server != before[0]
        assert guest.ask("-r", spec.address), "a server that remembers nothing renews"
        renewed = renew(guest)
        assert spec.address in renewed
    ground.run(ground.networks.destroy(spec.name))
    while server in servers(ground):  # killed, and not gone yet
        time.sleep(0.01)
    assert not servers(ground), "it ends with the last machine"
    ground.run(ground.networks.destroy(ground.network().name))
    assert_nothing_is_left(ground.site)


def servers(ground: FabricGround) -> list[int]:
    """The DHCP servers that run."""
    mark = ground.network().name
    return [int(pid.name) for pid in Path("/proc").glob("[0-9]*") if (pid / "cmdline").exists()
            and f"{mark}/dhcp.pid" in (pid / "cmdline").read_text(errors="replace")]


def renew(guest: Guest) -> str:
    """What the server says to a unicast request of a guest that has its address (RFC 2131, RENEWING)."""
    code = (
        "import socket,struct,sys\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind((sys.argv[1],68)); s.settimeout(5)\n"
        "a=socket.inet_aton(sys.argv[1]); m=bytes.fromhex(sys.argv[3].replace(':',''))\n"
        "p=struct.pack('>BBBBIHH4s4s4s4s16s64s128s',1,1,6,0,7,0,0,a,bytes(4),bytes(4),bytes(4),m,b'',b'')\n"
        "s.sendto(p+bytes.fromhex('63825363350103ff'),(sys.argv[2],67)); r=s.recv(1500)\n"
        "print(socket.inet_ntoa(r[16:20]), r[242])\n")
    return guest.run("python3", "-c", code, guest.spec.address, guest.spec.gateway, guest.spec.mac)


@real
def test_machines_reach_each_other_and_tasks_as_their_groups_allow(ground: FabricGround, directory: Path) -> None:
    task, (one, two, shut) = ground.interface(20), (machine(ground, last) for last in (10, 11, 12))
    found = plugged(ground, directory, one, two, shut)
    ground.run(ground.networks.ensure_interface(task))
    ground.apply([member(spec, group) for spec, group in (
        (task, "sg-a"), (one, "sg-a"), (two, "sg-a"), (shut, "sg-shut"))], **GROUPS)
    with guests(*found) as (first, second, third):
        for guest in found:
            assert guest.ask()
        inside = [spec_of(guest) for guest in (first, second, third)]
        assert ground.ping(inside[0], two.address) and ground.ping(inside[1], one.address)
        assert ground.ping(inside[0], task.address) and ground.ping(task, one.address)
        assert not ground.ping(inside[0], shut.address), "its group lets nobody in"
        assert not ground.ping(inside[2], one.address), "not of the group that one lets in"
        assert not ground.ping(inside[0], "10.1.0.99"), "nobody has the address"
        with ground.server(inside[1]):
            assert ground.tcp(inside[0], two.address) == one.address
            assert ground.tcp(task, two.address) == task.address
            assert ground.tcp(inside[2], two.address) is None
    ground.run(ground.networks.destroy(ground.network().name))


@real
def test_a_machine_is_reached_on_each_address_that_it_configures(ground: FabricGround, directory: Path) -> None:
    one, two = machine(ground, 10), machine(ground, 11)
    found = plugged(ground, directory, one, two)
    wide = replace(one, addresses=(one.address, "10.1.0.40"))
    with guests(*found) as (first, second):
        assert first.ask() and second.ask()
        assert not ground.ping(spec_of(second), "10.1.0.40"), "nobody has it"
        first.run("ip", "address", "add", "10.1.0.40/24", "dev", "eth0")
        with ground.server(spec_of(second)):
            assert ground.seen_from(spec_of(first), "10.1.0.40", two.address) is None, "and nobody may pretend to"
            made = ground.run(ground.networks.ensure_interface(wide))
            ground.apply([member(wide), member(two)], **GROUPS)
            assert made.path == found[0].path, "the tap stays, and with it the machine's card"
            assert ground.ping(spec_of(second), "10.1.0.40") and ground.ping(spec_of(second), one.address)
            assert ground.seen_from(spec_of(first), "10.1.0.40", two.address) == "10.1.0.40"
            assert first.ask("-r", one.address), "DHCP gives it the primary one, as before"
            ground.run(ground.networks.ensure_interface(one))
            ground.apply([member(one), member(two)], **GROUPS)
            assert not ground.ping(spec_of(second), "10.1.0.40") and ground.ping(spec_of(second), one.address)
    ground.run(ground.networks.destroy(ground.network().name))


def spec_of(guest: Guest) -> InterfaceSpec:
    """So that the ground opens sockets in the guest."""
    return replace(guest.spec, name=guest.name)


@real
def test_nothing_false_passes_a_tap(ground: FabricGround, directory: Path) -> None:
    one, two = machine(ground, 10), machine(ground, 11)
    with guests(*plugged(ground, directory, one, two)) as (first, second):
        assert first.ask() and second.ask()
        with ground.inside(spec_of(second), 2) as ear:  # SOCK_DGRAM
            ear.bind(("0.0.0.0", 80))

            def hears(frame: bytes) -> bool:
                first.send(frame)
                try:
                    return bool(ear.recv(100))
                except OSError:
                    return False
            honest = datagram(one.address, two.address, 80)
            assert hears(ethernet(one.mac, ROUTER_MAC, 0x0800, honest))
            assert not hears(ethernet("0a:00:00:00:00:77", ROUTER_MAC, 0x0800, honest)), "a false hardware address"
            forged = datagram("10.1.0.77", two.address, 80)
            assert not hears(ethernet(one.mac, ROUTER_MAC, 0x0800, forged)), "a false address"
            assert not hears(ethernet(one.mac, two.mac, 0x0800, honest)), "past the router"
            first.send(arp("0a:00:00:00:00:77", two.address, one.gateway))  # "I am two"
            first.send(arp(one.mac, one.gateway, two.address))  # "I am the router"
            assert hears(ethernet(one.mac, ROUTER_MAC, 0x0800, honest)), "no lie has changed the way to two"
            assert ground.ping(spec_of(first), two.address) and ground.ping(spec_of(second), one.address)
        ground.apply([member(one, source_check=False),
                      member(two, "sg-shut")], sg_a=GROUPS["sg_a"],
                     sg_shut=opened(rule("ingress")))
        with ground.inside(spec_of(second), 2) as ear:
            ear.bind(("0.0.0.0", 81))
            first.send(ethernet(one.mac, ROUTER_MAC, 0x0800, datagram("10.1.0.77", two.address, 81)))
            assert ear.recv(100), "with its source unchecked a guest may route for others"
    ground.run(ground.networks.destroy(ground.network().name))
