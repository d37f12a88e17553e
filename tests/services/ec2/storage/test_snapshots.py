"""Snapshots: a moment kept, restored, copied, shared and deleted."""

import pytest

from cloudlet.engines.fake import Faults
from cloudlet.services.ec2.storage.records import Snapshot
from tests.services.ec2.storage.conftest import GIB, Ground


def test_a_snapshot_keeps_its_moment(region: Ground) -> None:
    volume = region.volume(Size=4)
    region.write(volume, "one")
    made = region("CreateSnapshot", VolumeId=volume, Description="before")
    assert (made["State"], made["Progress"], made["VolumeSize"]) == ("pending", "0%", 4)
    region.settle()
    [seen] = region("DescribeSnapshots", OwnerIds=["self"])["Snapshots"]
    assert (seen["State"], seen["Progress"], seen["Description"]) == ("completed", "100%", "before")
    assert seen["CompletionTime"] >= seen["StartTime"]
    region.write(volume, "two")
    second = region.snapshot(volume)
    restored = [region.volume(SnapshotId=id) for id in (made["SnapshotId"], second)]
    assert [region.read(id) for id in restored] == ["one", "two"]
    larger = region.volume(SnapshotId=second, Size=9)
    assert region.see(larger)["Size"] == 9
    assert region.world.disks.disks[region.record(larger).disk].seen.size_bytes == 9 * GIB
    assert region.fails("CreateVolume", AvailabilityZone="us-east-1a", SnapshotId=second, Size=3)[0] == (
        "InvalidParameterValue")


def test_a_snapshot_whose_data_is_gone_says_so(region: Ground) -> None:
    kept, gone = (region.snapshot(region.volume()) for _ in range(2))
    with region.desk.store.tx() as tx:
        layers = {snapshot.id: (snapshot.key, snapshot.layer) for snapshot in tx.find(Snapshot)}
    del region.world.disks.layers[layers[gone][1]]
    for key, _ in layers.values():
        region.look_again("ec2.snapshot", key)
    found = {s["SnapshotId"]: s for s in region("DescribeSnapshots", OwnerIds=["self"])["Snapshots"]}
    assert (found[kept]["State"], found[gone]["State"]) == ("completed", "error")
    assert "gone" in found[gone]["StateMessage"]


def test_what_is_pending_can_be_waited_for_but_not_used(region: Ground) -> None:
    volume = region.volume()
    snapshot = region("CreateSnapshot", VolumeId=volume)["SnapshotId"]
    assert region.fails("CreateVolume", AvailabilityZone="us-east-1a", SnapshotId=snapshot)[0] == "IncorrectState"
    region("DeleteVolume", VolumeId=volume)
    region.settle()
    region.desk.clock.time += 2
    region.settle()
    [seen] = region("DescribeSnapshots", SnapshotIds=[snapshot])["Snapshots"]
    assert seen["State"] == "completed", "the disk stayed until it was sealed"
    assert region.world.disks.disks == {}
    new = region("CreateVolume", AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    assert region.fails("CreateSnapshot", VolumeId=new)[0] == "IncorrectState"


def test_a_deleted_snapshot_waits_for_volumes_that_are_being_made_of_it(region: Ground) -> None:
    volume = region.volume()
    region.write(volume, "kept")
    snapshot = region.snapshot(volume)
    restored = region("CreateVolume", AvailabilityZone="us-east-1a", SnapshotId=snapshot)["VolumeId"]
    region("DeleteSnapshot", SnapshotId=snapshot)
    assert region.fails("DescribeSnapshots", SnapshotIds=[snapshot])[0] == "InvalidSnapshot.NotFound"
    assert region.fails("DeleteSnapshot", SnapshotId=snapshot)[0] == "InvalidSnapshot.NotFound"
    for _ in range(3):
        region.settle()
        region.desk.clock.time += 2
    assert region.read(restored) == "kept"
    assert len(region.world.disks.layers) == 1, "only the built image's is left"


def test_others_do_not_see_it(region: Ground) -> None:
    snapshot = region.snapshot(region.volume())
    other = region.elsewhere(account="210987654321")
    assert other.fails("DescribeSnapshots", SnapshotIds=[snapshot])[0] == "InvalidSnapshot.NotFound"
    assert other.fails("CreateVolume", AvailabilityZone="us-east-1a", SnapshotId=snapshot)[0] == (
        "InvalidSnapshot.NotFound")
    assert region.elsewhere("eu-west-1").fails("DeleteSnapshot", SnapshotId=snapshot)[0] == "InvalidSnapshot.NotFound"
    assert region.fails("DescribeSnapshots", SnapshotIds=["photo"])[0] == "InvalidSnapshotID.Malformed"


def test_a_snapshot_of_a_full_host_says_so(region: Ground) -> None:
    volume = region.volume()
    region("CreateSnapshot", VolumeId=volume)
    region.world.disks.full = True
    region.settle()
    [seen] = region("DescribeSnapshots", OwnerIds=["self"])["Snapshots"]
    assert (seen["State"], "no space" in seen["StateMessage"]) == ("error", True)
    assert region.see(volume)["State"] == "available"


@pytest.mark.parametrize("seed", range(6))
def test_an_unreliable_world(region: Ground, seed: int) -> None:
    volume = region.volume()
    region.write(volume, "kept")
    region.world.random.seed(seed)
    region.world.faults = Faults(busy=0.3, lost=0.3)
    snapshots = [region("CreateSnapshot", VolumeId=volume)["SnapshotId"] for _ in range(3)]
    region("DeleteVolume", VolumeId=volume)
    for _ in range(30):
        region.settle()
        region.desk.clock.time += 60
    assert {s["State"] for s in region("DescribeSnapshots", SnapshotIds=snapshots)["Snapshots"]} == {"completed"}
    assert region.world.disks.disks == {}
    region.world.faults = Faults()
    assert [region.read(region.volume(SnapshotId=id)) for id in snapshots] == ["kept"] * 3
