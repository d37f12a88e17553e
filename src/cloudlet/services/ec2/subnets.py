"""Subnets: ranges of a VPC, each in one availability zone."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, quotas
from cloudlet.services.ec2.api import ec2, refuse, require, touches
from cloudlet.services.ec2.fabric import refresh_fabric, reshape_network
from cloudlet.services.ec2.nouns import arn, described, find
from cloudlet.services.ec2.opening import make_default_subnet
from cloudlet.services.ec2.ranges import parse_cidr, usable
from cloudlet.services.ec2.records import NetworkInterface, RouteTable, RouteTableAssociation, Subnet, Vpc
from cloudlet.services.ec2.regions import Zone, zone_id, zones
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.services.ec2.vpcs import default_vpc
from cloudlet.store.db import Tx


def subnet_view(tx: Tx, subnet: Subnet, *, state: str = "available") -> dict[str, Any]:
    """A subnet as answers show it."""
    return {
        "SubnetId": subnet.id, "SubnetArn": arn(subnet), "OwnerId": subnet.account, "VpcId": subnet.vpc_id,
        "State": state, "CidrBlock": subnet.cidr, "AvailabilityZone": subnet.zone,
        "AvailabilityZoneId": zone_id(subnet.zone), "AvailableIpAddressCount": available(tx, subnet),
        "DefaultForAz": subnet.default_for_az, "MapPublicIpOnLaunch": subnet.map_public_ip,
        "MapCustomerOwnedIpOnLaunch": False, "AssignIpv6AddressOnCreation": False, "Ipv6CidrBlockAssociationSet": [],
        "Ipv6Native": False, "EnableDns64": False, "Tags": tag_set(subnet.tags),
        "PrivateDnsNameOptionsOnLaunch": {"HostnameType": "ip-name", "EnableResourceNameDnsARecord": False,
                                          "EnableResourceNameDnsAAAARecord": False},
    }


def available(tx: Tx, subnet: Subnet) -> int:
    """How many addresses interfaces may still take."""
    further = sum(len(interface.addresses) - 1 for interface in tx.find(NetworkInterface, several=subnet.id))
    return len(usable(subnet.cidr)) - tx.count(NetworkInterface, subnet=subnet.id) - further


def _zone(call: Call, request: Input) -> Zone:
    """The zone that a request names, by name or id; the first, where it names none."""
    name, id = request.get("AvailabilityZone"), request.get("AvailabilityZoneId")
    if name and id:
        raise api.InvalidParameterCombination("You can only specify one of AvailabilityZone and AvailabilityZoneId")
    there = zones(call.region)
    found = next((zone for zone in there if name in (None, zone.name) and id in (None, zone.id)), None)
    if found is None:
        given, parameter = (name, "availabilityZone") if name else (id, "availabilityZoneId")
        raise api.InvalidParameterValue(f"Value ({given}) for parameter {parameter} is invalid. "
                                        "Subnets can currently only be created in the following availability zones: "
                                        + ", ".join(zone.name if name else zone.id for zone in there) + ".")
    return found


@ec2.write(resources=touches(subnet="", vpc="VpcId"))
def create_subnet(call: Call, tx: Tx, request: Input) -> Output:
    """A subnet that lies in one of the VPC's ranges and overlaps no other."""
    refuse(request, "Ipv6CidrBlock", "OutpostArn", "Ipv6Native", "Ipv4IpamPoolId", "Ipv4NetmaskLength",
           "Ipv6IpamPoolId", "Ipv6NetmaskLength")
    vpc = find(tx, call, Vpc, request["VpcId"])
    zone = _zone(call, request)
    network = parse_cidr(require(request, "CidrBlock"), "cidrBlock")
    if not 16 <= network.prefixlen <= 28 or not any(network.subnet_of(IPv4Network(a.cidr)) for a in vpc.cidrs):
        raise api.InvalidSubnetRange(f"The CIDR '{request['CidrBlock']}' is invalid.")
    others = tx.find(Subnet, vpc=vpc.id)
    if any(network.overlaps(IPv4Network(other.cidr)) for other in others):
        raise api.InvalidSubnetConflict(f"The CIDR '{network}' conflicts with another subnet")
    if len(others) >= quotas.SUBNETS_PER_VPC:
        raise api.SubnetLimitExceeded("The maximum number of subnets has been reached.")
    id = f"subnet-{tx.token(17)}"
    subnet = Subnet(f"{call.scope}/{id}", id, call.account, call.region, vpc.id, zone.name, str(network),
                    tags=tags_for(request, "subnet"))
    tx.put(subnet)
    reshape_network(tx, vpc.key)
    return {"Subnet": subnet_view(tx, subnet)}


