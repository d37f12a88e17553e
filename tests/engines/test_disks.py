"""The promises of disks, on the fake and on qcow2 files; and what only files can suffer."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from cloudlet.engines import disks as disks_module
from cloudlet.engines import qcow2
from cloudlet.engines.disks import QcowDisks
from cloudlet.engines.fake import World
from cloudlet.engines.ports import DiskSpec, LayerSource
from cloudlet.kernel.errors import Busy, Conflict, Full, Refused
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from tests.engines.disks_conformance import MIB, PROMISES, Ground
from tests.simulation.virtual import VirtualClock

pytestmark = pytest.mark.engine("qemu-img")


def adapter(directory: Path) -> QcowDisks:
    return QcowDisks(Site(Installation("abcdef"), directory))


def qemu_io(path: Path, *commands: str) -> str:
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(["qemu-io", "-f", "qcow2", *words, str(path)], capture_output=True, text=True, check=True)
    return done.stdout


def put(path: Path, text: str) -> None:
    """Writes a text to the beginning of a disk, as a guest might."""
    pattern = path.with_suffix(".pattern")
    pattern.write_bytes(text.encode().ljust(512, b"\0"))
    qemu_io(path, f"write -q -s {pattern} 0 512")
    pattern.unlink()


def get(path: Path) -> str:
    """The text at the beginning of a disk."""
    with tempfile.TemporaryDirectory() as elsewhere:
        raw = Path(elsewhere) / "raw"
        subprocess.run(["qemu-img", "dd", "-U", "-f", "qcow2", "-O", "raw", "bs=512", "count=1", f"if={path}",
                        f"of={raw}"], check=True)
        return raw.read_bytes().rstrip(b"\0").decode()


def raw_file(directory: Path, text: str) -> LayerSource:
    path = directory / "image.raw"
    path.write_bytes(text.encode().ljust(4 * MIB, b"\0"))
    return LayerSource(str(path), "raw")


def real(directory: Path) -> Ground:
    disks = adapter(directory / "data")
    (directory / "data").mkdir(exist_ok=True)

    async def write(name: str, text: str) -> None:
        put(disks.volume(name), text)

    async def read(name: str) -> str:
        return get(disks.volume(name))
    return Ground(disks, write, read, lambda text: raw_file(directory, text))


def fake(directory: Path) -> Ground:
    disks = World(VirtualClock()).disks

    async def write(name: str, text: str) -> None:
        disks.disks[name].text = text

    async def read(name: str) -> str:
        return disks.disks[name].text

    def file(text: str) -> LayerSource:
        disks.files["image.raw"] = text
        return LayerSource("image.raw", "raw")
    return Ground(disks, write, read, file)


@pytest.mark.parametrize("make", [fake, real])
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_promises(make: Callable[[Path], Ground], promise: Callable[[Ground], Awaitable[None]], tmp_path: Path) -> None:
    async def main() -> None:
        await promise(make(tmp_path))
    asyncio.run(main())


# ── Crashes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Died(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("step", range(9))
def test_a_seal_cut_off_anywhere_is_finished_or_forgotten(tmp_path: Path, step: int,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Dies before the step'th effect of a seal: afterwards the disk is whole, and the layer exact or not at all."""
    count = 0

    def dies(module: object, name: str) -> None:
        before = getattr(module, name)

        def run(*arguments: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count > step:
                raise Died
            return before(*arguments, **named)
        monkeypatch.setattr(module, name, run)

    async def first() -> None:
        await adapter(tmp_path).ensure(DiskSpec("vol", 8 * MIB))
        put(adapter(tmp_path).volume("vol"), "kept")
        for module, name in ((disks_module, "_qemu_img"), (disks_module, "_sync"), (os, "link"), (os, "replace"),
                             (os, "chown")):
            dies(module, name)
        await adapter(tmp_path).seal("vol", "snap")

    async def then() -> None:
        disks = adapter(tmp_path)
        seen = await disks.observe("vol")
        assert seen is not None and seen.size_bytes == 8 * MIB, "nobody may think that it is lost"
        await disks.prepare("vol")
        put(disks.volume("vol"), "later")
        layer = await disks.observe("snap")
        if layer is not None:
            await disks.ensure(DiskSpec("copy", 8 * MIB, "snap"))
            assert get(disks.volume("copy")) == "kept"
        await disks.seal("vol", "snap")
        assert get(disks.volume("vol")) == "later"
        await disks.destroy("vol")
        await disks.destroy("copy")
        await disks.destroy("snap")
        assert _all(tmp_path) == []
    try:
        asyncio.run(first())
        assert step >= 8, "the last step is one that does not die"
    except Died:
        pass
    monkeypatch.undo()
    asyncio.run(then())


def _all(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "disks").rglob("*") if path.is_file())


