"""A real guest and what it is told on 169.254.169.254, while others must not hear of it, and after a crash."""

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudlet.engines import netns
from cloudlet.engines.ports import Card
from cloudlet.guests.shelf import Shelf
from cloudlet.kernel.names import Installation
from tests.engines import tiny_guest
from tests.running import Cloudlet, free_port, free_public_cidr

pytestmark = [pytest.mark.root, pytest.mark.slow, *map(pytest.mark.engine, ("nft", "dnsmasq", "nsenter"))]

PATIENT_S = 60.0
IMDS = "169.254.169.254"


@pytest.fixture
def cloudlet(tmp_path: Path) -> Iterator[Cloudlet]:
    with tiny_cloudlet(tmp_path) as made:
        yield made


@contextlib.contextmanager
def tiny_cloudlet(directory: Path) -> Iterator[Cloudlet]:
    """One with a very small image on its shelf."""
    kernel, ramdisk = tiny_guest.kernel(), tiny_guest.ramdisk(directory)
    made = Cloudlet(directory / "data", free_port(), free_public_cidr())
    shelf = Shelf(made.data_dir)
    place = shelf.place("tiny")
    (place / "disk").write_bytes(bytes(1 << 20))
    shutil.copy(kernel, place / "kernel")
    shutil.copy(ramdisk, place / "ramdisk")
    shelf.put(place, Card("tiny", "for tests", "136693071363", "/dev/xvda", "root", "disk", "raw", 1, time.time(),
                          kernel="kernel", ramdisk="ramdisk"))
    made.start()
    try:
        yield made
    finally:
        made.down()


def until(ask: Any, patient_s: float = PATIENT_S) -> Any:
    """What an answer is once there is one."""
    end = time.monotonic() + patient_s
    while not (found := ask()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


class Guest:
    """A running instance, and the shell that it offers."""

    def __init__(self, cloudlet: Cloudlet, image: str, **given: Any) -> None:
        self.ec2 = cloudlet.client("ec2")
        made = self.ec2.run_instances(ImageId=image, InstanceType="t3.nano", MinCount=1, MaxCount=1, **given)
        self.id = made["Instances"][0]["InstanceId"]
        self.address = made["Instances"][0]["PrivateIpAddress"]
        owner, vpc = made["OwnerId"], made["Instances"][0]["VpcId"]
        installation = Installation((cloudlet.data_dir / "installation").read_text().strip())
        self._network = netns.path_of(installation.name("vpc", f"{owner}/us-east-1/{vpc}"))

    def run(self, command: str) -> str:
        """What a command in it says."""
        with until(self.connected) as client:
            client.sendall(f"{command}; exit\n".encode())
            said = b""
            while chunk := client.recv(65536):
                said += chunk
        return said.decode(errors="replace")

    def connected(self) -> socket.socket | None:
        """A shell in it, if it answers."""
        try:
            with netns.inside(self._network):
                client = socket.socket()
        except OSError:
            return None
        client.settimeout(20)
        try:
            client.connect((self.address, tiny_guest.PORT))
        except OSError:
            client.close()
            return None
        return client

    def ask(self, method: str, path: str, header: str = "", options: str = "") -> str:
        """What a request's answer holds; its status, where that is not 200."""
        head = f"{method} /latest/{path} HTTP/1.1\\r\\nHost: {IMDS}\\r\\n{header}Connection: close\\r\\n\\r\\n"
        said = self.run(f"printf '{head}' | nc -w 5 {options} {IMDS} 80")
        first, _, rest = said.partition("\r\n")
        return rest.partition("\r\n\r\n")[2] if " 200 " in first else first[9:12]

    def get(self, path: str, token: str = "") -> str:
        return self.ask("GET", path, f"X-aws-ec2-metadata-token: {token}\\r\\n" if token else "")

    def token(self) -> str:
        return self.ask("PUT", "api/token", "X-aws-ec2-metadata-token-ttl-seconds: 600\\r\\n")


def tiny_image(cloudlet: Cloudlet) -> str:
    """The id of the small image, once it is there."""
    found: str = until(lambda: [each["ImageId"] for each in cloudlet.client("ec2").describe_images(
        Filters=[{"Name": "state", "Values": ["available"]}])["Images"]])[0]
    return found


def test_guests_are_told_of_themselves_and_of_nobody_else(cloudlet: Cloudlet) -> None:
    ec2 = cloudlet.client("ec2")
    image = tiny_image(cloudlet)
    zone = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    one = Guest(cloudlet, image, SubnetId=zone, UserData="of one")
    two = Guest(cloudlet, image, SubnetId=zone, MetadataOptions={"HttpTokens": "required"})
    assert one.get("meta-data/instance-id") == one.id
    assert one.get("user-data") == "of one"
    assert two.get("meta-data/instance-id") == "401"
    token = two.token()
    assert two.get("meta-data/instance-id", token) == two.id
    assert one.get("meta-data/instance-id", token) == "401", "another's token"

    one.run(f"ip addr add {two.address}/32 dev lo")
    assert one.ask("GET", "user-data", options=f"-s {two.address}") == "", "who pretends to be another hears nothing"
    public = ec2.describe_instances(InstanceIds=[two.id])["Reservations"][0]["Instances"][0]["PublicIpAddress"]
    assert two.get("meta-data/public-ipv4", token) == public

    cloudlet.kill()
    assert two.run("echo alive").strip() == "alive"
    cloudlet.start()
    assert until(lambda: two.get("meta-data/instance-id", token)) == two.id, "its token has outlived the control plane"
    until(lambda: ec2.describe_instance_status(InstanceIds=[two.id])["InstanceStatuses"])
