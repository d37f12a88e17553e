"""The tree that an instance's metadata is: what is in it, since which version, and how its directories are listed."""

import itertools

import pytest

from cloudlet.services.ec2.metadata.facts import Card, Facts
from cloudlet.services.ec2.metadata.tree import VERSIONS, look_up, tree

CARD = Card(0, "eni-1", "02:aa:00:00:00:01", "123456789012", ("10.0.0.5", "10.0.0.9"), "ip-10-0-0-5.ec2.internal",
            ("sg-1", "sg-2"), ("default", "web"), "subnet-1", "10.0.0.0/24", "vpc-1", ("10.0.0.0/16", "10.1.0.0/16"),
            {"203.0.113.9": "10.0.0.5", "203.0.113.10": "10.0.0.9"}, "ec2-203-0-113-9.compute-1.amazonaws.com")
SECOND = Card(1, "eni-2", "02:aa:00:00:00:02", "123456789012", ("10.0.0.6",), "ip-10-0-0-6.ec2.internal", ("sg-1",),
              ("default",), "subnet-1", "10.0.0.0/24", "vpc-1", ("10.0.0.0/16",))
FACTS = Facts("i-1", "123456789012", "us-east-1", "us-east-1a", "use1-az1", "t3.nano", "ami-1", "/dev/xvda",
              ("/dev/sdf",), "r-1", 2, 1_700_000_000.0, (CARD, SECOND), "my key", "ssh-rsa AAAA my key", b"#!")
ROLE = {"info": "{}", "worker": lambda: "credentials"}
ROOT = tree(FACTS, lambda: {"document": "{...}", "rsa2048": lambda: "signed"}, ROLE)


def read(path: str) -> str | None:
    found = look_up(ROOT, path, FACTS.key_name)
    return found.decode() if found is not None else None


@pytest.mark.parametrize(("path", "value"), [
    ("ami-id", "ami-1"), ("ami-launch-index", "2"), ("block-device-mapping/root", "/dev/xvda"),
    ("block-device-mapping/ebs1", "/dev/sdf"), ("hostname", "ip-10-0-0-5.ec2.internal"), ("instance-id", "i-1"),
    ("instance-type", "t3.nano"), ("local-ipv4", "10.0.0.5"), ("mac", "02:aa:00:00:00:01"),
    ("public-ipv4", "203.0.113.9"), ("public-hostname", "ec2-203-0-113-9.compute-1.amazonaws.com"),
    ("placement/region", "us-east-1"), ("placement/availability-zone-id", "use1-az1"),
    ("public-keys/0/openssh-key", "ssh-rsa AAAA my key"), ("reservation-id", "r-1"),
    ("security-groups", "default\nweb"), ("services/domain", "amazonaws.com"),
    ("iam/security-credentials/worker", "credentials"), ("events/maintenance/scheduled", "[]"),
    ("network/interfaces/macs/02:aa:00:00:00:01/ipv4-associations/203.0.113.9", "10.0.0.5"),
    ("network/interfaces/macs/02:aa:00:00:00:01/ipv4-associations/203.0.113.10", "10.0.0.9"),
    ("network/interfaces/macs/02:aa:00:00:00:01/ipv4-associations", "203.0.113.10\n203.0.113.9"),
    ("network/interfaces/macs/02:aa:00:00:00:01/local-ipv4s", "10.0.0.5\n10.0.0.9"),
    ("network/interfaces/macs/02:aa:00:00:00:01/public-ipv4s", "203.0.113.9\n203.0.113.10"),
    ("network/interfaces/macs/02:aa:00:00:00:01/vpc-ipv4-cidr-blocks", "10.0.0.0/16\n10.1.0.0/16"),
    ("network/interfaces/macs/02%3Aaa:00:00:00:02/device-number", "1"),
    ("network/interfaces/macs/02:aa:00:00:00:02/public-ipv4s", None),
    ("kernel-id", None), ("ami-id/", "ami-1"), ("ami-id/x", None), ("", None)])
def test_what_cloud_init_and_the_sdks_read(path: str, value: str | None) -> None:
    assert read(f"/latest/meta-data/{path}") == value or not path


@pytest.mark.parametrize(("path", "lines"), [
    ("/latest", ["dynamic", "meta-data", "user-data"]), ("/latest/", ["dynamic", "meta-data", "user-data"]),
    ("/latest/dynamic", ["instance-identity/"]), ("/latest/dynamic/instance-identity/", ["document", "rsa2048"]),
    ("/latest/meta-data/iam", ["info", "security-credentials/"]),
    ("/latest/meta-data/public-keys/", ["0=my key"]), ("/latest/meta-data/public-keys/0", ["openssh-key"]),
    ("/latest/meta-data/network/interfaces/macs/", ["02:aa:00:00:00:01/", "02:aa:00:00:00:02/"]),
    ("/latest/meta-data/block-device-mapping", ["ami", "ebs1", "root"]),
    ("/1.0/", ["meta-data", "user-data"]), ("/2009-04-04/dynamic/instance-identity", ["document"])])
def test_directories_are_listed(path: str, lines: list[str]) -> None:
    assert (read(path) or "").splitlines() == lines


def test_later_versions_have_all_that_earlier_ones_have() -> None:
    def all_of(path: str) -> set[str]:
        return {line.rstrip("/") for line in (read(path) or "").splitlines()}
    found = [all_of(f"/{version}/meta-data/") for version in VERSIONS]
    assert all(before <= after for before, after in itertools.pairwise(found))
    assert "iam" not in found[VERSIONS.index("2011-05-01")]
    assert "iam" in found[VERSIONS.index("2012-01-12")]
    assert {"ami-id", "instance-id", "local-ipv4", "security-groups"} <= found[0]
    assert read("/2011-05-01/meta-data/iam/info") is None
    assert read("/2012-01-12/meta-data/iam/info") == "{}"


def test_everything_listed_is_there() -> None:
    seen = 0

    def walk(path: str) -> None:
        nonlocal seen
        for line in (read(path) or "").splitlines():
            name = line.partition("=")[0] if path.endswith("public-keys/") else line
            assert read(path + name) is not None, path + name
            seen += 1
            if line.endswith("/"):
                walk(path + name)
    walk("/latest/meta-data/")
    assert seen > 60
