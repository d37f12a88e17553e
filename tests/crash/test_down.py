"""After `cloudlet down` nothing is left on the host; after a reboot, services return by themselves."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests import world
from tests.conftest import running_cloudlet
from tests.crash.test_kill import exactly, make_service, public_addresses, serves, wait

pytestmark = [pytest.mark.root, pytest.mark.engine("podman"), pytest.mark.engine("nft")]


def test_down_leaves_nothing_and_up_brings_the_service_back(tmp_path: Path) -> None:
    before = world.look("no installation has this mark")
    with running_cloudlet(tmp_path) as cloudlet:
        mark = (cloudlet.data_dir / "installation").read_text().strip()
        make_service(cloudlet, 2)
        first = exactly(cloudlet, 2)
        assert world.look(mark).namespaces, "the test would see what is left"
        cloudlet.down()
        assert world.look(mark) == world.Host(
            namespaces=frozenset(), links=frozenset(), routes=before.routes, mounts=frozenset(),
            tables=before.tables, processes=frozenset(), cgroups=frozenset(), runtime=frozenset())
        cloudlet.start()
        second = exactly(cloudlet, 2)
        assert not {task["taskArn"] for task in first} & {task["taskArn"] for task in second}
        for address in public_addresses(cloudlet, second):
            wait(f"{address} answers", lambda address=address: serves(address))


def test_after_a_reboot_services_return_to_n(tmp_path: Path) -> None:
    with running_cloudlet(tmp_path) as cloudlet:
        mark = (cloudlet.data_dir / "installation").read_text().strip()
        make_service(cloudlet, 2)
        exactly(cloudlet, 2)
        cloudlet.kill()
        power_cut(mark)
        cloudlet.start()
        for address in public_addresses(cloudlet, exactly(cloudlet, 2)):
            wait(f"{address} answers", lambda address=address: serves(address))


def power_cut(mark: str) -> None:
    """All processes, namespaces, mounts and files in /run are gone; the disk stays."""
    killed: list[Path] = []
    for status in Path("/proc").glob("[0-9]*/cgroup"):
        pid = int(status.parts[2])
        try:
            text = status.read_text() + (status.parent / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if mark in text and pid != os.getpid():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.append(status.parent)
    wait("all of them are gone", lambda: not any(map(_lives, killed)))
    for mount in sorted(world.look(mark).mounts, key=len, reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
    for namespace in world.look(mark).namespaces:
        subprocess.run(["ip", "netns", "delete", namespace], check=False)
    for link in world.look(mark).links:
        subprocess.run(["ip", "link", "delete", link], check=False)
    for path in world.look(mark).runtime:
        subprocess.run(["rm", "-rf", path], check=True)


def _lives(process: Path) -> bool:
    """Whether there is more of it than its exit code."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
