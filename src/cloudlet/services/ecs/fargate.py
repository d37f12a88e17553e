"""What Fargate offers: sizes of tasks, platform versions, capacity providers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ecs.api import (
    ClientException,
    InvalidParameterException,
    PlatformUnknownException,
    unsupported,
)
from cloudlet.services.ecs.records import Strategy

PLATFORM_VERSION = "1.4.0"
PLATFORM_FAMILY = "Linux"
PROVIDERS = ("FARGATE", "FARGATE_SPOT")

# CPU units -> MiB of memory, as in the developer guide's table of Fargate task sizes.
SIZES: dict[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
_UNITS = {"cpu": {"": 1, "vcpu": 1024, "vcpus": 1024}, "memory": {"": 1, "mb": 1, "mib": 1, "gb": 1024, "gib": 1024}}
_AMOUNT = re.compile(r"\s*(\d{1,9}|\d{0,6}\.\d{1,6})\s*([a-zA-Z]*)\s*", re.ASCII)


def units(text: str, what: str) -> int:
    """CPU units or MiB of a task-level `cpu` ("256", ".25 vCPU") or `memory` ("512", "1 GB").

    Raises ClientException for anything else.
    """
    match = _AMOUNT.fullmatch(text)
    factor = _UNITS[what].get(match[2].lower()) if match else None
    amount = float(match[1]) * factor if match and factor else 0.0
    if amount < 1 or amount != int(amount):
        raise ClientException(f"Invalid '{what}' setting for task. For more information, see the Troubleshooting"
                              " section of the Amazon ECS Developer Guide.")
    return int(amount)


def check_size(cpu: int, memory: int, error: type[AwsError] = ClientException) -> None:
    """Raises where Fargate has no task of that size."""
    if memory not in SIZES.get(cpu, ()):
        raise error(f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory."
                    " See the Amazon ECS documentation for the valid values.")


def check_platform(version: str | None) -> str:
    """The platform version asked for, "LATEST" by default. Raises PlatformUnknownException."""
    if version not in (None, "LATEST", PLATFORM_VERSION):
        raise PlatformUnknownException()
    return version or "LATEST"


def strategy_of(items: Sequence[Mapping[str, Any]]) -> Strategy:
    """A capacity provider strategy of a request. Raises InvalidParameterException."""
    for item in items:
        if item["capacityProvider"] not in PROVIDERS:
            raise InvalidParameterException("The specified capacity provider was not found. Specify a valid name or ARN"
                                            " and try again.")
        if not 0 <= (item.get("weight") or 0) <= 1000 or not 0 <= (item.get("base") or 0) <= 100_000:
            raise InvalidParameterException("The weight is between 0 and 1000, and the base between 0 and 100000.")
    strategy = tuple((item["capacityProvider"], item.get("base") or 0,
                      (1 if len(items) == 1 else 0) if item.get("weight") is None else item["weight"])
                     for item in items)
    if len({name for name, _, _ in strategy}) != len(strategy):
        raise InvalidParameterException("A capacity provider may appear only once in a strategy.")
    if sum(base > 0 for _, base, _ in strategy) > 1:
        raise InvalidParameterException("Only one capacity provider in a strategy can have a base.")
    if strategy and not any(weight for _, _, weight in strategy):
        raise InvalidParameterException("At least one capacity provider in the capacity provider strategy must have a"
                                        " weight value greater than 0.")
    return strategy


def strategy_list(strategy: Strategy) -> list[dict[str, Any]]:
    """A strategy as the API speaks it."""
    return [{"capacityProvider": name, "weight": weight, "base": base} for name, base, weight in strategy]


def choose_provider(strategy: Strategy, counts: Mapping[str, int]) -> str:
    """The provider of the next task, given how many each has: first the base is filled, then by weight.

    Weights share what is beyond the base, as the developer guide has it.
    """
    for name, base, _ in strategy:
        if counts.get(name, 0) < base:
            return name
    weighted = [(max(0, counts.get(name, 0) - base) / weight, order, name)
                for order, (name, base, weight) in enumerate(strategy) if weight]
    return min(weighted)[2]


def launch_on(request: Mapping[str, Any], default: Strategy) -> tuple[str, Strategy]:
    """The launch type and the strategy (one of them empty) that a request asks for, or the cluster's default.

    Raises InvalidParameterException for what is no Fargate.
    """
    launch_type = request.get("launchType")
    items = request.get("capacityProviderStrategy") or []
    if launch_type and items:
        raise InvalidParameterException("Specifying both a launch type and capacity provider strategy is not supported."
                                        " Remove one and try again.")
    if items or not launch_type:
        strategy = strategy_of(items) or default
        if not strategy:
            raise InvalidParameterException(
                "No Container Instances were found in your cluster. Cloudlet runs tasks on Fargate: specify the launch"
                " type FARGATE or a capacity provider strategy.")
        return "", strategy
    if launch_type == "EC2":
        raise InvalidParameterException("No Container Instances were found in your cluster.")
    if launch_type != "FARGATE":
        raise unsupported(f"The launch type {launch_type}")
    return "FARGATE", ()
