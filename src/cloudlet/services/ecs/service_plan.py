"""What the scheduler of a service does next: pure functions from a snapshot to tasks to start and tasks to stop."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cloudlet.services.ecs.records import STARTING, Deployment, Service, Task

HEALTHY_AFTER_S = 5.0  # a task that ran this long did not fail to start
FAILURES_FREE = 3  # rounds of failures (of as many tasks as are wanted) before the scheduler slows down
BACKOFF_MAX_S = 300.0
KILLED = (137, 143)  # SIGKILL, SIGTERM: ended from outside, which says nothing about the program


@dataclass(frozen=True, slots=True)
class Plan:
    """How many tasks of the primary deployment to start, which tasks to stop; `after`: look again (seconds)."""

    start: int = 0
    stop: tuple[Task, ...] = ()
    after: float | None = None
    stuck: bool = False  # a deployment that its own percentages forbid to begin


def limits(service: Service) -> tuple[int, int]:
    """The fewest healthy and the most live tasks during a deployment: rounded up and down, as AWS does."""
    return -(-service.desired * service.minimum_percent // 100), service.desired * service.maximum_percent // 100


def plan(service: Service, tasks: Sequence[Task], now: float) -> Plan:
    """Pure: the tasks are all of the service that have not stopped."""
    live = [task for task in tasks if task.desired == "RUNNING"]
    if service.status != "ACTIVE":
        return Plan(stop=tuple(live))
    primary = service.deployments[0]
    least, most = limits(service)
    ours = [task for task in live if task.deployment == primary.id]
    others = [task for task in live if task.deployment != primary.id]
    most = most if others else max(most, service.desired)
    missing = service.desired - len(ours)
    start = max(0, min(missing, most - len(live)))
    stop = _stoppable(ours, others, -missing, least)
    stuck = missing > 0 and not start and not stop and all(task.status == "RUNNING" for task in live)
    if start and primary.retry_at > now:
        return Plan(0, stop, primary.retry_at - now)
    return Plan(start, stop, stuck=stuck)


def _stoppable(ours: list[Task], others: list[Task], surplus: int, least: int) -> tuple[Task, ...]:
    """Tasks of old deployments and those beyond the wanted number, as long as enough healthy ones remain."""
    healthy = sum(task.status == "RUNNING" for task in (*ours, *others))
    chosen = []
    for task in (*by_age(others), *crowded(ours)[:max(0, surplus)]):
        if task.status != "RUNNING":
            chosen.append(task)
        elif healthy > least:
            chosen.append(task)
            healthy -= 1
    return tuple(chosen)


def by_age(tasks: Sequence[Task]) -> list[Task]:
    """Tasks that do not run yet first, then the oldest."""
    return sorted(tasks, key=lambda task: (task.status == "RUNNING", task.created_at, task.id))


def crowded(tasks: Sequence[Task]) -> list[Task]:
    """In the order in which a scale-in stops tasks: not running yet, then from the fullest subnet, the newest first."""
    left, order = list(tasks), []
    while left:
        counts = Counter(task.attachment.subnet for task in left)
        chosen = max(left, key=lambda task: (task.status != "RUNNING", counts[task.attachment.subnet], task.created_at,
                                             task.id))
        left.remove(chosen)
        order.append(chosen)
    return order


def emptiest(subnets: Sequence[str], tasks: Sequence[Task]) -> str:
    """The subnet for the next task: that with the fewest, in the order given."""
    counts = Counter(task.attachment.subnet for task in tasks if task.desired == "RUNNING")
    return min(subnets, key=lambda subnet: counts[subnet])


def is_steady(service: Service, tasks: Sequence[Task]) -> bool:
    """As many as wanted run, all of the primary deployment, and nothing else starts or runs."""
    if service.status != "ACTIVE":
        return False
    primary = service.deployments[0].id
    counted = [task for task in tasks if task.status == "RUNNING" or (task.status in STARTING
                                                                      and task.desired == "RUNNING")]
    return len(counted) == service.desired and all(
        task.status == "RUNNING" and task.desired == "RUNNING" and task.deployment == primary for task in counted)


def settled(deployment: Deployment, tasks: Sequence[Task], now: float) -> float | None:
    """For a deployment with failures behind it: seconds until its running tasks have proven themselves (0: they have).

    None where it has no failures to forget.
    """
    if not deployment.failures:
        return None
    youngest = max((task.started_at or now for task in tasks if task.deployment == deployment.id), default=now)
    return max(0.0, youngest + HEALTHY_AFTER_S - now)


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


def after_failure(service: Service, deployment_id: str, now: float) -> Service:
    """The service with one more failed task of a deployment: its next start waits longer, after a few rounds."""
    changed = []
    for deployment in service.deployments:
        if deployment.id == deployment_id:
            failures = deployment.failures + 1
            rounds = failures // max(1, service.desired) - FAILURES_FREE + 1
            delay = min(BACKOFF_MAX_S, 2.0 ** min(rounds, 9)) if rounds > 0 else 0.0
            deployment = replace(deployment, failures=failures, retry_at=now + delay, updated_at=now)
        changed.append(deployment)
    return replace(service, deployments=tuple(changed))
