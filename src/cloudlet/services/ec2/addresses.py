"""Elastic IPs: public addresses that stay with an account, and move between its interfaces."""

from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, pool, quotas
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.fabric import refresh_fabric
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.interfaces import detach_address, drop_public, find_interface, mapped, own_interface, vpc_key
from cloudlet.services.ec2.nouns import described, find
from cloudlet.services.ec2.records import ElasticIp, InternetGateway, NetworkInterface
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx


def _parties(call: Call, request: Input) -> list[str]:
    """For IAM: the address, and what gets it."""
    ids = {"network-interface": request.get("NetworkInterfaceId"), "instance": request.get("InstanceId")}
    return [call.arn("ec2", f"elastic-ip/{request.get('AllocationId') or '*'}"),
            *(call.arn("ec2", f"{kind}/{id}") for kind, id in ids.items() if id)]


def _view(tx: Tx, elastic: ElasticIp) -> dict[str, Any]:
    view: dict[str, Any] = {
        "AllocationId": elastic.id, "PublicIp": elastic.public_ip, "Domain": "vpc", "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": elastic.region, "Tags": tag_set(elastic.tags)}
    if elastic.association_id:
        view |= {"AssociationId": elastic.association_id, "NetworkInterfaceId": elastic.interface_id,
                 "NetworkInterfaceOwnerId": elastic.account, "PrivateIpAddress": elastic.private_ip}
        interface = find_interface(tx, elastic.interface_id or "")
        if interface and interface.attachment:
            view["InstanceId"] = interface.attachment.instance_id
    return view


def _named(tx: Tx, call: Call, request: Input) -> ElasticIp:
    """The address that a request names by allocation id or by itself."""
    id, address = request.get("AllocationId"), request.get("PublicIp")
    if id and address:
        raise api.InvalidParameterCombination(
            "You may specify public IP or allocation id, but not both in the same call")
    if id:
        return find(tx, call, ElasticIp, id)
    if not address:
        raise api.MissingParameter("Either public IP or allocation id must be specified")
    return _by_address(tx, call, address)


def _by_address(tx: Tx, call: Call, address: str) -> ElasticIp:
    for elastic in tx.find(ElasticIp, f"{call.scope}/", address=address):
        return elastic
    raise api.InvalidAddressNotFound(f"Address '{address}' not found.")


@ec2.write(resources=touches(elastic_ip=""))
def allocate_address(call: Call, tx: Tx, request: Input) -> Output:
    """A public address for the account."""
    refuse(request, "Address", "CustomerOwnedIpv4Pool", "IpamPoolId")
    if request.get("Domain") not in (None, "", "vpc"):
        raise api.UnsupportedOperation("Only addresses for use in a VPC are supported.")
    if request.get("PublicIpv4Pool") not in (None, "", "amazon"):
        raise api.InvalidParameterValue(f"Value ({request['PublicIpv4Pool']}) for parameter publicIpv4Pool is invalid.")
    if request.get("NetworkBorderGroup") not in (None, "", call.region):
        raise api.InvalidParameterValue(
            f"Value ({request['NetworkBorderGroup']}) for parameter networkBorderGroup is invalid.")
    if len(tx.find(ElasticIp, f"{call.scope}/", limit=quotas.ELASTIC_IPS)) >= quotas.ELASTIC_IPS:
        raise api.AddressLimitExceeded("The maximum number of addresses has been reached.")
    id = f"eipalloc-{tx.token(17)}"
    elastic = ElasticIp(f"{call.scope}/{id}", id, call.account, call.region, pool.take(tx),
                        tags=tags_for(request, "elastic-ip"))
    tx.put(elastic)
    return {name: _view(tx, elastic)[name]
            for name in ("AllocationId", "PublicIp", "Domain", "PublicIpv4Pool", "NetworkBorderGroup")}


@ec2.write(resources=_parties)
def associate_address(call: Call, tx: Tx, request: Input) -> Output:
    """Has a public address stand for one of an interface's private ones, in place of the one that did."""
    elastic = _named(tx, call, request)
    interface = _meant(tx, call, request)
    private_ip = request.get("PrivateIpAddress") or interface.private_ip
    if private_ip not in {address.ip for address in interface.addresses}:
        raise api.InvalidParameterValue(f"The private IP address {private_ip} is not assigned to network interface "
                                        f"{interface.id}.")
    if not tx.count(InternetGateway, vpc=interface.vpc_id):
        raise api.GatewayNotAttached(f"Network {interface.vpc_id} is not attached to any internet gateway")
    if (elastic.interface_id, elastic.private_ip) == (interface.id, private_ip):
        return {"AssociationId": elastic.association_id}
    if elastic.association_id:
        if not request.get("AllowReassociation"):
            raise api.AlreadyAssociated(f"resource {elastic.id} is already associated with associate-id "
                                        f"{elastic.association_id}")
        _disassociate(tx, elastic)
        interface = find(tx, call, NetworkInterface, interface.id)
    for other in tx.find(ElasticIp, interface=interface.id):
        if other.private_ip == private_ip:
            interface = detach_address(tx, interface, other)
    if private_ip == interface.private_ip:
        interface = drop_public(tx, interface)
    association_id = f"eipassoc-{tx.token(17)}"
    tx.put(replace(elastic, association_id=association_id, interface_id=interface.id, private_ip=private_ip))
    tx.put(mapped(interface, private_ip, elastic.public_ip))
    refresh_fabric(tx, vpc_key(interface))
    return {"AssociationId": association_id}


