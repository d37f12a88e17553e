"""Virtual private clouds and their ranges."""

from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, quotas
from cloudlet.services.ec2.api import ec2, refuse, require, touches
from cloudlet.services.ec2.fabric import refresh_fabric, reshape_network
from cloudlet.services.ec2.nouns import described, find
from cloudlet.services.ec2.opening import make_default_vpc, make_vpc, open_region
from cloudlet.services.ec2.ranges import parse_cidr
from cloudlet.services.ec2.records import (
    CidrAssociation,
    InternetGateway,
    NetworkAcl,
    NetworkInterface,
    RouteTable,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
)
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx

_IPV6_AND_POOLS = (
    "Ipv6Pool", "Ipv6CidrBlock", "Ipv4IpamPoolId", "Ipv4NetmaskLength", "Ipv6IpamPoolId", "Ipv6NetmaskLength",
    "Ipv6CidrBlockNetworkBorderGroup", "AmazonProvidedIpv6CidrBlock")
_ATTRIBUTES = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames",
               "enableNetworkAddressUsageMetrics": "EnableNetworkAddressUsageMetrics"}


def vpc_view(vpc: Vpc, *, state: str = "available") -> dict[str, Any]:
    """A VPC as answers show it."""
    return {
        "VpcId": vpc.id, "OwnerId": vpc.account, "State": state, "CidrBlock": vpc.cidr, "IsDefault": vpc.is_default,
        "DhcpOptionsId": vpc.dhcp_options_id, "InstanceTenancy": "default", "Tags": tag_set(vpc.tags),
        "CidrBlockAssociationSet": [_association_view(a, "associated") for a in vpc.cidrs],
    }


def _association_view(association: CidrAssociation, state: str) -> dict[str, Any]:
    return {"AssociationId": association.id, "CidrBlock": association.cidr, "CidrBlockState": {"State": state}}


def default_vpc(tx: Tx, call: Call) -> Vpc | None:
    """The account's default VPC in this region, unless it was deleted."""
    return next((vpc for vpc in tx.find(Vpc, f"{call.scope}/") if vpc.is_default), None)


def parse_vpc_cidr(text: str) -> str:
    """A range that a VPC may have: /16 to /28."""
    network = parse_cidr(text, "cidrBlock")
    if not 16 <= network.prefixlen <= 28:
        raise api.InvalidVpcRange(f"The CIDR '{text}' is invalid.")
    return str(network)


@ec2.write(resources=touches(vpc=""))
def create_vpc(call: Call, tx: Tx, request: Input) -> Output:
    """A VPC of one range, with its main route table, default security group and default ACL."""
    refuse(request, *_IPV6_AND_POOLS, "VpcEncryptionControl")
    if request.get("InstanceTenancy") not in (None, "default"):
        raise api.UnsupportedOperation("Only the tenancy 'default' is supported.")
    cidr = parse_vpc_cidr(require(request, "CidrBlock"))
    _check_quota(tx, call)
    vpc = make_vpc(tx, call, cidr, open_region(tx, call).dhcp_options_id, tags=tags_for(request, "vpc"))
    return {"Vpc": vpc_view(vpc, state="pending")}


def _check_quota(tx: Tx, call: Call) -> None:
    if len(tx.find(Vpc, f"{call.scope}/", limit=quotas.VPCS)) >= quotas.VPCS:
        raise api.VpcLimitExceeded("The maximum number of VPCs has been reached.")


@ec2.write(resources=touches(vpc=""))
def create_default_vpc(call: Call, tx: Tx, request: Input) -> Output:
    """The default VPC again, for those who deleted it."""
    if default_vpc(tx, call):
        raise api.DefaultVpcAlreadyExists("A Default VPC already exists for this account in this region.")
    _check_quota(tx, call)
    return {"Vpc": vpc_view(make_default_vpc(tx, call, open_region(tx, call).dhcp_options_id), state="pending")}


@ec2.read(resources=any_resource)
def describe_vpcs(call: Call, tx: Tx, request: Input) -> Output:
    """VPCs by id and filter."""
    found = matching(described(tx, call, Vpc, request.get("VpcIds")), request.get("Filters"), {
        "cidr": lambda v: v.cidr,
        "cidr-block-association.cidr-block": lambda v: [a.cidr for a in v.cidrs],
        "cidr-block-association.association-id": lambda v: [a.id for a in v.cidrs],
        "cidr-block-association.state": lambda v: "associated",
        "dhcp-options-id": lambda v: v.dhcp_options_id,
        "ipv6-cidr-block-association.ipv6-cidr-block": lambda v: None,
        "ipv6-cidr-block-association.association-id": lambda v: None,
        "ipv6-cidr-block-association.state": lambda v: None,
        "is-default": lambda v: v.is_default,
        "isDefault": lambda v: v.is_default,
        "owner-id": lambda v: v.account,
        "state": lambda v: "available",
        "vpc-id": lambda v: v.id,
    }, lambda v: v.tags)
    return {"Vpcs": [vpc_view(vpc) for vpc in found]}


