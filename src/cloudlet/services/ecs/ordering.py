"""In which order the containers of a task start and stop: what `dependsOn` and `volumesFrom` ask for.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudlet.services.ecs.api import ClientException
from cloudlet.services.ecs.records import Task, TaskContainer

COMPLETED = ("COMPLETE", "SUCCESS")


def waits_for(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names of the containers that a definition waits for, each with the condition. Who takes another's volumes
    waits for its start, which fills them."""
    for dependency in container.get("dependsOn") or ():
        yield dependency["containerName"], dependency["condition"]
    for source in container.get("volumesFrom") or ():
        yield source["sourceContainer"], "START"


def check_dependencies(containers: Sequence[Mapping[str, Any]]) -> None:
    """Raises ClientException where the container definitions can never all start."""
    named = {container["name"]: container for container in containers}
    for container in containers:
        for dependency in container.get("dependsOn") or ():
            name, condition = dependency.get("containerName"), dependency.get("condition")
            if name not in named:
                raise ClientException(f"Container '{container['name']}' depends on the container '{name}', which is not"
                                      " in the task definition.")
            if condition in COMPLETED and named[name]["essential"]:
                raise ClientException("A dependency container with SUCCESS or COMPLETE condition cannot be an essential"
                                      " container")
            if condition == "HEALTHY" and not named[name].get("healthCheck"):
                raise ClientException(f"Container '{container['name']}' depends on the container '{name}' being"
                                      " HEALTHY, which has no health check.")
    left = {name: {other for other, _ in waits_for(container)} for name, container in named.items()}
    while left:
        free = [name for name, needs in left.items() if not needs & left.keys()]
        if not free:
            raise ClientException(f"The container dependencies of {', '.join(sorted(left))} form a cycle.")
        for name in free:
            del left[name]


def dependencies(task: Task, container: TaskContainer) -> Iterator[tuple[TaskContainer, str]]:
    """The containers that one depends on, each with the condition."""
    named = {other.name: other for other in task.containers}
    for name, condition in container.depends:
        yield named[name], condition


def is_met(dependency: TaskContainer, condition: str) -> bool:
    """Whether a container has reached what another waits for."""
    match condition:
        case "START":
            return dependency.started_at is not None
        case "HEALTHY":
            return dependency.health == "HEALTHY"
    ended = dependency.status == "STOPPED" and dependency.exit_code is not None
    return ended and (condition == "COMPLETE" or dependency.exit_code == 0)


def may_start(task: Task, container: TaskContainer) -> bool:
    """Whether all that the container waits for has come."""
    return all(is_met(dependency, condition) for dependency, condition in dependencies(task, container))


def may_stop(task: Task, container: TaskContainer) -> bool:
    """Whether none runs any more that depends on it: shutdown is the reverse of startup."""
    return not any(other.status == "RUNNING" and any(name == container.name for name, _ in other.depends)
                   for other in task.containers)


def gives_up_at(task: Task, container: TaskContainer) -> float | None:
    """When a container that still waits gives up on the first of those it depends on; None: never.

    The time is the dependency's own `startTimeout`, from its start on. One that has ended cannot be late.
    """
    ends = [dependency.started_at + dependency.start_timeout_s
            for dependency, condition in dependencies(task, container)
            if dependency.start_timeout_s is not None and dependency.started_at is not None
            and dependency.status != "STOPPED" and condition != "START" and not is_met(dependency, condition)]
    return min(ends, default=None)


def hopeless(task: Task, container: TaskContainer, now: float) -> str:
    """Why a waiting container can never start, in the ECS agent's words; "" while there is hope."""
    for dependency, condition in dependencies(task, container):
        if is_met(dependency, condition):
            continue
        pair = f"container ordering dependency [{dependency.name}] for target [{container.name}]"
        if dependency.status == "STOPPED":
            failed = condition == "SUCCESS" and dependency.exit_code is not None
            return (f"dependency graph: failed to resolve {pair}"
                    + (" as dependency did not exit successfully." if failed else "."))
    late = gives_up_at(task, container)
    if late is not None and late <= now:
        blocking = next(dependency.name for dependency, condition in dependencies(task, container)
                        if not is_met(dependency, condition) and dependency.start_timeout_s is not None
                        and (dependency.started_at or 0.0) + dependency.start_timeout_s == late)
        return (f"dependency graph: container ordering dependency [{blocking}] for target [{container.name}] has timed"
                " out.")
    return ""
