"""Compares what the tenant was promised, what EC2 tells of its instances, and what is there; and judges each commit."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.records import NetworkInterface
from cloudlet.services.ec2.storage.records import Snapshot, Volume
from cloudlet.store import queue
from cloudlet.store.db import Store, Tx
from tests.simulation.guests import GuestNature
from tests.simulation.plane import Plane
from tests.simulation.tenant import LAYER, Tenant

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
ALLOWED = {
    "pending": {"running", "stopped", "shutting-down", "terminated"},
    "running": {"stopping", "shutting-down"},
    "stopping": {"stopped", "shutting-down"},
    "stopped": {"pending", "shutting-down"},
    "shutting-down": {"terminated"},
    "terminated": set(),
}


class Witness:
    """Sees every write of an instance or a volume; `complaints` is the first sentence of each that must not be."""

    def __init__(self, nature: GuestNature) -> None:
        self.nature = nature
        self.complaints: list[str] = []
        self._before: dict[tuple[type, str], Any] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See `Watcher`."""
        put = Tx.put

        def watched(tx: Tx, rec: Any, *, wake: bool = True) -> None:
            if isinstance(rec, Instance | Volume):
                self._before.setdefault((type(rec), rec.key), tx.get(type(rec), rec.key))
            put(tx, rec, wake=wake)

        with patch.object(Tx, "put", watched):
            yield

    def begin(self) -> None:
        """Nothing was written yet."""
        self._before.clear()

    def committed(self, store: Store) -> None:
        """What was written since `begin` is now the truth."""
        before = dict(self._before)
        self.begin()
        if before:
            with Store.tx(store) as tx:
                for (cls, key), was in before.items():
                    now = tx.get(cls, key)
                    if was is not None and now is not None:
                        self._judge(was, now)

    def _judge(self, was: Any, now: Any) -> None:
        if isinstance(was, Instance):
            allowed = {was.state, *ALLOWED[was.state]}
            if self.nature.reboots or self.nature.forgotten:
                allowed.add("pending")  # where the host went down, or something came late, it is powered on again
            if was.state == "pending" and was.machine in self.nature.ended_alone:
                allowed.add("stopping")  # it ran, and had powered off before anybody looked
            if now.state not in allowed:
                self.complaints.append(f"{now.id} went from {was.state} to {now.state}")
        elif was.attachment and (now.attachment is None or now.attachment.instance_id != was.attachment.instance_id):
            holder = self.nature.machines.holder(was.disk)
            if holder is not None and holder not in self.nature.forgotten:
                self.complaints.append(f"{was.id} is told to be free, and {holder} has it")


