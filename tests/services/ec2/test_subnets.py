"""Subnets."""

from typing import Any

import pytest

from tests.services.ec2.conftest import Region


def test_create_subnet(region: Region) -> None:
    vpc_id = region.vpc()
    subnet = region("CreateSubnet", VpcId=vpc_id, CidrBlock="10.0.1.9/28", AvailabilityZone="us-east-1b")["Subnet"]
    assert subnet["CidrBlock"] == "10.0.1.0/28"
    assert subnet["AvailableIpAddressCount"] == 11
    assert (subnet["AvailabilityZone"], subnet["AvailabilityZoneId"]) == ("us-east-1b", "use1-az2")
    assert subnet["State"] == "available"
    assert not subnet["MapPublicIpOnLaunch"]
    assert subnet["SubnetArn"] == f"arn:aws:ec2:us-east-1:123456789012:subnet/{subnet['SubnetId']}"
    assert region("DescribeSubnets", SubnetIds=[subnet["SubnetId"]])["Subnets"] == [subnet]
    by_id = region("CreateSubnet", VpcId=vpc_id, CidrBlock="10.0.2.0/28", AvailabilityZoneId="use1-az3")["Subnet"]
    assert by_id["AvailabilityZone"] == "us-east-1c"


@pytest.mark.parametrize(("request_", "code"), [
    ({"CidrBlock": "10.1.0.0/24"}, "InvalidSubnet.Range"),
    ({"CidrBlock": "10.0.0.0/15"}, "InvalidSubnet.Range"),
    ({"CidrBlock": "10.0.0.0/29"}, "InvalidSubnet.Range"),
    ({"CidrBlock": "10.0.9.0/24", "AvailabilityZone": "us-east-1z"}, "InvalidParameterValue"),
    ({"CidrBlock": "10.0.9.0/24", "AvailabilityZone": "eu-west-1a"}, "InvalidParameterValue"),
    ({"CidrBlock": "10.0.9.0/24", "Ipv6CidrBlock": "fd00::/64"}, "UnsupportedOperation"),
    ({"CidrBlock": "10.0.9"}, "InvalidParameterValue"),
    ({}, "MissingParameter"),
    ({"CidrBlock": "10.0.0.128/25"}, "InvalidSubnet.Conflict"),
    ({"CidrBlock": "10.0.0.0/24", "VpcId": "vpc-00000000000000000"}, "InvalidVpcID.NotFound"),
])
def test_create_subnet_refuses(region: Region, request_: dict[str, Any], code: str) -> None:
    vpc_id = region.vpc()
    region.subnet(vpc_id)
    assert region.fails("CreateSubnet", **{"VpcId": vpc_id, **request_})[0] == code


def test_conflict_is_said_in_awss_words(region: Region) -> None:
    vpc_id = region.vpc()
    region.subnet(vpc_id)
    assert region.fails("CreateSubnet", VpcId=vpc_id, CidrBlock="10.0.0.0/24") == (
        "InvalidSubnet.Conflict", "The CIDR '10.0.0.0/24' conflicts with another subnet")


def test_modify_subnet_attribute(region: Region) -> None:
    subnet_id = region.subnet(region.vpc())
    region("ModifySubnetAttribute", SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
    assert region("DescribeSubnets", SubnetIds=[subnet_id])["Subnets"][0]["MapPublicIpOnLaunch"]
    for refused in ({"EnableDns64": {"Value": True}}, {"PrivateDnsHostnameTypeOnLaunch": "resource-name"}):
        assert region.fails("ModifySubnetAttribute", SubnetId=subnet_id, **refused)[0] == "UnsupportedOperation"
    region("ModifySubnetAttribute", SubnetId=subnet_id, EnableDns64={"Value": False})


def test_describe_subnets_by_filter(region: Region) -> None:
    subnet_id = region.subnet(region.vpc())
    region("CreateTags", Resources=[subnet_id], Tags=[{"Key": "tier", "Value": "db"}])
    for name, value in (("cidr-block", "10.0.0.0/24"), ("tag:tier", "d?"), ("tag-key", "tier"), ("state", "available"),
                        ("default-for-az", "false"), ("available-ip-address-count", "251")):
        found = region("DescribeSubnets", Filters=[{"Name": name, "Values": [value]}])["Subnets"]
        assert subnet_id in [subnet["SubnetId"] for subnet in found], name
    found = region("DescribeSubnets", Filters=[{"Name": "availability-zone-id", "Values": ["use1-az6"]}])["Subnets"]
    assert [subnet["AvailabilityZone"] for subnet in found] == ["us-east-1f"]


def test_delete_subnet(region: Region) -> None:
    vpc_id = region.vpc()
    subnet_id = region.subnet(vpc_id)
    table_id = region("CreateRouteTable", VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    region("AssociateRouteTable", RouteTableId=table_id, SubnetId=subnet_id)
    interface = region("CreateNetworkInterface", SubnetId=subnet_id)["NetworkInterface"]
    assert region.fails("DeleteSubnet", SubnetId=subnet_id) == (
        "DependencyViolation", f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
    region("DeleteNetworkInterface", NetworkInterfaceId=interface["NetworkInterfaceId"])
    region("DeleteSubnet", SubnetId=subnet_id)
    assert region.fails("DescribeSubnets", SubnetIds=[subnet_id]) == (
        "InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")
    assert region("DescribeRouteTables", RouteTableIds=[table_id])["RouteTables"][0]["Associations"] == []
    region("DeleteRouteTable", RouteTableId=table_id)
