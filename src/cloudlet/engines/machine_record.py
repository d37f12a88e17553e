"""What we wrote down of a machine, in a directory of its own, so that it is found again by whoever comes after us.

`record.json` is written before QEMU is started, `process.json` after; `ended` says how it ended, as soon as that is
known, and `stopping` that we asked for it. The directory is removed last, so a machine without one does not exist.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from cloudlet.engines.ports import MachineSpec
from cloudlet.engines.process import Process, identify

T = TypeVar("T")
End = Literal["", "guest", "host", "reboot", "lost"]
_ENDS: dict[str, End] = {"guest": "guest", "host": "host", "reboot": "reboot"}

_FIRST_USER = 0x70000000  # users and groups that nobody else has, one for each machine
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Started:
    """QEMU as it was started: pid and start time, which mean nothing after `boot`."""

    pid: int
    started: int
    boot: str
    accelerated: bool
    at: float


def user_of(name: str) -> int:
    """The number of the user (and group) as which a machine's QEMU runs."""
    return _FIRST_USER + int.from_bytes(hashlib.blake2s(name.encode(), digest_size=3).digest())


class MachineRecords:
    """All machines' directories."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._boot = _BOOT_ID.read_text().strip()

    def path(self, name: str, file: str = "") -> Path:
        """The machine's directory, or a file of it."""
        return self._directory / name / file

    def names(self) -> Iterator[str]:
        """Every machine that has a directory."""
        try:
            yield from sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return

    def exists(self, name: str) -> bool:
        """Whether there is anything of it."""
        return self.path(name).is_dir()

    def spec(self, name: str) -> MachineSpec | None:
        """What was last asked for; None where there is none, or a power cut damaged it."""
        return _load(self.path(name, "record.json"), MachineSpec)

    def write_spec(self, spec: MachineSpec) -> None:
        """Notes what is asked for, before it is begun."""
        self.path(spec.name).mkdir(parents=True, exist_ok=True, mode=0o700)
        _save(self.path(spec.name, "record.json"), spec)

    def started(self, name: str) -> Started | None:
        """How it was last started, in this boot of the host or an earlier one."""
        return _load(self.path(name, "process.json"), Started)

    def write_started(self, name: str, process: Process, *, accelerated: bool, at: float) -> None:
        """Notes that QEMU runs."""
        _save(self.path(name, "process.json"), Started(process.pid, process.started, self._boot, accelerated, at))

    def process(self, name: str) -> Process | None:
        """Its QEMU, if that runs: as noted, or, where we were cut off before that, by the pid file that its command
        names (and that of whoever is about to become it)."""
        started = self.started(name)
        if started is not None:
            found = identify(started.pid) if started.boot == self._boot else None
            return found if found and found.started == started.started else None
        mark = os.fsencode(self.path(name, "pid"))
        return next((found for pid in os.listdir("/proc") if pid.isdigit() and mark in _words(pid)
                     and (found := identify(int(pid)))), None)

    def end(self, name: str) -> End:
        """How it ended, as far as was seen."""
        try:
            text = self.path(name, "ended").read_text()
        except FileNotFoundError:
            return ""
        return _ENDS.get(text, "lost")

    def write_end(self, name: str, end: End) -> None:
        """Notes how it ended; the first word stays."""
        if self.exists(name) and not self.end(name):
            draft = self.path(name, ".ended")
            draft.write_text(end)
            os.replace(draft, self.path(name, "ended"))

    def is_stopping(self, name: str) -> bool:
        """Whether we asked it to end."""
        return self.path(name, "stopping").exists()

    def outlived(self, name: str) -> bool:
        """Whether the host has started again since the machine was powered on."""
        started = self.started(name)
        return started is not None and started.boot != self._boot

    def write_stopping(self, name: str) -> None:
        """Notes that we ask it to end, before we do."""
        self.path(name, "stopping").touch()

    def is_waking(self, name: str) -> bool:
        """Whether it is being made a copy of a saved machine: it is nobody yet."""
        return self.path(name, "waking").exists()

    def write_waking(self, name: str) -> None:
        """Notes that this begins, before it does."""
        self.path(name, "waking").touch()

    def write_awake(self, name: str) -> None:
        """Notes that it goes on as itself, or never began."""
        self.path(name, "waking").unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Forgets it."""
        shutil.rmtree(self.path(name), ignore_errors=True)


def _words(pid: str) -> list[bytes]:
    """The command of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _save(path: Path, value: object) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(msgspec.json.encode(value))
    os.replace(draft, path)


def _load(path: Path, cls: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=cls)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
