"""Real guests: kill -9 of the control plane and of QEMU, and whom they reach, neighbours and their host."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloudlet.kernel.names import Installation
from tests.conftest import running_cloudlet
from tests.crash.test_down import power_cut
from tests.debian import image, stock
from tests.running import Cloudlet

pytestmark = [pytest.mark.root, pytest.mark.engine("qemu-system-x86_64"), pytest.mark.engine("ssh"),
              pytest.mark.slow]

PATIENT_S = 240.0
WAITER = {"Delay": 1, "MaxAttempts": 300}


@dataclass
class Guest:
    """An instance, and ssh to it with the key that EC2 made."""

    ec2: Any
    id: str
    key: Path
    group: str

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0]
        return found

    def command(self) -> list[str]:
        return ["ssh", "-i", str(self.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR",
                f"admin@{self.seen()['PublicIpAddress']}"]

    def run(self, text: str) -> str | None:
        """What a command says; None where it fails or nobody answers."""
        done = subprocess.run([*self.command(), text], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def reached(self) -> None:
        """Waits until one can log in."""
        wait(f"{self.id} lets us in", lambda: self.run("echo in") == "in")

    def reaches(self, address: str, port: int) -> bool:
        """Whether a connection from inside is taken."""
        return self.run(f"timeout 4 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo yes || echo no") == "yes"


def wait(what: str, look: Any) -> None:
    deadline = time.monotonic() + PATIENT_S
    while not look():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def cloudlet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloudlet]:
    with stock(running_cloudlet(tmp_path_factory.mktemp("machines"))) as instance:
        image(instance)
        yield instance


@pytest.fixture(scope="module")
def pair(cloudlet: Cloudlet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Guest, Guest]:
    """Two instances of one subnet, one whose port 22 is open to all, one whose ports are closed."""
    ec2 = cloudlet.client("ec2")
    key = tmp_path_factory.mktemp("key") / "key.pem"
    key.write_text(ec2.create_key_pair(KeyName="key", KeyType="ed25519")["KeyMaterial"])
    key.chmod(0o400)
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    made = []
    for name in ("open", "closed"):
        group = ec2.create_security_group(GroupName=name, Description=name)["GroupId"]
        if name == "open":
            ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=22, ToPort=22,
                                                 CidrIp="0.0.0.0/0")
        id = ec2.run_instances(ImageId=image(cloudlet), InstanceType="t3.nano", MinCount=1, MaxCount=1, KeyName="key",
                               SecurityGroupIds=[group], SubnetId=subnet)["Instances"][0]["InstanceId"]
        made.append(Guest(ec2, id, key, group))
    for guest in made:
        ec2.get_waiter("instance_running").wait(InstanceIds=[guest.id], WaiterConfig=WAITER)
    made[0].reached()
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[made[1].id], WaiterConfig=WAITER)
    return made[0], made[1]


def qemu_of(cloudlet: Cloudlet, guest: Guest) -> int:
    """The process that is this instance's machine, as written down where the machines are."""
    root = guest.seen()["BlockDeviceMappings"][0]["Ebs"]["VolumeId"].replace("-", "")
    (record,) = [path for path in cloudlet.data_dir.rglob("record.json") if root in path.read_text()]
    pid: int = json.loads((record.parent / "process.json").read_text())["pid"]
    assert "qemu" in Path(f"/proc/{pid}/comm").read_text()
    return pid


