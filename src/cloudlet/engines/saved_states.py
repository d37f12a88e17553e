"""Machines saved just before they learn who they are, so that others begin as copies of them instead of booting.

A machine of the same board, memory and base image starts, does what all of them do, writes nothing to its disk, and
holds (`guests/debian/files/usr/lib/cloudlet/hold.py`). Its memory is kept. A copy gets its own UUID, machine id, boot
id and card's address in all places where the saved one's were found, and a letter with the time and with chance.

A state is made in the background after the first launch of its like, one at a time, and may be missing at any time.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cloudlet.engines import machine_command, process, qcow2
from cloudlet.engines.disks import QcowDisks
from cloudlet.engines.machine_memory import guest_bytes
from cloudlet.engines.machine_record import user_of
from cloudlet.engines.ports import Drive, MachineSpec, Nic
from cloudlet.engines.qmp import Monitor
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import Busy, Conflict, EngineError, Refused

log = logging.getLogger(__name__)

FORMAT = 2  # of what guests and we agree on
QUIET_S = 60.0  # without a launch, before a state is made: it takes the processors that guests boot with
HOLD_S, LOAD_S, WAKE_S = 240.0, 30.0, 20.0
UNFIT_S = 86_400.0  # then what did not work is tried again: the host may have been at fault
TRIES = 3  # to make one, or in a row to wake from one, before it counts as not working
KEPT_BYTES = 4 << 30  # of all states; the one that was not used for longest goes first
SPARE_BYTES = 1 << 30  # of the host's memory, left when one is made
PAGE, LETTER_BYTES_MAX = 4096, 1024
_HOLDS = re.compile(r"cloudlet holds: ([0-9a-f]{32}) ([0-9a-f-]{36})\r?\n")
_GOES_ON, _DIFFERS = "cloudlet goes on", "cloudlet holds on"
_POLL_S, HOLD_POLL_S = 0.02, 0.1


@dataclass(frozen=True, slots=True)
class Likeness:
    """What machines must have in common to be copies of one: the layer that their disk, never written to, is on top of,
    their kernel's layer, processors and memory. `key` names it, with the QEMU that is installed."""

    key: str
    base: str
    kernel: str
    cpus: int
    memory_bytes: int


class State(msgspec.Struct, frozen=True):
    """What a copy's memory is made from, beside the memory itself: who was saved, where in the file that is written
    (place, which of `_names`), and where the letter goes."""

    uuid: str
    boot: str
    mac: str
    size_bytes: int
    letter: int
    places: tuple[tuple[int, str], ...]


