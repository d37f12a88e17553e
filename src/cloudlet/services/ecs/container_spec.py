"""From a task and its definition to what the container engine is asked for. Pure."""

from typing import Any

from cloudlet.engines.ports import ContainerSpec, GroupSpec, Mount
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.services.ec2 import NetworkInterface
from cloudlet.services.ecs.records import Definition, Task
from cloudlet.services.ecs.task_plan import STOP_TIMEOUT_S
from cloudlet.services.ecs.task_secrets import Secrets
from cloudlet.services.ecs.tasks import override_of

MIB = 1 << 20
METADATA = "http://169.254.170.2"
SHARES_MIN = 2  # what the ECS agent gives a container without a `cpu` value


def group_name(installation: Installation, task_key: str) -> str:
    """The engine's name of a task: `cl-<installation>-task-<handle>`."""
    return installation.name("task", task_key)


def container_name(installation: Installation, task: Task, position: int) -> str:
    """The engine's name of one container: the task's, the container's position, and the start of its own name."""
    return f"{group_name(installation, task.key)}-{position}-{task.containers[position].name[:40]}"


def handle_in(installation: Installation, name: str) -> str | None:
    """The task's handle in the name of a container, or None where the container is no task's."""
    prefix = installation.prefix + "task-"
    return name[len(prefix):].partition("-")[0] if name.startswith(prefix) else None


def stop_timeout(definition: Definition, position: int) -> int:
    """Seconds between the stop signal and SIGKILL."""
    return int(definition.containers[position].get("stopTimeout") or STOP_TIMEOUT_S)


def container_spec(site: Site, task: Task, definition: Definition, position: int, interface: NetworkInterface,
                   mounts: tuple[Mount, ...] = (), secrets: Secrets = ()) -> ContainerSpec:
    """One container of a task, on the task's interface, with what it is given from outside. RunTask's overrides win
    over the definition, and secrets over both."""
    container, override = definition.containers[position], override_of(task, task.containers[position].name)
    linux: dict[str, Any] = container.get("linuxParameters") or {}
    capabilities = linux.get("capabilities") or {}
    memory, reservation = (override.get(name) or container.get(name) for name in ("memory", "memoryReservation"))
    command = override.get("command") or container.get("command")
    domain = interface.private_dns_name.partition(".")[2]
    return ContainerSpec(
        name=container_name(site.installation, task, position),
        group=GroupSpec(group_name(site.installation, task.key), task.cpu / 1024, task.memory * MIB),
        image=task.containers[position].reference,
        namespace=interface.path,
        hostname=interface.private_dns_name,
        hosts=((interface.private_dns_name, interface.private_ip),),
        resolvers=(interface.resolver,),
        search=(domain,) if domain else (),
        entry_point=_words(container.get("entryPoint")),
        command=_words(command),
        environment=tuple({**dict(environment(site, task, definition, position)), **dict(secrets)}.items()),
        working_directory=container.get("workingDirectory") or None,
        user=container.get("user") or None,
        cpu_shares=max(SHARES_MIN, override.get("cpu") or container["cpu"]),
        memory_bytes=memory * MIB if memory else None,
        memory_reservation_bytes=reservation * MIB if reservation else None,
        read_only=bool(container.get("readonlyRootFilesystem")),
        init=bool(linux.get("initProcessEnabled")),
        tty=bool(container.get("pseudoTerminal")),
        stdin=bool(container.get("interactive")),
        stop_timeout_s=stop_timeout(definition, position),
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        ulimits=tuple((limit["name"], limit["softLimit"], limit["hardLimit"])
                      for limit in container.get("ulimits") or ()),
        sysctls=tuple((control["namespace"], control["value"]) for control in container["systemControls"]),
        mounts=mounts,
        keep_log=(container.get("logConfiguration") or {}).get("logDriver") != "none",
        labels=tuple({**(container.get("dockerLabels") or {}), **labels(task, position)}.items()),
        starts=task.containers[position].restarts + 1)


def _words(words: list[str] | None) -> tuple[str, ...] | None:
    return tuple(words) if words else None


def labels(task: Task, position: int) -> dict[str, str]:
    """The labels that ECS itself puts on a container."""
    family, _, revision = task.revision.partition(":")
    return {"com.amazonaws.ecs.cluster": task.cluster_arn, "com.amazonaws.ecs.task-arn": task.arn,
            "com.amazonaws.ecs.container-name": task.containers[position].name,
            "com.amazonaws.ecs.task-definition-family": family,
            "com.amazonaws.ecs.task-definition-version": revision}


def environment(site: Site, task: Task, definition: Definition, position: int) -> tuple[tuple[str, str], ...]:
    """What Fargate sets, and the endpoint, so that an SDK finds us with nothing configured; the customer's own wins."""
    token = task.containers[position].token
    found = {
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_REGION": task.region, "AWS_DEFAULT_REGION": task.region,
        "AWS_ENDPOINT_URL": f"{METADATA}:{site.port}",
        "ECS_AGENT_URI": f"{METADATA}/api/{token}",
        "ECS_CONTAINER_METADATA_URI": f"{METADATA}/v3/{token}",
        "ECS_CONTAINER_METADATA_URI_V4": f"{METADATA}/v4/{token}"}
    if task.credentials:
        found["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = f"/v2/credentials/{task.credentials}"
    own = [*definition.containers[position]["environment"],
           *override_of(task, task.containers[position].name).get("environment", ())]
    found |= {variable["name"]: variable.get("value") or "" for variable in own}
    return tuple(found.items())
