"""What the control plane needs of networks: VPCs, their interfaces, and who may talk to whom."""

import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A VPC: one routing namespace. `gateways` are the addresses it answers itself (x.x.x.1 of every subnet);
    `resolver` is its DNS address (base of the first range plus two)."""

    name: str
    cidrs: tuple[str, ...]
    gateways: tuple[str, ...]
    resolver: str


@dataclass(frozen=True, slots=True)
class Lease:
    """What a machine learns by DHCP beside its address and router: the range of its subnet (CIDR), the resolver, and
    its whole name."""

    subnet: str
    resolver: str
    name: str


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    """An elastic network interface with its private addresses, the primary one first. With `workload` "namespace" it
    gets a namespace of its own, in which the addresses, the default route by `gateway` and lo are up; with "tap" a tap
    device that a machine opens, on which DHCP tells it the primary one and the rest where there is a `lease`."""

    name: str
    network: str
    addresses: tuple[str, ...]
    gateway: str
    mac: str
    workload: Literal["namespace", "tap"] = "namespace"
    lease: Lease | None = None

    @property
    def address(self) -> str:
        """The primary one."""
        return self.addresses[0]


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface as observed, with the addresses that lead to it. `path` is the namespace's path, or the tap's device
    name."""

    name: str
    path: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One security-group rule. `protocol` is "-1" or an IANA name or number; ports are inclusive, None for all; for
    ICMP `from_port` is the type and `to_port` the code (-1: all). `peer` is a CIDR or a security group's id."""

    direction: Literal["ingress", "egress"]
    protocol: str
    from_port: int | None
    to_port: int | None
    peer: str


@dataclass(frozen=True, slots=True)
class Address:
    """One of an interface's private addresses, the public address that stands for it (1:1 NAT), and the names that the
    VPC's DNS answers with it."""

    private: str
    public: str | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """An interface's place in the fabric: its addresses, its groups, and the destinations that its route table sends to
    an internet gateway."""

    interface: str
    addresses: tuple[Address, ...]
    groups: tuple[str, ...]
    internet: tuple[str, ...] = ()
    source_check: bool = True


@dataclass(frozen=True, slots=True)
class Fabric:
    """A VPC's whole document: who may talk to whom. Applied as one; an older `revision` never replaces a newer."""

    network: str
    revision: int
    members: tuple[Member, ...]
    groups: dict[str, tuple[Rule, ...]] = field(default_factory=dict)


class Networks(Protocol):
    """VPCs and their interfaces."""

    async def ensure_network(self, spec: NetworkSpec) -> None:
        """The VPC's namespace, joined to the edge, with DNS answering."""
        ...

    async def ensure_interface(self, spec: InterfaceSpec) -> Interface:
        """The interface, routed in its network by exactly these addresses; a workload keeps its device when others than
        the primary one change. Until a fabric names it, nothing passes."""
        ...

    async def apply(self, fabric: Fabric) -> None:
        """Security groups, NAT and DNS names of one network, atomically; connections that stay allowed stay open."""
        ...

    async def observe(self, name: str) -> Interface | None:
        """The interface, if it is whole; None where any of it is missing."""
        ...

    async def answering(self, network: str, interfaces: Collection[str]) -> frozenset[str]:
        """Those of a network's interfaces whose workloads answer ARP for their address. Takes some seconds where one
        does not, however many there are."""
        ...

    async def destroy(self, name: str) -> None:
        """Removes an interface, or a network with all its interfaces. What is gone already is fine."""
        ...

    async def owned(self) -> tuple[str, ...]:
        """The names of all networks and interfaces of this installation."""
        ...

    async def listen(self, network: str, address: str, port: int) -> socket.socket:
        """A listening TCP socket inside the network's namespace; the address is added there if need be."""
        ...
