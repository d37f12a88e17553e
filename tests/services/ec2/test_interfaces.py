"""Network interfaces and the addresses they have."""

from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from tests.services.ec2.conftest import Region


def make(region: Region, **given: Any) -> dict[str, Any]:
    given.setdefault("SubnetId", region.subnet_id)
    interface: dict[str, Any] = region("CreateNetworkInterface", **given)["NetworkInterface"]
    return interface


def describe(region: Region, id: str) -> dict[str, Any]:
    interface: dict[str, Any] = region("DescribeNetworkInterfaces", NetworkInterfaceIds=[id])["NetworkInterfaces"][0]
    return interface


def test_create_network_interface(region: Region) -> None:
    made = make(region, Description="mine", PrivateIpAddress="172.31.0.9", TagSpecifications=[
        {"ResourceType": "network-interface", "Tags": [{"Key": "a", "Value": "b"}]}])
    assert made["Status"] == "pending"
    id = made["NetworkInterfaceId"]
    seen = describe(region, id)
    assert seen == {**made, "Status": "available"}
    assert (seen["PrivateIpAddress"], seen["PrivateDnsName"]) == ("172.31.0.9", "ip-172-31-0-9.ec2.internal")
    assert (seen["Description"], seen["TagSet"]) == ("mine", [{"Key": "a", "Value": "b"}])
    assert seen["Groups"][0]["GroupName"] == "default"
    assert (seen["RequesterManaged"], seen["SourceDestCheck"]) == (False, True)
    assert seen["AvailabilityZone"] == "us-east-1a"
    assert "Attachment" not in seen
    assert "Association" not in seen
    assert region("DescribeSubnets", SubnetIds=[region.subnet_id])["Subnets"][0]["AvailableIpAddressCount"] == 4090
    region.settle()
    assert not region.world.networks.interfaces, "nothing uses it, so there is nothing to make"
    region("DeleteNetworkInterface", NetworkInterfaceId=id)
    assert region.fails("DescribeNetworkInterfaces", NetworkInterfaceIds=[id]) == (
        "InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{id}' does not exist")
    assert region.fails("DeleteNetworkInterface", NetworkInterfaceId="x")[0] == "InvalidNetworkInterfaceId.Malformed"


@pytest.mark.parametrize(("request_", "code"), [
    ({"PrivateIpAddress": "172.31.0.3"}, "InvalidParameterValue"),
    ({"PrivateIpAddress": "172.31.15.255"}, "InvalidParameterValue"),
    ({"PrivateIpAddress": "10.0.0.1"}, "InvalidParameterValue"),
    ({"PrivateIpAddress": "fish"}, "InvalidParameterValue"),
    ({"Ipv4PrefixCount": 1}, "UnsupportedOperation"),
    ({"InterfaceType": "efa"}, "UnsupportedOperation"),
    ({"Groups": ["sg-0"]}, "InvalidGroup.NotFound"),
    ({"SubnetId": "subnet-0"}, "InvalidSubnetID.NotFound"),
])
def test_create_network_interface_refuses(region: Region, request_: dict[str, Any], code: str) -> None:
    assert region.fails("CreateNetworkInterface", **{"SubnetId": region.subnet_id, **request_})[0] == code


