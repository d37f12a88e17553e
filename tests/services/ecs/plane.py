"""A control plane of EC2 and ECS over fake engines, in virtual time: what the tests of the loops share."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from cloudlet.control.loop import Loop
from cloudlet.engines.fake import World
from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.services import ec2, ecs, iam, logs
from cloudlet.store.db import Store
from tests.simulation import virtual

ACCOUNT = "123456789012"
ROOT = Principal("root", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
IMAGE = "docker.io/library/busybox:1"


def virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs an async test in virtual time."""
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        virtual.run(test(*args, **kwargs))
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return run


def assert_fits(shape: Shape, value: Any, where: str) -> None:
    """Fails where an answer has a member that its shape does not know, or a value of another type."""
    if isinstance(shape, StructureShape):
        assert isinstance(value, dict), where
        for name, member in value.items():
            assert name in shape.members, f"{where}.{name} is not in the model"
            assert_fits(shape.members[name], member, f"{where}.{name}")
    elif isinstance(shape, ListShape):
        for member in value:
            assert_fits(shape.member, member, where)
    elif isinstance(shape, MapShape):
        for member in value.values():
            assert_fits(shape.value, member, where)
    else:
        kinds = {"string": str, "boolean": bool, "integer": int, "long": int, "timestamp": float, "double": float}
        if shape.type_name in kinds:
            assert isinstance(value, kinds[shape.type_name]), f"{where} is {value!r}"


class Plane(AbstractAsyncContextManager["Plane"]):
    """`async with Plane(tmp_path) as plane:` and then operations, time, and hands in the fake world."""

    def __init__(self, directory: Path, seed: int = 0) -> None:
        self.directory, self.clock = directory, virtual.VirtualClock(seed)
        self.world = World(self.clock, seed)
        self.site = Site(Installation("abcdef"), directory, port=4599)
        self._running: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> "Plane":
        self.start()
        return self

    async def __aexit__(self, *args: object) -> None:
        await self.crash()

    def start(self) -> None:
        """The control plane, on whatever file and world there is."""
        self.store = Store(str(self.directory / "cloudlet.db"), self.clock)
        self.store.create_tables(logs.TABLES)
        self.controllers = (ec2.controller(self.store, self.world.engines, self.site),
                            ecs.controller(self.store, self.world.engines, self.site))
        self.metadata = ecs.metadata(self.store, self.world.engines, self.site, self.clock,
                                     iam.identities(self.site))
        loop = Loop(self.store, self.clock, {kind: step for controller in self.controllers
                                             for kind, step in controller.reconcilers.items()})
        with self.store.tx() as tx:
            for kind in (ecs.tasks.Task, ecs.services.Service, ec2.NetworkInterface):
                for record in tx.find(kind):
                    tx.enqueue(kind.KIND, record.key)
        self.loop = loop
        self._running = [asyncio.ensure_future(loop.run()), asyncio.ensure_future(self._hear())]
        self._running += [asyncio.ensure_future(worker()) for controller in self.controllers
                          for worker in controller.workers.values()]

    async def crash(self) -> None:
        """kill -9: every coroutine ends where it stands; the file and the world stay."""
        doomed = [*self._running, *self.loop.busy.values()]
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
        self.store.close()
        self.world.crash()

    async def _hear(self) -> None:
        wake = self.controllers[1].wakes["containers"]
        async for name in self.world.containers.events():
            with self.store.tx() as tx:
                found = wake(tx, name)
                if found:
                    tx.enqueue(*found)

    def call(self) -> Call:
        return Call("request", ACCOUNT, "us-east-1", ROOT, self.clock.now(), "http://localhost:4599")

    def ask(self, operation: str, **request: Any) -> Any:
        """One operation of ECS, or of EC2 where ECS has none of that name."""
        service = ecs.ecs if operation in ecs.ecs.operations else ec2.ec2
        declared = service.operations[operation]
        with self.store.tx() as tx:
            answer = declared.run(self.call(), tx, request)
        if declared.model.output_shape is not None:
            assert_fits(declared.model.output_shape, answer, operation)
        return answer

    def subnets(self) -> list[str]:
        return [subnet["SubnetId"] for subnet in self.ask("DescribeSubnets")["Subnets"]]

    def network(self, **more: Any) -> dict[str, Any]:
        return {"awsvpcConfiguration": {"subnets": self.subnets()[:2], **more}}

    def register(self, family: str = "web", containers: list[dict[str, Any]] | None = None, **more: Any) -> str:
        """Registers a definition of one container (or those given); its ARN."""
        given = [{"name": "web", "image": IMAGE, **container} for container in containers or [{}]]
        answer = self.ask("RegisterTaskDefinition", **{
            "family": family, "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256",
            "memory": "512", "containerDefinitions": given, **more})
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def run(self, definition: str = "web", **more: Any) -> list[str]:
        """RunTask on Fargate; the ARNs."""
        answer = self.ask("RunTask", **{"taskDefinition": definition, "launchType": "FARGATE",
                                        "networkConfiguration": self.network(), **more})
        assert not answer["failures"]
        return [task["taskArn"] for task in answer["tasks"]]

    def task(self, arn: str) -> dict[str, Any]:
        answer = self.ask("DescribeTasks", tasks=[arn])
        assert len(answer["tasks"]) == 1, answer
        found: dict[str, Any] = answer["tasks"][0]
        return found

    def token(self, arn: str, position: int = 0) -> str:
        """The secret path of one container of a task."""
        with self.store.tx() as tx:
            (found,) = [task for task in tx.find(ecs.tasks.Task) if task.arn == arn]
        return found.containers[position].token

    def service(self, name: str = "web") -> dict[str, Any]:
        found: dict[str, Any] = self.ask("DescribeServices", services=[name])["services"][0]
        return found

    def tasks(self, **more: Any) -> list[str]:
        return list(self.ask("ListTasks", **more)["taskArns"])

    async def until(self, true: Callable[[], Any], within_s: float = 60.0) -> Any:
        """Lets virtual time pass until it holds; fails where it does not within so many seconds."""
        deadline = self.clock.now() + within_s
        while not (found := true()):
            assert self.clock.now() < deadline, f"not within {within_s:g} virtual seconds"
            await self.clock.sleep(0.05)
        return found

    async def becomes(self, arn: str, status: str, within_s: float = 60.0) -> dict[str, Any]:
        """The task once it has that status."""
        await self.until(lambda: self.task(arn)["lastStatus"] == status, within_s)
        return self.task(arn)

    async def steady(self, name: str = "web", within_s: float = 60.0) -> dict[str, Any]:
        """The service once botocore's waiter services_stable would be content."""
        def stable() -> bool:
            service = self.service(name)
            return len(service["deployments"]) == 1 and service["runningCount"] == service["desiredCount"]
        await self.until(stable, within_s)
        return self.service(name)

    async def completed(self, name: str = "web", within_s: float = 60.0) -> dict[str, Any]:
        """The service once its only deployment has completed."""
        await self.until(lambda: [one["rolloutState"] for one in self.service(name)["deployments"]] == ["COMPLETED"],
                         within_s)
        return self.service(name)


def create(plane: Plane, count: int = 2, **more: Any) -> dict[str, Any]:
    """The service "web" of the definition "web"."""
    made: dict[str, Any] = plane.ask("CreateService", **{
        "serviceName": "web", "taskDefinition": "web", "desiredCount": count, "launchType": "FARGATE",
        "networkConfiguration": plane.network(), **more})["service"]
    return made


def said(plane: Plane) -> list[str]:
    """What the scheduler said of the service "web", the newest first."""
    return [event["message"] for event in plane.service()["events"]]
