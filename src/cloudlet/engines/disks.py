"""Disks and layers as qcow2 files: the `Disks` port on qemu-img, and on QEMU itself where a machine runs.

A disk is one file on top of a chain of layers. Sealing a disk gives its file the layer's name as well and puts a new,
empty file on top of it, so a snapshot copies nothing, and holds only what changed since the one before. Files refer to
each other by relative names: the data directory may be moved.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from cloudlet.engines import process, qcow2
from cloudlet.engines.ports import Disk, DiskSpec, LayerSource, Place
from cloudlet.engines.shelf import Shelf
from cloudlet.kernel.errors import Busy, Conflict, Full, Refused
from cloudlet.kernel.site import Site

QUICK_S, COPY_S = 60.0, 3600.0
RESERVE_BYTES = 1 << 30  # of the host's disk, left for what runs: nothing new is begun below it
GO_ON_BYTES = 64 << 20  # a machine that stands still for want of space goes on with this much
SIZE_BYTES_MAX = 64 << 40
DEPTH_MAX = 200  # layers below a disk
_SECTOR = 512


class Holder(Protocol):
    """A machine that has a disk and runs: it must be told what happens to the file."""

    async def resize(self, disk: str, size_bytes: int) -> None:
        """The disk has grown."""
        ...

    async def overlay(self, disk: str, path: Path) -> None:
        """Writes to that new file, on top of what the disk was, from now on; done already is fine."""
        ...


FindHolder = Callable[[str], Awaitable[Holder | None]]


async def nobody(disk: str) -> Holder | None:
    """Where there are no machines."""
    return None


class QcowDisks:
    """The disks and layers of one installation. `holder` finds the machine that has a disk."""

    def __init__(self, site: Site, holder: FindHolder = nobody) -> None:
        self.directory = site.data_dir / "disks"
        self._volumes, self._layers = self.directory / "volumes", self.directory / "layers"
        self._shelf = Shelf(site.data_dir / "images")
        self.holder = holder
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # ── Disks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def ensure(self, spec: DiskSpec) -> Disk:
        """See `ports.Disks`. Raises Refused where the host's disk has no space for a new one."""
        async with self._lock(spec.name):
            await self._settle(spec.name)
            path = self.volume(spec.name)
            found = qcow2.header(path)
            if found is None:
                await self._create(spec, path)
            elif found.size_bytes < spec.size_bytes:
                await self._grow(spec, path)
        return self._seen(spec.name, path)

    async def _create(self, spec: DiskSpec, path: Path) -> None:
        base = self._base(spec.base) if spec.base else None
        size = max(spec.size_bytes, base.size_bytes if base else 0)
        self._require_space()
        await self._blank(path.with_suffix(".new"), spec.base, size)
        if spec.base:
            self._base(spec.base)  # it may have been destroyed meanwhile; from now on it is needed
        os.replace(path.with_suffix(".new"), path)
        await _sync(path.parent)

    def _base(self, layer: str) -> qcow2.Header:
        found = qcow2.header(self.layer(layer)) if not self._is_gone(layer) else None
        if found is None:
            raise Conflict(f"the layer {layer} does not exist")
        return found

    async def _grow(self, spec: DiskSpec, path: Path) -> None:
        holder = await self.holder(spec.name)
        if holder is not None:
            await holder.resize(spec.name, spec.size_bytes)
        else:
            await _qemu_img("resize", "-q", "-f", "qcow2", str(path), str(spec.size_bytes))

    async def _blank(self, path: Path, base: str | None, size: int) -> None:
        """A file with nothing of its own. The file below need not be there yet."""
        below = ["-u", "-b", f"../layers/{base}.qcow2", "-F", "qcow2"] if base else []
        path.unlink(missing_ok=True)
        self._make_directories()
        await _qemu_img("create", "-q", "-f", "qcow2", *below, str(path), str(size))
        path.chmod(0o600)  # until a machine's user gets it
        await _sync(path)

    # ── Layers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def seal(self, disk: str, layer: str) -> Disk:
        """See `ports.Disks`.

        The new file on top is made first; then the disk's file gets the layer's name as well; then a running machine
        writes to the new file; then that takes the disk's name. Each of these is found out and finished after a crash.
        """
        async with self._lock(disk):
            await self._settle(disk)
            path, sealed = self.volume(disk), self.layer(layer)
            if not sealed.exists():
                found = qcow2.header(path)
                if found is None:
                    raise Conflict(f"the disk {disk} does not exist")
                self._require_space()
                self._require_depth(path)
                await self._blank(self._next(disk), layer, found.size_bytes)
                os.link(path, sealed)
                # A machine's writes go to a file that a power cut must not leave without a name, or without its base.
                await _sync(path.parent)
                await _sync(sealed.parent)
                await self._settle(disk)
        return self._seen(layer, sealed)

    async def _settle(self, disk: str) -> None:
        """Finishes what was begun with a new file on top of a disk, or forgets it where nothing had happened yet."""
        path, above = self.volume(disk), self._next(disk)
        found = qcow2.header(above)
        if found is None or found.backing is None:
            above.unlink(missing_ok=True)
            return
        sealed = above.parent / found.backing
        if not sealed.exists() or not path.exists() or not sealed.samefile(path):
            above.unlink()
            return
        holder = await self.holder(disk)
        if holder is not None:
            await holder.overlay(disk, above)
        os.replace(above, path)
        sealed.chmod(0o444)
        if os.geteuid() == 0:
            os.chown(sealed, 0, 0)
        await _sync(sealed)
        await _sync(path.parent)

    async def receive(self, layer: str, source: LayerSource) -> Disk:
        """See `ports.Disks`. Raises Refused for a file that refers to others: they would be read in its name."""
        async with self._lock(layer):
            path = self.layer(layer)
            if not path.exists():
                self._require_whole(source)
                self._make_directories()
                self._require_space(os.stat(source.path).st_blocks * _SECTOR)
                draft = path.with_suffix(".new")
                draft.unlink(missing_ok=True)
                await _qemu_img("convert", "-q", "-f", source.format, "-O", "qcow2", source.path, str(draft),
                                timeout_s=COPY_S)
                for file, kind in ((source.kernel, ".kernel"), (source.ramdisk, ".ramdisk")):
                    if file is not None:
                        await asyncio.to_thread(shutil.copyfile, file, path.with_suffix(kind))
                        path.with_suffix(kind).chmod(0o444)
                        await _sync(path.with_suffix(kind))
                draft.chmod(0o444)
                await _sync(draft)
                os.replace(draft, path)
                await _sync(path.parent)
        return self._seen(layer, path)

    def _require_whole(self, source: LayerSource) -> None:
        if not Path(source.path).is_file():
            raise Refused(f"{source.path} is not there")
        if source.format == "qcow2":
            found = qcow2.header(Path(source.path))
            if found is None:
                raise Refused(f"{source.path} is not a qcow2 file")
            if found.backing is not None or found.external_data:
                raise Refused(f"{source.path} refers to another file; flatten it first (qemu-img convert)")
            if found.size_bytes > SIZE_BYTES_MAX:
                raise Refused(f"{source.path} says that it is larger than any volume")

    # ── What is there ────────────────────────────────────────────────────────────────────────────────────────────────

    async def observe(self, name: str) -> Disk | None:
        """See `ports.Disks`. A layer that is a disk's file still is not whole: the disk is written to."""
        if self.volume(name).exists():
            return self._seen(name, self.volume(name))
        layer = self.layer(name)
        if not layer.exists() or self._is_gone(name):
            return None
        shared = layer.stat().st_nlink > 1 and any(layer.samefile(disk) for disk in _files(self._volumes))
        return None if shared else self._seen(name, layer)

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Disks`."""
        return tuple(sorted({path.stem for path in _files(self._volumes)}
                            | {path.stem for path in _files(self._layers) if not self._is_gone(path.stem)}))

    async def destroy(self, name: str) -> None:
        """See `ports.Disks`. What other files need of a layer stays until they are gone too."""
        async with self._lock(name):
            if await self.holder(name) is not None:
                raise Conflict(f"a machine has the disk {name}")
            self.volume(name).unlink(missing_ok=True)
            self._next(name).unlink(missing_ok=True)
            self.volume(name).with_suffix(".new").unlink(missing_ok=True)
            if self.layer(name).exists():
                self._mark(name).touch()
            else:  # what a receiver left that was cut off
                for kind in (".kernel", ".ramdisk", ".new"):
                    self.layer(name).with_suffix(kind).unlink(missing_ok=True)
            self._collect()

    async def survey(self) -> Place:
        """See `ports.Disks`."""
        return Place(self.free_bytes(), self._shelf.images())

    async def unshelve(self, image: str, problem: str = "") -> None:
        """See `ports.Disks`."""
        self._shelf.empty(image, problem)

    def _collect(self) -> None:
        """Removes the layers that nobody asks for and nothing needs, from the top down."""
        while True:
            files = (*_files(self._volumes), *self._volumes.glob("*.next"), *_files(self._layers))
            needed = {Path(found.backing).stem for path in files
                      if (found := qcow2.header(path)) and found.backing}
            free = [mark.stem for mark in self._layers.glob("*.gone") if mark.stem not in needed]
            if not free:
                return
            for name in free:
                for kind in (".kernel", ".ramdisk", ".qcow2", ".gone"):  # the mark last
                    self.layer(name).with_suffix(kind).unlink(missing_ok=True)

    # ── Names and places ─────────────────────────────────────────────────────────────────────────────────────────────

    def volume(self, name: str) -> Path:
        """A disk's file."""
        return self._volumes / f"{name}.qcow2"

    def layer(self, name: str) -> Path:
        """A layer's file; beside it its kernel (".kernel") and initial ramdisk (".ramdisk")."""
        return self._layers / f"{name}.qcow2"

    async def prepare(self, disk: str) -> Path:
        """A disk's file, ready for a machine that starts. Raises Conflict where there is none."""
        async with self._lock(disk):
            await self._settle(disk)
        path = self.volume(disk)
        if not path.exists():
            raise Conflict(f"the disk {disk} does not exist")
        return path

    def size_bytes(self, disk: str) -> int:
        """How large a disk shows itself. Raises Conflict where there is none."""
        return self._seen(disk, self.volume(disk)).size_bytes

    def free_bytes(self) -> int:
        """What new disks may still take."""
        return max(0, self._usable_bytes() - RESERVE_BYTES)

    def takes_writes(self) -> bool:
        """Whether machines that found no space may go on: what is kept from new disks is for them."""
        return self._usable_bytes() > GO_ON_BYTES

    def _usable_bytes(self) -> int:
        return shutil.disk_usage(self.directory if self.directory.exists() else self.directory.parent).free

    def _next(self, disk: str) -> Path:
        return self._volumes / f"{disk}.next"

    def _mark(self, layer: str) -> Path:
        return self._layers / f"{layer}.gone"

    def _is_gone(self, layer: str) -> bool:
        return self._mark(layer).exists()

    def _make_directories(self) -> None:
        """Machines run as nobody in particular: they may pass, and open what they know the name of."""
        for directory in (self.directory, self._volumes, self._layers):
            directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            directory.chmod(0o711)

    def _require_space(self, bytes_wanted: int = 0) -> None:
        if self.free_bytes() <= bytes_wanted:
            raise Full("there is no space left on the disk that holds Cloudlet's data")

    def _require_depth(self, path: Path) -> None:
        """A machine opens every file of a chain, and how many those may be is limited."""
        depth, found = 0, qcow2.header(path)
        while found is not None and found.backing is not None:
            depth += 1
            found = qcow2.header(path.parent / found.backing)
        if depth >= DEPTH_MAX:
            raise Refused(f"the disk stands on {depth} layers already, and on no more may one stand")

    def _seen(self, name: str, path: Path) -> Disk:
        found = qcow2.header(path)
        if found is None:
            raise Conflict(f"{name} went away")
        return Disk(name, found.size_bytes, path.stat().st_blocks * _SECTOR, path.with_suffix(".kernel").exists())

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def _files(directory: Path) -> Iterator[Path]:
    return directory.glob("*.qcow2")


async def _qemu_img(verb: str, *arguments: str, timeout_s: float = QUICK_S) -> None:
    result = await process.run(["qemu-img", verb, *arguments], timeout_s=timeout_s)
    if result.status == 0:
        return
    if "No space left" in result.complaint:
        raise Full("there is no space left on the disk that holds Cloudlet's data")
    if " lock" in result.complaint:  # a machine that just started has the file, or one that ends has it still
        raise Busy(f"qemu-img {verb}: {result.complaint}")
    raise Refused(f"qemu-img {verb}: {result.complaint}")


async def _sync(path: Path) -> None:
    """A file's content, or a directory's names, on the disk; in a thread, since it may take long."""
    def sync() -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    await asyncio.to_thread(sync)
