"""The real control plane in a simulated process: it can be killed between any two transactions and at any await."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn

from cloudlet.app import Files, assemble
from cloudlet.control.loop import supervise
from cloudlet.engines.fake import World
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.store.db import OutOfSpace, Store, Tx
from tests.simulation.virtual import VirtualClock
from tests.simulation.watcher import Watcher


class Died(BaseException):
    """The process is gone: whoever runs in it stops here."""


class MortalStore(Store):
    """A store whose process dies (`fuse`) at the n-th transaction from now: right before its commit, or right after;
    and whose disk may be `full`: then nothing can be written."""

    fuse: int | None = None
    before_commit = False
    dead = full = False
    on_death: Callable[[], object]
    watcher: Any  # a Watcher, or who else sees what is written

    @contextmanager
    def tx(self, *, shared: bool = False) -> Iterator[Tx]:
        """Each commits by itself: that those which share a commit go together is what a death before it is anyway."""
        if self.dead:
            raise Died
        if self.fuse is not None:
            self.fuse -= 1
        burnt = self.fuse == 0
        self.watcher.begin()
        with super().tx() as tx:
            before = self._db.total_changes()
            yield tx
            if self.full and self._db.total_changes() != before:
                raise OutOfSpace
            if burnt and self.before_commit:
                self.die()
        self.watcher.committed(self)
        if burnt:
            self.die()

    def die(self) -> NoReturn:
        """Here and now."""
        self.dead = True
        self.on_death()
        raise Died

    def look(self) -> AbstractContextManager[Tx]:
        """A transaction of the observer's, who does not die."""
        return Store.tx(self)

    async def flush(self, tx: Tx | None = None) -> None:
        await self.clock.sleep(0.004)  # without threads, whose timing no seed decides

    def image(self) -> bytes:
        """The whole content, as a disk would have it after a flush."""
        return self._db.serialize("main")


class Plane:
    """One life after the other of the control plane, on one file and one world."""

    def __init__(self, clock: VirtualClock, world: World) -> None:
        self.clock, self.world = clock, world
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.directory = Path(tempfile.mkdtemp(prefix="cloudlet-simulation-", dir=memory))
        self.path = self.directory / "cloudlet.db"
        self.site = Site(Installation("51b1a7"), self.directory, port=4599)
        self.files = Files.under(self.directory)
        self.store: MortalStore
        self.watcher: Any = Watcher()
        self._tasks: list[asyncio.Task[Any]] = []

    def boot(self) -> None:
        """A new process starts and adopts what it finds."""
        self.store = MortalStore(str(self.path), self.clock)
        self.store.on_death, self.store.watcher = self._cut, self.watcher
        plane = assemble(self.store, self.files, self.clock, self.world.engines, self.site)
        self.loop = plane.loop
        workers = {"loop": plane.loop.run, **plane.sweep.workers,
                   **{name: worker for controller in plane.controllers for name, worker in controller.workers.items()}}
        for name in ("ecr.sweep", "s3.sweep", "s3.scrub"):  # look at real files in real threads, timed by no seed
            del workers[name]
        self.reset = plane.sweep.reset
        self._tasks = [asyncio.ensure_future(supervise(name, worker, self.clock)) for name, worker in workers.items()]

    async def kill(self) -> None:
        """kill -9: nothing that was under way gets to do anything more."""
        self.store.dead = True
        await self.stop()

    async def stop(self) -> None:
        """SIGTERM: what is under way is cancelled and may clean up."""
        await asyncio.gather(*self._cut(), return_exceptions=True)
        self.world.severed = False
        self.world.crash()
        self.store.close()
        self.store.dead = True

    def _cut(self) -> list[asyncio.Task[Any]]:
        self.world.severed = self.store.dead
        mine = [*self._tasks, *self.loop.busy.values()]
        for task in mine:
            task.cancel()
        return mine

    def restore(self, image: bytes) -> None:
        """The disk as it was when it was last synced: a power cut took the rest. Only between two lives."""
        for file in self.directory.glob("cloudlet.db*"):
            file.unlink()
        self.path.write_bytes(image)

    def clean(self) -> None:
        self.files.close()
        shutil.rmtree(self.directory, ignore_errors=True)
