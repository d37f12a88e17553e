"""Starting, stopping, rebooting and terminating instances: what is wanted is written, and their loop does it.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ec2 import api, pool
from cloudlet.services.ec2.api import ec2, touches
from cloudlet.services.ec2.fabric import refresh_fabric
from cloudlet.services.ec2.instances import capacity
from cloudlet.services.ec2.instances.cards import interfaces_of
from cloudlet.services.ec2.instances.plan import BY_USER, by_user, ending, started
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.instances.types import catalogue
from cloudlet.services.ec2.instances.views import state_view
from cloudlet.services.ec2.interfaces import mapped, vpc_key
from cloudlet.services.ec2.nouns import described
from cloudlet.services.ec2.storage.attachments import attached
from cloudlet.store.db import Tx


def _changed(tx: Tx, call: Call, ids: Iterable[str], change: Callable[[Instance], Instance]) -> list[dict[str, Any]]:
    """Applies a change to each instance, or to none where one refuses; the states before and after."""
    views = []
    for instance in described(tx, call, Instance, _required(ids)):
        changed = change(instance)
        if changed != instance:
            tx.put(changed)
        views.append({"InstanceId": instance.id, "PreviousState": state_view(instance.state),
                      "CurrentState": state_view(changed.state)})
    return views


def _required(ids: Iterable[str]) -> list[str]:
    asked = list(ids)
    if not asked:
        raise api.MissingParameter("The request must contain the parameter InstanceId")
    return asked


def _not_in_state(instance: Instance, verb: str) -> Exception:
    return api.IncorrectInstanceState(f"The instance '{instance.id}' is not in a state from which it can be {verb}.")


@ec2.write(resources=touches(instance="InstanceIds"))
def start_instances(call: Call, tx: Tx, request: Input) -> Output:
    """Has instances that are stopped powered on again."""
    api.refuse(request, "AdditionalInfo")

    def start(instance: Instance) -> Instance:
        if instance.state in ("running", "pending"):
            return instance
        if instance.state != "stopped":
            raise _not_in_state(instance, "started")
        root = next(iter(attached(tx, instance.id, instance.root_device_name)), None)
        if root is None or root.attachment is None or root.attachment.device != instance.root_device_name:
            raise api.InvalidParameterValue(f"Invalid value '{instance.id}' for instanceId. Instance does not have a "
                                            f"volume attached at root ({instance.root_device_name})")
        capacity.room(tx, call, catalogue()[instance.type], instance.zone, 1, 1)
        _give_address(tx, instance)
        again = started(instance, tx.now)
        tx.put(again)  # so that the next one's share of the memory is counted
        return again
    return {"StartingInstances": _changed(tx, call, request["InstanceIds"], start)}


def _give_address(tx: Tx, instance: Instance) -> None:
    """A public address for the primary interface, where it was launched with one and has none now."""
    primary = next(iter(interfaces_of(tx, instance.id)), None)
    if instance.public and primary and primary.public_ip is None:
        tx.put(mapped(primary, primary.private_ip, pool.take(tx)))
        refresh_fabric(tx, vpc_key(primary))


@ec2.write(resources=touches(instance="InstanceIds"))
def stop_instances(call: Call, tx: Tx, request: Input) -> Output:
    """Has running instances shut down; `Force` and `SkipOsShutdown` cut their power at once."""
    if request.get("Hibernate"):
        raise api.error("UnsupportedHibernationConfiguration")("Hibernation is not supported here.")
    force = bool(request.get("Force") or request.get("SkipOsShutdown"))

    def stop(instance: Instance) -> Instance:
        if instance.state == "stopped":
            return instance
        if instance.state not in ("running", "stopping"):
            raise _not_in_state(instance, "stopped")
        if instance.stop_protection and instance.state == "running":
            raise api.OperationNotPermitted(f"The instance '{instance.id}' may not be stopped. Modify its "
                                            "'disableApiStop' instance attribute and try again.")
        return ending(instance, "stopped", tx.now, BY_USER, by_user(tx.now), force=force)
    return {"StoppingInstances": _changed(tx, call, request["InstanceIds"], stop)}


@ec2.write(resources=touches(instance="InstanceIds"))
def reboot_instances(call: Call, tx: Tx, request: Input) -> Output:
    """Has running instances shut down and powered on again; to the outside they stay running."""
    def reboot(instance: Instance) -> Instance:
        if instance.state not in ("running", "pending"):
            raise _not_in_state(instance, "rebooted")
        return replace(instance, rebooting_at=tx.now) if instance.on and instance.rebooting_at is None else instance
    _changed(tx, call, request["InstanceIds"], reboot)


@ec2.write(resources=touches(instance="InstanceIds"))
def terminate_instances(call: Call, tx: Tx, request: Input) -> Output:
    """Ends instances for good; one that has ended already is no error."""
    force = bool(request.get("Force") or request.get("SkipOsShutdown"))

    def terminate(instance: Instance) -> Instance:
        if instance.termination_protection and instance.desired != "terminated":
            raise api.OperationNotPermitted(f"The instance '{instance.id}' may not be terminated. Modify its "
                                            "'disableApiTermination' instance attribute and try again.")
        if instance.stop_protection and instance.desired != "terminated":
            raise api.OperationNotPermitted(f"The instance '{instance.id}' may not be terminated. Modify its "
                                            "'disableApiStop' instance attribute and try again.")
        return ending(instance, "terminated", tx.now, BY_USER, by_user(tx.now), force=force)
    return {"TerminatingInstances": _changed(tx, call, request["InstanceIds"], terminate)}


# ── Detailed monitoring ──────────────────────────────────────────────────────────────────────────────────────────────


def _monitor(tx: Tx, call: Call, request: Input, wanted: bool) -> Output:
    views = []
    for instance in described(tx, call, Instance, _required(request["InstanceIds"])):
        if instance.desired == "terminated":
            raise _not_in_state(instance, "monitored")
        tx.put(replace(instance, monitoring=wanted), wake=False)
        views.append({"InstanceId": instance.id,
                      "Monitoring": {"State": ("pending" if not instance.monitoring else "enabled") if wanted else
                                     ("disabling" if instance.monitoring else "disabled")}})
    return {"InstanceMonitorings": views}


@ec2.write(resources=touches(instance="InstanceIds"))
def monitor_instances(call: Call, tx: Tx, request: Input) -> Output:
    """Asks for detailed monitoring."""
    return _monitor(tx, call, request, True)


@ec2.write(resources=touches(instance="InstanceIds"))
def unmonitor_instances(call: Call, tx: Tx, request: Input) -> Output:
    """Asks for no more than basic monitoring."""
    return _monitor(tx, call, request, False)
