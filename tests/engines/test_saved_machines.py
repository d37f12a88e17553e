"""Machines that begin as copies of a saved one, with a very small guest: who they are, and what happens without one."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudlet.engines import saved_states
from cloudlet.engines.ports import Address, MachineSpec, Member
from tests.engines import tiny_guest
from tests.engines.fabric_ground import real
from tests.engines.machines_conformance import MIB
from tests.engines.test_machines import Yard, yard

pytestmark = pytest.mark.slow
UUIDS = {"one": "ec200001-0000-4000-8000-000000000001", "two": "ec200002-0000-4000-8000-000000000002"}
IDENTITY = ("cat /sys/class/dmi/id/product_uuid /proc/sys/kernel/random/boot_id /sys/class/net/eth0/address; "
            "cat /sys/block/vda/size /sys/block/vda/serial; echo; head -c 8 /dev/urandom | xxd -p")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    monkeypatch.setattr(saved_states, "QUIET_S", 0.0)
    with yard(tmp_path, holds=True) as found:
        yield found


async def wanted(place: Yard, key: str, last: int) -> MachineSpec:
    """A machine whose disk is on top of the image and larger than that."""
    return replace(await place.ground.spec(key, last), uuid=UUIDS[key])


async def saved(place: Yard) -> Path:
    """The state of machines like that, made."""
    spec = await wanted(place, "one", 10)
    like = place.machines._states.likeness(spec)
    assert like is not None
    await place.machines._states.make(like)
    return place.fabric.site.data_dir / "states" / like.key


async def started(place: Yard, key: str, last: int) -> MachineSpec:
    spec = await wanted(place, key, last)
    seen = await place.machines.ensure(spec)
    assert (seen.state, seen.drives, seen.nics) == ("running", (spec.drives[0].disk,), (spec.nics[0].interface,))
    return spec


async def appears(directory: Path, pattern: str) -> Path:
    for _ in range(1200):
        for found in directory.glob(pattern):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"there is no {pattern}")


async def is_copy(place: Yard, spec: MachineSpec) -> bool:
    return b"cloudlet goes on" in await place.machines.console(spec.name)


@real
def test_copies_are_machines_of_their_own(place: Yard) -> None:
    async def main() -> list[MachineSpec]:
        await saved(place)
        specs = [await started(place, "one", 10), await started(place, "two", 11)]
        assert [await is_copy(place, spec) for spec in specs] == [True, True]
        await place.booted(specs[0], Member(specs[1].nics[0].interface, (Address("10.1.0.11"),), ("sg-a",)))
        await place.says(specs[1], tiny_guest.READY, tiny_guest.LEASED)
        return specs
    specs = place.fabric.run(main())
    said = [place.order(spec, IDENTITY, last).split() for spec, last in zip(specs, (10, 11), strict=True)]
    for spec, (identity, _, mac, size, serial, _) in zip(specs, said, strict=True):
        assert (identity, mac, size) == (spec.uuid, spec.nics[0].mac, str(16 * MIB // 512))
        assert serial == spec.drives[0].serial
    for seen in place.machines.footprints():
        assert seen.guest_resident_bytes <= seen.guest_bytes
        assert seen.guest_bytes + seen.overhead_bytes <= specs[0].memory_bytes, "QEMU fits in as well"
    assert {seen.name for seen in place.machines.footprints()} == {spec.name for spec in specs}
    assert said[0][1] != said[1][1] and said[0][5] != said[1][5]


@real
def test_a_copy_that_restarts_boots(place: Yard) -> None:
    async def main() -> None:
        await saved(place)
        spec = await started(place, "one", 10)
        await place.booted(spec)
        place.restart()
        assert (await place.machines.observe(spec.name)).state == "running"  # type: ignore[union-attr]
        before = (await place.machines.console(spec.name)).count(tiny_guest.READY)
        await (await place.machines._monitor(spec.name)).ask("system_reset")
        for _ in range(600):
            if (await place.machines.console(spec.name)).count(tiny_guest.READY) > before:
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("it does not boot")
    place.fabric.run(main())


@real
def test_a_state_is_made_after_the_first_launch_and_a_broken_one_is_booted_instead(place: Yard) -> None:
    async def main() -> None:
        spec = await started(place, "one", 10)
        assert not await is_copy(place, spec)
        states = place.fabric.site.data_dir / "states"
        found = await appears(states, "*/state.json")
        os.truncate(found.with_name("memory"), 1 << 20)
        other = await started(place, "two", 11)
        assert not await is_copy(place, other)
        await place.says(other, tiny_guest.READY)
        assert not found.exists()
    place.fabric.run(main())


@real
def test_a_copy_that_was_cut_off_begins_anew(place: Yard) -> None:
    async def main() -> None:
        spec = await started(place, "one", 10)
        before = await place.machines.observe(spec.name)
        assert before is not None
        place.machines._records.write_waking(spec.name)
        place.restart()
        assert await place.machines.observe(spec.name) is None
        after = await place.machines.ensure(spec)
        assert after.state == "running" and after.pid != before.pid
        assert not Path(f"/proc/{before.pid}").exists()
    place.fabric.run(main())


@real
def test_a_guest_that_does_not_hold_always_boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_states, "QUIET_S", 0.0)
    monkeypatch.setattr(saved_states, "HOLD_S", 8.0)
    with yard(tmp_path) as place:
        async def main() -> None:
            await started(place, "one", 10)
            states = place.fabric.site.data_dir / "states"
            await appears(states, "*.unfit")
            assert [path.suffix for path in states.iterdir()] == [".unfit"]
            other = await started(place, "two", 11)
            assert not await is_copy(place, other)
        place.fabric.run(main())
