"""A task's record and next move: pure, so every case is a line."""

from dataclasses import replace
from typing import Any

import pytest

from cloudlet.engines.ports import Container
from cloudlet.services.ecs.records import Attachment, Health, RestartPolicy, Task, TaskContainer
from cloudlet.services.ecs.task_plan import INTERFACE_TIMEOUT_S, Move, Sight, decide, ended, note, stopped, visible_for

NOW = 1000.0


def container(name: str = "a", **more: Any) -> TaskContainer:
    return TaskContainer(name, "id", "token", "image", **more)


def task(*containers: TaskContainer, **more: Any) -> Task:
    return Task("s/c/t", "1", "r", "c", "t", "d", "f:1", containers or (container(reference="r"),),
                Attachment("x", "eni", "subnet", "z", "m", "10.0.0.1", "n"), 256, 512, NOW, "g", **more)


def seen(state: Any = "running", **more: Any) -> Container:
    return Container("n", "f" * 64, state, started_at=NOW, **more)


def test_the_way_up() -> None:
    fresh = task(container())
    assert decide(fresh, NOW) == Move("pull", (0,))
    pulled = task()
    assert decide(pulled, NOW) == Move("await-interface", after=INTERFACE_TIMEOUT_S)
    assert decide(pulled, NOW + INTERFACE_TIMEOUT_S).verb == "give-up"
    ready = note(pulled, Sight(True, {0: None}), NOW)
    assert (ready.status, ready.connected_at, ready.version) == ("PENDING", NOW, 2)
    assert decide(ready, NOW) == Move("start", (0,))
    runs = note(ready, Sight(True, {0: seen()}), NOW + 1)
    assert (runs.status, runs.started_at, runs.containers[0].runtime_id) == ("RUNNING", NOW + 1, "f" * 64)
    assert decide(runs, NOW) == Move("watch")
    assert note(runs, Sight(True, {0: seen()}), NOW + 9) == runs


def test_one_container_of_two_is_activating() -> None:
    two = task(container("a", reference="r"), container("b", reference="r"))
    some = note(two, Sight(True, {0: seen(), 1: None}), NOW)
    assert some.status == "ACTIVATING"
    assert decide(some, NOW) == Move("start", (1,))
    assert decide(note(two, Sight(True, {0: seen("created"), 1: None}), NOW), NOW) == Move("start", (0, 1))


def running(*containers: TaskContainer) -> Task:
    fresh = task(*containers)
    return note(fresh, Sight(True, {n: seen() for n in range(len(fresh.containers))}), NOW)


def test_an_essential_containers_end_is_the_tasks() -> None:
    two = running(container("a", reference="r"), container("b", reference="r", essential=False))
    end = note(two, Sight(True, {0: seen("exited", exit_code=3, finished_at=NOW + 5), 1: seen()}), NOW + 5)
    assert (end.desired, end.stop_code, end.stopped_reason) == (
        "STOPPED", "EssentialContainerExited", "Essential container in task exited")
    assert (end.containers[0].exit_code, end.status) == (3, "DEACTIVATING")
    assert decide(end, NOW + 5) == Move("signal", (1,))
    calm = note(two, Sight(True, {0: seen(), 1: seen("exited", exit_code=0)}), NOW + 5)
    assert (calm.desired, calm.status, calm.containers[1].status) == ("RUNNING", "RUNNING", "STOPPED")


def test_out_of_memory_and_lost_containers_say_so() -> None:
    killed = note(running(), Sight(True, {0: seen("exited", exit_code=137, out_of_memory=True)}), NOW)
    assert killed.containers[0].reason == "OutOfMemoryError: Container killed due to memory usage"
    lost = note(running(), Sight(False, {0: None}), NOW)
    assert (lost.desired, lost.stop_code, lost.containers[0].exit_code) == ("STOPPED", "InfrastructureHealth", None)


def test_the_way_down() -> None:
    asked = stopped(running(), "UserInitiated", "why", NOW)
    assert stopped(asked, "other", "later", NOW + 1) == asked
    leaving = note(asked, Sight(True, {0: seen()}), NOW)
    assert (leaving.status, decide(leaving, NOW)) == ("DEACTIVATING", Move("signal", (0,)))
    told = replace(leaving, containers=(replace(leaving.containers[0], kill_at=NOW + 30),))
    told = note(told, Sight(True, {0: seen()}), NOW + 1)
    assert (told.status, decide(told, NOW + 1)) == ("STOPPING", Move("await-exit", after=29.0))
    assert decide(told, NOW + 30) == Move("kill", (0,))
    gone = note(told, Sight(True, {0: seen("exited", exit_code=143, finished_at=NOW + 2)}), NOW + 3)
    assert (gone.status, gone.execution_stopped_at, decide(gone, NOW)) == ("DEPROVISIONING", NOW + 2, Move("tear-down"))
    last = ended(gone, NOW + 4)
    assert (last.status, last.stopped_at, last.stopped_reason) == ("STOPPED", NOW + 4, "why")
    assert visible_for(last, NOW + 4) == 3600


