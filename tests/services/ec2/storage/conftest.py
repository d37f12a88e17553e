"""EC2's storage on a store and on fake engines: a region with images on the shelf."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudlet.engines.ports import Card, LayerSource, Shelved
from cloudlet.kernel.names import derived_id
from cloudlet.services.ec2.storage.loops import Loops
from cloudlet.services.ec2.storage.records import Volume
from tests.services.desk import Desk
from tests.services.ec2.conftest import Region

GIB = 1 << 30
DEBIAN = "debian-12-amd64-20261125-1200"
AMI = derived_id("ami", DEBIAN)


def card(name: str = DEBIAN, **given: Any) -> Card:
    """What lies beside a built image."""
    defaults: dict[str, Any] = {
        "description": "Debian 12", "owner": "136693071363", "root_device": "/dev/xvda", "user": "admin",
        "disk": "disk.raw", "format": "raw", "size_gib": 8, "created": 1_699_999_000.0, "kernel": "kernel",
        "tags": {"recipe": "debian-12"}}
    return Card(name, **{**defaults, **given})


class Ground(Region):
    """A region, the shelf, and what is seen of volumes."""

    def shelve(self, given: Card, content: str = "debian", size_bytes: int = 8 * GIB) -> str:
        """Puts an image on the shelf; its id."""
        self.world.disks.files[f"/shelf/{given.name}"] = content
        self.world.disks.sizes[f"/shelf/{given.name}"] = size_bytes
        self.world.disks.shelf[given.name] = Shelved(
            given, LayerSource(f"/shelf/{given.name}", given.format, "kernel" if given.kernel else None))
        return derived_id("ami", given.name)

    def look(self) -> None:
        """What the worker does that watches the shelf."""
        self.run(Loops(self.desk.store, self.world.engines, self.desk.site).look())
        self.settle()

    def volume(self, **given: Any) -> str:
        """A new volume that is there."""
        given.setdefault("AvailabilityZone", f"{self.name}a")
        if "SnapshotId" not in given:
            given.setdefault("Size", 1)
        id: str = self("CreateVolume", **given)["VolumeId"]
        self.settle()
        return id

    def see(self, id: str) -> dict[str, Any]:
        """A volume as it is described."""
        (found,) = self("DescribeVolumes", VolumeIds=[id])["Volumes"]
        return dict(found)

    def record(self, id: str) -> Volume:
        """A volume's record."""
        with self.desk.store.tx() as tx:
            found = tx.get(Volume, f"{self.account}/{self.name}/{id}")
        assert found is not None
        return found

    def write(self, id: str, text: str) -> None:
        """What a guest writes to a volume."""
        self.world.disks.disks[self.record(id).disk].text = text

    def read(self, id: str) -> str:
        """What is on a volume."""
        return self.world.disks.disks[self.record(id).disk].text

    def snapshot(self, volume_id: str, **given: Any) -> str:
        """A snapshot that is complete."""
        id: str = self("CreateSnapshot", VolumeId=volume_id, **given)["SnapshotId"]
        self.settle()
        return id


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Ground]:
    """A region with one built image."""
    desk = Desk(tmp_path)
    ground = Ground(desk, run=asyncio.run)
    ground.shelve(card())
    ground.look()
    yield ground
    desk.store.close()
