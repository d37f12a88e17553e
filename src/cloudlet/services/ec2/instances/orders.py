"""What RunInstances is asked about the machine itself: read, checked, and refused where it could not be honoured."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import refuse
from cloudlet.services.ec2.instances.offerings import find_type
from cloudlet.services.ec2.instances.records import MetadataOptions
from cloudlet.services.ec2.instances.types import InstanceType
from cloudlet.services.ec2.regions import zones

USER_DATA_BYTES_MAX = 16_384
HOP_LIMIT_MAX = 64
COUNT_MAX = 1000  # of one request: what else is asked for is more than any machine can carry


@dataclass(frozen=True, slots=True)
class Order:
    """The part of a launch that is the same for each of its instances and needs no look at records."""

    type: InstanceType
    count_min: int
    count_max: int
    user_data: str
    metadata: MetadataOptions
    shutdown_behavior: Literal["stop", "terminate"]
    termination_protection: bool
    stop_protection: bool
    auto_recovery: bool
    monitoring: bool
    ebs_optimized: bool
    credits: Literal["", "standard", "unlimited"]
    zone: str | None


def read_order(call: Call, request: Input) -> Order:
    """The order of a request. Raises EC2's errors."""
    _refuse_what_is_not_here(request)
    name = request.get("InstanceType")
    if not name:
        raise api.MissingParameter("The request must contain the parameter InstanceType")
    type = find_type(name)
    low, high = request["MinCount"], request["MaxCount"]
    if low < 1 or high < 1:
        raise api.InvalidParameterValue(f"Value ({min(low, high)}) for parameter "
                                        f"{'minCount' if low < 1 else 'maxCount'} is invalid. Minimum is 1.")
    if low > high:
        raise api.InvalidParameterValue(f"Value ({low}) for parameter minCount is invalid. It is greater than maxCount"
                                        f" ({high}).")
    if low > COUNT_MAX:
        raise api.VcpuLimitExceeded(f"No more than {COUNT_MAX} instances can be launched at once.")
    behavior: Any = request.get("InstanceInitiatedShutdownBehavior") or "stop"
    if behavior not in ("stop", "terminate"):
        raise api.InvalidParameterValue(f"Value ({behavior}) for parameter instanceInitiatedShutdownBehavior is "
                                        "invalid.")
    return Order(type, low, min(high, COUNT_MAX), read_user_data(request.get("UserData")),
                 metadata_options(MetadataOptions(), request.get("MetadataOptions") or {}), behavior,
                 bool(request.get("DisableApiTermination")), bool(request.get("DisableApiStop")),
                 (request.get("MaintenanceOptions") or {}).get("AutoRecovery") == "default",
                 bool((request.get("Monitoring") or {}).get("Enabled")),
                 ebs_optimized(type, request.get("EbsOptimized")),
                 credit_option(type, (request.get("CreditSpecification") or {}).get("CpuCredits")),
                 _zone(call, request.get("Placement") or {}))


_REFUSED = (
    "KernelId", "RamdiskId", "RamDiskId", "Ipv6AddressCount", "Ipv6Addresses", "EnablePrimaryIpv6",
    "ElasticGpuSpecification", "ElasticGpuSpecifications", "ElasticInferenceAccelerators", "InstanceMarketOptions",
    "LicenseSpecifications", "AdditionalInfo", "Operator", "SecondaryInterfaces", "InstanceRequirements", "CpuOptions")
# Structures of which only what is so anyway may be asked: member -> (its member -> the values that say so)
_ONLY: dict[str, dict[str, tuple[Any, ...]]] = {
    "HibernationOptions": {"Configured": (False,)},
    "EnclaveOptions": {"Enabled": (False,)},
    "MaintenanceOptions": {"AutoRecovery": ("default", "disabled")},
    "NetworkPerformanceOptions": {"BandwidthWeighting": ("default",)},
    "CapacityReservationSpecification": {"CapacityReservationPreference": ("open", "none")},
    "PrivateDnsNameOptions": {"HostnameType": ("ip-name",), "EnableResourceNameDnsARecord": (False,),
                              "EnableResourceNameDnsAAAARecord": (False,)},
    "Placement": {"Tenancy": ("default",), "Affinity": ("default",)},
}


