"""Machines on QEMU: the suite of the port, and what guests, crashes and full disks do, with a very small guest."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cloudlet.engines import disks as disks_module
from cloudlet.engines import machines as machines_module
from cloudlet.engines import netns
from cloudlet.engines.disks import QcowDisks
from cloudlet.engines.fake import World
from cloudlet.engines.machines import QemuMachines
from cloudlet.engines.ports import Address, DiskSpec, Fabric, LayerSource, MachineSpec, Member
from cloudlet.kernel.errors import Busy, Conflict
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from tests.engines import tiny_guest
from tests.engines.fabric_ground import FabricGround, assert_nothing_is_left, fabric_ground, member, opened, real, rule
from tests.engines.machines_conformance import CHECKS, MIB, Check, Ground
from tests.simulation.virtual import VirtualClock, run

BOOT_S = 60.0


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_fake_keeps_the_promises(check: Check) -> None:
    async def main() -> None:
        world = World(VirtualClock())

        async def nothing(spec: MachineSpec) -> None:
            pass

        async def power_off(spec: MachineSpec) -> None:
            world.machines.end(spec.name)

        async def lose(spec: MachineSpec) -> None:
            world.machines.end(spec.name, "lost")
        await check(Ground(world.machines, world.disks, world.networks, Installation("000000"), world.clock.sleep,
                           power_off, lose, nothing))
    run(main())


def test_doctor_is_told_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(Installation("000000"), tmp_path)
    machines = QemuMachines(site, QcowDisks(site))
    monkeypatch.setattr(machines_module, "_PROGRAMS", ("qemu-system-nothing",))
    assert "qemu-system-nothing is not installed" in (machines.probe() or "")
    monkeypatch.setattr(machines_module, "_PROGRAMS", ("sh",))
    monkeypatch.setattr(machines_module, "_TUN", tmp_path)
    assert machines.probe() is None
    (tmp_path / "accelerator").write_text(f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} tcg\n")
    assert machines.speed.startswith("emulated")


# ── Real ones ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Yard:
    """An installation with machines. `restart` gives adapters as a control plane that just started would have them."""

    fabric: FabricGround
    disks: QcowDisks
    machines: QemuMachines
    base: str = ""

    @property
    def ground(self) -> Ground:
        return Ground(self.machines, self.disks, self.fabric.networks, self.fabric.site.installation, asyncio.sleep,
                      self.power_off, self.lose, self.booted, self.base)

    def restart(self) -> None:
        """As after kill -9: nothing is let go of in peace."""
        for monitor in self.machines._monitors.values():
            monitor._sock.shutdown(socket.SHUT_RDWR)
        self.disks = QcowDisks(self.fabric.site)
        self.machines = QemuMachines(self.fabric.site, self.disks)
        self.fabric.start()

    async def booted(self, spec: MachineSpec, *others: Member) -> None:
        """Waits for a guest that takes orders; everything in the VPC may reach everything."""
        self.fabric.revision += 1
        members = (Member(spec.nics[0].interface, (Address("10.1.0.10"),), ("sg-a",)), *others)
        await self.fabric.networks.apply(Fabric(spec.network, self.fabric.revision, members,
                                                {"sg-a": opened(rule("ingress"))}))
        await self.says(spec, tiny_guest.READY, tiny_guest.LEASED)

    async def says(self, spec: MachineSpec, *texts: bytes) -> None:
        """Waits until all that is on the console."""
        end = time.monotonic() + BOOT_S
        said = b""
        while any(text not in said for text in texts):
            assert time.monotonic() < end, said[-2000:]
            await asyncio.sleep(0.1)
            said = await self.machines.console(spec.name)

    async def power_off(self, spec: MachineSpec) -> None:
        def order() -> None:
            with self.talk(spec) as client:
                client.sendall(b"(sleep 0.3; poweroff -f) </dev/null >/dev/null 2>&1 & exit\n")
                client.recv(1)
        await asyncio.to_thread(order)

    async def lose(self, spec: MachineSpec) -> None:
        seen = await self.machines.observe(spec.name)
        assert seen is not None
        assert seen.pid is not None
        os.kill(seen.pid, signal.SIGKILL)

    async def ask(self, spec: MachineSpec, command: str) -> None:
        """Past the control plane, by the machine's own monitor."""
        await (await self.machines._monitor(spec.name)).ask(command)

    def order(self, spec: MachineSpec, command: str, last: int = 10) -> str:
        """What a command in the guest says."""
        with self.talk(spec, last) as client:
            client.sendall(f"{command}; exit\n".encode())
            said = b""
            while chunk := client.recv(4096):
                said += chunk
        return said.decode()

    def talk(self, spec: MachineSpec, last: int = 10) -> socket.socket:
        """A shell in the guest. The VPC's namespace asks, whom no security group hinders."""
        end = time.monotonic() + BOOT_S
        while True:
            with netns.inside(netns.path_of(spec.network)):
                client = socket.socket()
            client.settimeout(20)
            try:
                client.connect((f"10.1.0.{last}", tiny_guest.PORT))
            except OSError:  # it serves one after the other
                client.close()
                assert time.monotonic() < end
                time.sleep(0.05)
            else:
                return client

    def up(self) -> MachineSpec:
        """A guest that has booted."""
        async def main() -> MachineSpec:
            spec = await self.ground.spec("one")
            await self.machines.ensure(spec)
            await self.booted(spec)
            return spec
        return self.fabric.run(main())


