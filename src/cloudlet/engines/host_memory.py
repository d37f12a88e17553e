"""How much memory this host has for virtual machines, as it was when it started."""

import os
from collections.abc import Iterable
from pathlib import Path

RESERVE_BYTES = 1 << 30  # for the host itself and the control plane
RESERVE_SHARE = 0.1  # of a large one, which has more to do beside

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def for_machines(limits: Iterable[Path] = _LIMITS) -> int:
    """Bytes: the host's memory, or a control group's limit on it, without a reserve."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    whole = min([total, *(limit for path in limits if (limit := _limit(path)) is not None)])
    return max(0, whole - max(RESERVE_BYTES, int(whole * RESERVE_SHARE)))


def _limit(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
