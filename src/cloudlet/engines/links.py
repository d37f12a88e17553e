"""Elastic network interfaces: a veth pair or a tap, a /32 route and a fixed neighbour in the VPC's namespace."""

import fcntl
import os
import struct
from dataclasses import replace

from cloudlet.engines import conntrack, netns, sysctl
from cloudlet.engines.edge import ANYWHERE, MTU
from cloudlet.engines.ledger import Ledger
from cloudlet.engines.netlink import LO, Link, Netlink
from cloudlet.engines.ports import Interface, InterfaceSpec
from cloudlet.kernel.errors import Busy, Conflict, EngineError
from cloudlet.kernel.names import Installation

ROUTER_MAC = "0a:fe:00:00:00:03"  # of the VPC's end of every interface
GROUP = 1  # the device group of all interfaces of a VPC
INNER = "eth0"  # the device that a workload sees

_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


class Links:
    """The interfaces of one installation. All calls block briefly."""

    def __init__(self, installation: Installation, ledger: Ledger) -> None:
        self._installation, self._ledger = installation, ledger

    @property
    def ports(self) -> str:
        """The pattern of all its interfaces' devices."""
        return f"e{self._installation.id}*"

    def port(self, name: str) -> str:
        """The interface's device in the VPC's namespace."""
        return self._installation.link("eni", name)

    def ensure(self, spec: InterfaceSpec) -> Interface:
        """Makes what is missing of an interface. Raises Conflict where its network is not there, or another interface
        has its address."""
        vpc = netns.path_of(spec.network)
        if netns.inode(vpc) is None or spec.network not in self._ledger.networks():
            raise Conflict(f"the network {spec.network} does not exist")
        known = self._ledger.interface(spec.name)
        if known is not None and _core(known) != _core(spec):
            self.remove(spec.name)
            known = None
        former = tuple(a for a in known.addresses if a not in spec.addresses) if known else ()
        self._ledger.add_interface(replace(spec, addresses=(*spec.addresses, *former)))
        try:
            with netns.inside(vpc):
                outer = Netlink()
            with outer:
                self._withdraw(outer, spec, former)
                self._refuse_taken(outer, spec)
                if spec.workload == "namespace":
                    self._build_namespace(outer, spec)
                else:
                    self._build_tap(outer, spec)
            if former:
                self._ledger.add_interface(spec)
        except (OSError, EngineError):
            if known is None:
                self.remove(spec.name)
            raise
        return self._interface(spec)

    def _withdraw(self, outer: Netlink, spec: InterfaceSpec, addresses: tuple[str, ...]) -> None:
        """Addresses that are no longer the interface's lead to it no more, and their connections are cut: once, since
        they may be another's by the time that this is tried again."""
        link = outer.link(self.port(spec.name))
        if not addresses or link is None:
            return
        ours = frozenset(address for address in addresses if outer.neighbour(address, link.index))
        for address in ours:
            outer.delete_route(f"{address}/32", link=link.index)
        if ours:
            with netns.inside(netns.path_of(spec.network)):
                conntrack.forget(ours)
        for address in ours:
            outer.delete_neighbour(address, link.index)
        if spec.workload == "namespace" and netns.inode(netns.path_of(spec.name)) is not None:
            with netns.inside(netns.path_of(spec.name)), Netlink() as inner:
                if eth := inner.link(INNER):
                    for address in addresses:
                        inner.delete_address(eth.index, address)

    def _refuse_taken(self, outer: Netlink, spec: InterfaceSpec) -> None:
        ours = outer.link(self.port(spec.name))
        for address in spec.addresses:
            route = outer.route_to(address)
            if route and route.destination.prefixlen == 32 and (ours is None or route.link != ours.index):
                raise Conflict(f"{address} belongs to another interface of {spec.network}")

    def _build_namespace(self, outer: Netlink, spec: InterfaceSpec) -> None:
        path, port = netns.create(spec.name), self.port(spec.name)
        with netns.inside(path):
            sysctl.make_workload()
            inner = Netlink()
        with inner:
            link, eth = outer.link(port), inner.link(INNER)
            if link is None or not _is_pair(link, eth):
                outer.delete_link(port)  # its other end may be in a namespace that lost its name
                inner.delete_link(INNER)
                outer.add_veth(port, ROUTER_MAC, INNER, spec.mac, path, MTU, GROUP)
                link, eth = outer.link(port), inner.link(INNER)
            if link is None or eth is None:
                raise Busy(f"{spec.name} went away while it was made")
            inner.set_link(LO)
            _raise(inner, eth, spec.mac)
            for address in spec.addresses:
                inner.add_address(eth.index, address)
            inner.set_neighbour(spec.gateway, eth.index, ROUTER_MAC)
            inner.set_route(ANYWHERE, eth.index, gateway=spec.gateway)
            self._attach(outer, link, spec)
            outer.await_carrier(port)
            inner.await_carrier(INNER)

    def _build_tap(self, outer: Netlink, spec: InterfaceSpec) -> None:
        port = self.port(spec.name)
        link = outer.link(port)
        if link is None:
            with netns.inside(netns.path_of(spec.network)):
                _make_tap(port)
            link = outer.link(port)
        if link is None:
            raise Busy(f"{spec.name} went away while it was made")
        outer.add_address(link.index, spec.gateway)  # DHCP answers as the router, and only where it has an address
        self._attach(outer, link, spec)

    def _attach(self, outer: Netlink, link: Link, spec: InterfaceSpec) -> None:
        with netns.inside(netns.path_of(spec.network)):
            sysctl.answer_at_once(link.name)
        _raise(outer, link, ROUTER_MAC, GROUP)
        for address in spec.addresses:
            outer.set_neighbour(address, link.index, spec.mac)
            outer.set_route(f"{address}/32", link.index)

    def observe(self, name: str) -> Interface | None:
        """The interface with the addresses that lead to it, if nothing else of it is missing."""
        spec = self._ledger.interface(name)
        if spec is None or netns.inode(netns.path_of(spec.network)) is None:
            return None
        with netns.inside(netns.path_of(spec.network)), Netlink() as outer:
            link = outer.link(self.port(name))
            if link is None or not link.up:
                return None
            found = [address for address in spec.addresses if _leads(outer, address, link, spec.mac)]
        if spec.workload == "namespace":
            present = _furnished(spec, link)
            found = [address for address in found if address in present]
        return self._interface(replace(spec, addresses=tuple(found))) if spec.address in found else None

    def remove(self, name: str) -> None:
        """Removes whatever there is of an interface, and the connections it had."""
        spec = self._ledger.interface(name)
        for network in (spec.network,) if spec else self._ledger.networks():
            path = netns.path_of(network)
            if netns.inode(path) is not None:
                with netns.inside(path):
                    with Netlink() as outer:
                        outer.delete_link(self.port(name))
                    if spec:
                        conntrack.forget(frozenset(spec.addresses))
        netns.remove(name)
        self._ledger.remove_interface(name)

    def remove_all(self, network: str) -> None:
        """Removes every interface of a network that is going away itself."""
        path = netns.path_of(network)
        if netns.inode(path) is not None:
            with netns.inside(path), Netlink() as outer:
                outer.delete_group(GROUP)
        for name in self._ledger.interfaces(network):
            netns.remove(name)
            self._ledger.remove_interface(name)

    def _interface(self, spec: InterfaceSpec) -> Interface:
        path = netns.path_of(spec.name) if spec.workload == "namespace" else self.port(spec.name)
        return Interface(spec.name, path, spec.addresses)


