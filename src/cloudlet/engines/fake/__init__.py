"""Every port without a world: objects in memory, lag, faults and amnesia by a seed, and hands for a test to reach in.

`World` is what outlives a control plane. By default it is quick and obliging; `Faults` make it slow and unreliable.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from cloudlet.engines.fake.containers import Body as Body
from cloudlet.engines.fake.containers import FakeContainers, FakeImages, FakeStorages
from cloudlet.engines.fake.containers import Program as Program
from cloudlet.engines.fake.machines import FakeDisks, FakeMachines
from cloudlet.engines.fake.networks import FakeDoors, FakeNetworks
from cloudlet.engines.fake.upstreams import FakeUpstreams
from cloudlet.engines.fake.webhooks import FakeWebhooks
from cloudlet.engines.ports import Engines
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import Busy, Conflict, Refused

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Faults:
    """How badly the world behaves. `lag_s`: each verb waits up to that long before its effect, and again after it.
    The others are probabilities: `busy` fails before the effect; `lost` after it (the effect stands, its
    acknowledgement does not arrive); `refused` is drawn once for each object, which then is never made; `late`: a verb
    that was cut off before its effect (its caller died) has it after all, up to `lag_s` later; `deaf`: an event that
    nobody hears."""

    lag_s: float = 0.0
    busy: float = 0.0
    lost: float = 0.0
    refused: float = 0.0
    late: float = 0.0
    deaf: float = 0.0


class World:
    """The state below the ports, the ports themselves, and what may go wrong with them.

    `trace` is told of every effect. `faults` may be replaced at any time. While `severed`, whoever calls is cut off:
    a killed process cannot clean up.
    """

    def __init__(self, clock: Clock, seed: int = 0, faults: Faults | None = None) -> None:
        self.clock, self.seed, self.faults = clock, seed, faults or Faults()
        self.random = random.Random(seed)
        self.trace: Callable[[str], None] = lambda text: None
        self.severed = False
        self._timers: set[asyncio.Task[None]] = set()
        self.networks = FakeNetworks(self)
        self.images = FakeImages(self)
        self.containers = FakeContainers(self)
        self.storages = FakeStorages(self)
        self.doors = FakeDoors(self)
        self.disks = FakeDisks(self)
        self.machines = FakeMachines(self)
        self.upstreams = FakeUpstreams(self.verb)
        self.webhooks = FakeWebhooks()
        self.engines = Engines(self.networks, self.images, self.containers, self.storages, self.doors, self.disks,
                               self.machines, probes=self.containers, upstreams=self.upstreams,
                               webhooks=self.webhooks)

    def crash(self) -> None:
        """The control plane's process is gone, and with it the sockets it held."""
        self.doors.open.clear()

    def reboot(self) -> None:
        """The host restarts: every network is gone, every container and machine has ended, and some containers are not
        even remembered."""
        self.trace("reboot")
        self.crash()
        for timer in self._timers:
            timer.cancel()
        self.networks.networks.clear()
        self.networks.interfaces.clear()
        self.networks.fabrics.clear()
        for name, body in sorted(self.containers.bodies.items()):
            if self.random.random() < 0.5:
                self.containers.vanish(name)
            elif body.seen.state == "running":
                self.containers.exit(name, 255)
        for name in self.machines.running():
            self.machines.end(name, "reboot")

    async def verb(self, what: str, name: str, effect: Callable[[], T], *, makes: bool = False) -> T:
        """One verb of a port: lag, perhaps a fault, the effect all at once, lag, perhaps a lost acknowledgement."""
        if self.severed:
            raise asyncio.CancelledError
        faults = self.faults
        try:
            await self._lag(faults)
        except asyncio.CancelledError:
            if self.random.random() < faults.late:
                self.after(self.random.uniform(0, faults.lag_s), lambda: self._late(what, name, effect))
            raise
        if makes and faults.refused and random.Random(f"{self.seed} {what} {name}").random() < faults.refused:
            raise Refused(f"{what} {name}: refused by the fake engine")
        if self.random.random() < faults.busy:
            raise Busy(f"{what} {name}: not now")
        self.trace(f"{what} {name}")
        result = effect()
        await self._lag(faults)
        if self.random.random() < faults.lost:
            raise Busy(f"{what} {name}: the answer was lost")
        return result

    async def _lag(self, faults: Faults) -> None:
        if faults.lag_s:
            await self.clock.sleep(self.random.uniform(0, faults.lag_s))

    def _late(self, what: str, name: str, effect: Callable[[], object]) -> None:
        self.trace(f"{what} {name} (late)")
        try:
            effect()
        except (Busy, Conflict, Refused):
            pass  # nobody is left to be told

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Lets something happen in the world later, whoever lives then (a reboot ends it)."""
        async def wait() -> None:
            await self.clock.sleep(seconds)
            act()
        self._spawn(wait())

    def _spawn(self, routine: Coroutine[Any, Any, None]) -> None:
        timer = asyncio.get_running_loop().create_task(routine)
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)