def test_groups_of_an_interface(region: Region) -> None:
    foreign, subnet_id = region.group("foreign", region.vpc()), region.subnet_id
    assert region.fails("CreateNetworkInterface", SubnetId=subnet_id, Groups=[foreign]) == (
        "InvalidParameter", f"Security group {foreign} and subnet {subnet_id} belong to different networks.")
    groups = [region.group(f"g{number}") for number in range(6)]
    assert region.fails("CreateNetworkInterface", SubnetId=subnet_id, Groups=groups)[0] == (
        "SecurityGroupsPerInterfaceLimitExceeded")
    made = make(region, Groups=groups[:5])
    assert [g["GroupId"] for g in made["Groups"]] == groups[:5]
    region("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=made["NetworkInterfaceId"], Groups=groups[5:])
    assert describe(region, made["NetworkInterfaceId"])["Groups"] == [{"GroupId": groups[5], "GroupName": "g5"}]


def test_an_address_belongs_to_one_interface(region: Region) -> None:
    make(region, PrivateIpAddress="172.31.0.9")
    assert region.fails("CreateNetworkInterface", SubnetId=region.subnet_id, PrivateIpAddress="172.31.0.9") == (
        "InvalidIPAddress.InUse", "The address '172.31.0.9' is in use.")
    listed = make(region, PrivateIpAddresses=[{"PrivateIpAddress": "172.31.0.10", "Primary": True}])
    assert listed["PrivateIpAddress"] == "172.31.0.10"


def test_a_subnet_gives_every_address_once_and_then_no_more(region: Region) -> None:
    subnet_id = region.subnet(region.vpc(), "10.0.0.0/28")
    made = [make(region, SubnetId=subnet_id) for _ in range(11)]
    assert {m["PrivateIpAddress"] for m in made} == {f"10.0.0.{last}" for last in range(4, 15)}
    assert len({m["MacAddress"] for m in made}) == 11
    assert all(m["MacAddress"].startswith("02:") for m in made)
    assert region.fails("CreateNetworkInterface", SubnetId=subnet_id)[0] == "InsufficientFreeAddressesInSubnet"
    region("DeleteNetworkInterface", NetworkInterfaceId=made[3]["NetworkInterfaceId"])
    assert make(region, SubnetId=subnet_id)["PrivateIpAddress"] == made[3]["PrivateIpAddress"]


def test_attributes(region: Region) -> None:
    id = make(region)["NetworkInterfaceId"]

    def attribute(name: str) -> Any:
        answer = region("DescribeNetworkInterfaceAttribute", NetworkInterfaceId=id, Attribute=name)
        assert answer.pop("NetworkInterfaceId") == id
        return answer
    region("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=id, Description={"Value": "new"})
    region("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=id, SourceDestCheck={"Value": False})
    assert attribute("description") == {"Description": {"Value": "new"}}
    assert attribute("sourceDestCheck") == {"SourceDestCheck": {"Value": False}}
    region("ResetNetworkInterfaceAttribute", NetworkInterfaceId=id, SourceDestCheck="true")
    assert attribute("sourceDestCheck") == {"SourceDestCheck": {"Value": True}}
    assert attribute("attachment") == {}
    assert attribute("groupSet")["Groups"][0]["GroupName"] == "default"
    assert region.fails("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=id)[0] == "InvalidParameterCombination"
    assert region.fails("DescribeNetworkInterfaceAttribute", NetworkInterfaceId=id)[0] == "InvalidParameterValue"


def test_what_a_service_made_is_the_services(region: Region) -> None:
    task = region.task(description="a task", public=True)
    seen = describe(region, task.id)
    assert (seen["RequesterManaged"], seen["RequesterId"], seen["Status"]) == (True, "amazon-ecs", "attaching")
    region.settle()
    seen = describe(region, task.id)
    attachment = seen["Attachment"]
    assert (seen["Status"], attachment["Status"], attachment["DeviceIndex"]) == ("in-use", "attached", 1)
    assert seen["Association"]["PublicIp"] == task.public_ip
    assert seen["Association"]["IpOwnerId"] == "amazon"
    dashed = (task.public_ip or "").replace(".", "-")
    assert seen["Association"]["PublicDnsName"] == f"ec2-{dashed}.compute-1.amazonaws.com"
    assert region.fails("DeleteNetworkInterface", NetworkInterfaceId=task.id) == (
        "InvalidParameterValue", f"Network interface '{task.id}' is currently in use.")
    for operation, given in (("ModifyNetworkInterfaceAttribute", {"Description": {"Value": "x"}}),
                             ("ResetNetworkInterfaceAttribute", {"SourceDestCheck": "true"})):
        assert region.fails(operation, NetworkInterfaceId=task.id, **given)[0] == "AuthFailure"
    region("CreateTags", Resources=[task.id], Tags=[{"Key": "a", "Value": "b"}])
    for name, value in (("requester-managed", "true"), ("attachment.status", "attached"), ("status", "in-use"),
                        ("association.public-ip", task.public_ip), ("private-ip-address", task.private_ip),
                        ("addresses.private-ip-address", task.private_ip), ("tag:a", "b"), ("group-name", "default"),
                        ("mac-address", task.mac), ("subnet-id", task.subnet_id)):
        found = region("DescribeNetworkInterfaces", Filters=[{"Name": name, "Values": [value]}])["NetworkInterfaces"]
        assert [i["NetworkInterfaceId"] for i in found] == [task.id], name


def test_create_interface_raises_what_ec2_would_say(region: Region) -> None:
    for given, code in (({"subnet_id": "subnet-0"}, "InvalidSubnetID.NotFound"),
                        ({"group_ids": ["sg-0"]}, "InvalidGroup.NotFound")):
        with pytest.raises(AwsError) as caught:
            region.task(**given)
        assert caught.value.code == code


def test_names_of_other_regions(region: Region) -> None:
    west = region.elsewhere("us-west-2")
    task = west.task(public=True)
    assert task.private_dns_name.endswith(".us-west-2.compute.internal")
    (seen,) = west("DescribeNetworkInterfaces")["NetworkInterfaces"]
    assert seen["PublicDnsName"].endswith(".us-west-2.compute.amazonaws.com")
    assert region("DescribeNetworkInterfaces")["NetworkInterfaces"] == []