@contextmanager
def yard(directory: Path, *, holds: bool = False) -> Iterator[Yard]:
    kernel, ramdisk = tiny_guest.kernel(), tiny_guest.ramdisk(directory, holds=holds)
    with fabric_ground(directory / "data") as fabric:
        fabric.site.data_dir.mkdir(exist_ok=True)
        disks = QcowDisks(fabric.site)
        made = Yard(fabric, disks, QemuMachines(fabric.site, disks), fabric.site.installation.name("snap", "base"))
        blank = directory / "blank"
        blank.write_bytes(bytes(MIB))
        try:
            fabric.run(disks.receive(made.base, LayerSource(str(blank), "raw", str(kernel), str(ramdisk))))
            yield made
        finally:
            fabric.run(_clear(made))
    assert_nothing_is_left(fabric.site)


async def _clear(made: Yard) -> None:
    for name in await made.machines.owned():
        await made.machines.destroy(name)
    await made.machines.destroy_all()
    await made.machines.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Yard]:
    with yard(tmp_path) as found:
        yield found


@real
@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_qemu_keeps_the_promises(check: Check, place: Yard) -> None:
    async def main() -> None:
        ground = place.ground
        await ground.networks.ensure_network(ground.network)
        await check(ground)
    place.fabric.run(main())


@real
@pytest.mark.slow
def test_a_control_plane_that_was_killed_finds_its_machines(place: Yard) -> None:
    spec = place.up()
    before = place.fabric.run(place.machines.observe(spec.name))
    with place.talk(spec) as talk:
        talk.sendall(b"echo one\n")
        assert talk.recv(100) == b"one\n"
        place.restart()
        assert place.fabric.run(place.machines.observe(spec.name)) == before
        talk.sendall(b"echo two\n")
        assert talk.recv(100) == b"two\n", "the connection is open as it was"
    assert tiny_guest.READY in place.fabric.run(place.machines.console(spec.name)), "what was read before is kept"
    place.machines._records.path(spec.name, "process.json").unlink()
    place.restart()  # as if it had been killed right after it started QEMU
    again = place.fabric.run(place.machines.observe(spec.name))
    assert before is not None
    assert again is not None
    assert again.pid == before.pid

    async def drives() -> None:
        more = replace(spec, drives=(*spec.drives, await place.ground.drive("two")))
        seen = await place.ground.patiently(lambda: place.machines.ensure(more))
        assert len(seen.drives) == 2
        with pytest.raises(Conflict):
            await place.machines.ensure(replace(more, name=place.ground.name("vm", "thief")))
    place.fabric.run(drives())
    look = "until [ -e /sys/block/vdb/serial ]; do sleep 0.1; done; cat /sys/block/vdb/serial"
    assert place.order(spec, look).strip() == f"vol{'two':0>17}"