@ec2.write(resources=touches(subnet=""))
def create_default_subnet(call: Call, tx: Tx, request: Input) -> Output:
    """A zone's default subnet again, for those who deleted it: the first free /20 of the default VPC."""
    refuse(request, "Ipv6Native")
    if not request.get("AvailabilityZone") and not request.get("AvailabilityZoneId"):
        raise api.MissingParameter("The request must contain the parameter availabilityZone")
    vpc, zone = default_vpc(tx, call), _zone(call, request)
    if vpc is None:
        raise api.DefaultVpcDoesNotExist("No default VPC exists for this account in this region.")
    there = tx.find(Subnet, vpc=vpc.id)
    for subnet in there:
        if subnet.default_for_az and subnet.zone == zone.name:
            raise api.DefaultSubnetAlreadyExists(f"'{subnet.id}' is already the default subnet in {zone.name}.")
    for cidr in ip_network(vpc.cidr).subnets(new_prefix=20):
        if not any(cidr.overlaps(IPv4Network(subnet.cidr)) for subnet in there):
            subnet = make_default_subnet(tx, call, vpc, zone.name, str(cidr))
            reshape_network(tx, vpc.key)
            return {"Subnet": subnet_view(tx, subnet)}
    raise api.InvalidSubnetConflict(f"The default VPC '{vpc.id}' has no free range for another default subnet.")


@ec2.read(resources=any_resource)
def describe_subnets(call: Call, tx: Tx, request: Input) -> Output:
    """Subnets by id and filter."""
    count: Callable[[Subnet], int] = lambda s: available(tx, s)  # noqa: E731 -- one of a table of fields
    found = matching(described(tx, call, Subnet, request.get("SubnetIds")), request.get("Filters"), {
        **dict.fromkeys(("availability-zone", "availabilityZone"), lambda s: s.zone),
        **dict.fromkeys(("availability-zone-id", "availabilityZoneId"), lambda s: zone_id(s.zone)),
        "available-ip-address-count": count,
        **dict.fromkeys(("cidr-block", "cidr", "cidrBlock"), lambda s: s.cidr),
        **dict.fromkeys(("default-for-az", "defaultForAz"), lambda s: s.default_for_az),
        "ipv6-cidr-block-association.ipv6-cidr-block": lambda s: None,
        "ipv6-cidr-block-association.association-id": lambda s: None,
        "ipv6-cidr-block-association.state": lambda s: None,
        "ipv6-native": lambda s: False,
        "map-public-ip-on-launch": lambda s: s.map_public_ip,
        "outpost-arn": lambda s: None,
        "owner-id": lambda s: s.account,
        "private-dns-name-options-on-launch.hostname-type": lambda s: "ip-name",
        "state": lambda s: "available",
        "subnet-arn": arn,
        "subnet-id": lambda s: s.id,
        "vpc-id": lambda s: s.vpc_id,
    }, lambda s: s.tags)
    return {"Subnets": [subnet_view(tx, subnet) for subnet in found]}


@ec2.write(resources=touches(subnet="SubnetId"))
def modify_subnet_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Whether what starts in the subnet gets a public address; other attributes can only be what they are."""
    subnet = find(tx, call, Subnet, request["SubnetId"])
    for member in ("AssignIpv6AddressOnCreation", "MapCustomerOwnedIpOnLaunch", "EnableDns64",
                   "DisableLniAtDeviceIndex", "EnableResourceNameDnsARecordOnLaunch",
                   "EnableResourceNameDnsAAAARecordOnLaunch"):
        if (request.get(member) or {}).get("Value"):
            raise api.UnsupportedOperation(f"The parameter {member} is not supported.")
    refuse(request, "CustomerOwnedIpv4Pool", "EnableLniAtDeviceIndex")
    if request.get("PrivateDnsHostnameTypeOnLaunch") not in (None, "ip-name"):
        raise api.UnsupportedOperation("Only the host name type 'ip-name' is supported.")
    if "MapPublicIpOnLaunch" in request:
        tx.put(replace(subnet, map_public_ip=bool((request["MapPublicIpOnLaunch"] or {}).get("Value"))))


@ec2.write(resources=touches(subnet="SubnetId"))
def delete_subnet(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a subnet in which nothing is; its route table association goes with it."""
    subnet = find(tx, call, Subnet, request["SubnetId"])
    if any(not i.releasing for i in tx.find(NetworkInterface, subnet=subnet.id)):
        raise api.DependencyViolation(f"The subnet '{subnet.id}' has dependencies and cannot be deleted.")
    for table in tx.find(RouteTable, subnet=subnet.id):
        tx.put(replace(table, associations=tuple(a for a in table.associations if not _of(a, subnet))))
    tx.delete(Subnet, subnet.key)
    vpc_key = f"{call.scope}/{subnet.vpc_id}"
    reshape_network(tx, vpc_key)
    refresh_fabric(tx, vpc_key)


def _of(association: RouteTableAssociation, subnet: Subnet) -> bool:
    return association.subnet_id == subnet.id
