"""Real networks for tests: an installation with a public range of its own, sockets inside; all gone afterwards."""

import asyncio
import contextlib
import ipaddress
import json
import os
import secrets
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cloudlet.engines import netns
from cloudlet.engines.edge import host_address
from cloudlet.engines.networks import FabricNetworks
from cloudlet.engines.ports import Address, Fabric, InterfaceSpec, Member, NetworkSpec, Rule
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site

T = TypeVar("T")
SOON_S = 0.35  # how long a packet that will not come is waited for where only the kernel would answer
SERVED_S = 0.8  # … and where a thread of ours would
PATIENT_S = 20.0  # how long one that must come is
RANGES = ("198.51.100.0/24", "203.0.113.0/24")  # documentation ranges (RFC 5737)


def real(test: T) -> T:
    """Marks a test that needs real namespaces."""
    for mark in (pytest.mark.root, *map(pytest.mark.engine, ("nft", "dnsmasq", "nsenter"))):
        test = mark(test)
    return test


def free_range() -> str:
    """A /28 that nobody on this host uses; where the search starts depends on the process."""
    said = subprocess.run(["ip", "-j", "route", "show", "table", "all"], capture_output=True, check=True, text=True)
    taken = [ipaddress.ip_network(route["dst"]) for route in json.loads(said.stdout)
             if ":" not in route["dst"] and route["dst"] != "default"]
    found = [part for text in RANGES for part in ipaddress.ip_network(text).subnets(new_prefix=28)]
    start = os.getpid() % len(found)
    return next(str(part) for part in found[start:] + found[:start]
                if not any(part.overlaps(other) for other in taken))


def rule(direction: str, protocol: str = "-1", ports: tuple[int, int] | None = None, peer: str = "0.0.0.0/0") -> Rule:
    first, last = ports or (None, None)
    return Rule(direction, protocol, first, last, peer)  # type: ignore[arg-type]


OUT = rule("egress")


def opened(*ingress: Rule) -> tuple[Rule, ...]:
    """A group's rules: anything out, these in."""
    return (OUT, *ingress)


def member(spec: InterfaceSpec, *groups: str, public: str | None = None, names: tuple[str, ...] = (),
           internet: tuple[str, ...] = (), source_check: bool = True) -> Member:
    """An interface in the fabric, of the group sg-a unless others are named; the public address is its last one's."""
    *firsts, last = (Address(address, names=names) for address in spec.addresses)
    return Member(spec.name, (*firsts, Address(last.private, public, names)), groups or ("sg-a",), internet,
                  source_check)


