"""Volumes: what may be ordered, what is seen of it, and what the world does to them."""

from typing import Any

import pytest

from cloudlet.engines.fake import Faults
from tests.services.ec2.storage.conftest import GIB, Ground


def test_a_volume_is_available_once_its_disk_was_seen(region: Ground) -> None:
    made = region("CreateVolume", AvailabilityZone="us-east-1b", Size=3, TagSpecifications=[
        {"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "data"}]}])
    assert (made["State"], made["VolumeType"], made["Iops"]) == ("creating", "gp2", 100)
    assert made["VolumeId"] not in str(region.world.disks.disks)
    region.settle()
    seen = region.see(made["VolumeId"])
    assert (seen["State"], seen["Size"], seen["AvailabilityZone"], seen["AvailabilityZoneId"]) == (
        "available", 3, "us-east-1b", "use1-az2")
    assert seen["Attachments"] == [] and seen["Tags"] == [{"Key": "Name", "Value": "data"}]
    assert region.world.disks.disks[region.record(made["VolumeId"]).disk].seen.size_bytes == 3 * GIB
    [status] = region("DescribeVolumeStatus", VolumeIds=[made["VolumeId"]])["VolumeStatuses"]
    assert status["VolumeStatus"]["Status"] == "ok"


def test_a_deleted_volume_takes_its_disk_along(region: Ground) -> None:
    id = region.volume()
    disk = region.record(id).disk
    region("DeleteVolume", VolumeId=id)
    assert region.see(id)["State"] == "deleting"
    region.settle()
    assert disk not in region.world.disks.disks
    assert region.fails("DeleteVolume", VolumeId=id) == (
        "InvalidVolume.NotFound", f"The volume '{id}' does not exist")
    assert region.fails("DescribeVolumes", VolumeIds=["vol-nothing"])[0] == "InvalidVolumeID.Malformed"


@pytest.mark.parametrize(("given", "code", "words"), [
    ({}, "MissingParameter", "size or snapshotId"),
    ({"Size": 0}, "InvalidParameterValue", "minimum is 1GiB"),
    ({"Size": 16385}, "InvalidParameterValue", "maximum is 16384GiB"),
    ({"Size": 100, "VolumeType": "st1"}, "InvalidParameterValue", "minimum is 125GiB"),
    ({"Size": 1025, "VolumeType": "standard"}, "InvalidParameterValue", "maximum is 1024GiB"),
    ({"Size": 10, "VolumeType": "floppy"}, "InvalidParameterValue", "volumeType"),
    ({"Size": 10, "Iops": 300}, "InvalidParameterCombination", "not supported for gp2"),
    ({"Size": 10, "VolumeType": "io1"}, "MissingParameter", "iops"),
    ({"Size": 10, "VolumeType": "io1", "Iops": 501}, "InvalidParameterValue", "maximum is 50"),
    ({"Size": 10, "VolumeType": "io2", "Iops": 99}, "InvalidParameterValue", "too low"),
    ({"Size": 10, "VolumeType": "gp3", "Iops": 80001}, "InvalidParameterValue", "too high"),
    ({"Size": 1, "VolumeType": "gp3", "Throughput": 900}, "InvalidParameterValue", "ratio of 0.300000"),
    ({"Size": 1, "VolumeType": "gp3", "Throughput": 100}, "InvalidParameterValue", "from 125 to 2000"),
    ({"Size": 1, "Throughput": 125}, "InvalidParameterCombination", "throughput"),
    ({"Size": 1, "MultiAttachEnabled": True}, "UnsupportedOperation", "MultiAttachEnabled"),
    ({"Size": 1, "KmsKeyId": "alias/mine"}, "UnsupportedOperation", "KmsKeyId"),
    ({"SnapshotId": "snap-0123"}, "InvalidSnapshot.NotFound", "snap-0123"),
    ({"Size": 1, "AvailabilityZone": "us-east-1z"}, "InvalidZone.NotFound", "us-east-1z"),
    ({"Size": 1, "AvailabilityZone": ""}, "MissingParameter", "availabilityZone"),
])
def test_what_cannot_be_ordered(region: Ground, given: dict[str, Any], code: str, words: str) -> None:
    found, message = region.fails("CreateVolume", **{"AvailabilityZone": "us-east-1a", **given})
    assert (found, words in message) == (code, True), message
    assert region("DescribeVolumes")["Volumes"] == []


@pytest.mark.parametrize(("given", "iops", "throughput"), [
    ({"Size": 100}, 300, None), ({"Size": 16000}, 16000, None),
    ({"Size": 1, "VolumeType": "gp3"}, 3000, 125),
    ({"Size": 100, "VolumeType": "gp3", "Iops": 4000, "Throughput": 1000}, 4000, 1000),
    ({"Size": 10, "VolumeType": "io1", "Iops": 500}, 500, None), ({"Size": 125, "VolumeType": "sc1"}, None, None),
])
def test_what_the_types_come_with(region: Ground, given: dict[str, Any], iops: int | None,
                                  throughput: int | None) -> None:
    made = region("CreateVolume", AvailabilityZoneId="use1-az1", **given)
    assert (made.get("Iops"), made.get("Throughput"), made["AvailabilityZone"]) == (iops, throughput, "us-east-1a")


def test_filters(region: Ground) -> None:
    small, large = region.volume(), region.volume(Size=20, VolumeType="gp3", Encrypted=True)

    def found(name: str, *values: str) -> list[str]:
        answer = region("DescribeVolumes", Filters=[{"Name": name, "Values": list(values)}])
        return [v["VolumeId"] for v in answer["Volumes"]]
    assert found("size", "20") == found("encrypted", "true") == found("volume-type", "gp3") == [large]
    assert found("volume-id", small) == [small]
    assert sorted(found("status", "available")) == sorted([small, large])
    assert found("attachment.instance-id", "i-1") == []
    assert region.fails("DescribeVolumes", Filters=[{"Name": "colour", "Values": ["red"]}])[0] == (
        "InvalidParameterValue")
    region("CreateTags", Resources=[small], Tags=[{"Key": "team", "Value": "a"}])
    assert found("tag:team", "a") == [small]


def test_a_full_disk_is_said_and_harms_nobody(region: Ground) -> None:
    old = region.volume()
    region.world.disks.full = True
    new = region.volume()
    assert region.see(new)["State"] == "error"
    [status] = region("DescribeVolumeStatus", VolumeIds=[new])["VolumeStatuses"]
    assert status["VolumeStatus"]["Status"] == "impaired"
    with pytest.raises(Exception, match="is full") as refused:
        region("CreateVolume", AvailabilityZone="us-east-1a", Size=1)
    assert refused.value.code == "InsufficientVolumeCapacity"  # type: ignore[attr-defined]
    assert region.see(old)["State"] == "available"
    region("DeleteVolume", VolumeId=new)
    region.world.disks.full = False
    region.look()
    assert region.see(region.volume())["State"] == "available"
    assert len(region("DescribeVolumes")["Volumes"]) == 2


def test_a_lost_disk_is_never_replaced_by_an_empty_one(region: Ground) -> None:
    id = region.volume()
    region.world.disks.disks.clear()
    region.look_again("ec2.volume", f"{region.account}/{region.name}/{id}")
    assert region.see(id)["State"] == "error"
    assert region.world.disks.disks == {}


def test_attributes(region: Ground) -> None:
    id = region.volume()
    assert region("DescribeVolumeAttribute", VolumeId=id, Attribute="autoEnableIO")["AutoEnableIO"] == {"Value": False}
    region("ModifyVolumeAttribute", VolumeId=id, AutoEnableIO={"Value": True})
    assert region("DescribeVolumeAttribute", VolumeId=id, Attribute="autoEnableIO")["AutoEnableIO"] == {"Value": True}
    assert region("DescribeVolumeAttribute", VolumeId=id, Attribute="productCodes")["ProductCodes"] == []
    region("EnableVolumeIO", VolumeId=id)
    assert region.fails("EnableVolumeIO", VolumeId="vol-0")[0] == "InvalidVolume.NotFound"


@pytest.mark.parametrize("seed", range(8))
def test_an_unreliable_world_ends_in_the_same_state(region: Ground, seed: int) -> None:
    region.world.random.seed(seed)
    region.world.faults = Faults(busy=0.3, lost=0.3)
    ids = [region.volume() for _ in range(4)]
    region("DeleteVolume", VolumeId=ids[0]) if region.see(ids[0])["State"] != "deleting" else None
    for _ in range(30):
        region.settle()
        region.desk.clock.time += 60
    assert [region.see(id)["State"] for id in ids[1:]] == ["available"] * 3
    assert set(region.world.disks.disks) == {region.record(id).disk for id in ids[1:]}


def test_the_sweep_spares_what_is_accounted_for(region: Ground) -> None:
    id = region.volume()
    snapshot, record = region.snapshot(id), region.record(id)
    with region.desk.store.tx() as tx:
        kept = set(region.controller.keeps["disks"](tx))
        assert region.controller.wakes["disks"](tx, record.disk) == ("ec2.volume", record.key)
        assert region.controller.wakes["disks"](tx, "nothing") is None
    assert kept == {*region.world.disks.disks, *region.world.disks.layers}
    region("DeleteSnapshot", SnapshotId=snapshot)
    with region.desk.store.tx() as tx:
        tx.clear()
    region.settle()
    assert region.world.disks.disks == {}
    assert len(region.world.disks.layers) == 1, "the installation's image outlasts a reset"
