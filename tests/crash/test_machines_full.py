"""A file system that is full below a running guest: what is new is refused, and what runs is none the worse for it."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.test_instance_metadata import Guest, tiny_cloudlet, tiny_image, until
from tests.running import Cloudlet

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.engine("mkfs.ext4"),
              *map(pytest.mark.engine, ("nft", "dnsmasq", "nsenter"))]

MIB = 1 << 20
PATIENT_S = 200.0
WAITER = {"Delay": 1, "MaxAttempts": 200}


@pytest.fixture(params=["data", "data/disks"])
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own: for everything, or for the disks alone."""
    image, place = tmp_path / "image", tmp_path / request.param
    image.touch()
    os.truncate(image, 1600 * MIB)
    place.mkdir(parents=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=False).returncode:
        pytest.skip("needs loop devices")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def refused(ask: Any, **given: Any) -> bool:
    """Whether a request is refused for want of space, so that its reader knows whose disk is full."""
    try:
        made = ask(**given)
    except ClientError as error:
        return error.response["Error"]["Code"] == "InsufficientVolumeCapacity" and "Cloudlet's" in str(error)
    until(lambda: not made.get("VolumeId") or _is_gone(ask.__self__, made["VolumeId"]))
    return False


def _is_gone(ec2: Any, volume: str) -> bool:
    """Whether a volume that came just before the end of the space was deleted again."""
    with contextlib.suppress(ClientError):
        ec2.delete_volume(VolumeId=volume)
    return not ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": [volume]}])["Volumes"]


def fill(path: Path, leave: int) -> None:
    """Takes the space of its file system but for so many bytes."""
    with path.open("wb") as file:
        for step in (16 * MIB, MIB, MIB // 16):
            with contextlib.suppress(OSError):
                while shutil.disk_usage(path.parent).free - step > leave:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)


def statuses(guest: Guest) -> tuple[str, str, str]:
    (found,) = guest.ec2.describe_instance_status(InstanceIds=[guest.id])["InstanceStatuses"]
    return tuple(found[name]["Status"] for name in (  # type: ignore[return-value]
        "SystemStatus", "InstanceStatus", "AttachedEbsStatus"))


def test_a_full_disk_refuses_what_is_new_and_harms_nothing_that_runs(small: Path, tmp_path: Path) -> None:
    with tiny_cloudlet(tmp_path) as cloudlet:
        guest = Guest(cloudlet, tiny_image(cloudlet))
        ec2, zone = guest.ec2, guest.ec2.describe_subnets()["Subnets"][0]["AvailabilityZone"]
        guest.run("echo 'tiny login: ' >/dev/ttyS0")
        ec2.get_waiter("instance_status_ok").wait(InstanceIds=[guest.id], WaiterConfig=WAITER)
        guest.run("printf before | dd of=/dev/vda bs=512 seek=8 conv=fsync")

        fill(small / "ballast", 900 * MIB)  # less than is left to those that run
        until(lambda: refused(ec2.create_volume, AvailabilityZone=zone, Size=1))
        volume = ec2.describe_volumes()["Volumes"][0]["VolumeId"]
        assert refused(ec2.create_snapshot, VolumeId=volume)
        assert refused(ec2.run_instances, ImageId=tiny_image(cloudlet), InstanceType="t3.nano", MinCount=1,
                       MaxCount=1)
        assert len(ec2.describe_volumes()["Volumes"]) == 1
        assert len(ec2.describe_instances()["Reservations"]) == 1
        guest.run("dd if=/dev/urandom of=/dev/vda bs=1M seek=8 count=16 conv=fsync")
        assert statuses(guest) == ("ok", "ok", "ok")

        fill(small / "more", 0)
        guest.run("(sleep 1; dd if=/dev/zero of=/dev/vda bs=1M seek=64 count=256 conv=fsync; echo \"wrote $?\""
                  " >>/written) </dev/null >/dev/null 2>&1 & true")
        if small.name == "disks":  # else there is no space to write it down
            until(lambda: statuses(guest) == ("ok", "impaired", "impaired"), PATIENT_S)
        until(lambda: stands_still(guest), PATIENT_S)
        assert answers(cloudlet)
        (small / "more").unlink(missing_ok=True)
        until(lambda: statuses(guest) == ("ok", "ok", "ok"), PATIENT_S)
        assert "before" in guest.run("dd if=/dev/vda bs=512 skip=8 count=1 2>/dev/null")
        assert until(lambda: guest.run("cat /written 2>/dev/null"), PATIENT_S) == "wrote 0\n", "it saw no error"
        (small / "ballast").unlink()

        def made() -> Any:
            with contextlib.suppress(ClientError):
                return ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
        fresh = until(made)
        ec2.get_waiter("volume_available").wait(VolumeIds=[fresh], WaiterConfig=WAITER)


def stands_still(guest: Guest) -> bool:
    """Whether it answers nobody for some seconds."""
    for _ in range(2):
        found = guest.connected()
        if found is not None:
            found.close()
            return False
        time.sleep(0.3)
    return True


def answers(cloudlet: Cloudlet) -> bool:
    """Whether the control plane, whose own files find no space either, still tells what there is."""
    return bool(cloudlet.client("ec2").describe_instances()["Reservations"])
