"""The instance types there are, with AWS's figures, and what they are called on AWS.

https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

MIB = 1 << 20
_ARM = re.compile(r"(a1|hpc7g|i4g|im4gn|is4gen|x2gd|g5g|[a-z]+\d+g[a-z]*)\..+")


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One type. `memory_mib`, `vcpus` and `cores` as on AWS; `interfaces` it may have and `addresses` of each;
    `gbps` and `ebs` are what AWS gives it of network (baseline, peak) and of EBS (baseline and maximum of Mb/s, IOPS,
    MB/s)."""

    name: str
    vcpus: int
    cores: int
    memory_mib: int
    maker: str
    ghz: float
    hypervisor: str
    current: bool
    burstable: bool
    free_tier: bool
    interfaces: int
    addresses: int
    network: str
    ena: str
    gbps: tuple[float, float]
    ebs_optimized: str
    ebs: tuple[float, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """What the machine gets."""
        return self.memory_mib * MIB

    @property
    def family(self) -> str:
        """`t3` of `t3.micro`."""
        return self.name.partition(".")[0]

    @property
    def credits(self) -> Literal["", "standard", "unlimited"]:
        """How CPU credits are spent by default: standard by t2, unlimited by later types; "" where there are none."""
        if not self.burstable:
            return ""
        return "standard" if self.family == "t2" else "unlimited"


@cache
def catalogue() -> Mapping[str, InstanceType]:
    """Every type that instances here may have, by name, in the catalogue's order."""
    listed = msgspec.json.decode((Path(__file__).parent / "types.json").read_bytes(), type=list[InstanceType])
    return {each.name: each for each in listed}


def is_arm(name: str) -> bool:
    """Whether a type of that name has a processor that machines here have not."""
    return _ARM.fullmatch(name) is not None


def view(of: InstanceType) -> dict[str, Any]:
    """A type as DescribeInstanceTypes shows it: AWS's figures of size, and what this installation can do with it."""
    baseline, peak = of.gbps
    card = {"NetworkCardIndex": 0, "NetworkPerformance": of.network, "MaximumNetworkInterfaces": of.interfaces,
            "BaselineBandwidthInGbps": baseline, "PeakBandwidthInGbps": peak}
    vcpu: dict[str, Any] = {"DefaultVCpus": of.vcpus, "DefaultCores": of.cores,
                            "DefaultThreadsPerCore": of.vcpus // of.cores}
    ebs: dict[str, Any] = {"EbsOptimizedSupport": of.ebs_optimized, "EncryptionSupport": "supported",
                           "NvmeSupport": "unsupported"}
    if of.ebs:
        names = ("BaselineBandwidthInMbps", "BaselineIops", "BaselineThroughputInMBps", "MaximumBandwidthInMbps",
                 "MaximumIops", "MaximumThroughputInMBps")
        ebs["EbsOptimizedInfo"] = {name: value if "Throughput" in name else int(value)
                                   for name, value in zip(names, of.ebs, strict=True)}
    return {
        "InstanceType": of.name, "CurrentGeneration": of.current, "FreeTierEligible": of.free_tier,
        "SupportedUsageClasses": ["on-demand"], "SupportedRootDeviceTypes": ["ebs"],
        "SupportedVirtualizationTypes": ["hvm"], "BareMetal": False, "Hypervisor": of.hypervisor,
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"], "SustainedClockSpeedInGhz": of.ghz,
                          "Manufacturer": of.maker},
        "VCpuInfo": vcpu, "MemoryInfo": {"SizeInMiB": of.memory_mib}, "InstanceStorageSupported": False,
        "EbsInfo": ebs,
        "NetworkInfo": {
            "NetworkPerformance": of.network, "MaximumNetworkInterfaces": of.interfaces, "MaximumNetworkCards": 1,
            "DefaultNetworkCardIndex": 0, "NetworkCards": [card], "Ipv4AddressesPerInterface": of.addresses,
            "Ipv6AddressesPerInterface": 0, "Ipv6Supported": False, "EnaSupport": "unsupported",
            "EfaSupported": False, "EncryptionInTransitSupported": False, "EnaSrdSupported": False},
        "PlacementGroupInfo": {"SupportedStrategies": []}, "HibernationSupported": False,
        "BurstablePerformanceSupported": of.burstable, "DedicatedHostsSupported": False,
        "AutoRecoverySupported": True, "SupportedBootModes": ["legacy-bios"], "NitroEnclavesSupport": "unsupported",
        "NitroTpmSupport": "unsupported",
    }
