"""Links, addresses, routes and neighbours of one network namespace, spoken straight to the kernel (rtnetlink(7)).

Microseconds where running `ip` takes milliseconds: RunTask waits for this.
"""

import errno
import os
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from types import TracebackType

from cloudlet.kernel.errors import Busy

LO = 1  # lo's index in every namespace
PERMANENT = 0x80  # NUD_PERMANENT
CARRIER_TRIES, CARRIER_PAUSE_S = 2000, 0.001
TIMEOUT_S = 10.0  # the kernel answers in microseconds, unless it is taking many namespaces down

_GET, _NEW, _DEL = 2, 0, 1
_LINK, _ADDRESS, _ROUTE, _NEIGHBOUR = 16, 20, 24, 28  # RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH
_REQUEST, _ACK, _REPLACE, _EXCLUSIVE, _CREATE, _DUMP = 1, 4, 0x100, 0x200, 0x400, 0x300
_ERROR, _DONE = 2, 3
_INTERRUPTED = 0x10
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_NESTED = 0x8000
_UP = 1
_OPERATIONAL = b"\x06"  # IF_OPER_UP
_MAIN = 254
_ONLINK, _FIB_MATCH = 4, 0x2000
_UNICAST, _BLACKHOLE = 1, 6
_STATIC = 4  # RTPROT_STATIC

Attributes = dict[int, bytes]


