"""Attributes of instances: looked at, and changed where and when AWS lets them."""

import base64
from typing import Any

import pytest

from tests.services.ec2.instances.conftest import Fleet


def attribute(fleet: Fleet, id: str, name: str) -> Any:
    answer = fleet.region("DescribeInstanceAttribute", InstanceId=id, Attribute=name)
    assert answer.pop("InstanceId") == id
    (value,) = answer.values()
    return value


def modify(fleet: Fleet, id: str, **given: Any) -> None:
    fleet.region("ModifyInstanceAttribute", InstanceId=id, **given)


def stop(fleet: Fleet, id: str) -> None:
    fleet.region("StopInstances", InstanceIds=[id])
    fleet.region.settle()


def test_every_attribute_can_be_looked_at(fleet: Fleet) -> None:
    id = fleet.run(UserData=base64.b64encode(b"hello").decode())
    assert attribute(fleet, id, "instanceType") == {"Value": "t3.micro"}
    assert attribute(fleet, id, "userData") == {"Value": base64.b64encode(b"hello").decode()}
    assert attribute(fleet, id, "disableApiTermination") == {"Value": False}
    assert attribute(fleet, id, "disableApiStop") == {"Value": False}
    assert attribute(fleet, id, "instanceInitiatedShutdownBehavior") == {"Value": "stop"}
    assert attribute(fleet, id, "rootDeviceName") == {"Value": "/dev/xvda"}
    assert attribute(fleet, id, "sourceDestCheck") == {"Value": True}
    assert attribute(fleet, id, "groupSet")[0]["GroupName"] == "default"
    assert attribute(fleet, id, "blockDeviceMapping")[0]["DeviceName"] == "/dev/xvda"
    for name in ("kernel", "ramdisk", "sriovNetSupport", "productCodes"):
        assert not attribute(fleet, id, name)
    for name in ("ebsOptimized", "enaSupport"):
        assert attribute(fleet, id, name) == {"Value": False}
    assert attribute(fleet, id, "enclaveOptions") == {"Enabled": False}
    assert fleet.region.fails("DescribeInstanceAttribute", InstanceId=id, Attribute="color")[0] == (
        "InvalidParameterValue")


@pytest.mark.parametrize(("given", "name", "value"), [
    ({"DisableApiTermination": {"Value": True}}, "disableApiTermination", {"Value": True}),
    ({"DisableApiStop": {"Value": True}}, "disableApiStop", {"Value": True}),
    ({"Attribute": "disableApiStop", "Value": "True"}, "disableApiStop", {"Value": True}),
    ({"InstanceInitiatedShutdownBehavior": {"Value": "terminate"}}, "instanceInitiatedShutdownBehavior",
     {"Value": "terminate"}),
    ({"SourceDestCheck": {"Value": False}}, "sourceDestCheck", {"Value": False})])
def test_what_may_be_changed_while_it_runs(fleet: Fleet, given: dict[str, Any], name: str, value: Any) -> None:
    id = fleet.run()
    modify(fleet, id, **given)
    assert attribute(fleet, id, name) == value


@pytest.mark.parametrize(("given", "name", "value"), [
    ({"InstanceType": {"Value": "m5.large"}}, "instanceType", {"Value": "m5.large"}),
    ({"Attribute": "instanceType", "Value": "t3.small"}, "instanceType", {"Value": "t3.small"}),
    ({"UserData": {"Value": b"new"}}, "userData", {"Value": base64.b64encode(b"new").decode()}),
    ({"Attribute": "userData", "Value": base64.b64encode(b"new").decode()}, "userData",
     {"Value": base64.b64encode(b"new").decode()}),
    ({"EbsOptimized": {"Value": True}}, "ebsOptimized", {"Value": True})])
def test_what_may_be_changed_only_while_it_is_stopped(fleet: Fleet, given: dict[str, Any], name: str,
                                                      value: Any) -> None:
    id = fleet.run()
    assert fleet.region.fails("ModifyInstanceAttribute", InstanceId=id, **given) == (
        "IncorrectInstanceState",
        f"The instance '{id}' must be in a 'stopped' state to change its '{name}' attribute.")
    stop(fleet, id)
    modify(fleet, id, **given)
    assert attribute(fleet, id, name) == value


def test_another_type_is_another_machine(fleet: Fleet) -> None:
    id = fleet.run()
    stop(fleet, id)
    modify(fleet, id, InstanceType={"Value": "c5.xlarge"})
    fleet.region("StartInstances", InstanceIds=[id])
    fleet.region.settle()
    spec = fleet.machine(id).spec
    assert (spec.cpus, spec.memory_bytes) == (4, 8 << 30)
    assert fleet.record(id).credits == ""


def test_groups_and_the_source_check_reach_the_fabric(fleet: Fleet) -> None:
    id, group = fleet.run(), fleet.region.group()
    modify(fleet, id, Groups=[group])
    modify(fleet, id, SourceDestCheck={"Value": False})
    fleet.region.settle()
    member = fleet.region.fabric().members[0]
    assert (member.groups, member.source_check) == ((group,), False)
    fleet.region("ResetInstanceAttribute", InstanceId=id, Attribute="sourceDestCheck")
    fleet.region.settle()
    assert fleet.region.fabric().members[0].source_check
    assert fleet.region.fails("ResetInstanceAttribute", InstanceId=id, Attribute="kernel")[0] == "InvalidParameterValue"