@ec2.write(resources=touches(vpc="VpcId"))
def delete_vpc(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes an empty VPC and what it had from the start."""
    vpc = find(tx, call, Vpc, request["VpcId"])
    groups = tx.find(SecurityGroup, vpc=vpc.id)
    tables = tx.find(RouteTable, vpc=vpc.id)
    if (tx.count(Subnet, vpc=vpc.id) or tx.count(InternetGateway, vpc=vpc.id)
            or any(group.name != "default" for group in groups) or any(not table.main for table in tables)
            or any(not i.releasing for i in tx.find(NetworkInterface, vpc=vpc.id))):
        raise api.DependencyViolation(f"The vpc '{vpc.id}' has dependencies and cannot be deleted.")
    for group in groups:
        for rule in tx.find(SecurityGroupRule, group=group.id):
            tx.delete(SecurityGroupRule, rule.key)
        tx.delete(SecurityGroup, group.key)
    for table in tables:
        tx.delete(RouteTable, table.key)
    for acl in tx.find(NetworkAcl, vpc=vpc.id):
        tx.delete(NetworkAcl, acl.key)
    tx.delete(Vpc, vpc.key)
    reshape_network(tx, vpc.key)


@ec2.write(resources=touches(vpc="VpcId"))
def modify_vpc_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Sets one attribute; AWS takes only one at a time."""
    vpc = find(tx, call, Vpc, request["VpcId"])
    given = {name: (request[name] or {}).get("Value") for name in _ATTRIBUTES.values() if name in request}
    if len(given) != 1:
        raise api.InvalidParameterCombination("Exactly one attribute must be specified.")
    match given:
        case {"EnableDnsSupport": value}:
            changed = replace(vpc, dns_support=bool(value))
        case {"EnableDnsHostnames": value}:
            if value and not vpc.dns_support:
                raise api.InvalidParameterValue("DNS hostnames require DNS support to be enabled.")
            changed = replace(vpc, dns_hostnames=bool(value))
        case _:
            refuse(request.get("EnableNetworkAddressUsageMetrics") or {}, "Value")
            return
    tx.put(changed)
    refresh_fabric(tx, vpc.key)


@ec2.read(resources=touches(vpc="VpcId"))
def describe_vpc_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """One attribute of one VPC."""
    vpc = find(tx, call, Vpc, request["VpcId"])
    value = {"enableDnsSupport": vpc.dns_support, "enableDnsHostnames": vpc.dns_hostnames}
    name = request["Attribute"]
    if name not in _ATTRIBUTES:
        raise api.InvalidParameterValue(f"Value ({name}) for parameter attribute is invalid.")
    return {"VpcId": vpc.id, _ATTRIBUTES[name]: {"Value": value.get(name, False)}}


@ec2.write(resources=touches(vpc="VpcId"))
def modify_vpc_tenancy(call: Call, tx: Tx, request: Input) -> Output:
    """Back to the tenancy `default`, which every VPC here has."""
    find(tx, call, Vpc, request["VpcId"])
    if request["InstanceTenancy"] != "default":
        raise api.InvalidParameterValue(
            f"Value ({request['InstanceTenancy']}) for parameter instanceTenancy is invalid.")
    return {"ReturnValue": True}


@ec2.write(resources=touches(vpc="VpcId"))
def associate_vpc_cidr_block(call: Call, tx: Tx, request: Input) -> Output:
    """A further range for a VPC."""
    refuse(request, *_IPV6_AND_POOLS)
    vpc = find(tx, call, Vpc, request["VpcId"])
    cidr = parse_vpc_cidr(require(request, "CidrBlock"))
    network = parse_cidr(cidr, "cidrBlock")
    if any(network.overlaps(parse_cidr(other.cidr, "cidrBlock")) for other in vpc.cidrs):
        raise api.CidrConflict(f"The CIDR '{cidr}' conflicts with another CIDR of the vpc '{vpc.id}'.")
    if len(vpc.cidrs) >= quotas.CIDRS_PER_VPC:
        raise api.CidrLimitExceeded(f"This network '{vpc.id}' has met its maximum number of allowed CIDRs: "
                                    f"{quotas.CIDRS_PER_VPC}")
    added = CidrAssociation(f"vpc-cidr-assoc-{tx.token(17)}", cidr)
    tx.put(replace(vpc, cidrs=(*vpc.cidrs, added)))
    reshape_network(tx, vpc.key)
    return {"VpcId": vpc.id, "CidrBlockAssociation": _association_view(added, "associating")}


@ec2.write(resources=touches(vpc=""))
def disassociate_vpc_cidr_block(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a further range away, once no subnet lies in it."""
    id = request["AssociationId"]
    owner = next((v for v in tx.find(Vpc, f"{call.scope}/") for a in v.cidrs if a.id == id), None)
    if owner is None:
        raise api.InvalidCidrAssociationNotFound(f"The vpc CIDR block association ID '{id}' does not exist")
    removed = next(a for a in owner.cidrs if a.id == id)
    if removed is owner.cidrs[0]:
        raise api.OperationNotPermitted(
            f"The vpc CIDR block with association ID {id} may not be disassociated. "
            "It is the primary IPv4 CIDR block of the VPC")
    network = parse_cidr(removed.cidr, "cidrBlock")
    if any(parse_cidr(s.cidr, "cidrBlock").subnet_of(network) for s in tx.find(Subnet, vpc=owner.id)):
        raise api.DependencyViolation(f"The CIDR '{removed.cidr}' of the vpc '{owner.id}' has dependencies.")
    tx.put(replace(owner, cidrs=tuple(a for a in owner.cidrs if a is not removed)))
    reshape_network(tx, owner.key)
    return {"VpcId": owner.id, "CidrBlockAssociation": _association_view(removed, "disassociating")}
