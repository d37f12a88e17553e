"""The fake keeps the promises of the ports, and breaks them exactly as it is told to."""

import asyncio

import pytest

from cloudlet.engines.fake import Faults, Program, World
from cloudlet.engines.ports import (
    Address,
    ContainerSpec,
    Fabric,
    GroupSpec,
    ImageSpec,
    InterfaceSpec,
    Member,
    NetworkSpec,
)
from cloudlet.kernel.errors import Busy, Conflict, Refused
from tests.simulation.virtual import VirtualClock, run

VPC = NetworkSpec("vpc", ("10.0.0.0/16",), ("10.0.0.1",), "10.0.0.2")
ENI = InterfaceSpec("eni", "vpc", ("10.0.0.5",), "10.0.0.1", "02:00:00:00:00:05")


def spec(name: str = "web", image: str = "img") -> ContainerSpec:
    return ContainerSpec(name, GroupSpec("task", memory_bytes=64 << 20), image, "/run/netns/eni", "host")


async def world_with_network(**faults: float) -> World:
    world = World(VirtualClock())
    await world.networks.ensure_network(VPC)
    await world.networks.ensure_interface(ENI)
    await world.images.ensure(ImageSpec("img"))
    world.faults = Faults(**faults)
    return world


def test_networks_live_and_die() -> None:
    async def main() -> None:
        world = World(VirtualClock())
        with pytest.raises(Conflict):
            await world.networks.ensure_interface(ENI)
        await world.networks.ensure_network(VPC)
        made = await world.networks.ensure_interface(ENI)
        assert made == await world.networks.ensure_interface(ENI) == await world.networks.observe("eni")
        with pytest.raises(Conflict):
            await world.networks.ensure_interface(InterfaceSpec("two", "vpc", ("10.0.0.5",), "10.0.0.1", "02::"))
        member = Member("eni", (Address("10.0.0.5"),), ("sg",))
        await world.networks.apply(Fabric("vpc", 2, (member,)))
        await world.networks.apply(Fabric("vpc", 1, ()))
        assert world.networks.fabrics["vpc"].members == (member,)
        assert await world.networks.owned() == ("vpc", "eni")
        with await world.networks.listen("vpc", "169.254.170.2", 80) as door:
            assert door.getsockname()[1]
        await world.doors.ensure("vpc")
        await world.networks.destroy("vpc")
        await world.networks.destroy("vpc")
        assert await world.networks.owned() == ()
        assert not world.networks.fabrics
        with pytest.raises(Conflict):
            await world.doors.ensure("vpc")
    run(main())


def test_a_container_starts_once_prints_and_exits() -> None:
    async def main() -> None:
        world = await world_with_network()
        world.containers.programs["img"] = Program(("hello", "wörld"), exits_after_s=5, exit_code=3)
        events = world.containers.events()
        heard = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        first = await world.containers.ensure(spec())
        assert await heard == "web"
        assert first.state == "running"
        assert first.pid
        assert await world.containers.ensure(spec()) == first
        usage = await world.containers.usage("web")
        assert usage
        assert usage.memory_limit_bytes == 64 << 20
        chunk = await world.containers.read_log("web", 0, limit=1)
        assert [line.text for line in chunk.lines] == ["hello"]
        assert not chunk.whole
        assert await anext(events) == "web"
        ended = await world.containers.ensure(spec())
        assert (ended.state, ended.exit_code, ended.pid) == ("exited", 3, None)
        assert ended.finished_at == (first.started_at or 0) + 5
        assert world.containers.starts["web"] == 1
        chunk = await world.containers.read_log("web", chunk.next_offset)
        assert [line.text for line in chunk.lines] == ["wörld"]
        assert chunk.whole
        assert chunk.next_offset == 13
        with pytest.raises(Conflict):
            await world.images.destroy("img")
        await world.containers.destroy("web")
        assert await world.containers.observe("web") is None
        assert (await world.containers.read_log("web", 13)).whole
        await world.images.destroy("img")
        assert await world.images.owned() == ()
        await events.aclose()
    run(main())


