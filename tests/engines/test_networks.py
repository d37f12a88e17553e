"""VPCs on namespaces: the suite of the port, and what packets do."""

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cloudlet.engines import netns
from cloudlet.engines.fake import World
from cloudlet.engines.networks import FabricNetworks
from cloudlet.engines.ports import InterfaceSpec
from cloudlet.kernel.errors import Busy, Conflict, Refused, Unavailable
from cloudlet.kernel.names import Installation
from tests.engines.fabric_ground import (
    OUT,
    FabricGround,
    assert_nothing_is_left,
    datagram,
    fabric_ground,
    member,
    opened,
    real,
    routes_of,
    rule,
)
from tests.engines.networks_conformance import CHECKS, Check, Ground
from tests.simulation.virtual import VirtualClock, run

ANYWHERE = ("0.0.0.0/0",)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricGround]:
    with fabric_ground(tmp_path_factory.mktemp("networks")) as found:
        yield found


@pytest.fixture(scope="module")
def web(ground: FabricGround) -> InterfaceSpec:
    return ground.build(10)[0]


@pytest.fixture(scope="module")
def client(ground: FabricGround) -> InterfaceSpec:
    return ground.build(11)[0]


@pytest.fixture(scope="module")
def elsewhere(ground: FabricGround) -> InterfaceSpec:
    """In another VPC of the same range, with the address that `web` has here."""
    return ground.build(10, key="b")[0]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_fake_keeps_the_promises(check: Check) -> None:
    async def main() -> None:
        await check(Ground(World(VirtualClock()).networks, Installation("000000")))
    run(main())


@real
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_namespaces_keep_the_promises(check: Check, tmp_path_factory: pytest.TempPathFactory) -> None:
    with fabric_ground(tmp_path_factory.mktemp("networks")) as ground:
        ground.run(check(Ground(ground.networks, ground.site.installation)))
        assert_nothing_is_left(ground.site)


# ── Security groups ──────────────────────────────────────────────────────────────────────────────────────────────────


@real
def test_nothing_passes_until_a_rule_lets_it(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec) -> None:
    both = [member(web), member(client)]
    with ground.server(web):
        ground.apply([], sg_a=opened(rule("ingress")))
        assert ground.tcp(client, web.address) is None
        ground.apply(both, sg_a=opened())
        assert ground.tcp(client, web.address) is None
        ground.apply(both, sg_a=(rule("ingress"),))
        assert ground.tcp(client, web.address) is None  # no egress
        ground.apply(both, sg_a=opened(rule("ingress", "tcp", (80, 80))))
        assert ground.tcp(client, web.address) == client.address
        assert ground.udp(client, web.address) is None
        assert not ground.ping(client, web.address)
        ground.apply(both[1:], sg_a=opened(rule("ingress")))
        assert ground.tcp(client, web.address) is None


@real
def test_protocols_ports_and_icmp_types(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec) -> None:
    both = [member(web), member(client)]
    def allow(*ingress: object) -> None:
        ground.apply(both, sg_a=opened(*ingress))  # type: ignore[arg-type]
    with ground.server(web, 8080):
        allow(rule("ingress", "udp", (8000, 9000)))
        assert ground.udp(client, web.address, 8080) == client.address
        assert ground.tcp(client, web.address, 8080) is None
        allow(rule("ingress", "tcp", (8000, 8079)), rule("ingress", "tcp", (8081, 9000)), rule("ingress", "17"))
        assert ground.udp(client, web.address, 8080) == client.address
        assert ground.tcp(client, web.address, 8080) is None
        allow(rule("ingress", "tcp", (0, 65535)), rule("ingress", "icmpv6"), rule("ingress", peer="::/0"))
        assert ground.tcp(client, web.address, 8080) == client.address
        assert ground.udp(client, web.address, 8080) is None
        allow(rule("ingress", "icmp", (0, -1)), rule("ingress", "icmp", (8, 1)))
        assert not ground.ping(client, web.address)
        for right in ((8, -1), (8, 0), (-1, -1), None):
            allow(rule("ingress", "icmp", right))
            assert ground.ping(client, web.address)
        allow(rule("ingress", "47"))
        assert not ground.ping(client, web.address)
    with pytest.raises(Refused):
        allow(rule("ingress", "no-such-protocol"))
    with pytest.raises(Refused):
        allow(rule("ingress", peer="10.0.0.0/33"))


