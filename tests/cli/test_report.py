"""What `cloudlet status` says of the memory that machines take."""

import msgspec
import pytest
from rich.console import Console

from cloudlet.admin import Admin
from cloudlet.cli import mail, report
from cloudlet.engines.machine_memory import MIB, Footprint
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.store.db import Store

MACHINES = (Footprint("one", 10, 368 * MIB, 200 * MIB, 130 * MIB),
            Footprint("two", 11, 368 * MIB, 300 * MIB, 140 * MIB))


def told(machines: tuple[Footprint, ...], tmp_path: object) -> list[dict[str, int]]:
    """As the control plane answers it."""
    store = Store(f"{tmp_path}/db", SystemClock())
    admin = Admin(store, Site(Installation("000000"), tmp_path), 1, (), {}, lambda: None, lambda: machines)  # type: ignore[arg-type]
    found: list[dict[str, int]] = msgspec.json.decode(msgspec.json.encode(admin.status()))["machines"]
    store.close()
    return found


def test_what_machines_take_and_what_of_that_is_qemus(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    report._machines(Console(highlight=False, soft_wrap=True), told(MACHINES, tmp_path))
    said = capsys.readouterr().out.strip()
    assert said == "2 machines take 770 MiB of memory; of that QEMU has 130 to 140 MiB each for itself"
    report._machines(Console(highlight=False, soft_wrap=True), told(MACHINES[:1], tmp_path))
    assert "1 machine takes 330 MiB of memory; of that QEMU has 130 MiB for itself" in capsys.readouterr().out


def test_nothing_is_said_of_none(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    report._machines(Console(), told((), tmp_path))
    assert capsys.readouterr().out == ""


def test_a_mail_as_a_person_reads_it() -> None:
    each = {"at": 1_700_000_000.5, "protocol": "email", "to": "a@b.c", "sender": "News", "subject": "Hi",
            "text": "x\ny"}
    assert mail.written(each) == (
        "Date: 2023-11-14 22:13:20 UTC\nFrom: News\nTo: a@b.c (email)\nSubject: Hi\n\nx\ny\n")
    assert "Subject" not in mail.written({**each, "subject": ""})
