"""`cloudlet ssh`: which user, which address, which words."""

from pathlib import Path
from typing import Any

import pytest

from cloudlet.cli import Complaint, parser
from cloudlet.cli import ssh as module
from cloudlet.cli.ssh import Target, command, find_target, make_key
from cloudlet.config import Config
from cloudlet.engines.ports import Card
from cloudlet.guests.shelf import Shelf
from cloudlet.services.ec2 import authorized_key

ID = "i-0123456789abcdef0"


class Ec2:
    """What DescribeInstances and DescribeImages say."""

    def __init__(self, images: dict[str, dict[str, str]], **instance: Any) -> None:
        self._images = images
        self._instance = {"State": {"Name": "running"}, "ImageId": "ami-1", "VpcId": "vpc-1",
                          "Placement": {"AvailabilityZone": "us-east-1a"}, "PrivateIpAddress": "10.0.0.5",
                          "NetworkInterfaces": [{"OwnerId": "123456789012"}], **instance}

    def of(self, service: str) -> "Ec2":
        assert service == "ec2"
        return self

    def describe_instances(self, **_: Any) -> dict[str, Any]:
        return {"Reservations": [{"Instances": [self._instance]}]}

    def describe_images(self, ImageIds: list[str]) -> dict[str, Any]:  # noqa: N803
        return {"Images": [self._images[id] for id in ImageIds if id in self._images]}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    shelf = Shelf(tmp_path)
    place = shelf.place("debian-12")
    shelf.put(place, Card("debian-12", "", "136693071363", "/dev/xvda", "admin", "disk", "raw", 2, 0.0))
    (tmp_path / "installation").write_text("abcdef\n")
    return Config(tmp_path)


def test_the_user_is_that_of_the_image_or_of_what_it_was_made_of(config: Config) -> None:
    images = {"ami-1": {"Name": "debian-12"}, "ami-2": {"Name": "mine", "SourceImageId": "ami-1"},
              "ami-3": {"Name": "taken", "SourceInstanceId": ID}, "ami-4": {"Name": "strange"}}
    for image, user in (("ami-1", "admin"), ("ami-2", "admin"), ("ami-4", "ec2-user"), ("ami-9", "ec2-user")):
        found = find_target(config, Ec2(images, ImageId=image, PublicIpAddress="203.0.113.9"), ID, None, private=False)
        assert found == Target(ID, user, "203.0.113.9", "us-east-1a")
    assert find_target(config, Ec2(images, PublicIpAddress="203.0.113.9"), ID, "root", private=False).user == "root"


def test_a_private_address_is_reached_from_within_the_vpc(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    for ec2, private in ((Ec2({}), False), (Ec2({}, PublicIpAddress="203.0.113.9"), True)):
        found = find_target(config, ec2, ID, "admin", private=private)
        assert found.address == "10.0.0.5"
        assert found.through is not None
        assert found.through.startswith("/run/netns/cl-abcdef-vpc-")
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    with pytest.raises(Complaint, match="root"):
        find_target(config, Ec2({}), ID, "admin", private=False)


def test_one_that_does_not_run_is_said(config: Config) -> None:
    with pytest.raises(Complaint, match="is stopped"):
        find_target(config, Ec2({}, State={"Name": "stopped"}), ID, None, private=False)


def test_the_words_and_the_key(tmp_path: Path) -> None:
    path, public = make_key(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert authorized_key(public) == public
    words = command(Target(ID, "admin", "10.0.0.5", "us-east-1a", "/run/netns/x"), str(path), ["uname", "-a"])
    assert words[:2] == ["nsenter", "--net=/run/netns/x"]
    assert words[-3:] == ["admin@10.0.0.5", "uname", "-a"]
    assert f"HostKeyAlias={ID}" in words
    parsed = parser().parse_args(["ssh", "--private", ID, "ls", "-l", "--all"])
    assert parsed.command_line == ["ls", "-l", "--all"]
