"""The loops that make volumes and snapshots real, and take in the images that lie on the shelf.

`ec2.volume` makes, grows and removes a volume's disk and tells the instance that waits for it; `ec2.snapshot` seals a
disk into a layer; `ec2.image` waits for its snapshots; `ec2.stock-image` makes a layer of an image's files.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace

from cloudlet.control.controller import Controller
from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.control.rounds import every
from cloudlet.engines.ports import DiskSpec, Engines, Shelved
from cloudlet.kernel.errors import Conflict, Full, Refused
from cloudlet.kernel.names import derived_id
from cloudlet.kernel.site import Site
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.storage import plan
from cloudlet.services.ec2.storage.performance import GIB
from cloudlet.services.ec2.storage.records import HostSpace, Image, Snapshot, StockImage, Volume
from cloudlet.services.ec2.storage.sharing import any_snapshot_in
from cloudlet.services.ec2.storage.volumes import SPACE_KEY
from cloudlet.store.db import Store, Tx

log = logging.getLogger(__name__)

VOLUME, SNAPSHOT, IMAGE, STOCK, INSTANCE = ("ec2.volume", "ec2.snapshot", "ec2.image", "ec2.stock-image",
                                            "ec2.instance")
LOOK_S = 3.0  # between two looks at the shelf and at the space there is
WAIT_S, FULL_S = 1.0, 30.0
DEREGISTERED = "it was deregistered; remove it here too before it is imported again"
GONE = "The data of this snapshot is gone from the host's disk."


def controller(store: Store, engines: Engines, site: Site) -> Controller:
    """The loops of EC2's storage."""
    loops = Loops(store, engines, site)
    return Controller(
        {VOLUME: loops.volume, SNAPSHOT: loops.snapshot, IMAGE: loops.image, STOCK: loops.stock},
        keeps={"disks": loops.keeps}, wakes={"disks": loops.wakes},
        workers={"ec2.shelf": every(LOOK_S, loops.look, store.clock)})