def _meant(tx: Tx, call: Call, request: Input) -> NetworkInterface:
    """The interface that a request names: itself, or as the only one of an instance."""
    instance_id, id = request.get("InstanceId"), request.get("NetworkInterfaceId")
    if instance_id and id:
        raise api.InvalidParameterCombination("You may specify instance ID or network interface ID, but not both")
    if id:
        return own_interface(tx, call, id)
    if not instance_id:
        raise api.MissingParameter("Either instance ID or network interface id must be specified")
    instance = find(tx, call, Instance, instance_id)
    found = [each for each in tx.find(NetworkInterface, instance=instance.id) if not each.releasing]
    if instance.state not in ("running", "stopped", "pending", "stopping") or not found:
        raise api.InvalidInstanceID(f"The instance '{instance_id}' is not in a valid state for this operation.")
    if len(found) > 1:
        raise api.InvalidInstanceID(f"There are multiple interfaces attached to instance '{instance_id}'. Please "
                                    "specify an interface ID for the operation instead.")
    return found[0]


def _disassociate(tx: Tx, elastic: ElasticIp) -> None:
    interface = find_interface(tx, elastic.interface_id or "")
    if interface:
        tx.put(detach_address(tx, interface, elastic))
        refresh_fabric(tx, vpc_key(interface))


@ec2.write(resources=touches(elastic_ip=""))
def disassociate_address(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a public address off its interface."""
    id = request.get("AssociationId")
    if id:
        elastic = next(iter(tx.find(ElasticIp, f"{call.scope}/", association=id)), None)
        if elastic is None:
            raise api.InvalidAssociationNotFound(f"The association ID '{id}' does not exist")
    elif request.get("PublicIp"):
        elastic = _by_address(tx, call, request["PublicIp"])
        if not elastic.association_id:
            raise api.InvalidParameterValue(f"Address '{elastic.public_ip}' is not associated.")
    else:
        raise api.MissingParameter("Either public IP or association id must be specified")
    _disassociate(tx, elastic)


@ec2.write(resources=touches(elastic_ip="AllocationId"))
def release_address(call: Call, tx: Tx, request: Input) -> Output:
    """Gives a public address back."""
    elastic = _named(tx, call, request)
    if request.get("NetworkBorderGroup") not in (None, "", elastic.region):
        raise api.InvalidParameterValue(
            f"Value ({request['NetworkBorderGroup']}) for parameter networkBorderGroup is invalid.")
    if elastic.association_id:
        raise api.InvalidIpAddressInUse(f"Address {elastic.public_ip} is in use.")
    tx.delete(ElasticIp, elastic.key)
    pool.give_back(tx, elastic.public_ip)


@ec2.read(resources=any_resource)
def describe_addresses(call: Call, tx: Tx, request: Input) -> Output:
    """Elastic IPs by allocation id, by address and by filter."""
    by_address = [_by_address(tx, call, address).id for address in request.get("PublicIps") or ()]
    elastics = described(tx, call, ElasticIp, [*(request.get("AllocationIds") or ()), *by_address])
    found = matching(elastics, request.get("Filters"), {
        "allocation-id": lambda e: e.id,
        "association-id": lambda e: e.association_id,
        "domain": lambda e: "vpc",
        "instance-id": lambda e: _view(tx, e).get("InstanceId"),
        "network-border-group": lambda e: e.region,
        "network-interface-id": lambda e: e.interface_id,
        "network-interface-owner-id": lambda e: e.account if e.interface_id else None,
        "private-ip-address": lambda e: e.private_ip,
        "public-ip": lambda e: e.public_ip,
        "subnet-id": lambda e: _subnet(tx, call, e),
    }, lambda e: e.tags)
    return {"Addresses": [_view(tx, elastic) for elastic in found]}


def _subnet(tx: Tx, call: Call, elastic: ElasticIp) -> str | None:
    interface = tx.get(NetworkInterface, f"{call.scope}/{elastic.interface_id}") if elastic.interface_id else None
    return interface.subnet_id if interface else None


@ec2.read(resources=any_resource)
def describe_addresses_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Reverse DNS names of Elastic IPs: none is set, as none can be."""
    found = described(tx, call, ElasticIp, request.get("AllocationIds"))
    return {"Addresses": [{"PublicIp": elastic.public_ip, "AllocationId": elastic.id} for elastic in found]}