@pytest.mark.parametrize("state", [None, "running", "exited"])
def test_a_task_that_should_stop_is_stopped_wherever_it_is(state: Any) -> None:
    """Also where a crash came between starting a container and recording it."""
    asked = stopped(task(), "UserInitiated", "why", NOW)
    noted = note(asked, Sight(True, {0: seen(state, exit_code=0) if state else None}), NOW)
    assert decide(noted, NOW).verb == ("signal" if state == "running" else "tear-down")


def chain(condition: str, **more: Any) -> Task:
    """A container "web" that waits for "db", with their images pulled and the interface ready."""
    made = task(container("web", reference="r", depends=(("db", condition),)),
                container("db", reference="r", essential=False, **more))
    return note(made, Sight(True, {0: None, 1: None}), NOW)


def test_a_container_starts_when_what_it_waits_for_has_come() -> None:
    for condition, come in (("START", seen()), ("COMPLETE", seen("exited", exit_code=3)),
                            ("SUCCESS", seen("exited", exit_code=0))):
        waits = chain(condition)
        assert decide(waits, NOW) == Move("start", (1,))
        if condition != "START":
            early = note(waits, Sight(True, {0: None, 1: seen()}), NOW)
            assert (decide(early, NOW), early.status) == (Move("await-dependencies"), "ACTIVATING")
        assert decide(note(waits, Sight(True, {0: None, 1: come}), NOW), NOW) == Move("start", (0,))
    waits = note(chain("HEALTHY"), Sight(True, {0: None, 1: seen()}), NOW)
    for health in ("UNKNOWN", "UNHEALTHY"):
        assert decide(healthy(waits, health), NOW) == Move("await-dependencies")
    assert decide(healthy(waits, "HEALTHY"), NOW) == Move("start", (0,))


def healthy(known: Task, *health: Health) -> Task:
    last = len(known.containers) - len(health)
    return replace(known, containers=(*known.containers[:last], *(
        replace(c, health=h) for c, h in zip(known.containers[last:], health, strict=True))))


@pytest.mark.parametrize(("condition", "end", "why"), [
    ("SUCCESS", {"exit_code": 1}, "failed to resolve container ordering dependency [db] for target [web] as dependency"
                                  " did not exit successfully."),
    ("HEALTHY", {"exit_code": 0}, "failed to resolve container ordering dependency [db] for target [web]."),
    ("COMPLETE", {"exit_code": None}, "failed to resolve container ordering dependency [db] for target [web].")])
def test_what_can_never_come_fails_the_task(condition: str, end: dict[str, Any], why: str) -> None:
    failed = note(chain(condition), Sight(True, {0: None, 1: seen("exited", **end)}), NOW)
    assert (failed.desired, failed.stop_code, failed.stopped_reason) == (
        "STOPPED", "TaskFailedToStart", "Task failed to start")
    assert failed.containers[0].reason == f"CannotStartContainerError: dependency graph: {why}"
    assert failed.containers[0].exit_code is None
    assert decide(failed, NOW) == Move("tear-down")


def test_a_dependency_may_be_late() -> None:
    waits = note(chain("SUCCESS", start_timeout_s=20), Sight(True, {0: None, 1: seen()}), NOW)
    assert decide(waits, NOW + 1) == Move("await-dependencies", after=19.0)
    late = note(waits, Sight(True, {0: None, 1: seen()}), NOW + 20)
    assert late.containers[0].reason.endswith("dependency [db] for target [web] has timed out.")
    assert (late.stop_code, decide(late, NOW + 20)) == ("TaskFailedToStart", Move("signal", (1,)))
    in_time = note(waits, Sight(True, {0: None, 1: seen("exited", exit_code=0)}), NOW + 21)
    assert decide(in_time, NOW + 21) == Move("start", (0,))