def test_a_container_needs_its_image_and_its_namespace() -> None:
    async def main() -> None:
        world = await world_with_network()
        with pytest.raises(Conflict):
            await world.containers.ensure(spec(image="elsewhere"))
        world.networks.vanish("eni")
        with pytest.raises(Conflict):
            await world.containers.ensure(spec())
        world.images.refusals["gone"] = "manifest unknown"
        with pytest.raises(Refused, match="manifest unknown"):
            await world.images.ensure(ImageSpec("gone"))
    run(main())


@pytest.mark.parametrize(("stop_code", "expected", "waits"), [(0, 0, 0), (None, 137, 30)])
def test_stopping_with_and_without_grace(stop_code: int | None, expected: int, waits: int) -> None:
    async def main() -> None:
        world = await world_with_network()
        world.containers.programs["img"] = Program(stop_code=stop_code)
        await world.containers.ensure(spec())
        begun = world.clock.now()
        await world.containers.stop("web", 30)
        while (seen := await world.containers.observe("web")) and seen.state == "running":
            await world.clock.sleep(1)
        assert seen
        assert seen.exit_code == expected
        assert seen.finished_at == begun + waits
    run(main())


def test_lag_comes_before_and_after_the_effect() -> None:
    async def main() -> None:
        world = await world_with_network(lag_s=10)
        starting = asyncio.ensure_future(world.containers.ensure(spec()))
        await asyncio.sleep(0)
        assert not world.containers.bodies
        assert not starting.done()
        while not world.containers.bodies:
            await world.clock.sleep(0.1)
        assert not starting.done()
        await starting
    run(main())


def test_faults_before_and_after_the_effect_and_for_ever() -> None:
    async def main() -> None:
        world = await world_with_network(busy=1)
        with pytest.raises(Busy):
            await world.containers.ensure(spec())
        assert not world.containers.bodies
        world.faults = Faults(lost=1)
        with pytest.raises(Busy):
            await world.containers.ensure(spec())
        assert world.containers.running() == ["web"]
        world.faults = Faults(refused=0.5)
        verdicts = set()
        for name in map(str, range(20)):
            tries = [await asyncio.gather(world.containers.ensure(spec(name)), return_exceptions=True) for _ in "123"]
            kinds = {type(result) for [result] in tries}
            assert len(kinds) == 1, "refused once and not the next time"
            verdicts |= kinds
        assert Refused in verdicts
        assert len(verdicts) == 2
    run(main())


def test_a_verb_that_was_cut_off_may_still_happen() -> None:
    async def main() -> None:
        world = await world_with_network(lag_s=1, late=1)
        starting = asyncio.ensure_future(world.containers.ensure(spec()))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        assert not world.containers.bodies
        await world.clock.sleep(2)
        assert world.containers.running() == ["web"]
    run(main())


def test_a_reboot_forgets() -> None:
    async def main() -> None:
        world = await world_with_network()
        await world.doors.ensure("vpc")
        names = [str(n) for n in range(20)]
        for name in names:
            await world.containers.ensure(spec(name))
        world.reboot()
        assert await world.networks.owned() == ()
        assert not world.doors.open
        left = await world.containers.owned()
        assert 0 < len(left) < 20
        assert world.containers.running() == []
        assert await world.images.owned() == ("img",)
    run(main())


def test_the_seed_decides_everything() -> None:
    def story(seed: int) -> list[str]:
        async def main() -> list[str]:
            world, lines = World(VirtualClock(), seed, Faults(lag_s=1, busy=0.3, lost=0.3)), list[str]()
            world.trace = lambda text: lines.append(f"{world.clock.now():.6f} {text}")
            specs = [NetworkSpec(f"net{n}", (), (), "") for n in range(6)]
            await asyncio.gather(*(world.networks.ensure_network(spec) for spec in specs), return_exceptions=True)
            return lines
        return run(main())
    assert story(1) == story(1) != story(2)
