"""Bugs planted into the code of instances and volumes, one for each promise about them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from cloudlet.engines.fake.machines import FakeDisks
from cloudlet.services.ec2.instances import loop, plan
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.storage.loops import Loops
from cloudlet.store.db import Tx
from tests.simulation.bugs import lost_wake_up, lost_write
from tests.simulation.scenario import NO_SECOND_LOOK


@contextmanager
def released_too_early() -> Iterator[None]:
    """A terminated instance's volumes and interfaces are given away while its machine still runs."""
    decide = plan.decide

    def hasty(instance: Any, machine: Any, parts: Any, now: float) -> Any:
        if instance.desired == "terminated" and instance.ended_at is None:
            return plan.Move("release")
        return decide(instance, machine, parts, now)
    with patch.object(loop, "decide", hasty):
        yield


@contextmanager
def free_too_early() -> Iterator[None]:
    """A volume is free as soon as it is to leave, whether the guest has let go of it or not."""
    mark = loop.mark_plugged

    def hasty(tx: Tx, instance_id: str, disks: Any) -> None:
        mark(tx, instance_id, None if disks is None else ())
    with patch.object(loop, "mark_plugged", hasty):
        yield


@contextmanager
def volume_kept() -> Iterator[None]:
    """Volumes that were to go with their instance stay."""
    with patch.object(loop, "release_volumes", lambda tx, id: None):
        yield


@contextmanager
def interface_kept() -> Iterator[None]:
    """Interfaces that were to go with their instance stay."""
    with patch.object(loop, "release_interface", lambda tx, id: None):
        yield


@contextmanager
def undying() -> Iterator[None]:
    """An instance whose guest has powered off is started again."""
    note = plan.note

    def forgetful(instance: Instance, machine: Any, now: float) -> Instance:
        if machine is not None and machine.ended == "guest":
            return note(instance, replace(machine, ended="reboot"), now)
        return note(instance, machine, now)
    with patch.object(loop, "note", forgetful):
        yield


@contextmanager
def stopped_too_early() -> Iterator[None]:
    """An instance is told to be stopped as soon as it is to stop."""
    def state(instance: Instance) -> Any:
        return instance.desired if instance.desired != "running" or instance.on else "pending"
    with patch.object(Instance, "state", property(state)):
        yield


@contextmanager
def snapshot_made_up() -> Iterator[None]:
    """A snapshot is completed without anything having been kept."""
    async def seal(loops: Any, seen: Any) -> Any:
        with loops.store.tx() as tx:
            tx.swap(seen, replace(seen, state="completed", completed=tx.now))
        return loop.Done()
    with patch.object(Loops, "_seal", seal):
        yield


@contextmanager
def overwritten() -> Iterator[None]:
    """A disk that is there is made anew when it is asked for again."""
    ensure = FakeDisks.ensure

    async def anew(disks: FakeDisks, spec: Any) -> Any:
        disks.disks.pop(spec.name, None)
        return await ensure(disks, spec)
    with patch.object(FakeDisks, "ensure", anew), patch.object(
            FakeDisks, "observe", lambda disks, name: _nothing(disks, name)):
        yield


async def _nothing(disks: FakeDisks, name: str) -> Any:
    content = disks.layers.get(name)
    return content.seen if content else None


MACHINE_BUGS: dict[str, tuple[Callable[[], Any], range]] = {
    "released-too-early": (released_too_early, range(20)), "free-too-early": (free_too_early, range(100)),
    "volume-kept": (volume_kept, range(20)), "interface-kept": (interface_kept, range(20)),
    "undying": (undying, range(40)), "stopped-too-early": (stopped_too_early, range(20)),
    "snapshot-made-up": (snapshot_made_up, range(20)), "overwritten": (overwritten, range(40)),
    "lost-write": (lost_write, range(40)), "lost-wake-up": (lost_wake_up, range(0, 100, NO_SECOND_LOOK))}
