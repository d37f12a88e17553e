"""What a VPC's network should look like, computed from records and nothing else."""

from dataclasses import dataclass
from ipaddress import IPv4Network

from cloudlet.engines.ports import Address, Fabric, InterfaceSpec, Lease, Member, NetworkSpec, Rule
from cloudlet.services.ec2.ranges import gateway_of, resolver_of
from cloudlet.services.ec2.records import (
    FabricRevision,
    InternetGateway,
    Network,
    NetworkInterface,
    PrivateAddress,
    RouteTable,
    SecurityGroupRule,
    Subnet,
    Vpc,
)
from cloudlet.services.ec2.regions import private_dns_name, public_dns_name
from cloudlet.store.db import Tx

# ── What asks for a new look at the world ────────────────────────────────────────────────────────────────────────────


def refresh_fabric(tx: Tx, vpc_key: str) -> None:
    """Something that a VPC's fabric shows has changed. A VPC that is not in the world has no fabric."""
    if tx.get(Network, vpc_key):
        last = tx.get(FabricRevision, vpc_key)
        # By the clock, so that a network made anew never begins below what an engine may remember of it.
        tx.put(FabricRevision(vpc_key, max(last.number + 1 if last else 0, int(tx.now * 1000))))


def refresh_group(tx: Tx, scope: str, group_id: str) -> None:
    """A security group's rules have changed: so has the fabric of every VPC where an interface bears it."""
    for vpc_id in {interface.vpc_id for interface in tx.find(NetworkInterface, group=group_id) if interface.path}:
        refresh_fabric(tx, f"{scope}/{vpc_id}")


def join_network(tx: Tx, vpc: Vpc) -> None:
    """An interface needs the VPC in the world."""
    network = tx.get(Network, vpc.key)
    if network is None:
        tx.put(Network(vpc.key, vpc.id))
    elif network.empty_since is not None:
        tx.put(Network(vpc.key, vpc.id, network.up))


def reshape_network(tx: Tx, vpc_key: str) -> None:
    """A VPC's ranges or subnets have changed, or it is gone: its namespace, where it has one, is to follow."""
    network = tx.get(Network, vpc_key)
    if network:
        tx.put(Network(vpc_key, network.vpc_id, False, network.empty_since))


# ── What it should look like ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a VPC's fabric depends on, read in one transaction. `interfaces` are those that exist."""

    network: str
    revision: int
    vpc: Vpc
    interfaces: tuple[NetworkInterface, ...]
    tables: tuple[RouteTable, ...]
    gateway: InternetGateway | None
    rules: dict[str, tuple[SecurityGroupRule, ...]]


def snapshot(tx: Tx, name: str, vpc: Vpc) -> Snapshot:
    """The records behind the fabric of the network called `name`."""
    interfaces = tuple(i for i in tx.find(NetworkInterface, world=vpc.id) if i.path and not i.releasing)
    revision = tx.get(FabricRevision, vpc.key)
    return Snapshot(
        name, revision.number if revision else 0, vpc, interfaces, tuple(tx.find(RouteTable, vpc=vpc.id)),
        next(iter(tx.find(InternetGateway, vpc=vpc.id)), None),
        {group: tuple(tx.find(SecurityGroupRule, group=group))
         for group in sorted({group for i in interfaces for group in i.groups})})


def render(seen: Snapshot) -> Fabric:
    """The fabric that the records ask for."""
    internet = {subnet: _internet(seen, subnet) for subnet in {i.subnet_id for i in seen.interfaces}}
    members = tuple(_member(seen, interface, internet[interface.subnet_id]) for interface in seen.interfaces)
    return Fabric(seen.network, seen.revision, members, {
        group: tuple(rule for each in rules if (rule := _rule(each))) for group, rules in seen.rules.items()})


def _member(seen: Snapshot, interface: NetworkInterface, internet: tuple[str, ...]) -> Member:
    addresses = tuple(_address(seen, interface.region, address) for address in interface.addresses)
    return Member(interface.fabric_name, addresses, interface.groups, internet, interface.source_check)


def _address(seen: Snapshot, region: str, address: PrivateAddress) -> Address:
    public = address.public_ip if seen.gateway else None
    names: tuple[str, ...] = ()
    if seen.vpc.dns_support:
        names = (private_dns_name(region, address.ip),)
        if seen.vpc.dns_hostnames and public:  # inside the VPC, a public name means the private address
            names += (public_dns_name(region, public),)
    return Address(address.ip, public, names)


def _internet(seen: Snapshot, subnet_id: str) -> tuple[str, ...]:
    """The destinations that the subnet's route table sends to the VPC's internet gateway."""
    table = next((t for t in seen.tables for a in t.associations if a.subnet_id == subnet_id),
                 next((t for t in seen.tables if t.main), None))
    if table is None or seen.gateway is None:
        return ()
    return tuple(route.destination for route in table.routes if route.gateway_id == seen.gateway.id)


def _rule(rule: SecurityGroupRule) -> Rule | None:
    """The rule as engines take it; None for IPv6, of which there is none here."""
    peer = rule.cidr or rule.peer_group
    return Rule(rule.direction, rule.protocol, rule.from_port, rule.to_port, peer) if peer else None


def network_spec(tx: Tx, name: str, vpc: Vpc) -> NetworkSpec:
    """The VPC's namespace: it answers as the router of every subnet."""
    subnets = sorted(IPv4Network(subnet.cidr) for subnet in tx.find(Subnet, vpc=vpc.id))
    return NetworkSpec(name, tuple(a.cidr for a in vpc.cidrs), tuple(gateway_of(str(cidr)) for cidr in subnets),
                       resolver_of(vpc.cidr))


def interface_spec(interface: NetworkInterface) -> InterfaceSpec:
    """The interface, with what its workload stands on."""
    lease = None
    if interface.workload == "tap":
        lease = Lease(interface.subnet_cidr, interface.resolver, interface.private_dns_name)
    return InterfaceSpec(interface.fabric_name, interface.network, tuple(each.ip for each in interface.addresses),
                         gateway_of(interface.subnet_cidr), interface.mac, interface.workload, lease)
