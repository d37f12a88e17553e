"""One seed's story: a customer, a world that misbehaves, a control plane that dies anywhere; then quiet and truth."""

import asyncio
import logging
import random
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from cloudlet.kernel.errors import AwsError
from cloudlet.services.ecs import awslogs
from cloudlet.store.db import Tx
from tests.simulation.checker import Checker
from tests.simulation.customer import Customer
from tests.simulation.guests import GuestNature
from tests.simulation.nature import Nature
from tests.simulation.plane import Died, Plane
from tests.simulation.surveyor import Surveyor
from tests.simulation.tenant import Tenant
from tests.simulation.virtual import VirtualClock, run

MOVES = 28
SETTLE_S, SETTLE_MAX_S = 20.0, 600.0
STEADY_S = 70.0  # longer than a sweep: what has settled must stay so
RETRY_S = 60.0  # the tasks of a service that cannot work come and go: as long as one of them keeps a network
HOUR_S = 3900.0  # stopped tasks and services are kept for an hour
NO_SECOND_LOOK = 4  # every fourth seed's control plane looks at everything at its start only, not each minute: a lost
# wake-up shows there, which elsewhere would merely make things slow


@dataclass
class Report:
    """What one seed did, and the complaint where something was not as it must be."""

    seed: int
    did: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    complaint: str = ""


# What a story is about: (the world, who asks, who compares).
CASTS: dict[str, tuple[type[Any], type[Any], type[Any]]] = {
    "tasks": (Nature, Customer, Checker), "instances": (GuestNature, Tenant, Surveyor)}


def play(seed: int, trace: Callable[[str], None] | None = None, cast: str = "tasks") -> Report:
    """Plays one seed."""
    report = Report(seed)
    logging.getLogger("cloudlet").setLevel(logging.CRITICAL if trace is None else logging.INFO)
    awslogs.TICK_S, awslogs.QUIET_S = 2.0, 4.0  # the same story in fewer steps
    try:
        run(_Scenario(seed, report, trace or (lambda text: None), *CASTS[cast]).play())
    except AssertionError as error:
        report.complaint = str(error) or repr(error)
    except (Exception, Died):
        report.complaint = traceback.format_exc()
    return report