class Loops:
    """The steps, over one store and the disks of one installation."""

    def __init__(self, store: Store, engines: Engines, site: Site) -> None:
        self.store, self.disks, self.installation = store, engines.disks, site.installation

    def keeps(self, tx: Tx) -> Iterable[str]:
        """The engine names of the disks and layers that records account for."""
        return [*(volume.disk for volume in tx.find(Volume)), *(snapshot.layer for snapshot in tx.find(Snapshot)),
                *(stock.layer for stock in tx.find(StockImage))]

    def wakes(self, tx: Tx, name: str) -> tuple[str, str] | None:
        """Whose loop is to look when something happened to the disk of that engine name."""
        for volume in tx.find(Volume, disk=name):
            return VOLUME, volume.key
        for snapshot in tx.find(Snapshot, layer=name):
            return SNAPSHOT, snapshot.key
        return None

    # ── ec2.volume ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def volume(self, key: str) -> Outcome:
        """One volume: its disk is there, as large as wanted, or gone, where it was deleted."""
        with self.store.tx() as tx:
            seen = tx.get(Volume, key)
            sealing = seen is not None and tx.count(Snapshot, pending=seen.disk) > 0
            now = tx.now
        if seen is None:
            await self.disks.destroy(self.installation.name("vol", key))
            return Done()
        match plan.next_move(seen, await self.disks.observe(seen.disk), sealing, now):
            case plan.Ensure(size_bytes):
                return await self._ensure(seen, size_bytes, now)
            case plan.Note(volume):
                return self._note(seen, volume)
            case plan.Wait(why):
                return Again(WAIT_S, why)
            case plan.Destroy():
                await self.disks.destroy(seen.disk)
                with self.store.tx() as tx:
                    if tx.get(Volume, key) != seen:
                        return Again()
                    tx.delete(Volume, key)
                return Done()

    async def _ensure(self, seen: Volume, size_bytes: int, now: float) -> Outcome:
        try:
            await self.disks.ensure(DiskSpec(seen.disk, size_bytes, seen.base))
        except Refused as refused:
            if isinstance(refused, Full):
                self._note_space(full=True)
            return self._note(seen, plan.failed(seen, str(refused), now))
        except Conflict as conflict:
            if seen.base is None or await self.disks.observe(seen.base) is not None:
                raise
            return self._note(seen, plan.failed(seen, str(conflict), now))
        return self._note(seen, plan.observed(seen, now))

    def _note(self, seen: Volume, volume: Volume) -> Outcome:
        """Records what was seen, and tells the instance that may wait for it."""
        with self.store.tx() as tx:
            if not tx.swap(seen, volume):
                return Again()
            if volume.attachment and volume != seen:
                tx.enqueue(INSTANCE, f"{volume.account}/{volume.region}/{volume.attachment.instance_id}")
        return Done()

    # ── ec2.snapshot ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def snapshot(self, key: str) -> Outcome:
        """One snapshot: its layer is there, or gone, where it was deleted and nothing needs it."""
        with self.store.tx() as tx:
            seen = tx.get(Snapshot, key)
            layer = seen.layer if seen else self.installation.name("snap", key)
            shared = any(s.key != key and not s.releasing for s in tx.find(Snapshot, layer=layer)) or bool(
                tx.count(StockImage, layer=layer))
            needed = tx.count(Volume, base=layer) > 0
            instance = tx.get(Instance, seen.after) if seen and seen.after else None
        if seen is None or seen.releasing:
            if needed and not shared:
                return Again(WAIT_S, "a volume is being made of the snapshot")
            if not shared:
                await self.disks.destroy(layer)
            with self.store.tx() as tx:
                if tx.get(Snapshot, key) is not None:
                    tx.delete(Snapshot, key)
            return Done()
        if seen.state == "completed" and await self.disks.observe(layer) is None:
            with self.store.tx() as tx:
                return Done() if tx.swap(seen, replace(seen, state="error", problem=GONE)) else Again()
        if seen.state != "pending":
            return Done()
        if instance is not None and instance.rebooting_at is not None:
            return Again(WAIT_S, "the instance is being shut down")
        return await self._seal(seen)

    async def _seal(self, seen: Snapshot) -> Outcome:
        problem = ""
        try:
            if seen.disk:
                await self.disks.seal(seen.disk, seen.layer)
            elif await self.disks.observe(seen.layer) is None:
                problem = "The data of the snapshot that it is a copy of is gone."
        except Refused as refused:
            if isinstance(refused, Full):
                self._note_space(full=True)
            problem = str(refused)
        except Conflict as conflict:
            if await self.disks.observe(seen.disk) is not None:
                raise
            problem = str(conflict)
        with self.store.tx() as tx:
            done = replace(seen, state="error" if problem else "completed", problem=problem, completed=tx.now)
            if not tx.swap(seen, done):
                return Again()
            for image in tx.find(Image, snapshot=seen.id):
                tx.enqueue(IMAGE, image.key)
            if seen.after:
                tx.enqueue(INSTANCE, seen.after)
        return Done()

    # ── ec2.image ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def image(self, key: str) -> Outcome:
        """One image: available once all its snapshots are completed."""
        with self.store.tx() as tx:
            seen = tx.get(Image, key)
            if seen is None or seen.state != "pending":
                return Done()
            found = [any_snapshot_in(tx, seen.region, m.snapshot_id) for m in seen.mappings if m.snapshot_id]
            problem = next((s.problem if s else "A snapshot of the image is gone." for s in found
                            if s is None or s.state == "error"), "")
            if problem:
                tx.put(replace(seen, state="failed", problem=problem), wake=False)
            elif all(s is not None and s.state == "completed" for s in found):
                tx.put(replace(seen, state="available"), wake=False)
        return Done()

    # ── The installation's images ────────────────────────────────────────────────────────────────────────────────────

    async def look(self) -> None:
        """Makes an image's record when it is put on the shelf, and asks its loop while it has something to do there;
        notes whether there is space for disks."""
        place = await self.disks.survey()
        self._note_space(full=place.free_bytes <= 0)
        with self.store.tx() as tx:
            for shelved in place.shelf:
                card, id = shelved.card, derived_id("ami", shelved.card.name)
                stock = tx.get(StockImage, id)
                if stock is None and not shelved.removed:
                    stock = StockImage(id, derived_id("snap", card.name), card.name, card.description, card.owner,
                                       card.alias, card.root_device, card.user, card.created,
                                       self.installation.name("snap", id), tags=dict(card.tags))
                    tx.put(stock)
                elif stock is not None and shelved.removed and not stock.withdrawn:
                    tx.put(replace(stock, withdrawn=True))
                elif shelved.source is not None or shelved.removed:
                    tx.enqueue(STOCK, id)

    def _note_space(self, *, full: bool) -> None:
        with self.store.tx() as tx:
            known = tx.get(HostSpace, SPACE_KEY)
            if full != (known is not None and known.full):
                log.warning("the disk that holds the volumes %s", "is full" if full else "has space again")
                tx.put(HostSpace(SPACE_KEY, full))

    async def stock(self, key: str) -> Outcome:
        """One image of the installation: taken in from the shelf, or forgotten, where it was removed from there."""
        with self.store.tx() as tx:
            seen = tx.get(StockImage, key)
            needed = seen is not None and tx.count(Volume, base=seen.layer) > 0
        shelf = {derived_id("ami", s.card.name): s for s in (await self.disks.survey()).shelf}
        shelved = shelf.get(key)
        if seen is None or seen.withdrawn:
            if needed:
                return Again(WAIT_S, "a volume is being made of the image")
            await self.disks.destroy(seen.layer if seen else self.installation.name("snap", key))
            if shelved is not None:
                await self.disks.unshelve(shelved.card.name, "" if shelved.removed else DEREGISTERED)
            if seen is not None and shelved is not None and not shelved.removed:
                return Done()  # the record goes after its card, or the image would be taken for a new one
            with self.store.tx() as tx:
                if tx.get(StockImage, key) is not None:
                    tx.delete(StockImage, key)
            return Done()
        if seen.size_gib is None:
            return await self._take_in(seen, shelved)
        if shelved is not None and shelved.source is not None:
            await self.disks.unshelve(shelved.card.name)
        return Done()

    async def _take_in(self, seen: StockImage, shelved: Shelved | None) -> Outcome:
        """Makes the layer of an image's files; those are removed after it, and the record says so before."""
        found, problem = await self.disks.observe(seen.layer), ""
        source = shelved.source if shelved else None
        try:
            if found is None and source is not None:
                found = await self.disks.receive(seen.layer, source)
            elif found is None:
                problem = seen.problem or "The files of the image are gone from the shelf."
        except Full as full:
            self._note_space(full=True)
            return Again(FULL_S, str(full))
        except Refused as refused:
            problem = str(refused)
        with self.store.tx() as tx:
            size_gib = -(-found.size_bytes // GIB) if found else None
            if not tx.swap(seen, replace(seen, size_gib=size_gib, kernel=bool(found and found.kernel),
                                         problem=problem)):
                return Again()
        if source is not None:
            await self.disks.unshelve(seen.name, problem)
        return Done()
