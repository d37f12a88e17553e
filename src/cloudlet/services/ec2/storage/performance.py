"""What sizes and speeds each volume type comes in.

https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cloudlet.services.ec2.api import InvalidParameterCombination, InvalidParameterValue, MissingParameter
from cloudlet.services.ec2.storage.records import Performance, VolumeType

GIB = 1 << 30
DEFAULT_TYPE: VolumeType = "gp2"


@dataclass(frozen=True, slots=True)
class Limits:
    """GiB from and to; operations per second from and to, their number per GiB, and whether they must be said (None:
    they cannot be); MiB/s from and to, and how many of them for each operation per second."""

    size: tuple[int, int]
    iops: tuple[int, int] | None = None
    iops_per_gib: int = 0
    iops_needed: bool = False
    throughput: tuple[int, int] | None = None
    throughput_per_iops: float = 0.25


TYPES: dict[VolumeType, Limits] = {
    "gp2": Limits((1, 16_384)),
    "gp3": Limits((1, 65_536), (3_000, 80_000), 500, throughput=(125, 2_000)),
    "io1": Limits((4, 16_384), (100, 64_000), 50, iops_needed=True),
    "io2": Limits((4, 65_536), (100, 256_000), 1_000, iops_needed=True),
    "st1": Limits((125, 16_384)),
    "sc1": Limits((125, 16_384)),
    "standard": Limits((1, 1_024)),
}
NOT_FOR_ROOTS = ("st1", "sc1")


def order(size_gib: int, type: str | None, iops: int | None, throughput: int | None) -> Performance:
    """What is ordered by these figures, where the type has it. Raises EC2's errors."""
    known = cast(VolumeType, type or DEFAULT_TYPE)
    limits = TYPES.get(known)
    if limits is None:
        raise InvalidParameterValue(f"Value ({type}) for parameter volumeType is invalid. Valid values: "
                                    + ", ".join(TYPES))
    smallest, largest = limits.size
    if size_gib < smallest:
        raise InvalidParameterValue(f"Volume of {size_gib}GiB is too small for volume type {known}; minimum is "
                                    f"{smallest}GiB.")
    if size_gib > largest:
        raise InvalidParameterValue(f"Volume of {size_gib}GiB is too large for volume type {known}; maximum is "
                                    f"{largest}GiB.")
    iops = _iops(known, limits, size_gib, iops)
    return Performance(size_gib, known, iops, _throughput(known, limits, iops, throughput))


def _iops(type: VolumeType, limits: Limits, size_gib: int, iops: int | None) -> int | None:
    if limits.iops is None:
        if iops is not None:
            raise InvalidParameterCombination(f"The parameter iops is not supported for {type} volumes.")
        return min(max(100, 3 * size_gib), 16_000) if type == "gp2" else None
    lowest, highest = limits.iops
    if iops is None:
        if limits.iops_needed:
            raise MissingParameter(f"The request must contain the parameter iops for {type} volumes.")
        return lowest
    if iops < lowest:
        raise InvalidParameterValue(f"Volume iops of {iops} is too low; minimum is {lowest}.")
    if iops > highest:
        raise InvalidParameterValue(f"Volume iops of {iops} is too high; maximum is {highest}.")
    if iops > lowest and iops > size_gib * limits.iops_per_gib:
        raise InvalidParameterValue(f"Iops to volume size ratio of {iops / size_gib:.6f} is too high; maximum is "
                                    f"{limits.iops_per_gib}")
    return iops


def _throughput(type: VolumeType, limits: Limits, iops: int | None, throughput: int | None) -> int | None:
    if limits.throughput is None:
        if throughput is not None:
            raise InvalidParameterCombination(f"The parameter throughput is not supported for {type} volumes.")
        return None
    lowest, highest = limits.throughput
    if throughput is None:
        return lowest
    if not lowest <= throughput <= highest:
        raise InvalidParameterValue(f"Volume throughput of {throughput} MiB/s is out of range; it must be from {lowest}"
                                    f" to {highest}.")
    if iops and throughput > iops * limits.throughput_per_iops:
        raise InvalidParameterValue(f"Throughput (MiBps) to iops ratio of {throughput / iops:.6f} is too high; maximum "
                                    f"is {limits.throughput_per_iops:.6f}.")
    return throughput


def order_of(given: Mapping[str, Any], size_gib: int) -> Performance:
    """What an EbsBlockDevice orders, where its size is known."""
    return order(size_gib, given.get("VolumeType"), given.get("Iops"), given.get("Throughput"))
