"""What security groups, routes to the internet and public addresses mean in nftables: a fabric as a document. Pure.

Every packet between two interfaces is forwarded by the VPC's namespace, so both ends are judged in one place:

    antispoof → (public → private) → forward: route? known connection? sender's egress → receiver's ingress → (→ public)

Groups are chains; so is each combination of groups that some interface bears. Which chain judges an interface is looked
up by its device, so the cost of a packet does not grow with the number of interfaces.
"""

import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2s
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from cloudlet.engines.nft import Chain, Document, Set
from cloudlet.engines.ports import Fabric, Member, Rule
from cloudlet.kernel.errors import Refused

EDGE_LINK = "edge0"  # the device by which a VPC's namespace is joined to the edge
_ANYWHERE = IPv4Network("0.0.0.0/0")
_GROUP_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58


@dataclass(frozen=True, slots=True)
class Place:
    """A member with what the engine knows of its interface: the device in the VPC's namespace, its workload's hardware
    address, and whether that may ask for its address by DHCP."""

    member: Member
    link: str
    mac: str
    leased: bool = False


def document(fabric: Fabric, places: Iterable[Place], public_cidr: str) -> Document:
    """The rules of one VPC. Members that have no place yet are not among `places`. Raises Refused for what cannot be
    expressed (an address that is none, an unknown protocol)."""
    ordered = sorted(places, key=lambda place: place.link)
    for place in ordered:
        _check(place.member)
    bearers = _bearers(ordered)
    sets, chains = _judges(fabric, ordered, bearers)
    routes, route_chains = _routes(ordered)
    return Document({**_ports(ordered), **sets, **routes, **_translations(ordered)},
                    {**chains, **route_chains, **_hooks(public_cidr)})


NOBODY = Fabric("", 0, ())  # of a VPC in which nothing may pass


def _check(member: Member) -> None:
    for address in (each for of in member.addresses for each in (of.private, of.public)):
        if address and not _is_address(address):
            raise Refused(f"{member.interface}: {address!r} is not an IPv4 address")
    for group in member.groups:
        if not _GROUP_ID.fullmatch(group):
            raise Refused(f"{member.interface}: {group!r} cannot be a security group's id")


def _bearers(places: Iterable[Place]) -> dict[str, list[str]]:
    """The private addresses of each group's members."""
    found: dict[str, list[str]] = {}
    for place in places:
        for group in place.member.groups:
            found.setdefault(group, []).extend(address.private for address in place.member.addresses)
    return found


# ── Who may send from where ──────────────────────────────────────────────────────────────────────────────────────────


def _ports(places: list[Place]) -> dict[str, Set]:
    """Devices in the fabric, and the source addresses that may come from each: where sources are not checked, any but
    those of other interfaces, since groups name their members by address."""
    own = {f"{p.link} . {p.mac} . {address.private}": "" for p in places for address in p.member.addresses}
    unchecked = {f"{p.link} . {p.mac}": "" for p in places if not p.member.source_check}
    return {
        "ports": Set("ifname", {EDGE_LINK: "", **{place.link: "" for place in places}}),
        "sources": Set("ifname . ether_addr . ipv4_addr", own),
        "members": Set("ipv4_addr", {address.private: "" for p in places for address in p.member.addresses}),
        "relays": Set("ifname . ether_addr", unchecked),
        "leased": Set("ifname . ether_addr", {f"{p.link} . {p.mac}": "" for p in places if p.leased}),
    }


# ── Security groups ──────────────────────────────────────────────────────────────────────────────────────────────────


