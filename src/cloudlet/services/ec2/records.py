"""What EC2's network keeps. Keys are `account/region/id`, so a prefix lists one account's region and no more."""

from dataclasses import dataclass, field
from typing import Any, Literal

from cloudlet.services.ec2.regions import private_dns_name
from cloudlet.store.records import record

Direction = Literal["ingress", "egress"]


@record("ec2.opened")
class Opened:
    """The account's region was used: its default VPC was made. The key is the scope, `account/region`."""

    key: str
    dhcp_options_id: str  # the set that new VPCs start with


@record("ec2.site", lasting=True)
class Ground:
    """What transactions must know of the installation; written at every start under the key "site".
    `instance_memory_bytes`: how much of the host's memory instances may have together (None: nobody counts)."""

    key: str
    installation: str
    public_cidr: str
    instance_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CidrAssociation:
    """One of a VPC's ranges; the first of a VPC is its primary one and stays."""

    id: str
    cidr: str


@record("ec2.vpc", indexes={"dhcp_options": lambda v: v.dhcp_options_id})
class Vpc:
    """A virtual private cloud."""

    key: str
    id: str
    account: str
    region: str
    cidrs: tuple[CidrAssociation, ...]
    dhcp_options_id: str
    is_default: bool = False
    dns_support: bool = True
    dns_hostnames: bool = False
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def cidr(self) -> str:
        """The primary range."""
        return self.cidrs[0].cidr


@record("ec2.subnet", indexes={"vpc": lambda s: s.vpc_id})
class Subnet:
    """A range of a VPC in one availability zone."""

    key: str
    id: str
    account: str
    region: str
    vpc_id: str
    zone: str
    cidr: str
    default_for_az: bool = False
    map_public_ip: bool = False
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """A destination that goes to an internet gateway. Local routes are not kept: they are the VPC's ranges."""

    destination: str
    gateway_id: str


@dataclass(frozen=True, slots=True)
class RouteTableAssociation:
    """A subnet that uses the table; without a subnet the table is the VPC's main one."""

    id: str
    subnet_id: str | None = None


