"""EC2 on a store and on engines without a world."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudlet.control.loop import Loop
from cloudlet.engines.fake import World
from cloudlet.engines.ports import Engines
from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2 import controller, create_interface, ec2, find_interface, release_interface
from cloudlet.services.ec2.records import NetworkInterface
from cloudlet.store import queue
from tests.services.desk import Desk, root


class Region:
    """One account's EC2 in one region, its loops on fake engines, and what services do to it."""

    def __init__(self, desk: Desk, name: str = "us-east-1", account: str = "123456789012",
                 home: "Region | None" = None, engines: Engines | None = None,
                 run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run) -> None:
        self.desk, self.name, self.account, self.run = desk, name, account, run
        self.world = home.world if home else World(desk.clock)
        self.controller = (home.controller if home
                           else controller(desk.store, engines or self.world.engines, desk.site))

    def elsewhere(self, name: str = "us-east-1", account: str = "123456789012") -> "Region":
        """Another account or region of the same installation."""
        return Region(self.desk, name, account, self)

    def __call__(self, operation: str, **request: Any) -> Any:
        return self.desk(ec2, operation, root(self.account), self.name, **request)

    def fails(self, operation: str, **request: Any) -> tuple[str, str]:
        """The code and message of an operation that must fail with a client error."""
        with pytest.raises(AwsError) as caught:
            self(operation, **request)
        assert caught.value.status == 400
        return caught.value.code, caught.value.message

    # ── What is there from the start ─────────────────────────────────────────────────────────────────────────────────

    @property
    def vpc_id(self) -> str:
        """The default VPC."""
        vpc_id: str = self("DescribeVpcs", Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        return vpc_id

    @property
    def subnet_id(self) -> str:
        """A subnet of the default VPC."""
        subnets = self("DescribeSubnets", Filters=[{"Name": "vpc-id", "Values": [self.vpc_id]}])["Subnets"]
        subnet_id: str = min(subnets, key=lambda s: s["AvailabilityZone"])["SubnetId"]
        return subnet_id

    def vpc(self, cidr: str = "10.0.0.0/16") -> str:
        vpc_id: str = self("CreateVpc", CidrBlock=cidr)["Vpc"]["VpcId"]
        return vpc_id

    def subnet(self, vpc_id: str, cidr: str = "10.0.0.0/24") -> str:
        subnet_id: str = self("CreateSubnet", VpcId=vpc_id, CidrBlock=cidr)["Subnet"]["SubnetId"]
        return subnet_id

    def group(self, name: str = "web", vpc_id: str = "") -> str:
        given = {"VpcId": vpc_id} if vpc_id else {}
        group_id: str = self("CreateSecurityGroup", GroupName=name, Description="for tests", **given)["GroupId"]
        return group_id

    # ── What services do ─────────────────────────────────────────────────────────────────────────────────────────────

    def task(self, key: str = "t1", **given: Any) -> NetworkInterface:
        """An interface for a task, as ECS asks for one."""
        given.setdefault("subnet_id", self.subnet_id)
        given.setdefault("notify", ("ecs.task", key))
        with self.desk.store.tx() as tx:
            return create_interface(tx, self.desk.call(root(self.account), self.name), **given)

    def interface(self, id: str) -> NetworkInterface | None:
        with self.desk.store.tx() as tx:
            return find_interface(tx, id)

    def release(self, id: str) -> None:
        with self.desk.store.tx() as tx:
            release_interface(tx, id)

    # ── The loops ────────────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self, steps_max: int = 200) -> None:
        """Runs EC2's loops until nothing is due now."""
        loop = Loop(self.desk.store, self.desk.clock, self.controller.reconcilers)

        async def run() -> None:
            for _ in range(steps_max):
                due = [work for work in queue.waiting(self.desk.store, 1000)
                       if work.due <= self.desk.clock.now() and work.kind in self.controller.reconcilers]
                if not due:
                    return
                await loop._step(due[0])
            raise AssertionError("the loops do not come to rest")
        self.run(run())

    def look_again(self, kind: str, key: str) -> None:
        """What a sweep does."""
        with self.desk.store.tx() as tx:
            tx.enqueue(kind, key)
        self.settle()

    def told(self) -> list[str]:
        """Whom the loops woke since this was last asked."""
        with self.desk.store.tx() as tx:
            keys = [key for (key,) in tx.execute("select key from work where kind='ecs.task' order by key")]
            tx.execute("delete from work where kind='ecs.task'")
        return keys

    def fabric(self, vpc_id: str = "") -> Any:
        """The fabric of a VPC as it was last applied."""
        name = self.desk.site.installation.name("vpc", f"{self.account}/{self.name}/{vpc_id or self.vpc_id}")
        return self.world.networks.fabrics.get(name)


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    desk = Desk(tmp_path)
    yield Region(desk)
    desk.store.close()
