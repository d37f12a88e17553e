"""Volumes, snapshots and images as boto3 and its waiters see them, on a running Cloudlet with a disk of its own."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cloudlet.cli import main
from cloudlet.kernel.names import derived_id
from tests.running import Cloudlet

pytestmark = pytest.mark.engine("qemu-img")
GIB = 1 << 30
MINI = "mini-1.0"


@pytest.fixture(scope="module")
def ec2(cloudlet: Cloudlet) -> Any:
    return cloudlet.client("ec2")


@pytest.fixture(scope="module")
def image(cloudlet: Cloudlet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An imported image, which nobody could start."""
    file = tmp_path_factory.mktemp("image") / "mini.raw"
    file.write_bytes(b"\0" * 510 + b"\x55\xaa" + os.urandom(1 << 20))
    place = ["--data-dir", str(cloudlet.data_dir)]
    assert main(["images", "import", str(file), "--name", MINI, "--user", "me", *place]) == 0
    yield derived_id("ami", MINI)
    assert main(["images", "remove", MINI, *place]) == 0


def code(caught: pytest.ExceptionInfo[ClientError]) -> str:
    found: str = caught.value.response["Error"]["Code"]
    return found


def disk_files(cloudlet: Cloudlet) -> set[str]:
    return {path.name for path in (Path(cloudlet.data_dir) / "disks" / "volumes").glob("*")}


def test_a_volume_from_its_making_to_its_end(cloudlet: Cloudlet, ec2: Any) -> None:
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "data"}]}]
    id, again = (ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, VolumeType="gp3", ClientToken="once",
                                   TagSpecifications=tags)["VolumeId"] for _ in range(2))
    assert again == id
    ec2.get_waiter("volume_available").wait(VolumeIds=[id], WaiterConfig={"Delay": 1})
    assert len(disk_files(cloudlet)) == 1
    assert ec2.modify_volume(VolumeId=id, Size=3)["VolumeModification"]["TargetSize"] == 3
    for _ in range(100):
        [change] = ec2.describe_volumes_modifications(VolumeIds=[id])["VolumesModifications"]
        if change["ModificationState"] == "completed":
            break
        time.sleep(0.05)
    assert ec2.describe_volumes(VolumeIds=[id])["Volumes"][0]["Size"] == 3
    with pytest.raises(ClientError) as caught:
        ec2.attach_volume(VolumeId=id, InstanceId="i-0123456789abcdef0", Device="/dev/sdf")
    assert code(caught) == "InvalidInstanceID.NotFound"
    ec2.delete_volume(VolumeId=id)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[id], WaiterConfig={"Delay": 1})
    assert disk_files(cloudlet) == set()


def test_snapshots_are_waited_for_paged_and_restored(ec2: Any) -> None:
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    ids = [ec2.create_snapshot(VolumeId=volume, Description=str(number))["SnapshotId"] for number in range(3)]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=ids, WaiterConfig={"Delay": 1})
    pages = list(ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], PaginationConfig={"PageSize": 2}))
    assert [len(page["Snapshots"]) for page in pages] == [2, 1]
    restored = ec2.create_volume(AvailabilityZone="us-east-1b", SnapshotId=ids[1], Size=2)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[restored], WaiterConfig={"Delay": 1})
    for id in ids:
        ec2.delete_snapshot(SnapshotId=id)
    for id in (volume, restored):
        ec2.delete_volume(VolumeId=id)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume, restored], WaiterConfig={"Delay": 1})


def test_an_imported_image_is_found_registered_and_copied(cloudlet: Cloudlet, ec2: Any, image: str) -> None:
    [seen] = ec2.describe_images(Filters=[{"Name": "name", "Values": ["mini-*"]}])["Images"]
    assert (seen["ImageId"], seen["State"], seen["Public"]) == (image, "available", True)
    there = cloudlet.client("ec2", region="eu-west-1")
    copy = there.copy_image(SourceImageId=image, SourceRegion="us-east-1", Name="copied")["ImageId"]
    there.get_waiter("image_available").wait(ImageIds=[copy], WaiterConfig={"Delay": 1})
    [mine] = there.describe_images(Owners=["self"], Filters=[{"Name": "is-public", "Values": ["false"]}])["Images"]
    snapshot = mine["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    registered = there.register_image(
        Name="registered", RootDeviceName="/dev/xvda", Architecture="x86_64", VirtualizationType="hvm",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}])["ImageId"]
    there.get_waiter("image_available").wait(ImageIds=[registered], WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError) as caught:
        there.delete_snapshot(SnapshotId=snapshot)
    assert code(caught) == "InvalidSnapshot.InUse"
    there.enable_image_deprecation(ImageId=copy, DeprecateAt="2030-01-01T00:00:00Z")
    assert there.describe_images(ImageIds=[copy])["Images"][0]["DeprecationTime"] == "2030-01-01T00:00:00.000Z"
    there.deregister_image(ImageId=registered)
    assert there.deregister_image(ImageId=copy, DeleteAssociatedSnapshots=True)["DeleteSnapshotResults"] == [
        {"SnapshotId": snapshot, "ReturnCode": "success"}]
    with pytest.raises(ClientError) as caught:
        cloudlet.client("ec2", key="222222222222").deregister_image(ImageId=image)
    assert code(caught) == "AuthFailure", "everybody may launch it, and only its owner take it away"
    assert [i["ImageId"] for i in there.describe_images(Owners=["self"])["Images"]] == [image]