class Surveyor:
    """`glance` may be asked at any moment, `check` when all should have settled. Both raise AssertionError."""

    def __init__(self, plane: Plane, nature: GuestNature, customer: Tenant) -> None:
        self.plane, self.nature, self.customer = plane, nature, customer
        self.met: Counter[str] = Counter()
        self.power_cut = False
        plane.watcher = Witness(nature)

    def _all(self, cls: type[Any]) -> list[Any]:
        with self.plane.store.look() as tx:
            return tx.find(cls)

    def glance(self) -> None:
        """What holds at every moment: nothing that was acknowledged is lost or undone, no disk is in two machines, and
        what a guest wrote stays as it wrote it."""
        assert not self.plane.watcher.complaints, self.plane.watcher.complaints[0]
        promises, instances = self.customer.promises, {i.id: i for i in self._all(Instance)}
        for id, wanted in promises.instances.items():
            found = instances.get(id)
            assert found is not None, f"RunInstances was answered, and {id} is gone"
            self.met[f"{found.state}"] = 1
            assert found.desired in wanted or self._had_to_end(found), (
                f"{id} is to be {found.desired} ({found.reason}), promised was {wanted}")
        held = Counter(disk for box in self.nature.machines.boxes.values() for disk in box.seen.drives)
        assert not held or max(held.values()) == 1, f"a disk is in two machines: {held}"
        for disk, text in self.nature.wrote.items():
            content = self.nature.disks.disks.get(disk)
            assert content is None or content.text == text, f"{disk} has {content.text}, written was {text}"
        volumes, snapshots = ({found.id for found in self._all(cls)} for cls in (Volume, Snapshot))
        assert promises.volumes <= volumes, f"volumes lost: {promises.volumes - volumes}"
        assert promises.snapshots.keys() <= snapshots, f"snapshots lost: {promises.snapshots.keys() - snapshots}"

    def _had_to_end(self, instance: Instance) -> bool:
        """Whether there was what ends an instance that nobody asked to end: it could not be started, or its machine
        ended alone."""
        if instance.desired == "running" or instance.reason is None:
            return False
        refused = any(what in ("power_on", "ensure_disk", "ensure_interface") for what, _ in self.nature.refused)
        return (instance.reason.code in ("Server.InternalError", "Client.InstanceInitiatedShutdown")
                and (refused or self.nature.was_full or self.power_cut or instance.machine in self.nature.ended_alone))

    def check(self) -> None:
        """Everything."""
        self.glance()
        broken = queue.broken(self.plane.store)
        assert not broken, f"given up: {broken}"
        failing = [work for work in queue.waiting(self.plane.store, 1000) if work.attempts]
        assert not failing, f"keeps failing: {failing[0]}"
        self.check_machines()
        self.check_disks()
        self.check_interfaces()

    def check_machines(self) -> None:
        """Every instance is as it is wanted, and there is no machine beside theirs."""
        boxes = self.nature.machines.boxes
        volumes, interfaces = self._all(Volume), self._all(NetworkInterface)
        running = set()
        for instance in self._all(Instance):
            parts = [(p.id, getattr(p, "state", ""), getattr(p, "ready", ""), p.attachment) for p in (
                *volumes, *interfaces) if p.attachment and p.attachment.instance_id == instance.id]
            assert instance.state == instance.desired, f"{instance.id} hangs in {instance.state} with {parts}"
            if instance.state != "running":
                continue
            running.add(instance.machine)
            assert instance.id not in self.customer.promises.ends, f"{instance.id} was powered off inside, and runs"
            box = boxes.get(instance.machine)
            assert box is not None and box.seen.state == "running", f"{instance.id} is told to run, and does not"
            drives = {v.disk for v in volumes if v.attachment and v.attachment.instance_id == instance.id
                      and not v.problem}
            assert drives == set(box.seen.drives), f"{instance.id} has {box.seen.drives}, and should have {drives}"
            cards = {i.fabric_name for i in interfaces if i.attachment and i.attachment.instance_id == instance.id}
            assert cards == set(box.seen.nics), f"{instance.id} has {box.seen.nics}, and should have {cards}"
        assert running == boxes.keys(), f"machines leaked or lost: {running ^ boxes.keys()}"

    def check_disks(self) -> None:
        """Volumes and snapshots are whole, with what was on them, and nothing else takes space."""
        volumes, snapshots, disks = self._all(Volume), self._all(Snapshot), self.nature.disks
        live = {i.id for i in self._all(Instance) if i.state != "terminated"}
        for volume in volumes:
            assert volume.state in ("available", "in-use") or (volume.state == "error" and self._may_fail()), (
                f"{volume.id} hangs in {volume.state}: {volume.problem}")
            if volume.attachment:
                assert volume.attachment.instance_id in live, f"{volume.id} is attached to what is gone"
                assert volume.problem or volume.attachment_state == "attached", (
                    f"{volume.id} hangs in {volume.attachment_state}")
        wanted = {volume.disk for volume in volumes if not volume.problem}
        there = {disk for disk in disks.disks if disk not in {v.disk for v in volumes if v.problem}}
        assert there == wanted, f"disks leaked or lost: {there ^ wanted}"
        for snapshot in snapshots:
            assert snapshot.state == "completed" or (snapshot.state == "error" and self._may_fail()), (
                f"{snapshot.id} hangs in {snapshot.state}: {snapshot.problem}")
            before = self.customer.promises.snapshots.get(snapshot.id)
            if snapshot.state == "completed" and before is not None:
                self.met["completed"] += 1
                text = disks.layers[snapshot.layer].text
                assert text.startswith(before), f"{snapshot.id} holds {text}, and there was {before}"
        layers = {LAYER, *(s.layer for s in snapshots if s.state == "completed")}
        failed = {s.layer for s in snapshots if s.state == "error"}
        there = set(disks.layers)
        assert layers <= there <= layers | failed, f"layers leaked or lost: {layers ^ there}"

    def _may_fail(self) -> bool:
        return bool(self.nature.was_full or self.nature.refused or self.power_cut)

    def check_interfaces(self) -> None:
        """What instances have is in the world, and nothing else."""
        networks, told = self.nature.networks, self._all(NetworkInterface)
        real = {interface.fabric_name for interface in told if interface.real}
        assert real == networks.interfaces.keys(), f"interfaces leaked or lost: {real ^ networks.interfaces.keys()}"
        live = {i.id for i in self._all(Instance) if i.state != "terminated"}
        lost = [i.id for i in told if i.attachment and i.attachment.instance_id not in live]
        assert not lost, f"interfaces of what is gone: {lost}"
        assert set(networks.networks) == {spec.network for spec in networks.interfaces.values()}, "networks leaked"
        with self.plane.store.look() as tx:
            taken = {row[0] for row in tx.execute("select key from record where kind='ec2.public-address'")}
        public = {interface.public_ip for interface in told if interface.public_ip}
        assert taken == public, f"public addresses leaked: {taken ^ public}"

    def check_images(self) -> None:
        """There are none of containers."""

    def check_nothing_kept(self) -> None:
        """Long after the last instance: no trace of them is left, and all that outlives them."""
        left = self._all(Instance)
        assert not left, f"still on record: {left[0].id}"
        assert not self.nature.machines.boxes, f"still there: {list(self.nature.machines.boxes)}"
        self.check_disks()
        self.check_interfaces()

    def check_nothing_left(self) -> None:
        """After a reset: no record of a customer's, and nothing in the world but the installation's own image."""
        with self.plane.store.look() as tx:
            left = tx.execute("select kind, key from record where kind not in ('ec2.site', 'ecr.signing_key',"
                              " 'ec2.stock-image', 'ec2.host-space')").fetchall()
            waiting = tx.execute("select kind, key, why from work where kind != 'ec2.stock-image'").fetchall()
        assert not left, f"a reset left {left[:3]}"
        assert not waiting, f"a reset left work: {waiting[:3]}"
        nature = self.nature
        there = [*nature.machines.boxes, *nature.disks.disks, *nature.networks.interfaces, *nature.networks.networks,
                 *(layer for layer in nature.disks.layers if layer != LAYER)]
        assert not there, f"a reset left {there[:3]}"
