"""Health checks of containers: commands run inside them, and what their exit codes say over time.

As Docker does it: the first probe comes an interval after the start, each next one an interval after the end of the
last; so many failures in a row make a container UNHEALTHY, one success makes it HEALTHY, and failures within the start
period count only where there was a success before. Probes are the control plane's own. While it is away nobody asks,
what was seen last stays on record, and failures are counted anew.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloudlet.engines.ports import Probes
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import EngineError
from cloudlet.kernel.names import Installation
from cloudlet.services.ecs.container_spec import container_name
from cloudlet.services.ecs.records import Definition, Health, Task
from cloudlet.store.db import Store, Tx

log = logging.getLogger(__name__)

PARALLEL = 4  # probes at a time: each is a process
UNHEALTHY_REASON = "Task failed container health checks"


@dataclass(frozen=True, slots=True)
class Check:
    """A container's health check, as the definition has it."""

    command: tuple[str, ...]
    interval_s: float
    timeout_s: float
    retries: int
    start_period_s: float


def check_of(container: Mapping[str, Any]) -> Check | None:
    """The health check of a container definition; None where it has none."""
    given = container.get("healthCheck")
    if not given or given["command"][0] == "NONE":
        return None
    kind, *words = given["command"]
    command = ("/bin/sh", "-c", *words) if kind == "CMD-SHELL" else tuple(words)
    return Check(command, given["interval"], given["timeout"], given["retries"], given.get("startPeriod") or 0)


def verdict(check: Check, health: Health, failures: int, passed: bool, age_s: float) -> tuple[Health, int]:
    """What a probe of a container of that age makes of its health and its failures in a row."""
    if passed:
        return "HEALTHY", 0
    if age_s < check.start_period_s and health == "UNKNOWN":
        return health, 0
    failures += 1
    return ("UNHEALTHY" if failures >= check.retries else health), failures


@dataclass(slots=True)
class Patient:
    """A running container that is probed; `due`: when next."""

    task: str
    position: int
    restarts: int
    name: str
    check: Check
    started_at: float
    health: Health
    due: float
    failures: int = 0
    busy: bool = False


class Prober:
    """Probes whoever is due. What it remembers beside the records are failures in a row."""

    def __init__(self, store: Store, probes: Probes | None, installation: Installation, clock: Clock) -> None:
        self._store, self._probes, self._installation, self._clock = store, probes, installation, clock
        self._patients: dict[tuple[str, int], Patient] = {}
        self._more = asyncio.Event()
        self._slots = asyncio.Semaphore(PARALLEL)

    def follow(self, task: Task, definition: Definition) -> None:
        """From now on its running containers are probed; those that do not run any more are not."""
        for position, (container, defined) in enumerate(zip(task.containers, definition.containers, strict=True)):
            key = task.key, position
            check = check_of(defined) if "healthCheck" in defined else None
            if check is None or task.desired != "RUNNING" or container.status != "RUNNING":
                self._patients.pop(key, None)
                continue
            known = self._patients.get(key)
            if known is None or known.restarts != container.restarts:
                started, now = container.started_at or 0.0, self._clock.now()
                due = started + check.interval_s * max(1, -(-(now - started) // check.interval_s))
                self._patients[key] = Patient(
                    task.key, position, container.restarts, container_name(self._installation, task, position), check,
                    started, container.health, due)
                self._more.set()

    def leave(self, task: Task) -> None:
        """It has ended."""
        for position in range(len(task.containers)):
            self._patients.pop((task.key, position), None)

    async def run(self) -> None:
        """The worker."""
        async with asyncio.TaskGroup() as probes:
            while True:
                self._more.clear()
                now = self._clock.now()
                for patient in self._patients.values():
                    patient.due = min(patient.due, now + patient.check.interval_s)  # the clock was set back
                    if patient.due <= now and not patient.busy:
                        patient.busy = True
                        probes.create_task(self._probe(patient))
                waiting = [patient.due for patient in self._patients.values() if not patient.busy]
                try:
                    async with asyncio.timeout(max(0.0, min(waiting) - now) if waiting else None):
                        await self._more.wait()
                except TimeoutError:
                    pass

    def _is_gone(self, patient: Patient) -> bool:
        """Whether its task was forgotten by a reset, while it still ran."""
        with self._store.tx() as tx:
            gone = tx.get(Task, patient.task) is None
        if gone:
            self._patients.pop((patient.task, patient.position), None)
        return gone

    async def _probe(self, patient: Patient) -> None:
        assert self._probes is not None
        try:
            async with self._slots:
                if self._is_gone(patient):
                    return
                age_s = self._clock.now() - patient.started_at
                code = await self._probes.probe(patient.name, patient.check.command, patient.check.timeout_s)
        except EngineError as error:  # that says nothing of the container
            log.debug("the health of %s cannot be told: %s", patient.name, error)
        else:
            patient.health, patient.failures = verdict(patient.check, patient.health, patient.failures, code == 0,
                                                       age_s)
            with self._store.tx() as tx:
                self._write(tx, patient)
        finally:
            patient.busy, patient.due = False, self._clock.now() + patient.check.interval_s
            self._more.set()

    def _write(self, tx: Tx, patient: Patient) -> None:
        """Into the record, if that is another health than is known, and the container still the same."""
        task = tx.get(Task, patient.task)
        container = task.containers[patient.position] if task else None
        if (task is None or container is None or task.desired != "RUNNING" or container.status != "RUNNING"
                or container.restarts != patient.restarts or container.health == patient.health):
            return
        containers = list(task.containers)
        containers[patient.position] = replace(container, health=patient.health, health_since=tx.now)
        changed = replace(task, containers=tuple(containers), version=task.version + 1)
        tx.put(changed)  # what becomes of a task of a service, its scheduler decides
        if changed.service:
            tx.enqueue("ecs.service", changed.service)
