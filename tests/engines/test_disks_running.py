"""Disks of machines that run: kept, grown, plugged in and taken out, under a QEMU whose guest never started."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudlet.engines import process, qmp
from cloudlet.engines.disks import QcowDisks
from cloudlet.engines.machine_record import user_of
from cloudlet.engines.machines import QemuMachines
from cloudlet.engines.ports import DiskSpec, Drive, LayerSource, MachineSpec
from cloudlet.kernel.errors import Busy, Conflict, EngineError
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from tests.engines.disks_conformance import MIB
from tests.engines.test_disks import get, put

pytestmark = [pytest.mark.root, pytest.mark.engine("qemu-system-x86_64")]
NETWORK = "cl-d15c00-vpc-disks"


@pytest.fixture
def network() -> Iterator[str]:
    subprocess.run(["ip", "netns", "add", NETWORK], check=True)
    yield NETWORK
    subprocess.run(["ip", "netns", "delete", NETWORK], check=True)


def spec(name: str, network: str, *disks: str) -> MachineSpec:
    return MachineSpec(name, network, 1, 320 * MIB, tuple(Drive(disk, disk.replace("-", "")) for disk in disks), ())


class Ground:
    """Disks and machines of one installation, as one control plane after the other finds them."""

    def __init__(self, directory: Path) -> None:
        site = Site(Installation("d15c00"), directory)
        (directory / "accelerator").write_text("tcg")
        self.disks = QcowDisks(site)
        self.machines = QemuMachines(site, self.disks)

    async def successor(self, directory: Path) -> "Ground":
        """What finds everything as this one left it."""
        await self.machines.close()
        return Ground(directory)

    async def patiently(self, wanted: MachineSpec) -> None:
        """Until the machine has what is wanted."""
        for _ in range(50):
            try:
                await self.machines.ensure(wanted)
            except Busy:
                await asyncio.sleep(0.1)
            else:
                return
        raise AssertionError("it never has")


def test_a_running_machine_goes_on_on_top_of_what_is_kept(tmp_path: Path, network: str) -> None:
    async def main() -> None:
        ground = Ground(tmp_path)
        disks, machines = ground.disks, ground.machines
        await disks.ensure(DiskSpec("vol-1", 16 * MIB))
        put(disks.volume("vol-1"), "one")
        machine = await machines.ensure(spec("vm-1", network, "vol-1"))
        try:
            assert machine.drives == ("vol-1",)
            assert (await disks.seal("vol-1", "snap-1")).size_bytes == 16 * MIB
            assert (await disks.ensure(DiskSpec("vol-1", 32 * MIB))).size_bytes == 32 * MIB
            await disks.seal("vol-1", "snap-2")
            assert (await machines.observe("vm-1")) == machine, "the machine noticed nothing"
            await machines.close()
            second = Ground(tmp_path)  # another control plane
            assert (await second.disks.seal("vol-1", "snap-3")).size_bytes == 32 * MIB
            await second.disks.ensure(DiskSpec("copy", 64 * MIB, "snap-1"))
            assert get(second.disks.volume("copy")) == "one"
            with pytest.raises(Conflict):
                await second.disks.destroy("vol-1")
            with pytest.raises(Conflict):
                await second.machines.ensure(spec("vm-2", network, "vol-1"))
            await second.machines.destroy("vm-1")
            await second.disks.destroy("vol-1")
            await second.machines.close()
        finally:
            last = Ground(tmp_path)
            await last.machines.destroy("vm-1")
            await last.machines.destroy_all()
    asyncio.run(main())


def test_a_disk_that_was_taken_out_is_free_for_another_machine(tmp_path: Path, network: str) -> None:
    async def main() -> None:
        ground = Ground(tmp_path)
        disks, machines = ground.disks, ground.machines
        for name in ("vol-1", "vol-2", "vol-3"):
            await disks.ensure(DiskSpec(name, 8 * MIB))
        one, two = spec("vm-1", network, "vol-1"), spec("vm-2", network, "vol-2")
        try:
            await machines.ensure(one)
            await machines.ensure(two)
            await ground.patiently(replace(one, drives=(*one.drives, Drive("vol-3", "vol3"))))
            await disks.seal("vol-3", "snap-3")
            await disks.ensure(DiskSpec("vol-3", 9 * MIB))
            with pytest.raises(Conflict):
                await machines.ensure(replace(two, drives=(*two.drives, Drive("vol-3", "vol3"))))
            with pytest.raises(Busy):
                await machines.ensure(one)
            seen = await machines.observe("vm-1")
            assert seen is not None and seen.drives == ("vol-1", "vol-3"), "nobody is there to let go of it"
            await (await machines._monitor("vm-1")).ask("system_reset")  # which does it for a guest that does not
            await ground.patiently(one)
            seen = await machines.observe("vm-1")
            assert seen is not None and seen.drives == ("vol-1",)
            assert disks.volume("vol-3").stat().st_uid == 0, "its user is not the next one's"
            await ground.patiently(replace(two, drives=(*two.drives, Drive("vol-3", "vol3"))))
            seen = await machines.observe("vm-2")
            assert seen is not None and seen.drives == ("vol-2", "vol-3")
        finally:
            for name in ("vm-1", "vm-2"):
                await machines.destroy(name)
            await machines.destroy_all()
            await machines.close()
    asyncio.run(main())


def _writes(path: Path) -> bool:
    """Whether somebody who knows of no machine may write to a disk's file."""
    return subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 512", str(path)], capture_output=True,
                          check=False).returncode == 0


