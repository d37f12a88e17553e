"""DescribeInstances: by id and filter, and as quick for many as for few."""

from typing import Any

import pytest

from cloudlet.services.ec2.instances.views import _FILTERS
from tests.services.ec2.instances.conftest import Fleet


def found(fleet: Fleet, *filters: tuple[str, str], **given: Any) -> set[str]:
    answer = fleet.region("DescribeInstances", Filters=[{"Name": n, "Values": [v]} for n, v in filters], **given)
    return {instance["InstanceId"] for reservation in answer["Reservations"] for instance in reservation["Instances"]}


def test_reservations_stay_together(fleet: Fleet) -> None:
    first, second = fleet.launch(3), fleet.launch(1)
    answer = fleet.region("DescribeInstances")["Reservations"]
    grouped = [[instance["InstanceId"] for instance in reservation["Instances"]] for reservation in answer]
    assert sorted(grouped) == sorted([first, second])
    assert found(fleet, ("launch-index", "2")) == {first[2]}
    fleet.desk.clock.time += 1
    by_id = fleet.region("DescribeInstances", InstanceIds=[first[1]])["Reservations"]
    assert [len(reservation["Instances"]) for reservation in by_id] == [1]


def test_filters_find_what_they_say(fleet: Fleet) -> None:
    fleet.region("CreateKeyPair", KeyName="me")
    group = fleet.region.group()
    one = fleet.run(KeyName="me", SecurityGroupIds=[group], ClientToken="token", Placement={
        "AvailabilityZone": "us-east-1b"}, TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web-1"}]}])
    two = fleet.run(InstanceType="m5.large", MetadataOptions={"HttpTokens": "required"})
    three = fleet.run()
    fleet.region("StopInstances", InstanceIds=[three])
    fleet.region.settle()
    shown = fleet.shown(one)
    card, device = shown["NetworkInterfaces"][0], shown["BlockDeviceMappings"][0]
    for name, value in (
            ("instance-id", one), ("tag:Name", "web-*"), ("tag-key", "Name"), ("key-name", "me"),
            ("availability-zone", "us-east-1b"), ("availability-zone-id", "use1-az2"), ("client-token", "token"),
            ("instance.group-id", group), ("group-name", "web"), ("private-ip-address", shown["PrivateIpAddress"]),
            ("ip-address", shown["PublicIpAddress"]), ("dns-name", shown["PublicDnsName"]),
            ("private-dns-name", shown["PrivateDnsName"]), ("subnet-id", shown["SubnetId"]),
            ("network-interface.network-interface-id", card["NetworkInterfaceId"]),
            ("network-interface.mac-address", card["MacAddress"]),
            ("network-interface.addresses.association.public-ip", shown["PublicIpAddress"]),
            ("network-interface.attachment.attachment-id", card["Attachment"]["AttachmentId"]),
            ("block-device-mapping.volume-id", device["Ebs"]["VolumeId"])):
        assert found(fleet, (name, value)) == {one}, name
    assert found(fleet, ("instance-type", "m5.*")) == {two}
    assert found(fleet, ("metadata-options.http-tokens", "required")) == {two}
    assert found(fleet, ("instance-state-name", "stopped")) == found(fleet, ("instance-state-code", "80")) == {three}
    assert found(fleet, ("state-reason-code", "Client.UserInitiatedShutdown")) == {three}
    assert found(fleet, ("reason", "User initiated*")) == {three}
    assert found(fleet, ("vpc-id", fleet.region.vpc_id), ("instance-state-name", "running")) == {one, two}
    assert found(fleet, ("image-id", "ami-*")) == {one, two, three}
    assert found(fleet, ("source-dest-check", "false")) == set()


def test_every_filter_works(fleet: Fleet) -> None:
    fleet.run()
    for name in _FILTERS:
        found(fleet, (name, "*"))
    assert fleet.region.fails("DescribeInstances", Filters=[{"Name": "color", "Values": ["red"]}])[0] == (
        "InvalidParameterValue")


@pytest.mark.parametrize(("given", "code"), [
    ({"InstanceIds": ["i-00000000000000000"]}, "InvalidInstanceID.NotFound"),
    ({"InstanceIds": ["web"]}, "InvalidInstanceID.Malformed"),
    ({"InstanceIds": ["i-00000000000000000"], "MaxResults": 5}, "InvalidParameterCombination")])
def test_bad_questions(fleet: Fleet, given: dict[str, Any], code: str) -> None:
    assert fleet.region.fails("DescribeInstances", **given)[0] == code


def test_nobody_sees_anothers_instances(fleet: Fleet) -> None:
    id = fleet.launch()[0]
    other = fleet.region.elsewhere(account="210987654321")
    assert other("DescribeInstances")["Reservations"] == []
    assert other.fails("DescribeInstances", InstanceIds=[id])[0] == "InvalidInstanceID.NotFound"
    assert fleet.region.elsewhere("eu-west-1")("DescribeInstances")["Reservations"] == []


def test_many_look_like_few(fleet: Fleet) -> None:
    few = fleet.launch(5)
    alone = {id: fleet.shown(id) for id in few}
    fleet.launch(30)
    answer = fleet.region("DescribeInstances")
    shown = {i["InstanceId"]: i for reservation in answer["Reservations"] for i in reservation["Instances"]}
    assert len(shown) == 35
    assert {id: shown[id] for id in few} == alone