@dataclass
class FabricGround:
    """One installation. `start` gives an adapter as a control plane that just started would have it."""

    site: Site
    runner: asyncio.Runner
    networks: FabricNetworks
    revision: int = 0
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def start(self) -> FabricNetworks:
        self.networks = FabricNetworks(self.site)
        return self.networks

    @property
    def host(self) -> str:
        """The address that the host has in the public range."""
        return host_address(self.site.public_cidr)

    def public(self, number: int) -> str:
        """A public address; the first is 0."""
        return str(ipaddress.ip_network(self.site.public_cidr)[2 + number])

    def network(self, key: str = "a") -> NetworkSpec:
        return NetworkSpec(self.site.installation.name("vpc", key), ("10.1.0.0/16",), ("10.1.0.1",), "10.1.0.2")

    def interface(self, last: int, key: str = "a") -> InterfaceSpec:
        return InterfaceSpec(self.site.installation.name("eni", f"{key} {last}"), self.network(key).name,
                             (f"10.1.0.{last}",), "10.1.0.1", f"0a:00:00:00:01:{last:02x}")

    def build(self, *lasts: int, key: str = "a") -> list[InterfaceSpec]:
        """A VPC and its interfaces, there."""
        specs = [self.interface(last, key) for last in lasts]
        async def main() -> None:
            await self.networks.ensure_network(self.network(key))
            for spec in specs:
                await self.networks.ensure_interface(spec)
        self.run(main())
        return specs

    def apply(self, members: list[Member], key: str = "a", **groups: tuple[Rule, ...]) -> None:
        """The next fabric; groups are named sg_x for sg-x."""
        self.revision += 1
        self.run(self.networks.apply(Fabric(self.network(key).name, self.revision, tuple(members), {
            name.replace("_", "-"): rules for name, rules in groups.items()})))

    def clear(self) -> None:
        self.run(self.networks.destroy_all())

    # ── Inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def inside(self, where: InterfaceSpec | NetworkSpec | None, kind: int, protocol: int = 0,
               family: int = socket.AF_INET) -> socket.socket:
        """A socket in an interface's or a VPC's namespace, or on the host (None)."""
        def opened() -> socket.socket:
            if where is None:
                return socket.socket(family, kind, protocol)
            with netns.inside(netns.path_of(where.name)):
                return socket.socket(family, kind, protocol)
        made = self.threads.submit(opened).result()
        made.settimeout(SOON_S)
        return made

    def command(self, where: InterfaceSpec | NetworkSpec, *words: str) -> str:
        return subprocess.run(["nsenter", f"--net={netns.path_of(where.name)}", *words], capture_output=True, text=True,
                              check=True).stdout

    @contextmanager
    def server(self, where: InterfaceSpec, port: int = 80) -> Iterator[None]:
        """Tells each TCP client its address, then echoes; tells each UDP packet's sender its address."""
        tcp, udp = self.inside(where, socket.SOCK_STREAM), self.inside(where, socket.SOCK_DGRAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(("0.0.0.0", port))
        tcp.listen()
        udp.bind(("0.0.0.0", port))
        end, ended = socket.socketpair()
        clients: list[socket.socket] = []

        def serve() -> None:
            while True:
                for ready in select.select([tcp, udp, ended, *clients], [], [])[0]:
                    if ready is ended:
                        return
                    if ready is tcp:
                        client, (address, _) = tcp.accept()
                        clients.append(client)
                        client.sendall(address.encode() + b"\n")
                    elif ready is udp:
                        with contextlib.suppress(OSError):
                            _, source = udp.recvfrom(2048)
                            udp.sendto(source[0].encode(), source)
                    else:
                        data = b""
                        with contextlib.suppress(OSError):
                            data = ready.recv(2048)
                        if data:
                            ready.sendall(data)
                        else:
                            clients.remove(ready)
                            ready.close()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            end.send(b"x")
            thread.join()
            for each in (tcp, udp, end, ended, *clients):
                each.close()

    def call(self, where: InterfaceSpec | None, address: str, port: int = 80) -> "Call | None":
        """A TCP connection, unless there is no way."""
        client = self.inside(where, socket.SOCK_STREAM)
        try:
            client.connect((address, port))
            return Call(client)
        except OSError:
            client.close()
            return None

    def tcp(self, where: InterfaceSpec | None, address: str, port: int = 80) -> str | None:
        """The address under which a server sees us; None where it cannot be reached."""
        made = self.call(where, address, port)
        if made is None:
            return None
        with made:
            return made.seen_as

    def seen_from(self, where: InterfaceSpec, source: str, address: str, port: int = 80) -> str | None:
        """The address under which a server sees one of ours; None where it cannot be reached."""
        client = self.inside(where, socket.SOCK_STREAM)
        try:
            client.bind((source, 0))
            client.connect((address, port))
        except OSError:
            client.close()
            return None
        with Call(client) as made:
            return made.seen_as

    def udp(self, where: InterfaceSpec | None, address: str, port: int = 80) -> str | None:
        """The same by UDP."""
        with self.inside(where, socket.SOCK_DGRAM) as client:
            client.settimeout(SERVED_S)
            try:
                client.sendto(b"x", (address, port))
                return client.recv(100).decode()
            except OSError:
                return None

    def refusal(self, where: InterfaceSpec, kind: int, address: str) -> str:
        """What is said of a packet to an address where nothing is."""
        with self.inside(where, kind) as client:
            try:
                client.connect((address, 53))
                client.send(b"x")
                client.recv(1)
            except OSError as error:
                return str(error)
        return ""

    def ping(self, where: InterfaceSpec | None, address: str) -> bool:
        """Whether an echo comes back."""
        with self.inside(where, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            body = struct.pack(">BBHHH", 8, 0, 0, secrets.randbelow(1 << 16), 1) + b"cloudlet"  # a flow of its own
            packet = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
            try:
                raw.sendto(packet, (address, 0))
                while True:
                    data, source = raw.recvfrom(200)
                    if source[0] == address and data[20] == 0 and data[24:26] == packet[4:6]:
                        return True
            except OSError:
                return False

    def resolve(self, where: InterfaceSpec, name: str, kind: int = 1,
                server: str = "10.1.0.2") -> tuple[int, list[str]]:
        """What DNS answers: the code, and the addresses (A) or names (PTR)."""
        labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
        with self.inside(where, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENT_S)
            client.sendto(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack(">2H", kind, 1), (server, 53))
            data = client.recv(2048)
        code, count, offset, found = data[3] & 15, struct.unpack_from(">H", data, 6)[0], 16 + len(labels), []
        for _ in range(count):
            length = struct.unpack_from(">H", data, offset + 10)[0]
            raw = data[offset + 12:offset + 12 + length]
            found.append(socket.inet_ntoa(raw) if kind == 1 else _labels(raw))
            offset += 12 + length
        return code, sorted(found)


@dataclass
class Call:
    """An open connection to a `server`."""

    socket: socket.socket

    def __post_init__(self) -> None:
        self.socket.settimeout(PATIENT_S)
        self.seen_as = self.socket.recv(100).decode().strip()

    def echoes(self) -> bool:
        self.socket.sendall(b"still here")
        return self.socket.recv(100) == b"still here"

    def is_cut(self) -> bool:
        """Nothing comes back any more. That is the end of it: what is underway may yet arrive."""
        self.socket.settimeout(SERVED_S)
        try:
            self.socket.sendall(b"still there?")
            return not self.socket.recv(100)
        except OSError:
            return True

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def datagram(source: str, target: str, port: int, data: bytes = b"x") -> bytes:
    """A whole IPv4 packet with a UDP datagram (whose checksum is left out, as it may be)."""
    udp = struct.pack(">HHHH", 4000, port, 8 + len(data), 0) + data
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source),
                       socket.inet_aton(target))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + udp


