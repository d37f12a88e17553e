"""Images: from the shelf into every account and region, and what launches need of them."""

import contextlib
from dataclasses import replace
from typing import Any

from cloudlet.engines.fake import Faults
from cloudlet.kernel.errors import Busy
from cloudlet.kernel.names import derived_id
from cloudlet.services.ec2.storage.attachments import (
    attached,
    attachment_problem,
    device_views,
    mark_plugged,
    release_volumes,
    set_delete_on_termination,
)
from cloudlet.services.ec2.storage.images import image_for_launch
from cloudlet.services.ec2.storage.mappings import volumes_for
from cloudlet.services.ec2.storage.records import Volume
from cloudlet.store.db import Tx
from tests.services.desk import root
from tests.services.ec2.storage.conftest import AMI, DEBIAN, GIB, Ground, card


def launch(region: Ground, *mappings: dict[str, Any], image: str = AMI, instance: str = "i-1") -> tuple[Volume, ...]:
    call = region.desk.call(root(region.account), region.name)
    with region.desk.store.tx() as tx:
        return volumes_for(tx, call, image=image_for_launch(tx, call, image), mappings=mappings, zone="us-east-1a",
                           tags={"for": "launch"}, instance_id=instance)


def test_a_built_image_is_everybodys_under_its_distributions_owner(region: Ground) -> None:
    for place in (region, region.elsewhere("eu-west-1", "210987654321")):
        [seen] = place("DescribeImages", Owners=["136693071363"], Filters=[
            {"Name": "name", "Values": ["debian-12-amd64-*"]}, {"Name": "state", "Values": ["available"]}])["Images"]
        assert (seen["ImageId"], seen["Name"], seen["Public"]) == (AMI, DEBIAN, True)
        assert seen["RootDeviceName"] == "/dev/xvda"
        [device] = seen["BlockDeviceMappings"]
        assert (device["DeviceName"], device["Ebs"]["VolumeSize"]) == ("/dev/xvda", 8)
        [snapshot] = place("DescribeSnapshots", SnapshotIds=[device["Ebs"]["SnapshotId"]])["Snapshots"]
        assert (snapshot["State"], snapshot["OwnerId"]) == ("completed", "136693071363")
    assert region("DescribeImages", Owners=["self"])["Images"] == []
    assert region("DescribeImages", ExecutableUsers=["all"])["Images"]
    assert region("DescribeImages", ExecutableUsers=["self"])["Images"] == []
    assert region.world.disks.shelf[DEBIAN].source is None, "its files are needed no more"
    assert region.fails("DescribeImages", ImageIds=["ami-0"]) == (
        "InvalidAMIID.NotFound", "The image id '[ami-0]' does not exist")
    assert region.fails("DescribeImages", ImageIds=["debian"])[0] == "InvalidAMIID.Malformed"


def test_a_launch_gets_the_images_volumes(region: Ground) -> None:
    (root_volume,) = launch(region)
    assert root_volume.attachment is not None
    assert (root_volume.attachment.device, root_volume.attachment.delete_on_termination) == ("/dev/xvda", True)
    assert root_volume.size_gib == 8 and root_volume.tags == {"for": "launch"}
    looks: list[str] = []
    region.world.trace = looks.append
    region.settle()
    assert region.read(root_volume.id) == "debian"
    assert region.record(root_volume.id).kernel == region.record(root_volume.id).base, "it starts by the image's kernel"
    machine = region.desk.site.installation.name("vm", "123456789012/us-east-1/i-1")
    assert f"destroy_machine {machine}" in looks, "whoever waits for the disk is told, and finds no such instance"


def test_a_launch_may_change_them(region: Ground) -> None:
    given = ({"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 20, "DeleteOnTermination": False}},
             {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "VolumeType": "io1", "Iops": 100, "Encrypted": True}},
             {"DeviceName": "/dev/sdz", "VirtualName": "ephemeral0"}, {"DeviceName": "/dev/sdy", "NoDevice": ""})
    first, second = launch(region, *given)
    assert (first.size_gib, first.performance.type, first.attachment.delete_on_termination) == (  # type: ignore[union-attr]
        20, "gp3", False)
    assert (second.performance.iops, second.encrypted, second.base) == (100, True, None)
    region.settle()
    assert region.world.disks.disks[first.disk].seen.size_bytes == 20 * GIB
    assert region.read(first.id) == "debian" and region.read(second.id) == ""


