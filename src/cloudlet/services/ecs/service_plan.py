"""What the scheduler of a service does next: pure functions from a snapshot to tasks to start and tasks to stop.

What it promises: by its own doing there are never fewer healthy tasks than the minimum, nor more live ones than the
maximum; and where it neither starts nor stops anything though something is missing, it says why, or waits for a moment
that it names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cloudlet.services.ecs.placement import crowded, imbalance
from cloudlet.services.ecs.records import STARTING, Service, Task

HEALTHY_AFTER_S = 5.0  # a task without health checks that ran this long is healthy (AWS waits for 40 seconds)
FAILURES_FREE = 3  # rounds of failures (of as many tasks as are wanted) before the scheduler slows down
BACKOFF_MAX_S = 300.0
KILLED = (137, 143)  # SIGKILL, SIGTERM: ended from outside, which says nothing about the program

Hold = Literal["", "percentages", "failures", "failed", "balance"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How many tasks of the primary deployment to start, which tasks to stop; `after`: look again (seconds).

    `replace`: tasks to stop as well, since they failed their health checks. `shielded`: how many more would be stopped,
    but that they are protected.
    `zone`: the tasks are started there, to balance the zones. `hold`: why nothing is started though tasks are missing:
    the deployment's own percentages forbid it to begin, its tasks failed in a row, it has failed for good; "balance":
    the zones are uneven, but the last move there could not be made.
    """

    start: int = 0
    stop: tuple[Task, ...] = ()
    after: float | None = None
    hold: Hold = ""
    zone: str = ""
    replace: tuple[Task, ...] = ()
    shielded: int = 0


