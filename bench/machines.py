"""RunInstances to a command over ssh, through the whole control plane: booted, and as a copy of a saved machine where
that is done, each with its parts; and what QEMU takes of the host's memory beside the guest's.

The image is the one that the tests keep (made by `cloudlet images build debian-12` where there is none yet).
"""

import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.debian import image, stock
from tests.running import Cloudlet, free_port, free_public_cidr

BOOTED, COPIES = 2, 5
TYPE, PROMISED_MIB = "t3.nano", 512
LAUNCH_S_MAX, STATE_S_MAX = 300.0, 600.0
_POLL_S = 0.05
# What the guest knows of its own start, in microseconds since its clock began, and that clock now.
_ASK = ("systemctl show -p UserspaceTimestampMonotonic; systemctl show -p InactiveExitTimestampMonotonic "
        "-p ActiveEnterTimestampMonotonic cloud-init.service; systemctl show -p ActiveEnterTimestampMonotonic "
        "ssh.service; cat /proc/uptime; grep -c cloudlet.hold /proc/cmdline")
_FILL = ("sudo mount -o remount,size=100% /dev/shm; free=$(awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo); "
         "head -c $((free - 12))M /dev/zero >/dev/shm/full; awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo")
PARTS = ("RunInstances answers", "its disk is there", "it is running", "kernel, or resumed", "cloud-init begins",
         "cloud-init's first stage is done", "sshd listens", "a command over ssh")


@dataclass
class Launch:
    """Seconds from the call of RunInstances to each of `PARTS`, and the seconds of processor that QEMU used."""

    id: str
    times: list[float] = field(default_factory=list)
    processor_s: float = 0.0
    is_copy: bool = False


