"""Route tables, their routes, and the subnets that use them."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, quotas
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.fabric import refresh_fabric
from cloudlet.services.ec2.nouns import described, find
from cloudlet.services.ec2.ranges import parse_cidr
from cloudlet.services.ec2.records import InternetGateway, Route, RouteTable, RouteTableAssociation, Subnet, Vpc
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx

# Targets of routes that cannot exist here yet: what AWS calls each in "The … ID '…' does not exist".
_ABSENT_TARGETS = {
    "NatGatewayId": ("InvalidNatGatewayID.NotFound", "natGateway"),
    "VpcPeeringConnectionId": ("InvalidVpcPeeringConnectionID.NotFound", "vpcPeeringConnection"),
    "TransitGatewayId": ("InvalidTransitGatewayID.NotFound", "transitGateway"),
    "EgressOnlyInternetGatewayId": ("InvalidEgressOnlyInternetGatewayId.NotFound", "egressOnlyInternetGateway"),
    "InstanceId": ("InvalidInstanceID.NotFound", "instance"),
    "VpcEndpointId": ("InvalidVpcEndpointId.NotFound", "vpcEndpoint"),
    "LocalGatewayId": ("InvalidLocalGatewayID.NotFound", "localGateway"),
    "CarrierGatewayId": ("InvalidCarrierGatewayID.NotFound", "carrierGateway"),
}
_ABSENT = {member: (api.error(code), label) for member, (code, label) in _ABSENT_TARGETS.items()}


def _route_views(tx: Tx, table: RouteTable) -> list[dict[str, Any]]:
    scope, _, _ = table.key.rpartition("/")
    vpc = tx.get(Vpc, f"{scope}/{table.vpc_id}")
    local = [{"DestinationCidrBlock": a.cidr, "GatewayId": "local", "Origin": "CreateRouteTable", "State": "active"}
             for a in (vpc.cidrs if vpc else ())]
    return local + [{"DestinationCidrBlock": route.destination, "GatewayId": route.gateway_id, "Origin": "CreateRoute",
                     "State": "active" if _attached(tx, scope, route, table) else "blackhole"}
                    for route in table.routes]


def _attached(tx: Tx, scope: str, route: Route, table: RouteTable) -> bool:
    gateway = tx.get(InternetGateway, f"{scope}/{route.gateway_id}")
    return gateway is not None and gateway.vpc_id == table.vpc_id


def _association_view(table: RouteTable, association: RouteTableAssociation) -> dict[str, Any]:
    view = {"RouteTableAssociationId": association.id, "RouteTableId": table.id, "Main": association.subnet_id is None,
            "AssociationState": {"State": "associated"}}
    return view if association.subnet_id is None else {**view, "SubnetId": association.subnet_id}


def _view(tx: Tx, table: RouteTable) -> dict[str, Any]:
    return {"RouteTableId": table.id, "VpcId": table.vpc_id, "OwnerId": table.account, "PropagatingVgws": [],
            "Routes": _route_views(tx, table), "Tags": tag_set(table.tags),
            "Associations": [_association_view(table, a) for a in table.associations]}


def _changed(tx: Tx, table: RouteTable) -> None:
    """Keeps a table's new form; the VPC's fabric follows."""
    tx.put(table)
    refresh_fabric(tx, f"{table.key.rpartition('/')[0]}/{table.vpc_id}")


@ec2.write(resources=touches(route_table="", vpc="VpcId"))
def create_route_table(call: Call, tx: Tx, request: Input) -> Output:
    """A table that knows the VPC's own ranges."""
    vpc = find(tx, call, Vpc, request["VpcId"])
    if tx.count(RouteTable, vpc=vpc.id) >= quotas.ROUTE_TABLES_PER_VPC:
        raise api.RouteTableLimitExceeded("The maximum number of route tables has been reached.")
    id = f"rtb-{tx.token(17)}"
    table = RouteTable(f"{call.scope}/{id}", id, call.account, call.region, vpc.id,
                       tags=tags_for(request, "route-table"))
    tx.put(table)
    return {"RouteTable": _view(tx, table), "ClientToken": request.get("ClientToken")}


