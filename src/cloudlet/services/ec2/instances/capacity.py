"""Whether the host can carry another instance, and whether its account may have it."""

from cloudlet.kernel.call import Call
from cloudlet.services.ec2 import api, pool, quotas
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.instances.types import MIB, InstanceType, catalogue
from cloudlet.store.db import Tx


def _memory_in_use(tx: Tx) -> int:
    """Of all instances that are not stopped, of every account and region."""
    return sum(each.memory_bytes * tx.count(Instance, uses=name) for name, each in catalogue().items())


def _vcpus_in_use(tx: Tx, call: Call) -> int:
    """Of the caller's instances in this region that are not stopped."""
    return sum(each.vcpus * tx.count(Instance, uses=f"{call.scope}/{name}") for name, each in catalogue().items())


def room(tx: Tx, call: Call, type: InstanceType, zone: str, low: int, high: int) -> int:
    """How many more instances of a type there may be, at least `low` and at most `high`.

    Raises VcpuLimitExceeded and InsufficientInstanceCapacity.
    """
    allowed = max(0, quotas.VCPUS - _vcpus_in_use(tx, call)) // type.vcpus
    if allowed < low:
        raise api.VcpuLimitExceeded(
            f"You have requested more vCPU capacity than your current vCPU limit of {quotas.VCPUS} allows for the "
            "instance bucket that the specified instance type belongs to. Please visit "
            "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.")
    limit = pool.ground(tx).instance_memory_bytes
    if limit is None:
        return min(high, allowed)
    free = max(0, limit - _memory_in_use(tx))
    if free // type.memory_bytes < low:
        raise api.InsufficientInstanceCapacity(
            f"We currently do not have sufficient {type.name} capacity in the Availability Zone you requested ({zone}):"
            f" of this machine's memory {limit // MIB} MiB are for instances, of which {free // MIB} MiB are free, and "
            f"{low} of {type.memory_mib} MiB are wanted. Stop or terminate others, or choose a smaller type.")
    return min(high, allowed, free // type.memory_bytes)
