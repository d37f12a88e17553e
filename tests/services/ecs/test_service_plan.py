"""The scheduler's decisions: pure, with a property test of what must never happen."""

import random
from dataclasses import replace
from typing import Any

import pytest

from cloudlet.services.ecs.records import Attachment, Deployment, Network, Service, Task, TaskContainer
from cloudlet.services.ecs.service_plan import (
    after_failure,
    crowded,
    emptiest,
    failed,
    is_steady,
    limits,
    plan,
    settled,
)
from cloudlet.services.ecs.task_plan import stopped

NOW = 1000.0
NETWORK = Network(("s1", "s2"))


def deployment(id: str = "new") -> Deployment:
    return Deployment(id, "d", "arn", NETWORK, NOW, NOW)


def service(desired: int = 2, *older: str, **more: Any) -> Service:
    deployments = (deployment(), *(deployment(id) for id in older))
    return Service("k", "1", "r", "c", "web", desired, deployments, NOW, "me", **more)


def task(number: int, of: str = "new", status: Any = "RUNNING", subnet: str = "s1", **more: Any) -> Task:
    return Task(f"t{number}", "1", "r", "c", f"t{number}", "d", "f:1", (TaskContainer("a", "i", "t", "img"),),
                Attachment("x", "eni", subnet, "z", "m", "a", "n"), 256, 512, NOW + number, "g", status=status,
                service="k", deployment=of, **more)


def test_starts_what_is_missing_and_stops_what_is_too_much() -> None:
    assert plan(service(3), [], NOW).start == 3
    assert plan(service(3), [task(1), task(2, status="PENDING")], NOW).start == 1
    assert plan(service(2), [task(1), task(2)], NOW) == plan(service(2), [task(2), task(1)], NOW)
    extra = plan(service(1), [task(1), task(2), task(3, status="PENDING")], NOW)
    assert (extra.start, [t.id for t in extra.stop]) == (0, ["t3", "t2"])


def test_a_task_that_stops_is_replaced_before_it_has_stopped() -> None:
    ending = stopped(task(1), "EssentialContainerExited", "", NOW)
    assert plan(service(1), [ending], NOW).start == 1


def test_rolls_within_the_percentages() -> None:
    old = [task(1, "old"), task(2, "old")]
    assert plan(service(2, "old"), old, NOW).start == 2
    fresh = [*old, task(3, status="PENDING"), task(4, status="PENDING")]
    assert plan(service(2, "old"), fresh, NOW).stop == ()
    one_up = [*old, task(3), task(4, status="PENDING")]
    assert [t.id for t in plan(service(2, "old"), one_up, NOW).stop] == ["t1"]
    tight = service(2, "old", minimum_percent=50, maximum_percent=100)
    first = plan(tight, old, NOW)
    assert (first.start, [t.id for t in first.stop]) == (0, ["t1"])


def test_a_deployment_that_cannot_begin_says_so() -> None:
    stuck = service(1, "old", minimum_percent=100, maximum_percent=150)
    assert plan(stuck, [task(1, "old")], NOW).stuck


def test_spreads_over_subnets() -> None:
    assert emptiest(("s1", "s2"), []) == "s1"
    assert emptiest(("s1", "s2"), [task(1)]) == "s2"
    assert [t.id for t in crowded([task(1), task(2), task(3, subnet="s2")])] == ["t2", "t3", "t1"]


def test_draining_stops_everything() -> None:
    drained = replace(service(0), status="DRAINING")
    assert len(plan(drained, [task(1), task(2, "old")], NOW).stop) == 2
    assert not is_steady(drained, [])


def ended_by_itself(lived: float, code: int, **more: Any) -> Task:
    ended = stopped(task(1), "EssentialContainerExited", "", NOW)
    container = replace(ended.containers[0], status="STOPPED", exit_code=code, started_at=NOW, finished_at=NOW + lived,
                        **more)
    return replace(ended, containers=(container,))


@pytest.mark.parametrize(("task", "counts"), [
    (stopped(task(1), "TaskFailedToStart", "", NOW), True),
    (stopped(task(1), "ServiceSchedulerInitiated", "", NOW), False),
    (stopped(task(1), "UserInitiated", "", NOW), False),
    (ended_by_itself(0.1, 1), True),
    (ended_by_itself(0.1, 0), True),
    (ended_by_itself(9, 1), False),
    (ended_by_itself(0.1, 137), False),
    (ended_by_itself(0.1, 137, reason="OutOfMemoryError: …"), True),
])
def test_which_ends_count_against_a_deployment(task: Task, counts: bool) -> None:
    assert failed(task) is counts


def test_failures_slow_the_scheduler_down_more_and_more() -> None:
    failing, waits = service(1), []
    for _ in range(12):
        failing = after_failure(failing, "new", NOW)
        waits.append(failing.deployments[0].retry_at - NOW)
    assert waits == [0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    waiting = plan(failing, [], NOW)
    assert (waiting.start, waiting.after) == (0, 300)
    assert plan(failing, [], NOW + 300).start == 1
    assert settled(failing.deployments[0], [task(1, started_at=NOW)], NOW + 1) == 4
    assert settled(failing.deployments[0], [task(1, started_at=NOW)], NOW + 5) == 0
    assert settled(deployment(), [], NOW) is None


@pytest.mark.parametrize("seed", range(60))
def test_never_below_the_minimum_or_above_the_maximum_and_always_there_in_the_end(seed: int) -> None:
    """Plays any roll-out to its end: tasks come up and go down in any order, some fail."""
    rng = random.Random(seed)
    desired = rng.randint(0, 6)
    wanted = service(desired, "old", minimum_percent=rng.choice((0, 50, 66, 100)),
                     maximum_percent=rng.choice((150, 200)))
    least, most = limits(wanted)
    tasks = [task(n, "old") for n in range(rng.choice((desired, rng.randint(0, 8))))]
    number = 100
    for round_ in range(400):
        decided = plan(wanted, tasks, NOW)
        healthy = sum(t.status == "RUNNING" and t.desired == "RUNNING" for t in tasks)
        stops_healthy = sum(t.status == "RUNNING" for t in decided.stop)
        assert not stops_healthy or healthy - stops_healthy >= least
        live = sum(t.desired == "RUNNING" for t in tasks)
        assert not decided.start or live + decided.start <= max(most, desired)
        for gone in decided.stop:
            tasks[tasks.index(gone)] = stopped(gone, "ServiceSchedulerInitiated", "", NOW)
        for _ in range(decided.start):
            number += 1
            tasks.append(task(number, status="PENDING"))
        if is_steady(wanted, tasks) and not decided.start and not decided.stop:
            return
        if tasks and rng.random() < 0.9:
            position = rng.randrange(len(tasks))
            chosen = tasks[position]
            if chosen.desired == "STOPPED":
                del tasks[position]
            elif chosen.status == "PENDING":
                tasks[position] = replace(chosen, status="RUNNING")
            elif round_ < 50 and rng.random() < 0.2:
                tasks[position] = stopped(chosen, "EssentialContainerExited", "", NOW)
        if decided.stuck:
            return
    raise AssertionError(f"does not settle: {tasks}")
