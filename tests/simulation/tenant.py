"""The customer of instances: what it asks at random, and what it was promised."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cloudlet.engines.fake.machines import Content
from cloudlet.engines.ports import Disk
from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Service
from cloudlet.services import ec2
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.storage.records import StockImage, Volume
from tests.simulation.customer import ACCOUNT, ROOT
from tests.simulation.guests import GuestNature
from tests.simulation.plane import Died, Plane

IMAGE, LAYER, GIB = "ami-0123456789abcdef0", "cl-51b1a7-snap-image", 1 << 30
MANY = 5  # instances, volumes … at a time: enough to meet each other


@dataclass
class Estate:
    """What was promised. `instances`: what each may be wanted to be (several where an answer was lost); `ends`: those
    whose guest powered off, which are not to run unless they are told to; `volumes`, `snapshots`: those that there are,
    with what was on the disk at that moment."""

    instances: dict[str, set[str]] = field(default_factory=dict)
    ends: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    snapshots: dict[str, str] = field(default_factory=dict)

    def copy(self) -> "Estate":
        """As it stands now."""
        return Estate({id: set(wanted) for id, wanted in self.instances.items()}, set(self.ends),
                      set(self.volumes), dict(self.snapshots))


class Tenant:
    """Asks the control plane through EC2's operations."""

    def __init__(self, plane: Plane, seed: int) -> None:
        self.plane, self.random = plane, random.Random(f"tenant {seed}")
        self.promises = Estate()
        self.nature: GuestNature
        self.subnet = ""
        self.moves: list[Callable[[], str]] = [
            self.run, self.run, self.stop, self.stop, self.start, self.start, self.reboot, self.terminate,
            self.attach_volume, self.attach_volume, self.detach_volume, self.detach_volume, self.create_volume,
            self.delete_volume, self.snapshot, self.snapshot, self.snapshots, self.delete_snapshot,
            self.attach_interface, self.detach_interface]

    def meet(self, nature: GuestNature) -> None:
        """The world in which its instances are."""
        self.nature = nature
        nature.befell = self.befell

    def ask(self, service: Service, operation: str, /, **request: Any) -> Any:
        """One operation. Raises AwsError, or Died where the process died in it."""
        call = Call("request", ACCOUNT, "us-east-1", ROOT, self.plane.clock.now(), "http://localhost:4599")
        with self.plane.store.tx() as tx:
            return service.operations[operation].run(call, tx, request)

    def ec2(self, operation: str, /, **request: Any) -> Any:
        """One of EC2's."""
        return self.ask(ec2.ec2, operation, **request)

    def settle_in(self) -> None:
        """An image that was taken in."""
        self.subnet = self.ec2("DescribeSubnets")["Subnets"][0]["SubnetId"]
        with self.plane.store.tx() as tx:
            tx.put(StockImage(IMAGE, IMAGE.replace("ami", "snap"), "debian-12", "for the simulation", "136693071363",
                              "", "/dev/xvda", "admin", tx.now, LAYER, kernel=True, size_gib=8), wake=False)
        self.nature.disks.layers[LAYER] = Content(Disk(LAYER, 8 * GIB, GIB, True), "debian;")

    def move(self) -> str:
        """Does one thing at random; what, in words."""
        return self.random.choice(self.moves)()

    def repair(self) -> None:
        """Nothing that it broke."""

    def leave(self) -> None:
        """Terminates every instance."""
        for id in self._instances():
            self.ec2("TerminateInstances", InstanceIds=[id])
            self.promises.instances[id] = {"terminated"}

    # ── Instances ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _instances(self, *states: str) -> list[str]:
        """Those that are there, in those states."""
        found = [i for r in self.ec2("DescribeInstances")["Reservations"] for i in r["Instances"]]
        return sorted(i["InstanceId"] for i in found if i["State"]["Name"] != "terminated"
                      and (not states or i["State"]["Name"] in states))

    def run(self) -> str:
        """RunInstances: some with a second volume, some of which outlive it."""
        if len(self._instances()) >= MANY:
            return self.terminate()
        more = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": self.random.random() < 0.5}}
        answer = self.ec2("RunInstances", ImageId=IMAGE, InstanceType="t2.nano", SubnetId=self.subnet, MinCount=1,
                          MaxCount=self.random.randint(1, 2), BlockDeviceMappings=[more] * self.random.randint(0, 1),
                          InstanceInitiatedShutdownBehavior=self.random.choice(("stop", "stop", "terminate")))
        ids = [instance["InstanceId"] for instance in answer["Instances"]]
        self.promises.instances |= {id: {"running"} for id in ids}
        return f"RunInstances {' '.join(ids)}"

    def _tell(self, operation: str, desired: str, ids: list[str], **request: Any) -> str:
        """Tells one of these what it is to be."""
        if not ids:
            return self.run()
        id = self.random.choice(ids)
        if desired == "running":
            self.promises.ends.discard(id)
        try:
            self.ec2(operation, InstanceIds=[id], **request)
        except Died:
            self.promises.instances.setdefault(id, {"running"}).add(desired)
            raise
        self.promises.instances[id] = {desired}
        return f"{operation} {id}"

    def start(self) -> str:
        """StartInstances."""
        return self._tell("StartInstances", "running", self._instances("stopped"))

    def stop(self) -> str:
        """StopInstances, at times by force."""
        ids = self._instances("running", "stopping")
        return self._tell("StopInstances", "stopped", ids, Force=self.random.random() < 0.2)

    def reboot(self) -> str:
        """RebootInstances."""
        return self._tell("RebootInstances", "running", self._instances("running"))

    def terminate(self) -> str:
        """TerminateInstances, sometimes."""
        if self.random.random() < 0.4:
            return self.stop()
        return self._tell("TerminateInstances", "terminated", self._instances())

    def befell(self, machine: str, why: str) -> None:
        """A machine has ended by itself: its instance is not to run any more, unless it was told otherwise."""
        if self.plane.store.dead or why != "guest":
            return
        with self.plane.store.look() as tx:
            self.promises.ends |= {instance.id for instance in tx.find(Instance, machine=machine)
                                   if instance.desired == "running" and instance.rebooting_at is None}

    # ── Volumes and snapshots ────────────────────────────────────────────────────────────────────────────────────────

    def _volumes(self, *states: str) -> list[dict[str, Any]]:
        return [v for v in self.ec2("DescribeVolumes")["Volumes"] if v["State"] in states]

    def create_volume(self) -> str:
        """CreateVolume, empty or of a snapshot."""
        if len(self.promises.volumes) >= MANY:
            return self.delete_volume()
        done = [s["SnapshotId"] for s in self.ec2("DescribeSnapshots", OwnerIds=["self"])["Snapshots"]
                if s["State"] == "completed"]
        of = {"SnapshotId": self.random.choice(done)} if done and self.random.random() < 0.7 else {"Size": 1}
        zone = self.ec2("DescribeSubnets", SubnetIds=[self.subnet])["Subnets"][0]["AvailabilityZone"]
        id = self.ec2("CreateVolume", AvailabilityZone=zone, **of)["VolumeId"]
        self.promises.volumes.add(id)
        return f"CreateVolume {id}"

    def delete_volume(self) -> str:
        """DeleteVolume."""
        free = self._volumes("available", "error")
        if not free:
            return self.create_volume()
        id = self.random.choice(free)["VolumeId"]
        self.promises.volumes.discard(id)  # whether it is answered or not
        self.ec2("DeleteVolume", VolumeId=id)
        return f"DeleteVolume {id}"

    def attach_volume(self) -> str:
        """AttachVolume, to an instance that runs or stands."""
        free, ids = self._volumes("available"), self._instances("running", "stopped")
        if not free or not ids:
            return self.create_volume()
        volume, id = self.random.choice(free)["VolumeId"], self.random.choice(ids)
        self.ec2("AttachVolume", VolumeId=volume, InstanceId=id, Device=f"/dev/sd{self.random.choice('fghi')}")
        return f"AttachVolume {volume} {id}"

    def detach_volume(self) -> str:
        """DetachVolume: a root volume too, where its instance stands."""
        used = self._volumes("in-use")
        if not used:
            return self.attach_volume()
        id = self.random.choice(used)["VolumeId"]
        self.ec2("DetachVolume", VolumeId=id)
        return f"DetachVolume {id}"

    def _content(self, volume: str) -> str:
        """What is on a volume now: nothing, as long as it has no disk."""
        with self.plane.store.look() as tx:
            found = tx.get(Volume, f"{ACCOUNT}/us-east-1/{volume}")
        content = self.nature.disks.disks.get(found.disk) if found else None
        return content.text if content else ""

    def snapshot(self) -> str:
        """CreateSnapshot."""
        there = self._volumes("available", "in-use")
        if not there or len(self.promises.snapshots) >= 2 * MANY:
            return self.delete_snapshot()
        volume = self.random.choice(there)["VolumeId"]
        before = self._content(volume)
        id = self.ec2("CreateSnapshot", VolumeId=volume)["SnapshotId"]
        self.promises.snapshots[id] = before
        return f"CreateSnapshot {id} of {volume}"

    def snapshots(self) -> str:
        """CreateSnapshots: of all that an instance has, at one moment."""
        ids = self._instances("running", "stopped")
        if not ids or len(self.promises.snapshots) >= 2 * MANY:
            return self.delete_snapshot()
        id = self.random.choice(ids)
        used = {v["VolumeId"]: self._content(v["VolumeId"]) for v in self._volumes("in-use")}
        answer = self.ec2("CreateSnapshots", InstanceSpecification={"InstanceId": id})["Snapshots"]
        self.promises.snapshots |= {s["SnapshotId"]: used.get(s["VolumeId"], "") for s in answer}
        return f"CreateSnapshots {id}: {' '.join(s['SnapshotId'] for s in answer)}"

    def delete_snapshot(self) -> str:
        """DeleteSnapshot."""
        if not self.promises.snapshots:
            return self.run()
        id = self.random.choice(sorted(self.promises.snapshots))
        del self.promises.snapshots[id]  # whether it is answered or not
        self.ec2("DeleteSnapshot", SnapshotId=id)
        return f"DeleteSnapshot {id}"

    # ── Interfaces ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _interfaces(self, status: str) -> list[dict[str, Any]]:
        return [i for i in self.ec2("DescribeNetworkInterfaces")["NetworkInterfaces"] if i["Status"] == status]

    def attach_interface(self) -> str:
        """AttachNetworkInterface, of one that is made for it where none is free."""
        free, ids = self._interfaces("available"), self._instances("running", "stopped")
        if not ids:
            return self.run()
        interface = free[0]["NetworkInterfaceId"] if free else self.ec2(
            "CreateNetworkInterface", SubnetId=self.subnet)["NetworkInterface"]["NetworkInterfaceId"]
        id = self.random.choice(ids)
        self.ec2("AttachNetworkInterface", NetworkInterfaceId=interface, InstanceId=id, DeviceIndex=1)
        return f"AttachNetworkInterface {interface} {id}"

    def detach_interface(self) -> str:
        """DetachNetworkInterface, at times by force."""
        second = [i["Attachment"] for i in self._interfaces("in-use") if i["Attachment"]["DeviceIndex"]]
        if not second:
            return self.attach_interface()
        id = self.random.choice(second)["AttachmentId"]
        self.ec2("DetachNetworkInterface", AttachmentId=id, Force=self.random.random() < 0.3)
        return f"DetachNetworkInterface {id}"
