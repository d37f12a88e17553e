"""Images that customers make, share, and take out of use; and snapshots of whole instances."""

from dataclasses import replace
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.storage.attachments import must_stand_still
from tests.services.ec2.storage.conftest import AMI, Ground
from tests.services.ec2.storage.test_attaching import instance
from tests.services.ec2.storage.test_images import launch

OTHER = "210987654321"


def launched(region: Ground, **given: Any) -> tuple[Instance, list[str]]:
    """An instance of the built image with a second volume."""
    box = instance(region, image_id=AMI, **given) if "image_id" in given else instance(region, **given)
    with region.desk.store.tx() as tx:
        box = replace(box, image_id=AMI)
        tx.put(box, wake=False)
    volumes = launch(region, {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2}}, instance=box.id)
    region.settle()
    region.write(volumes[1].id, "data")
    return box, [volume.id for volume in volumes]


def image(region: Ground, id: str) -> dict[str, Any]:
    (found,) = region("DescribeImages", ImageIds=[id])["Images"]
    return dict(found)


def wait(region: Ground) -> None:
    region.settle()
    region.desk.clock.time += 2
    region.settle()


def test_an_image_of_a_stopped_instance(region: Ground) -> None:
    box, _ = launched(region, desired="stopped", on=False)
    id = region("CreateImage", InstanceId=box.id, Name="mine", Description="my own", TagSpecifications=[
        {"ResourceType": "image", "Tags": [{"Key": "a", "Value": "1"}]},
        {"ResourceType": "snapshot", "Tags": [{"Key": "b", "Value": "2"}]}])["ImageId"]
    assert image(region, id)["State"] == "pending"
    region.settle()
    seen = image(region, id)
    assert (seen["State"], seen["OwnerId"], seen["Public"], seen["SourceInstanceId"]) == (
        "available", region.account, False, box.id)
    assert [d["DeviceName"] for d in seen["BlockDeviceMappings"]] == ["/dev/xvda", "/dev/sdf"]
    assert seen["Tags"] == [{"Key": "a", "Value": "1"}]
    first, second = launch(region, image=id, instance="i-new")
    region.settle()
    assert (region.read(first.id), region.read(second.id)) == ("debian", "data")
    assert first.kernel is not None, "it starts as the image did that it comes of"
    assert [i["ImageId"] for i in region("DescribeImages", Owners=["self"])["Images"]] == [id]
    [snapshot] = region("DescribeSnapshots", SnapshotIds=[seen["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]])[
        "Snapshots"]
    assert snapshot["Tags"] == [{"Key": "b", "Value": "2"}]
    assert region.fails("DeleteSnapshot", SnapshotId=snapshot["SnapshotId"])[0] == "InvalidSnapshot.InUse"
    assert region.fails("CreateImage", InstanceId=box.id, Name="mine")[0] == "InvalidAMIName.Duplicate"
    assert region.fails("CreateImage", InstanceId=box.id, Name="m*")[0] == "InvalidAMIName.Malformed"


def test_an_image_of_what_runs_on(region: Ground) -> None:
    box, _ = launched(region)
    running = region("CreateImage", InstanceId=box.id, Name="running", NoReboot=True, BlockDeviceMappings=[
        {"DeviceName": "/dev/sdf", "NoDevice": ""}])["ImageId"]
    with region.desk.store.tx() as tx:
        assert tx.get(Instance, box.key).rebooting_at is None  # type: ignore[union-attr]
        assert not must_stand_still(tx, box.key)
    region.settle()
    assert image(region, running)["State"] == "available"
    assert len(image(region, running)["BlockDeviceMappings"]) == 1


def test_snapshots_of_a_whole_instance(region: Ground) -> None:
    box, (first, second) = launched(region)
    made = region("CreateSnapshots", InstanceSpecification={"InstanceId": box.id}, Description="all",
                  CopyTagsFromSource="volume")["Snapshots"]
    assert [s["VolumeId"] for s in made] == [first, second]
    assert made[0]["Tags"] == [{"Key": "for", "Value": "launch"}]
    [data] = region("CreateSnapshots", InstanceSpecification={"InstanceId": box.id, "ExcludeBootVolume": True})[
        "Snapshots"]
    assert data["VolumeId"] == second
    [boot] = region("CreateSnapshots", InstanceSpecification={
        "InstanceId": box.id, "ExcludeDataVolumeIds": [second]})["Snapshots"]
    assert boot["VolumeId"] == first
    assert region.fails("CreateSnapshots", InstanceSpecification={
        "InstanceId": box.id, "ExcludeDataVolumeIds": ["vol-1"]})[0] == "InvalidVolume.NotFound"
    region.settle()
    assert {s["State"] for s in region("DescribeSnapshots", OwnerIds=["self"])["Snapshots"]} == {"completed"}


def test_an_image_registered_of_a_snapshot(region: Ground) -> None:
    _, (root_volume, _) = launched(region)
    snapshot = region.snapshot(root_volume)
    device = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot, "VolumeSize": 9, "VolumeType": "gp3"}}
    given = {"Name": "registered", "RootDeviceName": "/dev/sda1", "Architecture": "x86_64", "VirtualizationType": "hvm"}
    id = region("RegisterImage", BlockDeviceMappings=[device], ImdsSupport="v2.0", **given)["ImageId"]
    region.settle()
    assert image(region, id)["State"] == "available" and image(region, id)["ImdsSupport"] == "v2.0"
    assert image(region, id)["BlockDeviceMappings"][0]["Ebs"].keys() & {"Iops", "Throughput"} == set()
    (volume,) = launch(region, image=id, instance="i-3")
    assert volume.size_gib == 9 and volume.kernel is not None
    assert not {"BootMode", "SriovNetSupport"} & set(image(region, id)), "nobody named them"
    id = region("RegisterImage", BlockDeviceMappings=[device], SriovNetSupport="simple", BootMode="legacy-bios",
                **{**given, "Name": "named"})["ImageId"]
    region.settle()
    assert (image(region, id)["SriovNetSupport"], image(region, id)["BootMode"]) == ("simple", "legacy-bios")
    shown = region("DescribeImageAttribute", ImageId=id, Attribute="sriovNetSupport")
    assert shown["SriovNetSupport"] == {"Value": "simple"}
    assert region.fails("RegisterImage", **{**given, "Name": "other"})[0] == "InvalidBlockDeviceMapping"
    assert region.fails("RegisterImage", BlockDeviceMappings=[device], **{**given, "Architecture": "arm64"})[0] == (
        "UnsupportedOperation")