@dataclass(frozen=True, slots=True)
class Link:
    """A network device: `peer` is the index of a veth's other end, in whatever namespace that is. `carries`: packets
    given to it are sent. `wired`: something is at the other end (of a tap: somebody has it open)."""

    index: int
    name: str
    up: bool
    carries: bool
    mac: str
    peer: int | None
    wired: bool


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table. `link` is None for a blackhole."""

    destination: IPv4Network
    link: int | None
    gateway: str | None
    metric: int


class Netlink:
    """A conversation with the namespace in which it was opened (`netns.inside`). Blocking; raises OSError as the kernel
    says it, and Busy where it does not answer."""

    def __init__(self, family: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.settimeout(TIMEOUT_S)
        for option in (_CAP_ACK, _EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._socket.close()

    # ── Links ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def link(self, name: str) -> Link | None:
        """The device of that name."""
        try:
            answers = self.ask(_LINK + _GET, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(3, _text(name)))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return _link(answers[0])

    def links(self) -> list[Link]:
        """All devices."""
        return [_link(m) for m in self.ask(_LINK + _GET, struct.pack("=BxHiII", 0, 0, 0, 0, 0), _DUMP)]

    def add_veth(self, name: str, mac: str, peer_name: str, peer_mac: str, peer_namespace: str, mtu: int,
                 group: int = 0) -> None:
        """A pair of devices: one here, up; its peer in the namespace of that path, still down."""
        namespace = os.open(peer_namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            head = struct.pack("=BxHiII", 0, 0, 0, _UP, _UP)
            peer = (bytes(16) + attribute(3, _text(peer_name)) + attribute(1, _mac(peer_mac))
                    + attribute(4, struct.pack("=I", mtu)) + attribute(28, struct.pack("=I", namespace)))
            kind = attribute(1, b"veth\0") + attribute(2 | _NESTED, attribute(1 | _NESTED, peer))
            self.ask(_LINK + _NEW, head + attribute(3, _text(name)) + attribute(1, _mac(mac))
                     + attribute(4, struct.pack("=I", mtu)) + attribute(27, struct.pack("=I", group))
                     + attribute(18 | _NESTED, kind), _CREATE | _EXCLUSIVE)
        finally:
            os.close(namespace)

    def set_link(self, index: int, mac: str | None = None, group: int | None = None) -> None:
        """Up, and with that hardware address and group where given."""
        self.ask(_LINK + _NEW, struct.pack("=BxHiII", 0, 0, index, _UP, _UP)
                 + (attribute(1, _mac(mac)) if mac else b"")
                 + (attribute(27, struct.pack("=I", group)) if group is not None else b""))

    def move_link(self, name: str, namespace: int) -> None:
        """Brings a device to another namespace (its open file), where it is down and without addresses or routes."""
        self.ask(_LINK + _NEW, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(3, _text(name))
                 + attribute(28, struct.pack("=I", namespace)))

    def await_carrier(self, name: str) -> None:
        """Waits until packets given to a veth are sent. The end that came up first is told of the other's coming by a
        worker of the kernel, and drops everything until then. Raises Busy where that takes too long."""
        for _ in range(CARRIER_TRIES):
            link = self.link(name)
            if link is not None and link.carries:
                return
            select.select([], [], [], CARRIER_PAUSE_S)
        raise Busy(f"the link {name} did not come up")

    def delete_link(self, name: str) -> None:
        """Removes a device, and a veth's peer with it. What is gone already is fine."""
        try:
            self.ask(_LINK + _DEL, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(3, _text(name)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def delete_group(self, group: int) -> None:
        """Removes all devices of a group at once: the kernel waits for its readers once, not once for each."""
        try:
            self.ask(_LINK + _DEL, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(27, struct.pack("=I", group)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    # ── Addresses ────────────────────────────────────────────────────────────────────────────────────────────────────

    def addresses(self, index: int) -> set[str]:
        """The IPv4 addresses of a device."""
        found = set()
        for message in self.ask(_ADDRESS + _GET, struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0), _DUMP):
            if struct.unpack_from("=I", message, 4)[0] == index:
                found.add(socket.inet_ntoa(attributes(message[8:])[2]))
        return found

    def add_address(self, index: int, address: str) -> None:
        """An address of its own, without a range around it (/32). What is there already is fine."""
        raw = socket.inet_aton(address)
        self.ask(_ADDRESS + _NEW, struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, index)
                 + attribute(2, raw) + attribute(1, raw), _CREATE | _REPLACE)

    def delete_address(self, index: int, address: str) -> None:
        """Takes a /32 away. What is gone already is fine."""
        try:
            self.ask(_ADDRESS + _DEL, struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, index)
                     + attribute(2, socket.inet_aton(address)))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise

    # ── Routes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def routes(self) -> list[Route]:
        """The main table."""
        messages = self.ask(_ROUTE + _GET, struct.pack("=BBBBBBBBI", socket.AF_INET, *[0] * 8), _DUMP)
        return [route for message in messages if message[4] == _MAIN and (route := _route(message))]

    def route_to(self, address: str) -> Route | None:
        """The route that a packet to that address takes, by the table's entry; None where there is none."""
        try:
            answers = self.ask(_ROUTE + _GET, struct.pack("=BBBBBBBBI", socket.AF_INET, 32, *[0] * 6, _FIB_MATCH)
                               + attribute(1, socket.inet_aton(address)))
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL):
                return None  # EINVAL is how a blackhole answers
            raise
        return _route(answers[0])

    def set_route(self, destination: str, link: int, *, gateway: str | None = None, source: str | None = None,
                  metric: int = 0) -> None:
        """A route by a device, instead of one with the same destination and metric. A `gateway` needs no route of its
        own to be found on the device."""
        scope, flags = (0, _ONLINK) if gateway else (253, 0)
        self.ask(_ROUTE + _NEW, _route_head(destination, scope, _UNICAST, flags)
                 + _route_body(destination, metric) + attribute(4, struct.pack("=I", link))
                 + (attribute(5, socket.inet_aton(gateway)) if gateway else b"")
                 + (attribute(7, socket.inet_aton(source)) if source else b""), _CREATE | _REPLACE)

    def set_blackhole(self, destination: str, metric: int = 0) -> None:
        """What is sent there vanishes, unless a route of lower metric takes it."""
        self.ask(_ROUTE + _NEW, _route_head(destination, 0, _BLACKHOLE, 0) + _route_body(destination, metric),
                 _CREATE | _REPLACE)

    def delete_route(self, destination: str, *, link: int | None = None, metric: int = 0) -> None:
        """Removes a route by that device, or a blackhole (None). What is gone already is fine."""
        kind, by = (_BLACKHOLE, b"") if link is None else (_UNICAST, attribute(4, struct.pack("=I", link)))
        try:
            self.ask(_ROUTE + _DEL, _route_head(destination, 255, kind, 0) + _route_body(destination, metric) + by)
        except OSError as error:
            if error.errno not in (errno.ESRCH, errno.ENODEV):
                raise

    # ── Neighbours ───────────────────────────────────────────────────────────────────────────────────────────────────

    def set_neighbour(self, address: str, link: int, mac: str) -> None:
        """The hardware address behind an address, for good: nothing that is said on the wire changes it."""
        self.ask(_NEIGHBOUR + _NEW, struct.pack("=BxxxiHBB", socket.AF_INET, link, PERMANENT, 0, 0)
                 + attribute(1, socket.inet_aton(address)) + attribute(2, _mac(mac)), _CREATE | _REPLACE)

    def delete_neighbour(self, address: str, link: int) -> None:
        """Nothing is known of what is behind an address any more. What is gone already is fine."""
        try:
            self.ask(_NEIGHBOUR + _DEL, struct.pack("=BxxxiHBB", socket.AF_INET, link, 0, 0, 0)
                     + attribute(1, socket.inet_aton(address)))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
                raise

    def neighbour(self, address: str, link: int) -> str | None:
        """The hardware address that was set for good, if one was."""
        try:
            answers = self.ask(_NEIGHBOUR + _GET, struct.pack("=BxxxiHBB", socket.AF_INET, link, 0, 0, 0)
                               + attribute(1, socket.inet_aton(address)))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        mac = attributes(answers[0][12:]).get(2)
        return mac.hex(":") if mac and struct.unpack_from("=H", answers[0], 8)[0] & PERMANENT else None

    # ── The protocol ─────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, kind: int, payload: bytes, flags: int = 0) -> list[bytes]:
        """One request; the payloads of all its answers. Raises OSError with the kernel's reason."""
        while True:
            found, torn = self._ask_once(kind, payload, flags)
            if not torn:
                return found

    def _ask_once(self, kind: int, payload: bytes, flags: int) -> tuple[list[bytes], bool]:
        """The answers, and whether somebody changed what was being listed, so that entries may be missing."""
        self._sequence += 1
        self._socket.send(struct.pack("=IHHII", 16 + len(payload), kind, _REQUEST | _ACK | flags, self._sequence, 0)
                          + payload)
        found: list[bytes] = []
        torn = False
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except TimeoutError:
                raise Busy(f"the kernel did not answer within {TIMEOUT_S:g} s") from None
            for what, marks, sequence, body in _messages(data):
                if sequence != self._sequence:
                    continue
                torn = torn or bool(marks & _INTERRUPTED)
                if what == _ERROR:
                    _raise(body)
                if what in (_ERROR, _DONE):
                    return found, torn
                found.append(body)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + b"\0" * (-length & 3)