def _raise(namespace: Netlink, link: Link, mac: str, group: int | None = None) -> None:
    """Up, with that hardware address: said only where it is not so, since whoever says it has the kernel forget the
    device's neighbours."""
    if not link.up or link.mac != mac.lower():
        namespace.set_link(link.index, mac, group)


def _core(spec: InterfaceSpec) -> InterfaceSpec:
    """What of an interface cannot change while its workload has it."""
    return replace(spec, addresses=spec.addresses[:1], lease=None)


def _leads(outer: Netlink, address: str, link: Link, mac: str) -> bool:
    """Whether an address leads by that device to that hardware address."""
    route = outer.route_to(address)
    return route is not None and route.link == link.index and outer.neighbour(address, link.index) == mac.lower()


def _is_pair(link: Link | None, eth: Link | None) -> bool:
    return link is not None and eth is not None and (link.peer, eth.peer) == (eth.index, link.index)


def _furnished(spec: InterfaceSpec, link: Link) -> set[str]:
    """The addresses in the workload's namespace; none, where it lacks its device or way out."""
    path = netns.path_of(spec.name)
    if netns.inode(path) is None:
        return set()
    with netns.inside(path), Netlink() as inner:
        eth = inner.link(INNER)
        if eth is None or not eth.up or not _is_pair(link, eth) or eth.mac != spec.mac.lower():
            return set()
        leaves = any((route.destination.prefixlen, route.link, route.gateway) == (0, eth.index, spec.gateway)
                     for route in inner.routes())
        return inner.addresses(eth.index) if leaves else set()


def _make_tap(name: str) -> None:
    """A tap device that stays when this file is closed, in the namespace of the calling thread."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("=16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
        fcntl.ioctl(tap, _TUNSETPERSIST, 1)
    finally:
        os.close(tap)
