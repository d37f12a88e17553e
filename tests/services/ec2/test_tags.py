"""Tags on everything that has an id."""

from typing import Any

import pytest

from tests.services.ec2.conftest import Region


def made(region: Region) -> dict[str, str]:
    """One of each kind: its id by the type that tags know it by."""
    vpc_id = region.vpc()
    group_id = region.group("web", vpc_id)
    return {
        "vpc": vpc_id, "subnet": region.subnet(vpc_id), "security-group": group_id,
        "security-group-rule": region("DescribeSecurityGroupRules", Filters=[
            {"Name": "group-id", "Values": [group_id]}])["SecurityGroupRules"][0]["SecurityGroupRuleId"],
        "route-table": region("CreateRouteTable", VpcId=vpc_id)["RouteTable"]["RouteTableId"],
        "internet-gateway": region("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"],
        "network-interface": region("CreateNetworkInterface", SubnetId=region.subnet_id)["NetworkInterface"][
            "NetworkInterfaceId"],
        "elastic-ip": region("AllocateAddress")["AllocationId"],
        "dhcp-options": region("DescribeDhcpOptions")["DhcpOptions"][0]["DhcpOptionsId"],
        "network-acl": region("DescribeNetworkAcls")["NetworkAcls"][0]["NetworkAclId"],
    }


def test_every_kind_takes_tags(region: Region) -> None:
    ids = made(region)
    region("CreateTags", Resources=list(ids.values()), Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    found = region("DescribeTags")["Tags"]
    assert {(t["ResourceType"], t["ResourceId"]) for t in found} == set(ids.items())
    assert len(found) == 2 * len(ids)
    vpc = [{"Name": "resource-type", "Values": ["vpc"]}]
    assert region("DescribeTags", Filters=vpc)["Tags"] == [
        {"Key": "a", "Value": "1", "ResourceType": "vpc", "ResourceId": ids["vpc"]},
        {"Key": "b", "Value": "", "ResourceType": "vpc", "ResourceId": ids["vpc"]}]
    assert len(region("DescribeTags", Filters=[{"Name": "tag:a", "Values": ["1"]}])["Tags"]) == len(ids)
    region("DeleteTags", Resources=[ids["vpc"]], Tags=[{"Key": "a", "Value": "other"}, {"Key": "b"}])
    assert [t["Key"] for t in region("DescribeTags", Filters=vpc)["Tags"]] == ["a"]
    region("DeleteTags", Resources=list(ids.values()))
    assert region("DescribeTags")["Tags"] == []


@pytest.mark.parametrize(("tags", "code"), [
    ([{"Key": "aws:x", "Value": "y"}], "InvalidParameterValue"),
    ([{"Key": "k" * 129, "Value": "y"}], "InvalidParameterValue"),
    ([{"Key": "k", "Value": "y" * 257}], "InvalidParameterValue"),
    ([{"Key": "", "Value": "y"}], "InvalidParameterValue"),
    ([{"Key": f"k{number}", "Value": "y"} for number in range(51)], "TagLimitExceeded"),
])
def test_create_tags_refuses(region: Region, tags: list[dict[str, str]], code: str) -> None:
    assert region.fails("CreateTags", Resources=[region.vpc_id], Tags=tags)[0] == code
    assert region("DescribeTags")["Tags"] == []


@pytest.mark.parametrize(("id", "code"), [
    ("vpc-0", "InvalidVpcID.NotFound"), ("eni-0", "InvalidNetworkInterfaceID.NotFound"), ("fish", "InvalidID"),
    ("i-0123", "InvalidInstanceID.NotFound"), ("zoo-0123", "InvalidID"),
])
def test_tags_of_nothing(region: Region, id: str, code: str) -> None:
    for operation in ("CreateTags", "DeleteTags"):
        assert region.fails(operation, Resources=[id], Tags=[{"Key": "a", "Value": "b"}])[0] == code


@pytest.mark.parametrize("specification", [
    {"Tags": [{"Key": "a", "Value": "b"}]},
    {"ResourceType": "vpc", "Tags": []},
    {"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]},
    {"ResourceType": "vpc", "Tags": [{"Key": "a", "Value": "b"}, {"Key": "a", "Value": "c"}]},
])
def test_tag_specifications_refuse(region: Region, specification: dict[str, Any]) -> None:
    assert region.fails("CreateVpc", CidrBlock="10.0.0.0/16", TagSpecifications=[specification])[0] == (
        "InvalidParameterValue")