@real
@pytest.mark.slow
def test_what_a_guest_wrote_is_kept_and_copied(place: Yard) -> None:
    spec = place.up()
    disk, layer = spec.drives[0].disk, place.ground.name("snap", "one")

    def write(word: str) -> None:
        place.order(spec, f"printf {word} | dd of=/dev/vda conv=fsync bs=512 seek=8 2>/dev/null")

    def read(last: int = 10) -> str:
        return place.order(spec, "dd if=/dev/vda bs=512 skip=8 count=1 2>/dev/null | head -c 5", last)
    write("first")
    place.fabric.run(place.disks.seal(disk, layer))
    assert read() == "first"
    write("later")
    place.fabric.run(place.disks.ensure(DiskSpec(disk, 32 * MIB)))
    assert place.order(spec, "cat /sys/block/vda/size").strip() == str(32 * MIB // 512), "the guest sees it grown"

    async def again() -> MachineSpec:
        await place.power_off(spec)
        await place.ground.ended(spec.name)
        await place.machines.destroy(spec.name)
        copy = place.ground.name("vol", "copy")
        await place.disks.ensure(DiskSpec(copy, 16 * MIB, layer))
        both = replace(spec, drives=(*spec.drives, replace(spec.drives[0], disk=copy, serial="volcopy")))
        await place.machines.ensure(both)
        await place.booted(both)
        return both
    both = place.fabric.run(again())
    assert read() == "later"
    assert place.order(both, "dd if=/dev/vdb bs=512 skip=8 count=1 2>/dev/null | head -c 5") == "first"


@real
@pytest.mark.slow
def test_a_full_disk_stops_a_guest_and_space_lets_it_go_on(place: Yard, monkeypatch: pytest.MonkeyPatch,
                                                           tmp_path: Path) -> None:
    monkeypatch.setattr(disks_module, "RESERVE_BYTES", 0)
    monkeypatch.setattr(machines_module, "RETRY_S", 0.5)
    volumes = place.disks.directory / "volumes"
    volumes.mkdir(exist_ok=True)
    layers = [path.name for path in place.disks.directory.iterdir()]
    assert "layers" in layers
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=711", "cloudlet-test", str(volumes)], check=True)
    monkeypatch.setattr(place.disks, "_usable_bytes", lambda: shutil.disk_usage(volumes).free)
    monkeypatch.setattr(disks_module, "GO_ON_BYTES", 2 * MIB)
    try:
        spec = place.up()
        place.order(spec, "(dd if=/dev/urandom of=/dev/vda bs=1M count=12 conv=fsync; echo guest: written >/dev/ttyS0)"
                          " >/dev/null 2>&1 & true")

        async def paused() -> None:
            monitor = await place.machines._monitor(spec.name)
            status = ""
            while status != "io-error":
                await asyncio.sleep(0.1)
                status = (await monitor.ask("query-status"))["status"]
        place.fabric.run(asyncio.wait_for(paused(), BOOT_S))
        seen = place.fabric.run(place.machines.observe(spec.name))
        assert seen is not None
        assert (seen.state, seen.stalled) == ("running", True)
        assert b"guest: written" not in place.fabric.run(place.machines.console(spec.name))
        subprocess.run(["mount", "-o", "remount,size=64m", str(volumes)], check=True)
        place.fabric.run(place.says(spec, b"guest: written"))
        assert not place.fabric.run(place.machines.observe(spec.name)).stalled  # type: ignore[union-attr]
        assert "error" not in place.order(spec, "dmesg | grep -i vda | grep -i error").lower()
    finally:
        place.fabric.run(_clear(place))
        subprocess.run(["umount", "-l", str(volumes)], check=True)


@real
@pytest.mark.slow
def test_a_guest_is_in_the_fabric_and_nowhere_else(place: Yard) -> None:
    spec = place.up()
    task = place.fabric.interface(20)
    place.fabric.run(place.fabric.networks.ensure_interface(task))
    place.fabric.run(place.booted(spec, member(task)))
    assert place.fabric.ping(task, "10.1.0.10")
    asked = (spec.nics[0].interface, task.name)

    def answering() -> frozenset[str]:
        return place.fabric.run(place.fabric.networks.answering(spec.network, asked))
    assert answering() == {*asked}
    place.fabric.run(place.ask(spec, "stop"))
    assert answering() == {task.name}, "its processors stand still"
    place.fabric.run(place.ask(spec, "cont"))
    assert answering() == {*asked}
    place.order(spec, "(sleep 1; ifconfig eth0 down; sleep 12; ifconfig eth0 up;"
                      " ip route add default via 10.1.0.1) >/dev/null 2>&1 & true")
    time.sleep(2)
    assert answering() == {task.name}, "its network is down"
    end = time.monotonic() + BOOT_S
    while spec.nics[0].interface not in answering() or "default" not in place.order(spec, "ip route"):
        assert time.monotonic() < end
    assert "10.1.0.10/24" in place.order(spec, "ip addr show eth0")
    assert "default via 10.1.0.1" in place.order(spec, "ip route")
    assert " 0% packet loss" in place.order(spec, f"ping -c 2 -W 2 {task.address}")
    assert "100% packet loss" in place.order(spec, f"ping -c 1 -W 1 {place.fabric.host}")
    place.fabric.run(place.ask(spec, "system_reset"))
    place.fabric.run(place.says(spec, tiny_guest.READY))
    end = time.monotonic() + BOOT_S
    while not place.fabric.ping(task, "10.1.0.10"):  # it asked for its address again
        assert time.monotonic() < end


def _lose_taps(place: Yard, spec: MachineSpec) -> None:
    """Somebody deletes the machine's devices."""
    for nic in spec.nics:
        place.fabric.command(place.ground.network, "ip", "link", "delete", nic.device)


def _lose_namespace(place: Yard, spec: MachineSpec) -> None:
    """The VPC's namespace loses its name, and lives on where only the machine knows it."""
    subprocess.run(["ip", "netns", "delete", spec.network], check=True)


@real
@pytest.mark.slow
@pytest.mark.parametrize("lose", [_lose_taps, _lose_namespace], ids=["taps", "namespace"])
def test_lost_wires_are_mended_and_the_guest_sees_nothing_of_it(place: Yard,
                                                                lose: Callable[[Yard, MachineSpec], None]) -> None:
    spec, ground = place.up(), place.ground
    boot = place.order(spec, "cat /proc/sys/kernel/random/boot_id")
    card = place.order(spec, "readlink /sys/class/net/eth0/device; cat /sys/class/net/eth0/ifindex")

    async def mended() -> None:
        """What the loops of instances and interfaces do."""
        for _ in range(20):
            await ground.networks.ensure_network(ground.network)
            for nic in wide.nics:
                await ground.nic(int(nic.interface == wide.nics[1].interface) + 10)
            try:
                seen = await place.machines.ensure(wide)
            except (Busy, Conflict):
                continue
            assert {*seen.nics} == {nic.interface for nic in wide.nics} and not seen.unwired
            return
        raise AssertionError("they do not come back")
    wide = replace(spec, nics=(*spec.nics, place.fabric.run(ground.nic(11))))
    place.fabric.run(place.machines.ensure(wide))
    for kill in (False, True):
        lose(place, wide)
        if kill:
            place.restart()
        seen = place.fabric.run(place.machines.observe(spec.name))
        assert seen and seen.state == "running" and {*seen.unwired} == {*seen.nics}, "nothing comes by these wires"
        place.fabric.run(mended())
        place.fabric.run(place.booted(spec))
        assert place.order(spec, "cat /proc/sys/kernel/random/boot_id") == boot
        assert place.order(spec, "readlink /sys/class/net/eth0/device; cat /sys/class/net/eth0/ifindex") == card
        wires = place.fabric.command(ground.network, "ip", "-o", "link")
        assert all("NO-CARRIER" not in line for line in wires.splitlines())
