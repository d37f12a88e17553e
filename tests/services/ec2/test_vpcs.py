"""VPCs and their ranges."""

from typing import Any

import pytest

from tests.services.ec2.conftest import Region


def test_create_vpc_and_what_comes_with_it(region: Region) -> None:
    vpc = region("CreateVpc", CidrBlock="10.1.2.3/16", TagSpecifications=[
        {"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "mine"}]}])["Vpc"]
    assert vpc["CidrBlock"] == "10.1.0.0/16"
    assert vpc["State"] == "pending"
    assert vpc["VpcId"].startswith("vpc-")
    assert len(vpc["VpcId"]) == 21
    mine = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    (seen,) = region("DescribeVpcs", Filters=mine)["Vpcs"]
    assert seen == {**vpc, "State": "available"}
    assert seen["Tags"] == [{"Key": "Name", "Value": "mine"}]
    (table,) = region("DescribeRouteTables", Filters=mine)["RouteTables"]
    assert table["Associations"][0]["Main"] is True
    assert [r["GatewayId"] for r in table["Routes"]] == ["local"]
    (group,) = region("DescribeSecurityGroups", Filters=mine)["SecurityGroups"]
    assert group["GroupName"] == "default"
    attribute = region("DescribeVpcAttribute", VpcId=vpc["VpcId"], Attribute="enableDnsSupport")
    assert attribute["EnableDnsSupport"] == {"Value": True}
    attribute = region("DescribeVpcAttribute", VpcId=vpc["VpcId"], Attribute="enableDnsHostnames")
    assert attribute["EnableDnsHostnames"] == {"Value": False}


@pytest.mark.parametrize(("request_", "code"), [
    ({"CidrBlock": "10.0.0.0/8"}, "InvalidVpc.Range"),
    ({"CidrBlock": "10.0.0.0/29"}, "InvalidVpc.Range"),
    ({"CidrBlock": "10.0.0.0"}, "InvalidParameterValue"),
    ({"CidrBlock": "fish"}, "InvalidParameterValue"),
    ({"CidrBlock": "10.0.0.0/33"}, "InvalidParameterValue"),
    ({}, "MissingParameter"),
    ({"CidrBlock": "10.0.0.0/16", "AmazonProvidedIpv6CidrBlock": True}, "UnsupportedOperation"),
    ({"CidrBlock": "10.0.0.0/16", "InstanceTenancy": "dedicated"}, "UnsupportedOperation"),
    ({"CidrBlock": "10.0.0.0/16", "TagSpecifications": [{"ResourceType": "subnet", "Tags": [{"Key": "a"}]}]},
     "InvalidParameterValue"),
])
def test_create_vpc_refuses(region: Region, request_: dict[str, Any], code: str) -> None:
    assert region.fails("CreateVpc", **request_)[0] == code
    assert len(region("DescribeVpcs")["Vpcs"]) == 1


def test_describe_vpcs_by_id_and_filter(region: Region) -> None:
    vpc_id = region.vpc()
    assert region.fails("DescribeVpcs", VpcIds=["vpc-00000000000000000"]) == (
        "InvalidVpcID.NotFound", "The vpc ID 'vpc-00000000000000000' does not exist")
    assert region.fails("DescribeVpcs", Filters=[{"Name": "colour", "Values": ["red"]}]) == (
        "InvalidParameterValue", "The filter 'colour' is invalid")
    for name, value in (("cidr", "10.0.*"), ("is-default", "false"), ("vpc-id", vpc_id), ("owner-id", "123456789012")):
        found = region("DescribeVpcs", Filters=[{"Name": name, "Values": [value]}])["Vpcs"]
        assert vpc_id in [vpc["VpcId"] for vpc in found], name
    assert region.elsewhere("eu-west-1").fails("DescribeVpcs", VpcIds=[vpc_id])[0] == "InvalidVpcID.NotFound"
    assert region.elsewhere(account="999999999999").fails("DeleteVpc", VpcId=vpc_id)[0] == "InvalidVpcID.NotFound"


def test_modify_vpc_attribute(region: Region) -> None:
    vpc_id = region.vpc()
    region("ModifyVpcAttribute", VpcId=vpc_id, EnableDnsHostnames={"Value": True})
    assert region("DescribeVpcAttribute", VpcId=vpc_id, Attribute="enableDnsHostnames")[
        "EnableDnsHostnames"] == {"Value": True}
    region("ModifyVpcAttribute", VpcId=vpc_id, EnableDnsHostnames={"Value": False})
    region("ModifyVpcAttribute", VpcId=vpc_id, EnableDnsSupport={"Value": False})
    assert region.fails("ModifyVpcAttribute", VpcId=vpc_id, EnableDnsHostnames={"Value": True})[0] == (
        "InvalidParameterValue")
    assert region.fails("ModifyVpcAttribute", VpcId=vpc_id)[0] == "InvalidParameterCombination"
    both = {"EnableDnsHostnames": {"Value": True}, "EnableDnsSupport": {"Value": True}}
    assert region.fails("ModifyVpcAttribute", VpcId=vpc_id, **both)[0] == "InvalidParameterCombination"
    metrics = {"EnableNetworkAddressUsageMetrics": {"Value": True}}
    assert region.fails("ModifyVpcAttribute", VpcId=vpc_id, **metrics)[0] == "UnsupportedOperation"


def test_modify_vpc_tenancy(region: Region) -> None:
    vpc_id = region.vpc()
    assert region("ModifyVpcTenancy", VpcId=vpc_id, InstanceTenancy="default") == {"ReturnValue": True}
    assert region.fails("ModifyVpcTenancy", VpcId=vpc_id, InstanceTenancy="dedicated")[0] == "InvalidParameterValue"


def test_further_ranges(region: Region) -> None:
    vpc_id = region.vpc()
    made = region("AssociateVpcCidrBlock", VpcId=vpc_id, CidrBlock="10.1.0.0/16")["CidrBlockAssociation"]
    assert made["CidrBlockState"] == {"State": "associating"}
    subnet_id = region.subnet(vpc_id, "10.1.5.0/24")
    (vpc,) = region("DescribeVpcs", VpcIds=[vpc_id])["Vpcs"]
    assert [(a["CidrBlock"], a["CidrBlockState"]["State"]) for a in vpc["CidrBlockAssociationSet"]] == [
        ("10.0.0.0/16", "associated"), ("10.1.0.0/16", "associated")]
    (table,) = region("DescribeRouteTables", Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"]
    assert [r["DestinationCidrBlock"] for r in table["Routes"]] == ["10.0.0.0/16", "10.1.0.0/16"]
    assert region.fails("AssociateVpcCidrBlock", VpcId=vpc_id, CidrBlock="10.1.128.0/20")[0] == (
        "InvalidVpc.CidrConflict")
    assert region.fails("DisassociateVpcCidrBlock", AssociationId=made["AssociationId"])[0] == "DependencyViolation"
    region("DeleteSubnet", SubnetId=subnet_id)
    gone = region("DisassociateVpcCidrBlock", AssociationId=made["AssociationId"])
    assert gone["CidrBlockAssociation"]["CidrBlockState"] == {"State": "disassociating"}
    primary = vpc["CidrBlockAssociationSet"][0]["AssociationId"]
    assert region.fails("DisassociateVpcCidrBlock", AssociationId=primary)[0] == "OperationNotPermitted"
    assert region.fails("DisassociateVpcCidrBlock", AssociationId=made["AssociationId"])[0] == (
        "InvalidVpcCidrBlockAssociationID.NotFound")
    for third in range(2, 6):
        region("AssociateVpcCidrBlock", VpcId=vpc_id, CidrBlock=f"10.{third}.0.0/16")
    assert region.fails("AssociateVpcCidrBlock", VpcId=vpc_id, CidrBlock="10.9.0.0/16")[0] == (
        "VpcCidrBlockLimitExceeded")


def test_delete_vpc_only_when_it_is_empty(region: Region) -> None:
    vpc_id = region.vpc()
    refused = ("DependencyViolation", f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
    subnet_id = region.subnet(vpc_id)
    assert region.fails("DeleteVpc", VpcId=vpc_id) == refused
    region("DeleteSubnet", SubnetId=subnet_id)
    group_id = region.group("web", vpc_id)
    assert region.fails("DeleteVpc", VpcId=vpc_id) == refused
    region("DeleteSecurityGroup", GroupId=group_id)
    table_id = region("CreateRouteTable", VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    assert region.fails("DeleteVpc", VpcId=vpc_id) == refused
    region("DeleteRouteTable", RouteTableId=table_id)
    region("DeleteVpc", VpcId=vpc_id)
    assert region.fails("DeleteVpc", VpcId=vpc_id)[0] == "InvalidVpcID.NotFound"
    left = [{"Name": "vpc-id", "Values": [vpc_id]}]
    assert region("DescribeRouteTables", Filters=left)["RouteTables"] == []
    assert region("DescribeSecurityGroups", Filters=left)["SecurityGroups"] == []


def test_there_is_a_limit(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudlet.services.ec2.quotas.VPCS", 2)
    region.vpc()
    assert region.fails("CreateVpc", CidrBlock="10.0.0.0/16") == (
        "VpcLimitExceeded", "The maximum number of VPCs has been reached.")
