"""Instance types as customers look for them, and where they can be had: everywhere."""

from collections.abc import Callable, Mapping
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.instances.types import InstanceType, catalogue, is_arm, view
from cloudlet.services.ec2.regions import zones
from cloudlet.store.db import Tx


def find_type(name: str) -> InstanceType:
    """The type of that name. Raises InvalidParameterValue for one that is none, or has another
    processor, Unsupported for one of AWS's that is not to be had here."""
    found = catalogue().get(name)
    if found is not None:
        return found
    if is_arm(name):
        raise api.InvalidParameterValue(
            "The architecture 'arm64' of the specified instance type does not match the architecture 'x86_64' of the "
            "specified AMI. Specify an instance type and an AMI that have matching architectures, and try again. You "
            "can use 'describe-instance-types' or 'describe-images' to discover the architecture of the instance type "
            "or AMI.")
    if name in ec2.model.shape_for("InstanceType").enum:
        raise api.Unsupported(f"The requested configuration is currently not supported. The instance type {name} is "
                              "not among those of this installation; 'describe-instance-types' lists them.")
    raise api.InvalidParameterValue(f"Invalid value '{name}' for InstanceType.")


@ec2.read(resources=any_resource)
def describe_instance_types(call: Call, tx: Tx, request: Input) -> Output:
    """Types by name and filter."""
    asked = request.get("InstanceTypes") or []
    unknown = [name for name in asked if name not in catalogue()]
    if unknown:
        raise api.InvalidInstanceType(f"The following supplied instance types do not exist: [{', '.join(unknown)}]")
    views = [view(each) for name, each in catalogue().items() if not asked or name in asked]
    return {"InstanceTypes": matching(views, request.get("Filters"), _FILTERS)}


def _at(*path: str) -> Callable[[Mapping[str, Any]], Any]:
    def value(shown: Mapping[str, Any]) -> Any:
        found: Any = shown
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return str(found) if isinstance(found, float) else found
    return value


_FILTERS: dict[str, Any] = {
    "auto-recovery-supported": _at("AutoRecoverySupported"),
    "bare-metal": _at("BareMetal"),
    "burstable-performance-supported": _at("BurstablePerformanceSupported"),
    "current-generation": _at("CurrentGeneration"),
    "dedicated-hosts-supported": _at("DedicatedHostsSupported"),
    "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps": _at(
        "EbsInfo", "EbsOptimizedInfo", "BaselineBandwidthInMbps"),
    "ebs-info.ebs-optimized-info.baseline-iops": _at("EbsInfo", "EbsOptimizedInfo", "BaselineIops"),
    "ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps": _at(
        "EbsInfo", "EbsOptimizedInfo", "MaximumBandwidthInMbps"),
    "ebs-info.ebs-optimized-info.maximum-iops": _at("EbsInfo", "EbsOptimizedInfo", "MaximumIops"),
    "ebs-info.ebs-optimized-support": _at("EbsInfo", "EbsOptimizedSupport"),
    "ebs-info.encryption-support": _at("EbsInfo", "EncryptionSupport"),
    "ebs-info.nvme-support": _at("EbsInfo", "NvmeSupport"),
    "free-tier-eligible": _at("FreeTierEligible"),
    "hibernation-supported": _at("HibernationSupported"),
    "hypervisor": _at("Hypervisor"),
    "instance-storage-supported": _at("InstanceStorageSupported"),
    "instance-type": _at("InstanceType"),
    "memory-info.size-in-mib": _at("MemoryInfo", "SizeInMiB"),
    "network-info.efa-supported": _at("NetworkInfo", "EfaSupported"),
    "network-info.ena-support": _at("NetworkInfo", "EnaSupport"),
    "network-info.encryption-in-transit-supported": _at("NetworkInfo", "EncryptionInTransitSupported"),
    "network-info.ipv4-addresses-per-interface": _at("NetworkInfo", "Ipv4AddressesPerInterface"),
    "network-info.ipv6-addresses-per-interface": _at("NetworkInfo", "Ipv6AddressesPerInterface"),
    "network-info.ipv6-supported": _at("NetworkInfo", "Ipv6Supported"),
    "network-info.maximum-network-cards": _at("NetworkInfo", "MaximumNetworkCards"),
    "network-info.maximum-network-interfaces": _at("NetworkInfo", "MaximumNetworkInterfaces"),
    "network-info.network-performance": _at("NetworkInfo", "NetworkPerformance"),
    "nitro-enclaves-support": _at("NitroEnclavesSupport"),
    "nitro-tpm-support": _at("NitroTpmSupport"),
    "processor-info.supported-architecture": _at("ProcessorInfo", "SupportedArchitectures"),
    "processor-info.sustained-clock-speed-in-ghz": _at("ProcessorInfo", "SustainedClockSpeedInGhz"),
    "supported-boot-mode": _at("SupportedBootModes"),
    "supported-root-device-type": _at("SupportedRootDeviceTypes"),
    "supported-usage-class": _at("SupportedUsageClasses"),
    "supported-virtualization-type": _at("SupportedVirtualizationTypes"),
    "vcpu-info.default-cores": _at("VCpuInfo", "DefaultCores"),
    "vcpu-info.default-threads-per-core": _at("VCpuInfo", "DefaultThreadsPerCore"),
    "vcpu-info.default-vcpus": _at("VCpuInfo", "DefaultVCpus"),
}


@ec2.read(resources=any_resource)
def describe_instance_type_offerings(call: Call, tx: Tx, request: Input) -> Output:
    """Every type in the region, or in each of its zones."""
    kind = request.get("LocationType") or "region"
    there = zones(call.region)
    places = {"region": [call.region], "availability-zone": [zone.name for zone in there],
              "availability-zone-id": [zone.id for zone in there]}.get(kind)
    if places is None:
        raise api.InvalidParameterValue(f"Value ({kind}) for parameter locationType is invalid. Types can be had in a"
                                        " region, availability-zone or availability-zone-id.")
    offers = [{"InstanceType": name, "LocationType": kind, "Location": place}
              for place in places for name in catalogue()]
    return {"InstanceTypeOfferings": matching(offers, request.get("Filters"), {
        "instance-type": lambda offer: offer["InstanceType"], "location": lambda offer: offer["Location"]})}
