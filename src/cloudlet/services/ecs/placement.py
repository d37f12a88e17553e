"""Where the tasks of a service go: evenly over the zones of its subnets, and from the fullest zone first."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from cloudlet.services.ecs.records import Deployment, Task


def zones_of(deployment: Deployment) -> dict[str, str]:
    """The zone of each of a deployment's subnets; the subnet itself where no zone was written down."""
    subnets = deployment.network.subnets
    return dict(zip(subnets, deployment.zones or subnets, strict=True))


def zone_of(task: Task, zones: Mapping[str, str]) -> str:
    """The zone that a task is in."""
    return zones.get(task.attachment.subnet, task.attachment.zone)


class Spread:
    """How many tasks each zone and subnet has, kept while more are started."""

    def __init__(self, deployment: Deployment, tasks: Iterable[Task]) -> None:
        self._zones = zones_of(deployment)
        self._tasks: Counter[str] = Counter()
        for task in tasks:
            if task.desired == "RUNNING" and task.deployment == deployment.id:
                self.add(task)

    def add(self, task: Task) -> None:
        """One more is there."""
        self._tasks[f"zone {zone_of(task, self._zones)}"] += 1
        self._tasks[task.attachment.subnet] += 1

    def choices(self, zone: str = "") -> list[str]:
        """The subnets (of that zone only, where one is given) in the order in which to try them for the next task."""
        subnets = [subnet for subnet in self._zones if not zone or self._zones[subnet] == zone]
        return sorted(subnets, key=lambda subnet: (self._tasks[f"zone {self._zones[subnet]}"], self._tasks[subnet]))


def per_zone(tasks: Iterable[Task], deployment: Deployment) -> dict[str, int]:
    """How many tasks each zone has, those without any too."""
    zones = zones_of(deployment)
    counts = dict.fromkeys(zones.values(), 0)
    for task in tasks:
        zone = zone_of(task, zones)
        counts[zone] = counts.get(zone, 0) + 1
    return counts


def imbalance(tasks: Sequence[Task], deployment: Deployment) -> str | None:
    """The emptiest zone of a deployment, if the fullest has at least two tasks more."""
    counts = per_zone(tasks, deployment)
    wanted = zones_of(deployment).values()
    emptiest = min(wanted, key=lambda zone: counts[zone])
    return emptiest if max(counts.values()) - counts[emptiest] > 1 else None


def crowded(tasks: Sequence[Task], number: int, deployment: Deployment, now: float) -> list[Task]:
    """So many tasks, in the order in which a scale-in stops them: not running yet, then from the fullest zone, the
    newest first; protected ones only where there are no others."""
    zones = zones_of(deployment)
    free = [task for task in tasks if not task.is_protected(now)]
    order = _from_the_fullest(free, number, zones)
    return order + [task for task in tasks if task.is_protected(now)][:number - len(order)]


def _from_the_fullest(tasks: Sequence[Task], number: int, zones: Mapping[str, str]) -> list[Task]:
    left: dict[str, list[Task]] = {}
    for task in sorted(tasks, key=lambda task: (task.status != "RUNNING", task.created_at, task.id)):
        left.setdefault(zone_of(task, zones), []).append(task)
    order: list[Task] = []
    while left and len(order) < number:
        zone = max(left, key=lambda zone: (left[zone][-1].status != "RUNNING", len(left[zone]),
                                           left[zone][-1].created_at, left[zone][-1].id))
        order.append(left[zone].pop())
        if not left[zone]:
            del left[zone]
    return order
