"""Elastic network interfaces: those that customers make, and those that services have made for what they run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.names import Installation
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, pool, quotas
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.fabric import join_network, refresh_fabric
from cloudlet.services.ec2.groups import default_group
from cloudlet.services.ec2.nouns import described, find
from cloudlet.services.ec2.private_addresses import ANY, Wish, choose, read_wish, require_room
from cloudlet.services.ec2.ranges import resolver_of
from cloudlet.services.ec2.records import (
    ElasticIp,
    InterfaceAttachment,
    NetworkInterface,
    PrivateAddress,
    SecurityGroup,
    Subnet,
    Vpc,
)
from cloudlet.services.ec2.regions import private_dns_name, public_dns_name, zone_id
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx

# ── What other services use ──────────────────────────────────────────────────────────────────────────────────────────


def create_interface(tx: Tx, call: Call, *, subnet_id: str, group_ids: Sequence[str] = (), description: str = "",
                     public: bool = False, notify: tuple[str, str] | None = None,
                     tags: Mapping[str, str] | None = None) -> NetworkInterface:
    """An interface that is made in the world for something that a service runs.

    `group_ids`: none means the VPC's default security group. `public`: with a public address. `notify`: the (kind,
    key) to wake when `ready` changes. Raises EC2's errors (no such subnet or group, no free address).
    """
    subnet = find(tx, call, Subnet, subnet_id)
    vpc = find(tx, call, Vpc, subnet.vpc_id)
    interface = new_interface(tx, call, vpc, subnet, group_ids, ANY, description, dict(tags or {}))
    requester = f"amazon-{notify[0].partition('.')[0]}" if notify else "amazon-aws"
    interface = replace(interface, requester=requester, notify=notify)
    if public:
        interface = mapped(interface, interface.private_ip, pool.take(tx))
    tx.put(interface)
    join_network(tx, vpc)
    return interface


def find_interface(tx: Tx, id: str) -> NetworkInterface | None:
    """The interface of that id, whoever has it."""
    return next((interface for interface in tx.find(NetworkInterface, id=id) if not interface.releasing), None)


def find_interface_by_address(tx: Tx, network: str, address: str) -> NetworkInterface | None:
    """The interface with a private address in the VPC of that engine name."""
    return next(iter(tx.find(NetworkInterface, at=f"{network}/{address}")), None)


def release_interface(tx: Tx, id: str) -> None:
    """Nobody needs the interface any more. Its addresses are free once it is gone from the world. One that is gone
    already is fine."""
    interface = find_interface(tx, id)
    if interface is None:
        return
    for elastic in tx.find(ElasticIp, interface=id):
        interface = detach_address(tx, interface, elastic)
    interface = drop_public(tx, interface)
    if interface.real or interface.path:
        tx.put(replace(interface, releasing=True, ready=False))
        refresh_fabric(tx, vpc_key(interface))
    else:
        tx.delete(NetworkInterface, interface.key)


def vpc_key(interface: NetworkInterface) -> str:
    """The key of the interface's VPC."""
    return f"{interface.account}/{interface.region}/{interface.vpc_id}"


# ── Public addresses of an interface ─────────────────────────────────────────────────────────────────────────────────


def mapped(interface: NetworkInterface, private_ip: str, public_ip: str | None) -> NetworkInterface:
    """The interface with a public address that stands for one of its private ones, or none (not yet kept)."""
    return replace(interface, addresses=tuple(
        replace(address, public_ip=public_ip) if address.ip == private_ip else address
        for address in interface.addresses))


def drop_public(tx: Tx, interface: NetworkInterface) -> NetworkInterface:
    """Gives the public address that came with the interface, for its primary one, back; the interface without it (not
    yet kept)."""
    if interface.public_ip is None:
        return interface
    if interface.real:
        pool.unmap(tx, interface.public_ip, vpc_key(interface))
    pool.give_back(tx, interface.public_ip)
    return mapped(interface, interface.private_ip, None)


def detach_address(tx: Tx, interface: NetworkInterface, elastic: ElasticIp) -> NetworkInterface:
    """Takes an Elastic IP off; the interface without it (not yet kept)."""
    tx.put(replace(elastic, association_id=None, interface_id=None, private_ip=None))
    if interface.real:  # one that is not in the world is in no fabric either
        pool.unmap(tx, elastic.public_ip, vpc_key(interface))
    return mapped(interface, elastic.private_ip or "", None)


# ── Making one ───────────────────────────────────────────────────────────────────────────────────────────────────────