def test_one_that_is_not_essential_fails_alone_and_takes_those_along_that_wait_for_it() -> None:
    three = task(container("web", reference="r"), container("a", reference="r", essential=False),
                 container("b", reference="r", essential=False, depends=(("a", "SUCCESS"),)),
                 container("c", reference="r", essential=False, depends=(("b", "SUCCESS"),)))
    now = note(three, Sight(True, {0: seen(), 1: seen("exited", exit_code=1), 2: None, 3: None}), NOW)
    assert [c.status for c in now.containers] == ["RUNNING", "STOPPED", "STOPPED", "STOPPED"]
    assert (now.status, now.desired, decide(now, NOW)) == ("RUNNING", "RUNNING", Move("watch"))


def test_shutdown_is_the_reverse_of_startup() -> None:
    both = note(chain("START"), Sight(True, {0: seen(), 1: seen()}), NOW)
    asked = stopped(both, "UserInitiated", "why", NOW)
    assert decide(asked, NOW) == Move("signal", (0,))
    told = replace(asked, containers=(replace(asked.containers[0], kill_at=NOW + 30), asked.containers[1]))
    assert decide(told, NOW) == Move("await-exit", after=30.0)
    first = note(told, Sight(True, {0: seen("exited", exit_code=0), 1: seen()}), NOW + 1)
    assert decide(first, NOW + 1) == Move("signal", (1,))


POLICY = RestartPolicy(60, (7,))


def test_a_restart_policy_starts_a_container_again() -> None:
    first = running(container(reference="r", restart=POLICY))
    first = healthy(first, "HEALTHY")
    ended = note(first, Sight(True, {0: seen("exited", exit_code=1, finished_at=NOW + 60)}), NOW + 60)
    (again,) = ended.containers
    assert (again.status, again.restarts, again.exit_code, again.health) == ("PENDING", 1, None, "UNKNOWN")
    assert (ended.status, ended.desired, decide(ended, NOW + 60)) == ("RUNNING", "RUNNING", Move("start", (0,)))
    # the end that was answered already, and a start that was cut off, say nothing new
    for old in (seen("exited", exit_code=1), seen("created", starts=2)):
        assert note(ended, Sight(True, {0: old}), NOW + 61) == ended
    second = note(ended, Sight(True, {0: replace(seen(starts=2), started_at=NOW + 61)}), NOW + 61)
    assert (second.containers[0].status, second.containers[0].started_at) == ("RUNNING", NOW + 61)
    too_soon = note(second, Sight(True, {0: replace(seen("exited", starts=2, exit_code=1, finished_at=NOW + 120),
                                                    started_at=NOW + 61)}), NOW + 120)
    assert (too_soon.containers[0].status, too_soon.stop_code) == ("STOPPED", "EssentialContainerExited")
    lost = note(second, Sight(True, {0: None}), NOW + 62)
    assert lost.stop_code == "InfrastructureHealth"


@pytest.mark.parametrize(("code", "lived", "stop"), [(7, 100, False), (None, 100, False), (1, 59, False),
                                                     (1, 100, True)])
def test_what_is_not_started_again(code: int | None, lived: float, stop: bool) -> None:
    first = running(container(reference="r", restart=POLICY))
    if stop:
        first = stopped(first, "UserInitiated", "why", NOW)
    end = note(first, Sight(True, {0: seen("exited", exit_code=code, finished_at=NOW + lived)}), NOW + lived)
    assert (end.containers[0].status, end.containers[0].restarts, end.desired) == ("STOPPED", 0, "STOPPED")


def test_a_task_that_stops_while_a_container_is_started_again() -> None:
    first = running(container(reference="r", restart=POLICY))
    ended = note(first, Sight(True, {0: seen("exited", exit_code=1, finished_at=NOW + 60)}), NOW + 60)
    asked = stopped(ended, "UserInitiated", "why", NOW + 60)
    assert decide(note(asked, Sight(True, {0: seen("exited", exit_code=1)}), NOW), NOW) == Move("tear-down")
    assert decide(note(asked, Sight(True, {0: seen(starts=2)}), NOW), NOW) == Move("signal", (0,))


@pytest.mark.parametrize(("health", "together"), [
    (("HEALTHY", "HEALTHY", "UNHEALTHY"), "HEALTHY"), (("HEALTHY", "UNKNOWN", "HEALTHY"), "UNKNOWN"),
    (("UNHEALTHY", "UNKNOWN", "HEALTHY"), "UNHEALTHY")])
def test_a_tasks_health_is_that_of_its_essential_containers(health: tuple[Health, ...], together: str) -> None:
    three = task(container("a"), container("b"), container("c", essential=False))
    assert healthy(three, *health).health == together