def test_a_layer_that_is_destroyed_before_its_seal_is_finished_takes_no_write_along(tmp_path: Path) -> None:
    async def main() -> None:
        disks = adapter(tmp_path)
        await disks.ensure(DiskSpec("vol", 8 * MIB))
        put(disks.volume("vol"), "old")
        await disks._blank(disks._next("vol"), "snap", 8 * MIB)
        os.link(disks.volume("vol"), disks.layer("snap"))
        put(disks._next("vol"), "new")  # a machine writes there already
        await disks.destroy("snap")
        await disks.prepare("vol")
        assert get(disks.volume("vol")) == "new"
        assert await disks.observe("snap") is None and "snap" not in await disks.owned()
    asyncio.run(main())


def test_a_base_that_is_destroyed_meanwhile_leaves_no_disk_without_one(tmp_path: Path) -> None:
    async def main() -> None:
        disks = adapter(tmp_path)
        await disks.ensure(DiskSpec("vol", 8 * MIB))
        await disks.seal("vol", "snap")
        await disks.destroy("vol")
        making = asyncio.create_task(disks.ensure(DiskSpec("copy", 8 * MIB, "snap")))
        await asyncio.sleep(0)
        await disks.destroy("snap")
        with pytest.raises(Conflict):
            await making
        assert await disks.observe("copy") is None
        await disks.destroy("copy")
        assert _all(tmp_path) == []
    asyncio.run(main())


def test_a_chain_may_not_become_too_long_to_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks_module, "DEPTH_MAX", 3)

    async def main() -> None:
        disks = adapter(tmp_path)
        await disks.ensure(DiskSpec("vol", 8 * MIB))
        for number in range(3):
            await disks.seal("vol", f"snap-{number}")
        with pytest.raises(Refused, match="on 3 layers"):
            await disks.seal("vol", "snap-3")
        assert await disks.observe("snap-3") is None and await disks.observe("vol") is not None
        assert (await disks.seal("vol", "snap-2")).name == "snap-2"
    asyncio.run(main())


# ── Files of strangers ───────────────────────────────────────────────────────────────────────────────────────────────


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True)


def test_a_file_that_refers_to_others_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"the host's own".ljust(MIB, b"\0"))
    hostile = tmp_path / "hostile.qcow2"

    async def refused(words: str) -> None:
        disks = adapter(tmp_path)
        with pytest.raises(Refused, match=words):
            await disks.receive("image", LayerSource(str(hostile), "qcow2"))
        assert await disks.observe("image") is None
        await disks.destroy("image")
        assert not (tmp_path / "disks").exists() or _all(tmp_path) == []
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(hostile))
    asyncio.run(refused("refers to another file"))
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on", str(hostile), "1M")
    asyncio.run(refused("refers to another file"))
    hostile.write_bytes(b"QFI\xfb" + b"\xff" * 100)
    asyncio.run(refused("not a qcow2 file"))
    hostile.write_bytes(b"#!/bin/sh")
    asyncio.run(refused("not a qcow2 file"))
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", str(hostile), str(65 << 40))
    asyncio.run(refused("larger than any volume"))
    qemu_img("create", "-q", "-f", "qcow2", str(hostile), "1M")
    data = bytearray(hostile.read_bytes())
    data[40:48] = b"\xff" * 8  # where its tables are
    hostile.write_bytes(data)
    asyncio.run(refused("qemu-img"))


