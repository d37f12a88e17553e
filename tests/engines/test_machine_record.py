"""How a machine ended, as far as its directory tells."""

from pathlib import Path

import msgspec
import pytest

from cloudlet.engines.machine_record import MachineRecords, Started
from cloudlet.engines.ports import MachineSpec

SPEC = MachineSpec("vm", "net", 1, 1 << 30, (), ())


@pytest.fixture
def records(tmp_path: Path) -> MachineRecords:
    made = MachineRecords(tmp_path)
    made.write_spec(SPEC)
    return made


def test_a_machine_does_not_outlive_the_boot_it_was_started_in(records: MachineRecords) -> None:
    assert not records.outlived("vm"), "it was never started"
    now = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for boot, outlived in ((now, False), ("an-earlier-one", True)):
        records.path("vm", "process.json").write_bytes(msgspec.json.encode(Started(1, 1, boot, False, 1.0)))
        assert records.outlived("vm") == outlived


@pytest.mark.parametrize("end", ["guest", "host", "reboot", "lost"])
def test_the_first_word_about_an_end_stays(records: MachineRecords, end: str) -> None:
    assert records.end("vm") == ""
    records.write_end("vm", end)  # type: ignore[arg-type]
    records.write_end("vm", "guest")
    assert records.end("vm") == end
    records.path("vm", "ended").write_text("a word of a later release")
    assert records.end("vm") == "lost"
