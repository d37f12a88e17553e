"""Regions, zones, account attributes, DHCP options, ACLs, and lists of what cannot exist here."""

import pytest

from cloudlet.services.ec2 import ec2
from tests.services.ec2.conftest import Region

ABSENT = {
    "DescribePrefixLists": "PrefixListIds", "DescribeManagedPrefixLists": "PrefixListIds",
    "DescribeNatGateways": "NatGatewayIds", "DescribeEgressOnlyInternetGateways": "EgressOnlyInternetGatewayIds",
    "DescribeVpcPeeringConnections": "VpcPeeringConnectionIds", "DescribeVpcEndpoints": "VpcEndpointIds",
    "DescribeVpnGateways": "VpnGatewayIds", "DescribeVpnConnections": "VpnConnectionIds",
    "DescribeCustomerGateways": "CustomerGatewayIds", "DescribeTransitGateways": "TransitGatewayIds",
    "DescribeTransitGatewayVpcAttachments": "TransitGatewayAttachmentIds", "DescribeFlowLogs": "FlowLogIds",
    "DescribeCarrierGateways": "CarrierGatewayIds",
}


def test_describe_regions(region: Region) -> None:
    regions = region("DescribeRegions")["Regions"]
    by_name = {r["RegionName"]: r for r in regions}
    assert by_name["eu-central-1"] == {"RegionName": "eu-central-1", "Endpoint": "ec2.eu-central-1.amazonaws.com",
                                       "OptInStatus": "opt-in-not-required"}
    assert by_name["af-south-1"]["OptInStatus"] == "opted-in"
    assert [r["RegionName"] for r in region("DescribeRegions", RegionNames=["us-east-1"])["Regions"]] == ["us-east-1"]
    assert len(region("DescribeRegions", Filters=[{"Name": "region-name", "Values": ["us-*"]}])["Regions"]) == 4
    assert region.fails("DescribeRegions", RegionNames=["mars-1"])[0] == "InvalidParameterValue"


def test_describe_availability_zones(region: Region) -> None:
    zones = region("DescribeAvailabilityZones")["AvailabilityZones"]
    assert [(z["ZoneName"], z["ZoneId"]) for z in zones][:2] == [("us-east-1a", "use1-az1"), ("us-east-1b", "use1-az2")]
    assert {z["State"] for z in zones} == {"available"}
    one = region("DescribeAvailabilityZones", ZoneIds=["use1-az6"])["AvailabilityZones"]
    assert [z["ZoneName"] for z in one] == ["us-east-1f"]
    assert region.fails("DescribeAvailabilityZones", ZoneNames=["eu-west-1a"]) == (
        "InvalidParameterValue", "Invalid availability zone: [eu-west-1a]")
    tokyo = region.elsewhere("ap-northeast-1")("DescribeAvailabilityZones", Filters=[
        {"Name": "zone-type", "Values": ["availability-zone"]}])["AvailabilityZones"]
    assert [z["ZoneName"] for z in tokyo] == ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"]


@pytest.mark.parametrize(("name", "zone_id"), [
    ("us-gov-west-1", "usgw1-az1"), ("ap-southeast-2", "apse2-az1"), ("il-central-1", "ilc1-az1"), ("home", "home-az1"),
    ("-", "-az1"),
])
def test_zone_ids_of_every_region_somebody_may_name(region: Region, name: str, zone_id: str) -> None:
    there = region.elsewhere(name)
    assert there("DescribeAvailabilityZones")["AvailabilityZones"][0]["ZoneId"] == zone_id
    assert zone_id in [subnet["AvailabilityZoneId"] for subnet in there("DescribeSubnets")["Subnets"]]


def test_describe_account_attributes(region: Region) -> None:
    attributes = {a["AttributeName"]: a["AttributeValues"][0]["AttributeValue"]
                  for a in region("DescribeAccountAttributes")["AccountAttributes"]}
    assert attributes["default-vpc"] == region.vpc_id
    assert attributes["supported-platforms"] == "VPC"
    one = region("DescribeAccountAttributes", AttributeNames=["supported-platforms"])["AccountAttributes"]
    assert len(one) == 1


def test_dhcp_options(region: Region) -> None:
    made = region("CreateDhcpOptions", DhcpConfigurations=[
        {"Key": "domain-name-servers", "Values": ["AmazonProvidedDNS"]}])["DhcpOptions"]
    id = made["DhcpOptionsId"]
    vpc_id = region.vpc()
    region("AssociateDhcpOptions", DhcpOptionsId=id, VpcId=vpc_id)
    assert region("DescribeVpcs", VpcIds=[vpc_id])["Vpcs"][0]["DhcpOptionsId"] == id
    assert region.fails("DeleteDhcpOptions", DhcpOptionsId=id)[0] == "DependencyViolation"
    assert region.fails("AssociateDhcpOptions", DhcpOptionsId="default", VpcId=vpc_id)[0] == "UnsupportedOperation"
    region("DeleteVpc", VpcId=vpc_id)
    region("DeleteDhcpOptions", DhcpOptionsId=id)
    assert region.fails("DescribeDhcpOptions", DhcpOptionsIds=[id])[0] == "InvalidDhcpOptionID.NotFound"
    for key, values, code in (("domain-name-servers", ["8.8.8.8"], "UnsupportedOperation"),
                              ("domain-name", ["example.com"], "UnsupportedOperation"),
                              ("ntp-servers", ["1.2.3.4"], "UnsupportedOperation"),
                              ("colour", ["red"], "InvalidParameterValue")):
        assert region.fails("CreateDhcpOptions", DhcpConfigurations=[{"Key": key, "Values": values}])[0] == code
    assert region.fails("CreateDhcpOptions", DhcpConfigurations=[])[0] == "MissingParameter"


def test_default_acl_lets_everything_pass(region: Region) -> None:
    vpc_id = region.vpc()
    subnet_id = region.subnet(vpc_id)
    (acl,) = region("DescribeNetworkAcls", Filters=[
        {"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "default", "Values": ["true"]}])["NetworkAcls"]
    assert [a["SubnetId"] for a in acl["Associations"]] == [subnet_id]
    assert [(e["Egress"], e["RuleNumber"], e["RuleAction"]) for e in acl["Entries"]] == [
        (True, 100, "allow"), (True, 32767, "deny"), (False, 100, "allow"), (False, 32767, "deny")]
    assert region.fails("DescribeNetworkAcls", NetworkAclIds=["acl-0"])[0] == "InvalidNetworkAclID.NotFound"


@pytest.mark.parametrize("operation", ABSENT)
def test_what_cannot_exist_is_not_there(region: Region, operation: str) -> None:
    assert list(region(operation).values()) == [[]]
    code, message = region.fails(operation, **{ABSENT[operation]: ["x-0123"]})
    assert "NotFound" in code
    assert "'x-0123' does not exist" in message


def test_no_operation_makes_what_is_listed_as_absent() -> None:
    """An empty list is honest only while nothing of its kind can be made."""
    nouns = [name.removeprefix("Describe").removesuffix("s") for name in ABSENT]
    assert not [name for name in ec2.operations for noun in nouns if name == f"Create{noun}"]
