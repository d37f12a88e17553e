"""Interfaces and Elastic IPs that come to instances and leave them."""

from typing import Any

import pytest

from cloudlet.services.ec2.records import NetworkInterface
from tests.services.ec2.instances.conftest import Fleet


def a_subnet(fleet: Fleet, id: str) -> str:
    subnet: str = fleet.shown(id)["SubnetId"]
    return subnet


def interface(fleet: Fleet, id: str, **given: Any) -> str:
    """A new interface in an instance's subnet."""
    made: str = fleet.region("CreateNetworkInterface", SubnetId=a_subnet(fleet, id), **given)[
        "NetworkInterface"]["NetworkInterfaceId"]
    return made


def shown(fleet: Fleet, eni: str) -> dict[str, Any]:
    found: dict[str, Any] = fleet.region("DescribeNetworkInterfaces", NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    return found


def record(fleet: Fleet, eni: str) -> NetworkInterface:
    with fleet.desk.store.tx() as tx:
        return tx.find(NetworkInterface, id=eni)[0]


def attach(fleet: Fleet, eni: str, id: str, index: int = 1) -> str:
    attachment: str = fleet.region("AttachNetworkInterface", NetworkInterfaceId=eni, InstanceId=id,
                                   DeviceIndex=index)["AttachmentId"]
    return attachment


def test_attach_network_interface_while_it_runs(fleet: Fleet) -> None:
    id = fleet.run()
    eni = interface(fleet, id)
    attachment = attach(fleet, eni, id)
    assert attachment.startswith("eni-attach-")
    assert shown(fleet, eni)["Attachment"]["Status"] == "attaching"
    fleet.region.settle()
    seen = shown(fleet, eni)
    assert (seen["Status"], seen["Attachment"]["Status"], seen["Attachment"]["InstanceId"]) == (
        "in-use", "attached", id)
    assert (seen["Attachment"]["DeviceIndex"], seen["Attachment"]["DeleteOnTermination"]) == (1, False)
    assert record(fleet, eni).fabric_name in fleet.machine(id).seen.nics
    spec = fleet.world.networks.interfaces[record(fleet, eni).fabric_name]
    assert (spec.workload, spec.lease is not None) == ("tap", True)
    assert [i["Attachment"]["DeviceIndex"] for i in fleet.shown(id)["NetworkInterfaces"]] == [0, 1]
    for name, value in (("attachment.attachment-id", attachment), ("attachment.instance-id", id),
                        ("attachment.status", "attached"), ("attachment.device-index", "1")):
        found = fleet.region("DescribeNetworkInterfaces", Filters=[{"Name": name, "Values": [value]}])
        assert eni in [i["NetworkInterfaceId"] for i in found["NetworkInterfaces"]]


def test_detach_network_interface_waits_for_the_guest_and_may_be_forced(fleet: Fleet) -> None:
    id = fleet.run()
    eni = interface(fleet, id)
    attachment = attach(fleet, eni, id)
    fleet.region.settle()
    fleet.region("DetachNetworkInterface", AttachmentId=attachment)
    assert shown(fleet, eni)["Attachment"]["Status"] == "detaching"
    fleet.region.settle()
    assert shown(fleet, eni)["Status"] == "available"
    assert "Attachment" not in shown(fleet, eni)
    assert record(fleet, eni).path == ""
    assert len(fleet.machine(id).seen.nics) == 1
    other = fleet.run()
    again = attach(fleet, eni, other)
    fleet.region.settle()
    assert shown(fleet, eni)["Attachment"]["InstanceId"] == other
    fleet.region("DetachNetworkInterface", AttachmentId=again, Force=True)
    assert shown(fleet, eni)["Status"] == "available", "at once"
    assert fleet.region.fails("AttachNetworkInterface", NetworkInterfaceId=eni, InstanceId=id, DeviceIndex=1)[0] == (
        "InvalidNetworkInterface.InUse"), "its device is not gone yet"
    fleet.region.settle()
    attach(fleet, eni, id)


def test_what_cannot_be_attached_or_detached(fleet: Fleet) -> None:
    id = fleet.run()
    eni, second, third = (interface(fleet, id) for _ in range(3))
    fails = fleet.region.fails
    ask = {"NetworkInterfaceId": eni, "InstanceId": id, "DeviceIndex": 1}
    assert fails("AttachNetworkInterface", **ask | {"InstanceId": "i-00000000000000001"})[0] == (
        "InvalidInstanceID.NotFound")
    assert fails("AttachNetworkInterface", **ask | {"DeviceIndex": 0})[0] == "InvalidParameterValue"
    assert fails("AttachNetworkInterface", **ask | {"DeviceIndex": -1})[0] == "InvalidParameterValue"
    assert fails("AttachNetworkInterface", **ask | {"NetworkCardIndex": 1})[0] == "UnsupportedOperation"
    task = fleet.region.task()
    assert fails("AttachNetworkInterface", **ask | {"NetworkInterfaceId": task.id})[0] == "AuthFailure"
    zones = fleet.region("DescribeSubnets")["Subnets"]
    far = next(subnet["SubnetId"] for subnet in zones if subnet["SubnetId"] != a_subnet(fleet, id))
    elsewhere = fleet.region("CreateNetworkInterface", SubnetId=far)["NetworkInterface"]["NetworkInterfaceId"]
    assert fails("AttachNetworkInterface", **ask | {"NetworkInterfaceId": elsewhere})[0] == (
        "InvalidParameterCombination")
    attach(fleet, eni, id)
    assert fails("AttachNetworkInterface", **ask)[0] == "InvalidNetworkInterface.InUse"
    assert fails("AttachNetworkInterface", **ask | {"NetworkInterfaceId": second})[0] == "InvalidParameterValue"
    assert fails("AttachNetworkInterface", **ask | {"NetworkInterfaceId": third, "DeviceIndex": 2})[0] == (
        "AttachmentLimitExceeded"), "a t3.micro has two"
    primary = fleet.shown(id)["NetworkInterfaces"][0]["Attachment"]["AttachmentId"]
    assert fails("DetachNetworkInterface", AttachmentId=primary)[0] == "OperationNotPermitted"
    assert fails("DetachNetworkInterface", AttachmentId="eni-attach-0")[0] == "InvalidAttachmentID.NotFound"
    assert fails("DetachNetworkInterface", AttachmentId=f"ela-attach-{task.id[4:]}")[0] == "OperationNotPermitted"
    assert fails("DeleteNetworkInterface", NetworkInterfaceId=eni)[0] == "InvalidParameterValue"


def test_a_stopped_instance_takes_and_gives_interfaces(fleet: Fleet) -> None:
    id = fleet.run()
    eni = interface(fleet, id)
    fleet.region("StopInstances", InstanceIds=[id], Force=True)
    fleet.later(60)
    assert fleet.state(id) == "stopped"
    attachment = attach(fleet, eni, id)
    fleet.region.settle()
    assert shown(fleet, eni)["Attachment"]["Status"] == "attached"
    fleet.region("DetachNetworkInterface", AttachmentId=attachment)
    fleet.region.settle()
    assert shown(fleet, eni)["Status"] == "available"
    attach(fleet, eni, id)
    fleet.region("StartInstances", InstanceIds=[id])
    fleet.region.settle()
    assert len(fleet.machine(id).seen.nics) == 2


@pytest.mark.parametrize("goes", [True, False])
def test_whether_an_interface_goes_with_its_instance(fleet: Fleet, goes: bool) -> None:
    id = fleet.run()
    eni = interface(fleet, id)
    attachment = attach(fleet, eni, id)
    change = {"NetworkInterfaceId": eni, "Attachment": {"AttachmentId": attachment, "DeleteOnTermination": goes}}
    fleet.region("ModifyNetworkInterfaceAttribute", **change)
    assert shown(fleet, eni)["Attachment"]["DeleteOnTermination"] is goes
    other = change | {"Attachment": {"AttachmentId": "eni-attach-0", "DeleteOnTermination": goes}}
    assert fleet.region.fails("ModifyNetworkInterfaceAttribute", **other)[0] == "InvalidAttachmentID.NotFound"
    fleet.region.settle()
    fleet.region("TerminateInstances", InstanceIds=[id], Force=True)
    fleet.later(120)
    assert fleet.state(id) == "terminated"
    left = [i["NetworkInterfaceId"] for i in fleet.region("DescribeNetworkInterfaces")["NetworkInterfaces"]]
    assert left == ([] if goes else [eni])


def test_an_elastic_ip_moves_between_instances(fleet: Fleet) -> None:
    first, second = fleet.run(), fleet.run()
    elastic = fleet.region("AllocateAddress")
    id, address = elastic["AllocationId"], elastic["PublicIp"]
    own = fleet.shown(first)["PublicIpAddress"]
    assert own != address
    fleet.region("AssociateAddress", AllocationId=id, InstanceId=first)
    assert fleet.shown(first)["PublicIpAddress"] == address
    seen = fleet.region("DescribeAddresses", Filters=[{"Name": "instance-id", "Values": [first]}])["Addresses"]
    assert [(each["PublicIp"], each["InstanceId"]) for each in seen] == [(address, first)]
    refused = fleet.region.fails("AssociateAddress", AllocationId=id, InstanceId=second)
    assert refused[0] == "Resource.AlreadyAssociated"
    fleet.region("AssociateAddress", AllocationId=id, InstanceId=second, AllowReassociation=True)
    fleet.region.settle()
    assert fleet.shown(second)["PublicIpAddress"] == address
    assert fleet.shown(first).get("PublicIpAddress") != address
    members = {address.public for member in fleet.region.fabric().members for address in member.addresses}
    assert address in members
    fleet.region("StopInstances", InstanceIds=[second], Force=True)
    fleet.later(60)
    assert fleet.shown(second)["PublicIpAddress"] == address, "it stays when the instance is stopped"
    fleet.region("TerminateInstances", InstanceIds=[second])
    fleet.later(120)
    (left,) = fleet.region("DescribeAddresses")["Addresses"]
    assert "InstanceId" not in left
    assert "AssociationId" not in left


def test_an_elastic_ip_needs_to_know_which_interface(fleet: Fleet) -> None:
    id = fleet.run()
    attach(fleet, interface(fleet, id), id)
    elastic = fleet.region("AllocateAddress")["AllocationId"]
    assert fleet.region.fails("AssociateAddress", AllocationId=elastic, InstanceId=id)[0] == "InvalidInstanceID"
    assert fleet.region.fails("AssociateAddress", AllocationId=elastic, InstanceId="i-00000000000000001")[0] == (
        "InvalidInstanceID.NotFound")
    assert fleet.region.fails("AssociateAddress", AllocationId=elastic)[0] == "MissingParameter"


def test_source_and_destination_are_checked_until_that_is_switched_off(fleet: Fleet) -> None:
    id = fleet.run()
    eni = fleet.shown(id)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    assert [m.source_check for m in fleet.region.fabric().members] == [True]
    fleet.region("ModifyNetworkInterfaceAttribute", NetworkInterfaceId=eni, SourceDestCheck={"Value": False})
    fleet.region.settle()
    assert [m.source_check for m in fleet.region.fabric().members] == [False]
