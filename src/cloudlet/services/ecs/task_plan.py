"""What a task does next: pure functions from its record and what was seen to the record and the one next move."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cloudlet.engines.ports import Container
from cloudlet.services.ecs.ordering import gives_up_at, hopeless, may_start, may_stop
from cloudlet.services.ecs.records import Status, Task, TaskContainer

STOPPED_KEPT_S = 3600.0  # "stopped tasks appear in the returned results for at least one hour" (DescribeTasks)
STOP_TIMEOUT_S = 30  # the default of stopTimeout
KILL_AGAIN_S = 5.0
INTERFACE_TIMEOUT_S = 600.0

Verb = Literal["pull", "await-interface", "give-up", "start", "await-dependencies", "watch", "signal", "kill",
               "await-exit", "tear-down"]


@dataclass(frozen=True, slots=True)
class Move:
    """The next move: `containers` it concerns (positions), and for a wait how many seconds at most."""

    verb: Verb
    containers: tuple[int, ...] = ()
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a task: whether its interface is ready, and by position those containers that were looked at."""

    interface_ready: bool
    containers: Mapping[int, Container | None]


def stopped(task: Task, code: str, reason: str, now: float) -> Task:
    """The task as it is from the moment that it should stop; the first reason stays."""
    if task.desired == "STOPPED":
        return task
    return replace(task, desired="STOPPED", stop_code=code, stopped_reason=reason, stopping_at=now)


def note(task: Task, sight: Sight, now: float) -> Task:
    """The record with what was seen written into it; its version grows with every change."""
    noted = replace(
        task, attachment=replace(task.attachment, ready=sight.interface_ready),
        connected_at=task.connected_at or (now if sight.interface_ready else None),
        containers=tuple(_note_container(task, container, sight.containers[position], now)
                         if position in sight.containers else container
                         for position, container in enumerate(task.containers)))
    noted = _note_end(_note_hopeless(noted, now), now)
    status = _status(noted)
    if status == "RUNNING" and noted.started_at is None:
        noted = replace(noted, started_at=now)
    if status == "DEPROVISIONING" and noted.execution_stopped_at is None:
        ends = [container.finished_at for container in noted.containers if container.finished_at is not None]
        noted = replace(noted, execution_stopped_at=max(ends, default=now))
    noted = replace(noted, status=status)
    return noted if noted == task else replace(noted, version=task.version + 1)


def _note_container(task: Task, container: TaskContainer, seen: Container | None, now: float) -> TaskContainer:
    if container.status == "STOPPED":
        return container
    if seen is None:
        if not container.runtime_id:
            return container
        reason = "" if task.desired == "STOPPED" else "The container was lost with its host."
        return replace(container, status="STOPPED", reason=reason, finished_at=now)
    if seen.state == "created" or seen.starts <= container.restarts:
        return container  # the start that is wanted has not happened yet
    known = replace(container, runtime_id=seen.id, digest=container.digest or seen.image_digest,
                    started_at=seen.started_at or container.started_at or now)
    if seen.state == "running":
        return replace(known, status="RUNNING")
    ended = replace(known, exit_code=seen.exit_code, finished_at=seen.finished_at or now)
    if task.desired == "RUNNING" and should_restart(ended):
        return replace(known, status="PENDING", restarts=container.restarts + 1, health="UNKNOWN", health_since=now)
    reason = "OutOfMemoryError: Container killed due to memory usage" if seen.out_of_memory else container.reason
    return replace(ended, status="STOPPED", reason=reason)


def should_restart(container: TaskContainer) -> bool:
    """Whether the restart policy of a container that has ended starts it again.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-restart-policy.html
    """
    policy = container.restart
    if policy is None or container.exit_code is None or container.exit_code in policy.ignored:
        return False
    return (container.finished_at or 0.0) - (container.started_at or 0.0) >= policy.period_s


def _note_hopeless(task: Task, now: float) -> Task:
    """Containers that wait for what can never come are as good as ended, and so may be those that wait for them."""
    while task.desired == "RUNNING":
        for position, container in enumerate(task.containers):
            why = hopeless(task, container, now) if container.status == "PENDING" and not container.restarts else ""
            if why:
                ended = replace(container, status="STOPPED", reason=f"CannotStartContainerError: {why}")
                task = replace(task, containers=(*task.containers[:position], ended, *task.containers[position + 1:]))
                break
        else:
            break
    return task


def _note_end(task: Task, now: float) -> Task:
    """The end of an essential container is the end of the task."""
    for container in task.containers:
        if container.essential and container.status == "STOPPED":
            if container.started_at is None and container.reason:
                return stopped(task, "TaskFailedToStart", "Task failed to start", now)
            if container.exit_code is None:
                return stopped(task, "InfrastructureHealth", "The task's host was restarted.", now)
            return stopped(task, "EssentialContainerExited", "Essential container in task exited", now)
    return task


def _status(task: Task) -> Status:
    """Where a task stands in AWS's life cycle, from nothing but what was observed of its parts."""
    states = {container.status if not container.restarts or container.status == "STOPPED" else "RUNNING"
              for container in task.containers}  # one that is started again is told to run
    if task.desired == "RUNNING":
        if "PENDING" not in states:
            return "RUNNING"
        if states != {"PENDING"}:
            return "ACTIVATING"
        return "PENDING" if task.attachment.ready else "PROVISIONING"
    if all(container.status != "RUNNING" for container in task.containers):
        return "DEPROVISIONING"
    return "STOPPING" if any(container.kill_at is not None for container in task.containers) else "DEACTIVATING"


def decide(task: Task, now: float) -> Move:
    """The one next move of a task whose record says what was just seen."""
    numbered = tuple(enumerate(task.containers))
    if task.desired == "RUNNING":
        missing = tuple(n for n, container in numbered if not container.reference)
        if missing:
            return Move("pull", missing)
        waiting = tuple(n for n, container in numbered if container.status == "PENDING")
        if not waiting:
            return Move("watch")
        if task.attachment.ready:
            free = tuple(n for n in waiting if task.containers[n].restarts or may_start(task, task.containers[n]))
            if free:
                return Move("start", free)
            ends = [gives_up_at(task, task.containers[n]) for n in waiting]
            return Move("await-dependencies", after=min((end - now for end in ends if end is not None), default=None))
        left = task.created_at + INTERFACE_TIMEOUT_S - now
        return Move("await-interface", after=left) if left > 0 else Move("give-up")
    running = [(n, container) for n, container in numbered if container.status == "RUNNING"]
    if not running:
        return Move("tear-down")
    silent = tuple(n for n, container in running if container.kill_at is None and may_stop(task, container))
    if silent:
        return Move("signal", silent)
    told = [(n, container.kill_at) for n, container in running if container.kill_at is not None]
    overdue = tuple(n for n, kill_at in told if kill_at <= now)
    if overdue:
        return Move("kill", overdue)
    return Move("await-exit", after=min(kill_at for _, kill_at in told) - now)


def visible_for(task: Task, now: float) -> float:
    """Seconds for which a task that has stopped is still answered."""
    return (task.stopped_at or 0.0) + STOPPED_KEPT_S - now


def ended(task: Task, now: float) -> Task:
    """The record of a task of which nothing is left in the world."""
    return replace(task, status="STOPPED", stopped_at=now, version=task.version + 1,
                   execution_stopped_at=task.execution_stopped_at or now,
                   attachment=replace(task.attachment, ready=False, released=True),
                   containers=tuple(replace(container, status="STOPPED", kill_at=None)
                                    for container in task.containers))
