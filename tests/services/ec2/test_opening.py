"""What an account finds in a region before it did anything."""

from ipaddress import ip_network

from tests.services.ec2.conftest import Region


def test_default_vpc_is_ready_for_use(region: Region) -> None:
    (vpc,) = region("DescribeVpcs")["Vpcs"]
    assert (vpc["CidrBlock"], vpc["IsDefault"], vpc["State"]) == ("172.31.0.0/16", True, "available")
    assert region("DescribeVpcAttribute", VpcId=vpc["VpcId"], Attribute="enableDnsHostnames") == {
        "VpcId": vpc["VpcId"], "EnableDnsHostnames": {"Value": True}}
    subnets = region("DescribeSubnets")["Subnets"]
    assert sorted(s["AvailabilityZone"] for s in subnets) == [f"us-east-1{letter}" for letter in "abcdef"]
    assert all(s["MapPublicIpOnLaunch"] and s["DefaultForAz"] and s["AvailableIpAddressCount"] == 4091
               and ip_network(s["CidrBlock"]).prefixlen == 20 for s in subnets)
    (gateway,) = region("DescribeInternetGateways")["InternetGateways"]
    assert gateway["Attachments"] == [{"VpcId": vpc["VpcId"], "State": "available"}]
    (table,) = region("DescribeRouteTables")["RouteTables"]
    assert [(r["DestinationCidrBlock"], r["GatewayId"], r["State"], r["Origin"]) for r in table["Routes"]] == [
        ("172.31.0.0/16", "local", "active", "CreateRouteTable"),
        ("0.0.0.0/0", gateway["InternetGatewayId"], "active", "CreateRoute")]
    (group,) = region("DescribeSecurityGroups")["SecurityGroups"]
    assert (group["GroupName"], group["Description"]) == ("default", "default VPC security group")
    assert group["IpPermissions"][0]["UserIdGroupPairs"] == [
        {"GroupId": group["GroupId"], "UserId": "123456789012"}]
    assert group["IpPermissionsEgress"] == [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
                                             "Ipv6Ranges": [], "PrefixListIds": [], "UserIdGroupPairs": []}]
    (acl,) = region("DescribeNetworkAcls")["NetworkAcls"]
    assert acl["IsDefault"]
    assert len(acl["Associations"]) == 6
    (options,) = region("DescribeDhcpOptions")["DhcpOptions"]
    assert options["DhcpOptionsId"] == vpc["DhcpOptionsId"]
    assert {"Key": "domain-name", "Values": [{"Value": "ec2.internal"}]} in options["DhcpConfigurations"]


def test_it_is_made_once_for_each_account_and_region(region: Region) -> None:
    here = region.vpc_id
    assert region.vpc_id == here
    others = {region.elsewhere("eu-central-1").vpc_id, region.elsewhere(account="999999999999").vpc_id}
    assert len(others | {here}) == 3
    assert len(region("DescribeVpcs")["Vpcs"]) == 1
    zones = {s["AvailabilityZone"] for s in region.elsewhere("eu-central-1")("DescribeSubnets")["Subnets"]}
    assert zones == {"eu-central-1a", "eu-central-1b", "eu-central-1c"}


def test_a_region_that_was_only_looked_at_needs_nothing_of_the_world(region: Region) -> None:
    region("DescribeVpcs")
    region.settle()
    assert not region.world.networks.networks


def test_create_default_vpc_after_it_was_deleted(region: Region) -> None:
    vpc_id = region.vpc_id
    assert region.fails("CreateDefaultVpc")[0] == "DefaultVpcAlreadyExists"
    (gateway,) = region("DescribeInternetGateways")["InternetGateways"]
    region("DetachInternetGateway", VpcId=vpc_id, InternetGatewayId=gateway["InternetGatewayId"])
    region("DeleteInternetGateway", InternetGatewayId=gateway["InternetGatewayId"])
    for subnet in region("DescribeSubnets")["Subnets"]:
        region("DeleteSubnet", SubnetId=subnet["SubnetId"])
    region("DeleteVpc", VpcId=vpc_id)
    for empty in ("DescribeVpcs", "DescribeSubnets", "DescribeInternetGateways", "DescribeRouteTables",
                  "DescribeSecurityGroups", "DescribeNetworkAcls", "DescribeSecurityGroupRules"):
        assert list(region(empty).values()) == [[]], empty
    assert region.fails("CreateDefaultSubnet", AvailabilityZone="us-east-1a")[0] == "DefaultVpcDoesNotExist"
    assert region.fails("CreateSecurityGroup", GroupName="g", Description="d") == (
        "VPCIdNotSpecified", "No default VPC for this user")
    made = region("CreateDefaultVpc")["Vpc"]
    assert made["IsDefault"]
    assert len(region("DescribeSubnets")["Subnets"]) == 6


def test_create_default_subnet(region: Region) -> None:
    first = region.subnet_id
    code, message = region.fails("CreateDefaultSubnet", AvailabilityZone="us-east-1a")
    assert code == "DefaultSubnetAlreadyExistsInAvailabilityZone"
    assert message == f"'{first}' is already the default subnet in us-east-1a."
    region("DeleteSubnet", SubnetId=region.subnet_id)
    made = region("CreateDefaultSubnet", AvailabilityZoneId="use1-az1")["Subnet"]
    assert (made["CidrBlock"], made["DefaultForAz"]) == ("172.31.0.0/20", True)
    assert region.fails("CreateDefaultSubnet")[0] == "MissingParameter"
