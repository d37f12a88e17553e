"""The limit of ephemeral storage: what tasks take of the disk is measured, and a task that takes too much stops."""

import logging
from dataclasses import replace

from cloudlet.engines.ports import Storages
from cloudlet.kernel.errors import EngineError
from cloudlet.kernel.names import Installation
from cloudlet.services.ecs.container_spec import group_name
from cloudlet.services.ecs.records import Task
from cloudlet.services.ecs.task_plan import stopped
from cloudlet.store.db import Store

log = logging.getLogger(__name__)

EVERY_S = 15.0
GIB, MIB = 1 << 30, 1 << 20


class StorageWatch:
    """Looks at every task whose containers run."""

    def __init__(self, store: Store, storages: Storages, installation: Installation) -> None:
        self._store, self._storages, self._installation = store, storages, installation

    async def look(self) -> None:
        """One look at all of them, one after the other: the machine has better to do than to count."""
        with self._store.tx() as tx:
            tasks = [task for task in tx.find(Task) if _is_running(task)]
        for task in tasks:
            try:
                used = await self._storages.usage(group_name(self._installation, task.key))
            except EngineError as error:
                log.debug("the storage of %s: %s", task.id, error)
                continue
            if used > task.storage_gib * GIB:
                self._stop(task.key, used)

    def _stop(self, key: str, used: int) -> None:
        with self._store.tx() as tx:
            task = tx.get(Task, key)
            if task is None or not _is_running(task):
                return
            reason = (f"Task used {used // MIB} MiB of ephemeral storage, more than its {task.storage_gib} GiB:"
                      " no space left on device")
            tx.put(replace(stopped(task, "TerminationNotice", reason, tx.now), version=task.version + 1))


def _is_running(task: Task) -> bool:
    return task.desired == "RUNNING" and any(container.status == "RUNNING" for container in task.containers)
