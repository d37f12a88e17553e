"""The regions and their availability zones, by the names they have on AWS."""

from dataclasses import dataclass
from functools import cache

from cloudlet.kernel.model import region_names

# Zones of a region where they are not simply a, b and c. Which letters an account sees differs on AWS, too.
_LETTERS = {
    "us-east-1": "abcdef", "us-west-1": "ac", "us-west-2": "abcd", "ap-northeast-1": "acd", "ap-northeast-2": "abcd",
    "ca-central-1": "abd", "cn-north-1": "abd",
}
# Regions that are enabled without asking: https://docs.aws.amazon.com/global-infrastructure/latest/regions/
_ALWAYS_ENABLED = frozenset((
    "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ap-south-1", "ap-northeast-1", "ap-northeast-2",
    "ap-northeast-3", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1", "eu-west-1", "eu-west-2",
    "eu-west-3", "eu-north-1", "sa-east-1"))
_DIRECTIONS = {"northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw"}


@dataclass(frozen=True, slots=True)
class Zone:
    """An availability zone: `us-east-1a`, and the id that means the same place in every account, `use1-az1`."""

    region: str
    name: str
    id: str


def regions() -> tuple[str, ...]:
    """The names of all regions of the partition `aws`."""
    return region_names("ec2")


def opt_in_status(region: str) -> str:
    """`opt-in-not-required`, or `opted-in`: here every region is open to every account."""
    return "opt-in-not-required" if region in _ALWAYS_ENABLED else "opted-in"


@cache
def zones(region: str) -> tuple[Zone, ...]:
    """The zones of a region, in order of name."""
    prefix = _zone_id_prefix(region)
    return tuple(Zone(region, region + letter, f"{prefix}-az{number}")
                 for number, letter in enumerate(_LETTERS.get(region, "abc"), 1))


def _zone_id_prefix(region: str) -> str:
    """`use1` for us-east-1, `apne1` for ap-northeast-1; a region that AWS does not have gives its own name."""
    continent, *words = region.split("-")
    if not words:
        return region
    return continent + "".join(_DIRECTIONS.get(word, word[:1]) for word in words[:-1]) + words[-1]


@cache
def zone_id(zone_name: str) -> str:
    """The id of a zone by its name; empty where there is no such zone."""
    return next((zone.id for zone in zones(zone_name[:-1]) if zone.name == zone_name), "")


def private_domain(region: str) -> str:
    """The domain of private names: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-dns.html"""
    return "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"


def private_dns_name(region: str, address: str) -> str:
    """`ip-172-31-0-5.ec2.internal`."""
    return f"ip-{address.replace('.', '-')}.{private_domain(region)}"


def public_dns_name(region: str, address: str) -> str:
    """`ec2-203-0-113-7.compute-1.amazonaws.com`."""
    domain = "compute-1" if region == "us-east-1" else f"{region}.compute"
    return f"ec2-{address.replace('.', '-')}.{domain}.amazonaws.com"
