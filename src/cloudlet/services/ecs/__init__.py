"""Amazon ECS on Fargate: clusters, task definitions, tasks with an address of their own, and services of them."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from cloudlet.control.controller import Controller
from cloudlet.control.outcome import Outcome
from cloudlet.control.rounds import every
from cloudlet.engines.ports import Engines
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.http import Handler
from cloudlet.kernel.identity import Identities
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.services.ecs import (
    clusters,
    definitions,
    instances,
    protection,
    service_deployments,
    service_loop,
    services,
    settings,
    tags,
    tasks,
)
from cloudlet.services.ecs.agent import Agent
from cloudlet.services.ecs.api import ecs
from cloudlet.services.ecs.awslogs import Shipper
from cloudlet.services.ecs.container_spec import container_name, group_name, handle_in
from cloudlet.services.ecs.credentials import task_credentials
from cloudlet.services.ecs.health import Prober
from cloudlet.services.ecs.metadata import Metadata
from cloudlet.services.ecs.records import Task
from cloudlet.services.ecs.storage_watch import EVERY_S, StorageWatch
from cloudlet.services.ecs.task_loop import TaskLoop
from cloudlet.store.db import Store, Tx

__all__ = ["clusters", "controller", "definitions", "ecs", "instances", "metadata", "protection", "service_deployments",
           "services", "settings", "tags", "tasks"]

Reconcile = Callable[[str], Awaitable[Outcome]]


def controller(store: Store, engines: Engines, site: Site, clock: Clock | None = None) -> Controller:
    """The loops of tasks and services, what ships logs and probes health, and what the engines hold on their behalf."""
    clock = clock or store.clock
    shipper = Shipper(store, engines.containers, site.installation, clock)
    prober = Prober(store, engines.probes, site.installation, clock)
    watch = StorageWatch(store, engines.storages, site.installation)
    loop = TaskLoop(store, engines, site, clock, shipper, prober, task_credentials(store))
    return Controller(
        reconcilers={"ecs.task": loop.reconcile, "ecs.service": partial(service_loop.reconcile, store),
                     "ecs.definition": partial(definitions.reconcile, store)},
        keeps={"containers": partial(_containers, site.installation), "images": _images,
               "storages": partial(_storages, site.installation)},
        wakes={"containers": partial(_task_of, site.installation)},
        workers={"ecs.awslogs": shipper.run, "ecs.health": prober.run,
                 "ecs.storage": every(EVERY_S, watch.look, clock, at_once=False)})


def metadata(store: Store, engines: Engines, site: Site, clock: Clock, identities: Identities) -> Handler:
    """What tasks reach on 169.254.170.2."""
    credentials = task_credentials(store)
    return Metadata(store, engines, site, clock, credentials, Agent(store, identities, credentials)).handle


def _containers(installation: Installation, tx: Tx) -> Iterable[str]:
    """The containers of tasks that have not stopped."""
    return [container_name(installation, task, position)
            for task in tx.find(Task) if task.status != "STOPPED" for position in range(len(task.containers))]


def _storages(installation: Installation, tx: Tx) -> Iterable[str]:
    """The volumes of tasks that have not stopped."""
    return [group_name(installation, task.key) for task in tx.find(Task) if task.status != "STOPPED"]


def _images(tx: Tx) -> Iterable[str]:
    """The images of tasks that run, or stopped within the hour: the next of their kind starts the sooner."""
    return {container.reference for task in tx.find(Task) for container in task.containers if container.reference}


def _task_of(installation: Installation, tx: Tx, name: str) -> tuple[str, str] | None:
    """The task that a container belongs to."""
    handle = handle_in(installation, name)
    found = tx.find(Task, handle=handle) if handle else []
    return ("ecs.task", found[0].key) if found else None
