"""Bugs planted into the real code, one for each promise that the simulation must not let anybody break unseen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from cloudlet.kernel.names import Installation
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


BUGS: dict[str, tuple[Callable[[], Any], range]] = {  # name -> the bug, and the seeds of which one must catch it
    "lost-wake-up": (lost_wake_up, range(0, 100, NO_SECOND_LOOK)), "lost-write": (lost_write, range(20)),
    "name-not-derived": (name_not_derived, range(20))}