def _refuse_what_is_not_here(request: Input) -> None:
    refuse(request, *_REFUSED)
    for member, known in _ONLY.items():
        for name, value in (request.get(member) or {}).items():
            if value in (None, "") or (member == "Placement" and name.startswith("AvailabilityZone")):
                continue
            if value not in known.get(name, ()):
                raise api.UnsupportedOperation(f"The parameter {member}.{name} is not supported with the value"
                                               f" {value!r}." if name in known else
                                               f"The parameter {member}.{name} is not supported.")


def _zone(call: Call, placement: Mapping[str, Any]) -> str | None:
    name, id = placement.get("AvailabilityZone"), placement.get("AvailabilityZoneId")
    if not name and not id:
        return None
    for zone in zones(call.region):
        if name in (None, "", zone.name) and id in (None, "", zone.id):
            return zone.name
    raise api.InvalidParameterValue(f"Invalid availability zone: [{name or id}]")


def read_user_data(text: str | None) -> str:
    """User data as it is kept: base64 of at most 16 KB, as AWS counts them."""
    if not text:
        return ""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        raise api.InvalidUserData("Invalid BASE64 encoding of user data.") from None
    if len(data) > USER_DATA_BYTES_MAX:
        raise api.InvalidParameterValue(f"User data is limited to {USER_DATA_BYTES_MAX} bytes")
    return base64.b64encode(data).decode()


def metadata_options(now: MetadataOptions, given: Mapping[str, Any]) -> MetadataOptions:
    """The options with what a request says. Raises InvalidParameterValue and UnsupportedOperation."""
    if given.get("HttpProtocolIpv6") == "enabled":
        raise api.UnsupportedOperation("The parameter HttpProtocolIpv6 is not supported.")
    changed = now
    for member, field, values in (("HttpTokens", "tokens", ("optional", "required")),
                                  ("HttpEndpoint", "enabled", ("enabled", "disabled")),
                                  ("InstanceMetadataTags", "tags", ("enabled", "disabled"))):
        value = given.get(member)
        if not value:
            continue
        if value not in values:
            raise api.InvalidParameterValue(f"Value ({value}) for parameter {member} is invalid.")
        changed = replace(changed, **{field: value if field == "tokens" else value == "enabled"})
    limit = given.get("HttpPutResponseHopLimit")
    if limit is not None and not 1 <= limit <= HOP_LIMIT_MAX:
        raise api.InvalidParameterValue(f"Value ({limit}) for parameter HttpPutResponseHopLimit is invalid. It must be"
                                        f" between 1 and {HOP_LIMIT_MAX}.")
    return changed if limit is None else replace(changed, hop_limit=limit)


def ebs_optimized(type: InstanceType, asked: bool | None) -> bool:
    """Whether it is EBS-optimized: types that are so by default always show what was asked, as on AWS."""
    if asked and type.ebs_optimized == "unsupported":
        raise api.Unsupported("EBS-optimized instances are not supported for your requested configuration.")
    return bool(asked)


def credit_option(type: InstanceType, asked: str | None) -> Literal["", "standard", "unlimited"]:
    """How a burstable type is to spend CPU credits; "" for the others."""
    if asked and not type.credits:
        raise api.InvalidParameterCombination(f"The parameter CreditSpecification is not supported for {type.name}.")
    if asked not in (None, "", "standard", "unlimited"):
        raise api.InvalidParameterValue(f"Value ({asked}) for parameter CpuCredits is invalid.")
    chosen: Any = asked or type.credits
    option: Literal["", "standard", "unlimited"] = chosen
    return option
