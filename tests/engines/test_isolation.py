"""What no machine can do to another, to its VPC or to its host, whatever it puts on its wire; on real taps, whose far
ends are namespaces that stand in for guests."""

import contextlib
import json
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudlet.engines import netns
from cloudlet.engines.links import ROUTER_MAC
from cloudlet.engines.ports import InterfaceSpec, Lease
from tests.engines.fabric_ground import OUT, FabricGround, checksum, datagram, fabric_ground, member, opened, real, rule
from tests.engines.guest import Guest, arp, ethernet, guests
from tests.engines.test_dhcp import machine, plugged, spec_of

pytestmark = [pytest.mark.engine("busybox")]

EVERYBODY, ALL = "ff:ff:ff:ff:ff:ff", 0x0003  # ETH_P_ALL
IMDS = "169.254.169.254"
OPEN = {"sg_a": opened(rule("ingress"))}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("isolation")


@pytest.fixture(scope="module")
def ground(directory: Path) -> Iterator[FabricGround]:
    with fabric_ground(directory) as found:
        yield found


@pytest.fixture
def pair(ground: FabricGround, directory: Path) -> Iterator[tuple[Guest, Guest]]:
    """Two neighbours whose groups let everything in."""
    with guests(*plugged(ground, directory, machine(ground, 10), machine(ground, 11))) as (one, two):
        assert one.ask() and two.ask()
        ground.apply([member(guest.spec) for guest in (one, two)], **OPEN)
        yield one, two
    ground.run(ground.networks.destroy(ground.network().name))


@contextlib.contextmanager
def listening(guest: Guest) -> Iterator[socket.socket]:
    """All frames that come to a guest's card."""
    with netns.inside(netns.path_of(guest.name)):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
    ear.bind(("eth0", ALL))
    ear.settimeout(5)
    with ear:
        yield ear


def comes(ear: socket.socket, last: bytes) -> bytes:
    """All that comes until some word has come too."""
    said = b""
    while last not in said:
        said += b" | " + ear.recv(65536)
    return said


def says(one: Guest, two: Guest, word: bytes) -> bytes:
    """An honest packet from one to the other."""
    return ethernet(one.spec.mac, ROUTER_MAC, 0x0800, datagram(one.spec.address, two.spec.address, 9, word))


def packet(source: str, target: str, protocol: int, body: bytes, options: bytes = b"") -> bytes:
    """An IPv4 packet of any kind."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 1, 0, 64, protocol,
                       0, socket.inet_aton(source), socket.inet_aton(target)) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def opening(source: str, target: str, port: int) -> bytes:
    """The first packet of a TCP connection."""
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    tcp = struct.pack(">HHIIBBHHH", 4001, port, 7, 0, 0x50, 2, 8192, 0, 0)
    total = checksum(ends + struct.pack(">BBH", 0, 6, len(tcp)) + tcp)
    return packet(source, target, 6, tcp[:16] + struct.pack(">H", total) + tcp[18:])


def claim(mac: str, address: str, to: str, told: str) -> bytes:
    """An ARP reply that nobody asked for."""
    return ethernet(mac, to, 0x0806, struct.pack(
        ">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, _raw(mac), socket.inet_aton(address), _raw(to), socket.inet_aton(told)))


def _raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def dhcp(kind: int, mac: str, server: str, address: str) -> bytes:
    """A client's message about an address, in the name of a hardware address."""
    return struct.pack(">BBBBIHH4s4s4s4s16s64s128s", 1, 1, 6, 0, 7, 0, 0x8000, bytes(4), bytes(4), bytes(4), bytes(4),
                       _raw(mac), b"", b"") + bytes.fromhex("63825363") + bytes((53, 1, kind)) + (
        b"" if kind == 1 else b"\x36\x04" + socket.inet_aton(server) + b"\x32\x04" + socket.inet_aton(address)
    ) + b"\xff"


def offer(server: str, address: str) -> bytes:
    """What a DHCP server of somebody's own says to everybody."""
    body = struct.pack(">BBBBIHH4s4s4s4s16s64s128s", 2, 1, 6, 0, 7, 0, 0x8000, bytes(4), socket.inet_aton(address),
                       socket.inet_aton(server), bytes(4), b"", b"", b"") + bytes.fromhex("63825363350102ff")
    udp = struct.pack(">HHHH", 67, 68, 8 + len(body) + 5, 0) + body + b"false"
    return packet(server, "255.255.255.255", 17, udp)


# ── Its neighbours ───────────────────────────────────────────────────────────────────────────────────────────────────


