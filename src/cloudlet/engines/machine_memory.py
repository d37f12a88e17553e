"""How much of the host's memory a machine takes: what it is given, and what it was measured to have.

What a type of instance promises is for the whole process. QEMU's own share comes off it before the guest sees it, as
firmware and hypervisor have theirs on AWS (a t3.nano's 512 MiB are some 465 there). So the sum of what types promise is
what the host must carry.
"""

from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
GUEST_BYTES_MIN = 64 * MIB
# For code as an emulated processor translated it. A launch fills it; with half of it, much is translated twice, and a
# launch takes a third more time.
TRANSLATIONS_BYTES = 128 * MIB
# Measured as what QEMU has beside that and the guest's memory (up to 86 MiB with two emulated processors), and more.
_BASE_EMULATED, _BASE_ACCELERATED, _PER_PROCESSOR = 84 * MIB, 40 * MIB, 4 * MIB


@dataclass(frozen=True, slots=True)
class Footprint:
    """A machine's process: `guest_bytes` is what its guest may have, `guest_resident_bytes` what it was given of that
    until now, `overhead_bytes` what QEMU has for itself (its share of what several use together)."""

    name: str
    pid: int
    guest_bytes: int
    guest_resident_bytes: int
    overhead_bytes: int


def guest_bytes(memory_bytes: int, cpus: int, *, accelerated: bool) -> int:
    """What the guest sees of the memory that its machine takes in all, in whole MiB."""
    own = _BASE_ACCELERATED if accelerated else _BASE_EMULATED + TRANSLATIONS_BYTES
    return max(GUEST_BYTES_MIN, (memory_bytes - own - cpus * _PER_PROCESSOR) // MIB * MIB)


def measured(name: str, pid: int) -> Footprint | None:
    """What a process has now; None where it is gone. The guest's memory is its largest mapping."""
    try:
        found = mappings(Path(f"/proc/{pid}/smaps").read_text())
    except OSError:
        return None
    if not found:
        return None
    size, inside = max(found)
    return Footprint(name, pid, size, inside, sum(share for _, share in found) - inside)


def mappings(smaps: str) -> list[tuple[int, int]]:
    """Size and proportional share (PSS) of each of a process's mappings, in bytes.

    https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html
    """
    found: list[tuple[int, int]] = []
    size = 0
    for line in smaps.splitlines():
        if line.startswith("Size:"):
            size = int(line.split()[1]) << 10
        elif line.startswith("Pss:"):
            found.append((size, int(line.split()[1]) << 10))
    return found
