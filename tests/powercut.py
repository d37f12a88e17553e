"""Power cuts: what reaches the files of a directory is recorded, and disks are made that lost what was not synced.

As ALICE (OSDI 2014) and CrashMonkey (OSDI 2018) have it, a disk may hold any part of what was written since a file's
last sync, torn between sectors and in any order, and any of the names given or taken since their directory's; a rename
is whole or not at all. Recorded is what goes through `os` and through SQLite, in this process. Syncs themselves are not
done, only remembered: they take a moment in which others go on.
"""

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import apsw

from cloudlet.store import disk

SECTOR_BYTES = 512
LOSSES = ("everything", "nothing", "data", "names", "some")  # of what was not synced


class Write(NamedTuple):
    """Bytes of a file."""

    file: int
    at: int
    data: bytes


class Cut(NamedTuple):
    """A file's new size."""

    file: int
    size: int


class Names(NamedTuple):
    """Names that directories got (of a file or directory) or lost (None), all at once."""

    changes: tuple[tuple[int, str, int | None], ...]


class Directory(NamedTuple):
    """What has that number is a directory."""

    number: int


class Sync(NamedTuple):
    """Whatever was done to a file or directory before the event of that number lasts."""

    of: int
    before: int


class Told(NamedTuple):
    """Something a client knows from now on."""

    what: Any