@real
def test_groups_name_groups_and_ranges(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec) -> None:
    with ground.server(web):
        def reaches(*ingress: object, egress: object = OUT, groups: tuple[str, ...] = ("sg-client",)) -> bool:
            ground.apply([member(web, "sg-web", "sg-more"), member(client, *groups)], sg_web=opened(),
                         sg_more=tuple(ingress), sg_client=(egress,), sg_two=())  # type: ignore[arg-type]
            return ground.tcp(client, web.address) is not None
        assert reaches(rule("ingress", peer="sg-client"))
        assert not reaches(rule("ingress", peer="sg-web"))
        assert not reaches(rule("ingress", peer="sg-of-nobody"))
        assert reaches(rule("ingress", peer="sg-two"), groups=("sg-two", "sg-client"))
        assert reaches(rule("ingress", peer="10.1.0.11/32"))
        assert reaches(rule("ingress", peer="10.1.0.0/24"))
        assert not reaches(rule("ingress", peer="10.1.1.0/24"))
        assert reaches(rule("ingress"), egress=rule("egress", "tcp", (80, 80), "sg-web"))
        assert not reaches(rule("ingress"), egress=rule("egress", "tcp", (81, 81), "sg-web"))
        assert not reaches(rule("ingress"), egress=rule("egress", peer="sg-client"))


@real
def test_an_open_connection_outlives_the_rule_that_let_it_in(ground: FabricGround, web: InterfaceSpec,
                                                             client: InterfaceSpec) -> None:
    both = [member(web), member(client)]
    with ground.server(web):
        ground.apply(both, sg_a=opened(rule("ingress", "tcp", (80, 80))))
        call = ground.call(client, web.address)
        assert call
        with call:
            for groups in ({"sg_a": opened()}, {"sg_a": opened(rule("ingress", "udp")), "sg_b": ()}, {"sg_a": ()}):
                ground.apply(both, **groups)
                assert call.echoes()
                assert ground.tcp(client, web.address) is None
            ground.start()  # a control plane that knows nothing applies the whole document
            ground.apply(both, sg_a=opened())
            assert call.echoes()
            ground.apply([member(client)], sg_a=opened())
            assert call.is_cut()  # the fabric no longer names the server


@real
def test_an_older_revision_changes_nothing(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec) -> None:
    both = [member(web), member(client)]
    with ground.server(web):
        ground.apply(both, sg_a=opened(rule("ingress")))
        ground.revision -= 2
        ground.apply(both, sg_a=())
        ground.revision += 1
        assert ground.tcp(client, web.address)


# ── Who may send what ────────────────────────────────────────────────────────────────────────────────────────────────


