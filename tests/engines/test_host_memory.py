"""What of the host's memory is for machines."""

import os
from pathlib import Path

from cloudlet.engines.host_memory import RESERVE_BYTES, for_machines

GIB = 1 << 30


def test_a_control_groups_limit_counts(tmp_path: Path) -> None:
    whole = for_machines([])
    assert 0 <= whole <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") - RESERVE_BYTES
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    assert for_machines([limit, tmp_path / "missing"]) == whole
    limit.write_text(f"{2 * GIB}\n")
    assert for_machines([limit]) == min(whole, GIB)
    limit.write_text(f"{GIB // 2}\n")
    assert for_machines([limit]) == 0
