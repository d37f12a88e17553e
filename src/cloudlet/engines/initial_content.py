"""What an image has at a volume's path, copied into the volume while it is empty, as Docker does."""

import errno
import os
import stat
from pathlib import PurePosixPath

from cloudlet.engines.podman import Podman
from cloudlet.engines.ports import Mount
from cloudlet.engines.process import run
from cloudlet.engines.storages import FILLING
from cloudlet.kernel.errors import Busy, Refused

_COPY_S = 1800.0
_LINKS_MAX = 40  # as the kernel's


def wanting(mount: Mount) -> bool:
    """Whether the volume is empty, or its filling was cut off."""
    return mount.fill and (os.path.exists(mount.source + FILLING) or not os.listdir(mount.source))


async def fill(podman: Podman, container: str, mount: Mount) -> None:
    """Fills one volume from the file system of a container that was made and not started.

    The content is copied beside the volume, where nobody else gets, and moved into it: who shares the volume and runs
    already could else lead the copy elsewhere by a link. What is beside it stays until all is done, so that whoever
    comes after a crash begins anew. Raises Refused ("CannotStartContainerError: …") for a full disk, Busy where Podman
    does not answer.
    """
    beside = mount.source + FILLING
    answer = await podman.ask("POST", f"/containers/{container}/mount")
    if answer.status >= 400:
        raise Busy(f"{container} cannot be mounted: {answer.complaint}")
    try:
        source = inside(answer.body.decode().strip().strip('"'), mount.target)
        await run(["rm", "-rf", "--", beside], timeout_s=_COPY_S)
        if source is not None:
            copied = await run(["cp", "-aT", "--", source, beside], timeout_s=_COPY_S)
            if copied.status:
                raise Refused(f"CannotStartContainerError: failed to copy the content of {mount.target} into its"
                              f" volume: {copied.complaint[-200:]}")
            _move(beside, mount.source)
            await run(["rm", "-rf", "--", beside], timeout_s=_COPY_S)
    except OSError as failed:
        raise Refused(f"CannotStartContainerError: {failed.strerror or failed}") from None
    finally:
        await podman.ask("POST", f"/containers/{container}/unmount")


def _move(beside: str, volume: str) -> None:
    """What is beside the volume comes into it, each thing whole; what somebody else put there meanwhile stays."""
    for name in os.listdir(beside):
        try:
            os.rename(f"{beside}/{name}", f"{volume}/{name}")
        except OSError as failed:
            if failed.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
                raise
    status = os.stat(beside)
    os.chown(volume, status.st_uid, status.st_gid)
    os.chmod(volume, stat.S_IMODE(status.st_mode))


def inside(root: str, path: str) -> str | None:
    """The directory that a process whose root is `root` finds under a path, links followed as that process would;
    None where there is none. Nobody changes the tree meanwhile."""
    here, left, links = root, list(reversed(PurePosixPath(path).parts[1:])), 0
    while left:
        part = left.pop()
        if part == "..":
            here = here if here == root else os.path.dirname(here)
            continue
        try:
            status = os.lstat(f"{here}/{part}")
        except OSError:
            return None
        if stat.S_ISLNK(status.st_mode):
            links += 1
            target = PurePosixPath(os.readlink(f"{here}/{part}"))
            if links > _LINKS_MAX:
                return None
            if target.is_absolute():
                here = root
            left += reversed([each for each in target.parts if each != "/"])
        elif stat.S_ISDIR(status.st_mode):
            here = f"{here}/{part}"
        else:
            return None
    return here