def test_figures_that_were_said_are_shown(region: Ground) -> None:
    _, (root_volume, _) = launched(region)
    snapshot = region.snapshot(root_volume)

    def shown(**ebs: Any) -> dict[str, Any]:
        device = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3", **ebs}}
        id = region("RegisterImage", Name=f"said {' '.join(ebs)} {len(str(ebs))}", RootDeviceName="/dev/sda1",
                    BlockDeviceMappings=[device])["ImageId"]
        found: dict[str, Any] = image(region, id)["BlockDeviceMappings"][0]["Ebs"]
        return {name: found[name] for name in ("Iops", "Throughput") if name in found}
    assert shown() == {}
    assert shown(Iops=3000) == {"Iops": 3000}
    assert shown(Iops=3000, Throughput=125) == {"Iops": 3000, "Throughput": 125}
    assert shown(Throughput=200) == {"Throughput": 200}


def test_an_image_of_an_instance_supports_what_its_own_did(region: Ground) -> None:
    box, (root_volume, _) = launched(region)
    root = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": region.snapshot(root_volume)}}
    registered = region("RegisterImage", Name="first", RootDeviceName="/dev/sda1", BlockDeviceMappings=[root],
                        BootMode="legacy-bios", SriovNetSupport="simple", EnaSupport=True,
                        ImdsSupport="v2.0")["ImageId"]
    region.settle()
    with region.desk.store.tx() as tx:
        tx.put(replace(box, image_id=registered), wake=False)
    made = image(region, region("CreateImage", InstanceId=box.id, Name="second", NoReboot=True)["ImageId"])
    assert (made["BootMode"], made["SriovNetSupport"], made["EnaSupport"], made["ImdsSupport"]) == (
        "legacy-bios", "simple", True, "v2.0")
    copied = region("CopyImage", Name="third", SourceImageId=registered, SourceRegion="us-east-1")["ImageId"]
    assert image(region, copied)["EnaSupport"] is True
    filters = [{"Name": "ena-support", "Values": ["true"]}]
    assert len(region("DescribeImages", Owners=["self"], Filters=filters)["Images"]) == 3


