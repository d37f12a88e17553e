"""What we wrote down of a container, in a directory of its own, so that it can be observed without asking anybody.

`record.json` is written before the container is made or started again, and when it runs; `exit.json` when its end was
first seen; `signalled` when its stop signal was sent. Beside them are its log and the files mounted as its /etc/hosts
and /etc/resolv.conf. The directory is removed last, so a container without one does not exist.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from cloudlet.engines.cgroups import Cgroups
from cloudlet.engines.ports import Container
from cloudlet.engines.process import Process, identify

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Record:
    """A container. Without an `id` it is being made, or its making was cut off; `restarting`: so it is with its next
    start. `boot` tells one start of the machine from another, because pids mean nothing after it."""

    name: str
    group: str
    cgroup: str = ""
    image_digest: str = ""
    stop_signal: int = 15
    id: str = ""
    init: tuple[int, int] = (0, 0)  # pid and start time
    conmon: tuple[int, int] = (0, 0)
    boot: str = ""
    started_at: float = 0.0
    starts: int = 1
    restarting: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """How it ended; None where nobody was there to see it (the machine stopped, or conmon was killed)."""

    code: int | None
    finished_at: float | None
    out_of_memory: bool


class Records:
    """All containers' directories."""

    def __init__(self, directory: Path, exits: Path, cgroups: Cgroups) -> None:
        self._directory = directory
        self._exits = exits
        self._cgroups = cgroups
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def path(self, name: str, file: str = "") -> Path:
        """The container's directory, or a file of it."""
        return self._directory / name / file

    def log_size(self, name: str) -> int:
        """The length of the container's log in bytes, 0 where there is none. Asked often, so its path is plain text."""
        try:
            return os.stat(f"{self._directory}/{name}/log").st_size
        except FileNotFoundError:
            return 0

    def names(self) -> Iterator[str]:
        """Every container that has a directory."""
        try:
            yield from sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return

    def find(self, name: str) -> Record | None:
        """What is written; a record that a power cut damaged is as good as one that was never finished."""
        record = _load(self.path(name, "record.json"), Record)
        if record is None and self.path(name).is_dir():
            return Record(name, "")
        return record

    def save(self, record: Record) -> Record:
        """Writes it, whole or not at all, marked with this boot. Raises OSError."""
        record = replace(record, boot=self._boot)
        self.path(record.name).mkdir(parents=True, exist_ok=True, mode=0o700)
        _save(self.path(record.name, "record.json"), record)
        return record

    def forget(self, name: str) -> None:
        """Removes the directory."""
        shutil.rmtree(self.path(name), ignore_errors=True)

    def running(self, record: Record) -> int | None:
        """The pid of its first process, while that lives."""
        alive = record.boot == self._boot and identify(record.init[0]) == Process(*record.init)
        return record.init[0] if alive else None

    def attended(self, record: Record) -> bool:
        """Whether its conmon lives: it reads the output, and will write how the container ended."""
        return record.boot == self._boot and identify(record.conmon[0]) == Process(*record.conmon)

    def observe(self, record: Record) -> Container:
        """What is there now. A container whose end is seen for the first time gets its `exit.json`."""
        if not record.id or record.restarting:
            return Container(record.name, record.id, "created", record.image_digest, starts=record.starts)
        end = _load(self.path(record.name, "exit.json"), Exit)
        if end is None:
            attended = self.attended(record)  # asked first: conmon writes the exit status and then ends
            pid = self.running(record)
            if pid is not None or (attended and not (self._exits / record.id).exists()):
                return Container(record.name, record.id, "running", record.image_digest, pid or record.init[0],
                                 started_at=record.started_at, starts=record.starts)
            end = self._end(record)
            try:
                _save(self.path(record.name, "exit.json"), end)
            except OSError:
                pass  # a full disk: the traces are still there the next time
        return Container(record.name, record.id, "exited", record.image_digest, None, end.code, end.out_of_memory,
                         record.started_at, end.finished_at, record.starts)

    def reopen(self, record: Record) -> None:
        """Before the record of one that was started again is written: how it ended before is no news any more."""
        for file in ("exit.json", "signalled"):
            self.path(record.name, file).unlink(missing_ok=True)
        status = self._exits / record.id
        if status.exists() and status.stat().st_mtime < record.started_at:
            status.unlink(missing_ok=True)

    def close(self, record: Record) -> None:
        """Before Podman is asked to remove one that has ended: it trusts the exit status file alone, which is missing
        where conmon was killed. What is observed stays what was seen."""
        if record.id and self.observe(record).state == "exited" and self._exits.is_dir():
            status = self._exits / record.id
            try:
                if not status.exists():
                    status.write_text("137")
            except OSError:
                pass  # then Podman says what it makes of it

    def _end(self, record: Record) -> Exit:
        try:
            with open(self._exits / record.id) as said:
                code, finished = int(said.read()), os.fstat(said.fileno()).st_mtime
        except (OSError, ValueError):
            return Exit(None, None, self._cgroups.out_of_memory(record.cgroup))
        killed = code != 0 and self._cgroups.out_of_memory(record.cgroup)
        return Exit(code, max(finished, record.started_at), killed)


def _load(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def _save(path: Path, value: object) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(value))
    temporary.replace(path)
