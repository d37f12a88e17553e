"""The worker that measures running instances, time and again: whether their machines, their guests and their volumes
answer.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cloudlet.engines.ports import Engines, Machine
from cloudlet.kernel.errors import EngineError
from cloudlet.kernel.names import Installation
from cloudlet.services.ec2.instances.cards import interfaces_of
from cloudlet.services.ec2.instances.records import Check, Health, Instance
from cloudlet.services.ec2.interfaces import vpc_key
from cloudlet.store.db import Store, Tx

EVERY_S = 30.0  # AWS looks every minute
MISSES = 2  # in a row: then a check has failed
PARALLEL = 32  # machines asked at once; one that does not answer takes some twenty seconds


@dataclass(frozen=True, slots=True)
class _Subject:
    """A running instance, the engine name of its VPC, and that of its primary interface."""

    instance: Instance
    network: str
    interface: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What one look at an instance said; None where nothing could be told."""

    system: bool | None
    guest: bool | None
    volumes: bool | None


class Checks:
    """Looks at whoever runs. What it remembers beside the records are failures in a row."""

    def __init__(self, store: Store, engines: Engines, installation: Installation) -> None:
        self._store, self._networks, self._machines = store, engines.networks, engines.machines
        self._installation = installation
        self._misses: dict[str, dict[str, int]] = {}
        self._slots = asyncio.Semaphore(PARALLEL)

    async def look_at_all(self) -> None:
        """What the worker does every half minute."""
        with self._store.tx() as tx:
            keys = {instance.key for instance in tx.find(Instance) if _runs(instance)}
        self._misses = {key: misses for key, misses in self._misses.items() if key in keys}
        await self.look(keys)

    async def look(self, keys: Iterable[str]) -> None:
        """Looks at these instances, if they run, and writes down what has changed."""
        with self._store.tx() as tx:
            subjects = [subject for key in sorted(keys) if (subject := self._subject(tx, key))]
        networks = sorted({subject.network for subject in subjects})
        heard = dict(zip(networks, await asyncio.gather(*(
            self._heard(network, [s.interface for s in subjects if s.network == network]) for network in networks)),
            strict=True))
        seen = await asyncio.gather(*(self._seen(subject.instance.machine) for subject in subjects))
        with self._store.tx() as tx:
            for subject, machine in zip(subjects, seen, strict=True):
                self._note(tx, subject, _answers(subject, machine, heard[subject.network]))

    def _subject(self, tx: Tx, key: str) -> _Subject | None:
        instance = tx.get(Instance, key)
        primary = next(iter(interfaces_of(tx, instance.id)), None) if instance and _runs(instance) else None
        if instance is None or primary is None:
            return None
        return _Subject(instance, self._installation.name("vpc", vpc_key(primary)), primary.fabric_name)

    async def _heard(self, network: str, interfaces: list[str]) -> frozenset[str] | None:
        try:
            return await self._networks.answering(network, interfaces)
        except EngineError:  # that says nothing of the guests
            return None

    async def _seen(self, machine: str) -> Machine | EngineError | None:
        async with self._slots:
            try:
                return await self._machines.observe(machine)
            except EngineError as error:
                return error

    def _note(self, tx: Tx, subject: _Subject, answers: Answers) -> None:
        """Into the record, if it is still powered on as it was."""
        instance = tx.get(Instance, subject.instance.key)
        if instance is None or not _runs(instance) or instance.on_since != subject.instance.on_since:
            return
        misses = self._misses.setdefault(instance.key, {})
        health = instance.health
        changed = replace(instance, health=Health(
            _checked(health.system, answers.system, misses, "system", tx.now),
            _checked(health.guest, answers.guest, misses, "guest", tx.now),
            _checked(health.volumes, answers.volumes, misses, "volumes", tx.now)))
        since = instance.on_since if instance.on_since is not None else tx.now
        if answers.guest and instance.booted_at is None and (instance.heard_at is None or instance.heard_at < since):
            changed = replace(changed, heard_at=tx.now)
        if changed != instance:
            tx.put(changed, wake=False)


def _runs(instance: Instance) -> bool:
    return instance.state == "running" and instance.rebooting_at is None


def _answers(subject: _Subject, machine: Machine | EngineError | None, heard: frozenset[str] | None) -> Answers:
    """What is not there any more, or is off, has its own loop to say so."""
    guest = subject.interface in heard if heard is not None else None
    if isinstance(machine, EngineError):
        return Answers(False, guest, None)
    if machine is None or machine.state == "off":
        return Answers(None, None, None)
    return Answers(True, guest, not machine.stalled)


def _checked(check: Check, answered: bool | None, misses: dict[str, int], what: str, now: float) -> Check:
    """A check after another look: failed after some misses in a row, and passed again after one answer."""
    if answered is None:
        return check if check.status in ("", "failed") else Check("insufficient-data")
    misses[what] = 0 if answered else misses.get(what, 0) + 1
    if answered:
        return check if check.status == "passed" else Check("passed")
    if check.status == "failed" or misses[what] < MISSES:
        return check
    return Check("failed", now)

