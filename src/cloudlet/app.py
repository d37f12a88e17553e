"""The only file in which ports meet adapters, and services meet the gateway."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cloudlet.admin import Admin
from cloudlet.config import Config
from cloudlet.control.controller import Controller
from cloudlet.control.loop import Loop, supervise
from cloudlet.control.sweep import Sweep
from cloudlet.engines import host_memory
from cloudlet.engines.containers import PodmanContainers
from cloudlet.engines.disks import QcowDisks
from cloudlet.engines.doors import INSTANCES, TASKS, Close, ControlDoors, OpenDoor
from cloudlet.engines.images import PodmanImages
from cloudlet.engines.keysets import LocalKeySets
from cloudlet.engines.machines import QemuMachines
from cloudlet.engines.mail import SmtpMail
from cloudlet.engines.networks import FabricNetworks
from cloudlet.engines.podman import Podman
from cloudlet.engines.ports import Engines
from cloudlet.engines.probes import PodmanProbes
from cloudlet.engines.storages import PodmanStorages
from cloudlet.engines.upstreams import LocalUpstreams
from cloudlet.engines.webhooks import LocalWebhooks
from cloudlet.kernel.clock import Clock, SystemClock
from cloudlet.kernel.errors import EngineError, Unavailable
from cloudlet.kernel.http import Handler, Request, Response
from cloudlet.kernel.site import Site
from cloudlet.services import ec2, ec2instanceconnect, ecr, ecs, iam, logs, s3, secretsmanager, sns, sqs, ssm, sts
from cloudlet.store import steadiness
from cloudlet.store.blobs import Blobs
from cloudlet.store.db import Store
from cloudlet.store.directory import DataDirectory
from cloudlet.store.flush import checkpoints
from cloudlet.wire.gateway import Gateway
from cloudlet.wire.server import Server

SERVICES = (sts.sts, iam.iam, ec2.ec2, ec2instanceconnect.ec2_instance_connect, ecr.ecr, ecs.ecs, logs.logs, ssm.ssm,
            secretsmanager.secretsmanager, s3.s3, sqs.sqs, sns.sns)
_OURS = ("/_", "/moto-api/")  # what pages of our own begin with
TABLES = (logs.TABLES, s3.TABLES, sqs.TABLES, sns.TABLES)
ssm.public_parameters(ec2.infrastructure([service.name for service in SERVICES]))
ssm.public_parameters(ec2.machine_images)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The real thing on whatever engines: what the app serves and what the simulation runs."""

    gateway: Gateway
    registry: Handler
    metadata: Handler
    instances: Handler
    loop: Loop
    sweep: Sweep
    controllers: tuple[Controller, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """Where the services keep files of bytes, each its own."""

    layers: Blobs
    objects: Blobs

    @classmethod
    def under(cls, directory: Path) -> "Files":
        """Those of a data directory."""
        return cls(Blobs(directory / "blobs"), Blobs(directory / "objects", hashed=False))

    def close(self) -> None:
        """Waits for their threads."""
        self.layers.close()
        self.objects.close()


def assemble(store: Store, files: Files, clock: Clock, engines: Engines, site: Site) -> ControlPlane:
    """Joins services, loops and gateway over one store."""
    for tables in TABLES:
        store.create_tables(tables)
    steadiness.restore(store)
    s3.set_object_ownership(store, site)
    sqs.set_keeping_of_names(store, site)
    identities = iam.identities(site, SERVICES)
    controllers = (iam.controller(store, engines, site), ec2.controller(store, engines, site),
                   ecr.controller(store, files.layers, engines), logs.controller(store, engines, site),
                   secretsmanager.controller(store, engines, site), s3.controller(store, files.objects),
                   sqs.controller(store, engines, site), sns.controller(store, engines, site),
                   ecs.controller(store, engines, site, clock))
    loop = Loop(store, clock, {kind: step for controller in controllers
                               for kind, step in controller.reconcilers.items()})
    return ControlPlane(
        gateway=Gateway(SERVICES, store, clock, identities),
        registry=ecr.registry(store, files.layers, identities, engines.upstreams),
        metadata=ecs.metadata(store, engines, site, clock, identities),
        instances=ec2.instance_metadata(store, site),
        loop=loop, sweep=Sweep(store, clock, engines, controllers), controllers=controllers)


@dataclass(frozen=True, slots=True)
class Machinery:
    """The adapters of one installation, and the ports they are plugged into."""

    podman: Podman
    containers: PodmanContainers
    storages: PodmanStorages
    machines: QemuMachines
    networks: FabricNetworks
    mail: SmtpMail | None
    engines: Engines

    @classmethod
    def of(cls, site: Site, open_door: OpenDoor) -> "Machinery":
        """Nothing is started yet."""
        podman, networks = Podman(site), FabricNetworks(site)
        containers, storages = PodmanContainers(podman, site), PodmanStorages(podman)
        doors = ControlDoors(networks, open_door, {
            "metadata": (TASKS, 80), "instances": (INSTANCES, 80), "api": (TASKS, site.port)})
        disks = QcowDisks(site)
        machines = QemuMachines(site, disks)
        mail = SmtpMail(site.mail_server) if site.mail_server is not None else None
        engines = Engines(networks, PodmanImages(podman), containers, storages, doors, disks, machines, LocalKeySets(),
                          PodmanProbes(podman), LocalUpstreams(), LocalWebhooks(site), mail)
        return cls(podman, containers, storages, machines, networks, mail, engines)

    async def probe(self) -> dict[str, str]:
        """What is wrong with each engine; "" where it works."""
        return {"containers": (await self.podman.probe()).problem, "networks": await self.networks.probe() or "",
                "machines": self.machines.probe() or ""}


def front(plane: ControlPlane, admin: Admin) -> Handler:
    """Everything on the endpoint's port: our own pages, the image registry, and AWS's API."""
    def handle(request: Request) -> Awaitable[Response]:
        path, is_signed = request.path, _is_signed(request)
        if path.startswith(_OURS):
            return page(request, is_signed)
        if is_signed:
            return plane.gateway.handle(request)
        return plane.registry(request) if path == "/v2" or path.startswith("/v2/") else unsigned(request)

    async def page(request: Request, is_signed: bool) -> Response:
        answer = await admin.handle(request)
        if answer is not None:
            return answer
        return await (plane.gateway.handle(request) if is_signed else unsigned(request))

    async def unsigned(request: Request) -> Response:
        found = await sns.page(admin.store, request)
        return found if isinstance(found, Response) else await plane.gateway.handle(found)
    return handle


def _is_signed(request: Request) -> bool:
    """A bucket may be called v2: what is signed is for the API."""
    return request.headers.get("authorization", "").startswith("AWS4-") or "X-Amz-Signature=" in request.query


async def serve(config: Config, ready: Callable[[str], None]) -> None:
    """Runs the control plane until SIGTERM or SIGINT. `ready` is called with its URL as soon as it answers.

    Engines go on when this ends: the next start adopts them. Raises Unusable, NewerFormat, or OSError for the port.
    """
    directory = DataDirectory(config.data_dir)
    clock = SystemClock()
    site = Site(directory.installation, config.data_dir, config.port, config.public_cidr,
                instance_memory_bytes=host_memory.for_machines(), object_ownership=config.object_ownership,
                mail_server=config.mail_server, keep_queue_names=config.keep_queue_names)
    store = Store(str(config.database), clock)
    files = Files.under(config.data_dir)
    handlers: dict[str, Handler] = {}
    server = Server(lambda request: handlers["api"](request))

    async def open_door(sock: socket.socket, network: str, kind: str) -> Close:
        return (await server.open(sock, handlers[kind], network)).close

    machinery = Machinery.of(site, open_door)
    plane = assemble(store, files, clock, machinery.engines, site)
    health: dict[str, str] = {}
    admin = Admin(store, site, os.getpid(), tuple(sorted(service.name for service in SERVICES)), health,
                  plane.sweep.reset, machinery.machines.footprints, sns.newest_mail, partial(sqs.page, store))
    handlers |= {"api": front(plane, admin), "metadata": plane.metadata, "instances": plane.instances}
    await _listen(server, config)
    (config.data_dir / "endpoint").write_text(config.endpoint + "\n")
    gc.freeze()  # models and shapes stay: no collection need look at them, which would hold up everybody
    gc.set_threshold(10_000, 10, 10)
    ready(config.endpoint)

    async def look() -> None:
        health.update(await machinery.probe())

    workers: dict[str, Callable[[], Awaitable[None]]] = {
        "loop": plane.loop.run, **plane.sweep.workers, "checkpoints": lambda: checkpoints(store, clock)}
    for controller in plane.controllers:
        workers |= controller.workers
    tasks = [asyncio.ensure_future(supervise(name, worker, clock)) for name, worker in workers.items()]
    tasks.append(asyncio.ensure_future(look()))
    await _until_told_to_stop()
    await server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await machinery.containers.close()
    await machinery.machines.close()
    if machinery.mail is not None:
        machinery.mail.close()
    store.close()
    files.close()
    directory.close()


async def _listen(server: Server, config: Config) -> None:
    try:
        await server.listen(config.host, config.port)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(f"cannot listen on {config.host} port {config.port}: {why}. "
                      "Choose another with --port (or CLOUDLET_PORT).") from error


async def _until_told_to_stop() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


async def tear_down(config: Config) -> list[str]:
    """Stops and removes every engine object of an installation whose control plane has stopped; what could not be
    removed. Records and data stay. Without root there were none. Raises Unusable where a control plane still runs."""
    directory = DataDirectory(config.data_dir)
    site = Site(directory.installation, config.data_dir, config.port, config.public_cidr)

    async def no_door(sock: socket.socket, network: str, kind: str) -> Close:
        raise Unavailable("the control plane is down")

    machinery = Machinery.of(site, no_door)
    problems = []
    everything = (("machines", machinery.machines.destroy_all), ("containers", machinery.containers.destroy_all),
                  ("volumes", machinery.storages.destroy_all), ("Podman", machinery.podman.destroy),
                  ("networks", machinery.networks.destroy_all))
    for what, destroy in everything if os.geteuid() == 0 else ():
        try:
            await destroy()
        except EngineError as error:
            problems.append(f"{what}: {error}")
    (config.data_dir / "endpoint").unlink(missing_ok=True)
    directory.close()
    return problems