def test_copies_share_their_data_and_outlive_what_they_were_made_of(region: Ground) -> None:
    box, _ = launched(region, desired="stopped", on=False)
    id = region("CreateImage", InstanceId=box.id, Name="mine")["ImageId"]
    region.settle()
    layers = len(region.world.disks.layers)
    there = region.elsewhere("eu-west-1")
    copy = there("CopyImage", SourceRegion="us-east-1", SourceImageId=id, Name="copied")["ImageId"]
    stock = there("CopyImage", SourceRegion="us-east-1", SourceImageId=AMI, Name="stock")["ImageId"]
    region.settle()
    assert len(region.world.disks.layers) == layers
    assert image(there, copy)["State"] == image(there, stock)["State"] == "available"  # type: ignore[arg-type]
    results = region("DeregisterImage", ImageId=id, DeleteAssociatedSnapshots=True)["DeleteSnapshotResults"]
    assert [r["ReturnCode"] for r in results] == ["success", "success"]
    assert region.fails("DescribeImages", ImageIds=[id])[0] == "InvalidAMIID.NotFound"
    wait(region)
    assert len(region.world.disks.layers) == layers
    there("DeregisterImage", ImageId=copy, DeleteAssociatedSnapshots=True)
    wait(region)
    assert len(region.world.disks.layers) == layers - 2
    snapshot = there("CopySnapshot", SourceRegion="us-east-1", SourceSnapshotId=region.snapshot(region.volume()),
                     Description="moved")["SnapshotId"]
    region.settle()
    [seen] = there("DescribeSnapshots", SnapshotIds=[snapshot])["Snapshots"]
    assert (seen["State"], seen["Description"]) == ("completed", "moved")
    assert there.fails("CopySnapshot", SourceRegion="us-east-1", SourceSnapshotId="snap-1")[0] == (
        "InvalidSnapshot.NotFound")


def test_sharing_an_image(region: Ground) -> None:
    box, _ = launched(region, desired="stopped", on=False)
    id = region("CreateImage", InstanceId=box.id, Name="mine")["ImageId"]
    region.settle()
    other = region.elsewhere(account=OTHER)
    assert other.fails("DescribeImages", ImageIds=[id])[0] == "InvalidAMIID.NotFound"
    region("ModifyImageAttribute", ImageId=id, LaunchPermission={"Add": [{"UserId": OTHER}]})
    assert [i["ImageId"] for i in other("DescribeImages", ExecutableUsers=["self"])["Images"]] == [id]
    assert region("DescribeImageAttribute", ImageId=id, Attribute="launchPermission")["LaunchPermissions"] == [
        {"UserId": OTHER}]
    assert other.fails("DeregisterImage", ImageId=id)[0] == "AuthFailure"
    region("ModifyImageAttribute", ImageId=id, OperationType="add", UserGroups=["all"])
    region("ModifyImageAttribute", ImageId=id, OperationType="remove", UserIds=[OTHER])
    assert image(other, id)["Public"]  # type: ignore[arg-type]
    region("ResetImageAttribute", ImageId=id, Attribute="launchPermission")
    assert other.fails("DescribeImages", ImageIds=[id])[0] == "InvalidAMIID.NotFound"
    assert region.fails("ModifyImageAttribute", ImageId=id, LaunchPermission={"Add": [{"UserId": "bob"}]})[0] == (
        "InvalidUserID.Malformed")
    assert region.fails("ModifyImageAttribute", ImageId=AMI, Description={"Value": "x"})[0] == "AuthFailure"
    region("EnableImageBlockPublicAccess", ImageBlockPublicAccessState="block-new-sharing")
    assert region("GetImageBlockPublicAccessState")["ImageBlockPublicAccessState"] == "block-new-sharing"
    assert region.fails("ModifyImageAttribute", ImageId=id, LaunchPermission={"Add": [{"Group": "all"}]})[0] == (
        "OperationNotPermitted")
    region("DisableImageBlockPublicAccess")
    assert region("GetImageBlockPublicAccessState")["ImageBlockPublicAccessState"] == "unblocked"
    region("ModifyImageAttribute", ImageId=id, Description={"Value": "better"})
    assert image(region, id)["Description"] == "better"


