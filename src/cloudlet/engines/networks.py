"""VPCs as routing namespaces: the `Networks` port on network namespaces, veth pairs, nftables and dnsmasq.

Each VPC is a namespace that forwards; each interface is a device in it with a /32 route, so every packet between two
interfaces is forwarded and judged. What was made is found again by its name; what is kept in memory only saves work.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from cloudlet.engines import arp, conntrack, netns, nft, process, security, sysctl
from cloudlet.engines.dhcp import Leases
from cloudlet.engines.edge import Edge
from cloudlet.engines.ledger import Ledger
from cloudlet.engines.links import ROUTER_MAC, Links
from cloudlet.engines.netlink import LO, Netlink
from cloudlet.engines.ports import Address, Fabric, Interface, InterfaceSpec, NetworkSpec
from cloudlet.engines.resolver import AMAZON_DNS, Resolver
from cloudlet.kernel.errors import Busy, Conflict, EngineError, Refused, Unavailable
from cloudlet.kernel.site import Site

T = TypeVar("T")

RUN_DIR = Path("/run")
THREADS = 4  # the kernel serializes most of this anyway
_PROGRAMS = ("nft", "nsenter", "dnsmasq")


@dataclass(slots=True)
class Applied:
    """What was applied to the namespace that a network has now. The fabric is known from the ledger too; the rest, None
    until this process has applied it, only saves work."""

    inode: int
    fabric: Fabric | None = None
    document: nft.Document | None = None
    public: Mapping[str, str] | None = None
    names: tuple[Address, ...] | None = None
    specs: dict[str, InterfaceSpec] = field(default_factory=dict)


class FabricNetworks:
    """The VPCs and interfaces of one installation on this host."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ledger = Ledger(RUN_DIR / f"{site.installation.prefix}networks")
        self._links = Links(site.installation, self._ledger)
        self._edge = Edge(site)
        self._edge_inode: int | None = None
        self._edge_lock = asyncio.Lock()
        self._applied: dict[str, Applied] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="networks")

    # ── Networks ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def ensure_network(self, spec: NetworkSpec) -> None:
        """See `ports.Networks`. Raises Unavailable where a program or privilege is missing, and Refused where the
        public range is in use on this host."""
        if self._site.egress:
            raise Unavailable("egress to the internet is not supported yet: start Cloudlet without --egress")
        for program in _PROGRAMS:
            process.find(program)
        async with self._lock(spec.name):
            is_new = spec.name not in await self._run(self._ledger.networks)
            try:
                await self._raise_edge(spec.name)
                await self._raise_network(spec)
            except (EngineError, OSError):
                if is_new:
                    await self._remove_network(spec.name)
                raise

    async def _raise_edge(self, network: str) -> None:
        """The edge, before the first VPC: its guard first of all, and its rules before it forwards anything."""
        async with self._edge_lock:
            await self._run(self._ledger.add_network, network)
            known = self._edge_inode is not None and self._edge_inode == netns.inode(self._edge.path)
            if known and await self._run(self._edge.is_whole):
                return
            await self._run(self._edge.guard)
            await self._run(netns.create, self._edge.name)
            await nft.apply(self._edge.path, self._edge.rules())
            await self._run(self._edge.route)
            await self._run(self._edge.join_host)
            self._edge_inode = netns.inode(self._edge.path)

    async def _raise_network(self, spec: NetworkSpec) -> None:
        """The VPC's namespace: rules before it forwards, then addresses, the way out and DNS. What a fabric said of it
        holds again, where somebody took it away."""
        path = await self._run(netns.create, spec.name)
        applied = self._state(spec.name)
        if applied is None:
            raise Conflict(f"the network {spec.name} went away while it was made")
        if not await nft.has_table(path):
            applied.document = None
            fabric = applied.fabric or Fabric(spec.name, 0, ())
            await self._apply_rules(applied, await self._places(fabric, applied), fabric)
        await self._run(_make_router, spec)
        if await self._run(self._edge.join, spec.name):
            applied.public = None
        if applied.fabric is not None:
            await self._publish(applied, await self._places(applied.fabric, applied), applied.fabric)
        resolver = self._resolver(spec.name)
        if not await self._run(resolver.is_ready, spec.resolver):
            await resolver.start(spec.resolver)
            await self._run(resolver.settle)
        await self._lease(spec.name)

    async def _lease(self, network: str) -> None:
        """DHCP answers the machines of a network, if there are any."""
        async with self._lock(f"dhcp {network}"):
            leases = Leases(self._ledger.network(network), network, self._links)
            specs = await self._run(self._leased, network)
            if not await self._run(leases.are_served, specs):
                await leases.start(specs)

    def _leased(self, network: str) -> list[InterfaceSpec]:
        specs = (self._ledger.read(network, name) for name in self._ledger.interfaces(network))
        return [spec for spec in specs if spec and spec.lease]

    # ── Interfaces ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def ensure_interface(self, spec: InterfaceSpec) -> Interface:
        """See `ports.Networks`. Raises Conflict where its network is missing or another interface has its address."""
        async with self._lock(spec.name):
            found = await self._run(self._links.ensure, spec)
        if spec.lease is not None:
            await self._lease(spec.network)
        applied = self._state(spec.network)
        if applied and applied.specs.get(spec.name) != spec:
            applied.specs[spec.name] = spec
            if applied.fabric and any(member.interface == spec.name for member in applied.fabric.members):
                await self.apply(applied.fabric)  # the fabric named it before it was there
        return found

    async def observe(self, name: str) -> Interface | None:
        """See `ports.Networks`."""
        return await self._run(self._links.observe, name)

    async def answering(self, network: str, interfaces: Collection[str]) -> frozenset[str]:
        """See `ports.Networks`. Raises Conflict where the network is missing."""
        parties = await self._run(self._parties, network, interfaces)
        with await self._run(_ear, netns.path_of(network)) as ear:
            return await arp.answering(ear, parties, ROUTER_MAC)

    def _parties(self, network: str, interfaces: Collection[str]) -> dict[str, arp.Party]:
        return {name: arp.Party(self._links.port(name), spec.address, spec.mac, spec.gateway)
                for name, spec in self._read_specs(network, interfaces).items()}

    # ── The fabric ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, fabric: Fabric) -> None:
        """See `ports.Networks`. Raises Conflict where the network is missing, Refused for what cannot be expressed."""
        async with self._lock(fabric.network):
            applied = self._state(fabric.network)
            if applied is None:
                raise Conflict(f"the network {fabric.network} does not exist")
            if applied.fabric is not None and fabric.revision < applied.fabric.revision:
                return
            places = await self._places(fabric, applied)
            await self._apply_rules(applied, places, fabric)
            await self._publish(applied, places, fabric)
            await self._name(applied, fabric)
            if applied.fabric != fabric:
                await self._run(self._ledger.write_fabric, fabric)
                applied.fabric = fabric

    async def _places(self, fabric: Fabric, applied: Applied) -> list[security.Place]:
        """The members whose interfaces are there or were begun."""
        unknown = [m.interface for m in fabric.members if m.interface not in applied.specs]
        if unknown:
            applied.specs |= await self._run(self._read_specs, fabric.network, unknown)
        found = ((member, applied.specs.get(member.interface)) for member in fabric.members)
        return [security.Place(member, self._links.port(spec.name), spec.mac.lower(), spec.lease is not None)
                for member, spec in found if spec is not None]

    def _read_specs(self, network: str, interfaces: Collection[str]) -> dict[str, InterfaceSpec]:
        return {name: spec for name in interfaces if (spec := self._ledger.read(network, name))}

    async def _apply_rules(self, applied: Applied, places: list[security.Place], fabric: Fabric) -> None:
        """Only what has changed where that is known, else all of it."""
        path, document = netns.path_of(fabric.network), security.document(fabric, places, self._site.public_cidr)
        changes = nft.difference(applied.document, document) if applied.document else None
        if changes == "":
            return
        applied.document = None  # until it is known what is there
        try:
            await nft.apply(path, changes or nft.whole(document))
        except EngineError:
            if not changes:
                raise
            await nft.apply(path, nft.whole(document))  # somebody else was at it
        applied.document = document

    async def _publish(self, applied: Applied, places: list[security.Place], fabric: Fabric) -> None:
        """The edge sends the members' public addresses here, and no others. Whoever talked to one that stands for
        another private address now is cut off."""
        public = {a.public: a.private for place in places for a in place.member.addresses if a.public}
        if public != applied.public:
            members = applied.fabric.members if applied.fabric else ()
            before = {a.public: a.private for member in members for a in member.addresses if a.public}
            moved = frozenset(a for a, private in before.items() if public.get(a, private) != private)
            await self._run(self._route_public, fabric.network, frozenset(public), moved)
            applied.public = public

    def _route_public(self, network: str, public: frozenset[str], moved: frozenset[str]) -> None:
        withdrawn = self._edge.publish(network, public) | moved
        if withdrawn:
            with netns.inside(netns.path_of(network)):
                conntrack.forget(withdrawn)

    async def _name(self, applied: Applied, fabric: Fabric) -> None:
        """DNS answers the members' names, and no others."""
        names = tuple(address for member in fabric.members for address in member.addresses)
        if names != applied.names:
            await self._run(self._resolver(fabric.network).write, fabric.members)
            applied.names = names

    # ── Taking down ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def destroy(self, name: str) -> None:
        """See `ports.Networks`. With the last network go the edge, the host's route and the guard."""
        async with self._lock(name):
            if name in await self._run(self._ledger.networks):
                await self._remove_network(name)
            elif name == self._edge.name:
                await self._lower_edge()
            else:
                spec = await self._run(self._ledger.interface, name)
                await self._run(self._links.remove, name)
                if spec is not None and spec.lease is not None:
                    await self._lease(spec.network)
                for applied in self._applied.values():
                    applied.specs.pop(name, None)

    async def _remove_network(self, name: str) -> None:
        self._applied.pop(name, None)
        await self._run(self._dismantle, name)
        await self._lower_edge()

    def _dismantle(self, name: str) -> None:
        self._links.remove_all(name)
        self._resolver(name).stop()
        Leases(self._ledger.network(name), name, self._links).stop()
        self._edge.part(name)
        netns.remove(name)
        self._ledger.remove_network(name)

    async def _lower_edge(self) -> None:
        """Removes the edge if no VPC is left."""
        async with self._edge_lock:
            if not await self._run(self._ledger.networks):
                self._edge_inode = None
                await self._run(self._edge.tear_down)

    async def destroy_all(self) -> None:
        """Leaves nothing of this installation behind (`cloudlet down`). What will not go keeps nothing else here; the
        first such error is raised at the end."""
        problems: list[EngineError] = []
        for name in await self.owned():
            try:
                await self.destroy(name)
            except EngineError as error:
                problems.append(error)
        await self._lower_edge()
        if problems:
            raise problems[0]

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Networks`. Half-made ones too; the edge, where it was left without a network."""
        return await self._run(self._owned)

    def _owned(self) -> tuple[str, ...]:
        networks = self._ledger.networks()
        interfaces = [name for network in networks for name in self._ledger.interfaces(network)]
        present = set(netns.names(self._site.installation.prefix))
        if networks:
            present.discard(self._edge.name)
        return (*networks, *interfaces, *sorted(present - {*networks, *interfaces}))

    # ── Sockets inside ───────────────────────────────────────────────────────────────────────────────────────────────

    async def listen(self, network: str, address: str, port: int) -> socket.socket:
        """See `ports.Networks`. Raises Conflict where the network is missing, Busy where the port is taken."""
        return await self._run(_listen, netns.path_of(network), address, port)

    async def probe(self) -> str | None:
        """Why this machine cannot have networks, in a sentence for `cloudlet doctor`; None where it can."""
        try:
            for program in _PROGRAMS:
                process.find(program)
            await self._run(self._edge.require_free)
            name = f"{self._site.installation.prefix}probe-{os.getpid()}"
            try:
                path = await self._run(netns.create, name)
                await nft.apply(path, nft.whole(security.document(security.NOBODY, (), self._site.public_cidr)))
                await self._run(_try_veth, path)
            finally:
                await self._run(netns.remove, name)
        except EngineError as error:
            return str(error)
        return None

    # ── How it is done ───────────────────────────────────────────────────────────────────────────────────────────────

    def _state(self, network: str) -> Applied | None:
        """What was applied to a network; None where it has no namespace."""
        inode = netns.inode(netns.path_of(network))
        if inode is None:
            self._applied.pop(network, None)
            return None
        applied = self._applied.get(network)
        if applied is None or applied.inode != inode:
            applied = self._applied[network] = Applied(inode, self._ledger.fabric(network))
        return applied

    def _resolver(self, network: str) -> Resolver:
        return Resolver(self._ledger.network(network), network)

    def _lock(self, name: str) -> asyncio.Lock:
        """One verb at a time for a name."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        """A blocking call in a thread of our own. What the kernel says becomes what an engine may say. Who is cancelled
        meanwhile waits for its end: a lock is never given up while something still happens under it."""
        effect = asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        try:
            return await asyncio.shield(effect)
        except asyncio.CancelledError:
            await asyncio.wait([effect])
            if not effect.cancelled():
                effect.exception()  # nobody is left to be told
            raise
        except OSError as error:
            raise _explained(error) from error


def _make_router(spec: NetworkSpec) -> None:
    """Forwarding, the addresses that the VPC answers itself, and nowhere to go for addresses that nobody has."""
    wanted = {*spec.gateways, spec.resolver, AMAZON_DNS}
    with netns.inside(netns.path_of(spec.name)):
        sysctl.make_router(strict=False)
        with Netlink() as vpc:
            vpc.set_link(LO)
            present = vpc.addresses(LO)
            for address in wanted - present:
                vpc.add_address(LO, address)
            for address in present - wanted:
                if not (IPv4Address(address).is_loopback or IPv4Address(address).is_link_local):
                    vpc.delete_address(LO, address)
            holes = {str(route.destination) for route in vpc.routes() if route.link is None}
            for cidr in set(spec.cidrs) - holes:
                vpc.set_blackhole(cidr)
            for cidr in holes - set(spec.cidrs):
                vpc.delete_route(cidr)


def _ear(path: str) -> socket.socket:
    with netns.inside(path):
        return arp.ear()


def _listen(path: str, address: str, port: int) -> socket.socket:
    with netns.inside(path):
        with Netlink() as vpc:
            vpc.add_address(LO, address)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _try_veth(path: str) -> None:
    with netns.inside(path), Netlink() as kernel:
        kernel.add_veth("probe0", "0a:fe:00:00:00:01", "probe1", "0a:fe:00:00:00:02", path, 1500)


def _explained(error: OSError) -> EngineError:
    """What the kernel said, as one of the four things an engine may say."""
    text = f"{error.strerror or error}"
    match error.errno:
        case errno.EPERM | errno.EACCES:
            return Unavailable(f"networks need root: {text}")
        case errno.ENOENT | errno.ENODEV | errno.EEXIST | errno.ESRCH:
            return Conflict(f"something is missing or in the way: {text}")
        case errno.EOPNOTSUPP | errno.EPROTONOSUPPORT | errno.EAFNOSUPPORT | errno.ENOSYS:
            return Unavailable(f"this kernel cannot do it: {text}")
        case errno.EINVAL | errno.ERANGE | errno.EADDRNOTAVAIL:
            return Refused(f"the kernel refuses it: {text}")
        case _:
            return Busy(text)
