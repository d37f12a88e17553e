"""The data directory: made, locked by one control plane at a time, and named once for ever."""

import fcntl
import os
import secrets
from pathlib import Path

from cloudlet.kernel.names import Installation


class Unusable(Exception):
    """The directory cannot be used; the text says why, for a person."""


class DataDirectory:
    """Opens (and makes) a data directory and holds its lock until `close`, or until the process ends."""

    def __init__(self, path: Path) -> None:
        """Raises Unusable: not writable, not a directory, or in use by a running control plane."""
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unusable(f"cannot write to the data directory {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise Unusable(f"a Cloudlet (pid {running(path) or 'unknown'}) is already using {path}") from None
        self.installation = Installation(self._identity())
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _identity(self) -> str:
        """Six hex digits, drawn at the first start; the names of all engine objects begin with them."""
        file = self.path / "installation"
        try:
            text = file.read_text().strip()
        except FileNotFoundError:
            text = secrets.token_hex(3)
            made = file.with_suffix(".new")
            made.write_text(text + "\n")
            made.rename(file)
        if len(text) != 6 or not set(text) <= set("0123456789abcdef"):
            raise Unusable(f"{file} should hold six hex digits, not {text[:20]!r}")
        return text

    def close(self) -> None:
        """Lets the next control plane in."""
        os.close(self._lock)


def running(path: Path) -> int | None:
    """The pid of the control plane that holds the directory's lock, or None where none does."""
    try:
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def installation_of(path: Path) -> Installation | None:
    """The installation that lives in a data directory, without locking it; None where none ever did."""
    try:
        return Installation((path / "installation").read_text().strip())
    except OSError:
        return None