def new_interface(tx: Tx, call: Call, vpc: Vpc, subnet: Subnet, group_ids: Sequence[str], wish: Wish,
                  description: str, tags: dict[str, str]) -> NetworkInterface:
    """The record of a new interface, not yet kept."""
    groups = groups_for(tx, call, subnet, group_ids)
    addresses = choose(tx, subnet, wish)
    installation = Installation(pool.ground(tx).installation)
    id = f"eni-{tx.token(17)}"
    key, digits = f"{call.scope}/{id}", id[4:14]
    return NetworkInterface(
        key, id, call.account, call.region, vpc.id, subnet.id, subnet.cidr, subnet.zone, addresses,
        resolver_of(vpc.cidr),
        ":".join(("02", *(digits[i:i + 2] for i in range(0, 10, 2)))), groups, installation.name("vpc", vpc.key),
        installation.name("eni", key), tx.now, description, tags=tags)


def groups_for(tx: Tx, call: Call, subnet: Subnet, ids: Sequence[str]) -> tuple[str, ...]:
    """The ids of the groups that an interface in a subnet is to bear."""
    if not ids:
        return (default_group(tx, subnet.vpc_id).id,)
    groups = tuple(dict.fromkeys(ids))
    if len(groups) > quotas.GROUPS_PER_INTERFACE:
        raise api.GroupsPerInterfaceLimitExceeded(
            "The maximum number of security groups per interface has been reached.")
    for id in groups:
        if find(tx, call, SecurityGroup, id).vpc_id != subnet.vpc_id:
            raise api.InvalidParameter(f"Security group {id} and subnet {subnet.id} belong to different networks.")
    return groups


# ── Views ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _status(interface: NetworkInterface) -> str:
    """`in-use` once the world has it, or an instance; one that nothing uses is `available`."""
    if not interface.real:
        return "available"
    return "in-use" if interface.ready or interface.attachment else "attaching"


def association_view(tx: Tx, interface: NetworkInterface, address: PrivateAddress) -> dict[str, Any] | None:
    """The public address that stands for one of an interface's addresses, as answers show it."""
    if address.public_ip is None:
        return None
    vpc = tx.get(Vpc, vpc_key(interface))
    hostnames = vpc is not None and vpc.dns_hostnames and vpc.dns_support
    view = {"IpOwnerId": "amazon", "PublicIp": address.public_ip,
            "PublicDnsName": public_dns_name(interface.region, address.public_ip) if hostnames else ""}
    for elastic in tx.find(ElasticIp, interface=interface.id):
        if elastic.private_ip == address.ip:
            view |= {"IpOwnerId": elastic.account, "AllocationId": elastic.id,
                     "AssociationId": elastic.association_id or ""}
    return view


def _address_view(tx: Tx, interface: NetworkInterface, address: PrivateAddress) -> dict[str, Any]:
    view: dict[str, Any] = {"PrivateIpAddress": address.ip, "Primary": address.ip == interface.private_ip,
                            "PrivateDnsName": private_dns_name(interface.region, address.ip)}
    association = association_view(tx, interface, address)
    return view | {"Association": association} if association else view


def attachment_status(attachment: InterfaceAttachment) -> str:
    """Where an interface stands on its way into an instance, or out of it."""
    return "detaching" if not attachment.wanted else "attached" if attachment.plugged else "attaching"


def _attachment_view(interface: NetworkInterface) -> dict[str, Any] | None:
    attachment = interface.attachment
    if attachment:
        return {"AttachmentId": attachment.id, "DeleteOnTermination": attachment.delete_on_termination,
                "DeviceIndex": attachment.device_index, "NetworkCardIndex": 0, "InstanceId": attachment.instance_id,
                "InstanceOwnerId": interface.account, "AttachTime": attachment.at,
                "Status": attachment_status(attachment)}
    if interface.requester is None:
        return None
    return {"AttachmentId": f"ela-attach-{interface.id[4:]}", "DeleteOnTermination": False, "DeviceIndex": 1,
            "NetworkCardIndex": 0, "InstanceOwnerId": interface.requester, "AttachTime": interface.created,
            "Status": "attached" if interface.ready else "attaching"}


