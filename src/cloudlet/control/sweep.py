"""The loops' triggers besides writes: engines' events, a look at everything now and then, and the destruction of what
no record accounts for."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Literal, Protocol

from cloudlet.control.controller import Controller, Port
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import EngineError
from cloudlet.store.db import Store, Tx

log = logging.getLogger(__name__)

EVERY_S = 60.0  # each record is looked at again within this time, spread evenly over it
GRACE_S = 5.0  # an object must be unaccounted for at two looks this far apart before it is destroyed
# users before what they use
PORTS: tuple[Port, ...] = ("containers", "machines", "storages", "networks", "images", "disks")


class Owner(Protocol):
    """What the sweep needs of a port."""

    async def owned(self) -> tuple[str, ...]:
        """The names of all objects of this installation."""
        ...

    async def destroy(self, name: str, /) -> None:
        """Removes an object."""
        ...


class Eventful(Owner, Protocol):
    """A port that also tells."""

    def events(self) -> AsyncIterator[str]:
        """The name of each object that something happened to."""
        ...


class Engines(Protocol):
    """The ports, as `engines.ports.Engines` has them."""

    @property
    def networks(self) -> Owner:
        """VPCs and their interfaces."""
        ...

    @property
    def images(self) -> Owner:
        """What containers start from."""
        ...

    @property
    def containers(self) -> Eventful:
        """What tasks run."""
        ...

    @property
    def storages(self) -> Owner:
        """What they write to."""
        ...

    @property
    def disks(self) -> Owner:
        """Volumes, snapshots and machine images."""
        ...

    @property
    def machines(self) -> Eventful:
        """What instances are."""
        ...


class Sweep:
    """`workers` are to be run beside the loop; `reset` forgets everything."""

    def __init__(self, store: Store, clock: Clock, engines: Engines, controllers: Sequence[Controller]) -> None:
        self._store, self._clock, self._engines, self._controllers = store, clock, engines, controllers
        self._owners: dict[Port, Owner] = {
            "containers": engines.containers, "machines": engines.machines, "storages": engines.storages,
            "networks": engines.networks, "images": engines.images, "disks": engines.disks}
        self._now = asyncio.Event()

    @property
    def workers(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """By name, for `loop.supervise`."""
        return {"sweep": self.run, "events": partial(self.listen, "containers"),
                "machine-events": partial(self.listen, "machines")}

    def adopt(self) -> None:
        """Asks the loops to compare every record with the world, at once."""
        with self._store.tx() as tx:
            tx.enqueue_all()

    def reset(self) -> None:
        """Deletes everything of every account and region; the loops and the next sweep, which begins at once, remove
        what it stood for."""
        with self._store.tx() as tx:
            tx.clear()
        self._now.set()

    async def run(self) -> None:
        """Adopts, then looks again for ever, since no event tells of everything that may drift."""
        self.adopt()
        while True:
            self._now.clear()
            await self.destroy_orphans()
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._now.wait()
            except TimeoutError:
                pass
            with self._store.tx() as tx:
                tx.enqueue_all(over_s=EVERY_S)

    async def listen(self, port: Literal["containers", "machines"]) -> None:
        """Turns an engine's events into work, after asking about everything that may have happened unheard."""
        self.adopt()
        engine = self._engines.containers if port == "containers" else self._engines.machines
        async for name in engine.events():
            with self._store.tx() as tx:
                self._wake(tx, port, name)

    async def destroy_orphans(self) -> None:
        """Destroys the objects that no record accounts for.

        Such an object stays behind when a verb that died with its caller takes effect after all, or when a power cut
        takes back a transaction but not what was made after it. What is being made right now is no orphan, since its
        record was committed first: the engine is asked *before* the records. That this must be so twice is for what
        passes through a moment which its controller's `keeps` does not name. A name claimed while it is being
        destroyed is told to whoever claimed it, who then sees that it is gone and makes it again.
        """
        suspects = await self._orphans()
        if not suspects:
            return
        await self._clock.sleep(GRACE_S)
        again = await self._orphans()
        for port, name in (suspect for suspect in suspects if suspect in again):
            try:
                await self._owners[port].destroy(name)
            except EngineError as error:
                log.warning("%s %s: no record accounts for it, but: %s", port, name, error)
                continue
            log.warning("%s %s: destroyed, since no record accounts for it", port, name)
            with self._store.tx() as tx:
                self._wake(tx, port, name)

    async def _orphans(self) -> dict[tuple[Port, str], None]:
        found: dict[tuple[Port, str], None] = {}
        for port in PORTS:
            keeps = [c.keeps[port] for c in self._controllers if port in c.keeps]
            if not keeps:
                continue  # nobody says what is wanted there
            try:
                names = await self._owners[port].owned()
            except EngineError as error:
                log.info("%s: cannot tell what is there: %s", port, error)
                continue
            with self._store.tx() as tx:
                kept = {name for keep in keeps for name in keep(tx)}
            found |= dict.fromkeys((port, name) for name in names if name not in kept)
        return found

    def _wake(self, tx: Tx, port: Port, name: str) -> None:
        for controller in self._controllers:
            if (wakes := controller.wakes.get(port)) and (target := wakes(tx, name)):
                tx.enqueue(*target)
