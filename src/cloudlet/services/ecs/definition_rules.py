"""What RegisterTaskDefinition accepts for a task on Fargate, and the defaults AWS fills in: request to document."""

import re
from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import ClientException, unsupported
from cloudlet.services.ecs.arns import NAME
from cloudlet.services.ecs.container_rules import container_definition, ports_of
from cloudlet.services.ecs.fargate import check_size, units
from cloudlet.services.ecs.ordering import check_dependencies
from cloudlet.services.ecs.secret_rules import attributes, check_execution_role
from cloudlet.services.ecs.storage_rules import check_mounts, ephemeral_storage, volumes

CONTAINERS_MAX = 10

# What Fargate honours and we do not yet; empty values pass, since tools send them.
_TASK_NOT_YET = ("proxyConfiguration", "pidMode", "enableFaultInjection", "trustedExecutionConfiguration")
_TASK_NEVER = ("placementConstraints", "inferenceAccelerators", "ipcMode")  # what Fargate refuses


def normalized(request: Input) -> dict[str, Any]:
    """The definition as AWS would answer it, without its ARN, revision and status. Raises ClientException."""
    family = request["family"]
    if not NAME.fullmatch(family):
        raise ClientException("Family contains invalid characters.")
    for name in _TASK_NOT_YET:
        if request.get(name):
            raise unsupported(f"The task definition's {name}", ClientException)
    _check_compatibility(request)
    for name in _TASK_NEVER:
        if request.get(name):
            raise ClientException(f"Fargate compatible task definitions do not support {name}.")
    cpu, memory = units(request["cpu"], "cpu"), units(request["memory"], "memory")
    check_size(cpu, memory)
    containers = [container_definition(container) for container in request["containerDefinitions"]]
    _check_containers(containers, cpu, memory)
    declared = volumes(request.get("volumes") or [])
    check_mounts(containers, declared)
    check_execution_role(containers, request.get("executionRoleArn"))
    document: dict[str, Any] = {
        "containerDefinitions": containers, "family": family, "networkMode": "awsvpc", "volumes": declared,
        "placementConstraints": [], "compatibilities": ["EC2", "FARGATE"],
        "requiresCompatibilities": request.get("requiresCompatibilities") or [], "cpu": str(cpu), "memory": str(memory)}
    for name in ("taskRoleArn", "executionRoleArn"):
        if request.get(name):
            _check_role(name, request[name])
            document[name] = request[name]
    if request.get("runtimePlatform"):
        document["runtimePlatform"] = _platform(request["runtimePlatform"])
    if request.get("ephemeralStorage"):
        document["ephemeralStorage"] = ephemeral_storage(request["ephemeralStorage"])
    document["requiresAttributes"] = [{"name": name} for name in _attributes(document)]
    return document


def _check_compatibility(request: Input) -> None:
    """Only what can run on Fargate is registered, since nothing else would ever run here."""
    wanted = request.get("requiresCompatibilities") or []
    if wanted and "FARGATE" not in wanted:
        raise unsupported(f"The launch type {wanted[0]}", ClientException)
    if "EXTERNAL" in wanted or "MANAGED_INSTANCES" in wanted:
        raise unsupported("A launch type other than EC2 and FARGATE", ClientException)
    why = "" if wanted else " Cloudlet registers only what can run on Fargate."
    if request.get("networkMode") != "awsvpc":
        raise ClientException(f"Fargate only supports network mode ‘awsvpc’.{why}")
    for name in ("cpu", "memory"):
        if not request.get(name):
            raise ClientException(f"Fargate requires that '{name}' be defined at the task level.{why}")


def _check_role(name: str, arn: str) -> None:
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/.+", arn):
        raise ClientException(f"Invalid '{name}': '{arn}' is not the ARN of a role. Specify the full ARN.")


def _platform(platform: Mapping[str, str]) -> dict[str, str]:
    if platform.get("operatingSystemFamily", "LINUX") != "LINUX":
        raise unsupported(f"The operating system family {platform['operatingSystemFamily']}", ClientException)
    if platform.get("cpuArchitecture", "X86_64") != "X86_64":
        raise unsupported(f"The CPU architecture {platform['cpuArchitecture']}", ClientException)
    return {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}


def _check_containers(containers: list[dict[str, Any]], cpu: int, memory: int) -> None:
    """What concerns the containers of a task together."""
    if not containers:
        raise ClientException("Container list cannot be empty.")
    if len(containers) > CONTAINERS_MAX:
        raise ClientException(f"A task definition can contain at most {CONTAINERS_MAX} containers.")
    names = [container["name"] for container in containers]
    if len(set(names)) != len(names):
        raise ClientException("Container names must be unique.")
    if not any(container["essential"] for container in containers):
        raise ClientException("Task definition doesn't have any essential container.")
    if sum(container["cpu"] for container in containers) > cpu:
        raise ClientException("The sum of all container 'cpu' values cannot be greater than the value of the task"
                              " 'cpu'.")
    for name in ("memory", "memoryReservation"):
        largest = [container.get(name, 0) for container in containers]
        if (sum(largest) if name == "memoryReservation" else max(largest)) > memory:
            raise ClientException(f"Invalid setting for the containers: '{name}' cannot be greater than the value of"
                                  " the task 'memory'.")
    _check_ports([port for container in containers for port in container["portMappings"]])
    check_dependencies(containers)


def _check_ports(ports: list[dict[str, Any]]) -> None:
    taken: dict[str, list[range]] = {}
    for port in ports:
        wanted, others = ports_of(port), taken.setdefault(port["protocol"], [])
        if any(wanted.start < other.stop and other.start < wanted.stop for other in others):
            raise ClientException("Port mappings of a task that share a container port and protocol are not allowed"
                                  " when networkMode=awsvpc.")
        others.append(wanted)
    names = [port["name"] for port in ports if port.get("name")]
    if len(set(names)) != len(names):
        raise ClientException("The names of port mappings must be unique within a task definition.")


def _attributes(document: Mapping[str, Any]) -> list[str]:
    """The capabilities that a container instance would need, as AWS derives them."""
    found = ["com.amazonaws.ecs.capability.docker-remote-api.1.18", "ecs.capability.task-eni"]
    execution = bool(document.get("executionRoleArn"))
    if document.get("taskRoleArn"):
        found.append("com.amazonaws.ecs.capability.task-iam-role")
    for container in document["containerDefinitions"]:
        if ".dkr.ecr." in container["image"]:
            found.append("com.amazonaws.ecs.capability.ecr-auth")
            found += ["ecs.capability.execution-role-ecr-pull"] if execution else []
        driver = (container.get("logConfiguration") or {}).get("logDriver")
        if driver:
            found += [f"com.amazonaws.ecs.capability.logging-driver.{driver}",
                      "com.amazonaws.ecs.capability.docker-remote-api.1.19"]
        if driver == "awslogs" and execution:
            found.append("ecs.capability.execution-role-awslogs")
        found += attributes(container)
        if any(container.get(member) for member in ("startTimeout", "stopTimeout", "dependsOn")):
            found.append("ecs.capability.container-ordering")
        if container.get("healthCheck"):
            found += ["ecs.capability.container-health-check", "com.amazonaws.ecs.capability.docker-remote-api.1.24"]
        if (container.get("restartPolicy") or {}).get("enabled"):
            found.append("ecs.capability.container-restart-policy")
    return list(dict.fromkeys(found))
