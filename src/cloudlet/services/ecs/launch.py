"""Bringing a task into being: its record and its network interface, in one transaction or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.service import Input
from cloudlet.services.ec2 import create_interface, ec2
from cloudlet.services.ecs.api import InvalidParameterException, unsupported
from cloudlet.services.ecs.fargate import check_size, units
from cloudlet.services.ecs.ordering import waits_for
from cloudlet.services.ecs.records import (
    Attachment,
    Cluster,
    Definition,
    Network,
    RestartPolicy,
    Tags,
    Task,
    TaskContainer,
)
from cloudlet.services.ecs.storage_rules import STORAGE_GIB, ephemeral_storage
from cloudlet.store.db import Tx

SUBNETS_MAX, GROUPS_MAX = 16, 5
OVERRIDES_MAX = 8192  # characters, as the API reference of RunTask says


@dataclass(frozen=True, slots=True)
class Order:
    """A task that is wanted, by whoever wants it: RunTask, or the scheduler of a service."""

    cluster: Cluster
    definition: Definition
    network: Network
    group: str
    started_by: str = ""
    launch_type: str = "FARGATE"
    provider: str = ""
    service: str = ""
    deployment: str = ""
    overrides: Mapping[str, Any] | None = None
    tags: Tags = ()


def network_of(request: Input) -> Network:
    """The awsvpc configuration of a request. Raises InvalidParameterException."""
    given = (request.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if not given:
        raise InvalidParameterException("Network Configuration must be provided when networkMode 'awsvpc' is"
                                        " specified.")
    subnets, groups = given.get("subnets") or [], given.get("securityGroups") or []
    if not subnets:
        raise InvalidParameterException("subnets can not be empty.")
    if len(subnets) > SUBNETS_MAX:
        raise InvalidParameterException(f"subnets can have at most {SUBNETS_MAX} items.")
    if len(groups) > GROUPS_MAX:
        raise InvalidParameterException(f"securityGroups can have at most {GROUPS_MAX} items.")
    return Network(tuple(subnets), tuple(groups), given.get("assignPublicIp") == "ENABLED")


def check_network(call: Call, tx: Tx, network: Network) -> tuple[str, ...]:
    """The zones of the subnets, in their order. Raises InvalidParameterException where EC2 does not know a subnet or
    group, or they are of different VPCs."""
    try:
        what = f"Error retrieving subnet information for [{', '.join(network.subnets)}]: "
        subnets = ec2.operations["DescribeSubnets"].run(call, tx, {"SubnetIds": list(network.subnets)})["Subnets"]
        what = f"Error retrieving security group information for [{', '.join(network.groups)}]: "
        groups = (ec2.operations["DescribeSecurityGroups"].run(call, tx, {"GroupIds": list(network.groups)})
                  ["SecurityGroups"] if network.groups else [])
    except AwsError as error:
        raise InvalidParameterException(f"{what}{error.message} (ErrorCode: {error.code})") from None
    vpcs = {subnet["VpcId"] for subnet in subnets}
    if len(vpcs) > 1:
        raise InvalidParameterException("All subnets must belong to the same VPC.")
    for group in groups:
        if group["VpcId"] not in vpcs:
            raise InvalidParameterException(f"Security Group {group['GroupId']} does not appear to belong to the same"
                                            " VPC as the input subnets.")
    zones = {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in subnets}
    return tuple(zones[subnet] for subnet in network.subnets)


def network_view(network: Network) -> dict[str, Any]:
    """A network configuration as the API speaks it."""
    return {"awsvpcConfiguration": {"subnets": list(network.subnets), "securityGroups": list(network.groups),
                                    "assignPublicIp": "ENABLED" if network.public else "DISABLED"}}


def check_overrides(definition: Definition, overrides: Input) -> dict[str, Any]:
    """The overrides of RunTask as they are kept and answered. Raises InvalidParameterException."""
    if overrides.get("inferenceAcceleratorOverrides"):
        raise unsupported("The override of inferenceAcceleratorOverrides")
    if overrides.get("ephemeralStorage"):
        ephemeral_storage(overrides["ephemeralStorage"], InvalidParameterException)
    names = {container["name"] for container in definition.containers}
    for override in overrides.get("containerOverrides") or []:
        if override.get("name") not in names:
            raise InvalidParameterException(f"Override for container named {override.get('name')} is not a container"
                                            " in the TaskDefinition.")
        for member in ("environmentFiles", "resourceRequirements"):
            if override.get(member):
                raise unsupported(f"The container override of {member}")
        for variable in override.get("environment") or []:
            if not variable.get("name") or "=" in variable["name"] or "\0" in f"{variable}":
                raise InvalidParameterException("Environment variable names must not be empty or contain '='.")
    if len(str(overrides)) > OVERRIDES_MAX:
        raise InvalidParameterException(f"Container Overrides length must be at most {OVERRIDES_MAX}")
    return {"containerOverrides": [], "inferenceAcceleratorOverrides": [],
            **{name: value for name, value in overrides.items() if value}}


def launch(call: Call, tx: Tx, order: Order, subnet: str) -> Task:
    """Writes the task and its interface in that subnet.

    Raises InvalidParameterException, with EC2's reason, where no interface can be made there.
    """
    definition, overrides = order.definition, dict(order.overrides or {})
    cpu, memory = _size(definition, overrides)
    task_id, attachment_id = tx.token(32), _uuid(tx)
    key = f"{order.cluster.key}/{task_id}"
    try:
        interface = create_interface(
            tx, call, subnet_id=subnet, group_ids=list(order.network.groups),
            description=call.arn("ecs", f"attachment/{attachment_id}"), public=order.network.public,
            notify=("ecs.task", key), tags={})
    except AwsError as error:
        raise InvalidParameterException(f"{error.message} (ErrorCode: {error.code})") from None
    attachment = Attachment(attachment_id, interface.id, subnet, interface.availability_zone, interface.mac,
                            interface.private_ip, interface.private_dns_name)
    task_role = overrides.get("taskRoleArn") or definition.document.get("taskRoleArn") or ""
    task = Task(
        key, call.account, call.region, order.cluster.name, task_id, definition.key,
        f"{definition.family}:{definition.revision}",
        tuple(_container(tx, task_id, container) for container in definition.containers),
        attachment, cpu, memory, tx.now, order.group, started_by=order.started_by, service=order.service,
        deployment=order.deployment, launch_type=order.launch_type or "FARGATE", provider=order.provider,
        task_role=task_role, credentials=_uuid(tx) if task_role else "",
        execution_role=overrides.get("executionRoleArn") or definition.document.get("executionRoleArn") or "",
        overrides=overrides, tags=order.tags, storage_gib=_storage(definition, overrides))
    tx.put(task)
    return task


def _container(tx: Tx, task_id: str, defined: Mapping[str, Any]) -> TaskContainer:
    policy = defined.get("restartPolicy") or {}
    return TaskContainer(
        defined["name"], _uuid(tx), f"{task_id}-{tx.token(10)}", defined["image"], defined["essential"], defined["cpu"],
        defined.get("memory"), defined.get("memoryReservation"),
        depends=tuple(waits_for(defined)),
        start_timeout_s=defined.get("startTimeout"),
        restart=RestartPolicy(policy["restartAttemptPeriod"], tuple(policy.get("ignoredExitCodes") or ()))
        if policy.get("enabled") else None,
        checked=bool(defined.get("healthCheck")) and defined["healthCheck"]["command"][0] != "NONE")


def _size(definition: Definition, overrides: Mapping[str, Any]) -> tuple[int, int]:
    cpu = units(overrides.get("cpu") or definition.document["cpu"], "cpu")
    memory = units(overrides.get("memory") or definition.document["memory"], "memory")
    check_size(cpu, memory, InvalidParameterException)
    return cpu, memory


def _storage(definition: Definition, overrides: Mapping[str, Any]) -> int:
    """GiB of ephemeral storage."""
    given = overrides.get("ephemeralStorage") or definition.document.get("ephemeralStorage") or {}
    size: int = given.get("sizeInGiB", STORAGE_GIB)
    return size


def _uuid(tx: Tx) -> str:
    digits = tx.token(32)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