class Session:
    """A login that stays open: what is typed comes back through the guest."""

    def __init__(self, guest: Guest) -> None:
        self.process = subprocess.Popen([*guest.command(), "-tt", "stty -echo; exec cat"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def says(self, text: str) -> bool:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{text}\n".encode())
        self.process.stdin.flush()
        said, deadline = b"", time.monotonic() + 60
        while text.encode() not in said:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                return False
            chunk = os.read(self.process.stdout.fileno(), 4096)
            if not chunk:
                return False
            said += chunk
        return True

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def test_a_session_outlives_the_control_plane_and_its_instance_is_adopted(
        cloudlet: Cloudlet, pair: tuple[Guest, Guest]) -> None:
    guest = pair[0]
    before, pid = guest.seen(), qemu_of(cloudlet, guest)
    boot = guest.run("cat /proc/sys/kernel/random/boot_id")
    with contextlib.closing(Session(guest)) as session:
        assert session.says("before")
        for round_ in range(3):
            cloudlet.kill()
            assert session.says(f"while it is dead {round_}")
            cloudlet.start()
            assert session.says(f"after {round_}")
    after = guest.seen()
    assert (after["State"]["Name"], after["LaunchTime"]) == ("running", before["LaunchTime"])
    assert after["PublicIpAddress"] == before["PublicIpAddress"]
    assert qemu_of(cloudlet, guest) == pid
    assert guest.run("cat /proc/sys/kernel/random/boot_id") == boot is not None
    guest.ec2.get_waiter("instance_status_ok").wait(InstanceIds=[guest.id], WaiterConfig=WAITER)


def test_neighbours_reach_each_other_only_as_their_groups_allow(pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    address = two.seen()["PrivateIpAddress"]
    assert not one.reaches(address, 22)
    rule: Any = {"GroupId": two.group, "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
                                                          "UserIdGroupPairs": [{"GroupId": one.group}]}]}
    one.ec2.authorize_security_group_ingress(**rule)
    wait("its neighbour is reached", lambda: one.reaches(address, 22))
    assert two.run("true") is None, "not from elsewhere"
    one.ec2.revoke_security_group_ingress(**rule)
    wait("it is closed again", lambda: not one.reaches(address, 22))


_METADATA = """python3 -c "
import urllib.request as u
root = 'http://169.254.169.254/latest/'
token = u.urlopen(u.Request(root + 'api/token', method='PUT', headers={
    'X-aws-ec2-metadata-token-ttl-seconds': '60'})).read().decode()
print(u.urlopen(u.Request(root + 'meta-data/' + PATH, headers={'X-aws-ec2-metadata-token': token})).read().decode())"
"""


def test_a_second_address_is_as_good_as_the_first_and_both_come_back(cloudlet: Cloudlet,
                                                                     pair: tuple[Guest, Guest]) -> None:
    """Its Elastic IP leads to it, its groups are the interface's, and neither a crash nor a lost namespace ends it."""
    one, two = pair
    card, ec2 = one.seen()["NetworkInterfaces"][0], one.ec2
    (second,) = [each["PrivateIpAddress"] for each in ec2.assign_private_ip_addresses(
        NetworkInterfaceId=card["NetworkInterfaceId"], SecondaryPrivateIpAddressCount=1)["AssignedPrivateIpAddresses"]]
    elastic = ec2.allocate_address()
    ec2.associate_address(AllocationId=elastic["AllocationId"], NetworkInterfaceId=card["NetworkInterfaceId"],
                          PrivateIpAddress=second)
    told = one.run(_METADATA.replace("PATH", f"'network/interfaces/macs/{card['MacAddress']}/local-ipv4s'"))
    assert (told or "").split() == [card["PrivateIpAddress"], second]
    one.run("sudo ip address add " + second + "/32 dev $(ip -o route show default | sed 's/.* dev \\([^ ]*\\).*/\\1/')")
    ways = [one.command(), [*one.command()[:-1], f"admin@{elastic['PublicIp']}"]]

    def both_lead_in() -> bool:
        said = [subprocess.run([*way, "hostname -I"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               timeout=60, check=False).stdout.split() for way in ways]
        return all(second in addresses for addresses in said)
    wait("both addresses lead in", both_lead_in)
    rule: Any = {"GroupId": two.group, "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
                                                          "UserIdGroupPairs": [{"GroupId": one.group}]}]}
    ec2.authorize_security_group_ingress(**rule)
    call = (f"python3 -c \"import socket; socket.create_connection(('{two.seen()['PrivateIpAddress']}', 22), 4, "
            f"('{second}', 0)); print('yes')\"")
    wait("the group's members are all its addresses", lambda: one.run(call) == "yes")
    ec2.revoke_security_group_ingress(**rule)
    boot, pid = one.run("cat /proc/sys/kernel/random/boot_id"), qemu_of(cloudlet, one)
    cloudlet.kill()
    assert both_lead_in(), "while nobody is there"
    installation = Installation((cloudlet.data_dir / "installation").read_text().strip())
    network = installation.name("vpc", f"{card['OwnerId']}/us-east-1/{card['VpcId']}")
    subprocess.run(["ip", "netns", "delete", network], check=True)
    cloudlet.start()
    wait("both addresses lead in again", both_lead_in)
    assert (one.run("cat /proc/sys/kernel/random/boot_id"), qemu_of(cloudlet, one)) == (boot, pid)
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=card["NetworkInterfaceId"], PrivateIpAddresses=[second])
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[elastic["AllocationId"]])["Addresses"][0]
    wait("one of them is gone", lambda: not both_lead_in())
    assert one.run("echo in") == "in"


