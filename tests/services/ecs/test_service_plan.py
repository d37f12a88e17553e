"""The scheduler's decisions: pure, with property tests of what it promises."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.services.ecs.placement import Spread, crowded, imbalance
from cloudlet.services.ecs.records import Attachment, Breaker, Deployment, Network, Service, Task, TaskContainer
from cloudlet.services.ecs.rollout import advance, settle
from cloudlet.services.ecs.service_plan import (
    HEALTHY_AFTER_S,
    Plan,
    after_failure,
    failed,
    is_healthy,
    is_steady,
    limits,
    plan,
)
from cloudlet.services.ecs.task_plan import stopped

NOW = 1000.0
LONG_AGO = NOW - 100
NETWORK = Network(("s1", "s2", "s3"))
ZONES = ("a", "b", "b")


def deployment(id: str = "new", **more: Any) -> Deployment:
    return Deployment(id, "d", "arn", NETWORK, NOW, NOW, zones=ZONES, launch_type="FARGATE", **more)


def service(desired: int = 2, *older: str, **more: Any) -> Service:
    deployments = (deployment(), *(deployment(id, state="COMPLETED") for id in older))
    return Service("k", "1", "r", "c", "web", desired, deployments, NOW, "me", **more)


def task(number: int, of: str = "new", status: Any = "RUNNING", subnet: str = "s1", **more: Any) -> Task:
    running = {"started_at": LONG_AGO} if status == "RUNNING" else {}
    return Task(f"t{number}", "1", "r", "c", f"t{number}", "d", "f:1", (TaskContainer("a", "i", "t", "img"),),
                Attachment("x", "eni", subnet, "z", "m", "a", "n"), 256, 512, LONG_AGO + number, "g", status=status,
                service="k", deployment=of, **{**running, **more})


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


@pytest.mark.parametrize(("desired", "least", "most", "expected"), [
    (4, 50, 200, (2, 8)), (3, 50, 150, (2, 4)), (1, 1, 199, (1, 1)), (7, 66, 133, (5, 9)), (0, 100, 200, (0, 0))])
def test_the_minimum_is_rounded_up_and_the_maximum_down(desired: int, least: int, most: int,
                                                        expected: tuple[int, int]) -> None:
    assert limits(service(desired, minimum_percent=least, maximum_percent=most)) == expected


def test_a_task_counts_once_it_has_run_for_a_while() -> None:
    """A program that ends at once must not cost the old version its tasks."""
    young = [task(1, "old"), task(2, started_at=NOW - 1)]
    waiting = plan(service(1, "old"), young, NOW)
    assert (waiting.stop, waiting.after) == ((), HEALTHY_AFTER_S - 1)
    assert [t.id for t in plan(service(1, "old"), young, NOW + HEALTHY_AFTER_S).stop] == ["t1"]
    assert not is_steady(service(1), young[1:], NOW)
    assert is_steady(service(1), young[1:], NOW + HEALTHY_AFTER_S)


def test_a_deployment_that_cannot_begin_says_so() -> None:
    stuck = service(1, "old", minimum_percent=100, maximum_percent=150)
    assert plan(stuck, [task(1, "old")], NOW).hold == "percentages"


def test_spreads_over_zones_and_then_subnets() -> None:
    assert Spread(deployment(), []).choices() == ["s1", "s2", "s3"]
    assert Spread(deployment(), [task(1)]).choices() == ["s2", "s3", "s1"]
    assert Spread(deployment(), [task(1), task(2, subnet="s2")]).choices() == ["s3", "s1", "s2"]
    assert Spread(deployment(), [task(1), task(2, "old", subnet="s2")]).choices()[0] == "s2"
    assert Spread(deployment(), []).choices("b") == ["s2", "s3"]
    many = [task(1), task(2), task(3, subnet="s2"), task(4, subnet="s3", status="PENDING")]
    assert [t.id for t in crowded(many, 4, deployment(), NOW)] == ["t4", "t2", "t3", "t1"]


def test_zones_are_balanced_by_one_more_task_and_then_one_less() -> None:
    lopsided = [task(1), task(2), task(3)]
    done = replace(service(3, rebalancing="ENABLED"), deployments=(deployment(state="COMPLETED"),), steady=True)
    assert imbalance(lopsided, deployment()) == "b"
    assert imbalance([*lopsided[:2], task(3, subnet="s2")], deployment()) is None
    decided = plan(done, lopsided, NOW)
    assert (decided.start, decided.zone, decided.stop) == (1, "b", ())
    moving = replace(done, balancing=True, steady=False, minimum_percent=0)
    young = task(4, subnet="s3", started_at=NOW)
    assert plan(moving, [*lopsided, young], NOW).stop == ()
    assert [t.id for t in plan(moving, [*lopsided, young], NOW + HEALTHY_AFTER_S).stop] == ["t3"]
    assert plan(replace(done, rebalancing="DISABLED"), lopsided, NOW).start == 0
    assert plan(replace(done, maximum_percent=100), lopsided, NOW).start == 0
    assert plan(replace(done, rebalance_at=NOW + 9), lopsided, NOW).after == 9


def test_draining_stops_everything() -> None:
    drained = replace(service(0), status="DRAINING")
    assert len(plan(drained, [task(1), task(2, "old")], NOW).stop) == 2
    assert not is_steady(drained, [], NOW)


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
    assert (waiting.start, waiting.after, waiting.hold) == (0, 300, "failures")
    assert plan(failing, [], NOW + 300).start == 1


def test_a_failed_deployment_starts_nothing_and_leaves_the_old_tasks_alone() -> None:
    failed = replace(service(2, "old"), deployments=(deployment(state="FAILED"), deployment("old")))
    assert plan(failed, [task(1, "old")], NOW).hold == "failed"
    alone = plan(failed, [task(1, "old"), task(2, "old"), task(3)], NOW)
    assert (alone.start, [t.id for t in alone.stop]) == (0, ["t3"])
    assert len(plan(replace(failed, desired=0), [task(1, "old"), task(3)], NOW).stop) == 2


class Play:
    """A service in a world where tasks come up, go down and fail in any order; checked at every step."""

    def __init__(self, wanted: Service, tasks: list[Task], checked: bool, data: st.DataObject) -> None:
        self.service, self.tasks, self.checked, self.data = wanted, tasks, checked, data
        self.now, self.number = NOW, 100

    def step(self) -> bool:
        """One step of the scheduler; False once there is nothing more for it to do or to wait for."""
        self.service = advance(self.service, None, self.now).service
        decided = plan(self.service, self.tasks, self.now)
        self.judge(decided)
        for gone in decided.replace:
            self.service = after_failure(self.service, gone.deployment, self.now)
        stops = {gone.key for gone in (*decided.stop, *decided.replace)}
        self.tasks = [stopped(t, "ServiceSchedulerInitiated", "", self.now) if t.key in stops else t
                      for t in self.tasks]
        for _ in range(decided.start):
            self.number += 1
            self.tasks.append(task(self.number, self.service.deployments[0].id, "PENDING"))
        self.service = settle(self.service, None, self.tasks, self.now).service
        if decided.start or stops:
            return True
        moves = any(t.status != "RUNNING" or t.desired == "STOPPED"
                    or (t.containers[0].checked and t.health == "UNKNOWN") for t in self.tasks)
        ended = decided.hold in ("failed", "percentages") or self.service.deployments[0].state == "FAILED"
        assert decided.after is not None or moves or ended or self.service.steady, "waits for nothing"
        return not ended and (moves or not self.service.steady)

    def judge(self, decided: Plan) -> None:
        """The two promises, of one plan."""
        least, most = limits(self.service)
        stops = {gone.key for gone in decided.stop}
        left = [t for t in self.tasks if is_healthy(t, self.now) and t.key not in stops]
        lost = [gone for gone in decided.stop if gone.status == "RUNNING" and gone.health != "UNHEALTHY"]
        assert not lost or len(left) >= least, "below the minimum by our own doing"
        assert all(gone.health == "UNHEALTHY" for gone in decided.replace)
        live = [t for t in self.tasks if t.desired == "RUNNING" and t not in decided.replace]
        assert not decided.start or len(live) + decided.start <= max(most, self.service.desired), "above the maximum"

    def nature(self, calm: bool) -> None:
        """Time passes, and something happens to a task."""
        self.now += 300.0 if calm else self.data.draw(st.sampled_from((0.0, 1.0, 3.0)))
        for position in reversed(range(len(self.tasks))):
            one, container = self.tasks[position], self.tasks[position].containers[0]
            what = "on" if calm else self.data.draw(st.sampled_from(("on", "nothing", "nothing", "fail")))
            if what == "on" and one.desired == "STOPPED":
                del self.tasks[position]
            elif what == "on" and one.status == "PENDING":
                container = replace(container, checked=self.checked)
                self.tasks[position] = replace(one, status="RUNNING", started_at=self.now, containers=(container,))
            elif what == "on" and container.checked and container.health == "UNKNOWN":
                container = replace(container, health="HEALTHY", health_since=self.now)
                self.tasks[position] = replace(one, containers=(container,))
            elif what == "fail" and container.checked and one.status == "RUNNING" and one.desired == "RUNNING":
                self.tasks[position] = replace(one, containers=(replace(container, health="UNHEALTHY"),))
            elif what == "fail" and one.desired == "RUNNING":
                self.tasks[position] = stopped(one, "TaskFailedToStart", "", self.now)
                self.service = after_failure(self.service, one.deployment, self.now)


@settings(max_examples=150)
@given(desired=st.integers(0, 6), there=st.integers(0, 8), least=st.sampled_from((0, 50, 66, 100)),
       most=st.sampled_from((100, 120, 150, 200)), data=st.data(), checked=st.booleans(),
       breaker=st.sampled_from((Breaker(), Breaker(True), Breaker(True, True))))
def test_what_the_scheduler_promises(desired: int, there: int, least: int, most: int, breaker: Breaker, checked: bool,
                                     data: st.DataObject) -> None:
    """Never below the minimum by our own doing, never above the maximum; and every deployment ends, or says why not."""
    if least == most:
        return
    wanted = service(desired, "old", minimum_percent=least, maximum_percent=most, breaker=breaker)
    played = Play(wanted, [task(n, "old") for n in range(there)], checked, data)
    for round_ in range(60):
        if not played.step():
            break
        played.nature(calm=round_ > 15)
    else:
        raise AssertionError(f"does not settle: {played.service} {played.tasks}")
    primary = played.service.deployments[0]
    ended = primary.state in ("COMPLETED", "FAILED") or plan(played.service, played.tasks, played.now).hold
    assert ended, primary


def unhealthy(number: int, of: str = "new", **more: Any) -> Task:
    container = TaskContainer("a", "i", "t", "img", checked=True, health="UNHEALTHY")
    return replace(task(number, of, **more), containers=(container,))


def test_a_task_with_health_checks_counts_once_they_pass() -> None:
    container = TaskContainer("a", "i", "t", "img", checked=True)
    waiting = replace(task(2), containers=(container, replace(container, essential=False, checked=False)))
    assert plan(service(1, "old"), [task(1, "old"), waiting], NOW).stop == ()
    passed = replace(waiting, containers=(replace(container, health="HEALTHY", health_since=NOW),))
    assert [t.id for t in plan(service(1, "old"), [task(1, "old"), passed], NOW).stop] == ["t1"]


def test_an_unhealthy_task_goes_as_the_next_is_started() -> None:
    decided = plan(service(2), [task(1), unhealthy(2)], NOW)
    assert (decided.start, [t.id for t in decided.replace], decided.stop) == (1, ["t2"], ())
    full = service(2, minimum_percent=50, maximum_percent=100)
    first = plan(full, [unhealthy(1), unhealthy(2)], NOW)
    assert (first.start, len(first.replace)) == (0, 1)
    old = plan(service(2, "old"), [unhealthy(1, "old"), task(2, "old"), task(3, status="PENDING")], NOW)
    assert (old.start, [t.id for t in old.stop]) == (1, ["t1"])


def test_a_protected_task_is_left_alone() -> None:
    kept = task(1, protected_until=NOW + 60)
    assert [t.id for t in plan(service(1), [kept, task(2)], NOW).stop] == ["t2"]
    shielded = plan(service(0), [kept], NOW)
    assert (shielded.stop, shielded.shielded, shielded.after) == ((), 1, 60)
    rolling = plan(service(1, "old"), [replace(kept, deployment="old"), task(2)], NOW)
    assert (rolling.stop, rolling.shielded) == ((), 1)
    assert len(plan(service(0), [kept], NOW + 60).stop) == 1
    assert len(plan(service(1), [replace(unhealthy(1), protected_until=NOW + 60)], NOW).replace) == 1