def _lies(one: InterfaceSpec, two: InterfaceSpec) -> list[bytes]:
    """Frames that must not come to anybody."""
    lies = []
    for to in (EVERYBODY, two.mac, ROUTER_MAC):
        forged = datagram(two.gateway, two.address, 9, b"false")
        ndp = bytes.fromhex("60000000000c3aff") + bytes.fromhex("fe80" + "00" * 13 + "01") + bytes.fromhex(
            "ff02" + "00" * 13 + "01") + bytes((134, 0, 0, 0, 64, 0, 7, 8)) + b"false"
        lies += [
            claim(one.mac, two.gateway, to, two.address) + b"false",
            claim(one.mac, two.address, to, one.gateway) + b"false",
            ethernet(one.mac, to, 0x86DD, ndp),  # IPv6: "I am the router"
            *(ethernet(one.mac, to, 0x8100, struct.pack(">HH", tag, 0x0800) + forged) for tag in (0, 1, 100)),
            ethernet(one.mac, to, 0x88A8, struct.pack(">HHHH", 7, 0x8100, 7, 0x0800) + forged),
            ethernet(one.mac, to, 0x8100, struct.pack(">HH", 0, 0x86DD) + ndp),
            *(ethernet(one.mac, to, kind, b"false" * 20) for kind in (
                0x0060, 0x0805, 0x8035, 0x8847, 0x8863, 0x8864, 0x888E, 0x88B5, 0x88CC, 0x88F7, 0x8915, 0x9000)),
            ethernet(one.mac, to, 0x88B5, b"false" * 1800),  # a jumbo frame
            ethernet(one.mac, to, 0x0800, datagram(two.gateway, two.address, 9, b"false" * 1800)),
            ethernet(one.mac, to, 0x0800, offer(one.gateway, "10.1.0.66")),
            ethernet(one.mac, to, 0x0800, offer(one.address, "10.1.0.66")),
            ethernet(one.mac, to, 0x0800, packet(one.gateway, two.address, 1, bytes((5, 1, 0, 0)) + socket.inet_aton(
                one.address) + b"false")),  # "he knows a better way"
            ethernet(one.mac, to, 0x0800, packet(one.address, one.gateway, 17, datagram(
                one.address, two.address, 9, b"false")[20:], bytes((0x83, 7, 4)) + socket.inet_aton(two.address)
                + bytes(1))),  # with a route of its own
            *(ethernet(one.mac, to, 0x0800, datagram(one.address, many, 9, b"false")) for many in (
                "255.255.255.255", "10.1.0.255", "10.1.0.0", "224.0.0.1", "224.0.0.251", "239.255.255.250")),
            *(ethernet(one.mac, to, 0x0800, datagram(source, two.address, 9, b"false")) for source in (
                two.address, two.gateway, "10.1.0.2", "10.1.0.77", IMDS, "127.0.0.1", "0.0.0.0", "224.0.0.1",
                "255.255.255.255")),
        ]
    lies += [ethernet(two.mac, to, 0x0800, datagram(two.address, two.address, 9, b"false")) for to in (
        EVERYBODY, ROUTER_MAC)]
    return [*lies, ethernet(one.mac, "01:80:c2:00:00:00", 0x0026, b"\x42\x42\x03false"),
            ethernet(one.mac, "01:80:c2:00:00:0e", 0x88CC, b"false"),
            ethernet(one.mac, "33:33:00:00:00:01", 0x86DD, b"\x60" + b"false" * 9)]


@real
@pytest.mark.parametrize("checked", [True, False])
def test_no_frame_but_an_honest_packet_comes_to_a_neighbour(ground: FabricGround, pair: tuple[Guest, Guest],
                                                            checked: bool) -> None:
    one, two = pair
    ground.apply([member(one.spec, source_check=checked),
                  member(two.spec)], **OPEN)
    lies = _lies(one.spec, two.spec)
    with listening(two) as ear:
        one.send(says(one, two, b"before"))
        comes(ear, b"before")
        for number, lie in enumerate(lies):
            with contextlib.suppress(OSError):
                one.send(lie)
            one.send(says(one, two, b"word %d." % number))
            said = comes(ear, b"word %d." % number)
            if not checked:  # may speak as somebody who is nobody's neighbour
                said = said.replace(datagram("10.1.0.77", two.spec.address, 9, b"false")[28:], b"", said.count(
                    socket.inet_aton("10.1.0.77")))
            assert b"false" not in said, (number, lie)
    neighbours = ground.command(ground.network(), "ip", "neigh", "show").splitlines()
    known = {line.split()[0]: line for line in neighbours}
    for guest in (one, two):
        assert f"lladdr {guest.spec.mac} PERMANENT" in known[guest.spec.address], "the router believes nobody"
        assert ground.ping(spec_of(guest), one.spec.address if guest is two else two.spec.address)
    assert not ground.command(ground.network(), "ip", "-6", "address", "show").strip()
    assert "10.1.0.66" not in two.run("ip", "address", "show", "eth0")