def _view(tx: Tx, interface: NetworkInterface, names: dict[str, str]) -> dict[str, Any]:
    """An interface as answers show it; `names` of groups by id are looked up once."""
    for id in interface.groups:
        if id not in names:
            group = tx.get(SecurityGroup, f"{interface.account}/{interface.region}/{id}")
            names[id] = group.name if group else ""
    addresses = [_address_view(tx, interface, address) for address in interface.addresses]
    view: dict[str, Any] = {
        "NetworkInterfaceId": interface.id, "OwnerId": interface.account, "VpcId": interface.vpc_id,
        "SubnetId": interface.subnet_id, "AvailabilityZone": interface.availability_zone,
        "AvailabilityZoneId": zone_id(interface.availability_zone), "Description": interface.description,
        "Groups": [{"GroupId": id, "GroupName": names[id]} for id in interface.groups],
        "InterfaceType": "interface", "Ipv6Addresses": [], "MacAddress": interface.mac,
        "PrivateDnsName": interface.private_dns_name, "PrivateIpAddress": interface.private_ip,
        "PrivateIpAddresses": addresses, "RequesterManaged": interface.requester is not None,
        "SourceDestCheck": interface.source_check, "Status": _status(interface), "TagSet": tag_set(interface.tags),
    }
    if interface.requester:
        view["RequesterId"] = interface.requester
    if interface.real:
        view["Attachment"] = _attachment_view(interface)
    association = addresses[0].get("Association")
    if association:
        view["Association"] = association
        if association["PublicDnsName"]:
            view["PublicDnsName"] = association["PublicDnsName"]
    return view


# ── Operations ───────────────────────────────────────────────────────────────────────────────────────────────────────


@ec2.write(resources=touches(network_interface="", subnet="SubnetId", security_group="Groups"))
def create_network_interface(call: Call, tx: Tx, request: Input) -> Output:
    """An interface of the customer's own."""
    refuse(request, "Ipv4Prefixes", "Ipv4PrefixCount", "Ipv6Prefixes", "Ipv6PrefixCount", "InterfaceType", "Operator",
           "EnablePrimaryIpv6", "ConnectionTrackingSpecification", "Ipv6Addresses", "Ipv6AddressCount")
    wish = read_wish(request)
    require_room(wish.size, quotas.ADDRESSES_PER_INTERFACE)
    subnet = find(tx, call, Subnet, request["SubnetId"])
    interface = new_interface(tx, call, find(tx, call, Vpc, subnet.vpc_id), subnet, request.get("Groups") or (),
                              wish, request.get("Description") or "", tags_for(request, "network-interface"))
    tx.put(interface)
    return {"NetworkInterface": {**_view(tx, interface, {}), "Status": "pending"},
            "ClientToken": request.get("ClientToken")}


@ec2.read(resources=any_resource)
def describe_network_interfaces(call: Call, tx: Tx, request: Input) -> Output:
    """Interfaces by id and filter."""
    names: dict[str, str] = {}
    views = [_view(tx, i, names) for i in described(tx, call, NetworkInterface, request.get("NetworkInterfaceIds"))]
    found = matching(views, request.get("Filters"), _FILTERS, lambda v: {t["Key"]: t["Value"] for t in v["TagSet"]})
    return {"NetworkInterfaces": found}


def _of(*path: str) -> Any:
    """A filter's field: what a view has at a path of members."""
    def value(view: Mapping[str, Any]) -> Any:
        for name in path[:-1]:
            view = view.get(name) or {}
        return view.get(path[-1])
    return value


def _of_any(*path: str) -> Any:
    """A filter's field: what the view has of each of its addresses."""
    each = _of(*path)
    return lambda view: [value for address in view["PrivateIpAddresses"] if (value := each(address)) is not None]


_FILTERS: dict[str, Any] = {
    "addresses.association.owner-id": _of_any("Association", "IpOwnerId"),
    "addresses.association.public-ip": _of_any("Association", "PublicIp"),
    "addresses.primary": lambda v: ["true" if address["Primary"] else "false" for address in v["PrivateIpAddresses"]],
    "addresses.private-ip-address": _of_any("PrivateIpAddress"),
    "association.allocation-id": _of_any("Association", "AllocationId"),
    "association.association-id": _of_any("Association", "AssociationId"),
    "association.ip-owner-id": _of_any("Association", "IpOwnerId"),
    "association.public-dns-name": _of_any("Association", "PublicDnsName"),
    "association.public-ip": _of_any("Association", "PublicIp"),
    "attachment.attachment-id": _of("Attachment", "AttachmentId"),
    "attachment.delete-on-termination": _of("Attachment", "DeleteOnTermination"),
    "attachment.device-index": _of("Attachment", "DeviceIndex"),
    "attachment.instance-id": _of("Attachment", "InstanceId"),
    "attachment.instance-owner-id": _of("Attachment", "InstanceOwnerId"),
    "attachment.nat-gateway-id": lambda v: None,
    "attachment.status": _of("Attachment", "Status"),
    "availability-zone": _of("AvailabilityZone"),
    "availability-zone-id": _of("AvailabilityZoneId"),
    "description": _of("Description"),
    "group-id": lambda v: [group["GroupId"] for group in v["Groups"]],
    "group-name": lambda v: [group["GroupName"] for group in v["Groups"]],
    "interface-type": _of("InterfaceType"),
    "ipv6-addresses.ipv6-address": lambda v: None,
    "mac-address": _of("MacAddress"),
    "network-interface-id": _of("NetworkInterfaceId"),
    "owner-id": _of("OwnerId"),
    "private-dns-name": _of_any("PrivateDnsName"),
    "private-ip-address": _of_any("PrivateIpAddress"),
    "requester-id": _of("RequesterId"),
    "requester-managed": _of("RequesterManaged"),
    "source-dest-check": _of("SourceDestCheck"),
    "status": _of("Status"),
    "subnet-id": _of("SubnetId"),
    "vpc-id": _of("VpcId"),
}


