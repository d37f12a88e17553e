"""What an image has at a volume's path, copied into the volume while it is empty, as Docker does."""

import os
import stat
from pathlib import Path, PurePosixPath

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

    A mark beside the volume stays until all is there, so that whoever comes after a crash begins anew. Raises Refused
    ("CannotStartContainerError: …") for a full disk, Busy where Podman does not answer.
    """
    mark = Path(mount.source + FILLING)
    answer = await podman.ask("POST", f"/containers/{container}/mount")
    if answer.status >= 400:
        raise Busy(f"{container} cannot be mounted: {answer.complaint}")
    try:
        source = inside(answer.body.decode().strip().strip('"'), mount.target)
        if source is not None:
            mark.touch()
            copied = await run(["cp", "-aT", "--", source, mount.source], timeout_s=_COPY_S)
            if copied.status:
                raise Refused(f"CannotStartContainerError: failed to copy the content of {mount.target} into its"
                              f" volume: {copied.complaint[-200:]}")
        mark.unlink(missing_ok=True)
    except OSError as failed:
        raise Refused(f"CannotStartContainerError: {failed.strerror or failed}") from None
    finally:
        await podman.ask("POST", f"/containers/{container}/unmount")


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
