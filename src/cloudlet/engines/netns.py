"""Network namespaces: made, entered by one thread, named under /run/netns as `ip netns` does, and removed."""

import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudlet.kernel.errors import Unavailable

DIRECTORY = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 2
_NSFS_MAGIC = 0x6E736673
_libc = ctypes.CDLL(None, use_errno=True)
_abroad = threading.local()


class _Statfs(ctypes.Structure):
    """The head of `struct statfs`: the file system's kind; the rest is of no interest."""

    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_char * 248))


def path_of(name: str) -> str:
    """Where the namespace of that name is found by Podman, `ip netns` and `nsenter`."""
    return str(DIRECTORY / name)


def inode(path: str) -> int | None:
    """What tells one namespace from another; None where there is none (after a reboot a plain file may be left)."""
    found = _Statfs()
    if _libc.statfs(path.encode(), ctypes.byref(found)) != 0 or found.f_type != _NSFS_MAGIC:
        return None
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


def names(prefix: str) -> tuple[str, ...]:
    """All names with that beginning, half-made ones included."""
    try:
        return tuple(sorted(name for name in os.listdir(DIRECTORY) if name.startswith(prefix)))
    except FileNotFoundError:
        return ()


@contextmanager
def inside(path: str) -> Iterator[None]:
    """The calling thread is in that namespace for a while: sockets it opens and files of /proc/sys/net it writes belong
    there. Never use it on a thread that may be given away meanwhile (that is: no await within)."""
    with _returning_home():
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(target, _CLONE_NEWNET), "setns")
        finally:
            os.close(target)
        yield


def create(name: str) -> str:
    """A new, empty namespace under that name, unless it is there; its path. Raises Unavailable without privilege."""
    path = path_of(name)
    if inode(path) is not None:
        return path
    _prepare()
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    with _returning_home():
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "unshare")
            _check(_libc.mount(b"/proc/thread-self/ns/net", path.encode(), None, _MS_BIND, None), "mount")
        except PermissionError:
            os.unlink(path)
            raise Unavailable("network namespaces need root (CAP_SYS_ADMIN)") from None
    return path


def _prepare() -> None:
    """The directory, as a mount point of its own, which is how `ip netns` makes it too. Were it left to the first
    `ip netns add` of somebody else, that would hide the names mounted until then under itself, and none could go."""
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = str(DIRECTORY).encode()
    if _libc.mount(b"", path, b"none", _MS_SHARED | _MS_REC, None) == 0:
        return  # it is a mount point
    if ctypes.get_errno() == errno.EINVAL:
        _check(_libc.mount(path, path, b"none", _MS_BIND | _MS_REC, None), "mount")
        _check(_libc.mount(b"", path, b"none", _MS_SHARED | _MS_REC, None), "mount")


def remove(name: str) -> None:
    """Takes the name away; the kernel frees the namespace when its last process and socket are gone."""
    path = path_of(name)
    while inode(path) is not None:  # a name may have been mounted over twice
        _check(_libc.umount2(path.encode(), _MNT_DETACH), "umount")
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


@contextmanager
def _returning_home() -> Iterator[None]:
    """Whatever namespace the thread enters, it ends in the one it came from."""
    if getattr(_abroad, "yes", False):
        raise RuntimeError("this thread is inside a namespace already")
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _abroad.yes = True
    try:
        yield
    finally:
        failed = _libc.setns(home, _CLONE_NEWNET)
        os.close(home)
        _check(failed, "setns")  # were it ever to fail, the thread stays marked and is never used for this again
        _abroad.yes = False


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
