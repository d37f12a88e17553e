"""What one container of a task definition may say on Fargate, and the defaults that AWS fills in."""

import re
from typing import Any

from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import ClientException, unsupported
from cloudlet.services.ecs.arns import NAME
from cloudlet.services.ecs.log_rules import log_configuration
from cloudlet.services.ecs.secret_rules import repository_credentials, secrets
from cloudlet.services.ecs.storage_rules import mount_points

TIMEOUT_MAX_S = 120  # startTimeout and stopTimeout: "The valid values for Fargate are 2-120 seconds"
PORT_RANGES_MAX = 100
IGNORED_CODES_MAX = 50
# member of healthCheck -> default, least, most (API_HealthCheck)
_HEALTH = {"interval": (30, 5, 300), "timeout": (5, 2, 60), "retries": (3, 1, 10), "startPeriod": (None, 0, 300)}
MEMORY_MIN_MIB = 6
ENVIRONMENT_NAME = re.compile(r"[^\x00=]+")

# What Fargate honours and we do not yet; empty values pass, since tools send them.
_NOT_YET = ("environmentFiles", "firelensConfiguration", "credentialSpecs")
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
    "resourceRequirements": "Fargate compatible task definitions do not support resourceRequirements.",
}
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_SystemControl.html: the namespaced ones
_SYSTEM_CONTROL = re.compile(r"net\.[a-z0-9_./-]+|fs\.mqueue\.[a-z_]+"
                             r"|kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)")
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
              if member not in (*_NOT_YET, *_NEVER) or value is False}  # AWS tells a "no" that it was told
    filled |= {
        "cpu": given.get("cpu") or 0, "essential": given.get("essential", True) is not False,
        "portMappings": _ports(given.get("portMappings") or []),
        "environment": _environment(given.get("environment") or []),
        "mountPoints": mount_points(given.get("mountPoints") or []),
        "volumesFrom": [dict(source) for source in given.get("volumesFrom") or []],
        "systemControls": _system_controls(given.get("systemControls") or [])}
    _check_limits(name, filled)
    for member, rule in (("healthCheck", _health_check), ("restartPolicy", _restart_policy)):
        if filled.get(member):
            filled[member] = rule(name, filled[member])
    if filled.get("linuxParameters"):
        _check_linux(filled["linuxParameters"])
    if filled.get("secrets"):
        filled["secrets"] = secrets(filled["secrets"], filled["environment"])
    if filled.get("repositoryCredentials"):
        filled["repositoryCredentials"] = repository_credentials(filled["repositoryCredentials"])
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
    for word in ("start", "stop"):
        timeout = container.get(f"{word}Timeout")
        if timeout is not None and timeout > TIMEOUT_MAX_S:
            raise ClientException(f"Tasks using the Fargate launch type must have a container {word} timeout of less"
                                  f" than {TIMEOUT_MAX_S} seconds.")
        if timeout is not None and timeout < 2:
            raise ClientException(f"Granular {word} timeout on container '{name}' must be at least 2 seconds.")
    for limit in container.get("ulimits") or []:
        if limit["name"] != "nofile":
            raise ClientException("Tasks using the Fargate launch type only support the nofile ulimit.")
        if not 0 <= limit["softLimit"] <= limit["hardLimit"] <= 1_048_576:
            raise ClientException(f"{invalid} The soft limit of nofile must not exceed the hard limit, nor that one"
                                  " 1048576.")


def _health_check(name: str, given: Input) -> dict[str, Any]:
    invalid = f"Invalid setting for container '{name}'."
    command = given.get("command") or []
    if not command or command[0] not in ("CMD", "CMD-SHELL", "NONE"):
        raise ClientException(f"{invalid} The command of a health check must start with CMD or CMD-SHELL.")
    if (len(command) == 1) != (command[0] == "NONE") or (command[0] == "CMD-SHELL" and len(command) != 2):
        raise ClientException(f"{invalid} The health check has no command, or more than one for the shell.")
    filled = dict(given)
    for member, (default, least, most) in _HEALTH.items():
        value = default if given.get(member) is None else given[member]
        if value is not None and not least <= value <= most:
            raise ClientException(f"{invalid} The {member} of a health check must be between {least} and {most}.")
        if value is not None:
            filled[member] = value
    return filled


def _restart_policy(name: str, given: Input) -> dict[str, Any]:
    invalid = f"Invalid setting for container '{name}'."
    period, codes = given.get("restartAttemptPeriod"), given.get("ignoredExitCodes") or []
    if period is not None and not 60 <= period <= 1800:
        raise ClientException(f"{invalid} The restartAttemptPeriod of a restart policy must be between 60 and 1800.")
    if len(codes) > IGNORED_CODES_MAX:
        raise ClientException(f"{invalid} A restart policy can ignore at most {IGNORED_CODES_MAX} exit codes.")
    if not given.get("enabled") and (period is not None or codes):
        raise ClientException(f"{invalid} A restart policy must be enabled to have settings.")
    if not given.get("enabled"):
        return {"enabled": False}
    return {**given, "restartAttemptPeriod": 300 if period is None else period}


def _ports(given: list[Input]) -> list[dict[str, Any]]:
    if sum(bool(port.get("containerPortRange")) for port in given) > PORT_RANGES_MAX:
        raise ClientException(f"A container can have at most {PORT_RANGES_MAX} port ranges.")
    return [_port(port) for port in given]


def _port(port: Input) -> dict[str, Any]:
    name = port.get("name")
    if name and not re.fullmatch(r"[a-z0-9_][a-z0-9_-]{0,63}", name):
        raise ClientException(f"The port mapping name '{name}' may have up to 64 lowercase letters, numbers,"
                              " underscores and hyphens, and cannot start with a hyphen.")
    if port.get("containerPortRange"):
        if port.get("containerPort") or port.get("hostPort"):
            raise ClientException("Specify either containerPort or containerPortRange in a port mapping, not both.")
        ports_of(port)
        return {**port, "protocol": port.get("protocol") or "tcp"}
    inside = port.get("containerPort")
    if inside is None or not 1 <= inside <= 65535:
        raise ClientException("Container port must be between 1 and 65535.")
    outside = port.get("hostPort") or inside
    if outside != inside:
        raise ClientException("When networkMode=awsvpc, the host ports and container ports in port mappings must"
                              " match.")
    return {**port, "containerPort": inside, "hostPort": inside, "protocol": port.get("protocol") or "tcp"}


def ports_of(port: Input) -> range:
    """The container ports of a port mapping. Raises ClientException where its range is none."""
    text = port.get("containerPortRange")
    if not text:
        return range(port["containerPort"], port["containerPort"] + 1)
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= 65535:
        raise ClientException(f"The container port range '{text}' is not valid: it has the form first-last, of ports"
                              " between 1 and 65535.")
    return range(int(match[1]), int(match[2]) + 1)


def _environment(given: list[Input]) -> list[dict[str, str]]:
    for variable in given:
        if not ENVIRONMENT_NAME.fullmatch(variable.get("name") or "") or "\0" in (variable.get("value") or ""):
            raise ClientException("Environment variable names must not be empty or contain '=', and neither names nor"
                                  " values may contain null characters.")
    return [{"name": variable["name"], "value": variable.get("value") or ""} for variable in given]


def _system_controls(given: list[Input]) -> list[dict[str, str]]:
    for control in given:
        if not _SYSTEM_CONTROL.fullmatch(control.get("namespace") or "") or not control.get("value"):
            raise ClientException("Only system controls of the network (net.*) and of interprocess communication are"
                                  " supported, each with a value.")
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
