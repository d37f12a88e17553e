"""What a VPC's fabric says, by what customers asked for."""

from typing import Any

from cloudlet.engines.ports import Member, Rule
from tests.services.ec2.conftest import Region


def member(region: Region, interface: Any) -> Member:
    found: Member = next(m for m in region.fabric(interface.vpc_id).members if m.interface == interface.fabric_name)
    return found


def test_a_public_task_of_the_default_vpc(region: Region) -> None:
    task = region.task(public=True)
    region.settle()
    seen = member(region, task)
    (address,) = seen.addresses
    assert (address.private, address.public, seen.groups) == (task.private_ip, task.public_ip, task.groups)
    assert seen.internet == ("0.0.0.0/0",)
    dashed = (task.public_ip or "").replace(".", "-")
    assert address.names == (task.private_dns_name, f"ec2-{dashed}.compute-1.amazonaws.com")
    assert seen.source_check
    assert list(region.fabric().groups) == list(task.groups)
    assert set(region.fabric().groups[task.groups[0]]) == {
        Rule("ingress", "-1", None, None, task.groups[0]), Rule("egress", "-1", None, None, "0.0.0.0/0")}


def test_rules_change_under_a_running_task(region: Region) -> None:
    group_id = region.group()
    task = region.task(group_ids=[group_id])
    region.settle()
    before = region.fabric()
    assert [rule.direction for rule in before.groups[group_id]] == ["egress"]
    rule = region("AuthorizeSecurityGroupIngress", GroupId=group_id, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, "IpRanges": [{"CidrIp": "198.51.100.0/24"}],
         "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}])["SecurityGroupRules"][0]
    region.settle()
    assert Rule("ingress", "tcp", 80, 81, "198.51.100.0/24") in region.fabric().groups[group_id]
    assert len(region.fabric().groups[group_id]) == 2, "there is no IPv6 that a rule could let pass"
    assert region.fabric().revision > before.revision
    region("ModifySecurityGroupRules", GroupId=group_id, SecurityGroupRules=[
        {"SecurityGroupRuleId": rule["SecurityGroupRuleId"],
         "SecurityGroupRule": {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "CidrIpv4": "10.0.0.0/8"}}])
    region.settle()
    assert Rule("ingress", "icmp", 8, -1, "10.0.0.0/8") in region.fabric().groups[group_id]
    region("RevokeSecurityGroupIngress", GroupId=group_id, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
    region.settle()
    assert [rule.direction for rule in region.fabric().groups[group_id]] == ["egress"]
    assert region.told() == ["t1"]
    assert region.interface(task.id).ready  # type: ignore[union-attr]


def test_no_gateway_no_way_out_and_no_public_address(region: Region) -> None:
    vpc_id = region.vpc()
    subnet_id = region.subnet(vpc_id)
    task = region.task(subnet_id=subnet_id, public=True)
    region.settle()
    assert (member(region, task).addresses[0].public, member(region, task).internet) == (None, ())
    gateway = region("CreateInternetGateway")["InternetGateway"]["InternetGatewayId"]
    region("AttachInternetGateway", InternetGatewayId=gateway, VpcId=vpc_id)
    region.settle()
    assert (member(region, task).addresses[0].public, member(region, task).internet) == (task.public_ip, ())
    main = region("DescribeRouteTables", Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"][0]
    region("CreateRoute", RouteTableId=main["RouteTableId"], DestinationCidrBlock="198.51.100.0/24", GatewayId=gateway)
    region.settle()
    assert member(region, task).internet == ("198.51.100.0/24",)
    own = region("CreateRouteTable", VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    made = region("AssociateRouteTable", RouteTableId=own, SubnetId=subnet_id)
    region.settle()
    assert member(region, task).internet == ()
    region("ReplaceRouteTableAssociation", AssociationId=made["AssociationId"], RouteTableId=main["RouteTableId"])
    region.settle()
    assert member(region, task).internet == ("198.51.100.0/24",)


def test_names_follow_the_vpcs_attributes(region: Region) -> None:
    task = region.task(public=True)
    region("ModifyVpcAttribute", VpcId=task.vpc_id, EnableDnsHostnames={"Value": False})
    region.settle()
    assert member(region, task).addresses[0].names == (task.private_dns_name,)
    region("ModifyVpcAttribute", VpcId=task.vpc_id, EnableDnsSupport={"Value": False})
    region.settle()
    assert member(region, task).addresses[0].names == ()


def test_groups_that_name_each_other(region: Region) -> None:
    front, back = region.group("front"), region.group("back")
    region("AuthorizeSecurityGroupIngress", GroupId=back, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": front}]}])
    region.task("a", group_ids=[front])
    region.task("b", group_ids=[front, back])
    region.settle()
    assert Rule("ingress", "tcp", 5432, 5432, front) in region.fabric().groups[back]
    assert sorted(len(m.groups) for m in region.fabric().members) == [1, 2]
    assert set(region.fabric().groups) == {front, back}
