"""Volumes attached and taken off, and ordered anew, with an instance's record as its loop leaves it."""

from dataclasses import replace
from typing import Any

import pytest

from cloudlet.services.ec2.instances.records import Instance, Reservation
from cloudlet.services.ec2.storage.attachments import attached, mark_plugged
from tests.services.ec2.storage.conftest import GIB, Ground


def instance(region: Ground, id: str = "i-00000000000000001", **given: Any) -> Instance:
    """An instance that runs, unless said otherwise."""
    made = Instance(f"{region.account}/{region.name}/{id}", id, region.account, region.name, "t3.micro", "ami-1",
                    "vpc-1", "subnet-1", "us-east-1a", "/dev/xvda", region.desk.clock.now(), region.desk.clock.now(), 0,
                    Reservation("r-1"), **{"on": True, **given})
    with region.desk.store.tx() as tx:
        tx.put(made, wake=False)
    return made


def see(region: Ground, which: Instance, *disks: str, none: bool = False) -> None:
    """What the instance's loop says that it saw."""
    with region.desk.store.tx() as tx:
        mark_plugged(tx, which.id, None if none else disks)
    region.settle()


def test_a_running_instance_gets_a_volume_and_gives_it_back(region: Ground) -> None:
    box, id = instance(region), region.volume()
    made = region("AttachVolume", VolumeId=id, InstanceId=box.id, Device="/dev/sdf")
    assert (made["State"], made["Device"], made["DeleteOnTermination"]) == ("attaching", "/dev/sdf", False)
    assert region.see(id)["Attachments"][0]["State"] == "attaching" and region.see(id)["State"] == "in-use"
    see(region, box, region.record(id).disk)
    assert region.see(id)["Attachments"][0]["State"] == "attached"
    assert region.fails("AttachVolume", VolumeId=id, InstanceId=box.id, Device="/dev/sdg")[0] == "VolumeInUse"
    left = region("DetachVolume", VolumeId=id)
    assert left["State"] == "detaching"
    see(region, box, region.record(id).disk)
    assert region.see(id)["Attachments"][0]["State"] == "detaching", "the guest has not let go"
    with region.desk.store.tx() as tx:
        assert attached(tx, box.id) == ()
    assert region.fails("DeleteVolume", VolumeId=id)[0] == "VolumeInUse"
    see(region, box)
    assert (region.see(id)["State"], region.see(id)["Attachments"]) == ("available", [])
    region("DeleteVolume", VolumeId=id)


def test_a_stopped_instance_is_asked_nothing(region: Ground) -> None:
    box, id = instance(region, desired="stopped", on=False), region.volume()
    region("AttachVolume", VolumeId=id, InstanceId=box.id, Device="/dev/sdf")
    assert region.see(id)["Attachments"][0]["State"] == "attached"
    region("DetachVolume", VolumeId=id, InstanceId=box.id, Device="/dev/sdf", Force=True)
    assert region.see(id)["State"] == "available"


def test_what_cannot_be_attached(region: Ground) -> None:
    box, id = instance(region), region.volume()
    far, small = region.volume(AvailabilityZone="us-east-1b"), region("CreateVolume", AvailabilityZone="us-east-1a",
                                                                      Size=1)["VolumeId"]
    given = {"InstanceId": box.id, "Device": "/dev/sdf"}
    assert region.fails("AttachVolume", VolumeId=far, **given)[0] == "InvalidVolume.ZoneMismatch"
    assert region.fails("AttachVolume", VolumeId=small, **given)[0] == "IncorrectState"
    assert region.fails("AttachVolume", VolumeId=id, InstanceId="i-0", Device="/dev/sdf")[0] == (
        "InvalidInstanceID.NotFound")
    assert region.fails("AttachVolume", VolumeId=id, InstanceId=box.id, Device="/dev/null")[0] == (
        "InvalidParameterValue")
    region("AttachVolume", VolumeId=id, **given)
    other = region.volume()
    assert "already in use" in region.fails("AttachVolume", VolumeId=other, **given)[1]
    pending = instance(region, "i-2", on=False)
    assert region.fails("AttachVolume", VolumeId=other, InstanceId=pending.id, Device="/dev/sdf")[0] == "IncorrectState"
    assert region.fails("DetachVolume", VolumeId=other)[0] == "IncorrectState"
    assert region.fails("DetachVolume", VolumeId=id, InstanceId="i-9")[0] == "InvalidAttachment.NotFound"
    assert region.fails("DetachVolume", VolumeId=id, Device="/dev/sdz")[0] == "InvalidAttachment.NotFound"
    for number in range(12):
        region("AttachVolume", VolumeId=region.volume(), InstanceId=box.id, Device=f"/dev/sd{'ghijklmnopqr'[number]}")
    assert region.fails("AttachVolume", VolumeId=other, InstanceId=box.id, Device="/dev/sdz")[0] == (
        "AttachmentLimitExceeded")