def own_interface(tx: Tx, call: Call, id: str) -> NetworkInterface:
    """An interface that the customer may change: services' interfaces are theirs alone.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html
    """
    interface = find(tx, call, NetworkInterface, id)
    if interface.requester:
        raise api.AuthFailure("You do not have permission to access the specified resource.")
    return interface


@ec2.write(resources=touches(network_interface="NetworkInterfaceId", security_group="Groups"))
def modify_network_interface_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Sets one attribute: the groups, the description, whether source and destination are checked, or whether it goes
    with its instance."""
    refuse(request, "EnaSrdSpecification", "EnablePrimaryIpv6", "ConnectionTrackingSpecification",
           "AssociatePublicIpAddress", "AssociatedSubnetIds")
    interface = own_interface(tx, call, request["NetworkInterfaceId"])
    if sum(name in request for name in ("Attachment", "Groups", "Description", "SourceDestCheck")) != 1:
        raise api.InvalidParameterCombination("Exactly one attribute must be specified.")
    if "Groups" in request:
        subnet = find(tx, call, Subnet, interface.subnet_id)
        interface = replace(interface, groups=groups_for(tx, call, subnet, request["Groups"]))
    elif "Attachment" in request:
        interface = _kept_or_not(interface, request["Attachment"] or {})
    elif "Description" in request:
        interface = replace(interface, description=(request["Description"] or {}).get("Value") or "")
    else:
        interface = replace(interface, source_check=bool((request["SourceDestCheck"] or {}).get("Value")))
    tx.put(interface)
    refresh_fabric(tx, vpc_key(interface))


def _kept_or_not(interface: NetworkInterface, changes: Mapping[str, Any]) -> NetworkInterface:
    """Whether the interface goes when its instance does, as `Attachment` says."""
    refuse(changes, "EnaQueueCount", "DefaultEnaQueueCount")
    attachment = interface.attachment
    if attachment is None or changes.get("AttachmentId") != attachment.id:
        raise api.InvalidAttachmentIdNotFound(f"The attachment ID '{changes.get('AttachmentId')}' does not exist")
    if changes.get("DeleteOnTermination") is None:
        raise api.MissingParameter("The request must contain the parameter deleteOnTermination")
    return replace(interface, attachment=replace(attachment, delete_on_termination=changes["DeleteOnTermination"]))


@ec2.write(resources=touches(network_interface="NetworkInterfaceId"))
def reset_network_interface_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Checks source and destination again."""
    interface = own_interface(tx, call, request["NetworkInterfaceId"])
    tx.put(replace(interface, source_check=True))
    refresh_fabric(tx, vpc_key(interface))


@ec2.read(resources=touches(network_interface="NetworkInterfaceId"))
def describe_network_interface_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """One attribute of one interface."""
    interface = find(tx, call, NetworkInterface, request["NetworkInterfaceId"])
    view = _view(tx, interface, {})
    members: dict[str, dict[str, Any]] = {
        "description": {"Description": {"Value": interface.description}},
        "groupSet": {"Groups": view["Groups"]},
        "sourceDestCheck": {"SourceDestCheck": {"Value": interface.source_check}},
        "attachment": {"Attachment": view["Attachment"]} if "Attachment" in view else {},
        "associatePublicIpAddress": {"AssociatePublicIpAddress": interface.public_ip is not None},
    }
    attribute = request.get("Attribute")
    if attribute not in members:
        raise api.InvalidParameterValue(f"Value ({attribute}) for parameter attribute is invalid.")
    return {"NetworkInterfaceId": interface.id, **members[attribute]}


@ec2.write(resources=touches(network_interface="NetworkInterfaceId"))
def delete_network_interface(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes an interface that nothing uses."""
    interface = find(tx, call, NetworkInterface, request["NetworkInterfaceId"])
    if interface.real:
        raise api.InvalidParameterValue(f"Network interface '{interface.id}' is currently in use.")
    release_interface(tx, interface.id)
