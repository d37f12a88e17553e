"""Volumes of tasks as directories in the data directory, and how much of the disk each task takes."""

import asyncio
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cloudlet.engines.podman import Podman
from cloudlet.engines.ports import Storage, StorageSpec
from cloudlet.engines.process import run
from cloudlet.kernel.errors import Busy, Refused

# Beside a volume: itself before it is whole, and what the image has for it while that is being copied.
MAKING, FILLING = ".making", ".filling"
FRESH_S = 5.0  # how long a measurement is good for,
PATIENCE = 50  # and how many times as long as it took
_REMOVAL_S, _COUNT_S = 600.0, 600.0


@dataclass(frozen=True, slots=True)
class _Measured:
    """How much it was, and until when (epoch seconds) that is answered."""

    size: int
    until: float


class PodmanStorages:
    """Volumes of one installation, beside its Podman's storage."""

    def __init__(self, podman: Podman) -> None:
        self._podman = podman
        self._directory = podman.data / "volumes"
        self._layers = _Layers(podman)
        self._measured: dict[str, _Measured] = {}
        self._measuring: dict[str, asyncio.Task[int]] = {}

    async def ensure(self, spec: StorageSpec) -> Storage:
        """See the port. Raises Refused where the disk is full, or cannot be written."""
        here = self._directory / spec.name
        try:
            here.mkdir(parents=True, exist_ok=True, mode=0o700)
            for volume in spec.volumes:
                if not (here / volume).exists():
                    making = here / (volume + MAKING)
                    making.mkdir(exist_ok=True)
                    making.chmod(0o755)  # whatever our umask is
                    making.rename(here / volume)
        except OSError as failed:
            raise Refused(f"ResourceInitializationError: failed to create a volume: {failed.strerror or failed}"
                          ) from None
        return self._storage(spec.name)

    async def observe(self, name: str) -> Storage | None:
        """See the port."""
        return self._storage(name) if (self._directory / name).is_dir() else None

    def _storage(self, name: str) -> Storage:
        here = self._directory / name
        return Storage(name, {volume: str(here / volume) for volume in sorted(os.listdir(here))
                              if not volume.endswith((MAKING, FILLING))})

    async def destroy(self, name: str) -> None:
        """See the port. Raises Busy where something of it stays."""
        self._measured.pop(name, None)
        here = self._directory / name
        if not here.is_dir():
            return
        done = await run(["rm", "-rf", "--one-file-system", "--", str(here)], timeout_s=_REMOVAL_S)
        if done.status:
            raise Busy(f"the volumes of {name} could not be removed: {done.complaint}")

    async def owned(self) -> tuple[str, ...]:
        """See the port."""
        return tuple(_names(self._directory))

    async def destroy_all(self) -> None:
        """Removes every volume, for `cloudlet down`."""
        for name in await self.owned():
            await self.destroy(name)

    async def usage(self, name: str) -> int:
        """See the port. A tree that takes long to walk is walked the less often."""
        known = self._measured.get(name)
        if known is not None and self._podman.clock.now() < known.until:
            return known.size
        measuring = self._measuring.get(name)
        if measuring is None:
            measuring = self._measuring[name] = asyncio.create_task(self._measure(name))
            measuring.add_done_callback(lambda _: self._measuring.pop(name, None))
        return await asyncio.shield(measuring)

    async def _measure(self, name: str) -> int:
        began = self._podman.clock.now()
        trees = [str(self._directory / name), *self._written(name)]
        size = await asyncio.to_thread(occupied, trees)
        if size is None:
            size = await self._count(trees)
        ended = self._podman.clock.now()
        self._measured[name] = _Measured(size, ended + max(FRESH_S, PATIENCE * (ended - began)))
        return size

    async def _count(self, trees: Iterable[str]) -> int:
        """As `occupied`, of trees deeper than a path may be long."""
        there = [tree for tree in trees if os.path.isdir(tree)]
        done = await run(["du", "-s", "-x", "-c", "-B1", "--", *there], timeout_s=_COUNT_S)
        try:
            return int(done.stdout.splitlines()[-1].split()[0])
        except (IndexError, ValueError):
            raise Busy(f"du says: {done.complaint}") from None

    def _written(self, name: str) -> Iterable[str]:
        """The writable layers of the containers of a group."""
        return self._layers.of(f"{self._podman.cgroup}/{name}")


class _Layers:
    """The writable layers of each group's containers, looked for again only when there are others."""

    def __init__(self, podman: Podman) -> None:
        self._records = podman.records
        self._overlay = podman.storage / "overlay"
        self._listed = podman.storage / "overlay-containers" / "containers.json"
        self._watched = (podman.data / "state", self._listed)
        self._seen: tuple[tuple[int, int], ...] = ()
        self._layers: dict[str, list[str]] = {}

    def of(self, group: str) -> Iterable[str]:
        """The directories of a group, by its control group."""
        try:
            seen = tuple((status.st_ino, status.st_mtime_ns) for status in map(os.stat, self._watched))
            if seen != self._seen and self._look():
                self._seen = seen
        except (OSError, msgspec.DecodeError, KeyError, TypeError):
            pass  # nothing was ever started, or the list is being written: what was known is still so
        return self._layers.get(group, ())

    def _look(self) -> bool:
        """Whether all is known now: no container is on its way."""
        layers = {str(each["id"]): str(each["layer"]) for each in msgspec.json.decode(self._listed.read_bytes()) or ()}
        found, whole = dict[str, list[str]](), True
        for name in self._records.names():
            record = self._records.find(name)
            layer = layers.get(record.id) if record is not None else None
            whole = whole and layer is not None
            if record is not None and layer is not None:
                found.setdefault(record.group, []).append(str(self._overlay / layer / "diff"))
        self._layers = found
        return whole


def occupied(trees: Iterable[str]) -> int | None:
    """Bytes of disk that these trees take, a file with several names once; None where a path grows too long to say."""
    total, several, open_ = 0, set[tuple[int, int]](), list(trees)
    while open_:
        try:
            with os.scandir(open_.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        open_.append(entry.path)
                    elif status.st_nlink > 1:
                        if (status.st_dev, status.st_ino) in several:
                            continue
                        several.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
        except OSError as failed:
            if failed.errno == errno.ENAMETOOLONG:
                return None
            continue  # it is gone again
    return total


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
