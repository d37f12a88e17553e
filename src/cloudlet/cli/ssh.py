"""`cloudlet ssh i-… [command]`: the real ssh, with a key that EC2 Instance Connect lets in for a minute.

The user is the one of the image that the instance was launched from, the address its public one, or, from within the
VPC, its private one.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cloudlet.cli import Complaint
from cloudlet.cli.clients import variables
from cloudlet.cli.endpoint import find
from cloudlet.config import Config
from cloudlet.guests.shelf import Shelf
from cloudlet.store.directory import installation_of

_FALLBACK_USER = "ec2-user"
_LINEAGE_MAX = 20  # images of images that are followed to the one whose user is known


@dataclass(frozen=True, slots=True)
class Target:
    """Where to go. `through` is the namespace from which the address is reached, None for this host's own network."""

    instance_id: str
    user: str
    address: str
    zone: str
    through: str | None = None


def ssh(config: Config, arguments: argparse.Namespace) -> int:
    """Logs in, or runs a command; ssh's own exit status."""
    there = find(config)
    if there is None:
        raise Complaint("Cloudlet is not running: cloudlet up -d")
    if shutil.which("ssh") is None:
        raise Complaint("ssh is not installed: apt-get install openssh-client")
    clients = _Clients(there.url)
    try:
        target = find_target(config, clients, arguments.instance, arguments.user, private=arguments.private)
        with tempfile.TemporaryDirectory(prefix="cloudlet-ssh-") as directory:
            identity = arguments.identity
            if identity is None:
                identity, public = make_key(Path(directory))
                clients.of("ec2-instance-connect").send_ssh_public_key(
                    InstanceId=target.instance_id, InstanceOSUser=target.user, SSHPublicKey=public,
                    AvailabilityZone=target.zone)
            return subprocess.run(command(target, str(identity), arguments.command_line), check=False).returncode
    except (BotoCoreError, ClientError) as error:
        raise Complaint(str(error)) from None


class _Clients:
    """Clients of the Cloudlet at a URL, with the keys and the region of the environment."""

    def __init__(self, url: str) -> None:
        self._url, self._session = url, botocore.session.get_session()
        self._given = variables(url)

    def of(self, service: str) -> Any:
        """A client of a service."""
        return self._session.create_client(
            service, endpoint_url=self._url, region_name=self._given["AWS_DEFAULT_REGION"],
            aws_access_key_id=self._given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self._given["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=os.environ.get("AWS_SESSION_TOKEN"))


def find_target(config: Config, clients: Any, instance_id: str, user: str | None, *, private: bool) -> Target:
    """Where an instance is reached, and as whom. Raises Complaint where it cannot be."""
    ec2 = clients.of("ec2")
    instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    if instance["State"]["Name"] != "running":
        raise Complaint(f"{instance_id} is {instance['State']['Name']}")
    user, zone = user or _user_of(config, ec2, instance["ImageId"]), instance["Placement"]["AvailabilityZone"]
    address = instance.get("PublicIpAddress")
    if address and not private:
        return Target(instance_id, user, address, zone)
    if os.geteuid() != 0:
        raise Complaint("its private address is reached from inside the VPC, which needs root: sudo cloudlet ssh")
    installation = installation_of(config.data_dir)
    assert installation is not None  # it runs
    owner = instance["NetworkInterfaces"][0]["OwnerId"]
    vpc = installation.name("vpc", f"{owner}/{zone[:-1]}/{instance['VpcId']}")
    return Target(instance_id, user, instance["PrivateIpAddress"], zone, f"/run/netns/{vpc}")


def _user_of(config: Config, ec2: Any, image_id: str) -> str:
    """Whom one logs in as, as the card of the image says, or of the one that it was made of."""
    shelf = Shelf(config.data_dir)
    for _ in range(_LINEAGE_MAX):
        images = ec2.describe_images(ImageIds=[image_id])["Images"]
        if not images:
            break
        found = shelf.find(images[0]["Name"])
        if found is not None:
            return found.card.user
        image_id = images[0].get("SourceImageId") or _image_of(ec2, images[0].get("SourceInstanceId"))
        if not image_id:
            break
    return _FALLBACK_USER


def _image_of(ec2: Any, instance_id: str | None) -> str:
    """The image of an instance, as long as that is known."""
    if not instance_id:
        return ""
    found = ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [instance_id]}])["Reservations"]
    return str(found[0]["Instances"][0]["ImageId"]) if found else ""


def make_key(directory: Path) -> tuple[Path, str]:
    """A private key's file, and its public half as authorized_keys has it."""
    private = Ed25519PrivateKey.generate()
    path = directory / "key"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return path, private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def command(target: Target, identity: str, words: Sequence[str]) -> list[str]:
    """The words that start ssh. The host key is remembered by the instance: addresses come back with others."""
    enter = ["nsenter", f"--net={target.through}"] if target.through else []
    return [*enter, "ssh", "-i", identity, "-o", "IdentitiesOnly=yes", "-o", f"HostKeyAlias={target.instance_id}",
            "-o", "StrictHostKeyChecking=accept-new", f"{target.user}@{target.address}", *words]