@record("ec2.route-table", indexes={
    "vpc": lambda t: t.vpc_id,
    "subnet": lambda t: [a.subnet_id for a in t.associations if a.subnet_id],
    "association": lambda t: [a.id for a in t.associations],
})
class RouteTable:
    """Where the traffic of some subnets goes."""

    key: str
    id: str
    account: str
    region: str
    vpc_id: str
    routes: tuple[Route, ...] = ()
    associations: tuple[RouteTableAssociation, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def main(self) -> bool:
        """Whether subnets without an association of their own use it."""
        return any(a.subnet_id is None for a in self.associations)


@record("ec2.internet-gateway", indexes={"vpc": lambda g: g.vpc_id})
class InternetGateway:
    """The way between one VPC and public addresses."""

    key: str
    id: str
    account: str
    region: str
    vpc_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


@record("ec2.security-group", indexes={"vpc": lambda g: g.vpc_id})
class SecurityGroup:
    """A set of rules that interfaces bear."""

    key: str
    id: str
    account: str
    region: str
    vpc_id: str
    name: str
    description: str
    tags: dict[str, str] = field(default_factory=dict)


@record("ec2.security-group-rule", indexes={"group": lambda r: r.group_id, "peer": lambda r: r.peer_group})
class SecurityGroupRule:
    """One rule: exactly one of `cidr`, `cidr6` and `peer_group` is set. Ports as in `ports.Rule`."""

    key: str
    id: str
    account: str
    region: str
    group_id: str
    direction: Direction
    protocol: str
    from_port: int | None = None
    to_port: int | None = None
    cidr: str | None = None
    cidr6: str | None = None
    peer_group: str | None = None
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InterfaceAttachment:
    """What joins an interface to an instance, as its card number `device_index`. Not `wanted`: it is to be taken out,
    and stays until it is. `plugged` is observed: the running machine has it."""

    id: str
    instance_id: str
    device_index: int
    at: float
    delete_on_termination: bool = False
    wanted: bool = True
    plugged: bool = False


@dataclass(frozen=True, slots=True)
class PrivateAddress:
    """One of an interface's private addresses, and the public one that stands for it."""

    ip: str
    public_ip: str | None = None


def _with_addresses(version: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew one address an interface."""
    fields["addresses"] = [{"ip": fields.pop("private_ip"), "public_ip": fields.pop("public_ip", None)}]
    fields.pop("private_dns_name", None)
    return fields


@record("ec2.interface", version=2, upgrade=_with_addresses, reconciled=True, indexes={
    "id": lambda i: i.id,
    "vpc": lambda i: i.vpc_id,
    "subnet": lambda i: i.subnet_id,
    "several": lambda i: i.subnet_id if len(i.addresses) > 1 else None,
    "group": lambda i: i.groups,
    "address": lambda i: [f"{i.subnet_id}/{address.ip}" for address in i.addresses],
    "at": lambda i: [] if i.releasing else [f"{i.network}/{address.ip}" for address in i.addresses],
    "world": lambda i: i.vpc_id if i.requester or i.attachment else None,
    "instance": lambda i: i.attachment.instance_id if i.attachment else None,
    "attachment": lambda i: i.attachment.id if i.attachment else None,
})
class NetworkInterface:
    """An elastic network interface (ENI).

    One with a `requester` (the service it was made for) or an `attachment` (to an instance) is made in the world; one
    that a customer made and nothing uses is an address that is taken. `network` and `fabric_name` are the engine names
    of its VPC and itself; `path` (of its namespace or its tap, "" until it was seen) and `ready` (it exists and its
    network's fabric names it) are observed. `releasing`: nobody knows it any more, and its addresses stay taken until
    it is gone from the world. Of its `addresses` the first is the primary one, which it has for life.
    """

    key: str
    id: str
    account: str
    region: str
    vpc_id: str
    subnet_id: str
    subnet_cidr: str
    availability_zone: str
    addresses: tuple[PrivateAddress, ...]
    resolver: str
    mac: str
    groups: tuple[str, ...]
    network: str
    fabric_name: str
    created: float
    description: str = ""
    source_check: bool = True
    requester: str | None = None
    notify: tuple[str, str] | None = None
    path: str = ""
    ready: bool = False
    releasing: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    attachment: InterfaceAttachment | None = None
    workload: Literal["namespace", "tap"] = "namespace"

    @property
    def private_ip(self) -> str:
        """The primary address."""
        return self.addresses[0].ip

    @property
    def private_dns_name(self) -> str:
        """The name of the primary address."""
        return private_dns_name(self.region, self.private_ip)

    @property
    def public_ip(self) -> str | None:
        """The public address that stands for the primary one."""
        return self.addresses[0].public_ip

    @property
    def public_ips(self) -> tuple[str, ...]:
        """All its public addresses."""
        return tuple(address.public_ip for address in self.addresses if address.public_ip)

    @property
    def real(self) -> bool:
        """Whether it is to be in the world, and not only a record."""
        return self.requester is not None or self.attachment is not None


@record("ec2.elastic-ip", indexes={
    "address": lambda a: a.public_ip,
    "interface": lambda a: a.interface_id,
    "association": lambda a: a.association_id,
})
class ElasticIp:
    """A public address that stays with the account until it is released."""

    key: str
    id: str
    account: str
    region: str
    public_ip: str
    association_id: str | None = None
    interface_id: str | None = None
    private_ip: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


@record("ec2.public-address", indexes={"draining": lambda a: a.draining})
class PublicAddress:
    """A public address that is taken, whoever has it; the key is the address.

    `draining` is the key of the VPC whose fabric may still carry it after its last use; `released`: it is free as
    soon as that fabric no longer does.
    """

    key: str
    draining: str | None = None
    released: bool = False


@record("ec2.dhcp-options")
class DhcpOptions:
    """What DHCP tells the VPC's interfaces: configurations by key."""

    key: str
    id: str
    account: str
    region: str
    options: dict[str, tuple[str, ...]]
    tags: dict[str, str] = field(default_factory=dict)


@record("ec2.network-acl", indexes={"vpc": lambda a: a.vpc_id})
class NetworkAcl:
    """A VPC's default network ACL: everything passes, both ways."""

    key: str
    id: str
    account: str
    region: str
    vpc_id: str
    tags: dict[str, str] = field(default_factory=dict)


@record("ec2.key-pair", indexes={
    "name": lambda k: f"{k.account}/{k.region}/{k.name}",
    "scope": lambda k: f"{k.account}/{k.region}",
})
class KeyPair:
    """A public key under a name, as in authorized_keys. `kind` is "rsa" or "ed25519"."""

    key: str
    id: str
    account: str
    region: str
    name: str
    kind: str
    public: str
    fingerprint: str
    created: float
    tags: dict[str, str] = field(default_factory=dict)


@record("ec2.network", reconciled=True)
class Network:
    """A VPC that is in the world because interfaces need it; the key is the VPC's.

    `up` is observed: its namespace has every gateway address and its doors are open. `empty_since`: when its last
    interface went.
    """

    key: str
    vpc_id: str
    up: bool = False
    empty_since: float | None = None


@record("ec2.fabric", reconciled=True)
class FabricRevision:
    """Counts what a network's fabric should look like; every new number is work. The key is the VPC's."""

    key: str
    number: int