class Yard:
    """A Cloudlet with a key, an open port 22 and an image."""

    def __init__(self, cloudlet: Cloudlet, directory: Path) -> None:
        self.cloudlet, self.key = cloudlet, directory / "key.pem"
        self.ec2 = cloudlet.client("ec2")
        self.key.write_text(self.ec2.create_key_pair(KeyName="bench", KeyType="ed25519")["KeyMaterial"])
        self.key.chmod(0o400)
        vpc = self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        self.group = self.ec2.create_security_group(GroupName="bench", Description="bench", VpcId=vpc)["GroupId"]
        self.ec2.authorize_security_group_ingress(
            GroupId=self.group, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0")
        self.image = image(cloudlet)

    def launch(self) -> tuple[Launch, str]:
        """One machine, measured; and its address."""
        began = time.perf_counter()
        made = self.ec2.run_instances(ImageId=self.image, InstanceType=TYPE, KeyName="bench", MinCount=1, MaxCount=1,
                                      SecurityGroupIds=[self.group])["Instances"][0]
        found = Launch(made["InstanceId"], [time.perf_counter() - began])
        by_instance = [{"Name": "attachment.instance-id", "Values": [found.id]}]
        self._until(lambda: self.ec2.describe_volumes(Filters=by_instance)["Volumes"][0]["State"] == "in-use")
        disk = time.perf_counter() - began
        self._until(lambda: self._described(found.id)["State"]["Name"] == "running")
        running = time.perf_counter() - began
        address = self._described(found.id)["PublicIpAddress"]
        self._until(lambda: _greets(address))
        self._until(lambda: self.ssh(address, "echo there") == "there\n")
        reached = time.perf_counter() - began
        found.processor_s = _processor_s(self.footprint()["pid"])
        said = []
        while len(said) < 6:  # a busy machine may not be reached in time
            said = self.ssh(address, _ASK).split("\n")
            answered = time.perf_counter() - began
        kernel, first, done, listens = (int(line.partition("=")[2]) / 1e6 for line in said[:4])
        zero = answered - float(said[4].split()[0])  # when the guest's clock was 0, a little late
        found.is_copy = said[5] == "1"
        kernel = max(zero + kernel, disk)  # a copy's was over before it began
        found.times += [disk, running, kernel, zero + first, zero + done, zero + listens, reached]
        return found, address

    def _described(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]
        return found

    @staticmethod
    def _until(done: Any) -> None:
        end = time.monotonic() + LAUNCH_S_MAX
        while not done():
            if time.monotonic() > end:
                raise TimeoutError("it takes too long")
            time.sleep(_POLL_S)

    def ssh(self, address: str, command: str) -> str:
        """What a command in the guest says; "" where it is not reached within two seconds."""
        return subprocess.run(
            ["ssh", "-F", "/dev/null", "-i", str(self.key), "-o", "StrictHostKeyChecking=no", "-o",
             "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=2", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
             f"admin@{address}", command], capture_output=True, text=True, check=False, timeout=60).stdout

    def footprint(self) -> dict[str, int]:
        """What the one machine takes, as `cloudlet status` has it."""
        with urllib.request.urlopen(f"{self.cloudlet.url}/_cloudlet/status") as answer:
            found: dict[str, int] = json.load(answer)["machines"][0]
        return found

    def end(self, launch: Launch) -> None:
        """Terminates one, and waits for it."""
        self.ec2.terminate_instances(InstanceIds=[launch.id])
        self._until(lambda: self._described(launch.id)["State"]["Name"] == "terminated")

    def await_state(self) -> float | None:
        """Until a machine like those launched is saved; how long that took."""
        states, began = self.cloudlet.data_dir / "states", time.monotonic()
        while not list(states.glob("*/state.json")):
            if list(states.glob("*.unfit")) or time.monotonic() - began > STATE_S_MAX:
                return None
            time.sleep(1)
        return time.monotonic() - began


def _greets(address: str) -> bool:
    """Whether an sshd is there."""
    try:
        with socket.create_connection((address, 22), timeout=0.2) as client:
            client.settimeout(20)
            return client.recv(4) == b"SSH-"
    except OSError:
        return False


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def _tell(what: str, launches: list[Launch]) -> None:
    last = 0.0
    print(f"{what}, median of {len(launches)}; load {os.getloadavg()[0]:.1f}")
    for number, part in enumerate(PARTS):
        middle = statistics.median(launch.times[number] for launch in launches)
        print(f"  {part:34} {middle:6.2f} s   {max(0.0, middle - last):+6.2f}")
        last = middle
    print(f"  QEMU used {statistics.median(launch.processor_s for launch in launches):.1f} s of processor until then",
          flush=True)


def _tell_memory(yard: Yard, address: str) -> None:
    idle = yard.footprint()
    total = yard.ssh(address, _FILL).strip()
    full = yard.footprint()
    for what, seen in (("idle", idle), ("with all of the guest's memory written to", full)):
        whole = (seen["guest_resident_bytes"] + seen["overhead_bytes"]) >> 20
        print(f"memory, {what}: QEMU has {seen['overhead_bytes'] >> 20} MiB for itself, {whole} MiB with the guest's "
              f"({PROMISED_MIB} MiB are the type's, {seen['guest_bytes'] >> 20} MiB the guest's, {total} MiB "
              f"its kernel's MemTotal)", flush=True)


def _measure(yard: Yard, count: int) -> list[Launch]:
    """So many launches, one after the other; the last one's memory is told."""
    launches = []
    for number in range(count):
        launch, address = yard.launch()
        launches.append(launch)
        if number == count - 1:
            _tell_memory(yard, address)
        yard.end(launch)
    return launches


def main() -> None:
    """Medians of a few launches of each kind, one after the other."""
    with tempfile.TemporaryDirectory() as directory:
        cloudlet = stock(Cloudlet(Path(directory) / "data", free_port(), free_public_cidr()))
        with cloudlet:
            yard = Yard(cloudlet, Path(directory))
            launch, _ = yard.launch()  # finds out whether KVM works, and reads the image into the host's memory
            kind = (cloudlet.data_dir / "accelerator").read_text().split()[1]
            print(f"{'KVM' if kind == 'kvm' else 'emulation'}, {os.cpu_count()} processors, {TYPE}", flush=True)
            yard.end(launch)
            launches = _measure(yard, BOOTED)
            if kind == "tcg":
                waited = yard.await_state()
                if waited is None:
                    print("no machine of this image was saved; the control plane's log says why")
                else:
                    print(f"a machine was saved after {waited:.0f} s without a launch")
                    launches += _measure(yard, COPIES)
            for what, is_copy in (("booted", False), ("as a copy of a saved machine", True)):
                if alike := [launch for launch in launches if launch.is_copy == is_copy]:
                    _tell(what, alike)