def _labels(raw: bytes) -> str:
    parts = []
    while raw and raw[0] and raw[0] < 64:
        parts.append(raw[1:1 + raw[0]].decode())
        raw = raw[1 + raw[0]:]
    return ".".join(parts)


def routes_of(public_cidr: str) -> list[str]:
    """The host's routes that have to do with a public range."""
    said = subprocess.run(["ip", "route", "show", "table", "all"], capture_output=True, check=True, text=True).stdout
    network = ipaddress.ip_network(public_cidr)
    return [line for line in said.splitlines() for word in line.split()[:2]
            if word[0].isdigit() and ipaddress.ip_network(word, strict=False).overlaps(network)]


def assert_nothing_is_left(site: Site) -> None:
    """No namespace, device, route, process or file of the installation."""
    mark = site.installation.id
    assert not [name for name in netns.names("") if mark in name]
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if mark in line]
    assert not [name for _, name in socket.if_nameindex() if mark in name]
    assert not list(Path("/run").glob(f"*{mark}*"))
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if mark in _command_line(pid)]
    assert not routes_of(site.public_cidr)


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


@contextmanager
def fabric_ground(directory: Path) -> Iterator[FabricGround]:
    """An installation, and the proof that nothing of it is left."""
    site = Site(Installation(secrets.token_hex(3)), directory, public_cidr=free_range())
    with asyncio.Runner() as runner:
        ground = FabricGround(site, runner, FabricNetworks(site))
        try:
            yield ground
        finally:
            ground.start()
            ground.clear()
    assert_nothing_is_left(site)
