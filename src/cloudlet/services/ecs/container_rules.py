"""What one container of a task definition may say on Fargate, and the defaults that AWS fills in."""

import re
from typing import Any

from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import ClientException, unsupported
from cloudlet.services.ecs.arns import NAME
from cloudlet.services.ecs.log_rules import log_configuration

STOP_TIMEOUT_MAX_S = 120  # "Tasks using the Fargate launch type": the developer guide's limit for stopTimeout
MEMORY_MIN_MIB = 6
ENVIRONMENT_NAME = re.compile(r"[^\x00=]+")

# What Fargate honours and we do not yet; empty values pass, since tools send them.
_NOT_YET = ("repositoryCredentials", "environmentFiles", "mountPoints", "volumesFrom", "secrets", "dependsOn",
            "startTimeout", "healthCheck", "resourceRequirements", "firelensConfiguration", "restartPolicy",
            "credentialSpecs")
# What AWS itself refuses with the network mode awsvpc, or on Fargate.
_NEVER = {
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


def container_definition(given: Input) -> dict[str, Any]:
    """One container definition, checked and filled in. Raises ClientException."""
    name = given.get("name")
    if not name:
        raise ClientException("Container.name should not be null or empty.")
    if not NAME.fullmatch(name):
        raise ClientException("Container.name contains invalid characters.")
    if not given.get("image"):
        raise ClientException("Container.image should not be null or empty.")
    if not re.fullmatch(r"[A-Za-z0-9._:/@+-]{1,255}", given["image"]) or ".." in given["image"]:
        raise ClientException("Container.image contains invalid characters.")
    for member in _NOT_YET:
        if given.get(member):
            raise unsupported(f"The container definition's {member}", ClientException)
    for member, message in _NEVER.items():
        if given.get(member):
            raise ClientException(message)
    if given.get("versionConsistency") == "enabled":
        raise unsupported("The container definition's versionConsistency", ClientException)
    filled = {member: value for member, value in given.items()
              if member not in _NOT_YET and member not in _NEVER}
    filled |= {
        "cpu": given.get("cpu") or 0, "essential": given.get("essential", True) is not False,
        "portMappings": [_port(port) for port in given.get("portMappings") or []],
        "environment": _environment(given.get("environment") or []), "mountPoints": [], "volumesFrom": [],
        "systemControls": _system_controls(given.get("systemControls") or [])}
    _check_limits(name, filled)
    if filled.get("linuxParameters"):
        _check_linux(filled["linuxParameters"])
    if filled.get("logConfiguration"):
        filled["logConfiguration"] = log_configuration(filled["logConfiguration"])
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
