"""What an account finds in a region before it did anything: a default VPC that is ready for use."""

from ipaddress import ip_network

from cloudlet.kernel.call import Call
from cloudlet.services.ec2.records import (
    CidrAssociation,
    DhcpOptions,
    InternetGateway,
    NetworkAcl,
    Opened,
    Route,
    RouteTable,
    RouteTableAssociation,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
)
from cloudlet.services.ec2.regions import private_domain, zones
from cloudlet.store.db import Tx

DEFAULT_CIDR = "172.31.0.0/16"
EVERYWHERE = "0.0.0.0/0"


def new_id(tx: Tx, prefix: str) -> str:
    """An id of AWS's form: `vpc-` and seventeen hex digits."""
    return f"{prefix}-{tx.token(17)}"


def open_region(tx: Tx, call: Call) -> Opened:
    """What was made at the account's first use of the region; made now, where this is it."""
    opened = tx.get(Opened, call.scope)
    if opened is None:
        options = _default_dhcp_options(tx, call)
        opened = Opened(call.scope, options.id)
        tx.put(opened)
        make_default_vpc(tx, call, options.id)
    return opened


def _default_dhcp_options(tx: Tx, call: Call) -> DhcpOptions:
    id = new_id(tx, "dopt")
    options = DhcpOptions(f"{call.scope}/{id}", id, call.account, call.region, {
        "domain-name": (private_domain(call.region),), "domain-name-servers": ("AmazonProvidedDNS",)})
    tx.put(options)
    return options


def make_default_vpc(tx: Tx, call: Call, dhcp_options_id: str) -> Vpc:
    """The default VPC: a /20 subnet in every zone, all of them public.

    https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc-components.html
    """
    id = new_id(tx, "igw")
    gateway = InternetGateway(f"{call.scope}/{id}", id, call.account, call.region)
    vpc = make_vpc(tx, call, DEFAULT_CIDR, dhcp_options_id, default=True,
                   routes=(Route(EVERYWHERE, gateway.id),))
    tx.put(InternetGateway(gateway.key, id, call.account, call.region, vpc.id))
    for zone, cidr in zip(zones(call.region), ip_network(DEFAULT_CIDR).subnets(new_prefix=20), strict=False):
        make_default_subnet(tx, call, vpc, zone.name, str(cidr))
    return vpc


def make_default_subnet(tx: Tx, call: Call, vpc: Vpc, zone: str, cidr: str) -> Subnet:
    """A zone's default subnet: what starts in it gets a public address unless it says otherwise."""
    id = new_id(tx, "subnet")
    subnet = Subnet(f"{call.scope}/{id}", id, call.account, call.region, vpc.id, zone, cidr, default_for_az=True,
                    map_public_ip=True)
    tx.put(subnet)
    return subnet


def make_vpc(tx: Tx, call: Call, cidr: str, dhcp_options_id: str, *, default: bool = False,
             routes: tuple[Route, ...] = (), tags: dict[str, str] | None = None) -> Vpc:
    """A VPC with what every VPC has from the start: a main route table, a default security group, a default ACL."""
    id = new_id(tx, "vpc")
    place = call.account, call.region
    vpc = Vpc(f"{call.scope}/{id}", id, *place, (CidrAssociation(new_id(tx, "vpc-cidr-assoc"), cidr),),
              dhcp_options_id, is_default=default, dns_hostnames=default, tags=tags or {})
    table, group, acl = new_id(tx, "rtb"), new_id(tx, "sg"), new_id(tx, "acl")
    tx.put(vpc)
    tx.put(RouteTable(f"{call.scope}/{table}", table, *place, id, routes,
                      (RouteTableAssociation(new_id(tx, "rtbassoc")),)))
    tx.put(NetworkAcl(f"{call.scope}/{acl}", acl, *place, id))
    tx.put(SecurityGroup(f"{call.scope}/{group}", group, *place, id, "default", "default VPC security group"))
    ingress = new_id(tx, "sgr")
    tx.put(SecurityGroupRule(f"{call.scope}/{ingress}", ingress, *place, group, "ingress", "-1", peer_group=group))
    make_egress_rule(tx, call, group)
    return vpc


def make_egress_rule(tx: Tx, call: Call, group_id: str) -> None:
    """The rule that every new security group has: all may go out."""
    id = new_id(tx, "sgr")
    tx.put(SecurityGroupRule(f"{call.scope}/{id}", id, call.account, call.region, group_id, "egress", "-1",
                             cidr=EVERYWHERE))
