"""What a volume's next move is, from its record and what was seen of its disk: pure."""

from dataclasses import dataclass, replace

from cloudlet.engines.ports import Disk
from cloudlet.services.ec2.storage.performance import GIB
from cloudlet.services.ec2.storage.records import Volume


@dataclass(frozen=True, slots=True)
class Ensure:
    """The disk is to be there, in that size."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class Destroy:
    """The disk is to go, and the record after it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Something else must come first."""

    why: str


@dataclass(frozen=True, slots=True)
class Note:
    """What was seen is to be recorded, where that is new."""

    volume: Volume


Move = Ensure | Destroy | Wait | Note

GONE = "The data of this volume is gone from the host's disk."


def next_move(volume: Volume, disk: Disk | None, sealing: bool, now: float) -> Move:
    """The next move for a volume; `sealing`: a snapshot of it is still to be taken."""
    if volume.deleting:
        return Wait("a snapshot of the volume is being taken") if sealing else Destroy()
    if volume.problem:
        return Note(volume)
    if disk is None and volume.disk_ready:
        return Note(replace(volume, problem=GONE))  # never made anew: an empty disk is not what was lost
    wanted = wanted_bytes(volume)
    if disk is None or disk.size_bytes < wanted:
        return Ensure(wanted)
    return Note(observed(volume, now))


def wanted_bytes(volume: Volume) -> int:
    """How large the disk is to be."""
    changing = volume.modification if volume.modification and volume.modification.ended is None else None
    return (changing.target if changing else volume.performance).size_gib * GIB


def observed(volume: Volume, now: float) -> Volume:
    """The volume, when its disk was seen as it is wanted."""
    change = volume.modification
    if change is not None and change.ended is None:
        volume = replace(volume, performance=change.target, modification=replace(change, ended=now))
    return replace(volume, disk_ready=True)


def failed(volume: Volume, problem: str, now: float) -> Volume:
    """The volume, when its disk cannot be had as it is wanted: one that was there stays as it was."""
    change = volume.modification
    if volume.disk_ready and change is not None and change.ended is None:
        return replace(volume, modification=replace(change, ended=now, problem=problem))
    return replace(volume, problem=problem)
