"""What `cloudlet status` says of the memory that machines take."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from cloudlet.admin import Admin
from cloudlet.cli import mail, report
from cloudlet.engines.machine_memory import MIB, Footprint
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.http import Body, Request, Response
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


@pytest.mark.parametrize(("source", "origin"), [("127.0.0.1", ""), ("10.0.0.9", ""), ("127.0.0.1", "http://evil")])
def test_the_page_of_health_shows_the_mailbox_to_who_may_see_it(tmp_path: Path, source: str, origin: str) -> None:
    link = "http://localhost:4566/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:x:1:t&Token=ab"
    mails = [{"at": 1_700_000_000.0, "protocol": "email", "to": "<a@b>", "sender": "<s>",
              "subject": "<script>x</script>", "text": f"<img src=x> http://evil/?Action=x\n\"{link}\"\n& more"}]
    store = Store(f"{tmp_path}/db", SystemClock())
    admin = Admin(store, Site(Installation("000000"), tmp_path), 1, ("sns",), {"containers": "<b>"}, lambda: None,
                  mail=lambda tx: mails)

    def ask(accept: str) -> Response:
        headers = {"host": "localhost:4566", "accept": accept} | ({"origin": origin} if origin else {})
        answer = asyncio.run(admin.handle(Request("GET", "/_cloudlet/health", "", headers, Body(nothing()), source)))
        assert answer is not None
        return answer
    assert ask("*/*").headers["content-type"] == "application/json"
    page = ask("text/html,*/*")
    text = bytes(page.body).decode()  # type: ignore[arg-type]
    store.close()
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in text and "<img" not in text and "<b>" not in text.replace("<article><b>", "")
    assert ("Mailbox" in text) == (source == "127.0.0.1" and not origin)
    if "Mailbox" in text:
        shown = link.replace("&", "&amp;")
        assert re.findall("<a href=\"(.*?)\">", text) == [shown] and "&lt;script&gt;x" in text and "&lt;a@b&gt;" in text


@pytest.mark.parametrize(("host", "status"), [
    ("localhost:4566", 200), ("127.0.0.1:4566", 200), ("[::1]:4566", 200), ("cloudlet", 200), ("s3.localhost:80", 200),
    ("evil.example:4566", 403), ("evil.example", 403), ("localhost.evil:80", 403), ("127.0.0.1.evil.example", 403)])
def test_no_name_of_another_site_leads_to_what_is_told_here(tmp_path: Path, host: str, status: int) -> None:
    store = Store(f"{tmp_path}/db", SystemClock())
    admin = Admin(store, Site(Installation("000000"), tmp_path), 1, ("sns",), {}, lambda: None)
    request = Request("GET", "/_cloudlet/mail", "", {"host": host}, Body(nothing()), "127.0.0.1")
    answer = asyncio.run(admin.handle(request))
    store.close()
    assert answer is not None and answer.status == status


async def nothing() -> AsyncIterator[bytes]:
    """An empty body."""
    yield b""


def test_a_mail_as_a_person_reads_it() -> None:
    each = {"at": 1_700_000_000.5, "protocol": "email", "to": "a@b.c", "sender": "News", "subject": "Hi",
            "text": "x\ny"}
    assert mail.written(each) == (
        "Date: 2023-11-14 22:13:20 UTC\nFrom: News\nTo: a@b.c (email)\nSubject: Hi\n\nx\ny\n")
    assert "Subject" not in mail.written({**each, "subject": ""})