def test_the_root_volume_of_a_running_instance_stays(region: Ground) -> None:
    box, id = instance(region, desired="stopped", on=False), region.volume()
    region("AttachVolume", VolumeId=id, InstanceId=box.id, Device="/dev/xvda")
    with region.desk.store.tx() as tx:
        tx.put(replace(box, desired="running", on=True), wake=False)
    assert region.fails("DetachVolume", VolumeId=id)[0] == "OperationNotPermitted"


# ── Ordered anew ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_volume_grows(region: Ground) -> None:
    id = region.volume(Size=2)
    assert region("DescribeVolumesModifications")["VolumesModifications"] == []
    assert region.fails("DescribeVolumesModifications", VolumeIds=[id])[0] == "InvalidVolumeModification.NotFound"
    change = region("ModifyVolume", VolumeId=id, Size=5, VolumeType="gp3")["VolumeModification"]
    assert (change["ModificationState"], change["OriginalSize"], change["TargetSize"], change["TargetIops"]) == (
        "modifying", 2, 5, 3000)
    assert region.see(id)["Size"] == 2, "it is as large as its disk was seen"
    assert region.fails("ModifyVolume", VolumeId=id, Size=6)[0] == "IncorrectModificationState"
    region.settle()
    [change] = region("DescribeVolumesModifications", Filters=[
        {"Name": "modification-state", "Values": ["completed"]}])["VolumesModifications"]
    assert (change["VolumeId"], change["Progress"]) == (id, 100)
    assert (region.see(id)["Size"], region.see(id)["VolumeType"], region.see(id)["Throughput"]) == (5, "gp3", 125)
    assert region.world.disks.disks[region.record(id).disk].seen.size_bytes == 5 * GIB


@pytest.mark.parametrize(("given", "code"), [
    ({"Size": 1}, "InvalidParameterValue"), ({}, "MissingParameter"), ({"VolumeType": "io1"}, "MissingParameter"),
    ({"Iops": 3000}, "InvalidParameterCombination"), ({"MultiAttachEnabled": True}, "UnsupportedOperation")])
def test_what_a_volume_cannot_become(region: Ground, given: dict[str, Any], code: str) -> None:
    id = region.volume(Size=4)
    assert region.fails("ModifyVolume", VolumeId=id, **given)[0] == code
    assert region.see(id)["Size"] == 4


def test_encryption_by_default_marks_new_volumes_and_what_comes_of_them(region: Ground) -> None:
    assert region("GetEbsEncryptionByDefault") == {"EbsEncryptionByDefault": False}
    plain = region.volume()
    region("EnableEbsEncryptionByDefault")
    assert region("GetEbsEncryptionByDefault")["EbsEncryptionByDefault"]
    marked = region.volume()
    assert (region.see(plain)["Encrypted"], region.see(marked)["Encrypted"]) == (False, True)
    region("DisableEbsEncryptionByDefault")
    assert not region("GetEbsEncryptionByDefault")["EbsEncryptionByDefault"]
    snapshot = region.snapshot(marked)
    assert region.see(region.volume(SnapshotId=snapshot))["Encrypted"]