def attributes(data: bytes) -> Attributes:
    """The attributes behind a message's head, by number (without the flags for nesting and byte order)."""
    found, offset = {}, 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4:offset + length]
        offset += length + (-length & 3)
    return found


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, offset)
        yield kind, flags, sequence, data[offset + 16:offset + length]
        offset += length + (-length & 3)


def _raise(body: bytes) -> None:
    """Raises what an acknowledgement says, unless it says that all is well."""
    number = -struct.unpack_from("=i", body)[0]
    if number:
        told = attributes(body[20:]).get(1, b"").rstrip(b"\0").decode(errors="replace")
        raise OSError(number, told or os.strerror(number))


def _text(name: str) -> bytes:
    return name.encode() + b"\0"


def _mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _link(message: bytes) -> Link:
    index, flags = struct.unpack_from("=iI", message, 4)
    found = attributes(message[16:])
    peer = struct.unpack("=I", found[5])[0] if 5 in found else None
    return Link(index, found[3].rstrip(b"\0").decode(), bool(flags & _UP), found.get(16) == _OPERATIONAL,
                found.get(1, b"").hex(":"), peer, found.get(33) == b"\x01")


def _route(message: bytes) -> Route | None:
    _, prefix, _, _, _, _, _, kind, _ = struct.unpack_from("=BBBBBBBBI", message)
    if kind not in (_UNICAST, _BLACKHOLE):
        return None
    found = attributes(message[12:])
    return Route(
        IPv4Network((int.from_bytes(found.get(1, b"\0\0\0\0"), "big"), prefix)),
        struct.unpack("=I", found[4])[0] if 4 in found else None,
        socket.inet_ntoa(found[5]) if 5 in found else None,
        struct.unpack("=I", found[6])[0] if 6 in found else 0)


def _route_head(destination: str, scope: int, kind: int, flags: int) -> bytes:
    return struct.pack("=BBBBBBBBI", socket.AF_INET, IPv4Network(destination).prefixlen, 0, 0, _MAIN, _STATIC, scope,
                       kind, flags)


def _route_body(destination: str, metric: int) -> bytes:
    return (attribute(1, IPv4Network(destination).network_address.packed)
            + (attribute(6, struct.pack("=I", metric)) if metric else b""))
