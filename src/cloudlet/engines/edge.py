"""The edge: one namespace that joins the host and the installation's VPCs, and the guard that keeps its range at home.

    host ──veth── edge ──veth── VPC
                    └────veth── VPC

On each of these links both ends know the other's hardware address for good and route by a next hop that needs no
address on the link, so nothing of ours can collide with a network of the user's but the public range itself.
"""

from hashlib import blake2s
from ipaddress import IPv4Network

from cloudlet.engines import netns, sysctl
from cloudlet.engines.netlink import Link, Netlink, Route
from cloudlet.engines.nft import TABLE
from cloudlet.engines.security import EDGE_LINK
from cloudlet.kernel.errors import Busy, Refused
from cloudlet.kernel.site import Site

MTU = 1500
UPPER_MAC, LOWER_MAC = "0a:fe:00:00:00:01", "0a:fe:00:00:00:02"  # of a link's ends: nearer the edge, farther from it
UPPER_HOP, LOWER_HOP = "169.254.0.1", "169.254.0.2"  # next hops: names for those ends, which no device bears
ANYWHERE = "0.0.0.0/0"
HOST_LINK = "host0"  # the edge's end of the link to the host
HOST_METRIC = 1024
_GUARD_METRIC = 1 << 24  # plus 24 bits of the installation: that is how a guard is known as ours


def host_address(public_cidr: str) -> str:
    """The host's own address in the public range: its second, which is never handed out. The source that security
    groups see of what comes from the host."""
    return str(IPv4Network(public_cidr).network_address + 1)


