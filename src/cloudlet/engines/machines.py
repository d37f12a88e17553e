"""Virtual machines on QEMU: the `Machines` port, one detached process for each.

A machine's process stands in its VPC's network namespace as a user of its own. It is found again by pid and start time,
and asked through its monitor; a guest that powered off stays until that was seen.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

from cloudlet.engines import machine_command, netns, process
from cloudlet.engines.acceleration import Acceleration
from cloudlet.engines.announcements import Announcements
from cloudlet.engines.disks import QcowDisks
from cloudlet.engines.machine_command import Saved
from cloudlet.engines.machine_devices import Devices
from cloudlet.engines.machine_memory import Footprint, measured
from cloudlet.engines.machine_record import End, MachineRecords, user_of
from cloudlet.engines.ports import Machine, MachineSpec
from cloudlet.engines.process import Process
from cloudlet.engines.qmp import Event, Monitor
from cloudlet.engines.saved_states import SavedStates
from cloudlet.kernel.clock import Clock, SystemClock
from cloudlet.kernel.errors import Busy, Conflict, EngineError, Refused
from cloudlet.kernel.site import Site

RUN_DIR = Path("/run")
CONSOLE_BYTES = 65_536
START_S, GONE_S, QUIT_S = 20.0, 15.0, 5.0
RETRY_S = 5.0  # between two looks for space on the host's disk
DOWN_GRACE_S = 30.0  # what guests get to end by themselves when everything is taken down
_POLL_S = 0.02
_PROGRAMS, _TUN = ("qemu-system-x86_64", "qemu-img", "nsenter"), Path("/dev/net/tun")


class QemuMachines:
    """The machines of one installation. One control plane at a time may use it."""

    def __init__(self, site: Site, disks: QcowDisks, clock: Clock | None = None) -> None:
        self._disks, self._clock = disks, clock or SystemClock()
        self._records = MachineRecords(site.data_dir / "machines")
        self._acceleration = Acceleration(site.data_dir / "accelerator")
        self._states = SavedStates(site.data_dir / "states", disks, self._clock)
        self._sockets = RUN_DIR / f"{site.installation.prefix}machines"
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._monitors: dict[str, Monitor] = {}
        self._devices: dict[str, Devices] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._stalled: dict[str, asyncio.Event] = {}
        self._kills: dict[str, asyncio.TimerHandle] = {}
        self._claims: dict[str, str] = {}  # disks that are being given to machines
        self._dialling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._announcements = Announcements()
        disks.holder = self._holder

    # ── Power on ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def ensure(self, spec: MachineSpec) -> Machine:
        """See `ports.Machines`."""
        async with self._lock(spec.name):
            if self._records.is_waking(spec.name):  # we were cut off
                await self._remove(spec.name)
            if not self._records.exists(spec.name):
                with self._claiming(spec):
                    await self._power_on(spec)
            seen = await self._look(spec.name)
            if seen is None:
                raise Busy(f"{spec.name} went away while it was made")
            if seen.state == "running":
                with self._claiming(spec):
                    await self._furnish(spec)
                seen = await self._look(spec.name) or seen
            return seen

    @contextlib.contextmanager
    def _claiming(self, spec: MachineSpec) -> Iterator[None]:
        """Nobody else gets its disks meanwhile. Raises Conflict where another machine has one, or is being given it."""
        for drive in spec.drives:
            other = self._claims.get(drive.disk) or self._owner(drive.disk)
            if other not in (None, spec.name):
                raise Conflict(f"the machine {other} has the disk {drive.disk}")
        self._claims |= {drive.disk: spec.name for drive in spec.drives}
        try:
            yield
        finally:
            for drive in spec.drives:
                self._claims.pop(drive.disk, None)

    async def _power_on(self, spec: MachineSpec) -> None:
        if netns.inode(netns.path_of(spec.network)) is None:
            raise Conflict(f"the network {spec.network} does not exist")
        files = []
        for drive in spec.drives:
            files.append(f"volumes/{await self._hand_over(drive.disk, spec.name)}")
        kernel = self._disks.layer(spec.kernel).with_suffix(".kernel") if spec.kernel else None
        if kernel is not None and not kernel.exists():
            raise Conflict(f"the layer {spec.kernel} brings no kernel")
        accelerated = await self._acceleration.works(kernel)
        self._records.write_spec(spec)
        try:
            await self._begin(spec, files, kernel, accelerated)
        except BaseException:
            await self._remove(spec.name)
            raise

    async def _hand_over(self, disk: str, machine: str) -> str:
        """Lets the machine's user, and nobody else, open the disk's file; the file's name."""
        path = await self._disks.prepare(disk)
        os.chown(path, user_of(machine), user_of(machine))
        path.chmod(0o600)
        return path.name

    def _take_back(self, disk: str) -> None:
        """The machine's user may not open the file of a drive that has left any more."""
        with contextlib.suppress(FileNotFoundError):
            os.chown(self._disks.volume(disk), 0, 0)

    async def _begin(self, spec: MachineSpec, files: list[str], kernel: Path | None, accelerated: bool) -> None:
        """As a copy of a saved machine of its kind, where there is one and it works; else with its kernel."""
        like = None if accelerated else self._states.likeness(spec)
        state = self._states.find(like) if like else None
        if like and state:
            self._records.write_waking(spec.name)
            first = replace(spec, drives=spec.drives[:1], nics=spec.nics[:1])  # the others come when it runs
            await self._spawn(first, files[:1], kernel, accelerated, saved="was")
            try:
                said = await self._states.wake(like, state, first, await self._monitor(spec.name))
                self._records.path(spec.name, "console").write_text(said)
                disk = first.drives[0].disk
                await self._devices[spec.name].resize(disk, self._disks.size_bytes(disk))  # the saved one's was smaller
                self._records.write_awake(spec.name)
                return
            except EngineError as error:
                self._states.failed(like, error)
                await self._end(spec.name)
                self._records.write_awake(spec.name)
        await self._spawn(spec, files, kernel, accelerated)
        if like and not state:
            self._states.want(like)

    async def _spawn(self, spec: MachineSpec, files: list[str], kernel: Path | None, accelerated: bool,
                     saved: Saved = "") -> None:
        self._sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket(spec.name).unlink(missing_ok=True)
        ramdisk = kernel.with_suffix(".ramdisk") if kernel else None
        words = machine_command.command(
            spec, accelerated=accelerated, monitor=str(self._socket(spec.name)), disks=files,
            pid_file=str(self._records.path(spec.name, "pid")), kernel=str(kernel) if kernel else None,
            ramdisk=str(ramdisk) if ramdisk and ramdisk.exists() else None, saved=saved)
        log = self._records.path(spec.name, "log")
        found = process.spawn(["nsenter", f"--net={netns.path_of(spec.network)}", process.find(words[0]), *words[1:]],
                              log=str(log), directory=str(self._disks.directory))
        self._records.write_started(spec.name, found, accelerated=accelerated, at=self._clock.now())
        for _ in range(int(START_S / _POLL_S)):
            if process.identify(found.pid) != found:
                raise _explained(log.read_text(errors="replace").strip()[-1000:])
            with contextlib.suppress(Busy):
                await self._monitor(spec.name)
                self._announcements.tell(spec.name)
                return
            await self._clock.sleep(_POLL_S)
        raise Busy(f"QEMU does not answer: {log.read_text(errors='replace')[-1000:]}")

    async def _furnish(self, spec: MachineSpec) -> None:
        """Exactly these drives and cards. What is to come is noted before, what is to go after it went."""
        devices, known = self._devices[spec.name], self._records.spec(spec.name) or spec
        if devices.matches(spec) and known == spec:
            return
        for drive in devices.missing_drives(spec):
            await self._hand_over(drive.disk, spec.name)
        self._records.write_spec(devices.union(known, spec))
        await devices.furnish(spec, known)
        for drive in set(known.drives) - set(spec.drives):
            self._take_back(drive.disk)
        self._records.write_spec(spec)

    # ── What is there ────────────────────────────────────────────────────────────────────────────────────────────────

    async def observe(self, name: str) -> Machine | None:
        """See `ports.Machines`."""
        async with self._lock(name):
            return await self._look(name)

    async def _look(self, name: str) -> Machine | None:
        if not self._records.exists(name) or self._records.is_waking(name):
            return None
        running = self._records.process(name)
        if running is not None and not self._records.end(name):
            try:
                monitor = await self._monitor(name)
                status = await monitor.ask("query-status")
            except Busy:
                if self._records.process(name) is not None:
                    raise
                return await self._off(name)  # it ended while we asked
            if status["status"] != "shutdown":
                return self._running(name, running, stalled=status["status"] == "io-error")
            await self._note_end(name, "host" if self._records.is_stopping(name) else "guest")
            with contextlib.suppress(EngineError):
                await monitor.ask("quit")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(QUIT_S):  # so that QEMU closes its files in peace
                    await process.gone(running)
        return await self._off(name)

    async def _off(self, name: str) -> Machine:
        """One whose process is gone, or goes now; how it ended is noted, where that was not seen."""
        self._records.write_end(name, "host" if self._records.is_stopping(name) else
                                "reboot" if self._records.outlived(name) else "lost")
        await self._end(name)
        started = self._records.started(name)
        return Machine(name, "off", bool(started and started.accelerated),
                       started_at=started.at if started else None, ended=self._records.end(name))

    def _running(self, name: str, running: Process, *, stalled: bool) -> Machine:
        started, devices = self._records.started(name), self._devices.get(name)
        spec = self._records.spec(name)
        if started is None:
            self._records.write_started(name, running, accelerated=bool(self._acceleration.known()),
                                        at=self._clock.now())
            started = self._records.started(name)
        drives, nics = devices.present(spec) if devices and spec else ((), ())
        return Machine(name, "running", bool(started and started.accelerated), drives, nics, running.pid,
                       started.at if started else None, stalled=stalled,
                       unwired=devices.unwired(spec) if devices and spec else ())

    async def owned(self) -> tuple[str, ...]:
        """See `ports.Machines`."""
        return tuple(self._records.names())

    async def console(self, name: str) -> bytes:
        """See `ports.Machines`."""
        async with self._lock(name):
            if self._records.process(name) is not None:
                with contextlib.suppress(EngineError):
                    await self._keep_console(name)
            try:
                return self._records.path(name, "console").read_bytes()
            except FileNotFoundError:
                return b""

    async def _keep_console(self, name: str) -> None:
        """Adds what QEMU holds of the console to what was read before."""
        monitor = await self._monitor(name)
        text: str = await monitor.ask("ringbuf-read", device="console", size=CONSOLE_BYTES)
        if text:
            path = self._records.path(name, "console")
            before = path.read_bytes() if path.exists() else b""
            path.write_bytes((before + text.encode())[-CONSOLE_BYTES:])

    # ── Power off ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self, name: str, grace_s: float) -> None:
        """See `ports.Machines`."""
        async with self._lock(name):
            if self._records.process(name) is None or self._records.end(name):
                return
            self._records.write_stopping(name)
            if grace_s > 0:
                with contextlib.suppress(Busy):
                    await (await self._monitor(name)).ask("system_powerdown")
                self._kill_after(name, grace_s)
            else:
                await self._note_end(name, "host")
                await self._end(name)
        self._announcements.tell(name)

    def _kill_after(self, name: str, grace_s: float) -> None:
        if timer := self._kills.pop(name, None):
            timer.cancel()
        self._kills[name] = asyncio.get_running_loop().call_later(grace_s, self._cut, name)

    def _cut(self, name: str) -> None:
        """The grace is over. What it had told its disk is in the host's hands."""
        self._kills.pop(name, None)
        if (running := self._records.process(name)) is not None and self._records.is_stopping(name):
            process.send(running, signal.SIGKILL)

    async def destroy(self, name: str) -> None:
        """See `ports.Machines`."""
        async with self._lock(name):
            await self._remove(name)
        self._announcements.tell(name)

    async def destroy_all(self) -> None:
        """Leaves nothing of any machine behind but its disks (`cloudlet down`); guests may end by themselves first."""
        names = [name for name in self._records.names() if self._records.process(name) is not None]
        for name in names:
            await self.stop(name, DOWN_GRACE_S)
        deadline = self._clock.now() + DOWN_GRACE_S
        while names and self._clock.now() < deadline:
            names = [name for name in names if await self._is_running(name)]
            await self._clock.sleep(0.2)
        for name in list(self._records.names()):
            await self.destroy(name)
        self._states.sweep()
        with contextlib.suppress(OSError):
            self._sockets.rmdir()

    async def _is_running(self, name: str) -> bool:
        try:
            seen = await self.observe(name)
        except EngineError:  # it does not answer
            return True
        return seen is not None and seen.state == "running"

    def probe(self) -> str | None:
        """Why this machine cannot run others, in a sentence for `cloudlet doctor`; None where it can."""
        try:
            for program in _PROGRAMS:
                process.find(program)
        except EngineError as missing:
            return str(missing)
        return None if _TUN.exists() else f"{_TUN} does not exist: instances cannot have network cards"

    @property
    def speed(self) -> str:
        """How guests run here, as far as that is known."""
        known = self._acceleration.known()
        return {True: "accelerated by KVM", False: "emulated: KVM does not work here",
                None: "whether KVM works is tried with the first instance"}[known]

    def footprints(self) -> list[Footprint]:
        """What each machine that runs takes of the host's memory now."""
        running = {name: self._records.process(name) for name in self._records.names()}
        found = [measured(name, process.pid) for name, process in running.items() if process]
        return [each for each in found if each is not None]

    async def close(self) -> None:
        """Lets go of all monitors; machines run on."""
        await self._states.close()
        for timer in self._kills.values():
            timer.cancel()
        for task in self._watches.values():
            task.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        for monitor in self._monitors.values():
            await monitor.close()

    async def _note_end(self, name: str, end: End) -> None:
        with contextlib.suppress(EngineError):
            await self._keep_console(name)
        self._records.write_end(name, end)

    async def _end(self, name: str) -> None:
        """No process is left of it."""
        if timer := self._kills.pop(name, None):
            timer.cancel()
        running = self._records.process(name)
        if running is not None:
            process.send(running, signal.SIGKILL)
            try:
                async with asyncio.timeout(GONE_S):
                    await process.gone(running)
            except TimeoutError:
                raise Busy(f"the process of {name} does not end") from None
        if monitor := self._monitors.pop(name, None):
            await monitor.close()
        self._devices.pop(name, None)
        self._socket(name).unlink(missing_ok=True)

    async def _remove(self, name: str) -> None:
        await self._end(name)
        self._records.remove(name)

    # ── How it is reached ────────────────────────────────────────────────────────────────────────────────────────────

    async def _monitor(self, name: str) -> Monitor:
        """The connection to its QEMU. Raises Busy where that does not answer."""
        async with self._dialling.setdefault(name, asyncio.Lock()):  # QEMU talks to one at a time
            known = self._monitors.get(name)
            if known is not None and not known.closed.is_set():
                return known
            monitor = await Monitor.connect(str(self._socket(name)), lambda event: self._heard(name, event))
            spec = self._records.spec(name)
            running = self._records.process(name)
            devices = Devices(monitor, netns.path_of(spec.network) if spec else "", running.pid if running else 0)
            try:
                await devices.read()
            except BaseException:
                await monitor.close()
                raise
            self._monitors[name], self._devices[name] = monitor, devices
            self._watches[name] = asyncio.create_task(self._watch(name, monitor))
            return monitor

    async def _watch(self, name: str, monitor: Monitor) -> None:
        """Lets a machine that ran out of the host's disk go on as soon as there is space."""
        stalled = self._stalled[name] = asyncio.Event()
        with contextlib.suppress(EngineError):
            while not monitor.closed.is_set():
                stalled.clear()
                status = await monitor.ask("query-status")
                if status["status"] == "io-error" and self._disks.takes_writes():
                    await monitor.ask("cont")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S if status["status"] == "io-error" else None):
                        await _first(stalled, monitor.closed)
        self._announcements.tell(name)

    def _heard(self, name: str, event: Event) -> None:
        if event["event"] == "SHUTDOWN":
            self._announcements.tell(name)
        elif event["event"] == "BLOCK_IO_ERROR" and name in self._stalled:
            self._stalled[name].set()
        elif event["event"] == "DEVICE_DELETED" and name in self._devices:
            self._devices[name].deleted(event["data"].get("device", ""))
            self._announcements.tell(name)

    def events(self) -> AsyncIterator[str]:
        """See `ports.Machines`. Machines of a predecessor are listened to from the first look at them on."""
        return self._announcements.stream()

    def _owner(self, disk: str) -> str | None:
        """The machine that has a disk and runs."""
        for name in self._records.names():
            spec = self._records.spec(name)
            if spec and any(drive.disk == disk for drive in spec.drives) and self._records.process(name) is not None:
                return name
        return None

    async def _holder(self, disk: str) -> "MachineOfDisk | None":
        name = self._owner(disk)
        if name is None:
            return None
        await self._monitor(name)
        return MachineOfDisk(self._devices[name], user_of(name), self._records.process(name))

    def _socket(self, name: str) -> Path:
        return self._sockets / f"{name}.sock"

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


class MachineOfDisk:
    """What a disk needs of the machine that has it; see `disks.Holder`."""

    def __init__(self, devices: Devices, user: int, running: Process | None) -> None:
        self._devices, self._user, self._running = devices, user, running

    async def resize(self, disk: str, size_bytes: int) -> None:
        """See `disks.Holder`."""
        await self._devices.resize(disk, size_bytes)

    async def overlay(self, disk: str, path: Path) -> None:
        """See `disks.Holder`."""
        os.chown(path, self._user, self._user)
        path.chmod(0o600)
        if self._running is None or not _has_open(self._running.pid, path):
            await self._devices.overlay(disk, f"volumes/{path.name}")


async def _first(*events: asyncio.Event) -> None:
    """Until one of them is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _has_open(pid: int, path: Path) -> bool:
    wanted = path.stat()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found = descriptor.stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False


def _explained(text: str) -> EngineError:
    """What QEMU said before it gave up."""
    if "lock" in text or "No such file" in text or "tun" in text.lower():
        return Conflict(f"QEMU did not start: {text}")
    if "Cannot allocate memory" in text or "cannot set up guest memory" in text:
        return Refused(f"the host has not enough memory: {text}")
    return Refused(f"QEMU did not start: {text}")