def _judges(fabric: Fabric, places: list[Place],
            bearers: Mapping[str, list[str]]) -> tuple[dict[str, Set], dict[str, Chain]]:
    """Per device, the chain that judges what it sends and the one that judges what it receives."""
    egress: dict[str, str] = {}
    ingress: dict[str, str] = {}
    chains: dict[str, Chain] = {}
    for group in sorted(bearers):
        rules = fabric.groups.get(group, ())
        chains[f"in-{group}"] = Chain(_statements(rules, "ingress", bearers))
        chains[f"out-{group}"] = Chain(_statements(rules, "egress", bearers))
    for place in places:
        groups = tuple(sorted(set(place.member.groups)))
        mark = _mark(" ".join(groups))
        egress[place.link], ingress[place.link] = f"goto egress-{mark}", f"goto ingress-{mark}"
        if f"egress-{mark}" not in chains:
            chains[f"egress-{mark}"] = Chain((*(f"jump out-{group}" for group in groups), "drop"))
            chains[f"ingress-{mark}"] = Chain((*(f"jump in-{group}" for group in groups), "drop"))
    sets = {f"members-{group}": Set("ipv4_addr", dict.fromkeys(addresses, ""))
            for group, addresses in sorted(bearers.items())}
    return {**sets, "egress": Set("ifname", egress, "verdict"), "ingress": Set("ifname", ingress, "verdict")}, chains


def _statements(rules: Iterable[Rule], direction: str, bearers: Mapping[str, list[str]]) -> tuple[str, ...]:
    """A group's rules of one direction. What may leave is delivered: there, the receiver has its say."""
    side, verdict = ("saddr", "accept") if direction == "ingress" else ("daddr", "goto deliver")
    found: dict[str, None] = {}
    for rule in rules:
        if rule.direction != direction:
            continue
        what, who = _traffic(rule), _peer(rule.peer, side, bearers)
        if what is not None and who is not None:
            found[" ".join(part for part in (who, what, verdict) if part)] = None
    return tuple(found)


def _peer(peer: str, side: str, bearers: Mapping[str, list[str]]) -> str | None:
    """The match for a rule's peer; None where it matches nobody: a group that none here bears, or IPv6."""
    if _GROUP_ID.fullmatch(peer):
        return f"ip {side} @members-{peer}" if peer in bearers else None
    if ":" in peer:
        return None
    network = _network(peer)
    return "" if network == _ANYWHERE else f"ip {side} {network}"


def _traffic(rule: Rule) -> str | None:
    """The match for a rule's protocol and ports; None for ICMPv6, of which there is none."""
    number = _protocol(rule.protocol)
    first = None if rule.from_port == -1 else rule.from_port
    last = None if rule.to_port == -1 else rule.to_port
    if number is None:
        return ""
    if number == _ICMPV6:
        return None
    if number in (_TCP, _UDP) and first is not None:
        last = first if last is None else last
        if (first, last) != (0, 65535):
            return f"{'tcp' if number == _TCP else 'udp'} dport {first}" + (f"-{last}" if last != first else "")
    if number == _ICMP and first is not None:
        return f"icmp type {first}" + (f" icmp code {last}" if last is not None else "")
    return f"meta l4proto {number}"


@lru_cache(maxsize=256)
def _protocol(name: str) -> int | None:
    """An IANA name or number; None for all of them. Raises Refused."""
    if name == "-1":
        return None
    if name in _NUMBERS:
        return _NUMBERS[name]
    try:
        number = int(name) if name.isdigit() else socket.getprotobyname(name)
    except OSError:
        number = -1
    if not 0 <= number <= 255:
        raise Refused(f"{name!r} is no protocol's name or number")
    return number


# ── The edge ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _routes(places: list[Place]) -> tuple[dict[str, Set], dict[str, Chain]]:
    """Per device, where its route table and its public address let packets go by the edge, and come from. Asked of
    every packet, known connections too: a route that is taken away cuts at once."""
    departures: dict[str, str] = {}
    arrivals: dict[str, str] = {}
    chains: dict[str, Chain] = {}
    for place in places:
        is_public = any(address.public for address in place.member.addresses)
        ranges = _collapsed(place.member.internet) if is_public else ()
        if _ANYWHERE in ranges:
            departures[place.link] = arrivals[place.link] = "continue"
            continue
        if not ranges:
            departures[place.link] = arrivals[place.link] = "drop"
            continue
        listed = ", ".join(str(network) for network in ranges)
        mark = _mark(listed)
        chains[f"to-{mark}"] = Chain((f"ip daddr {{ {listed} }} return", "drop"))
        chains[f"from-{mark}"] = Chain((f"ip saddr {{ {listed} }} return", "drop"))
        departures[place.link], arrivals[place.link] = f"jump to-{mark}", f"jump from-{mark}"
    return {"departures": Set("ifname", departures, "verdict"), "arrivals": Set("ifname", arrivals, "verdict")}, chains


