"""Space on the disk: what bodies leave free, and what the log has in advance, so that things can always be deleted."""

import os
from contextlib import suppress
from pathlib import Path

KEPT_BYTES = 16 << 20  # that bodies leave free for the database
KEPT_SHARE = 20  # of a small file system they leave this part
PLENTY_BYTES = 1 << 30
ZEROS_BYTES = 64 << 10


def is_full(where: Path | int) -> bool:
    """Whether no more bodies should be written to the file system of a path or descriptor. Raises OSError."""
    found = os.statvfs(where)
    size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return free < min(KEPT_BYTES, size // KEPT_SHARE)


def is_plenty(where: Path | int) -> bool:
    """Whether there is so much space that the log may take what it likes. Raises OSError."""
    found = os.statvfs(where)
    return found.f_bavail * found.f_frsize > PLENTY_BYTES


def lengthen(descriptor: int, size: int, at_once: int) -> bool:
    """Writes zeros at the end of a file until it has `size` bytes, or `at_once` more than before; fewer where the disk
    has no space for them. Whether it wrote any.

    Zeros, and not fallocate(2): where a file system writes for the first time its journal has a part in it, and to
    bring that to the disk takes several times as long as to bring there what is overwritten. Little at a time, since
    Linux keeps in memory as one what was written as one, and goes through all blocks of that for each that is
    overwritten: where 8 MiB were written at once each page took three times as long.
    """
    length = os.fstat(descriptor).st_size
    end = min(size, length + at_once)
    with suppress(OSError):
        for at in range(length, end, ZEROS_BYTES):
            os.pwrite(descriptor, bytes(min(ZEROS_BYTES, end - at)), at)
    return os.fstat(descriptor).st_size > length
