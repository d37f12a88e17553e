"""Instances on a store and on engines without a world, from an image that is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudlet.engines.fake import World
from cloudlet.engines.fake.machines import Box, Content
from cloudlet.engines.ports import Disk
from cloudlet.services.ec2.instances.checks import EVERY_S, Checks
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.storage.records import StockImage
from tests.services.desk import Desk
from tests.services.ec2.conftest import Region

IMAGE, LAYER, GIB = "ami-0123456789abcdef0", "cl-abcdef-snap-image", 1 << 30


class Fleet:
    """An account's instances, and what happens to their machines."""

    def __init__(self, region: Region) -> None:
        self.region, self.world, self.desk = region, region.world, region.desk
        self.shelve(IMAGE, LAYER)
        self.checks = Checks(self.desk.store, self.world.engines, self.desk.site.installation)

    def shelve(self, id: str, layer: str) -> None:
        """An image of the installation's own, taken in already."""
        with self.desk.store.tx() as tx:
            tx.put(StockImage(id, id.replace("ami", "snap"), f"debian-{id}", "for tests", "136693071363", "",
                              "/dev/xvda", "admin", tx.now, layer, kernel=True, size_gib=8), wake=False)
        self.world.disks.layers[layer] = Content(Disk(layer, 8 * GIB, GIB, True), "debian")

    def launch(self, count: int = 1, **given: Any) -> list[str]:
        """The ids of new instances, which nobody has powered on yet."""
        request = {"ImageId": IMAGE, "InstanceType": "t3.micro", "MinCount": count, "MaxCount": count, **given}
        return [i["InstanceId"] for i in self.region("RunInstances", **request)["Instances"]]

    def run(self, **given: Any) -> str:
        """An instance that runs."""
        id = self.launch(**given)[0]
        self.region.settle()
        assert self.state(id) == "running"
        return id

    def refuses(self, **given: Any) -> tuple[str, str]:
        """The error of a launch, which leaves nothing."""
        before = self.everything()
        error = self.region.fails("RunInstances", **{"ImageId": IMAGE, "InstanceType": "t3.micro", "MinCount": 1,
                                                     "MaxCount": 1, **given})
        assert self.everything() == before
        return error

    def everything(self) -> tuple[int, ...]:
        describe = self.region
        return (len(describe("DescribeInstances")["Reservations"]), len(describe("DescribeVolumes")["Volumes"]),
                len(describe("DescribeNetworkInterfaces")["NetworkInterfaces"]))

    def shown(self, id: str) -> dict[str, Any]:
        """As DescribeInstances shows it."""
        found: dict[str, Any] = self.region("DescribeInstances", InstanceIds=[id])["Reservations"][0]["Instances"][0]
        return found

    def state(self, id: str) -> str:
        name: str = self.shown(id)["State"]["Name"]
        return name

    def record(self, id: str) -> Instance:
        with self.desk.store.tx() as tx:
            return tx.find(Instance, id=id)[0]

    def record_key(self, id: str) -> str:
        return f"{self.region.account}/{self.region.name}/{id}"

    def box(self, id: str) -> Box | None:
        """Its machine in the fake world."""
        return self.world.machines.boxes.get(self.record(id).machine)

    def machine(self, id: str) -> Box:
        box = self.box(id)
        assert box is not None
        return box

    def says(self, id: str, text: str) -> None:
        """The guest writes to its console."""
        self.machine(id).console += text.encode()

    def end(self, id: str, why: Any = "guest") -> None:
        """The machine goes off, and its loop hears of it."""
        self.world.machines.end(self.record(id).machine, why)
        self.region.look_again("ec2.instance", self.record(id).key)

    def look(self, *ids: str) -> None:
        """The worker looks whether these answer, half a minute after it last did."""
        self.desk.clock.time += EVERY_S
        self.region.run(self.checks.look([self.record_key(id) for id in ids]))

    def later(self, seconds: float) -> None:
        self.desk.clock.time += seconds
        self.region.settle()

    def kept(self) -> set[str]:
        with self.desk.store.tx() as tx:
            return set(self.region.controller.keeps["machines"](tx))


@pytest.fixture
def fleet(region: Region) -> Fleet:
    return Fleet(region)


__all__ = ["Desk", "Fleet", "Iterator", "Path", "World"]
