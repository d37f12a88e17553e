"""The public parameters that name images: there where an image is, and naming the newest."""

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services import ec2, ssm
from cloudlet.services.ssm import public
from tests.services.ec2.storage.conftest import AMI, Ground, card

DEBIAN_12 = "/aws/service/debian/release/12/latest/amd64"


@pytest.fixture(autouse=True)
def _published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "_publishers", [ec2.machine_images])


def value(region: Ground, name: str) -> str:
    found: str = region.desk(ssm.ssm, "GetParameter", region="eu-west-1", Name=name)["Parameter"]["Value"]
    return found


def test_the_newest_image_of_a_distribution_has_its_name(region: Ground) -> None:
    assert value(region, DEBIAN_12) == AMI
    newer = region.shelve(card("debian-12-amd64-20261201-1200", created=1_700_000_500.0))
    region.shelve(card("debian-12-amd64-20250101-1200", created=1_600_000_000.0))
    assert value(region, DEBIAN_12) == AMI, "not before it was taken in"
    region.look()
    assert value(region, DEBIAN_12) == newer


@pytest.mark.parametrize(("name", "owner", "parameter"), [
    ("jammy-server-cloudimg-amd64", "099720109477",
     "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"),
    ("ubuntu/images/ubuntu-24.04-amd64", "099720109477",
     "/aws/service/canonical/ubuntu/server/noble/stable/current/amd64/hvm/ebs-gp3/ami-id"),
    ("al2023-kvm-2023.6-kernel-6.1-x86_64", "137112412989",
     "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"),
    ("amzn2-kvm-2.0", "137112412989", "/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-gp2"),
    ("debian-13-amd64", "136693071363", "/aws/service/debian/release/13/latest/amd64")])
def test_there_only_where_such_an_image_is(region: Ground, name: str, owner: str, parameter: str) -> None:
    with pytest.raises(AwsError):
        value(region, parameter)
    id = region.shelve(card(name, owner=owner))
    region.look()
    assert value(region, parameter) == id