@real
def test_a_neighbour_is_told_of_nobody_but_its_router(pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    with listening(two) as ear:
        two.send(arp(two.spec.mac, two.spec.address, one.spec.address))
        said = comes(ear, socket.inet_aton(one.spec.address) + _raw(two.spec.mac))
        assert _raw(one.spec.mac) not in said, "not even a neighbour's hardware address"
        assert _raw(ROUTER_MAC) in said


@real
def test_a_dhcp_server_of_ones_own_is_heard_by_nobody(ground: FabricGround, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    ended = threading.Event()

    def serve() -> None:
        while not ended.wait(0.002):
            for server in (one.spec.gateway, one.spec.address):
                one.send(ethernet(one.spec.mac, EVERYBODY, 0x0800, offer(server, "10.1.0.66")))
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        for _ in range(3):
            told = two.ask()
            assert told is not None
            assert (told["ip"], told["router"], told["serverid"]) == (two.spec.address, two.spec.gateway,
                                                                      two.spec.gateway)
    finally:
        ended.set()
        thread.join()


@real
def test_nobody_speaks_to_dhcp_in_anothers_name(ground: FabricGround, pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    with listening(one) as ear:
        for kind in (1, 3, 4, 7):  # DISCOVER, REQUEST, DECLINE, RELEASE
            body = dhcp(kind, two.spec.mac, two.spec.gateway, two.spec.address)
            udp = struct.pack(">HHHH", 68, 67, 8 + len(body), 0) + body
            one.send(ethernet(one.spec.mac, EVERYBODY, 0x0800, packet("0.0.0.0", "255.255.255.255", 17, udp)))
            one.send(ethernet(one.spec.mac, ROUTER_MAC, 0x0800, packet(one.spec.address, one.spec.gateway, 17, udp)))
        one.send(arp(one.spec.mac, one.spec.address, one.spec.gateway))
        said = comes(ear, socket.inet_aton(one.spec.gateway) + _raw(one.spec.mac))
        for kind in (2, 5):  # OFFER, ACK
            assert bytes.fromhex("638253633501") + bytes((kind,)) not in said
    told = two.ask(tries=2)
    assert told is not None, "another's refusal has taken its address away"
    assert told["ip"] == two.spec.address


# ── Its VPC's services, and others' ──────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def doors(ground: FabricGround, *keys: str) -> Iterator[list[tuple[str, str]]]:
    """169.254.169.254 in some VPCs; who came in where."""
    heard: list[tuple[str, str]] = []
    found = {ground.run(ground.networks.listen(ground.network(key).name, IMDS, 80)): key for key in keys}
    end, ended = socket.socketpair()

    def serve() -> None:
        while True:
            for ready in select.select([*found, ended], [], [])[0]:
                if ready is ended:
                    return
                with contextlib.suppress(OSError):
                    client, (address, _) = ready.accept()
                    heard.append((found[ready], address))
                    client.sendall(f"{found[ready]} {address}".encode())
                    client.close()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        end.send(b"x")
        thread.join()
        for each in (*found, end, ended):
            each.close()


@real
@pytest.mark.parametrize("checked", [True, False])
def test_metadata_is_told_to_nobody_who_asks_as_another(ground: FabricGround, pair: tuple[Guest, Guest],
                                                        checked: bool) -> None:
    one, two = pair
    ground.apply([member(one.spec, source_check=checked),
                  member(two.spec)], **OPEN)
    one.run("ip", "addr", "add", f"{two.spec.address}/32", "dev", "lo")
    with doors(ground, "a") as heard, listening(one) as ear:
        with ground.inside(spec_of(one), socket.SOCK_STREAM) as asks:
            asks.bind((two.spec.address, 0))
            with pytest.raises(OSError, match=r"timed out|unreachable"):
                asks.connect((IMDS, 80))
        for to in (ROUTER_MAC, EVERYBODY):
            one.send(ethernet(one.spec.mac, to, 0x0800, opening(two.spec.address, IMDS, 80)))
        one.send(ethernet(one.spec.mac, ROUTER_MAC, 0x0800, opening(one.spec.address, IMDS, 80)))
        said = comes(ear, socket.inet_aton(IMDS) + socket.inet_aton(one.spec.address))
        assert socket.inet_aton(IMDS) + socket.inet_aton(two.spec.address) not in said, "an answer to another came"
        assert ground.tcp(spec_of(two), IMDS) == f"a {two.spec.address}"
        assert {who for _, who in heard} <= {one.spec.address, two.spec.address}
        assert heard.count(("a", two.spec.address)) == 1


@real
def test_a_vpc_has_metadata_and_names_of_its_own(ground: FabricGround, pair: tuple[Guest, Guest],
                                                 directory: Path) -> None:
    one, _ = pair
    far = replace(machine(ground, 10), name=ground.site.installation.name("eni", "far"), addresses=("10.9.0.10",),
                  gateway="10.9.0.1", network=ground.network("b").name, mac="0a:00:00:00:09:10",
                  lease=Lease("10.9.0.0/24", "10.9.0.2", "far.internal"))
    network = replace(ground.network("b"), cidrs=("10.9.0.0/16",), gateways=("10.9.0.1",), resolver="10.9.0.2")

    async def build() -> Guest:
        await ground.networks.ensure_network(network)
        return Guest(far, await ground.networks.ensure_interface(far), directory)
    with guests(ground.run(build())) as (other,):
        ground.apply([member(far)], key="b", **OPEN)
        assert other.ask()
        with doors(ground, "b") as heard, ground.server(spec_of(other)):
            assert ground.tcp(spec_of(other), IMDS) == f"b {far.address}"
            for address in (IMDS, far.address, "10.9.0.1", "10.9.0.2"):
                assert ground.tcp(spec_of(one), address, 80) is None, address
                assert not ground.ping(spec_of(one), address), address
            assert ground.udp(spec_of(one), "10.9.0.2", 53) is None
            for to in (ROUTER_MAC, EVERYBODY):
                one.send(ethernet(one.spec.mac, to, 0x0800, opening(far.address, IMDS, 80)))
            assert ground.tcp(spec_of(other), IMDS) == f"b {far.address}"
            assert heard == [("b", far.address)] * 2
    ground.run(ground.networks.destroy(network.name))


# ── Its host ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def addresses_of(namespace: str | None = None) -> set[str]:
    """All that a namespace has, or this host."""
    enter = ["nsenter", f"--net={netns.path_of(namespace)}"] if namespace else []
    found = json.loads(subprocess.run([*enter, "ip", "-j", "-4", "address"], capture_output=True, text=True,
                                      check=True).stdout)
    return {address["local"] for card in found for address in card["addr_info"]}


@real
@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("checked", [True, False])
def test_no_socket_of_the_host_is_reached(ground: FabricGround, pair: tuple[Guest, Guest], public: bool,
                                          checked: bool) -> None:
    one, two = pair
    given = {"public": ground.public(0), "internet": ("0.0.0.0/0",)} if public else {}
    ground.apply([member(one.spec, source_check=checked, **given),  # type: ignore[arg-type]
                  member(two.spec)], sg_a=(OUT, rule("ingress")))
    edge = addresses_of(f"{ground.site.installation.prefix}edge")
    targets = addresses_of() | edge | {"127.0.0.1", "127.0.0.53", ground.host, "169.254.0.1", "169.254.0.2",
                                       one.spec.gateway, "10.1.0.2", "255.255.255.255", "0.0.0.0"}
    assert {"127.0.0.1", ground.host} < targets
    heard: list[bytes] = []
    with socket.create_server(("0.0.0.0", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, \
            socket.socket(socket.AF_INET, socket.SOCK_RAW, 253) as raw:
        port = tcp.getsockname()[1]
        udp.bind(("0.0.0.0", port))
        for number, address in enumerate(sorted(targets)):
            frames = [datagram(one.spec.address, address, port, b"udp"), opening(one.spec.address, address, port),
                      packet(one.spec.address, address, 253, b"raw"),
                      datagram(address if address != "0.0.0.0" else "127.0.0.1", address, port, b"own")]
            for frame in frames:
                one.send(ethernet(one.spec.mac, ROUTER_MAC, 0x0800, frame))
            if not number % 4 and not address.startswith(("0.", "255.")):
                assert ground.tcp(spec_of(one), address, port) is None, address
        with listening(two) as ear:  # all that was sent before has been judged by then
            one.send(says(one, two, b"done"))
            comes(ear, b"done")
        for each in (tcp, udp, raw):
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                heard.append(repr(each.accept() if each is tcp else each.recvfrom(2048)).encode())
        assert not heard