def test_no_second_machine_ever_has_a_disk_even_where_nobody_remembers_the_first(tmp_path: Path, network: str) -> None:
    async def main() -> None:
        ground, records = Ground(tmp_path), tmp_path / "machines"
        for name in ("vol-1", "vol-2"):
            await ground.disks.ensure(DiskSpec(name, 8 * MIB))
        put(ground.disks.volume("vol-1"), "kept")
        one, two = spec("vm-1", network, "vol-1"), spec("vm-2", network, "vol-1")
        first = await ground.machines.ensure(one)
        (records / "vm-1").rename(tmp_path / "forgotten")
        last = await ground.successor(tmp_path)
        try:
            with pytest.raises(Conflict, match="lock"):
                await last.machines.ensure(two)
            assert not (records / "vm-2").exists()
            with pytest.raises(Busy):
                await last.disks.ensure(DiskSpec("vol-1", 16 * MIB))
            assert not _writes(last.disks.volume("vol-1"))
            await last.patiently(spec("vm-2", network, "vol-2"))
            with pytest.raises(EngineError):
                await last.machines.ensure(spec("vm-2", network, "vol-2", "vol-1"))
            (tmp_path / "forgotten").rename(records / "vm-1")
            last = await last.successor(tmp_path)
            assert await last.machines.observe("vm-1") == first, "it runs on, with its disk"
            await last.machines.destroy("vm-1")
            assert get(last.disks.volume("vol-1")) == "kept"
        finally:
            for name in ("vm-1", "vm-2"):
                await last.machines.destroy(name)
            await last.machines.destroy_all()
            await last.machines.close()
    asyncio.run(main())


def test_what_had_a_disk_is_gone_before_the_next_gets_it(tmp_path: Path, network: str,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "ANSWER_S_MAX", 1.0)

    async def main() -> None:
        ground = Ground(tmp_path)
        await ground.disks.ensure(DiskSpec("vol-1", 8 * MIB))
        try:
            first = await ground.machines.ensure(spec("vm-1", network, "vol-1"))
            assert first.pid is not None
            os.kill(first.pid, signal.SIGSTOP)  # nothing more is heard of it, but it may yet write
            last = await ground.successor(tmp_path)
            with pytest.raises(Conflict):
                await last.machines.ensure(spec("vm-2", network, "vol-1"))
            await last.machines.stop("vm-1", 0)
            assert process.identify(first.pid) is None
            assert (await last.machines.ensure(spec("vm-2", network, "vol-1"))).state == "running"
        finally:
            for name in ("vm-1", "vm-2"):
                await last.machines.destroy(name)
            await last.machines.destroy_all()
            await last.machines.close()
    asyncio.run(main())


def _opens(user: int, path: Path, flags: int) -> bool:
    """Whether a user may open a file."""
    code = "import os, sys; os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]));" \
           " os.open(sys.argv[2], int(sys.argv[3]))"
    return subprocess.run([sys.executable, "-c", code, str(user), str(path), str(flags)], capture_output=True,
                          check=False).returncode == 0


def test_a_machine_may_open_its_own_disks_and_nothing_else(tmp_path: Path, network: str) -> None:
    async def main() -> None:
        ground = Ground(tmp_path)
        disks, machines = ground.disks, ground.machines
        for name in ("vol-1", "vol-2", "vol-free"):
            await disks.ensure(DiskSpec(name, 8 * MIB))
        try:
            one = await machines.ensure(spec("vm-1", network, "vol-1"))
            await machines.ensure(spec("vm-2", network, "vol-2"))
            await disks.seal("vol-2", "snap-2")
            await disks.seal("vol-free", "snap-free")
            status = Path(f"/proc/{one.pid}/status").read_text()
            (user,) = {line.split()[1] for line in status.splitlines() if line.startswith(("Uid:", "Gid:"))}
            assert int(user) == user_of("vm-1") != user_of("vm-2") and int(user) != 0
            assert "CapEff:\t0000000000000000" in status
            for place in (tmp_path, *tmp_path.parents[:-2]):
                place.chmod(0o711)

            def may(path: Path, flags: int) -> bool:
                return _opens(int(user), path, flags)
            assert may(disks.volume("vol-1"), os.O_RDWR), "the test would see it"
            for path in (disks.volume("vol-2"), disks.volume("vol-free"), tmp_path / "machines" / "vm-2",
                         disks.directory, disks.directory / "volumes", disks.directory / "layers"):
                assert not may(path, os.O_RDONLY), path
            assert not may(disks.layer("snap-2"), os.O_RDWR)
            assert not any(may(path, os.O_RDWR) for path in Path("/run").glob("cl-d15c00-machines*"))
        finally:
            for name in ("vm-1", "vm-2"):
                await machines.destroy(name)
            await machines.destroy_all()
            await machines.close()
    asyncio.run(main())


# xor ax,ax · mov ds,ax · mov si,0x7c15 · mov dx,0x3f8 · lodsb · test al,al · jz · out dx,al · jmp · hlt · jmp
_LOADER = bytes.fromhex("31c0 8ed8 be157c baf803 ac 84c0 7403 ee ebf8 f4 ebfd") + b"started by its own boot loader\0"


def test_an_image_of_somebody_elses_is_started_by_its_own_boot_loader(tmp_path: Path, network: str) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(_LOADER.ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB))

    async def main() -> None:
        ground = Ground(tmp_path)
        seen = await ground.disks.receive("image", LayerSource(str(image), "raw"))
        assert not seen.kernel
        await ground.disks.ensure(DiskSpec("vol-1", 4 * MIB, "image"))
        try:
            await ground.machines.ensure(spec("vm-1", network, "vol-1"))
            for _ in range(200):
                said = await ground.machines.console("vm-1")
                if b"started by its own boot loader" in said:
                    return
                await asyncio.sleep(0.1)
            raise AssertionError(said)
        finally:
            await ground.machines.destroy("vm-1")
            await ground.machines.destroy_all()
            await ground.machines.close()
    asyncio.run(main())
