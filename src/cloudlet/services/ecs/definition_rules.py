"""What RegisterTaskDefinition accepts for Fargate, and the defaults that AWS fills in: request in, document out."""

import re
from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import ClientException, unsupported
from cloudlet.services.ecs.arns import NAME
from cloudlet.services.ecs.fargate import check_size, units

CONTAINERS_MAX = 10
STOP_TIMEOUT_MAX_S = 120  # "Tasks using the Fargate launch type": the developer guide's limit for stopTimeout
MEMORY_MIN_MIB = 6
ENVIRONMENT_NAME = re.compile(r"[^\x00=]+")

# What Fargate honours and we do not yet; empty values pass, since tools send them.
_TASK_NOT_YET = ("volumes", "placementConstraints", "proxyConfiguration", "inferenceAccelerators", "ephemeralStorage",
                 "pidMode", "ipcMode", "enableFaultInjection", "trustedExecutionConfiguration")
_CONTAINER_NOT_YET = ("repositoryCredentials", "environmentFiles", "mountPoints", "volumesFrom", "secrets", "dependsOn",
                      "startTimeout", "healthCheck", "resourceRequirements", "firelensConfiguration", "restartPolicy",
                      "credentialSpecs")
# What AWS itself refuses with the network mode awsvpc, or on Fargate.
_CONTAINER_NEVER = {
    "links": "Links are not supported when networkMode=awsvpc.",
    "hostname": "Hostname is not supported on container when networkMode=awsvpc.",
    "dnsServers": "DNS servers are not supported on container when networkMode=awsvpc.",
    "dnsSearchDomains": "DNS search domains are not supported on container when networkMode=awsvpc.",
    "extraHosts": "Extra hosts are not supported on container when networkMode=awsvpc.",
    "disableNetworking": "Disabling networking is not supported on container when networkMode=awsvpc.",
    "privileged": "Fargate does not support privileged containers.",
    "dockerSecurityOptions": "Fargate does not support Docker security options.",
}
_LINUX_NEVER = ("devices", "sharedMemorySize", "tmpfs", "maxSwap", "swappiness")
_AWSLOGS_OPTIONS = {"awslogs-group", "awslogs-region", "awslogs-stream-prefix", "awslogs-create-group", "mode",
                    "max-buffer-size"}


def normalized(request: Input) -> dict[str, Any]:
    """The definition as AWS would answer it, without its ARN, revision and status. Raises ClientException."""
    family = request["family"]
    if not NAME.fullmatch(family):
        raise ClientException("Family contains invalid characters.")
    for name in _TASK_NOT_YET:
        if request.get(name):
            raise unsupported(f"The task definition's {name}", ClientException)
    _check_compatibility(request)
    cpu, memory = units(request["cpu"], "cpu"), units(request["memory"], "memory")
    check_size(cpu, memory)
    containers = [_container(container) for container in request["containerDefinitions"]]
    _check_containers(containers, cpu, memory)
    document: dict[str, Any] = {
        "containerDefinitions": containers, "family": family, "networkMode": "awsvpc", "volumes": [],
        "placementConstraints": [], "compatibilities": ["EC2", "FARGATE"],
        "requiresCompatibilities": request.get("requiresCompatibilities") or [], "cpu": str(cpu), "memory": str(memory)}
    for name in ("taskRoleArn", "executionRoleArn"):
        if request.get(name):
            _check_role(name, request[name])
            document[name] = request[name]
    if request.get("runtimePlatform"):
        document["runtimePlatform"] = _platform(request["runtimePlatform"])
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
    ports = [(port["containerPort"], port["protocol"])
             for container in containers for port in container["portMappings"]]
    if len(set(ports)) != len(ports):
        raise ClientException("Port mappings of a task that share a container port and protocol are not allowed when"
                              " networkMode=awsvpc.")


def _container(given: Input) -> dict[str, Any]:
    """One container definition, checked and filled in."""
    name = given.get("name")
    if not name:
        raise ClientException("Container.name should not be null or empty.")
    if not NAME.fullmatch(name):
        raise ClientException("Container.name contains invalid characters.")
    if not given.get("image"):
        raise ClientException("Container.image should not be null or empty.")
    if not re.fullmatch(r"[A-Za-z0-9._:/@+-]{1,255}", given["image"]) or ".." in given["image"]:
        raise ClientException("Container.image contains invalid characters.")
    for member in _CONTAINER_NOT_YET:
        if given.get(member):
            raise unsupported(f"The container definition's {member}", ClientException)
    for member, message in _CONTAINER_NEVER.items():
        if given.get(member):
            raise ClientException(message)
    if given.get("versionConsistency") == "enabled":
        raise unsupported("The container definition's versionConsistency", ClientException)
    filled = {member: value for member, value in given.items()
              if member not in _CONTAINER_NOT_YET and member not in _CONTAINER_NEVER}
    filled |= {
        "cpu": given.get("cpu") or 0, "essential": given.get("essential", True) is not False,
        "portMappings": [_port(port) for port in given.get("portMappings") or []],
        "environment": _environment(given.get("environment") or []), "mountPoints": [], "volumesFrom": [],
        "systemControls": _system_controls(given.get("systemControls") or [])}
    _check_limits(name, filled)
    if filled.get("linuxParameters"):
        _check_linux(filled["linuxParameters"])
    if filled.get("logConfiguration"):
        filled["logConfiguration"] = _logging(filled["logConfiguration"])
    return filled