def test_whether_a_volume_goes_with_it(fleet: Fleet) -> None:
    id = fleet.run()
    modify(fleet, id, BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": False}}])
    assert not attribute(fleet, id, "blockDeviceMapping")[0]["Ebs"]["DeleteOnTermination"]
    assert fleet.region.fails("ModifyInstanceAttribute", InstanceId=id, BlockDeviceMappings=[
        {"DeviceName": "/dev/sdz", "Ebs": {"DeleteOnTermination": False}}])[0] == "InvalidInstanceAttributeValue"


@pytest.mark.parametrize(("given", "code"), [
    ({}, "InvalidParameterCombination"),
    ({"DisableApiStop": {"Value": True}, "EbsOptimized": {"Value": True}}, "InvalidParameterCombination"),
    ({"Attribute": "color", "Value": "red"}, "InvalidParameterValue"),
    ({"Attribute": "disableApiStop", "Value": "perhaps"}, "InvalidParameterValue"),
    ({"InstanceInitiatedShutdownBehavior": {"Value": "sleep"}}, "InvalidParameterValue"),
    ({"Groups": []}, "InvalidParameterValue"), ({"Groups": ["sg-0"]}, "InvalidGroup.NotFound"),
    ({"Kernel": {"Value": "aki-1"}}, "UnsupportedOperation"),
    ({"EnaSupport": {"Value": True}}, "UnsupportedOperation"),
    ({"InstanceType": {"Value": "t4g.micro"}}, "InvalidParameterValue"),
    ({"InstanceType": {"Value": "huge"}}, "InvalidParameterValue"),
    ({"UserData": {"Value": b"x" * 16385}}, "InvalidParameterValue")])
def test_bad_changes(fleet: Fleet, given: dict[str, Any], code: str) -> None:
    id = fleet.run()
    stop(fleet, id)
    before = fleet.record(id)
    assert fleet.region.fails("ModifyInstanceAttribute", InstanceId=id, **given)[0] == code
    assert fleet.record(id) == before


def test_a_terminated_instance_is_what_it_was(fleet: Fleet) -> None:
    id = fleet.run()
    fleet.region("TerminateInstances", InstanceIds=[id])
    for operation, given in (("ModifyInstanceAttribute", {"DisableApiStop": {"Value": True}}),
                             ("ModifyInstanceMetadataOptions", {"HttpTokens": "required"})):
        assert fleet.region.fails(operation, InstanceId=id, **given)[0] == "IncorrectInstanceState"


def test_metadata_options(fleet: Fleet) -> None:
    id = fleet.run()
    answer = fleet.region("ModifyInstanceMetadataOptions", InstanceId=id, HttpTokens="required")
    assert answer["InstanceMetadataOptions"]["State"] == "pending"
    assert answer["InstanceMetadataOptions"]["HttpTokens"] == "required"
    fleet.region("ModifyInstanceMetadataOptions", InstanceId=id, HttpPutResponseHopLimit=2,
                 InstanceMetadataTags="enabled")
    options = fleet.shown(id)["MetadataOptions"]
    assert (options["State"], options["HttpTokens"], options["HttpPutResponseHopLimit"],
            options["InstanceMetadataTags"], options["HttpEndpoint"]) == (
                "applied", "required", 2, "enabled", "enabled")
    assert fleet.region.fails("ModifyInstanceMetadataOptions", InstanceId=id, HttpPutResponseHopLimit=0)[0] == (
        "InvalidParameterValue")


def test_credits(fleet: Fleet) -> None:
    burstable, plain, old = fleet.launch()[0], fleet.launch(InstanceType="m5.large")[0], fleet.launch(
        InstanceType="t2.micro")[0]

    def shown(**given: Any) -> dict[str, str]:
        answer = fleet.region("DescribeInstanceCreditSpecifications", **given)["InstanceCreditSpecifications"]
        return {each["InstanceId"]: each["CpuCredits"] for each in answer}
    assert shown() == {burstable: "unlimited"}, "without ids, those that are unlimited"
    assert shown(InstanceIds=[old]) == {old: "standard"}
    assert fleet.region.fails("DescribeInstanceCreditSpecifications", InstanceIds=[plain])[0] == (
        "InvalidInstanceID.NotBurstable")
    answer = fleet.region("ModifyInstanceCreditSpecification", InstanceCreditSpecifications=[
        {"InstanceId": burstable, "CpuCredits": "standard"}, {"InstanceId": plain, "CpuCredits": "standard"},
        {"InstanceId": "i-0", "CpuCredits": "standard"}])
    assert [each["InstanceId"] for each in answer["SuccessfulInstanceCreditSpecifications"]] == [burstable]
    assert [each["Error"]["Code"] for each in answer["UnsuccessfulInstanceCreditSpecifications"]] == [
        "InstanceCreditSpecification.NotSupported", "InvalidInstanceID.NotFound"]
    assert shown() == {}
