"""What the control plane needs of virtual machines and of the disks they start from."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

# ── Disks ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A virtual disk that is written to. It begins as a copy of the layer `base` (None: all zeros), filled up with
    zeros to its size; a larger size than before grows it."""

    name: str
    size_bytes: int
    base: str | None = None


@dataclass(frozen=True, slots=True)
class LayerSource:
    """Where a layer's content comes from: a file of the host ("raw" or "qcow2"), and for an image that is started
    without a boot loader of its own the kernel (and its initial ramdisk), files too."""

    path: str
    format: Literal["raw", "qcow2"]
    kernel: str | None = None
    ramdisk: str | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk or a layer as observed. `allocated_bytes`: what it takes of the host's disk beyond what it shares with
    others. `kernel`: it brings a kernel to start machines with."""

    name: str
    size_bytes: int
    allocated_bytes: int
    kernel: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """What the control plane must know of a finished image that lies on the shelf, a directory of its own: `disk`,
    `kernel` and `ramdisk` are files in it. `owner` is the account that people know the distribution's images by,
    `alias` its name where it has one; `user` is whom one logs in as."""

    name: str
    description: str
    owner: str
    root_device: str
    user: str
    disk: str
    format: Literal["raw", "qcow2"]
    size_gib: int
    created: float
    alias: str = ""
    kernel: str = ""
    ramdisk: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shelved:
    """An image on the shelf. `source` is None once its files are gone, since a layer has been made of them. `removed`:
    nobody wants it any more."""

    card: Card
    source: LayerSource | None
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where disks are kept, as found: what new ones may still take, and the images that lie on the shelf."""

    free_bytes: int
    shelf: tuple[Shelved, ...] = ()


class Disks(Protocol):
    """Disks, which machines write to, and layers, which never change: snapshots and images. A layer may be the base of
    any number of disks and layers, and its content stays as long as one of them needs it."""

    async def ensure(self, spec: DiskSpec) -> Disk:
        """The disk, at least of that size. A running machine sees it grow. Conflict where its base is missing, Full
        where the host has no space for a new one."""
        ...

    async def seal(self, disk: str, layer: str) -> Disk:
        """Keeps the disk's content of this moment as a layer, once: a layer of that name is left as it is.

        A running machine goes on; the content is what a power cut would have left. Conflict where there is no disk,
        Full where the host has no space, Refused where the disk stands on too many layers already.
        """
        ...

    async def receive(self, layer: str, source: LayerSource) -> Disk:
        """Makes a layer from a file, once. Refused where the file is none that can be a disk, Full where the host has
        no space."""
        ...

    async def observe(self, name: str) -> Disk | None:
        """The disk or layer, if it is whole."""
        ...

    async def destroy(self, name: str) -> None:
        """Nobody will ask for it again. Conflict while a machine has the disk. What is gone already is fine."""
        ...

    async def owned(self) -> tuple[str, ...]:
        """The names of all disks and layers."""
        ...

    async def survey(self) -> Place:
        """How much space there is, and which images wait to be taken in. Cheap: no process is started for it."""
        ...

    async def unshelve(self, image: str, problem: str = "") -> None:
        """The files of an image on the shelf are needed no more, since a layer was made of them or never can be (the
        `problem`, for whoever put it there); its card stays, unless it was removed."""
        ...


# ── Machines ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Drive:
    """A disk in a machine, which shows `serial` inside (AWS: "vol" and the volume's digits, without the hyphen)."""

    disk: str
    serial: str


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card on an interface with the workload "tap": its engine name, `Interface.path`, and its MAC."""

    interface: str
    device: str
    mac: str


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """A machine: first the drive it starts from, then the others, in the order in which they came. `memory_bytes` is
    what it takes of the host in all; its guest sees what whatever runs it leaves of that. `kernel` is the layer whose
    kernel starts it (None: the drive's own boot loader). Drives and cards may change while it runs, the first of each
    may not. `uuid` is what its firmware shows; AWS's begins with "ec2"."""

    name: str
    network: str
    cpus: int
    memory_bytes: int
    drives: tuple[Drive, ...]
    nics: tuple[Nic, ...]
    kernel: str | None = None
    uuid: str = "ec200000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as observed. `drives` and `nics` name the disks and interfaces that it has now. "off": it was powered
    off from inside (`ended` "guest"), by `stop` ("host"), with the whole host, which has started again since
    ("reboot"), or its process is gone ("lost"). Times are epoch seconds. `accelerated`: by KVM, else it is emulated.
    `stalled`: it stands still, since what it wrote found no space on the host's disk. `unwired`: interfaces whose
    device was lost, so that nothing comes to their cards."""

    name: str
    state: Literal["running", "off"]
    accelerated: bool
    drives: tuple[str, ...] = ()
    nics: tuple[str, ...] = ()
    pid: int | None = None
    started_at: float | None = None
    ended: Literal["", "guest", "host", "reboot", "lost"] = ""
    stalled: bool = False
    unwired: tuple[str, ...] = ()


class Machines(Protocol):
    """Virtual machines that outlive the control plane."""

    async def ensure(self, spec: MachineSpec) -> Machine:
        """Powered on once, and with exactly these drives and cards from then on, whose wires are led to their devices
        again where these were made anew; one that is off is left as it is and observed. Conflict where a disk, a card's
        device or its network is missing or to be ensured again, or another machine has the disk; Refused where the host
        cannot run it."""
        ...

    async def observe(self, name: str) -> Machine | None:
        """What is there; None where nothing is. Cheap: no process is started for it."""
        ...

    async def stop(self, name: str, grace_s: float) -> None:
        """Presses the power button and, after the grace, cuts the power; 0 cuts it at once. Returns when that was sent.
        The wait is the control plane's: after a restart call again with what is left."""
        ...

    async def destroy(self, name: str) -> None:
        """Removes a machine, running or not, with its console; its disks and interfaces stay."""
        ...

    async def owned(self) -> tuple[str, ...]:
        """The names of all machines."""
        ...

    async def console(self, name: str) -> bytes:
        """The last 64 KiB of what it wrote to its serial console, since it was last powered on."""
        ...

    def events(self) -> AsyncIterator[str]:
        """The name of each machine that starts or ends, promptly; a hint that observing is worth it."""
        ...
