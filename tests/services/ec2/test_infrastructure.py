"""What AWS's public parameters say of the world here."""

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services import ec2, ssm
from cloudlet.services.ssm import public
from tests.services.desk import Desk

ROOT = "/aws/service/global-infrastructure"


@pytest.fixture
def desk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(public, "_publishers", [ec2.infrastructure(["ecs", "logs"])])
    return desk


def below(desk: Desk, path: str) -> list[str]:
    return [each["Value"] for each in desk(ssm.ssm, "GetParametersByPath", Path=f"{ROOT}/{path}")["Parameters"]]


def test_regions_zones_and_services_are_those_that_are_served(desk: Desk) -> None:
    regions = [each["RegionName"] for each in desk(ec2.ec2, "DescribeRegions")["Regions"]]
    assert below(desk, "regions") == sorted(regions)
    zones = desk(ec2.ec2, "DescribeAvailabilityZones", region="eu-west-1")["AvailabilityZones"]
    assert below(desk, "regions/eu-west-1/availability-zones") == [zone["ZoneId"] for zone in zones]
    assert {zone["ZoneId"] for zone in zones} < set(below(desk, "availability-zones"))
    assert below(desk, "services") == below(desk, "regions/us-west-2/services") == ["ecs", "logs"]
    assert below(desk, "services/logs/regions") == sorted(regions)


def test_what_is_said_of_one_region(desk: Desk) -> None:
    for name, value in (("longName", "Europe (Ireland)"), ("partition", "aws")):
        found = desk(ssm.ssm, "GetParameter", Name=f"{ROOT}/regions/eu-west-1/{name}")["Parameter"]
        assert (found["Value"], found["Type"]) == (value, "String")
    with pytest.raises(AwsError):
        desk(ssm.ssm, "GetParameter", Name=f"{ROOT}/services/s3")
