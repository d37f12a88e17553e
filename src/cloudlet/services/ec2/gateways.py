"""Internet gateways: the way between one VPC and public addresses."""

from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, quotas
from cloudlet.services.ec2.api import ec2, touches
from cloudlet.services.ec2.fabric import refresh_fabric
from cloudlet.services.ec2.nouns import described, find
from cloudlet.services.ec2.records import InternetGateway, NetworkInterface, Vpc
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx


def _view(gateway: InternetGateway) -> dict[str, Any]:
    attached = [{"VpcId": gateway.vpc_id, "State": "available"}] if gateway.vpc_id else []
    return {"InternetGatewayId": gateway.id, "OwnerId": gateway.account, "Attachments": attached,
            "Tags": tag_set(gateway.tags)}


@ec2.write(resources=touches(internet_gateway=""))
def create_internet_gateway(call: Call, tx: Tx, request: Input) -> Output:
    """A gateway, not yet attached to a VPC."""
    if len(tx.find(InternetGateway, f"{call.scope}/", limit=quotas.INTERNET_GATEWAYS)) >= quotas.INTERNET_GATEWAYS:
        raise api.InternetGatewayLimitExceeded("The maximum number of internet gateways has been reached.")
    id = f"igw-{tx.token(17)}"
    gateway = InternetGateway(f"{call.scope}/{id}", id, call.account, call.region,
                              tags=tags_for(request, "internet-gateway"))
    tx.put(gateway)
    return {"InternetGateway": _view(gateway)}


@ec2.write(resources=touches(internet_gateway="InternetGatewayId", vpc="VpcId"))
def attach_internet_gateway(call: Call, tx: Tx, request: Input) -> Output:
    """Joins a gateway to a VPC; one each."""
    gateway = find(tx, call, InternetGateway, request["InternetGatewayId"])
    vpc = find(tx, call, Vpc, request["VpcId"])
    if gateway.vpc_id:
        raise api.AlreadyAssociated(f"resource {gateway.id} is already attached to network {gateway.vpc_id}")
    if tx.count(InternetGateway, vpc=vpc.id):
        raise api.InvalidParameterValue(f"Network {vpc.id} already has an internet gateway attached")
    tx.put(replace(gateway, vpc_id=vpc.id))
    refresh_fabric(tx, vpc.key)


@ec2.write(resources=touches(internet_gateway="InternetGatewayId", vpc="VpcId"))
def detach_internet_gateway(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a gateway off its VPC, unless public addresses are in use there. Routes to it become black holes."""
    gateway = find(tx, call, InternetGateway, request["InternetGatewayId"])
    vpc = find(tx, call, Vpc, request["VpcId"])
    if gateway.vpc_id != vpc.id:
        raise api.GatewayNotAttached(f"resource {gateway.id} is not attached to network {vpc.id}")
    if any(i.public_ips and not i.releasing for i in tx.find(NetworkInterface, vpc=vpc.id)):
        raise api.DependencyViolation(f"Network {vpc.id} has some mapped public address(es). "
                                      "Please unmap those public address(es) before detaching the gateway.")
    tx.put(replace(gateway, vpc_id=None))
    refresh_fabric(tx, vpc.key)


@ec2.read(resources=any_resource)
def describe_internet_gateways(call: Call, tx: Tx, request: Input) -> Output:
    """Gateways by id and filter."""
    found = matching(described(tx, call, InternetGateway, request.get("InternetGatewayIds")), request.get("Filters"), {
        "attachment.state": lambda g: "available" if g.vpc_id else None,
        "attachment.vpc-id": lambda g: g.vpc_id,
        "internet-gateway-id": lambda g: g.id,
        "owner-id": lambda g: g.account,
    }, lambda g: g.tags)
    return {"InternetGateways": [_view(gateway) for gateway in found]}


@ec2.write(resources=touches(internet_gateway="InternetGatewayId"))
def delete_internet_gateway(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a gateway that is attached to nothing."""
    gateway = find(tx, call, InternetGateway, request["InternetGatewayId"])
    if gateway.vpc_id:
        raise api.DependencyViolation(f"The internetGateway '{gateway.id}' has dependencies and cannot be deleted.")
    tx.delete(InternetGateway, gateway.key)
