"""A control plane over the wire on engines without a world: for clients whose machines need not be real."""

import asyncio
import threading
from pathlib import Path
from typing import Any

from cloudlet.app import Files, assemble
from cloudlet.engines.fake import World
from cloudlet.engines.ports import Card, LayerSource, Shelved
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.names import Installation, derived_id
from cloudlet.kernel.site import Site
from cloudlet.store.db import Store
from cloudlet.wire.server import Server

DEBIAN = Card("debian-12-amd64", "for tests", "136693071363", "/dev/xvda", "admin", "disk.raw", "raw", 1, 1.0,
              kernel="kernel")
IMAGE = derived_id("ami", DEBIAN.name)  # which lies on its shelf


class Town:
    """A control plane with fake engines, in a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._ready, self._loop = directory, threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))
        self.world: World

    async def _serve(self) -> None:
        clock = SystemClock()
        store = Store(str(self._directory / "cloudlet.db"), clock)
        files = Files.under(self._directory)
        self.world = World(clock)
        self.world.disks.files["disk.raw"] = "debian"
        self.world.disks.shelf[DEBIAN.name] = Shelved(DEBIAN, LayerSource("disk.raw", "raw", "kernel"))
        plane = assemble(store, files, clock, self.world.engines, Site(Installation("abcdef"), self._directory))
        server = Server(plane.gateway.handle)
        self.url = f"http://127.0.0.1:{await server.listen('127.0.0.1', 0)}"
        self._stop = asyncio.Event()
        workers = [plane.loop.run, *plane.sweep.workers.values(),
                   *(worker for controller in plane.controllers for worker in controller.workers.values())]
        tasks = [asyncio.ensure_future(worker()) for worker in workers]
        self._ready.set()
        await self._stop.wait()
        await server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        store.close()
        files.close()

    def __enter__(self) -> "Town":
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *args: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def guest(self, act: Any) -> None:
        """Something happens to the machines, between two steps of the control plane."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (act(self.world.machines), done.set()))
        assert done.wait(30)
