"""Status checks, which are measured: whether the machine answers, and whether its guest has booted.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html
"""

from collections.abc import Mapping
from typing import Any, Literal

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.instances.views import state_view
from cloudlet.services.ec2.nouns import described
from cloudlet.services.ec2.regions import zone_id
from cloudlet.store.db import Tx

BOOT_S_MAX = 600.0  # a guest that has not booted by then is impaired

Check = Literal["ok", "initializing", "impaired", "not-applicable"]


def system_check(instance: Instance) -> Check:
    """Whether its machine was seen running."""
    if instance.state != "running":
        return "not-applicable"
    return "ok" if instance.on_since is not None else "initializing"


def instance_check(instance: Instance, now: float) -> Check:
    """Whether its guest was seen to have booted."""
    if instance.state != "running":
        return "not-applicable"
    if instance.booted_at is not None:
        return "ok"
    since = instance.on_since if instance.on_since is not None else now
    return "initializing" if now - since < BOOT_S_MAX else "impaired"


def _check_view(check: Check, since: float | None) -> dict[str, Any]:
    details: dict[str, Any] = {"Name": "reachability", "Status": {
        "ok": "passed", "initializing": "initializing", "impaired": "failed"}.get(check, check)}
    if check == "impaired" and since is not None:
        details["ImpairedSince"] = since
    return {"Status": check} if check == "not-applicable" else {"Status": check, "Details": [details]}


def _view(instance: Instance, now: float) -> dict[str, Any]:
    failed_at = instance.on_since + BOOT_S_MAX if instance.on_since is not None else None
    return {"InstanceId": instance.id, "AvailabilityZone": instance.zone, "AvailabilityZoneId": zone_id(instance.zone),
            "InstanceState": state_view(instance.state),
            "InstanceStatus": _check_view(instance_check(instance, now), failed_at),
            "SystemStatus": _check_view(system_check(instance), None), "Events": []}


def _reachability(member: str) -> Any:
    def value(view: Mapping[str, Any]) -> Any:
        return [details["Status"] for details in view[member].get("Details", ())]
    return value


@ec2.read(resources=any_resource)
def describe_instance_status(call: Call, tx: Tx, request: Input) -> Output:
    """How running instances are; with `IncludeAllInstances`, all of them."""
    instances = described(tx, call, Instance, request.get("InstanceIds"))
    shown = [i for i in instances if i.state == "running" or request.get("IncludeAllInstances")]
    return {"InstanceStatuses": matching([_view(each, tx.now) for each in shown], request.get("Filters"), {
        "availability-zone": lambda view: view["AvailabilityZone"],
        "availability-zone-id": lambda view: view["AvailabilityZoneId"],
        **{f"event.{name}": lambda view: None for name in (
            "code", "description", "instance-event-id", "not-after", "not-before", "not-before-deadline")},
        "instance-state-code": lambda view: view["InstanceState"]["Code"],
        "instance-state-name": lambda view: view["InstanceState"]["Name"],
        "instance-status.reachability": _reachability("InstanceStatus"),
        "instance-status.status": lambda view: view["InstanceStatus"]["Status"],
        "system-status.reachability": _reachability("SystemStatus"),
        "system-status.status": lambda view: view["SystemStatus"]["Status"],
    })}