@real
def test_a_false_source_is_dropped(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec) -> None:
    ground.apply([member(web), member(client)], sg_a=opened(rule("ingress")))
    with ground.inside(web, socket.SOCK_DGRAM) as receiver, ground.inside(
            client, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        receiver.bind(("0.0.0.0", 9))
        def arrives(source: str) -> bool:
            sender.sendto(datagram(source, web.address, 9), (web.address, 0))
            with contextlib.suppress(TimeoutError):
                return receiver.recvfrom(100)[1][0] == source
            return False
        assert arrives(client.address)
        assert not arrives("10.1.0.12")
        assert not arrives("169.254.170.2")
        ground.apply([member(web), member(client, source_check=False)], sg_a=opened(rule("ingress")))
        assert arrives("10.1.0.12")


@real
@pytest.mark.parametrize("relay", [False, True])
def test_a_false_hardware_address_is_dropped(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec,
                                             relay: bool) -> None:
    ground.apply([member(web), member(client, source_check=not relay)], sg_a=opened(rule("ingress")))
    with ground.inside(web, socket.SOCK_DGRAM) as receiver, ground.inside(
            client, socket.SOCK_RAW, socket.htons(0x0800), socket.AF_PACKET) as sender:
        receiver.bind(("0.0.0.0", 9))
        sender.bind(("eth0", 0x0800))
        def arrives(mac: str) -> bool:
            frame = bytes.fromhex("0afe00000003" + mac.replace(":", "")) + b"\x08\x00"
            sender.send(frame + datagram(client.address, web.address, 9))
            with contextlib.suppress(TimeoutError):
                return bool(receiver.recv(100))
            return False
        assert arrives(client.mac)
        assert not arrives("0a:00:00:00:01:99")


@real
def test_ranges_may_overlap_and_never_meet(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec,
                                           elsewhere: InterfaceSpec) -> None:
    lonely = ground.build(12, key="b")[0]
    ground.apply([member(web), member(client)], sg_a=opened(rule("ingress")))
    ground.apply([member(elsewhere), member(lonely)], key="b", sg_a=opened(rule("ingress")))
    with ground.server(web), ground.server(elsewhere, 81), ground.server(lonely, 82):
        assert ground.tcp(client, "10.1.0.10", 80) == client.address
        assert ground.tcp(client, "10.1.0.10", 81) is None
        assert ground.tcp(client, "10.1.0.12", 82) is None
        assert ground.tcp(lonely, "10.1.0.10", 81) == lonely.address
        assert ground.tcp(lonely, "10.1.0.11", 80) is None


# ── Public addresses ─────────────────────────────────────────────────────────────────────────────────────────────────


@real
def test_a_public_address_is_reached_from_the_host(ground: FabricGround, web: InterfaceSpec) -> None:
    address = ground.public(0)
    with ground.server(web):
        for source, seen in ((f"{ground.host}/32", ground.host), ("10.0.0.0/8", None)):
            ground.apply([member(web, public=address, internet=ANYWHERE)], sg_a=opened(rule("ingress", peer=source)))
            assert ground.tcp(None, address) == seen
            assert ground.udp(None, address) == seen
            assert ground.ping(None, address) == bool(seen)
        for more in ({"internet": ANYWHERE}, {"public": address}, {"public": address, "internet": ("192.0.2.0/24",)}):
            ground.apply([member(web, **more)], sg_a=opened(rule("ingress")))
            assert ground.tcp(None, address) is None
        ground.apply([member(web, public=address, internet=("192.0.2.0/24", f"{ground.host}/32"))],
                     sg_a=opened(rule("ingress")))
        assert ground.tcp(None, address) == ground.host


@real
def test_nobody_inside_can_call_the_host(ground: FabricGround, web: InterfaceSpec) -> None:
    ground.apply([member(web, public=ground.public(0), internet=ANYWHERE)], sg_a=opened(rule("ingress")))
    with socket.create_server((ground.host, 0)) as listener:
        port = listener.getsockname()[1]
        assert ground.tcp(web, ground.host, port) is None
        assert not ground.ping(web, ground.host)
        for address in ("192.0.2.77", "8.8.8.8"):  # refused at once in its own namespace: nothing is out there
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                assert "No route to host" in ground.refusal(web, kind, address)


@real
def test_public_addresses_reach_each_other(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec,
                                           elsewhere: InterfaceSpec) -> None:
    ours, theirs, other = ground.public(0), ground.public(1), ground.public(2)
    def allow(*ingress: object) -> None:
        rules = opened(*ingress)  # type: ignore[arg-type]
        ground.apply([member(web, public=ours, internet=ANYWHERE), member(client, public=theirs, internet=ANYWHERE)],
                     sg_a=rules)
        ground.apply([member(elsewhere, public=other, internet=ANYWHERE)], key="b", sg_a=rules)
    with ground.server(web), ground.server(elsewhere):
        allow(rule("ingress"))
        assert ground.tcp(client, ours) == theirs  # the same VPC, by the public address: the source is public too
        assert ground.tcp(client, other) == theirs
        assert ground.udp(client, other) == theirs
        assert ground.ping(client, other)
        assert ground.tcp(elsewhere, ours) == other
        assert ground.tcp(web, ours) == ours
        allow(rule("ingress", peer="sg-a"), rule("ingress", peer="10.0.0.0/8"))
        assert ground.tcp(client, ours) is None  # a group stands for private addresses
        assert ground.tcp(client, web.address) == client.address
        assert ground.tcp(client, other) is None
        allow(rule("ingress", peer=f"{theirs}/32"))
        assert ground.tcp(client, ours) == ground.tcp(client, other) == theirs
        ground.apply([member(web), member(client)], sg_a=opened(rule("ingress")))
        assert ground.tcp(client, other) is None  # without a public address there is no way out


@real
def test_a_public_address_moves(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec,
                                elsewhere: InterfaceSpec) -> None:
    address, open_all = ground.public(3), opened(rule("ingress"))
    def give(where: InterfaceSpec) -> None:
        at = [member(spec, public=address if spec is where else None, internet=ANYWHERE) for spec in (web, client)]
        ground.apply(at, sg_a=open_all)
        if where is elsewhere:
            ground.apply([member(elsewhere, public=address, internet=ANYWHERE)], key="b", sg_a=open_all)
    with ground.server(web), ground.server(client, 81), ground.server(elsewhere, 82):
        give(web)
        call = ground.call(None, address)
        assert call
        with call:
            assert call.echoes()
            give(client)
            assert call.is_cut(), "it was with whom the address was before"
            assert ground.tcp(None, address, 81)
            assert ground.tcp(None, address, 80) is None
        give(elsewhere)
        assert ground.tcp(None, address, 82)
        assert ground.tcp(None, address, 81) is None
        ground.apply([member(elsewhere)], key="b", sg_a=open_all)
        assert ground.tcp(None, address, 82) is None


@real
def test_a_withdrawn_address_cuts_its_connections(ground: FabricGround, web: InterfaceSpec) -> None:
    address, open_all = ground.public(4), opened(rule("ingress"))
    with ground.server(web):
        ground.apply([member(web, public=address, internet=ANYWHERE)], sg_a=open_all)
        call = ground.call(None, address)
        assert call
        with call:
            ground.apply([member(web, internet=ANYWHERE)], sg_a=open_all)
            assert call.is_cut()


@real
def test_public_addresses_must_be_of_the_range(ground: FabricGround, web: InterfaceSpec) -> None:
    for address in (ground.host, "192.0.2.1", "nonsense"):
        with pytest.raises(Refused):
            ground.apply([member(web, public=address, internet=ANYWHERE)])


@real
def test_the_guard_keeps_the_range_at_home(ground: FabricGround, web: InterfaceSpec) -> None:
    def way(address: str) -> str:
        return subprocess.run(["ip", "route", "get", address], capture_output=True, text=True, check=False).stdout
    link = ground.site.installation.link("host", "edge")
    assert f"dev {link} src {ground.host}" in way(ground.public(9))
    subprocess.run(["ip", "link", "delete", link], check=True)
    assert way(ground.public(9)) == ""  # nowhere: not by the default route
    ground.run(ground.networks.ensure_network(ground.network()))
    ground.apply([member(web, public=ground.public(0), internet=ANYWHERE)], sg_a=opened(rule("ingress")))
    with ground.server(web):
        assert ground.tcp(None, ground.public(0)) == ground.host


@real
def test_two_installations_live_side_by_side(ground: FabricGround, web: InterfaceSpec,
                                             tmp_path_factory: pytest.TempPathFactory) -> None:
    with fabric_ground(tmp_path_factory.mktemp("second")) as second:
        other = second.build(10)[0]
        for each, spec in ((ground, web), (second, other)):
            each.apply([member(spec, public=each.public(0), internet=ANYWHERE)], sg_a=opened(rule("ingress")))
        with ground.server(web), second.server(other, 81):
            assert ground.tcp(None, ground.public(0)) == ground.host
            assert ground.tcp(None, second.public(0), 81) == second.host
            assert ground.tcp(web, second.public(0), 81) is None
        third = FabricNetworks(replace(second.site, installation=Installation("ffffff")))
        with pytest.raises(Refused, match="overlaps"):
            second.run(third.ensure_network(replace(second.network(), name="cl-ffffff-vpc-1")))
        assert "choose another with --public-cidr" in (second.run(third.probe()) or "")
        assert second.run(third.owned()) == ()
    assert routes_of(ground.site.public_cidr)


# ── Services inside ──────────────────────────────────────────────────────────────────────────────────────────────────


@real
def test_names_are_answered_and_follow_the_fabric(ground: FabricGround, web: InterfaceSpec,
                                                  client: InterfaceSpec) -> None:
    def name(*names: str) -> None:
        ground.apply([member(web, names=names), member(client)])  # no group lets anything pass
    name("ip-10-1-0-10.ec2.internal", "web.internal")
    for server in ("10.1.0.2", "169.254.169.253"):
        assert ground.resolve(client, "ip-10-1-0-10.ec2.internal", server=server) == (0, [web.address])
    assert ground.resolve(client, "10.0.1.10.in-addr.arpa", 12) == (0, ["ip-10-1-0-10.ec2.internal"])
    assert ground.resolve(client, "web.internal", 28) == (0, [])  # AAAA: there is such a name, but no such address
    for unknown in ("example.com", "x.ec2.internal", "nothing"):
        assert ground.resolve(client, unknown) == (3, [])
    name("other.internal")
    assert ground.resolve(client, "web.internal") == (3, [])
    assert ground.resolve(client, "other.internal") == (0, [web.address])
    with pytest.raises(Refused):
        name("two\nlines")


@real
def test_dns_comes_back_when_it_was_killed(ground: FabricGround, web: InterfaceSpec, client: InterfaceSpec) -> None:
    ground.apply([member(web, names=("web.internal",)), member(client)])
    assert ground.resolve(client, "web.internal") == (0, [web.address])
    victim = _dnsmasq(ground)
    with open(os.pidfd_open(victim), "rb", closefd=True) as handle:
        os.kill(victim, signal.SIGKILL)
        select.select([handle], [], [], 10)
    ground.run(ground.networks.ensure_network(ground.network()))
    assert ground.resolve(client, "web.internal") == (0, [web.address])
    before = _dnsmasq(ground)
    ground.start()
    ground.run(ground.networks.ensure_network(ground.network()))
    assert _dnsmasq(ground) == before


@real
def test_a_door_says_who_comes_in(ground: FabricGround, client: InterfaceSpec) -> None:
    ground.apply([member(client)])
    door = ground.run(ground.networks.listen(ground.network().name, "169.254.170.2", 80))
    with door, ground.inside(client, socket.SOCK_STREAM) as caller:
        caller.connect(("169.254.170.2", 80))
        door.settimeout(2)
        guest, (address, _) = door.accept()
        guest.close()
        assert address == client.address
        with pytest.raises(Busy):
            ground.run(ground.networks.listen(ground.network().name, "169.254.170.2", 80))
    ground.run(ground.networks.listen(ground.network().name, "169.254.170.2", 80)).close()


@real
def test_a_workload_finds_its_namespace_furnished(ground: FabricGround, client: InterfaceSpec) -> None:
    assert ground.command(client, "ip", "-4", "-br", "address") == (
        "lo               UNKNOWN        127.0.0.1/8 \n" + ground.command(client, "ip", "-4", "-br", "address", "show",
                                                                          "dev", "eth0"))
    assert f"{client.address}/32" in ground.command(client, "ip", "address", "show", "dev", "eth0")
    assert client.mac in ground.command(client, "ip", "link", "show", "dev", "eth0")
    assert ground.command(client, "ip", "route").startswith("default via 10.1.0.1 dev eth0")
    assert "fe80" not in ground.command(client, "ip", "address")
    port = ground.site.installation.link("eni", client.name)
    assert ground.command(ground.network(), "cat", f"/proc/sys/net/ipv4/neigh/{port}/proxy_delay") == "0\n"


# ── What this machine can and cannot do ──────────────────────────────────────────────────────────────────────────────


@real
def test_the_machine_is_probed(ground: FabricGround, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ground.run(ground.networks.probe()) is None
    assert not [name for name in netns.names(ground.site.installation.prefix) if "probe" in name]
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("cloudlet.engines.process.find", _missing)
    assert "not installed" in (ground.run(ground.networks.probe()) or "")
    with pytest.raises(Unavailable):
        ground.run(ground.networks.ensure_network(ground.network("without")))
    assert ground.network("without").name not in ground.run(ground.networks.owned())


@real
def test_egress_is_refused_as_long_as_there_is_none(ground: FabricGround) -> None:
    with pytest.raises(Unavailable, match="egress"):
        ground.run(FabricNetworks(replace(ground.site, egress=True)).ensure_network(ground.network()))


def _missing(program: str) -> str:
    raise Unavailable(f"{program} is not installed")


def _dnsmasq(ground: FabricGround) -> int:
    return int((netns.Path("/run") / f"{ground.site.installation.prefix}networks" / ground.network().name
                / "dnsmasq.pid").read_text())


def test_what_the_kernel_says_becomes_what_an_engine_may_say() -> None:
    from cloudlet.engines.networks import _explained
    assert [type(_explained(OSError(number, "x"))) for number in (1, 2, 16, 22, 95)] == [
        Unavailable, Conflict, Busy, Refused, Unavailable]
