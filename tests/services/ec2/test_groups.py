"""Security groups and their rules, by content and by id."""

from typing import Any

import pytest

from cloudlet.services.ec2 import quotas
from tests.services.ec2.conftest import Region


def tcp(port: int, *cidrs: str, **more: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": c} for c in cidrs], **more}


def from_group(group_id: str, port: int = 80) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "UserIdGroupPairs": [{"GroupId": group_id}]}


def allow(region: Region, group_id: str, *permissions: dict[str, Any]) -> list[dict[str, Any]]:
    answer = region("AuthorizeSecurityGroupIngress", GroupId=group_id, IpPermissions=list(permissions))
    assert answer["Return"] is True
    rules: list[dict[str, Any]] = answer["SecurityGroupRules"]
    return rules


def seen(region: Region, group_id: str) -> dict[str, Any]:
    group: dict[str, Any] = region("DescribeSecurityGroups", GroupIds=[group_id])["SecurityGroups"][0]
    return group


def test_create_security_group(region: Region) -> None:
    made = region("CreateSecurityGroup", GroupName="web", Description="front", TagSpecifications=[
        {"ResourceType": "security-group", "Tags": [{"Key": "a", "Value": "b"}]}])
    id = made["GroupId"]
    assert made["SecurityGroupArn"] == f"arn:aws:ec2:us-east-1:123456789012:security-group/{id}"
    group = seen(region, id)
    assert (group["GroupName"], group["VpcId"], group["IpPermissions"]) == ("web", region.vpc_id, [])
    assert group["IpPermissionsEgress"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
    assert region.fails("CreateSecurityGroup", GroupName="web", Description="x") == (
        "InvalidGroup.Duplicate", f"The security group 'web' already exists for VPC '{region.vpc_id}'")
    assert region.group("web", region.vpc()) != id
    for name, value in (("group-name", "web"), ("description", "front"), ("tag:a", "b"),
                        ("egress.ip-permission.cidr", "0.0.0.0/0")):
        found = region("DescribeSecurityGroups", Filters=[{"Name": name, "Values": [value]}])["SecurityGroups"]
        assert id in [g["GroupId"] for g in found], name
    assert region("DescribeSecurityGroups", GroupNames=["web"])["SecurityGroups"][0]["GroupId"] == id


@pytest.mark.parametrize(("request_", "code"), [
    ({"GroupName": "sg-mine", "Description": "d"}, "InvalidParameterValue"),
    ({"GroupName": "naïve", "Description": "d"}, "InvalidParameterValue"),
    ({"GroupName": "x" * 256, "Description": "d"}, "InvalidParameterValue"),
    ({"GroupName": "g", "Description": "d<b>"}, "InvalidParameterValue"),
    ({"GroupName": "g", "Description": ""}, "MissingParameter"),
    ({"GroupName": "default", "Description": "d"}, "InvalidGroup.Duplicate"),
    ({"GroupName": "g", "Description": "d", "VpcId": "vpc-1"}, "InvalidVpcID.NotFound"),
])
def test_create_security_group_refuses(region: Region, request_: dict[str, Any], code: str) -> None:
    assert region.fails("CreateSecurityGroup", **request_)[0] == code


def test_ids_that_stand_for_nothing(region: Region) -> None:
    assert region.fails("DescribeSecurityGroups", GroupIds=["sg-00000000000000000"]) == (
        "InvalidGroup.NotFound", "The security group 'sg-00000000000000000' does not exist")
    assert region.fails("DescribeSecurityGroups", GroupIds=["web"]) == (
        "InvalidGroupId.Malformed", 'Invalid id: "web" (expecting "sg-...")')
    assert region.fails("DescribeSecurityGroups", GroupNames=["web"])[0] == "InvalidGroup.NotFound"
    assert region.fails("DeleteSecurityGroup")[0] == "MissingParameter"


def test_old_view_gathers_rules_of_one_port(region: Region) -> None:
    id = region.group()
    allow(region, id, tcp(22, "10.0.0.0/8", "192.168.1.77/24"), from_group(id, 22))
    allow(region, id, tcp(80, "0.0.0.0/0", Ipv6Ranges=[{"CidrIpv6": "::/0", "Description": "all"}]))
    assert seen(region, id)["IpPermissions"] != []
    by_port = {p["FromPort"]: p for p in seen(region, id)["IpPermissions"]}
    assert sorted(r["CidrIp"] for r in by_port[22]["IpRanges"]) == ["10.0.0.0/8", "192.168.1.0/24"]
    assert by_port[22]["UserIdGroupPairs"] == [{"GroupId": id, "UserId": "123456789012"}]
    assert by_port[80]["Ipv6Ranges"] == [{"CidrIpv6": "::/0", "Description": "all"}]


def test_rules_by_id(region: Region) -> None:
    id, peer = region.group(), region.group("peer")
    made = region("AuthorizeSecurityGroupIngress", GroupId=id, IpPermissions=[tcp(443, "1.2.3.0/24")],
                  TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": [{"Key": "k", "Value": "v"}]}])
    (rule,) = made["SecurityGroupRules"]
    assert rule == {
        "SecurityGroupRuleId": rule["SecurityGroupRuleId"], "GroupId": id, "GroupOwnerId": "123456789012",
        "IsEgress": False, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv4": "1.2.3.0/24",
        "Tags": [{"Key": "k", "Value": "v"}], "SecurityGroupRuleArn":
            f"arn:aws:ec2:us-east-1:123456789012:security-group-rule/{rule['SecurityGroupRuleId']}"}
    mine = [{"Name": "group-id", "Values": [id]}]
    rules = region("DescribeSecurityGroupRules", Filters=mine)["SecurityGroupRules"]
    (egress,) = [r for r in rules if r["IsEgress"]]
    assert (egress["IpProtocol"], egress["FromPort"], egress["ToPort"]) == ("-1", -1, -1)
    rule_id = rule["SecurityGroupRuleId"]
    region("ModifySecurityGroupRules", GroupId=id, SecurityGroupRules=[
        {"SecurityGroupRuleId": rule_id, "SecurityGroupRule": {
            "IpProtocol": "udp", "FromPort": 53, "ToPort": 54, "CidrIpv4": "10.0.0.0/8", "Description": "dns"}}])
    (changed,) = region("DescribeSecurityGroupRules", SecurityGroupRuleIds=[rule_id])["SecurityGroupRules"]
    assert (changed["IpProtocol"], changed["FromPort"], changed["ToPort"]) == ("udp", 53, 54)
    assert (changed["CidrIpv4"], changed["Description"]) == ("10.0.0.0/8", "dns")
    assert changed["Tags"] == [{"Key": "k", "Value": "v"}]
    answer = region("RevokeSecurityGroupIngress", GroupId=id, SecurityGroupRuleIds=[rule_id])
    assert answer["RevokedSecurityGroupRules"][0]["CidrIpv4"] == "10.0.0.0/8"
    (named,) = allow(region, id, from_group(peer))
    assert named["ReferencedGroupInfo"] == {"GroupId": peer}
    answer = region("RevokeSecurityGroupIngress", GroupId=id, SecurityGroupRuleIds=[named["SecurityGroupRuleId"]])
    assert answer["RevokedSecurityGroupRules"][0]["ReferencedGroupId"] == peer
    assert region.fails("DescribeSecurityGroupRules", SecurityGroupRuleIds=[rule_id])[0] == (
        "InvalidSecurityGroupRuleId.NotFound")
    assert region.fails("RevokeSecurityGroupIngress", GroupId=id,
                        SecurityGroupRuleIds=[egress["SecurityGroupRuleId"]])[0] == (
        "InvalidSecurityGroupRuleId.NotFound"), "an egress rule is not to be revoked as ingress"


def test_modify_security_group_rules_refuses(region: Region) -> None:
    id = region.group()
    first, second = allow(region, id, tcp(80, "1.0.0.0/8"), tcp(81, "1.0.0.0/8"))

    def modify(**rule: Any) -> str:
        return region.fails("ModifySecurityGroupRules", GroupId=id, SecurityGroupRules=[
            {"SecurityGroupRuleId": first["SecurityGroupRuleId"],
             "SecurityGroupRule": {"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, **rule}}])[0]
    assert modify(CidrIpv4="1.0.0.0/8") == "InvalidPermission.Duplicate"
    assert modify() == "InvalidParameterCombination"
    assert modify(CidrIpv4="1.0.0.0/8", CidrIpv6="::/0") == "InvalidParameterCombination"
    assert modify(PrefixListId="pl-1") == "InvalidPrefixListID.NotFound"
    assert modify(ReferencedGroupId=id) == "InvalidParameterValue"
    assert region("DescribeSecurityGroupRules", SecurityGroupRuleIds=[second["SecurityGroupRuleId"]])


def test_duplicates(region: Region) -> None:
    id = region.group()
    allow(region, id, tcp(22, "0.0.0.0/0"))
    assert region.fails("AuthorizeSecurityGroupIngress", GroupId=id, IpPermissions=[tcp(22, "0.0.0.0/0")]) == (
        "InvalidPermission.Duplicate",
        'the specified rule "peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW" already exists')
    assert region.fails("AuthorizeSecurityGroupEgress", GroupId=id, IpPermissions=[
        {"IpProtocol": "all", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]) == (
        "InvalidPermission.Duplicate", 'the specified rule "peer: 0.0.0.0/0, ALL, ALLOW" already exists')
    assert region.fails("AuthorizeSecurityGroupIngress", GroupId=id, IpPermissions=[
        tcp(23, "0.0.0.0/0"), tcp(23, "0.0.0.0/0")])[0] == "InvalidParameterValue"
    allow(region, id, {**tcp(22, "0.0.0.0/0"), "IpProtocol": "17"})


@pytest.mark.parametrize(("permission", "code"), [
    ({"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}, "InvalidParameterValue"),
    (tcp(70000, "0.0.0.0/0"), "InvalidParameterValue"),
    (tcp(-1, "0.0.0.0/0"), "InvalidParameterValue"),
    ({**tcp(80, "0.0.0.0/0"), "ToPort": 22}, "InvalidParameterValue"),
    ({**tcp(80, "0.0.0.0/0"), "IpProtocol": "smoke"}, "InvalidParameterValue"),
    ({**tcp(80, "0.0.0.0/0"), "IpProtocol": "256"}, "InvalidParameterValue"),
    ({**tcp(80, "0.0.0.0/0"), "IpProtocol": ""}, "MissingParameter"),
    ({"IpProtocol": "icmp", "FromPort": 300, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
     "InvalidParameterValue"),
    (tcp(80, "0.0.0.0/33"), "InvalidParameterValue"),
    (tcp(80, "here"), "InvalidParameterValue"),
    (tcp(80), "MissingParameter"),
    (tcp(80, PrefixListIds=[{"PrefixListId": "pl-1"}]), "InvalidPrefixListID.NotFound"),
    (tcp(80, Ipv6Ranges=[{"CidrIpv6": "1.2.3.4/8"}]), "InvalidParameterValue"),
    (tcp(80, UserIdGroupPairs=[{}]), "MissingParameter"),
    (tcp(80, UserIdGroupPairs=[{"GroupId": "sg-0", "UserId": "999999999999"}]), "InvalidGroup.NotFound"),
    (tcp(80, IpRanges=[{"CidrIp": "0.0.0.0/0", "Description": "<b>"}]), "InvalidParameterValue"),
])
def test_authorize_refuses(region: Region, permission: dict[str, Any], code: str) -> None:
    id = region.group()
    assert region.fails("AuthorizeSecurityGroupIngress", GroupId=id, IpPermissions=[permission])[0] == code
    assert seen(region, id)["IpPermissions"] == []


def test_a_rule_names_groups_of_its_own_vpc_only(region: Region) -> None:
    foreign = region.group("foreign", region.vpc())
    assert region.fails("AuthorizeSecurityGroupIngress", GroupId=region.group(), IpPermissions=[from_group(foreign)]
                        ) == ("InvalidGroup.NotFound",
                              "You have specified two resources that belong to different networks.")


def test_flat_parameters(region: Region) -> None:
    id = region.group()
    region("AuthorizeSecurityGroupIngress", GroupName="web", IpProtocol="tcp", FromPort=22, ToPort=22,
           CidrIp="10.0.0.0/8")
    region("AuthorizeSecurityGroupIngress", GroupId=id, SourceSecurityGroupName="default")
    assert sorted(p["IpProtocol"] for p in seen(region, id)["IpPermissions"]) == ["icmp", "tcp", "tcp", "udp"]
    region("RevokeSecurityGroupIngress", GroupId=id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="10.0.0.0/8")
    assert len(seen(region, id)["IpPermissions"]) == 3
    assert region.fails("AuthorizeSecurityGroupIngress", GroupId=id)[0] == "MissingParameter"


def test_revoke_what_is_not_there(region: Region) -> None:
    id = region.group()
    answer = region("RevokeSecurityGroupIngress", GroupId=id, IpPermissions=[tcp(80, "0.0.0.0/0")])
    assert answer["UnknownIpPermissions"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}], "in the default VPC"
    own = region.group("own", region.vpc())
    assert region.fails("RevokeSecurityGroupIngress", GroupId=own, IpPermissions=[tcp(80, "0.0.0.0/0")]) == (
        "InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
    region("RevokeSecurityGroupEgress", GroupId=own, IpPermissions=[
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    assert seen(region, own)["IpPermissionsEgress"] == []


def test_descriptions(region: Region) -> None:
    id = region.group()
    (rule,) = allow(region, id, tcp(80, IpRanges=[{"CidrIp": "0.0.0.0/0", "Description": "old"}]))
    assert rule["Description"] == "old"
    region("UpdateSecurityGroupRuleDescriptionsIngress", GroupId=id, IpPermissions=[
        tcp(80, IpRanges=[{"CidrIp": "0.0.0.0/0", "Description": "new"}])])
    assert seen(region, id)["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0", "Description": "new"}]
    region("UpdateSecurityGroupRuleDescriptionsIngress", GroupId=id, SecurityGroupRuleDescriptions=[
        {"SecurityGroupRuleId": rule["SecurityGroupRuleId"]}])
    assert seen(region, id)["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
    assert region.fails("UpdateSecurityGroupRuleDescriptionsEgress", GroupId=id, IpPermissions=[
        tcp(80, "0.0.0.0/0")])[0] == "InvalidPermission.NotFound"


def test_there_is_a_limit_of_rules(region: Region) -> None:
    id = region.group()
    allow(region, id, *(tcp(port, "0.0.0.0/0") for port in range(1, quotas.RULES_PER_GROUP + 1)))
    assert region.fails("AuthorizeSecurityGroupIngress", GroupId=id, IpPermissions=[tcp(99, "0.0.0.0/0")])[0] == (
        "RulesPerSecurityGroupLimitExceeded")
    allow(region, id, tcp(99, Ipv6Ranges=[{"CidrIpv6": "::/0"}]))


def test_delete_security_group(region: Region) -> None:
    id, other = region.group(), region.group("other")
    allow(region, id, from_group(id))
    allow(region, other, from_group(id))
    refused = ("DependencyViolation", f"resource {id} has a dependent object")
    assert region.fails("DeleteSecurityGroup", GroupId=id) == refused
    region("DeleteSecurityGroup", GroupName="other")
    interface = region("CreateNetworkInterface", SubnetId=region.subnet_id, Groups=[id])["NetworkInterface"]
    assert region.fails("DeleteSecurityGroup", GroupId=id) == refused
    region("DeleteNetworkInterface", NetworkInterfaceId=interface["NetworkInterfaceId"])
    assert region("DeleteSecurityGroup", GroupId=id) == {"Return": True, "GroupId": id}
    default = region("DescribeSecurityGroups")["SecurityGroups"][0]["GroupId"]
    assert region.fails("DeleteSecurityGroup", GroupId=default) == (
        "CannotDelete", f'the specified group: "{default}" name: "default" cannot be deleted by a user')
    left = region("DescribeSecurityGroupRules")["SecurityGroupRules"]
    assert {rule["GroupId"] for rule in left} == {default}


def test_groups_of_peered_vpcs_do_not_exist(region: Region) -> None:
    id = region.group()
    assert region("DescribeSecurityGroupReferences", GroupId=[id]) == {"SecurityGroupReferenceSet": []}
    assert region("DescribeStaleSecurityGroups", VpcId=region.vpc_id) == {"StaleSecurityGroupSet": []}
    assert region.fails("DescribeSecurityGroupReferences", GroupId=["sg-0"])[0] == "InvalidGroup.NotFound"


def test_get_security_groups_for_vpc(region: Region) -> None:
    id = region.group("web", region.vpc())
    vpc_id = seen(region, id)["VpcId"]
    groups = region("GetSecurityGroupsForVpc", VpcId=vpc_id)["SecurityGroupForVpcs"]
    assert sorted(g["GroupName"] for g in groups) == ["default", "web"]
    assert {g["PrimaryVpcId"] for g in groups} == {vpc_id}
