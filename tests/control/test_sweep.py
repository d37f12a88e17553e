"""Adoption, events, drift and orphans, over the fake engines in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from cloudlet.control.controller import Controller
from cloudlet.control.loop import Loop, supervise
from cloudlet.control.outcome import Done, Outcome
from cloudlet.control.sweep import Sweep
from cloudlet.engines.fake import Faults, World
from cloudlet.engines.ports import ContainerSpec, GroupSpec, ImageSpec
from cloudlet.kernel.errors import Unavailable
from cloudlet.store.db import Store, Tx
from cloudlet.store.records import record
from tests.simulation.virtual import VirtualClock, run


@record("test.box", reconciled=True)
class Box:
    id: str
    state: str = ""


class Boxes:
    """A controller of boxes: the container of a box bears the box's name."""

    def __init__(self, store: Store, world: World) -> None:
        self.store, self.world = store, world
        self.steps: list[str] = []
        self.controller = Controller({"test.box": self.step}, {"containers": self.keeps}, {"containers": self.wakes})

    def keeps(self, tx: Tx) -> Iterable[str]:
        return [box.id for box in tx.find(Box)]

    def wakes(self, tx: Tx, name: str) -> tuple[str, str] | None:
        return ("test.box", name) if tx.get(Box, name) else None

    async def step(self, key: str) -> Outcome:
        self.steps.append(key)
        with self.store.tx() as tx:
            box = tx.get(Box, key)
        if box is None:
            await self.world.containers.destroy(key)
            return Done()
        seen = await self.world.containers.ensure(spec(key))
        with self.store.tx() as tx:
            tx.swap(box, Box(key, seen.state))
        return Done()


def spec(name: str) -> ContainerSpec:
    return ContainerSpec(name, GroupSpec(name), "img", "", name)


@asynccontextmanager
async def control_plane(tmp_path: Path) -> AsyncIterator[tuple[Store, World, Boxes, Sweep]]:
    clock = VirtualClock()
    world = World(clock)
    await world.images.ensure(ImageSpec("img"))
    store = Store(str(tmp_path / "db"), clock)
    boxes = Boxes(store, world)
    sweep = Sweep(store, clock, world.engines, [boxes.controller])
    loop = Loop(store, clock, boxes.controller.reconcilers)
    workers = [asyncio.ensure_future(supervise(name, worker, clock))
               for name, worker in [*sweep.workers.items(), ("loop", loop.run)]]
    try:
        yield store, world, boxes, sweep
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        store.close()


def test_records_are_adopted_at_the_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with control_plane(tmp_path) as (store, world, _, _):
            with store.tx() as tx:
                tx.put(Box("a"))
            await asyncio.sleep(1)
        async with control_plane(tmp_path) as (store, world, boxes, _):
            await asyncio.sleep(1)
            assert set(boxes.steps) == {"a"}
            assert world.containers.running() == ["a"]
    run(main())


def test_an_event_wakes_its_record_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with control_plane(tmp_path) as (store, world, _, _):
            with store.tx() as tx:
                tx.put(Box("a"))
            await asyncio.sleep(1)
            world.containers.exit("a")
            await asyncio.sleep(0.01)
            with store.tx() as tx:
                assert tx.get(Box, "a") == Box("a", "exited")
    run(main())


def test_drift_that_nobody_told_of_is_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with control_plane(tmp_path) as (store, world, boxes, _):
            with store.tx() as tx:
                for n in range(60):
                    tx.put(Box(f"{n:02}"))
            await asyncio.sleep(1)
            for n in range(60):
                world.containers.vanish(f"{n:02}")
            boxes.steps.clear()
            await asyncio.sleep(90)
            assert len(set(boxes.steps)) < 60, "all at once"
            await asyncio.sleep(60)
            assert len(world.containers.running()) == 60
    run(main())


def test_orphans_are_destroyed_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with control_plane(tmp_path) as (store, world, _, _):
            with store.tx() as tx:
                tx.put(Box("a"))
            await asyncio.sleep(1)
            await world.containers.ensure(spec("orphan"))
            await asyncio.sleep(130)
            assert world.containers.running() == ["a"]
            assert await world.images.owned() == ("img",), "nobody says which images are wanted"
    run(main())


def test_what_is_being_made_is_no_orphan_whatever_the_moment(tmp_path: Path) -> None:
    async def main() -> None:
        async with control_plane(tmp_path) as (store, world, _, sweep):
            world.faults = Faults(lag_s=8)
            for n in range(200):
                with store.tx() as tx:
                    tx.put(Box(f"{n:03}"))
                if n % 3 == 0:
                    sweeping = asyncio.ensure_future(sweep.destroy_orphans())
                await asyncio.sleep(2)
            await sweeping
            await asyncio.sleep(60)
            assert set(world.containers.starts.values()) == {1}
            assert len(world.containers.running()) == 200
    run(main())


def test_a_name_claimed_while_it_is_destroyed_is_made_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with control_plane(tmp_path) as (store, world, _, sweep):
            await world.containers.ensure(spec("a"))
            world.faults = Faults(lag_s=1)
            destroyed = asyncio.Event()
            world.trace = lambda text: destroyed.set() if text == "destroy a" else None
            sweeping = asyncio.ensure_future(sweep.destroy_orphans())
            await destroyed.wait()  # the effect is there, its acknowledgement is not
            with store.tx() as tx:
                tx.put(Box("a"), wake=False)  # as if its step had observed the container just before
            await sweeping
            await asyncio.sleep(5)
            assert world.containers.running() == ["a"]
    run(main())


def test_an_engine_that_is_missing_stops_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with control_plane(tmp_path) as (_, world, _, sweep):
            async def owned() -> tuple[str, ...]:
                raise Unavailable("podman is not installed")
            world.containers.owned = owned  # type: ignore[method-assign]
            await sweep.destroy_orphans()
    run(main())


def test_reset_forgets_everything_and_the_loops_remove_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with control_plane(tmp_path) as (store, world, _, sweep):
            with store.tx() as tx:
                for n in range(5):
                    tx.put(Box(str(n)))
            await asyncio.sleep(1)
            assert len(world.containers.running()) == 5
            sweep.reset()
            with store.tx() as tx:
                assert tx.find(Box) == []
            await asyncio.sleep(1)
            assert world.containers.running() == []
    run(main())
