"""Status checks of real guests: one whose network is down, one whose kernel panicked, one whose QEMU stands still."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.aws.test_instance_metadata import Guest, tiny_cloudlet, tiny_image, until

pytestmark = [pytest.mark.root, pytest.mark.slow, *map(pytest.mark.engine, ("nft", "dnsmasq", "nsenter"))]

PATIENT_S = 200.0
WAITER = {"Delay": 1, "MaxAttempts": 200}


def checks(guest: Guest) -> tuple[str, str]:
    """The system's and the instance's; who is impaired says since when."""
    (found,) = guest.ec2.describe_instance_status(InstanceIds=[guest.id])["InstanceStatuses"]
    for check in (found["SystemStatus"], found["InstanceStatus"]):
        assert (check["Status"] == "impaired") == ("ImpairedSince" in check["Details"][0])
    return found["SystemStatus"]["Status"], found["InstanceStatus"]["Status"]


def becomes(guest: Guest, *wanted: str) -> None:
    until(lambda: checks(guest) == wanted, PATIENT_S)


def qemu_of(guest: Guest) -> int:
    """The process of its machine, which bears its UUID."""
    uuid = f"ec2{guest.id[2:]:0<29}"[:32]
    mark = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])).encode()
    (pid,) = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if mark in _words(path)]
    return pid


def _words(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []


def has_booted(guest: Guest) -> None:
    guest.run("echo 'tiny login: ' >/dev/ttyS0")


def in_the_background(guest: Guest, command: str) -> None:
    guest.run(f"(sleep 1; {command}) </dev/null >/dev/null 2>&1 & true")


def test_a_guest_that_dies_later_is_noticed(tmp_path: Path) -> None:
    with tiny_cloudlet(tmp_path) as cloudlet:
        image, ec2 = tiny_image(cloudlet), cloudlet.client("ec2")
        unplugged, panicked, frozen, well = guests = [Guest(cloudlet, image) for _ in range(4)]
        ids: Any = [guest.id for guest in guests]
        ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig=WAITER)
        ec2.get_waiter("system_status_ok").wait(InstanceIds=ids, WaiterConfig=WAITER)
        for guest in guests:
            has_booted(guest)
        ec2.get_waiter("instance_status_ok").wait(InstanceIds=ids, WaiterConfig=WAITER)

        in_the_background(unplugged, "ifconfig eth0 down; sleep 150; ifconfig eth0 up")
        in_the_background(panicked, "echo c >/proc/sysrq-trigger")
        os.kill(qemu_of(frozen), signal.SIGSTOP)
        becomes(unplugged, "ok", "impaired")
        becomes(panicked, "ok", "impaired")
        becomes(frozen, "impaired", "impaired")
        assert checks(well) == ("ok", "ok")
        impaired = ec2.describe_instance_status(Filters=[{"Name": "instance-status.reachability",
                                                          "Values": ["failed"]}])["InstanceStatuses"]
        assert {each["InstanceId"] for each in impaired} == {unplugged.id, panicked.id, frozen.id}
        os.kill(qemu_of(frozen), signal.SIGCONT)
        ec2.reboot_instances(InstanceIds=[panicked.id])
        becomes(frozen, "ok", "ok")
        becomes(unplugged, "ok", "ok")
        until(lambda: checks(panicked)[1] == "initializing", PATIENT_S)
        has_booted(panicked)
        becomes(panicked, "ok", "ok")
        assert checks(well) == ("ok", "ok")

        os.kill(qemu_of(frozen), signal.SIGSTOP)
        ec2.stop_instances(InstanceIds=[frozen.id], Force=True)
        ec2.get_waiter("instance_stopped").wait(InstanceIds=[frozen.id], WaiterConfig=WAITER)