class SavedStates:
    """The states of one installation, in a directory of their own."""

    def __init__(self, directory: Path, disks: QcowDisks, clock: Clock) -> None:
        self._directory, self._disks, self._clock = directory, disks, clock
        self._wanted: dict[str, Likeness] = {}
        self._failures: Counter[str] = Counter()
        self._last_launch = 0.0
        self._work: asyncio.Task[None] | None = None

    # ── What there is ────────────────────────────────────────────────────────────────────────────────────────────────

    def likeness(self, spec: MachineSpec) -> Likeness | None:
        """What the machine that is about to be powered on may be a copy of; None where it must boot."""
        if spec.kernel is None or not spec.drives or not spec.nics:
            return None
        path = self._disks.volume(spec.drives[0].disk)
        found = qcow2.header(path)
        if found is None or found.backing is None or not qcow2.is_blank(path):
            return None
        program, base = os.stat(process.find("qemu-system-x86_64")), Path(found.backing).stem
        memory = guest_bytes(spec.memory_bytes, spec.cpus, accelerated=False)
        words = [FORMAT, base, spec.kernel, spec.cpus, spec.memory_bytes, memory, program.st_size, program.st_mtime_ns,
                 machine_command.KERNEL_LINE]
        key = hashlib.blake2s(json.dumps(words).encode(), digest_size=10).hexdigest()
        return Likeness(key, base, spec.kernel, spec.cpus, spec.memory_bytes)

    def find(self, like: Likeness) -> State | None:
        """The state, if there is one."""
        try:
            return msgspec.json.decode((self._directory / like.key / "state.json").read_bytes(), type=State)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None

    def forget(self, like: Likeness) -> None:
        """It was of no use; another may be made."""
        shutil.rmtree(self._directory / like.key, ignore_errors=True)

    def failed(self, like: Likeness, error: EngineError) -> None:
        """A copy did not go on. One that the host was too busy for says little of the state, three in a row do."""
        self._failures[like.key] += 1
        if isinstance(error, Refused) or self._failures[like.key] >= TRIES:
            self.refuse(like, str(error))
        else:
            if isinstance(error, Conflict):  # it cannot be read
                self.forget(like)
            log.warning("a copy of the saved machine %s is booted instead: %s", like.key, error)

    def refuse(self, like: Likeness, why: str) -> None:
        """It does not work: machines like these boot for a day. (Those of another image or QEMU are not like these.)"""
        self.forget(like)
        self._failures.pop(like.key, None)
        self._directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._unfit(like).write_text(f"{self._clock.now():.0f} {why}\n")
        log.warning("machines like %s boot for the next %.0f hours: %s", like.key, UNFIT_S / 3600, why)

    def is_unfit(self, like: Likeness) -> bool:
        """Whether that was found less than a day ago."""
        path = self._unfit(like)
        try:
            since = float(path.read_text().split(maxsplit=1)[0])
        except FileNotFoundError:
            return False
        except (ValueError, IndexError):  # who wrote it knew no date
            since = 0.0
        if self._clock.now() < since + UNFIT_S:
            return True
        log.info("machines like %s may be saved again: a day has passed", like.key)
        path.unlink(missing_ok=True)
        return False

    def _unfit(self, like: Likeness) -> Path:
        return self._directory / f"{like.key}.unfit"

    # ── Starting a copy ──────────────────────────────────────────────────────────────────────────────────────────────

    async def wake(self, like: Likeness, state: State, spec: MachineSpec, monitor: Monitor) -> str:
        """Fills a machine that was started to be filled, and lets it go on; what it said on its console meanwhile.
        Raises Refused where it does not go on as whom it is to be, Busy where it does not in time."""
        try:
            descriptor = await asyncio.to_thread(self._copy, like, state, spec)
        except OSError as error:
            raise Conflict(f"the state cannot be read: {error}") from None
        try:
            await monitor.give("state", descriptor)
        finally:
            os.close(descriptor)
        await monitor.ask("migrate-incoming", uri="fd:state")
        await self._until_migrated(monitor)
        await monitor.ask("cont")
        os.utime(self._directory / like.key)
        said = ""
        for _ in range(int(WAKE_S / _POLL_S)):
            said += str(await monitor.ask("ringbuf-read", device="console", size=65536))
            if _DIFFERS in said:
                raise Refused("the copy is not whom it is to be")
            if _GOES_ON in said:
                self._failures.pop(like.key, None)
                return said
            await self._clock.sleep(_POLL_S)
        raise Busy("the copy does not go on")

    def _copy(self, like: Likeness, state: State, spec: MachineSpec) -> int:
        """The memory of a machine that is `spec`, as an open file without a name."""
        boot = self._some_uuid()
        names = _names(spec.uuid, boot, spec.nics[0].mac)
        told = json.dumps({"uuid": spec.uuid, "boot": boot, "time": self._clock.now(),
                           "seed": self._clock.token(256)}).encode()
        with contextlib.ExitStack() as undo:
            descriptor = os.memfd_create("state")
            undo.callback(os.close, descriptor)
            with open(self._directory / like.key / "memory", "rb") as memory:
                rest = state.size_bytes
                while rest and (sent := os.sendfile(descriptor, memory.fileno(), None, rest)):
                    rest -= sent
            if rest:
                raise Conflict("the state is cut off")
            for place, name in state.places:
                os.pwrite(descriptor, names[name], place)
            os.pwrite(descriptor, len(told).to_bytes(4, "little") + told, state.letter)
            os.lseek(descriptor, 0, os.SEEK_SET)
            undo.pop_all()
        return descriptor

    def _some_uuid(self) -> str:
        return str(uuid.UUID(self._clock.token(32), version=4))

    # ── Making one ───────────────────────────────────────────────────────────────────────────────────────────────────

    def want(self, like: Likeness) -> None:
        """A machine of that kind had to boot: the next one need not, once it is quiet enough to see to it."""
        self._last_launch = self._clock.now()
        if self.find(like) is None and not self.is_unfit(like):
            self._wanted[like.key] = like
            if self._work is None or self._work.done():
                self._work = asyncio.create_task(self._make_wanted())

    async def _make_wanted(self) -> None:
        while self._wanted:
            while (rest := self._last_launch + QUIET_S - self._clock.now()) > 0:
                await self._clock.sleep(rest)
            like = self._wanted.pop(next(iter(self._wanted)))
            try:
                await self.make(like)
                self._failures.pop(like.key, None)
            except Refused as refused:
                self.refuse(like, str(refused))
            except (EngineError, OSError) as error:
                self._try_again(like, error)

    def _try_again(self, like: Likeness, error: Exception) -> None:
        """After a while without a launch. What still fails then waits for a launch of its like."""
        self._failures[like.key] += 1
        log.warning("a machine like %s could not be saved: %s", like.key, error)
        if self._failures[like.key] < TRIES:
            self._wanted[like.key] = like
            self._last_launch = self._clock.now()
        else:
            self._failures.pop(like.key)

    async def make(self, like: Likeness) -> None:
        """Makes the state. Raises Refused where such a machine does not hold, or there is no room."""
        self._require_room(like)
        self.sweep()
        draft = self._directory / f".{like.key}"
        draft.mkdir(mode=0o711, parents=True)
        for directory in (self._directory, draft):
            directory.chmod(0o711)
        try:
            state = await self._save(like, draft)
            (draft / "state.json").write_bytes(msgspec.json.encode(state))
            shutil.rmtree(self._directory / like.key, ignore_errors=True)
            os.replace(draft, self._directory / like.key)
        finally:
            self.sweep()

    def _require_room(self, like: Likeness) -> None:
        if _available_memory() < like.memory_bytes + SPARE_BYTES or self._disks.free_bytes() < like.memory_bytes:
            raise Conflict("there is no room to save a machine")
        states = sorted((path for path in self._directory.glob("[!.]*") if path.is_dir()),
                        key=lambda path: path.stat().st_mtime)
        sizes = {path: (path / "memory").stat().st_size for path in states if (path / "memory").exists()}
        while sizes and sum(sizes.values()) + like.memory_bytes > KEPT_BYTES:
            oldest = next(iter(sizes))
            sizes.pop(oldest)
            shutil.rmtree(oldest, ignore_errors=True)
        for path in sizes:
            if not self._disks.layer((path / "base").read_text()).exists():
                shutil.rmtree(path, ignore_errors=True)

    async def _save(self, like: Likeness, draft: Path) -> State:
        name = f"state-{like.key}"
        mac = bytes.fromhex(f"02{self._clock.token(10)}").hex(":")
        spec = MachineSpec(name, "", like.cpus, like.memory_bytes, (Drive("saved", "cloudlet-hold"),),
                           (Nic("saved", "", mac),), like.kernel, self._some_uuid())
        disk, kernel = draft / "disk.qcow2", self._disks.layer(like.kernel).with_suffix(".kernel")
        made = await process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self._disks.layer(like.base)),
                                  "-F", "qcow2", str(disk)], timeout_s=60)
        if made.status != 0:
            raise Refused(made.complaint)
        os.chown(disk, user_of(name), user_of(name))
        ramdisk = kernel.with_suffix(".ramdisk")
        words = machine_command.command(
            spec, accelerated=False, monitor=str(draft / "monitor"), disks=[str(disk)], pid_file=str(draft / "pid"),
            kernel=str(kernel), ramdisk=str(ramdisk) if ramdisk.exists() else None, saved="to be")
        running = process.spawn(["nice", "-n", "10", "unshare", "--net", process.find(words[0]), *words[1:]],
                                log=str(draft / "log"), directory=str(draft))
        try:
            mark, boot = await self._hold(draft, running)
        finally:
            process.send(running, signal.SIGKILL)
        if not qcow2.is_blank(disk):
            raise Refused("the machine that was to be saved wrote to its disk")
        state = await asyncio.to_thread(_examined, draft / "memory", spec, mark, boot)
        (draft / "base").write_text(like.base)
        for file in ("disk.qcow2", "monitor", "pid", "log"):
            (draft / file).unlink(missing_ok=True)
        return state

    async def _hold(self, draft: Path, running: process.Process) -> tuple[bytes, str]:
        """Waits until it holds, and saves its memory; the mark and the boot's id that it told."""
        monitor = await self._dial(draft, running)
        try:
            said, found = "", None
            for _ in range(int(HOLD_S / HOLD_POLL_S)):  # looks, not seconds: while we stand still, it does not fail
                said = (said + await monitor.ask("ringbuf-read", device="console", size=65536))[-65536:]
                if found := _HOLDS.search(said):
                    break
                await self._clock.sleep(HOLD_POLL_S)
            if found is None:
                raise Refused("a machine of this image does not hold")
            await monitor.ask("stop")
            await monitor.ask("migrate-set-parameters", max_bandwidth=16 << 30)
            memory = os.open(draft / "memory", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                await monitor.give("state", memory)
            finally:
                os.close(memory)
            await monitor.ask("migrate", uri="fd:state")
            await self._until_migrated(monitor)
            await monitor.ask("quit")
            async with asyncio.timeout(LOAD_S):
                await process.gone(running)
            return bytes.fromhex(found[1]), found[2]
        except TimeoutError:
            raise Busy("the machine that was saved does not end") from None
        finally:
            await monitor.close()

    async def _dial(self, draft: Path, running: process.Process) -> Monitor:
        for _ in range(int(LOAD_S / _POLL_S)):
            with contextlib.suppress(Busy):
                return await Monitor.connect(str(draft / "monitor"), lambda event: None)
            if process.identify(running.pid) != running:
                break
            await self._clock.sleep(_POLL_S)
        raise Refused(f"QEMU did not start: {(draft / 'log').read_text(errors='replace')[-500:]}")

    async def _until_migrated(self, monitor: Monitor) -> None:
        for _ in range(int(LOAD_S / _POLL_S)):
            status = (await monitor.ask("query-migrate")).get("status")
            if status == "completed":
                return
            if status == "failed":
                raise Refused("the machine's memory could not be moved")
            await self._clock.sleep(_POLL_S)
        raise Busy("the machine's memory is not moved in time")

    # ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def sweep(self) -> None:
        """Removes what was begun, with its machine."""
        for draft in self._directory.glob(".*"):
            with contextlib.suppress(OSError, ValueError):
                pid = int((draft / "pid").read_text())
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if os.fsencode(draft / "pid") in words and (found := process.identify(pid)):
                    process.send(found, signal.SIGKILL)
            shutil.rmtree(draft, ignore_errors=True)

    async def close(self) -> None:
        """Gives up what is being made."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)


def _names(identity: str, boot: str, mac: str) -> dict[str, bytes]:
    """Every form in which a machine's names stand in its memory; those of two machines are equally long."""
    one, other = uuid.UUID(identity), uuid.UUID(boot)
    return {
        "uuid-firmware": one.bytes_le, "uuid": one.bytes, "uuid-text": str(one).encode(),
        "uuid-upper": str(one).upper().encode(), "uuid-digits": one.hex.encode(),
        "boot": other.bytes, "boot-text": str(other).encode(), "boot-digits": other.hex.encode(),
        "mac": bytes.fromhex(mac.replace(":", ""))}


def _examined(path: Path, spec: MachineSpec, mark: bytes, boot: str) -> State:
    """Finds in a saved memory what copies have of their own. Raises Refused where the letter's place is not there.

    A name that two pages share is not found: then a copy sees that it is not whom it is told to be.
    """
    memory = path.read_bytes()
    mac = spec.nics[0].mac
    letter = memory.find(mark * (PAGE // len(mark)))
    if letter < 0:
        raise Refused("there is no place for a letter in the machine's memory")
    places = [(found.start(), name) for name, value in _names(spec.uuid, boot, mac).items()
              for found in re.finditer(re.escape(value), memory)]
    return State(spec.uuid, boot, mac, len(memory), letter, tuple(sorted(places)))


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
