"""What every implementation of the `Disks` port must do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from cloudlet.engines.ports import Disks, DiskSpec, LayerSource
from cloudlet.kernel.errors import Conflict, Refused

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Ground:
    """An implementation, and hands to write to and read from its disks, and to make a file that can be received."""

    disks: Disks
    write: Callable[[str, str], Awaitable[None]]
    read: Callable[[str], Awaitable[str]]
    file: Callable[[str], LayerSource]


async def disks_begin_empty_or_as_a_layer_and_grow(ground: Ground) -> None:
    disks = ground.disks
    assert await disks.observe("vol-1") is None
    made = await disks.ensure(DiskSpec("vol-1", 8 * MIB))
    assert (made.name, made.size_bytes) == ("vol-1", 8 * MIB)
    await ground.write("vol-1", "one")
    assert await disks.ensure(DiskSpec("vol-1", 8 * MIB)) is not None
    assert await ground.read("vol-1") == "one", "what is there is left as it is"
    assert (await disks.ensure(DiskSpec("vol-1", 16 * MIB))).size_bytes == 16 * MIB
    assert (await disks.ensure(DiskSpec("vol-1", 4 * MIB))).size_bytes == 16 * MIB, "it never shrinks"
    assert await ground.read("vol-1") == "one"
    with pytest.raises(Conflict):
        await disks.ensure(DiskSpec("vol-2", 8 * MIB, "nothing"))
    assert await disks.observe("vol-2") is None
    assert await disks.owned() == ("vol-1",)


async def layers_keep_their_moment(ground: Ground) -> None:
    disks = ground.disks
    await disks.ensure(DiskSpec("vol-1", 8 * MIB))
    with pytest.raises(Conflict):
        await disks.seal("vol-9", "snap-9")
    for number in ("one", "two", "three"):
        await ground.write("vol-1", number)
        sealed = await disks.seal("vol-1", f"snap-{number}")
        assert sealed == await disks.seal("vol-1", f"snap-{number}") == await disks.observe(f"snap-{number}")
        assert sealed.size_bytes == 8 * MIB
    await ground.write("vol-1", "later")
    assert (await disks.seal("vol-1", "snap-one")).name == "snap-one", "once"
    assert set(await disks.owned()) == {"vol-1", "snap-one", "snap-two", "snap-three"}
    for number in ("one", "two", "three"):
        await disks.ensure(DiskSpec(f"from-{number}", 12 * MIB, f"snap-{number}"))
        assert await ground.read(f"from-{number}") == number
    await ground.write("from-one", "mine")
    assert await ground.read("vol-1") == "later"
    assert await ground.read("from-two") == "two"


async def what_is_needed_stays_whatever_the_order_of_deletion(ground: Ground) -> None:
    disks = ground.disks
    await disks.ensure(DiskSpec("vol-1", 8 * MIB))
    for number in ("one", "two"):
        await ground.write("vol-1", number)
        await disks.seal("vol-1", f"snap-{number}")
    await disks.ensure(DiskSpec("copy", 8 * MIB, "snap-one"))
    for name in ("snap-one", "vol-1", "snap-one", "nothing"):
        await disks.destroy(name)
    assert await disks.observe("snap-one") is None
    with pytest.raises(Conflict):
        await disks.ensure(DiskSpec("late", 8 * MIB, "snap-one"))
    assert set(await disks.owned()) == {"copy", "snap-two"}
    assert await ground.read("copy") == "one"
    await disks.ensure(DiskSpec("again", 8 * MIB, "snap-two"))
    assert await ground.read("again") == "two"
    for name in ("snap-two", "again", "copy"):
        await disks.destroy(name)
    assert await disks.owned() == ()


async def files_become_layers_once(ground: Ground) -> None:
    disks = ground.disks
    source = ground.file("from outside")
    made = await disks.receive("image", source)
    assert made == await disks.receive("image", source) == await disks.observe("image")
    assert not made.kernel
    await disks.ensure(DiskSpec("vol-1", made.size_bytes, "image"))
    assert await ground.read("vol-1") == "from outside"
    with pytest.raises(Refused):
        await disks.receive("other", LayerSource("/nowhere/at/all", "raw"))
    assert await disks.observe("other") is None


PROMISES = (disks_begin_empty_or_as_a_layer_and_grow, layers_keep_their_moment,
            what_is_needed_stays_whatever_the_order_of_deletion, files_become_layers_once)
