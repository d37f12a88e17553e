"""What machines have in common, where a saved one's names are, and what a copy of its memory says instead."""

import asyncio
import json
import os
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from cloudlet.engines import machine_command, qcow2, saved_states
from cloudlet.engines.disks import QcowDisks
from cloudlet.engines.machine_command import command
from cloudlet.engines.ports import DiskSpec, Drive, LayerSource, MachineSpec, Nic
from cloudlet.engines.saved_states import Likeness, SavedStates
from cloudlet.kernel.errors import Busy, Conflict, Refused
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from tests.simulation.virtual import VirtualClock, run

MARK = bytes(range(16))
SAVED = MachineSpec("saved", "", 2, 1 << 29, (Drive("saved", "cloudlet-hold"),),
                    (Nic("saved", "", "02:11:22:33:44:55"),), "layer", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")
BOOT = "11111111-2222-4333-8444-555555555555"
COPY = replace(SAVED, name="copy", nics=(Nic("eni", "tap", "0a:00:00:00:00:01"),),
               uuid="ec2abcde-0000-4000-8000-000000000001")
LIKE = Likeness("key", "layer", "layer", 2, 1 << 29)
pytestmark = pytest.mark.engine("qemu-img")


@pytest.fixture
def disks(tmp_path: Path) -> QcowDisks:
    """An image's layer, with a kernel, and a disk on top of it."""
    found = QcowDisks(Site(Installation("000000"), tmp_path / "data"))
    for name in ("raw", "kernel"):
        (tmp_path / name).write_bytes(bytes(1 << 20))

    async def main() -> None:
        await found.receive("layer", LayerSource(str(tmp_path / "raw"), "raw", str(tmp_path / "kernel")))
        await found.ensure(DiskSpec("disk", 2 << 20, "layer"))
    asyncio.run(main())
    return found


def states(disks: QcowDisks) -> SavedStates:
    return SavedStates(disks.directory.parent / "states", disks, VirtualClock())


def spec(**changes: object) -> MachineSpec:
    return replace(COPY, drives=(Drive("disk", "vol1"),), **changes)  # type: ignore[arg-type]


def likeness(disks: QcowDisks, wanted: MachineSpec) -> Likeness | None:
    return states(disks).likeness(wanted)


def test_machines_are_alike_by_image_processors_and_memory(disks: QcowDisks) -> None:
    one = likeness(disks, spec())
    assert one is not None
    assert (one.base, one.kernel, one.cpus, one.memory_bytes) == ("layer", "layer", 2, 1 << 29)
    assert likeness(disks, spec(name="another", uuid=str(uuid.uuid4()))) == one
    for other in (spec(cpus=1), spec(memory_bytes=1 << 30), spec(kernel="other")):
        assert likeness(disks, other) not in (None, one)


def test_whoever_has_a_boot_loader_or_no_card_boots(disks: QcowDisks) -> None:
    assert likeness(disks, spec(kernel=None)) is None
    assert likeness(disks, spec(nics=())) is None


def test_a_disk_that_was_written_to_boots(disks: QcowDisks) -> None:
    path = disks.volume("disk")
    assert qcow2.is_blank(path) and likeness(disks, spec()) is not None
    assert os.system(f"qemu-io -f qcow2 -c 'write 65536 512' {path} >/dev/null") == 0
    assert not qcow2.is_blank(path) and likeness(disks, spec()) is None


def test_a_disk_on_top_of_nothing_boots(disks: QcowDisks) -> None:
    asyncio.run(disks.ensure(DiskSpec("alone", 1 << 20)))
    assert likeness(disks, spec()) is not None
    assert likeness(disks, replace(spec(), drives=(Drive("alone", "vol2"),))) is None


def memory(directory: Path) -> Path:
    """A saved machine's memory, as far as anybody looks at it."""
    one, other = uuid.UUID(SAVED.uuid), uuid.UUID(BOOT)
    parts = [b"dmi:", one.bytes_le, str(one).encode(), b"id:", one.hex.encode(), b"boot:", other.bytes,
             str(other).encode(), b"mac:", bytes.fromhex("021122334455")]
    page = b"".join(part + b"." * 5 for part in parts).ljust(4096, b"-")
    path = directory / "memory"
    path.write_bytes(page + MARK * 256 + page)
    return path


def test_a_copy_is_somebody_else_everywhere(disks: QcowDisks) -> None:
    found = states(disks)
    place = disks.directory.parent / "states" / "key"
    place.mkdir(parents=True)
    path = memory(place)
    before = path.read_bytes()
    state = saved_states._examined(path, SAVED, MARK, BOOT)

    async def copies() -> list[int]:
        return [found._copy(LIKE, state, COPY) for _ in range(2)]
    descriptors = run(copies())
    told = []
    for descriptor in descriptors:
        with open(descriptor, "rb") as file:
            after = file.read()
        size = int.from_bytes(after[4096:4100], "little")
        told.append(json.loads(after[4100:4100 + size]))
        assert len(after) == len(before) and after[:4096] == after[8192:]
        one, boot = uuid.UUID(COPY.uuid), uuid.UUID(told[-1]["boot"])
        for old in (SAVED.uuid, uuid.UUID(SAVED.uuid).hex, BOOT):
            assert old.encode() not in after
        for new in (one.bytes_le, COPY.uuid.encode(), one.hex.encode(), boot.bytes, str(boot).encode(),
                    bytes.fromhex("0a0000000001")):
            assert after.count(new) >= 2
    assert path.read_bytes() == before
    assert told[0]["uuid"] == told[1]["uuid"] == COPY.uuid
    assert told[0]["boot"] != told[1]["boot"] and told[0]["seed"] != told[1]["seed"]


def test_a_memory_without_a_place_for_the_letter_is_refused(disks: QcowDisks, tmp_path: Path) -> None:
    path = memory(tmp_path)
    with pytest.raises(Refused, match="letter"):
        saved_states._examined(path, SAVED, MARK[::-1], BOOT)


def test_a_state_is_found_until_it_turns_out_to_be_of_no_use(disks: QcowDisks) -> None:
    found = states(disks)
    assert found.find(LIKE) is None
    place = disks.directory.parent / "states" / "key"
    place.mkdir(parents=True)
    state = saved_states._examined(memory(place), SAVED, MARK, BOOT)
    (place / "state.json").write_bytes(saved_states.msgspec.json.encode(state))
    assert found.find(LIKE) == state

    async def main() -> None:
        found.refuse(LIKE, "it does not hold")
        assert found.find(LIKE) is None and not place.exists()
        found.want(LIKE)
        assert found._work is None, "machines like it boot"
        await found._clock.sleep(saved_states.UNFIT_S + 1)
        found.want(LIKE)
        assert found._work is not None, "a day later it is tried again"
        assert not list(place.parent.glob("*.unfit"))
        await found.close()
    run(main())


def test_one_that_a_former_version_refused_is_tried_again(disks: QcowDisks) -> None:
    place = disks.directory.parent / "states"
    place.mkdir(parents=True)
    (place / "key.unfit").write_text("a machine of this image does not hold\n")

    async def main() -> None:
        assert not states(disks).is_unfit(LIKE)
    run(main())


@pytest.mark.parametrize("error", [Busy("no answer"), Conflict("no room"), OSError("input/output error")])
def test_what_could_not_be_made_is_tried_again(disks: QcowDisks, error: Exception, monkeypatch: pytest.MonkeyPatch,
                                               caplog: pytest.LogCaptureFixture) -> None:
    found, tries = states(disks), []

    async def make(like: Likeness) -> None:
        tries.append(found._clock.now())
        raise error
    monkeypatch.setattr(found, "make", make)

    async def main() -> None:
        found.want(LIKE)
        assert found._work
        await found._work
        assert len(tries) == saved_states.TRIES and tries[1] - tries[0] >= saved_states.QUIET_S
        assert not found.is_unfit(LIKE), "what the host was at fault for says nothing of the image"
        assert str(error) in caplog.text
        found.want(LIKE)  # a launch of its like asks again
        assert not found._work.done()
        await found.close()
    run(main())


def test_copies_that_do_not_go_on_in_time_are_forgiven_twice(disks: QcowDisks) -> None:
    found = states(disks)
    place = disks.directory.parent / "states" / "key"
    place.mkdir(parents=True)
    state = saved_states._examined(memory(place), SAVED, MARK, BOOT)
    (place / "state.json").write_bytes(saved_states.msgspec.json.encode(state))

    async def main() -> None:
        for _ in range(saved_states.TRIES - 1):
            found.failed(LIKE, Busy("the copy does not go on"))
            assert found.find(LIKE) == state and not found.is_unfit(LIKE)
        found.failed(LIKE, Busy("the copy does not go on"))
        assert found.find(LIKE) is None and found.is_unfit(LIKE)
    run(main())


def test_a_state_that_cannot_be_read_is_made_anew_and_one_of_somebody_else_is_not(disks: QcowDisks) -> None:
    found = states(disks)
    place = disks.directory.parent / "states" / "key"
    place.mkdir(parents=True)

    async def main() -> None:
        found.failed(LIKE, Conflict("the state is cut off"))
        assert not place.exists() and not found.is_unfit(LIKE)
        found.failed(LIKE, Refused("the copy is not whom it is to be"))
        assert found.is_unfit(LIKE)
    run(main())


def test_what_was_begun_is_swept_away(disks: QcowDisks) -> None:
    draft = disks.directory.parent / "states" / ".key"
    draft.mkdir(parents=True)
    (draft / "pid").write_text(f"{os.getpid()}\n")  # somebody else's by now
    states(disks).sweep()
    assert not draft.exists()


def words(saved: machine_command.Saved) -> list[str]:
    return command(COPY, accelerated=False, monitor="m", pid_file="p", disks=["d"], kernel="k", saved=saved)


def test_the_saved_machine_has_the_copys_board_and_leads_nowhere() -> None:
    booted, saved, copy = words(""), words("to be"), words("was")
    assert copy == [*booted, "-incoming", "defer"]
    assert not any(word.startswith("tap,") for word in saved) and any(word.startswith("tap,") for word in copy)
    cards = [next(word for word in found if word.startswith("virtio-net-pci")) for found in (saved, copy)]
    assert "netdev=" not in cards[0]
    assert cards[0].split(",")[-2:] == cards[1].split(",")[-2:]
    assert "cloudlet.hold" in saved[saved.index("-append") + 1]
    assert "cloudlet.hold" not in copy[copy.index("-append") + 1]
