"""How instances are, as they were measured: whether the machine answers, its guest and its volumes.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html
"""

import logging
from collections.abc import Mapping
from typing import Any, Literal

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2.api import IncorrectInstanceState, ec2
from cloudlet.services.ec2.instances.records import Check, Instance
from cloudlet.services.ec2.instances.views import state_view
from cloudlet.services.ec2.nouns import described
from cloudlet.services.ec2.regions import zone_id
from cloudlet.store.db import Tx

log = logging.getLogger(__name__)

BOOT_S_MAX = 600.0  # a guest that has not booted by then is impaired

Status = Literal["ok", "initializing", "impaired", "insufficient-data", "not-applicable"]
_STATUS: dict[str, Status] = {"": "initializing", "passed": "ok", "failed": "impaired",
                              "insufficient-data": "insufficient-data"}
_REACHABILITY = {"ok": "passed", "impaired": "failed"}
_NONE: tuple[Status, None] = ("not-applicable", None)


def system_check(instance: Instance) -> tuple[Status, float | None]:
    """Whether its machine answers; where it is impaired, since when."""
    if instance.state != "running":
        return _NONE
    check = instance.health.system
    return ("ok" if instance.on_since is not None else "initializing", None) if check.status == "" else _seen(check)


def instance_check(instance: Instance, now: float) -> tuple[Status, float | None]:
    """Whether its guest was seen to have booted, and answers on its network; where it is impaired, since when."""
    if instance.state != "running":
        return _NONE
    if instance.booted_at is not None:
        return _seen(instance.health.guest)
    since = instance.on_since if instance.on_since is not None else now
    return ("initializing", None) if now - since < BOOT_S_MAX else ("impaired", since + BOOT_S_MAX)


def volumes_check(instance: Instance) -> tuple[Status, float | None]:
    """Whether its volumes take what is written to them; where they do not, since when."""
    return _seen(instance.health.volumes) if instance.state == "running" else _NONE


def _seen(check: Check) -> tuple[Status, float | None]:
    return _STATUS[check.status], check.since


def _check_view(status: Status, since: float | None) -> dict[str, Any]:
    if status == "not-applicable":
        return {"Status": status}
    details: dict[str, Any] = {"Name": "reachability", "Status": _REACHABILITY.get(status, status)}
    return {"Status": status, "Details": [details | ({"ImpairedSince": since} if since is not None else {})]}


def _view(instance: Instance, now: float) -> dict[str, Any]:
    return {"InstanceId": instance.id, "AvailabilityZone": instance.zone, "AvailabilityZoneId": zone_id(instance.zone),
            "InstanceState": state_view(instance.state),
            "InstanceStatus": _check_view(*instance_check(instance, now)),
            "SystemStatus": _check_view(*system_check(instance)),
            "AttachedEbsStatus": _check_view(*volumes_check(instance)), "Events": []}


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
        "attached-ebs-status.status": lambda view: view["AttachedEbsStatus"]["Status"],
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


@ec2.write(resources=any_resource)
def report_instance_status(call: Call, tx: Tx, request: Input) -> Output:
    """A customer's word on how running instances are. It changes no status, as on AWS; whoever runs Cloudlet reads it
    in the log."""
    instances = described(tx, call, Instance, request["Instances"])
    for instance in instances:
        if instance.state != "running":
            raise IncorrectInstanceState(f"The instance '{instance.id}' is not in the 'running' state.")
    for instance in instances:
        log.warning("%s reports %s as %s: %s", call.principal.arn, instance.id, request["Status"],
                    ", ".join(request["ReasonCodes"]))