def limits(service: Service) -> tuple[int, int]:
    """The fewest healthy and the most live tasks during a deployment: rounded up and down, as AWS does."""
    return -(-service.desired * service.minimum_percent // 100), service.desired * service.maximum_percent // 100


def healthy_at(task: Task) -> float | None:
    """Since when a task counts as healthy (a time that may be to come); None while that is not known.

    With health checks on essential containers it does when all of them passed; without any, after a while.
    """
    if task.status != "RUNNING" or task.desired != "RUNNING":
        return None
    started = task.started_at or task.created_at
    checked = [container for container in task.containers if container.essential and container.checked]
    if not checked:
        return started + HEALTHY_AFTER_S
    if any(container.health != "HEALTHY" for container in checked):
        return None
    return max(container.health_since or started for container in checked)


def is_healthy(task: Task, now: float) -> bool:
    """Whether a task counts towards the minimum."""
    since = healthy_at(task)
    return since is not None and since <= now


def plan(service: Service, tasks: Sequence[Task], now: float) -> Plan:
    """Pure: the tasks are all of the service that have not stopped."""
    live = [task for task in tasks if task.desired == "RUNNING"]
    if service.status != "ACTIVE":
        return Plan(stop=tuple(live))
    primary = service.deployments[0]
    sick = [task for task in live if task.deployment == primary.id and is_sick(task)]
    ours = [task for task in live if task.deployment == primary.id and not is_sick(task)]
    others = [task for task in live if task.deployment != primary.id]
    healthy = sum(is_healthy(task, now) for task in live)
    after = _proven_after(service, live, now)
    if primary.state == "FAILED":
        surplus = sorted((*sick, *ours), key=lambda task: task.created_at, reverse=True) + others
        stop, _ = _stoppable(surplus[:max(0, len(live) - service.desired)], healthy, limits(service)[0], now)
        return Plan(stop=stop, after=after, hold="failed" if len(live) < service.desired else "")
    least, most = limits(service)
    most = most if others else max(most, service.desired)
    missing = service.desired - len(ours)
    start = max(0, min(missing, most - len(live)))
    stop, shielded = _replaceable(others, healthy, least, now)
    if missing < 0 and not (service.balancing and healthy < len(live)):
        left = healthy - sum(is_healthy(task, now) for task in stop)
        more, kept = _stoppable(crowded(ours, -missing, primary, now), left,
                                service.desired if service.balancing else least, now)
        stop, shielded = stop + more, shielded + kept
    if shielded:
        after = _sooner(after, min((task.protected_until or now) - now for task in live if task.is_protected(now)))
    if start and primary.retry_at > now:
        return Plan(0, stop, _sooner(after, primary.retry_at - now), "failures", shielded=shielded)
    # Each sick task goes with the start of the next; where there is no room for that, one goes first.
    gone = sick if missing <= 0 else sick[:start or (0 if stop else 1)]
    if missing > 0 and not start and not stop and healthy == len(live) and not shielded:
        return Plan(hold="percentages", after=after)
    if not missing and not others and healthy == len(live):
        return _balance(service, ours, now, after)
    return Plan(start, stop, after, replace=tuple(gone), shielded=shielded)


def is_sick(task: Task) -> bool:
    """Whether a task failed its health checks."""
    return task.status == "RUNNING" and task.health == "UNHEALTHY"


def returns_at(service: Service) -> float:
    """Before when a deployment to which a failed one is rolled back does not complete, so that one may see it."""
    primary = service.deployments[0]
    rolled_back = primary.state == "IN_PROGRESS" and primary.reason
    return primary.updated_at + HEALTHY_AFTER_S if rolled_back else 0.0


def _proven_after(service: Service, live: Sequence[Task], now: float) -> float | None:
    """Seconds until the next task has proven itself, while somebody waits for that."""
    if service.steady and not service.deployments[0].failures:
        return None
    moments = [moment for moment in (returns_at(service), *map(healthy_at, live))
               if moment is not None and moment > now]
    return min(moments) - now if moments else None


def _sooner(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)


def _replaceable(others: Sequence[Task], healthy: int, least: int, now: float) -> tuple[tuple[Task, ...], int]:
    """Tasks of old deployments that may go: those that do not run yet or are sick first, then the oldest."""
    in_order = sorted(others, key=lambda task: (task.status == "RUNNING" and not is_sick(task), task.created_at,
                                                task.id))
    return _stoppable(in_order, healthy, least, now)


def _stoppable(candidates: Sequence[Task], healthy: int, least: int, now: float) -> tuple[tuple[Task, ...], int]:
    """Of tasks, in that order, those without which enough healthy ones remain, and how many stay only since they are
    protected. One that runs, healthy or not yet, goes only then; one that is sick or does not run yet is missed by
    nobody."""
    chosen, shielded = [], 0
    for task in candidates:
        left = healthy - is_healthy(task, now)
        if task.status == "RUNNING" and not is_sick(task) and left < least:
            continue
        if task.is_protected(now):
            shielded += 1
            continue
        chosen.append(task)
        healthy = left
    return tuple(chosen), shielded


def _balance(service: Service, ours: Sequence[Task], now: float, after: float | None) -> Plan:
    """One more task in the emptiest zone; once it is healthy, it is one too many, and the fullest zone gives one up.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-rebalancing.html
    """
    primary = service.deployments[0]
    if service.rebalancing != "ENABLED" or primary.state != "COMPLETED" or limits(service)[1] <= service.desired:
        return Plan(after=after)
    zone = imbalance(ours, primary)
    if zone is None:
        return Plan(after=after)
    if service.rebalance_at > now:
        return Plan(after=_sooner(after, service.rebalance_at - now), hold="balance")
    return Plan(1, after=after, zone=zone)


def is_steady(service: Service, tasks: Sequence[Task], now: float) -> bool:
    """As many as wanted run and are healthy, all of the primary deployment, and nothing else starts or runs."""
    if service.status != "ACTIVE":
        return False
    primary = service.deployments[0].id
    counted = [task for task in tasks if task.status == "RUNNING" or (task.status in STARTING
                                                                      and task.desired == "RUNNING")]
    return len(counted) == service.desired and all(
        is_healthy(task, now) and task.deployment == primary for task in counted)


def failed(task: Task) -> bool:
    """Whether the end of a task counts against its deployment: it did not start, or ended by itself at once."""
    if task.stop_code == "TaskFailedToStart":
        return True
    if task.stop_code != "EssentialContainerExited":
        return False
    for container in task.containers:
        if container.essential and container.status == "STOPPED":
            lived = (container.finished_at or 0.0) - (container.started_at or 0.0)
            killed = container.exit_code in KILLED and not container.reason
            return lived < HEALTHY_AFTER_S and not killed
    return False


def struggles(service: Service) -> bool:
    """Whether tasks of the primary deployment failed so often in a row that starts are spaced out."""
    return service.deployments[0].failures // max(1, service.desired) >= FAILURES_FREE


def after_failure(service: Service, deployment_id: str, now: float, wait_s: float = 0.0) -> Service:
    """The service with one more failed task of a deployment: its next start waits longer, after a few rounds, and
    `wait_s` in any case."""
    changed = []
    for deployment in service.deployments:
        if deployment.id == deployment_id:
            failures = deployment.failures + 1
            rounds = failures // max(1, service.desired) - FAILURES_FREE + 1
            delay = min(BACKOFF_MAX_S, 2.0 ** min(rounds, 9)) if rounds > 0 else 0.0
            deployment = replace(deployment, failures=failures, retry_at=now + max(delay, wait_s), failed_at=now)
        changed.append(deployment)
    return replace(service, deployments=tuple(changed))