class _RecordedFile(apsw.VFSFile):  # type: ignore[misc]
    def __init__(self, recorder: "Recorder", name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        is_new = not os.path.exists(path)
        super().__init__("unix", name, flags)
        self._recorder, self._id = recorder, recorder.appeared(path) if is_new else recorder.known(path)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        if self._id is not None:
            self._recorder.add(Write(self._id, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(size)
        if self._id is not None:
            self._recorder.add(Cut(self._id, size))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._id is not None:
            self._recorder.sync(self._id)


class _RecordedFiles(apsw.VFS):  # type: ignore[misc]
    def __init__(self, recorder: "Recorder") -> None:
        super().__init__("powercut", "unix")
        self._recorder = recorder

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _RecordedFile(self._recorder, name, flags)

    def xDelete(self, path: str, sync: bool) -> None:  # noqa: N802 - SQLite's name
        with self._recorder.lock:
            super().xDelete(path, sync)
            self._recorder.gone(path)
        if sync:
            self._recorder.sync(self._recorder.known(os.path.dirname(path)) or 0)


class Recorder:
    """What happens to the files under a directory that is empty at first; `events` in their order."""

    def __init__(self, root: Path, *, pause_s: float = 0.0005) -> None:
        self.events: list[Any] = []
        self.lock = threading.RLock()
        self._root, self._pause_s, self._count = str(root), pause_s, 0
        self._ids: dict[tuple[int, int], int] = {}
        self._remember(self._root)

    def tell(self, what: Any) -> int:
        """Notes that a client knows something now; the number of that event."""
        return self.add(Told(what))

    def add(self, event: Any) -> int:
        with self.lock:
            self.events.append(event)
            return len(self.events) - 1

    def sync(self, of: int) -> None:
        before = len(self.events)
        time.sleep(self._pause_s)
        self.add(Sync(of, before))

    def known(self, where: str | int) -> int | None:
        """The number of a file or directory of ours, by its path or descriptor."""
        try:
            found = os.stat(where)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._ids.get((found.st_dev, found.st_ino))

    def appeared(self, path: str, *, directory: bool = False) -> int | None:
        """A new file or directory, which got its name."""
        where = self._place(path)
        if where is None:
            return None
        number = self._remember(path)
        if directory:
            self.add(Directory(number))
        self.add(Names(((*where, number),)))
        return number

    def gone(self, path: str) -> None:
        where = self._place(path)
        if where is not None:
            self.add(Names(((*where, None),)))

    def _remember(self, path: str) -> int:
        found = os.stat(path)
        number, self._count = self._count, self._count + 1
        self._ids[found.st_dev, found.st_ino] = number  # which may be that of a file that is gone
        return number

    def _place(self, path: str) -> tuple[int, str] | None:
        """The directory of a path, and its name there; None where that is not ours."""
        directory, name = os.path.split(os.path.abspath(path))
        number = self.known(directory)
        return None if number is None else (number, name)

    @contextmanager
    def recording(self) -> Iterator["Recorder"]:
        """Records while this holds."""
        before, files = apsw.vfs_names()[0], _RecordedFiles(self)
        apsw.set_default_vfs("powercut")
        try:
            by_thread = mock.patch.object(disk, "_open_context", return_value=None)
            with mock.patch.multiple(os, **self._replacements()), by_thread:
                yield self
        finally:
            apsw.set_default_vfs(before)
            files.unregister()

    def _replacements(self) -> dict[str, Callable[..., Any]]:
        real = {name: getattr(os, name) for name in (
            "open", "write", "ftruncate", "fsync", "fdatasync", "rename", "replace", "unlink", "remove", "mkdir",
            "rmdir")}

        def opened(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
            with self.lock:
                is_new = bool(flags & os.O_CREAT) and not os.path.lexists(path)
                descriptor: int = real["open"](path, flags, mode, **more)
                if is_new:
                    self.appeared(os.fspath(path))
                elif flags & os.O_TRUNC and (file := self.known(descriptor)) is not None:
                    self.add(Cut(file, 0))
                return descriptor

        def write(descriptor: int, data: Any) -> int:
            file = self.known(descriptor)
            if file is None:
                return int(real["write"](descriptor, data))
            with self.lock:
                size: int = real["write"](descriptor, data)
                at = os.lseek(descriptor, 0, os.SEEK_CUR) - size  # of one that appends too, once it has
                self.add(Write(file, at, bytes(memoryview(data)[:size])))
                return size

        def cut(descriptor: int, size: int) -> None:
            real["ftruncate"](descriptor, size)
            if (file := self.known(descriptor)) is not None:
                self.add(Cut(file, size))

        def synced(name: str) -> Callable[[int], None]:
            def sync(descriptor: int) -> None:
                number = self.known(descriptor)
                real[name](descriptor) if number is None else self.sync(number)
            return sync

        def renamed(name: str) -> Callable[..., None]:
            def rename(source: Any, target: Any, **more: Any) -> None:
                with self.lock:
                    number, start = self.known(os.fspath(source)), self._place(os.fspath(source))
                    real[name](source, target, **more)
                    end = self._place(os.fspath(target))
                    if start is not None and end is not None and number is not None:
                        self.add(Names(((*end, number), (*start, None))))
            return rename

        def removed(name: str) -> Callable[..., None]:
            def remove(path: Any, **more: Any) -> None:
                with self.lock:
                    real[name](path, **more)
                    if not more:
                        self.gone(os.fspath(path))
            return remove

        def mkdir(path: Any, mode: int = 0o777, **more: Any) -> None:
            with self.lock:
                real["mkdir"](path, mode, **more)
                self.appeared(os.fspath(path), directory=True)

        return {"open": opened, "write": write, "ftruncate": cut, "mkdir": mkdir, "fsync": synced("fsync"),
                "fdatasync": synced("fdatasync"), "rename": renamed("rename"), "replace": renamed("replace"),
                **{name: removed(name) for name in ("unlink", "remove", "rmdir")}}


def after_power_cut(events: list[Any], at: int, loss: str, seed: int, target: Path) -> None:
    """Makes the directory `target` what the disk may hold where the power went after the first `at` events; `loss`
    (one of LOSSES) says what became of that which was not synced."""
    drawn, synced = random.Random(f"{at} {loss} {seed}"), defaultdict[int, int](int)
    for event in events[:at]:
        if isinstance(event, Sync):
            synced[event.of] = max(synced[event.of], event.before)
    files, directories = defaultdict[int, bytearray](bytearray), defaultdict[int, dict[str, int]](dict)
    for number, event in enumerate(events[:at]):
        match event:
            case Names(changes):
                if any(number < synced[directory] for directory, _, _ in changes) or _stays(loss, "names", drawn):
                    for directory, name, file in changes:
                        directories[directory].pop(name, None)
                        if file is not None:
                            directories[directory][name] = file
            case Write(file, start, data):
                if number < synced[file] or _stays(loss, "data", drawn):
                    _put(files[file], start, data)
                elif loss == "some":
                    for piece in range(0, len(data), SECTOR_BYTES):
                        if drawn.random() < 0.3:
                            _put(files[file], start + piece, data[piece:piece + SECTOR_BYTES])
            case Cut(file, size):
                if number < synced[file] or _stays(loss, "data", drawn):
                    found = files[file]
                    found[:] = found[:size].ljust(size, b"\0")
    _lay(0, target, directories, files, {0} | {event.number for event in events[:at] if isinstance(event, Directory)})


def _stays(loss: str, what: str, drawn: random.Random) -> bool:
    return loss == "nothing" or (loss in LOSSES[2:4] and loss != what) or (loss == "some" and drawn.random() < 0.5)


def _put(file: bytearray, at: int, data: bytes) -> None:
    if len(file) < at:
        file.extend(bytes(at - len(file)))
    file[at:at + len(data)] = data


def _lay(number: int, path: Path, directories: dict[int, dict[str, int]], files: dict[int, bytearray],
         branches: set[int]) -> None:
    path.mkdir()
    for name, child in directories[number].items():
        if child in branches:
            _lay(child, path / name, directories, files, branches)
        else:
            (path / name).write_bytes(files[child])