def test_what_a_launch_may_not_ask_for(region: Ground) -> None:
    def fails(*mappings: dict[str, Any]) -> str:
        try:
            launch(region, *mappings)
        except Exception as error:
            return str(getattr(error, "code", error))
        return ""
    assert fails({"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 7}}) == "InvalidBlockDeviceMapping"
    assert fails({"DeviceName": "/dev/xvda", "NoDevice": ""}) == "InvalidBlockDeviceMapping"
    assert fails({"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "st1", "VolumeSize": 200}}) == (
        "InvalidBlockDeviceMapping")
    assert fails({"DeviceName": "/dev/sdf", "Ebs": {}}) == "MissingParameter"
    assert fails({"DeviceName": "floppy", "Ebs": {"VolumeSize": 1}}) == "InvalidParameterValue"
    assert fails({"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}},
                 {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}) == "InvalidBlockDeviceMapping"
    assert fails({"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": "snap-12"}}) == "InvalidSnapshot.NotFound"
    assert region("DescribeVolumes")["Volumes"] == [], "nothing of a refused launch is left"
    region.world.disks.full = True
    region.look()
    assert fails() == "InsufficientVolumeCapacity"


def devices(tx: Tx) -> list[dict[str, Any]]:
    return device_views(tx.find(Volume, instance="i-1"), "/dev/xvda")


def test_what_an_instances_loop_says_and_asks(region: Ground) -> None:
    first, second = launch(region, {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": False}})
    store = region.desk.store
    with store.tx() as tx:
        assert [v.id for v in attached(tx, "i-1", "/dev/xvda")] == [first.id, second.id]
        assert not any(v.disk_ready for v in attached(tx, "i-1"))
        mark_plugged(tx, "i-1", [first.disk])
        assert not attached(tx, "i-1")[0].plugged, "what has no disk is plugged in nowhere"
    region.settle()
    with store.tx() as tx:
        mark_plugged(tx, "i-1", [first.disk])
        assert [d["Ebs"]["Status"] for d in devices(tx)] == ["attached", "attaching"]
        assert [d["DeviceName"] for d in devices(tx)] == ["/dev/xvda", "/dev/sdf"]
        mark_plugged(tx, "i-1", None)
        assert [d["Ebs"]["Status"] for d in devices(tx)] == ["attached", "attached"]
        assert set_delete_on_termination(tx, "i-1", "/dev/xvda", True)
        assert not set_delete_on_termination(tx, "i-1", "/dev/nothing", True)
    assert region.see(first.id)["State"] == "in-use"
    assert region.fails("DeleteVolume", VolumeId=first.id)[0] == "VolumeInUse"
    with store.tx() as tx:
        release_volumes(tx, "i-1")
        assert attached(tx, "i-1") == ()
    region.settle()
    assert [v["VolumeId"] for v in region("DescribeVolumes")["Volumes"]] == [second.id]
    assert region.see(second.id)["State"] == "available"
    assert first.disk not in region.world.disks.disks


def test_a_launch_on_a_disk_that_filled_up_meanwhile(region: Ground) -> None:
    launch(region)
    region.world.disks.full = True
    region.settle()
    with region.desk.store.tx() as tx:
        assert "no space" in attachment_problem(tx, "i-1")


# ── The shelf ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_no_disk_is_refused_with_its_reason(region: Ground) -> None:
    bad = card("broken", owner="000000000000")
    region.shelve(bad)
    del region.world.disks.files["/shelf/broken"]
    region.look()
    assert "no disk" in region.world.disks.problems["broken"]
    assert [i["Name"] for i in region("DescribeImages")["Images"]] == [DEBIAN]
    region.shelve(bad)
    region.look()
    assert len(region("DescribeImages")["Images"]) == 2, "put there again, it is taken in"


def test_an_image_waits_for_space(region: Ground) -> None:
    region.world.disks.full = True
    region.shelve(card("late"))
    region.look()
    assert len(region("DescribeImages", Filters=[{"Name": "state", "Values": ["available"]}])["Images"]) == 1
    assert region.world.disks.shelf["late"].source is not None
    region.world.disks.full = False
    region.look()
    assert len(region("DescribeImages", Filters=[{"Name": "state", "Values": ["available"]}])["Images"]) == 2


def test_an_image_that_is_removed_leaves_what_was_made_of_it(region: Ground) -> None:
    (volume,) = launch(region)
    shelved = region.world.disks.shelf[DEBIAN]
    region.world.disks.shelf[DEBIAN] = type(shelved)(shelved.card, None, removed=True)
    region.look()
    assert region("DescribeImages")["Images"] == []
    region.desk.clock.time += 2
    region.settle()
    assert region.read(volume.id) == "debian"
    assert region.world.disks.layers == {} and region.world.disks.shelf == {}
    region.shelve(card())
    region.look()
    assert [i["ImageId"] for i in region("DescribeImages")["Images"]] == [AMI]


def test_what_was_imported_as_ones_own_can_be_deregistered(region: Ground) -> None:
    mine = region.shelve(card("appliance", owner=region.account), "appliance")
    region.look()
    own = region("DescribeImages", Owners=["self"])["Images"]
    assert [found["ImageId"] for found in own] == [mine]
    (volume,) = launch(region, image=mine)
    region.settle()
    assert region.elsewhere(account="999999999999").fails("DeregisterImage", ImageId=mine)[0] == "AuthFailure"
    assert region.fails("DeregisterImage", ImageId=AMI)[0] == "AuthFailure"
    assert region("DeregisterImage", ImageId=mine)["Return"]
    for _ in range(2):  # nor does it come back
        region.look()
        assert region.fails("DescribeImages", ImageIds=[mine])[0] == "InvalidAMIID.NotFound"
        assert region.fails("DeregisterImage", ImageId=mine)[0] == "InvalidAMIID.NotFound"
    assert "deregistered" in region.world.disks.problems["appliance"]
    assert {content.text for content in region.world.disks.layers.values()} == {"debian"}
    assert region.read(volume.id) == "appliance", "what was made of it stays"
    region.world.disks.shelf["appliance"] = replace(region.world.disks.shelf["appliance"], removed=True)
    region.look()
    assert "appliance" not in region.world.disks.shelf
    assert region.shelve(card("appliance", owner=region.account)) == mine
    region.look()
    assert region("DescribeImages", ImageIds=[mine])["Images"][0]["State"] == "available"


def test_the_shelf_under_faults(region: Ground) -> None:
    for seed in range(6):
        region.world.random.seed(seed)
        region.world.faults = Faults(busy=0.3, lost=0.3)
        region.shelve(card(f"image-{seed}"))
        for _ in range(20):
            with contextlib.suppress(Busy):
                region.look()
            region.settle()
            region.desk.clock.time += 60
        region.world.faults = Faults()
        [seen] = region("DescribeImages", ImageIds=[derived_id("ami", f"image-{seed}")])["Images"]
        assert seen["State"] == "available"
        assert region.world.disks.shelf[f"image-{seed}"].source is None