@ec2.read(resources=any_resource)
def describe_route_tables(call: Call, tx: Tx, request: Input) -> Output:
    """Tables by id and filter."""
    routes: Callable[[str], Callable[[RouteTable], Any]] = lambda member: (  # noqa: E731 -- one field, many names
        lambda table: [view[member] for view in _route_views(tx, table)])
    found = matching(described(tx, call, RouteTable, request.get("RouteTableIds")), request.get("Filters"), {
        "association.gateway-id": lambda t: None,
        "association.main": lambda t: ["true" if a.subnet_id is None else "false" for a in t.associations],
        "association.route-table-association-id": lambda t: [a.id for a in t.associations],
        "association.route-table-id": lambda t: t.id if t.associations else None,
        "association.subnet-id": lambda t: [a.subnet_id for a in t.associations if a.subnet_id],
        "owner-id": lambda t: t.account,
        "route-table-id": lambda t: t.id,
        "route.destination-cidr-block": routes("DestinationCidrBlock"),
        "route.gateway-id": routes("GatewayId"),
        "route.origin": routes("Origin"),
        "route.state": routes("State"),
        **dict.fromkeys((
            "route.destination-ipv6-cidr-block", "route.destination-prefix-list-id", "route.instance-id",
            "route.egress-only-internet-gateway-id", "route.nat-gateway-id", "route.transit-gateway-id",
            "route.vpc-peering-connection-id"), lambda t: None),
        "vpc-id": lambda t: t.vpc_id,
    }, lambda t: t.tags)
    return {"RouteTables": [_view(tx, table) for table in found]}


