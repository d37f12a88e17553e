"""Reads a container's output as conmon wrote it: "TIME STREAM P|F TEXT" a line, P where the line goes on."""

import ctypes
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cloudlet.engines.ports import LogChunk, LogLine

BLOCK = 1 << 18
LINE_MAX = 262_118  # bytes: what CloudWatch Logs took of one event (256 KiB less 26) and the awslogs driver splits at
KEPT = 64 << 20  # bytes: how much stays behind what was asked for last, should a power cut undo what the reader stored
HELD_S = 1.0  # how long whole lines of one stream wait for an unfinished line of the other before them


@dataclass(slots=True)
class _Pending:
    """A line whose end has not come yet."""

    since: float
    parts: list[bytes] = field(default_factory=list)
    size: int = 0


class _Reader:
    """Joins records to lines. `safe` is an offset before which every record is in one of the first `count` lines."""

    def __init__(self, offset: int, limit: int) -> None:
        self.lines: list[LogLine] = []
        self.pending: dict[bytes, _Pending] = {}
        self.safe, self.count = offset, 0
        self.limit = limit
        self.last = 0.0  # the latest record's time: a line bears the time at which it ended
        self._seconds: dict[bytes, float] = {}

    def take(self, record: bytes, start: int, end: int) -> bool:
        """One record, from offset `start` up to `end`; whether there is room for more lines."""
        parts = record.split(b" ", 3)
        if len(parts) == 4 and parts[1] in (b"stdout", b"stderr"):
            self.last = self._time(parts[0])
            self._join(parts[1], parts[3], parts[2] == b"P", start)
        if self.pending and self.count < len(self.lines):
            oldest = min(pending.since for pending in self.pending.values())
            if self.last - oldest > HELD_S or (self.count == 0 and len(self.lines) >= self.limit - 1):
                self.flush()
        self.settle(end)
        return len(self.lines) < self.limit

    def _join(self, stream: bytes, text: bytes, partial: bool, start: int) -> None:
        pending = self.pending.get(stream)
        if pending is None and not partial:
            self._emit(stream, text)
            return
        if pending is not None and pending.size + len(text) > LINE_MAX:
            self._emit(stream, b"".join(self.pending.pop(stream).parts))
            self.settle(start)
            pending = None
        if pending is None:
            pending = self.pending[stream] = _Pending(self.last)
        pending.parts.append(text)
        pending.size += len(text)
        if not partial:
            self._emit(stream, b"".join(self.pending.pop(stream).parts))

    def _emit(self, stream: bytes, text: bytes) -> None:
        self.lines.append(LogLine(self.last, "stdout" if stream == b"stdout" else "stderr",
                                  text.decode(errors="replace")))

    def settle(self, offset: int) -> None:
        if not self.pending:
            self.safe, self.count = offset, len(self.lines)

    def flush(self) -> None:
        """Unfinished lines become lines as they are."""
        for stream in list(self.pending):
            self._emit(stream, b"".join(self.pending.pop(stream).parts))

    def _time(self, text: bytes) -> float:
        """Epoch seconds of "2006-01-02T15:04:05.999999999+07:00"; where it is none, the time of the line before."""
        try:
            second = text[:19] + (text[-6:] if text[-6:-5] in (b"+", b"-") else b"+00:00")
            if second not in self._seconds:
                self._seconds = {second: datetime.fromisoformat(second.decode()).timestamp()}
            fraction = text[19:29]
            return self._seconds[second] + (float(b"0" + fraction) if fraction[:1] == b"." else 0.0)
        except ValueError:
            return self.last


_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_KEEP_SIZE_PUNCH_HOLE = 0x1 | 0x2


def forget(path: Path, end: int) -> None:
    """Gives the disk back what lies before `end`; offsets stay as they are. Where the file system cannot, nothing."""
    try:
        log = os.open(path, os.O_RDWR)
    except OSError:
        return
    try:
        _libc.fallocate(log, _KEEP_SIZE_PUNCH_HOLE, 0, end - end % 4096)
    finally:
        os.close(log)


def read(path: Path, offset: int, limit: int, *, ended: bool, now: float) -> LogChunk:
    """At most `limit` lines (two or more) from an offset that an earlier chunk gave, or 0.

    `ended`: nobody writes any more, so that an unfinished last line is whole. `now` in epoch seconds. A line longer
    than LINE_MAX comes in pieces; bytes that are not UTF-8 come as U+FFFD. The end of a line is waited for, except
    that whole lines of the other stream are held back no longer than HELD_S. At most one block is read at a time, so
    memory does not grow with the log.
    """
    chunk = _read(path, offset, limit, BLOCK, ended, now)
    if chunk is None:  # one unfinished line fills the block: its parts are tiny (programs that write byte by byte)
        chunk = _read(path, offset, limit, 64 * BLOCK, ended, now)
    return chunk or LogChunk((), offset, ended)


def _read(path: Path, offset: int, limit: int, block: int, ended: bool, now: float) -> LogChunk | None:
    try:
        with open(path, "rb") as log:
            data = os.pread(log.fileno(), block, offset)
            if data[:1] == b"\0":  # forgotten: on from where there is something
                offset = os.lseek(log.fileno(), offset, os.SEEK_DATA)
                data = os.pread(log.fileno(), block, offset)
    except OSError:
        return LogChunk((), offset, ended)
    reader, position, room = _Reader(offset, max(limit, 2)), 0, True
    while room and (end := data.find(b"\n", position) + 1):
        room = reader.take(data[position:end - 1], offset + position, offset + end)
        position = end
    drained = room and len(data) < block
    if drained and reader.pending:
        overdue = now - min(pending.since for pending in reader.pending.values()) > HELD_S
        if ended or (overdue and len(reader.lines) > reader.count):
            reader.flush()
            reader.settle(offset + position)
    if room and not drained and reader.safe == offset:
        return None
    return LogChunk(tuple(reader.lines[:reader.count]), reader.safe, ended and drained)