def test_a_qcow2_file_and_its_kernel_are_received(tmp_path: Path) -> None:
    image, kernel, ramdisk = tmp_path / "image.qcow2", tmp_path / "vmlinuz", tmp_path / "initrd"
    qemu_img("create", "-q", "-f", "qcow2", str(image), "8M")
    put(image, "system")
    kernel.write_bytes(b"kernel")
    ramdisk.write_bytes(b"ramdisk")

    async def main() -> None:
        disks = adapter(tmp_path)
        seen = await disks.receive("image", LayerSource(str(image), "qcow2", str(kernel), str(ramdisk)))
        assert seen.kernel and seen.size_bytes == 8 * MIB
        await disks.ensure(DiskSpec("vol", 8 * MIB, "image"))
        await disks.destroy("image")
        assert disks.layer("image").with_suffix(".kernel").read_bytes() == b"kernel", "what was made of it starts by it"
        await disks.destroy("vol")
        assert _all(tmp_path) == []
    asyncio.run(main())


def test_the_head_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert qcow2.header(path) is None
    path.write_bytes(b"QFI\xfb\0\0\0\2" + (80).to_bytes(8, "big") + (0xFFFFFFFF).to_bytes(4, "big") + b"\0" * 4
                     + (1 << 20).to_bytes(8, "big") + b"\0" * 48 + b"x" * 5000)
    found = qcow2.header(path)
    assert found is not None and found.backing == "x" * 1023, "no more is read than a name may have"


# ── The place ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_data_directory_may_be_moved(tmp_path: Path) -> None:
    async def main() -> None:
        disks = adapter(tmp_path / "here")
        (tmp_path / "here").mkdir()
        await disks.ensure(DiskSpec("vol", 8 * MIB))
        put(disks.volume("vol"), "kept")
        await disks.seal("vol", "snap")
        shutil.move(tmp_path / "here", tmp_path / "there")
        moved = adapter(tmp_path / "there")
        assert get(moved.volume("vol")) == "kept"
        await moved.ensure(DiskSpec("copy", 8 * MIB, "snap"))
        assert get(moved.volume("copy")) == "kept"
    asyncio.run(main())


def test_a_file_that_somebody_has_open_is_busy(tmp_path: Path) -> None:
    async def main() -> None:
        disks = adapter(tmp_path)
        await disks.ensure(DiskSpec("vol", 8 * MIB))
        pipe = asyncio.subprocess.PIPE
        holder = await asyncio.create_subprocess_exec("qemu-io", "-f", "qcow2", str(disks.volume("vol")), stdin=pipe,
                                                      stdout=pipe)
        assert holder.stdout
        assert await holder.stdout.readexactly(8) == b"qemu-io>"  # a machine that ends, and has it still
        with pytest.raises(Busy):
            await disks.ensure(DiskSpec("vol", 16 * MIB))
        await holder.communicate(b"quit\n")
        assert (await disks.ensure(DiskSpec("vol", 16 * MIB))).size_bytes == 16 * MIB
    asyncio.run(main())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.root
def test_a_full_disk_refuses_what_is_new_and_harms_nothing(small: Path, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks_module, "RESERVE_BYTES", 0)

    async def main() -> None:
        disks = adapter(small)
        await disks.ensure(DiskSpec("vol", 64 * MIB))
        put(disks.volume("vol"), "kept")
        assert (await disks.survey()).free_bytes > 0
        big = tmp_path / "big.raw"
        big.write_bytes(os.urandom(8 * MIB))
        with pytest.raises(Full):
            await disks.receive("image", LayerSource(str(big), "raw"))
        (small / "ballast").write_bytes(b"x" * (disks.free_bytes() - (300 << 10)))
        async def fill() -> None:
            for number in range(9):
                await disks.ensure(DiskSpec(f"new-{number}", 64 * MIB))
        with pytest.raises(Full):
            await fill()
        (small / "more").write_bytes(b"x" * disks.free_bytes())
        with pytest.raises(Full):
            await disks.seal("vol", "snap")
        assert (await disks.survey()).free_bytes == 0
        assert get(disks.volume("vol")) == "kept"
        (small / "ballast").unlink()
        await disks.seal("vol", "snap")
        assert get(disks.volume("vol")) == "kept"
    asyncio.run(main())