@ec2.write(resources=touches(route_table="RouteTableId"))
def delete_route_table(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a table that nobody uses."""
    table = find(tx, call, RouteTable, request["RouteTableId"])
    if table.associations:
        raise api.DependencyViolation(f"The routeTable '{table.id}' has dependencies and cannot be deleted.")
    tx.delete(RouteTable, table.key)


# ── Routes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _destination(request: Input) -> str:
    refuse(request, "DestinationIpv6CidrBlock")
    if request.get("DestinationPrefixListId"):
        raise api.InvalidPrefixListNotFound(
            f"The prefix list ID '{request['DestinationPrefixListId']}' does not exist")
    if not request.get("DestinationCidrBlock"):
        raise api.MissingParameter("The request must contain exactly one destination, such as destinationCidrBlock.")
    return str(parse_cidr(request["DestinationCidrBlock"], "destinationCidrBlock"))


def _target(tx: Tx, call: Call, request: Input, table: RouteTable) -> str:
    """The internet gateway that a request sends a destination to. Raises where the target is none, or of a kind that
    cannot exist here."""
    for member, (not_found, label) in _ABSENT.items():
        if request.get(member):
            raise not_found(f"The {label} ID '{request[member]}' does not exist")
    refuse(request, "NetworkInterfaceId", "CoreNetworkArn", "OdbNetworkArn", "LocalTarget")
    id = request.get("GatewayId")
    if not id:
        raise api.MissingParameter("The request must contain exactly one target, such as gatewayId.")
    gateway = find(tx, call, InternetGateway, id)
    if gateway.vpc_id != table.vpc_id:
        raise api.InvalidParameterValue(
            f"route table {table.id} and network gateway {gateway.id} belong to different networks")
    return gateway.id


def _ranges(tx: Tx, call: Call, table: RouteTable) -> list[IPv4Network]:
    return [IPv4Network(a.cidr) for a in find(tx, call, Vpc, table.vpc_id).cidrs]


@ec2.write(resources=touches(route_table="RouteTableId"))
def create_route(call: Call, tx: Tx, request: Input) -> Output:
    """Sends a destination to an internet gateway."""
    table, destination = find(tx, call, RouteTable, request["RouteTableId"]), _destination(request)
    same = next((route for route in table.routes if route.destination == destination), None)
    ranges = _ranges(tx, call, table)
    if IPv4Network(destination) in ranges:
        raise api.RouteAlreadyExists(f"The route identified by {destination} already exists.")
    if any(IPv4Network(destination).subnet_of(cidr) for cidr in ranges):
        raise api.InvalidParameterValue(
            f"The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR "
            "blocks. This route can target only an interface or an instance.")
    gateway_id = _target(tx, call, request, table)
    if same and same.gateway_id == gateway_id:
        return {"Return": True}  # making the same route again is no error
    if same:
        raise api.RouteAlreadyExists(f"The route identified by {destination} already exists.")
    if len(table.routes) >= quotas.ROUTES_PER_TABLE:
        raise api.RouteLimitExceeded("The maximum number of routes has been reached.")
    _changed(tx, replace(table, routes=(*table.routes, Route(destination, gateway_id))))
    return {"Return": True}


@ec2.write(resources=touches(route_table="RouteTableId"))
def replace_route(call: Call, tx: Tx, request: Input) -> Output:
    """Sends a destination that the table knows to another internet gateway."""
    table, destination = find(tx, call, RouteTable, request["RouteTableId"]), _destination(request)
    if IPv4Network(destination) in _ranges(tx, call, table):
        if request.get("LocalTarget") or request.get("GatewayId") == "local":
            return  # where it goes already
        raise api.UnsupportedOperation(f"The local route {destination} cannot be sent elsewhere.")
    if all(route.destination != destination for route in table.routes):
        raise api.InvalidParameterValue(f"There is no route defined for '{destination}' in the route table. "
                                        "Use CreateRoute instead.")
    changed = Route(destination, _target(tx, call, request, table))
    _changed(tx, replace(table, routes=tuple(changed if r.destination == destination else r for r in table.routes)))


@ec2.write(resources=touches(route_table="RouteTableId"))
def delete_route(call: Call, tx: Tx, request: Input) -> Output:
    """Forgets a destination."""
    table, destination = find(tx, call, RouteTable, request["RouteTableId"]), _destination(request)
    if IPv4Network(destination) in _ranges(tx, call, table):
        raise api.InvalidParameterValue(f"cannot remove local route {destination} in route table {table.id}")
    if all(route.destination != destination for route in table.routes):
        raise api.InvalidRouteNotFound(f"no route with destination-cidr-block {destination} in route table {table.id}")
    _changed(tx, replace(table, routes=tuple(r for r in table.routes if r.destination != destination)))


# ── Associations ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _associated(tx: Tx, call: Call, association_id: str) -> tuple[RouteTable, RouteTableAssociation]:
    for table in tx.find(RouteTable, f"{call.scope}/", association=association_id):
        return table, next(a for a in table.associations if a.id == association_id)
    raise api.InvalidAssociationNotFound(f"The association ID '{association_id}' does not exist")


@ec2.write(resources=touches(route_table="RouteTableId", subnet="SubnetId"))
def associate_route_table(call: Call, tx: Tx, request: Input) -> Output:
    """Lets a subnet use a table; asking for what is there already answers with the association that is there."""
    refuse(request, "GatewayId", "PublicIpv4Pool")
    table = find(tx, call, RouteTable, request["RouteTableId"])
    subnet = find(tx, call, Subnet, api.require(request, "SubnetId"))
    if subnet.vpc_id != table.vpc_id:
        raise api.InvalidParameterValue(f"Route table {table.id} and subnet {subnet.id} belong to different networks")
    for other in tx.find(RouteTable, subnet=subnet.id):
        if other.id != table.id:
            raise api.AlreadyAssociated(f"the specified association for route table {table.id} conflicts with an "
                                        "existing association")
        return _associated_view(next(a for a in other.associations if a.subnet_id == subnet.id))
    added = RouteTableAssociation(f"rtbassoc-{tx.token(17)}", subnet.id)
    _changed(tx, replace(table, associations=(*table.associations, added)))
    return _associated_view(added)


def _associated_view(association: RouteTableAssociation) -> dict[str, Any]:
    return {"AssociationId": association.id, "AssociationState": {"State": "associated"}}


@ec2.write(resources=touches(route_table="", subnet=""))
def disassociate_route_table(call: Call, tx: Tx, request: Input) -> Output:
    """The subnet goes back to the main table."""
    table, association = _associated(tx, call, request["AssociationId"])
    if association.subnet_id is None:
        raise api.InvalidParameterValue(f"cannot disassociate the main route table association {association.id}")
    _changed(tx, replace(table, associations=tuple(a for a in table.associations if a is not association)))


@ec2.write(resources=touches(route_table="RouteTableId"))
def replace_route_table_association(call: Call, tx: Tx, request: Input) -> Output:
    """Another table for a subnet, or another main table."""
    old, association = _associated(tx, call, request["AssociationId"])
    new = find(tx, call, RouteTable, request["RouteTableId"])
    if old.vpc_id != new.vpc_id:
        raise api.InvalidParameterValue(f"Route table {new.id} and network {old.vpc_id} belong to different networks")
    added = RouteTableAssociation(f"rtbassoc-{tx.token(17)}", association.subnet_id)
    kept = replace(old, associations=tuple(a for a in old.associations if a is not association))
    tx.put(kept)
    new = kept if new.id == old.id else new
    _changed(tx, replace(new, associations=(*new.associations, added)))
    return {"NewAssociationId": added.id, "AssociationState": {"State": "associated"}}