def _translations(places: list[Place]) -> dict[str, Set]:
    """Public addresses, one to one."""
    pairs = [(a.public, a.private) for p in places for a in p.member.addresses if a.public]
    return {"private-of": Set("ipv4_addr", dict(pairs), "ipv4_addr"),
            "public-of": Set("ipv4_addr", {private: public for public, private in pairs}, "ipv4_addr")}


def _hooks(public_cidr: str) -> dict[str, Chain]:
    """The chains where packets come in; the same in every VPC."""
    return {
        # What leaves has been allowed to. Beyond the public range there is nothing: say so, instead of letting wait.
        "leave": Chain((f"ip daddr {public_cidr} accept", "reject with icmp admin-prohibited")),
        "deliver": Chain((f'oifname "{EDGE_LINK}" goto leave', "oifname vmap @ingress", "drop")),
        "antispoof": Chain((
            f'iifname {{ "lo", "{EDGE_LINK}" }} accept',
            "iifname . ether saddr . ip saddr @sources accept",
            "ip saddr 169.254.0.0/16 drop",
            "iifname . ether saddr @relays ip saddr != @members accept",
            "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 iifname . ether saddr @leased accept",
        ), "type filter hook prerouting priority raw; policy drop;"),
        "arrive": Chain((
            f'iifname "{EDGE_LINK}" dnat to ip daddr map @private-of',
        ), "type nat hook prerouting priority dstnat; policy accept;"),
        "forward-all": Chain((
            "oifname != @ports drop",
            f'iifname "{EDGE_LINK}" oifname "{EDGE_LINK}" drop',
            f'iifname "{EDGE_LINK}" oifname vmap @arrivals',
            f'oifname "{EDGE_LINK}" iifname vmap @departures',
            "ct state established,related accept",
            "ct state invalid drop",
            f'iifname "{EDGE_LINK}" goto deliver',
            "iifname vmap @egress",
        ), "type filter hook forward priority filter; policy drop;"),
        "depart": Chain((
            f'oifname "{EDGE_LINK}" snat to ip saddr map @public-of',
        ), "type nat hook postrouting priority srcnat; policy accept;"),
        # The VPC's own services answer everybody inside, whatever the security groups say, as on AWS.
        "services": Chain((
            'iifname "lo" accept',
            "ct state established,related accept",
            f'iifname "{EDGE_LINK}" drop',
            "meta l4proto { tcp, udp } th dport 53 accept",
            "udp sport 68 udp dport 67 iifname . ether saddr @leased accept",
            "ip daddr 169.254.0.0/16 meta l4proto tcp accept",
        ), "type filter hook input priority filter; policy drop;"),
    }


@lru_cache(maxsize=65536)
def _is_address(text: str) -> bool:
    try:
        return str(IPv4Address(text)) == text
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _collapsed(cidrs: tuple[str, ...]) -> tuple[IPv4Network, ...]:
    return tuple(collapse_addresses(_network(cidr) for cidr in cidrs if ":" not in cidr))


@lru_cache(maxsize=4096)
def _network(cidr: str) -> IPv4Network:
    try:
        return IPv4Network(cidr, strict=False)
    except ValueError as error:
        raise Refused(f"not an IPv4 range: {error}") from None


@lru_cache(maxsize=4096)
def _mark(text: str) -> str:
    return blake2s(text.encode(), digest_size=5).hexdigest()
