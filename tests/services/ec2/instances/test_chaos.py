"""Customers and a world that fails at random: in the end everything is as wanted, and nothing ran twice."""

import random
from dataclasses import replace

import pytest

from cloudlet.engines.fake import Faults
from cloudlet.kernel.errors import AwsError
from tests.services.ec2.instances.conftest import Fleet

WANTED = {"running": "running", "stopped": "stopped", "terminated": "terminated"}


def happen(fleet: Fleet, chance: random.Random, ids: list[str]) -> None:
    """One thing that somebody does, or that befalls a machine."""
    what = chance.choice(["start", "stop", "force", "terminate", "reboot", "guest", "lost", "host"])
    id = chance.choice(ids)
    record = fleet.record(id)
    try:
        match what:
            case "start":
                fleet.region("StartInstances", InstanceIds=[id])
            case "stop" | "force":
                fleet.region("StopInstances", InstanceIds=[id], Force=what == "force")
            case "terminate" if chance.random() < 0.3:
                fleet.region("TerminateInstances", InstanceIds=[id])
            case "reboot":
                fleet.region("RebootInstances", InstanceIds=[id])
            case "guest" | "lost":
                fleet.world.machines.end(record.machine, "guest" if what == "guest" else "lost")
            case "host" if chance.random() < 0.3:
                fleet.world.reboot()
    except AwsError as error:
        if error.code != "IncorrectInstanceState":
            raise


@pytest.mark.parametrize("seed", range(12))
def test_whatever_goes_wrong(fleet: Fleet, seed: int) -> None:
    chance = random.Random(seed)
    fleet.world.random.seed(seed)
    ids = fleet.launch(3)
    fleet.world.faults = Faults(busy=0.2, lost=0.3)
    for _ in range(40):
        happen(fleet, chance, ids)
        if chance.random() < 0.3:
            with fleet.desk.store.tx() as tx:
                tx.enqueue_all()
        fleet.later(chance.choice([0, 1, 5, 70]))
        holders = [disk for box in fleet.world.machines.boxes.values() for disk in box.seen.drives]
        assert len(holders) == len(set(holders)), "a disk is in one machine"
    fleet.world.faults = replace(fleet.world.faults, busy=0.0, lost=0.0)
    for _ in range(3):  # the sweep looks at everything
        with fleet.desk.store.tx() as tx:
            tx.enqueue_all()
        fleet.later(120)
    for id in ids:
        record = fleet.record(id)
        assert fleet.state(id) == WANTED[record.desired], (id, record)
        box = fleet.box(id)
        assert (box is not None and box.seen.state == "running") == (record.desired == "running")
    machines = {box.spec.name for box in fleet.world.machines.boxes.values()}
    assert machines <= fleet.kept(), "a record accounts for whatever runs"
    volumes = fleet.region("DescribeVolumes")["Volumes"]
    assert len(volumes) == sum(fleet.record(id).desired != "terminated" for id in ids) == len(fleet.world.disks.disks)