class Edge:
    """The edge of one installation. All calls block briefly; they are made by one thread at a time."""

    def __init__(self, site: Site) -> None:
        self.name = f"{site.installation.prefix}edge"
        self.path = netns.path_of(self.name)
        self.public_cidr = site.public_cidr
        self._installation = site.installation
        self._public = IPv4Network(site.public_cidr)
        self._address = host_address(site.public_cidr)
        self._host_link = site.installation.link("host", "edge")
        mark = int.from_bytes(blake2s(site.installation.id.encode(), digest_size=3).digest(), "big")
        self._guard_metric = _GUARD_METRIC + mark

    # ── The host's side ──────────────────────────────────────────────────────────────────────────────────────────────

    def guard(self) -> None:
        """From here on, no packet to the public range leaves the host by another way. Raises Refused where the host
        has a network of its own there."""
        with Netlink() as host:
            if not any(self._is_guard(route) for route in self._routes(host)):
                host.set_blackhole(self.public_cidr, self._guard_metric)

    def require_free(self) -> None:
        """Raises Refused where the host has a network of its own in the public range."""
        with Netlink() as host:
            self._routes(host)

    def _routes(self, host: Netlink) -> list[Route]:
        """The host's routes, none of them to a network of its own in the public range."""
        ours, routes = host.link(self._host_link), list(host.routes())
        for route in routes:
            if self._is_foreign(route, ours):
                raise Refused(f"the public range {self.public_cidr} overlaps with {route.destination}, to which this"
                              " host has a route already: choose another with --public-cidr")
        return routes

    def _is_guard(self, route: Route) -> bool:
        return (route.destination, route.link, route.metric) == (self._public, None, self._guard_metric)

    def _is_foreign(self, route: Route, ours: Link | None) -> bool:
        """Whether a route shows that the range is in use. One as wide as half the internet is just a way out."""
        return (route.destination.prefixlen > 1 and route.destination.overlaps(self._public)
                and not (ours and route.link == ours.index)
                and not (route.link is None and route.metric == self._guard_metric))

    def join_host(self) -> None:
        """The link between host and edge, and the host's route. Makes what is missing."""
        with netns.inside(self.path):
            inner = Netlink()
        with inner, Netlink() as host:
            ours, theirs = host.link(self._host_link), inner.link(HOST_LINK)
            if not (ours and theirs and theirs.peer == ours.index):
                host.delete_link(self._host_link)
                inner.delete_link(HOST_LINK)
                host.add_veth(self._host_link, LOWER_MAC, HOST_LINK, UPPER_MAC, self.path, MTU)
                ours, theirs = host.link(self._host_link), inner.link(HOST_LINK)
            if not ours or not theirs:
                raise Busy("the link between host and edge went away while it was made")
            inner.set_link(theirs.index, UPPER_MAC)
            inner.set_neighbour(LOWER_HOP, theirs.index, LOWER_MAC)
            inner.set_route(f"{self._address}/32", theirs.index, gateway=LOWER_HOP)
            host.set_link(ours.index, LOWER_MAC)
            host.set_neighbour(UPPER_HOP, ours.index, UPPER_MAC)
            host.add_address(ours.index, self._address)
            host.set_route(self.public_cidr, ours.index, gateway=UPPER_HOP, source=self._address, metric=HOST_METRIC)
            host.await_carrier(self._host_link)
            inner.await_carrier(HOST_LINK)

    # ── The edge itself ──────────────────────────────────────────────────────────────────────────────────────────────

    def rules(self) -> str:
        """What may cross the edge: the host may call members and members each other; nobody calls the host."""
        host, public = self._address, self.public_cidr
        return f"""table {TABLE}
delete table {TABLE}
table {TABLE} {{
  chain cross {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "{HOST_LINK}" ip saddr {host} ip daddr {public} accept
    iifname != "{HOST_LINK}" oifname != "{HOST_LINK}" ip saddr {public} ip daddr {public} accept
  }}
  chain services {{
    type filter hook input priority filter; policy drop;
  }}
}}
"""

    def route(self) -> None:
        """The namespace routes, strictly: a source must be where it would be answered."""
        with netns.inside(self.path):
            sysctl.make_router(strict=True)
            with Netlink() as edge:
                edge.set_link(1)
                edge.set_blackhole(self.public_cidr, self._guard_metric)

    def is_whole(self) -> bool:
        """Whether host and edge are joined as they should be."""
        if netns.inode(self.path) is None:
            return False
        with Netlink() as host:
            ours, routes = host.link(self._host_link), host.routes()
        with netns.inside(self.path), Netlink() as edge:
            theirs, back = edge.link(HOST_LINK), edge.route_to(self._address)
        return bool(
            ours and theirs and ours.up and theirs.up and theirs.peer == ours.index and back
            and back.link == theirs.index and any(self._is_guard(route) for route in routes)
            and any((route.destination, route.link) == (self._public, ours.index) for route in routes))

    # ── VPCs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, network: str) -> bool:
        """The link between the edge and a VPC's namespace, and the VPC's way out. Whether it had to be made, so that no
        public address leads there yet."""
        port, inside = self._port(network), netns.path_of(network)
        with netns.inside(self.path):
            edge = Netlink()
        with netns.inside(inside):
            vpc = Netlink()
        with edge, vpc:
            ours, theirs = edge.link(port), vpc.link(EDGE_LINK)
            is_missing = not (ours and theirs and theirs.peer == ours.index)
            if is_missing:
                edge.delete_link(port)
                vpc.delete_link(EDGE_LINK)
                edge.add_veth(port, UPPER_MAC, EDGE_LINK, LOWER_MAC, inside, MTU)
                ours, theirs = edge.link(port), vpc.link(EDGE_LINK)
            if not ours or not theirs:
                raise Busy("the link between edge and VPC went away while it was made")
            edge.set_link(ours.index, UPPER_MAC)
            edge.set_neighbour(LOWER_HOP, ours.index, LOWER_MAC)
            vpc.set_link(theirs.index, LOWER_MAC)
            vpc.set_neighbour(UPPER_HOP, theirs.index, UPPER_MAC)
            vpc.set_route(ANYWHERE, theirs.index, gateway=UPPER_HOP)
            edge.await_carrier(port)
            vpc.await_carrier(EDGE_LINK)
        return is_missing

    def publish(self, network: str, addresses: frozenset[str]) -> frozenset[str]:
        """Exactly these public addresses lead to that VPC; those that no longer do. An address that was another VPC's
        is this one's now. Raises Refused for one outside the public range."""
        for address in addresses:
            if IPv4Network(address).network_address not in self._public or address == self._address:
                raise Refused(f"{address} is not a public address of this installation ({self.public_cidr})")
        with netns.inside(self.path), Netlink() as edge:
            ours = edge.link(self._port(network))
            if ours is None:
                raise Busy("the VPC is not joined to the edge")
            present = {str(route.destination.network_address) for route in edge.routes()
                       if route.link == ours.index and route.destination.prefixlen == 32}
            for address in present - addresses:
                edge.delete_route(f"{address}/32", link=ours.index)
            for address in addresses - present:
                edge.set_route(f"{address}/32", ours.index, gateway=LOWER_HOP)
        return frozenset(present - addresses)

    def part(self, network: str) -> None:
        """Removes the link to a VPC, and with it the routes to its public addresses."""
        if netns.inode(self.path) is not None:
            with netns.inside(self.path), Netlink() as edge:
                edge.delete_link(self._port(network))

    def tear_down(self) -> None:
        """Removes all of it, the guard last."""
        with Netlink() as host:
            host.delete_link(self._host_link)
            netns.remove(self.name)
            host.delete_route(self.public_cidr, metric=self._guard_metric)
            for route in host.routes():  # the guard of a public range that was this installation's before
                if route.link is None and route.metric == self._guard_metric:
                    host.delete_route(str(route.destination), metric=self._guard_metric)

    def _port(self, network: str) -> str:
        return self._installation.link("vpc", network)
