"""EC2's network as boto3 and its waiters see it, on a running Cloudlet."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.running import Cloudlet


@pytest.fixture(scope="module")
def ec2(cloudlet: Cloudlet) -> Any:
    return cloudlet.client("ec2")


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    found: str = error.value.response["Error"]["Code"]
    return found


def test_a_network_from_nothing_to_nothing(ec2: Any) -> None:
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[
        {"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "mine"}]}])["Vpc"]["VpcId"]
    ec2.get_waiter("vpc_exists").wait(VpcIds=[vpc_id])
    ec2.get_waiter("vpc_available").wait(VpcIds=[vpc_id])
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": True})
    assert ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24", AvailabilityZone="us-east-1b")["Subnet"][
        "SubnetId"]
    ec2.get_waiter("subnet_available").wait(SubnetIds=[subnet_id])
    ec2.modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
    gateway_id = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.get_waiter("internet_gateway_exists").wait(InternetGatewayIds=[gateway_id])
    ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
    table_id = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    assert ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway_id)["Return"]
    association = ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet_id)
    group_id = ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc_id)["GroupId"]
    ec2.get_waiter("security_group_exists").wait(GroupIds=[group_id])
    rules = ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
         "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}]}])["SecurityGroupRules"]
    (group,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    assert group["IpPermissions"] == [{
        "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "Ipv6Ranges": [], "PrefixListIds": [],
        "UserIdGroupPairs": [], "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}]}]
    interface_id = ec2.create_network_interface(SubnetId=subnet_id, Groups=[group_id])["NetworkInterface"][
        "NetworkInterfaceId"]
    ec2.get_waiter("network_interface_available").wait(NetworkInterfaceIds=[interface_id])
    address = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=interface_id)
    (seen,) = ec2.describe_network_interfaces(Filters=[
        {"Name": "association.public-ip", "Values": [address["PublicIp"]]}])["NetworkInterfaces"]
    assert seen["NetworkInterfaceId"] == interface_id
    assert seen["PrivateIpAddress"].startswith("10.0.1.")

    with pytest.raises(ClientError) as error:
        ec2.delete_vpc(VpcId=vpc_id)
    assert code(error) == "DependencyViolation"
    ec2.revoke_security_group_ingress(GroupId=group_id, SecurityGroupRuleIds=[rules[0]["SecurityGroupRuleId"]])
    ec2.delete_network_interface(NetworkInterfaceId=interface_id)
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.delete_security_group(GroupId=group_id)
    ec2.disassociate_route_table(AssociationId=association["AssociationId"])
    ec2.delete_route_table(RouteTableId=table_id)
    ec2.delete_subnet(SubnetId=subnet_id)
    ec2.detach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc_id)
    ec2.delete_internet_gateway(InternetGatewayId=gateway_id)
    ec2.delete_vpc(VpcId=vpc_id)
    with pytest.raises(ClientError) as error:
        ec2.describe_vpcs(VpcIds=[vpc_id])
    assert code(error) == "InvalidVpcID.NotFound"


def test_paging(ec2: Any) -> None:
    pages = list(ec2.get_paginator("describe_subnets").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["Subnets"]) for page in pages] == [5, 1]
    whole = ec2.describe_subnets()["Subnets"]
    assert [subnet["SubnetId"] for page in pages for subnet in page["Subnets"]] == [s["SubnetId"] for s in whole]


def test_filters_and_tags(ec2: Any) -> None:
    (subnet,) = ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": ["us-east-1c"]}])["Subnets"]
    ec2.create_tags(Resources=[subnet["SubnetId"]], Tags=[{"Key": "tier", "Value": "web"}])
    for name, value in (("tag:tier", "w*b"), ("tag-key", "t???"), ("subnet-id", subnet["SubnetId"])):
        found = ec2.describe_subnets(Filters=[{"Name": name, "Values": [value]}])["Subnets"]
        assert [s["SubnetId"] for s in found] == [subnet["SubnetId"]]
    ec2.delete_tags(Resources=[subnet["SubnetId"]], Tags=[{"Key": "tier"}])
    assert ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [subnet["SubnetId"]]}])["Tags"] == []


def test_dry_run(ec2: Any) -> None:
    with pytest.raises(ClientError) as error:
        ec2.create_vpc(CidrBlock="10.0.0.0/16", DryRun=True)
    assert error.value.response["Error"]["Code"] == "DryRunOperation"
    assert len(ec2.describe_vpcs()["Vpcs"]) == 1


def test_a_client_token_makes_one_route_table(ec2: Any) -> None:
    vpc_id = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    first = ec2.create_route_table(VpcId=vpc_id, ClientToken="again")["RouteTable"]["RouteTableId"]
    assert ec2.create_route_table(VpcId=vpc_id, ClientToken="again")["RouteTable"]["RouteTableId"] == first
    ec2.delete_route_table(RouteTableId=first)


def test_what_is_not_there_yet_says_so(ec2: Any) -> None:
    with pytest.raises(ClientError) as error:
        ec2.create_network_acl(VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"])
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_regions_are_apart(cloudlet: Cloudlet) -> None:
    ids = {cloudlet.client("ec2", region=region).describe_vpcs()["Vpcs"][0]["VpcId"]
           for region in ("us-east-1", "eu-west-1", "ap-northeast-1")}
    assert len(ids) == 3
    other = cloudlet.client("ec2", key="999999999999")
    assert other.describe_vpcs()["Vpcs"][0]["OwnerId"] == "999999999999"
    assert other.describe_vpcs()["Vpcs"][0]["VpcId"] not in ids


def test_the_aws_cli(cloudlet: Cloudlet) -> None:
    group_id = cloudlet.aws("ec2", "create-security-group", "--group-name", "cli", "--description", "cli", "--query",
                            "GroupId", "--output", "text").stdout.strip()
    cloudlet.aws("ec2", "authorize-security-group-ingress", "--group-id", group_id, "--protocol", "tcp", "--port", "22",
                 "--cidr", "0.0.0.0/0")
    port = cloudlet.aws("ec2", "describe-security-groups", "--group-ids", group_id, "--query",
                        "SecurityGroups[0].IpPermissions[0].FromPort", "--output", "text").stdout.strip()
    assert port == "22"
    failed = cloudlet.aws("ec2", "authorize-security-group-ingress", "--group-id", group_id, "--protocol", "tcp",
                          "--port", "22", "--cidr", "0.0.0.0/0", check=False)
    assert "(InvalidPermission.Duplicate)" in failed.stderr
    cloudlet.aws("ec2", "delete-security-group", "--group-id", group_id)
