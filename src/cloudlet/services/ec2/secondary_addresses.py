"""Further private addresses of interfaces: given, moved and taken away.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-secondary-ip-addresses.html
"""

from dataclasses import replace

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ec2 import api, pool, quotas
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.fabric import refresh_fabric
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.instances.types import catalogue
from cloudlet.services.ec2.interfaces import detach_address, own_interface, vpc_key
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.private_addresses import free, holder, read_count, require_inside, require_room
from cloudlet.services.ec2.records import ElasticIp, NetworkInterface, PrivateAddress, Subnet
from cloudlet.store.db import Tx


@ec2.write(resources=touches(network_interface="NetworkInterfaceId"))
def assign_private_ip_addresses(call: Call, tx: Tx, request: Input) -> Output:
    """Gives an interface further addresses: these, or so many. Another interface's secondary address moves here, with
    the Elastic IP that stands for it, if the request allows that."""
    refuse(request, "Ipv4Prefixes", "Ipv4PrefixCount")
    interface = own_interface(tx, call, request["NetworkInterfaceId"])
    named, count = tuple(dict.fromkeys(request.get("PrivateIpAddresses") or ())), read_count(request)
    if named and count:
        raise api.InvalidParameterCombination("The parameter secondaryPrivateIpAddressCount may not be used with "
                                              "privateIpAddress")
    if not named and not count:
        raise api.MissingParameter("The request must contain the parameter privateIpAddress or "
                                   "secondaryPrivateIpAddressCount")
    subnet = find(tx, call, Subnet, interface.subnet_id)
    given = (_taken_over(tx, subnet, interface, named, allowed=bool(request.get("AllowReassignment"))) if named else
             tuple(PrivateAddress(ip) for ip in free(tx, subnet, count)))
    had = {address.ip for address in interface.addresses}
    joined = replace(interface, addresses=(*interface.addresses, *(each for each in given if each.ip not in had)))
    require_room(len(joined.addresses), _limit(tx, interface), interface.id)
    tx.put(joined)
    refresh_fabric(tx, vpc_key(interface))
    return {"NetworkInterfaceId": interface.id,
            "AssignedPrivateIpAddresses": [{"PrivateIpAddress": each.ip} for each in given]}


def _limit(tx: Tx, interface: NetworkInterface) -> int:
    """How many addresses the interface may have, where it is."""
    attachment = interface.attachment
    instance = next(iter(tx.find(Instance, id=attachment.instance_id)), None) if attachment else None
    return catalogue()[instance.type].addresses if instance else quotas.ADDRESSES_PER_INTERFACE


def _taken_over(tx: Tx, subnet: Subnet, interface: NetworkInterface, addresses: tuple[str, ...], *,
                allowed: bool) -> tuple[PrivateAddress, ...]:
    """Addresses by name, no longer those of whoever has them now. A primary one stays where it is."""
    for address in addresses:
        require_inside(subnet, address)
    holders = {address: found for address in addresses if (found := holder(tx, subnet, address))}
    if holders and not allowed:
        raise api.InvalidParameterValue(f"[{', '.join(holders)}] assigned, but move is not allowed.")
    for address, other in holders.items():
        if other.releasing:
            raise api.InvalidIpAddressInUse(f"The address '{address}' is in use.")
        if other.private_ip == address:
            raise api.InvalidParameterValue(f"{address} is the primary private IP address of network interface "
                                            f"{other.id}, which cannot be reassigned.")
    return tuple(_moved(tx, interface, address) if address in holders else PrivateAddress(address)
                 for address in addresses)


def _moved(tx: Tx, interface: NetworkInterface, address: str) -> PrivateAddress:
    """An address that another interface, or this one, has until now."""
    other = next(iter(tx.find(NetworkInterface, address=f"{interface.subnet_id}/{address}")))
    found = next(each for each in other.addresses if each.ip == address)
    if other.id != interface.id:
        tx.put(replace(other, addresses=tuple(each for each in other.addresses if each.ip != address)))
        if found.public_ip and other.real:
            pool.unmap(tx, found.public_ip, vpc_key(other))
        for elastic in tx.find(ElasticIp, interface=other.id):
            if elastic.private_ip == address:
                tx.put(replace(elastic, interface_id=interface.id))
    return found


@ec2.write(resources=touches(network_interface="NetworkInterfaceId"))
def unassign_private_ip_addresses(call: Call, tx: Tx, request: Input) -> Output:
    """Takes secondary addresses away, and off them the Elastic IPs that stand for them."""
    refuse(request, "Ipv4Prefixes")
    interface = own_interface(tx, call, request["NetworkInterfaceId"])
    gone = tuple(dict.fromkeys(request.get("PrivateIpAddresses") or ()))
    if not gone:
        raise api.MissingParameter("The request must contain the parameter privateIpAddress")
    strange = [address for address in gone if address not in {each.ip for each in interface.addresses}]
    if strange:
        raise api.InvalidParameterValue(f"Some of [{', '.join(strange)}] are not assigned to interface {interface.id}")
    if interface.private_ip in gone:
        raise api.InvalidParameterValue(f"{interface.private_ip} is the primary private IP address of network interface"
                                        f" {interface.id}, which cannot be unassigned.")
    for elastic in tx.find(ElasticIp, interface=interface.id):
        if elastic.private_ip in gone:
            interface = detach_address(tx, interface, elastic)
    tx.put(replace(interface, addresses=tuple(each for each in interface.addresses if each.ip not in gone)))
    refresh_fabric(tx, vpc_key(interface))
