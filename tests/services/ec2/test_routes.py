"""Route tables, routes, associations, and the internet gateways that routes lead to."""

from typing import Any

import pytest

from tests.services.ec2.conftest import Region

ANY = "0.0.0.0/0"


@pytest.fixture
def vpc_id(region: Region) -> str:
    return region.vpc()


@pytest.fixture
def gateway_id(region: Region, vpc_id: str) -> str:
    made: str = region("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    region("AttachInternetGateway", InternetGatewayId=made, VpcId=vpc_id)
    return made


@pytest.fixture
def table_id(region: Region, vpc_id: str) -> str:
    made: str = region("CreateRouteTable", VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    return made


def routes(region: Region, table_id: str) -> dict[str, tuple[str, str]]:
    (table,) = region("DescribeRouteTables", RouteTableIds=[table_id])["RouteTables"]
    return {r["DestinationCidrBlock"]: (r["GatewayId"], r["State"]) for r in table["Routes"]}


def test_internet_gateways(region: Region, vpc_id: str) -> None:
    gateway = region("CreateInternetGateway", TagSpecifications=[
        {"ResourceType": "internet-gateway", "Tags": [{"Key": "a", "Value": "b"}]}])["InternetGateway"]
    id = gateway["InternetGatewayId"]
    assert (gateway["Attachments"], gateway["Tags"]) == ([], [{"Key": "a", "Value": "b"}])
    assert region.fails("DetachInternetGateway", InternetGatewayId=id, VpcId=vpc_id) == (
        "Gateway.NotAttached", f"resource {id} is not attached to network {vpc_id}")
    region("AttachInternetGateway", InternetGatewayId=id, VpcId=vpc_id)
    assert region.fails("AttachInternetGateway", InternetGatewayId=id, VpcId=region.vpc_id) == (
        "Resource.AlreadyAssociated", f"resource {id} is already attached to network {vpc_id}")
    other = region("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    assert region.fails("AttachInternetGateway", InternetGatewayId=other, VpcId=vpc_id) == (
        "InvalidParameterValue", f"Network {vpc_id} already has an internet gateway attached")
    assert region.fails("DeleteInternetGateway", InternetGatewayId=id)[0] == "DependencyViolation"
    assert region.fails("DeleteVpc", VpcId=vpc_id)[0] == "DependencyViolation"
    found = region("DescribeInternetGateways", Filters=[{"Name": "attachment.vpc-id", "Values": [vpc_id]}])
    assert [g["InternetGatewayId"] for g in found["InternetGateways"]] == [id]
    region("DetachInternetGateway", InternetGatewayId=id, VpcId=vpc_id)
    region("DeleteInternetGateway", InternetGatewayId=id)
    assert region.fails("DescribeInternetGateways", InternetGatewayIds=[id])[0] == "InvalidInternetGatewayID.NotFound"


def test_routes_come_and_go(region: Region, vpc_id: str, gateway_id: str, table_id: str) -> None:
    assert routes(region, table_id) == {"10.0.0.0/16": ("local", "active")}
    assert region("CreateRoute", RouteTableId=table_id, DestinationCidrBlock=ANY, GatewayId=gateway_id) == {
        "Return": True}
    assert routes(region, table_id)[ANY] == (gateway_id, "active")
    region("ReplaceRoute", RouteTableId=table_id, DestinationCidrBlock=ANY, GatewayId=gateway_id)
    region("DetachInternetGateway", InternetGatewayId=gateway_id, VpcId=vpc_id)
    assert routes(region, table_id)[ANY] == (gateway_id, "blackhole")
    region("DeleteInternetGateway", InternetGatewayId=gateway_id)
    assert routes(region, table_id)[ANY] == (gateway_id, "blackhole")
    region("DeleteRoute", RouteTableId=table_id, DestinationCidrBlock=ANY)
    assert ANY not in routes(region, table_id)


@pytest.mark.parametrize(("operation", "request_", "code"), [
    ("CreateRoute", {"DestinationCidrBlock": ANY}, "MissingParameter"),
    ("CreateRoute", {"DestinationCidrBlock": "x", "GatewayId": "igw-1"}, "InvalidParameterValue"),
    ("CreateRoute", {"DestinationCidrBlock": ANY, "GatewayId": "igw-1"}, "InvalidInternetGatewayID.NotFound"),
    ("CreateRoute", {"DestinationCidrBlock": ANY, "NatGatewayId": "nat-1"}, "InvalidNatGatewayID.NotFound"),
    ("CreateRoute", {"DestinationCidrBlock": ANY, "NetworkInterfaceId": "eni-1"}, "UnsupportedOperation"),
    ("CreateRoute", {"DestinationIpv6CidrBlock": "::/0", "GatewayId": "igw-1"}, "UnsupportedOperation"),
    ("CreateRoute", {"DestinationPrefixListId": "pl-1", "GatewayId": "igw-1"}, "InvalidPrefixListID.NotFound"),
    ("CreateRoute", {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "igw-1"}, "RouteAlreadyExists"),
    ("CreateRoute", {"DestinationCidrBlock": "10.0.3.0/24", "GatewayId": "igw-1"}, "InvalidParameterValue"),
    ("ReplaceRoute", {"DestinationCidrBlock": ANY, "GatewayId": "igw-1"}, "InvalidParameterValue"),
    ("DeleteRoute", {"DestinationCidrBlock": ANY}, "InvalidRoute.NotFound"),
    ("DeleteRoute", {"DestinationCidrBlock": "10.0.0.0/16"}, "InvalidParameterValue"),
])
def test_routes_refuse(region: Region, table_id: str, operation: str, request_: dict[str, Any], code: str) -> None:
    assert region.fails(operation, RouteTableId=table_id, **request_)[0] == code


def test_a_destination_has_one_target(region: Region, vpc_id: str, gateway_id: str, table_id: str) -> None:
    region("CreateRoute", RouteTableId=table_id, DestinationCidrBlock=ANY, GatewayId=gateway_id)
    region("CreateRoute", RouteTableId=table_id, DestinationCidrBlock=ANY, GatewayId=gateway_id)
    region("DetachInternetGateway", InternetGatewayId=gateway_id, VpcId=vpc_id)
    other = region("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    region("AttachInternetGateway", InternetGatewayId=other, VpcId=vpc_id)
    assert region.fails("CreateRoute", RouteTableId=table_id, DestinationCidrBlock=ANY, GatewayId=other) == (
        "RouteAlreadyExists", "The route identified by 0.0.0.0/0 already exists.")
    region("ReplaceRoute", RouteTableId=table_id, DestinationCidrBlock=ANY, GatewayId=other)
    assert routes(region, table_id)[ANY] == (other, "active")
    default = region("DescribeInternetGateways", Filters=[
        {"Name": "attachment.vpc-id", "Values": [region.vpc_id]}])["InternetGateways"][0]["InternetGatewayId"]
    assert region.fails("CreateRoute", RouteTableId=table_id, DestinationCidrBlock="1.0.0.0/8", GatewayId=default) == (
        "InvalidParameterValue", f"route table {table_id} and network gateway {default} belong to different networks")


def test_associations(region: Region, vpc_id: str, table_id: str) -> None:
    subnet_id = region.subnet(vpc_id)
    made = region("AssociateRouteTable", RouteTableId=table_id, SubnetId=subnet_id)
    assert made["AssociationState"] == {"State": "associated"}
    assert region("AssociateRouteTable", RouteTableId=table_id, SubnetId=subnet_id) == made
    other_id = region("CreateRouteTable", VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    assert region.fails("AssociateRouteTable", RouteTableId=other_id, SubnetId=subnet_id)[0] == (
        "Resource.AlreadyAssociated")
    assert region.fails("AssociateRouteTable", RouteTableId=table_id, SubnetId=region.subnet_id)[0] == (
        "InvalidParameterValue")
    assert region.fails("DeleteRouteTable", RouteTableId=table_id) == (
        "DependencyViolation", f"The routeTable '{table_id}' has dependencies and cannot be deleted.")
    (found,) = region("DescribeRouteTables", Filters=[
        {"Name": "association.subnet-id", "Values": [subnet_id]}])["RouteTables"]
    assert found["Associations"] == [{"RouteTableAssociationId": made["AssociationId"], "RouteTableId": table_id,
                                      "SubnetId": subnet_id, "Main": False,
                                      "AssociationState": {"State": "associated"}}]
    replaced = region("ReplaceRouteTableAssociation", AssociationId=made["AssociationId"], RouteTableId=other_id)
    assert region.fails("DisassociateRouteTable", AssociationId=made["AssociationId"])[0] == (
        "InvalidAssociationID.NotFound")
    region("DeleteRouteTable", RouteTableId=table_id)
    region("DisassociateRouteTable", AssociationId=replaced["NewAssociationId"])
    region("DeleteRouteTable", RouteTableId=other_id)


def test_another_main_table(region: Region, vpc_id: str, table_id: str) -> None:
    main = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "association.main", "Values": ["true"]}]
    (old,) = region("DescribeRouteTables", Filters=main)["RouteTables"]
    association_id = old["Associations"][0]["RouteTableAssociationId"]
    assert region.fails("DisassociateRouteTable", AssociationId=association_id)[0] == "InvalidParameterValue"
    region("ReplaceRouteTableAssociation", AssociationId=association_id, RouteTableId=table_id)
    (new,) = region("DescribeRouteTables", Filters=main)["RouteTables"]
    assert new["RouteTableId"] == table_id
    region("DeleteRouteTable", RouteTableId=old["RouteTableId"])
    assert region.fails("DeleteRouteTable", RouteTableId=table_id)[0] == "DependencyViolation"
    again = new["Associations"][0]["RouteTableAssociationId"]
    region("ReplaceRouteTableAssociation", AssociationId=again, RouteTableId=table_id)
    assert len(region("DescribeRouteTables", RouteTableIds=[table_id])["RouteTables"][0]["Associations"]) == 1
