"""Bugs planted into the real code, one for each promise that the simulation must not let anybody break unseen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from cloudlet.engines.fake import FakeImages
from cloudlet.kernel.names import Installation
from cloudlet.services.ecs import rollout, service_loop, service_plan, task_loop, task_plan
from cloudlet.services.ecs.records import Task
from cloudlet.store import queue
from cloudlet.store.db import Store, Tx
from tests.simulation.plane import Plane
from tests.simulation.scenario import NO_SECOND_LOOK


def _finish(store: Store, work: queue.Work, broken: str | None = None) -> None:
    """Removes the question even where it was asked again while the step ran."""
    with store.tx() as tx:
        tx.execute("delete from work where kind=? and key=?", (work.kind, work.key))


def _swap(tx: Tx, seen: Any, changed: Any) -> bool:
    """Overwrites whatever somebody wrote meanwhile."""
    if changed != seen:
        tx.put(changed, wake=False)
    return True


@contextmanager
def lost_wake_up() -> Iterator[None]:
    """A step removes a question that it did not answer. (With a second look every minute, that would only be slow.)"""
    with patch.object(queue, "finish", _finish):
        yield


@contextmanager
def lost_write() -> Iterator[None]:
    """A step writes what it saw over what a customer wrote meanwhile."""
    with patch.object(Tx, "swap", _swap):
        yield


@contextmanager
def name_not_derived() -> Iterator[None]:
    """An engine's name depends on something that the next process does not know."""
    life = [0]
    boot, name = Plane.boot, Installation.name

    def counting_boot(plane: Plane) -> None:
        life[0] += 1
        boot(plane)

    def forgetful_name(installation: Installation, kind: str, key: str) -> str:
        return name(installation, kind, f"{key}/{life[0]}" if kind == "task" else key)

    with patch.object(Plane, "boot", counting_boot), patch.object(Installation, "name", forgetful_name):
        yield


def _limits(least: int, most: int) -> Callable[[Any], tuple[int, int]]:
    """Percentages that nobody asked for."""
    def limits(service: Any) -> tuple[int, int]:
        return -(-service.desired * least // 100), service.desired * most // 100
    return limits


@contextmanager
def too_few() -> Iterator[None]:
    """A deployment stops the old tasks before the new ones run."""
    with patch.object(service_plan, "limits", _limits(0, 100)):
        yield


@contextmanager
def too_many() -> Iterator[None]:
    """A deployment starts more tasks than it may."""
    with patch.object(service_plan, "limits", _limits(100, 300)):
        yield


@contextmanager
def completed_too_early() -> Iterator[None]:
    """A rollout is told to be complete as soon as all its tasks are on their way."""
    def is_steady(service: Any, tasks: Any, now: float) -> bool:
        return sum(task.desired == "RUNNING" for task in tasks) == service.desired
    with patch.object(rollout, "is_steady", is_steady):
        yield


@contextmanager
def made_up_reason() -> Iterator[None]:
    """Whatever ends a task is told to be its essential container."""
    def stopped(task: Any, code: str, reason: str, now: float) -> Any:
        return task_plan.stopped(task, "EssentialContainerExited", "Essential container in task exited", now)
    with patch.object(task_loop, "stopped", stopped):
        yield


@contextmanager
def silent_start() -> Iterator[None]:
    """The scheduler does not say which tasks it has started."""
    with patch.object(service_loop, "_named", lambda tasks: f"(task {tasks[0].id})"):
        yield


@contextmanager
def no_protection() -> Iterator[None]:
    """Nobody remembers which tasks are protected."""
    with patch.object(Task, "is_protected", lambda task, now: False):
        yield


@contextmanager
def address_kept() -> Iterator[None]:
    """A task that has stopped keeps its network interface, and with it the address."""
    with patch.object(task_loop, "release_interface", lambda tx, id: None):
        yield


@contextmanager
def image_kept() -> Iterator[None]:
    """Images are never removed."""
    async def destroy(images: Any, reference: str) -> None:
        return None
    with patch.object(FakeImages, "destroy", destroy):
        yield


@contextmanager
def task_kept() -> Iterator[None]:
    """A task that has stopped is never forgotten."""
    with patch.object(task_loop, "visible_for", lambda task, now: 1e9):
        yield


BUGS: dict[str, tuple[Callable[[], Any], range]] = {  # name -> the bug, and the seeds of which one must catch it
    "lost-wake-up": (lost_wake_up, range(0, 100, NO_SECOND_LOOK)), "lost-write": (lost_write, range(20)),
    "name-not-derived": (name_not_derived, range(20)), "too-few": (too_few, range(20)),
    "too-many": (too_many, range(20)), "completed-too-early": (completed_too_early, range(20)),
    "made-up-reason": (made_up_reason, range(20)), "silent-start": (silent_start, range(20)),
    "no-protection": (no_protection, range(1, 150, 3)),
    "address-kept": (address_kept, range(20)), "image-kept": (image_kept, range(100)),
    "task-kept": (task_kept, range(100))}
