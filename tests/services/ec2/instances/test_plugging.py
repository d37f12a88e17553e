"""What is attached to an instance and taken off it: while it runs, while it is stopped, and while its guest is busy."""

from dataclasses import replace
from typing import Any

from cloudlet.engines.fake import Faults
from cloudlet.services.ec2.instances.cards import plug
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.records import NetworkInterface, Vpc
from tests.services.ec2.instances.conftest import Fleet


def volume(fleet: Fleet, id: str) -> dict[str, Any]:
    found: dict[str, Any] = fleet.region("DescribeVolumes", VolumeIds=[id])["Volumes"][0]
    return found


def new_volume(fleet: Fleet) -> str:
    id: str = fleet.region("CreateVolume", AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    fleet.region.settle()
    return id


def test_a_volume_comes_and_goes_while_it_runs(fleet: Fleet) -> None:
    id, extra = fleet.run(), new_volume(fleet)
    fleet.region("AttachVolume", VolumeId=extra, InstanceId=id, Device="/dev/sdf")
    assert volume(fleet, extra)["Attachments"][0]["State"] == "attaching"
    fleet.region.settle()
    assert volume(fleet, extra)["Attachments"][0]["State"] == "attached"
    assert [d.serial for d in fleet.machine(id).spec.drives][1] == extra.replace("-", "")
    assert fleet.world.machines.starts[fleet.record(id).machine] == 1
    fleet.world.faults = Faults(busy=1.0)  # the guest does not let go
    fleet.region("DetachVolume", VolumeId=extra)
    fleet.later(1)
    assert volume(fleet, extra)["Attachments"][0]["State"] == "detaching"
    assert volume(fleet, extra)["State"] == "in-use"
    fleet.world.faults = Faults()
    fleet.later(60)
    assert (volume(fleet, extra)["State"], volume(fleet, extra)["Attachments"]) == ("available", [])
    assert len(fleet.machine(id).spec.drives) == 1


def test_a_volume_comes_and_goes_while_it_is_stopped(fleet: Fleet) -> None:
    id, extra = fleet.run(), new_volume(fleet)
    fleet.region("StopInstances", InstanceIds=[id])
    fleet.region.settle()
    fleet.region("AttachVolume", VolumeId=extra, InstanceId=id, Device="/dev/sdf")
    fleet.region.settle()
    assert volume(fleet, extra)["Attachments"][0]["State"] == "attached"
    fleet.region("DetachVolume", VolumeId=extra)
    fleet.region.settle()
    assert volume(fleet, extra)["State"] == "available"
    fleet.region("AttachVolume", VolumeId=extra, InstanceId=id, Device="/dev/sdg")
    fleet.region("StartInstances", InstanceIds=[id])
    fleet.region.settle()
    assert len(fleet.machine(id).spec.drives) == 2


def test_a_volume_moves_to_another_instance_only_when_the_first_has_let_go(fleet: Fleet) -> None:
    first, second, extra = fleet.run(), fleet.run(), new_volume(fleet)
    fleet.region("AttachVolume", VolumeId=extra, InstanceId=first, Device="/dev/sdf")
    fleet.region.settle()
    fleet.region("DetachVolume", VolumeId=extra)
    assert fleet.region.fails("AttachVolume", VolumeId=extra, InstanceId=second, Device="/dev/sdf")[0] in (
        "VolumeInUse", "IncorrectState")
    fleet.region.settle()
    fleet.region("AttachVolume", VolumeId=extra, InstanceId=second, Device="/dev/sdf")
    fleet.region.settle()
    assert fleet.world.machines.holder(fleet.machine(second).spec.drives[1].disk) == fleet.record(second).machine


def test_a_card_comes_and_goes_while_it_runs(fleet: Fleet) -> None:
    id = fleet.run()
    eni = fleet.region("CreateNetworkInterface", SubnetId=fleet.region.subnet_id)["NetworkInterface"]

    def interface(tx: Any) -> NetworkInterface:
        found: NetworkInterface = tx.find(NetworkInterface, id=eni["NetworkInterfaceId"])[0]
        return found
    with fleet.desk.store.tx() as tx:
        instance, seen = tx.find(Instance, id=id)[0], interface(tx)
        vpc = tx.get(Vpc, f"{seen.account}/{seen.region}/{seen.vpc_id}")
        assert vpc is not None
        plug(tx, seen, instance, vpc, 1)
    assert fleet.shown(id)["NetworkInterfaces"][1]["Attachment"]["Status"] == "attaching"
    fleet.region.settle()
    assert fleet.shown(id)["NetworkInterfaces"][1]["Attachment"]["Status"] == "attached"
    assert len(fleet.machine(id).spec.nics) == 2
    with fleet.desk.store.tx() as tx:
        seen = interface(tx)
        assert seen.attachment is not None
        tx.put(replace(seen, attachment=replace(seen.attachment, wanted=False)))
        tx.enqueue("ec2.instance", fleet.record_key(id))
    assert fleet.shown(id)["NetworkInterfaces"][1]["Attachment"]["Status"] == "detaching"
    fleet.region.settle()
    assert len(fleet.machine(id).spec.nics) == 1
    assert len(fleet.shown(id)["NetworkInterfaces"]) == 1
    assert len(fleet.world.networks.interfaces) == 1, "its tap is gone"
    left = fleet.region("DescribeNetworkInterfaces", NetworkInterfaceIds=[eni["NetworkInterfaceId"]])
    assert left["NetworkInterfaces"][0]["Status"] == "available"


def test_a_lost_tap_takes_no_card_out(fleet: Fleet) -> None:
    id = fleet.run()
    fleet.world.networks.vanish(fleet.machine(id).spec.nics[0].interface)
    with fleet.desk.store.tx() as tx:
        tx.enqueue_all()
    fleet.region.settle()
    fleet.later(5)
    assert len(fleet.machine(id).spec.nics) == 1
    assert fleet.state(id) == "running"
    box = fleet.machine(id)
    assert box.wires == dict(fleet.world.networks.births) == {box.spec.nics[0].interface: 2}, "and the card leads to it"