def _check_limits(name: str, container: dict[str, Any]) -> None:
    invalid = f"Invalid setting for container '{name}'."
    if container["cpu"] < 0:
        raise ClientException(f"{invalid} 'cpu' must not be negative.")
    hard, soft = container.get("memory"), container.get("memoryReservation")
    for member, value in (("memory", hard), ("memoryReservation", soft)):
        if value is not None and value < MEMORY_MIN_MIB:
            raise ClientException(f"{invalid} '{member}' must be at least {MEMORY_MIN_MIB} MiB.")
    if hard is not None and soft is not None and hard < soft:
        raise ClientException(f"{invalid} 'memory' must be greater than or equal to 'memoryReservation'.")
    timeout = container.get("stopTimeout")
    if timeout is not None and timeout > STOP_TIMEOUT_MAX_S:
        raise ClientException("Tasks using the Fargate launch type must have a container stop timeout of less than"
                              f" {STOP_TIMEOUT_MAX_S} seconds.")
    if timeout is not None and timeout < 2:
        raise ClientException(f"Granular stop timeout on container '{name}' must be at least 2 seconds.")
    for limit in container.get("ulimits") or []:
        if limit["name"] != "nofile":
            raise ClientException("Tasks using the Fargate launch type only support the nofile ulimit.")
        if not 0 <= limit["softLimit"] <= limit["hardLimit"] <= 1_048_576:
            raise ClientException(f"{invalid} The soft limit of nofile must not exceed the hard limit, nor that one"
                                  " 1048576.")


def _port(port: Input) -> dict[str, Any]:
    if port.get("containerPortRange"):
        raise unsupported("The port mapping's containerPortRange", ClientException)
    inside = port.get("containerPort")
    if inside is None or not 1 <= inside <= 65535:
        raise ClientException("Container port must be between 1 and 65535.")
    outside = port.get("hostPort") or inside
    if outside != inside:
        raise ClientException("When networkMode=awsvpc, the host ports and container ports in port mappings must"
                              " match.")
    return {**port, "containerPort": inside, "hostPort": inside, "protocol": port.get("protocol") or "tcp"}


def _environment(given: list[Input]) -> list[dict[str, str]]:
    for variable in given:
        if not ENVIRONMENT_NAME.fullmatch(variable.get("name") or "") or "\0" in (variable.get("value") or ""):
            raise ClientException("Environment variable names must not be empty or contain '=', and neither names nor"
                                  " values may contain null characters.")
    return [{"name": variable["name"], "value": variable.get("value") or ""} for variable in given]


def _system_controls(given: list[Input]) -> list[dict[str, str]]:
    for control in given:
        if not re.fullmatch(r"net\.[a-z0-9_.-]+", control.get("namespace") or "") or not control.get("value"):
            raise ClientException("Tasks using the network mode awsvpc on Fargate support only system controls of the"
                                  " namespace net.*, each with a value.")
    return [{"namespace": control["namespace"], "value": control["value"]} for control in given]


def _check_linux(parameters: Input) -> None:
    for member in _LINUX_NEVER:
        if parameters.get(member):
            raise ClientException(f"Fargate compatible task definitions do not support {member}.")
    capabilities = parameters.get("capabilities") or {}
    if set(capabilities.get("add") or []) - {"SYS_PTRACE"}:
        raise ClientException("Fargate supports adding only the capability SYS_PTRACE.")
    for name in capabilities.get("drop") or []:
        if not re.fullmatch(r"[A-Z_]{3,30}", name):
            raise ClientException(f"'{name}' is not a Linux capability.")


def _logging(given: Input) -> dict[str, Any]:
    driver, options = given["logDriver"], given.get("options") or {}
    if given.get("secretOptions"):
        raise unsupported("The log configuration's secretOptions", ClientException)
    if driver == "json-file" and not options:
        return dict(given)
    if driver not in ("awslogs", "splunk", "awsfirelens"):
        raise ClientException(f"{driver} is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]")
    if driver != "awslogs":
        raise unsupported(f"The log driver {driver}", ClientException)
    if not options.get("awslogs-group") or not options.get("awslogs-region"):
        raise ClientException("Log driver awslogs requires options: awslogs-region, awslogs-group")
    if not options.get("awslogs-stream-prefix"):
        raise ClientException("Log driver awslogs requires the option awslogs-stream-prefix on Fargate.")
    for option in options:
        if option not in _AWSLOGS_OPTIONS:
            raise unsupported(f"The awslogs option {option}", ClientException)
    return dict(given)


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
        if container.get("stopTimeout"):
            found.append("ecs.capability.container-ordering")
    return list(dict.fromkeys(found))