def test_an_image_taken_out_of_use(region: Ground) -> None:
    box, _ = launched(region, desired="stopped", on=False)
    id = region("CreateImage", InstanceId=box.id, Name="mine")["ImageId"]
    region.settle()
    other = region.elsewhere(account=OTHER)
    region("ModifyImageAttribute", ImageId=id, LaunchPermission={"Add": [{"Group": "all"}]})
    soon = region.desk.clock.now() + 3600
    region("EnableImageDeprecation", ImageId=id, DeprecateAt=soon)
    assert image(region, id)["DeprecationTime"].endswith(":00.000Z")
    assert len(other("DescribeImages", Owners=[region.account])["Images"]) == 1
    region.desk.clock.time += 3600
    assert other("DescribeImages", Owners=[region.account])["Images"] == []
    assert len(other("DescribeImages", Owners=[region.account], IncludeDeprecated=True)["Images"]) == 1
    region("DisableImageDeprecation", ImageId=id)
    assert "DeprecationTime" not in image(region, id)
    assert region.fails("EnableImageDeprecation", ImageId=id, DeprecateAt=soon - 9000)[0] == "InvalidParameterValue"
    region("DisableImage", ImageId=id)
    assert region("DescribeImages", Owners=["self"])["Images"] == []
    assert image(region, id)["State"] == "disabled"
    assert other.fails("DescribeImages", ImageIds=[id])[0] == "InvalidAMIID.NotFound"
    with pytest.raises(AwsError, match="'disabled'"):
        launch(region, image=id)
    region("EnableImage", ImageId=id)
    region("EnableImageDeregistrationProtection", ImageId=id)
    assert region.fails("DeregisterImage", ImageId=id)[0] == "OperationNotPermitted"
    region("DisableImageDeregistrationProtection", ImageId=id)
    region("DeregisterImage", ImageId=id)


def test_sharing_a_snapshot(region: Ground) -> None:
    id = region.snapshot(region.volume())
    other = region.elsewhere(account=OTHER)
    region("ModifySnapshotAttribute", SnapshotId=id, CreateVolumePermission={"Add": [{"UserId": OTHER}]})
    assert [s["SnapshotId"] for s in other("DescribeSnapshots", RestorableByUserIds=["self"])["Snapshots"]] == [id]
    assert region("DescribeSnapshotAttribute", SnapshotId=id, Attribute="createVolumePermission")[
        "CreateVolumePermissions"] == [{"UserId": OTHER}]
    assert other("CreateVolume", AvailabilityZone="us-east-1a", SnapshotId=id)["State"] == "creating"
    assert other.fails("DeleteSnapshot", SnapshotId=id)[0] == "AuthFailure"
    region("ResetSnapshotAttribute", SnapshotId=id, Attribute="createVolumePermission")
    assert other.fails("DescribeSnapshots", SnapshotIds=[id])[0] == "InvalidSnapshot.NotFound"
    marked = region.snapshot(region.volume(Encrypted=True))
    assert region.fails("ModifySnapshotAttribute", SnapshotId=marked, OperationType="add", GroupNames=["all"])[0] == (
        "OperationNotPermitted")


def test_an_instance_that_runs_is_powered_on_again_only_when_its_volumes_are_kept(region: Ground) -> None:
    [made] = region("RunInstances", ImageId=AMI, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"]
    region.settle()
    [volume] = region("DescribeVolumes")["Volumes"]
    region.write(volume["VolumeId"], "written")
    trace: list[str] = []
    region.world.trace = trace.append
    id = region("CreateImage", InstanceId=made["InstanceId"], Name="mine")["ImageId"]
    for _ in range(5):
        region.settle()
        region.desk.clock.time += 2
    assert image(region, id)["State"] == "available"
    did = [line.split()[0] for line in trace]
    assert did.index("destroy_machine") < did.index("seal") < did.index("power_on")
    [seen] = region("DescribeInstances")["Reservations"][0]["Instances"]
    assert seen["State"]["Name"] == "running"
    (copy,) = launch(region, image=id, instance="i-copy")
    region.settle()
    assert region.read(copy.id) == "written"
