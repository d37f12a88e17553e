"""Space on the disk: what bodies leave free, and what the log has in advance, so that things can always be deleted."""

import ctypes
import os
from pathlib import Path

KEPT_BYTES = 16 << 20  # that bodies leave free for the database
KEPT_SHARE = 20  # of a small file system they leave this part
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE


def is_full(where: Path | int) -> bool:
    """Whether no more bodies should be written to the file system of a path or descriptor. Raises OSError."""
    found = os.statvfs(where)
    size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return free < min(KEPT_BYTES, size // KEPT_SHARE)


def reserve(descriptor: int, size: int) -> None:
    """Gives a file the space of its first `size` bytes before they are written; nothing where that is not possible.

    See fallocate(2); the file's length stays what it is.
    """
    call = getattr(ctypes.CDLL(None), "fallocate", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        call(descriptor, _KEEP_SIZE, 0, size)
