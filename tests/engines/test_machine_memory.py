"""What a machine takes of the host's memory, as it is given and as it is measured."""

import os

import pytest

from cloudlet.engines.machine_command import command
from cloudlet.engines.machine_memory import MIB, TRANSLATIONS_BYTES, guest_bytes, mappings, measured
from cloudlet.engines.ports import MachineSpec

SMAPS = """\
7f0000000000-7f0020000000 rw-p 00000000 00:00 0
Size:             376832 kB
KernelPageSize:        4 kB
Rss:              227328 kB
Pss:              227328 kB
7f0030000000-7f0030800000 rwxp 00000000 00:00 0
Size:               8192 kB
Rss:                8188 kB
Pss:                4094 kB
"""


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize(("mib", "cpus"), [(512, 2), (1024, 2), (2048, 1), (65_536, 16)])
def test_guest_and_qemu_fit_what_the_type_promises(mib: int, cpus: int, accelerated: bool) -> None:
    guest = guest_bytes(mib * MIB, cpus, accelerated=accelerated)
    assert guest % MIB == 0 and guest > mib * MIB // 2
    translations = 0 if accelerated else TRANSLATIONS_BYTES
    assert guest + translations + 40 * MIB < mib * MIB
    words = command(MachineSpec("vm", "net", cpus, mib * MIB, (), ()), accelerated=accelerated, monitor="m",
                    pid_file="p", disks=[])
    assert words[words.index("-m") + 1] == f"{guest // MIB}M"
    assert accelerated or words[words.index("-accel") + 1].endswith(f"tb-size={translations // MIB}")


def test_a_guest_with_kvm_sees_more() -> None:
    assert guest_bytes(512 * MIB, 2, accelerated=True) == 464 * MIB, "as a t3.nano does on AWS, or nearly"
    assert guest_bytes(512 * MIB, 2, accelerated=False) < 464 * MIB


def test_sizes_and_shares_of_mappings() -> None:
    assert mappings(SMAPS) == [(368 * MIB, 227_328 << 10), (8 * MIB, 4_094 << 10)]
    assert mappings("") == []


def test_a_process_is_measured_until_it_is_gone() -> None:
    seen = measured("us", os.getpid())
    assert seen is not None and seen.name == "us" and seen.pid == os.getpid()
    assert seen.guest_bytes > 0 and seen.overhead_bytes > 0
    assert measured("nobody", 1 << 30) is None