def own_addresses() -> list[str]:
    """What this host has, loopback apart."""
    found = json.loads(subprocess.run(["ip", "-j", "-4", "address"], capture_output=True, text=True, check=True).stdout)
    return [address["local"] for card in found for address in card["addr_info"] if not
            address["local"].startswith("127.")]


def test_a_guest_does_not_reach_what_its_host_serves(cloudlet: Cloudlet, pair: tuple[Guest, Guest]) -> None:
    guest = pair[0]
    router = guest.seen()["PrivateIpAddress"].split(".")
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        heard: list[str] = []

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, who = server.accept()
                    heard.append(who[0])
                    connection.close()
        threading.Thread(target=listen, daemon=True).start()
        addresses = own_addresses()
        assert addresses
        for address in addresses:
            socket.create_connection((address, port), timeout=5).close()
        wait("the host reaches itself", lambda: len(heard) == len(addresses))
        assert guest.reaches("127.0.0.1", 22), "the probe can say yes"
        gateway = guest.run("ip route show default | cut -d' ' -f3")
        assert gateway and gateway.split(".")[:2] == router[:2]
        for address in (*addresses, gateway, "169.254.169.254", "169.254.169.253"):
            assert not guest.reaches(address, port), address
            assert not guest.reaches(address, cloudlet.port), address
        assert len(heard) == len(addresses), heard
    assert guest.reaches("169.254.169.254", 80)


def test_contents_outlive_a_stop_and_a_killed_machine_is_seen_stopped(cloudlet: Cloudlet,
                                                                      pair: tuple[Guest, Guest]) -> None:
    guest = pair[0]
    assert guest.run("echo first | sudo tee /etc/kept && sync") == "first"
    guest.ec2.stop_instances(InstanceIds=[guest.id])
    guest.ec2.get_waiter("instance_stopped").wait(InstanceIds=[guest.id], WaiterConfig=WAITER)
    guest.ec2.start_instances(InstanceIds=[guest.id])
    guest.ec2.get_waiter("instance_running").wait(InstanceIds=[guest.id], WaiterConfig=WAITER)
    guest.reached()
    assert guest.run("sudo cat /etc/kept") == "first"
    assert guest.run("echo second | sudo tee /etc/kept && sync") == "second"
    os.kill(qemu_of(cloudlet, guest), signal.SIGKILL)
    guest.ec2.get_waiter("instance_stopped").wait(InstanceIds=[guest.id], WaiterConfig=WAITER)
    assert guest.seen()["StateReason"]["Code"] == "Server.InternalError"
    guest.ec2.start_instances(InstanceIds=[guest.id])
    guest.ec2.get_waiter("instance_running").wait(InstanceIds=[guest.id], WaiterConfig=WAITER)
    guest.reached()
    assert guest.run("sudo cat /etc/kept") == "second", "what was synced is there"


def test_after_a_reboot_of_the_host_what_ran_boots_again_and_what_was_stopped_stays(cloudlet: Cloudlet,
                                                                                    pair: tuple[Guest, Guest]) -> None:
    runs, stopped = pair
    ec2 = runs.ec2
    ec2.stop_instances(InstanceIds=[stopped.id])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[stopped.id], WaiterConfig=WAITER)
    before, pid = runs.seen(), qemu_of(cloudlet, runs)
    boot = runs.run("cat /proc/sys/kernel/random/boot_id")
    assert runs.run("echo third | sudo tee /etc/kept && sync") == "third"
    cloudlet.kill()
    power_cut((cloudlet.data_dir / "installation").read_text().strip())
    with contextlib.suppress(FileNotFoundError):
        assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"", "nothing of it runs any more"
    for path in cloudlet.data_dir.glob("machines/*/process.json"):  # for this host has not really booted again
        path.write_text(json.dumps(json.loads(path.read_text()) | {"boot": "an earlier one"}))
    cloudlet.start()
    runs.reached()
    after = runs.seen()
    assert (after["State"]["Name"], after["LaunchTime"]) == ("running", before["LaunchTime"])
    assert [after[name] for name in ("PublicIpAddress", "PrivateIpAddress", "VpcId")] == [
        before[name] for name in ("PublicIpAddress", "PrivateIpAddress", "VpcId")]
    assert "StateReason" not in after
    assert runs.run("sudo cat /etc/kept") == "third"
    assert runs.run("cat /proc/sys/kernel/random/boot_id") not in (boot, None)
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[runs.id], WaiterConfig=WAITER)
    assert stopped.seen()["State"]["Name"] == "stopped"
    assert not list(cloudlet.data_dir.glob("machines/*/stopping"))
    ec2.start_instances(InstanceIds=[stopped.id])
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[stopped.id], WaiterConfig=WAITER)
