"""A task's record and next move: pure, so every case is a line."""

from dataclasses import replace
from typing import Any

import pytest

from cloudlet.engines.ports import Container
from cloudlet.services.ecs.records import Attachment, Task, TaskContainer
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
