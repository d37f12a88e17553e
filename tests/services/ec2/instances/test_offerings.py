"""Instance types with AWS's figures, and where they can be had."""

from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2.instances.offerings import _FILTERS, find_type
from cloudlet.services.ec2.instances.types import catalogue
from tests.services.ec2.conftest import Region


@pytest.mark.parametrize(("name", "vcpus", "mib", "interfaces"), [
    ("t2.micro", 1, 1024, 2), ("t3.nano", 2, 512, 2), ("t3a.xlarge", 4, 16384, 4), ("m5.large", 2, 8192, 3),
    ("m6i.4xlarge", 16, 65536, 8), ("c5.2xlarge", 8, 16384, 4), ("c6i.large", 2, 4096, 3), ("r5.xlarge", 4, 32768, 4)])
def test_figures_are_those_of_aws(region: Region, name: str, vcpus: int, mib: int, interfaces: int) -> None:
    shown = region("DescribeInstanceTypes", InstanceTypes=[name])["InstanceTypes"][0]
    assert shown["VCpuInfo"]["DefaultVCpus"] == vcpus
    assert shown["MemoryInfo"]["SizeInMiB"] == mib
    assert shown["NetworkInfo"]["MaximumNetworkInterfaces"] == interfaces
    assert shown["ProcessorInfo"]["SupportedArchitectures"] == ["x86_64"]
    assert catalogue()[name].memory_bytes == mib << 20


def test_what_is_not_known_is_said(region: Region) -> None:
    code, message = region.fails("DescribeInstanceTypes", InstanceTypes=["t3.micro", "x9.huge", "t9.tiny"])
    assert code == "InvalidInstanceType"
    assert "[x9.huge, t9.tiny]" in message


@pytest.mark.parametrize(("name", "code"), [
    ("t4g.micro", "InvalidParameterValue"), ("m6g.large", "InvalidParameterValue"),
    ("c7gn.large", "InvalidParameterValue"), ("p4d.24xlarge", "Unsupported"), ("m5.metal", "Unsupported"),
    ("t3", "InvalidParameterValue")])
def test_types_that_cannot_be_had(name: str, code: str) -> None:
    with pytest.raises(AwsError) as caught:
        find_type(name)
    assert caught.value.code == code
    assert ("arm64" in str(caught.value)) == (name in ("t4g.micro", "m6g.large", "c7gn.large"))


def test_filters(region: Region) -> None:
    def names(*filters: tuple[str, str]) -> set[str]:
        answer = region("DescribeInstanceTypes", Filters=[{"Name": n, "Values": [v]} for n, v in filters])
        return {shown["InstanceType"] for shown in answer["InstanceTypes"]}
    assert "t3.micro" in names(("free-tier-eligible", "true"), ("current-generation", "true"))
    assert names(("memory-info.size-in-mib", "512")) == {"t2.nano", "t3.nano", "t3a.nano"}
    assert names(("instance-type", "c5.*"), ("vcpu-info.default-vcpus", "4")) == {"c5.xlarge"}
    assert names(("processor-info.supported-architecture", "arm64")) == set()
    assert names(("bare-metal", "true")) == set()
    assert region.fails("DescribeInstanceTypes", Filters=[{"Name": "color", "Values": ["red"]}])[0] == (
        "InvalidParameterValue")


def test_every_filter_of_types_works(region: Region) -> None:
    for name in _FILTERS:
        region("DescribeInstanceTypes", Filters=[{"Name": name, "Values": ["*"]}])


@pytest.mark.parametrize(("kind", "place", "places"), [
    ("region", "us-east-1", 1), ("availability-zone", "us-east-1c", 6), ("availability-zone-id", "use1-az3", 6)])
def test_offerings(region: Region, kind: str, place: str, places: int) -> None:
    def ask(**given: Any) -> Any:
        return region("DescribeInstanceTypeOfferings", LocationType=kind, **given)["InstanceTypeOfferings"]
    assert len(ask()) == places * len(catalogue())
    filters = [{"Name": "instance-type", "Values": ["t3.micro"]}, {"Name": "location", "Values": [place]}]
    assert ask(Filters=filters) == [
        {"InstanceType": "t3.micro", "LocationType": kind, "Location": place}]


def test_no_offerings_elsewhere(region: Region) -> None:
    assert region.fails("DescribeInstanceTypeOfferings", LocationType="moon")[0] == "InvalidParameterValue"
