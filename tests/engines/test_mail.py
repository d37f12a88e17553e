"""Mail is sent over SMTP, and what a server says of it is understood."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast

import pytest

from cloudlet.engines import mail
from cloudlet.engines.fake.mail import FakeMail
from cloudlet.engines.mail import SmtpMail
from cloudlet.engines.ports import Letter, Mail
from cloudlet.kernel import site
from cloudlet.kernel.errors import Busy, EngineError, Refused
from tests.smtp import MailServer, contexts

LETTER = Letter("id-1", "Grüße", "a@example.com", "Ein Thema: ✓", "first\n.\n..second ✓\n")


async def conforms(port: Mail, taken: Callable[[], int], next_fault: Callable[[EngineError], None]) -> None:
    """What every implementation must do."""
    await port.send(LETTER)
    assert taken() == 1
    next_fault(Busy("451 later"))
    with pytest.raises(Busy):
        await port.send(LETTER)
    next_fault(Refused("550 no such user"))
    with pytest.raises(Refused):
        await port.send(LETTER)
    assert taken() == 1


def test_the_fake() -> None:
    fake = FakeMail()
    asyncio.run(conforms(fake, lambda: len(fake.taken), fake.faults.append))


def serve(server: MailServer, case: Callable[[SmtpMail], Awaitable[None]], *,
          trusted: ssl.SSLContext | None = None, **settings: str) -> None:
    """Runs a case with a server at work."""
    async def run() -> None:
        async with server.running(tls=settings.get("tls") == "tls"):
            port = SmtpMail(site.MailServer("localhost", server.port, "no-reply@cloud.example", **settings),  # type: ignore[arg-type]
                            trusted)
            try:
                await case(port)
            finally:
                port.close()
    asyncio.run(run())


def test_a_letter_arrives() -> None:
    server = MailServer()

    async def case(port: SmtpMail) -> None:
        def fault(error: EngineError) -> None:
            server.answers["RCPT"] = str(error)
        await conforms(port, lambda: len(server.mails), fault)
    serve(server, case)
    ((sender, recipient, text),) = server.mails
    message = cast(EmailMessage, message_from_bytes(text, policy=policy.default))
    assert (sender, recipient) == ("no-reply@cloud.example", "a@example.com")
    assert (message["From"], message["To"]) == ("Grüße <no-reply@cloud.example>", "a@example.com")
    assert (message["Subject"], message["Message-ID"]) == (LETTER.subject, "<id-1@cloud.example>")
    assert message.get_content().replace("\r\n", "\n") == LETTER.text and message["Date"]


@pytest.mark.parametrize(("step", "answer", "final"), [
    ("hello", "554 go away", False), ("MAIL", "550 who", False), ("RCPT", "450 x", False),
    ("RCPT", "553 x", True), ("DATA", "451 x", False), ("text", "554 spam", True), ("text", "452 full", False),
    ("RCPT", "421 bye", False)])
def test_what_a_server_says(step: str, answer: str, final: bool) -> None:
    server = MailServer({step: answer})

    async def case(port: SmtpMail) -> None:
        with pytest.raises(EngineError) as caught:
            await port.send(LETTER)
        assert type(caught.value) is (Refused if final else Busy)
    serve(server, case)
    assert server.mails == []


@pytest.mark.parametrize("step", ["hello", "EHLO", "text"])
def test_a_server_that_says_nothing(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(mail, "STEP_S", 0.4)
    async def case(port: SmtpMail) -> None:
        with pytest.raises(Busy, match="in time"):
            await port.send(LETTER)
    serve(MailServer({step: ""}), case)


def test_nobody_listens_and_letters_that_cannot_be() -> None:
    async def run() -> None:
        port = SmtpMail(site.MailServer("127.0.0.1", 1, "a@b.example"))
        with pytest.raises(Busy):
            await port.send(LETTER)
        with pytest.raises(Refused):
            await port.send(Letter("x", "a", "b@c", "two\nlines", "x"))
    asyncio.run(run())


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_encrypted_and_with_a_password(tls: str, tmp_path: Path) -> None:
    context, trusted = contexts(tmp_path)
    server = MailServer(context=context, login="user\0secret")

    async def right(port: SmtpMail) -> None:
        await port.send(LETTER)

    async def wrong(port: SmtpMail) -> None:
        with pytest.raises(Busy):
            await port.send(LETTER)
    serve(server, right, tls=tls, trusted=trusted, user="user", password="secret")
    serve(server, wrong, tls=tls, trusted=trusted, user="user", password="wrong")
    serve(server, wrong, tls=tls, user="user", password="secret")  # a certificate that nobody knows
    assert len(server.mails) == 1