class _Scenario:
    def __init__(self, seed: int, report: Report, trace: Callable[[str], None], nature: type[Any],
                 customer: type[Any], checker: type[Any]) -> None:
        self.report, self._trace, self.calm = report, trace, False
        self.second_look = seed % NO_SECOND_LOOK > 0
        self.random = random.Random(f"scenario {seed}")
        self.clock = VirtualClock(seed)
        self.nature = nature(self.clock, seed)
        self.plane = Plane(self.clock, self.nature)
        self.customer = customer(self.plane, seed)
        self.customer.meet(self.nature)
        self.checker = checker(self.plane, self.nature, self.customer)

    def say(self, text: str) -> None:
        """Into the trace, with the time."""
        self._trace(f"{asyncio.get_running_loop().time():9.3f}  {text}")

    async def play(self) -> None:
        every = Tx.enqueue_all

        def enqueue_all(tx: Tx, over_s: float = 0.0) -> None:
            if self.second_look or not over_s:
                every(tx, over_s)

        with patch.object(Tx, "enqueue_all", enqueue_all), self.plane.watcher.watching():
            await self._play()

    async def _play(self) -> None:
        self.nature.trace = lambda text: None if text.startswith("read_log") else self.say(f"    {text}")
        try:
            self.plane.boot()
            self.customer.settle_in()
            self.synced = self.plane.store.image(), self.customer.promises.copy()
            self.nature.worsen(self.random.choice((0.02, 0.3, 1.5)))
            pace = self.random.choice((0.2, 1.0, 4.0))
            for _ in range(MOVES):
                await asyncio.sleep(self.random.expovariate(1 / pace))
                if self.plane.store.dead:
                    await self.reborn("died in a transaction")
                await self.move()
                self.nature.chatter()
                if not self.plane.store.dead:
                    self.checker.glance()
            await self.settle()
        finally:
            self.report.did += self.checker.met
            self.report.virtual_s = asyncio.get_running_loop().time()
            await self.plane.kill()
            self.plane.clean()

    async def move(self) -> None:
        """One thing happens."""
        dice = self.random.random()
        if dice < 0.62:
            try:
                what = self.customer.move()
            except AwsError as error:
                what = f"refused: {error.code}: {error}"
            except Died:
                what = "no answer"
            self.report.did[what.split(" ")[0]] += 1
            self.say(what)
        elif dice < 0.78:
            self.did(f"mishap: {self.nature.mishap()}")
        elif dice < 0.80:
            self.plane.store.full = not self.plane.store.full
            self.did(f"disk: full is {self.plane.store.full}")
        elif dice < 0.81:
            self.did("clock set back")
            self.clock.offset -= self.random.choice((3, 600))
        elif dice < 0.87:
            self.did("the process will die in a transaction")
            self.plane.store.fuse = self.random.randint(1, 25)
            self.plane.store.before_commit = self.random.random() < 0.5
        elif dice < 0.93:
            await self.reborn(self.random.choice(("killed", "killed", "stopped")))
        elif dice < 0.96:
            self.did("synced")
            self.synced = self.plane.store.image(), self.customer.promises.copy()
        elif dice < 0.98:
            await self.reborn("rebooted")
        else:
            await self.reborn("power cut")

    def did(self, what: str) -> None:
        self.report.did[what.split(":")[0]] += 1
        self.say(what)

    async def reborn(self, how: str) -> None:
        """The control plane ends that way and starts again after a while, in which the world goes on."""
        self.did(how)
        if how == "stopped":
            await self.plane.stop()
        else:
            await self.plane.kill()
        if how in ("rebooted", "power cut"):
            self.nature.reboot()
        if how == "power cut":
            image, self.customer.promises = self.synced[0], self.synced[1].copy()
            self.plane.restore(image)
            self.checker.power_cut = True
            # What was forgotten on the disk may have been shipped and destroyed since: nobody can ship it again.
            self.nature.forgotten |= set(self.nature.said) - set(self.nature.containers.bodies)
        await asyncio.sleep(self.random.choice((0, 0.5, 5)))
        if not self.calm and self.random.random() < 0.3:
            self.say(f"meanwhile {self.nature.mishap()}")
        self.plane.boot()
        self.say("boot")

    async def becomes_true(self, every_s: float, within_s: float) -> None:
        """Checks over and over, until all is as it must be."""
        deadline = self.clock.now() + within_s
        while True:
            await asyncio.sleep(every_s)
            try:
                self.checker.check()
                return
            except AssertionError as error:
                self.say(f"not yet: {error}")
                if self.clock.now() > deadline:
                    raise

    async def settle(self) -> None:
        """Nothing goes wrong any more: soon everything must be as promised, and stay so."""
        self.say("calm")
        self.nature.calm()
        self.calm = True
        if self.plane.store.dead or not self.second_look or self.random.random() < 0.5:
            await self.reborn("killed")
        self.plane.store.fuse, self.plane.store.full = None, False
        self.customer.repair()
        # What was to end at a time of the old clock (an empty network, say) ends so much later.
        await self.becomes_true(SETTLE_S, SETTLE_MAX_S - self.clock.offset)
        if self.random.random() < 0.5:
            await asyncio.sleep(STEADY_S)
            await self.becomes_true(5.0, RETRY_S)
            self.checker.check_images()
        elif self.random.random() < 0.3:
            self.did("an hour without a customer")
            self.customer.leave()
            await asyncio.sleep(HOUR_S - self.clock.offset)
            self.checker.check_nothing_kept()
        elif self.second_look and self.random.random() < 0.5:
            self.did("reset")
            self.plane.reset()
            await asyncio.sleep(STEADY_S)
            self.checker.check_nothing_left()
