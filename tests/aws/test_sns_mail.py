"""Mail of topics as a real mail server gets it, from a real Cloudlet."""

import asyncio
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast

from tests.running import Cloudlet, free_port, free_public_cidr
from tests.smtp import MailServer


@contextmanager
def at_work(server: MailServer) -> Iterator[None]:
    """The server in a thread of its own."""
    loop, end, up = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def run() -> None:
        async with server.running():
            up.set()
            await end.wait()

    def serve() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())
    thread = threading.Thread(target=serve)
    thread.start()
    assert up.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()


def mail(server: MailServer, number: int) -> tuple[EmailMessage, str]:
    """The mail of that number, and its text, once it is there."""
    deadline = time.monotonic() + 30
    while len(server.mails) <= number:
        assert time.monotonic() < deadline, server.mails
        time.sleep(0.02)
    sender, recipient, text = server.mails[number]
    assert (sender, recipient) == ("no-reply@cloud.example", "a@example.com")
    message = cast(EmailMessage, message_from_bytes(text, policy=policy.default))
    return message, message.get_content().replace("\r\n", "\n")


def test_mail_is_sent_and_survives_a_kill(tmp_path: Path) -> None:
    server = MailServer()

    class Sending(Cloudlet):
        @property
        def settings(self) -> list[str]:
            return [*super().settings, "--smtp", f"smtp://127.0.0.1:{server.port}", "--mail-from",
                    "no-reply@cloud.example"]
    with at_work(server), Sending(tmp_path / "data", free_port(), free_public_cidr()) as cloudlet:
        sns = cloudlet.client("sns")
        topic = sns.create_topic(Name="news", Attributes={"DisplayName": "Nachrichten für alle"})["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.com")
        asked, text = mail(server, 0)
        assert asked["Subject"] == "AWS Notification - Subscription Confirmation"
        (link,) = re.findall(r"^http\S+$", text, re.M)
        with urllib.request.urlopen(link) as page:
            assert page.status == 200
        sns.publish(TopicArn=topic, Message="Grüße ✓\n.\n", Subject="Über uns")
        got, text = mail(server, 1)
        assert (got["From"], got["Subject"]) == ("Nachrichten für alle <no-reply@cloud.example>", "Über uns")
        assert text.startswith("Grüße ✓\n.\n\n\n--\nIf you wish to stop")
        server.answers["text"] = ""  # it takes what comes, and does not say so
        sns.publish(TopicArn=topic, Message="kept")
        cloudlet.kill()
        del server.answers["text"]
        cloudlet.start()
        assert mail(server, 2)[1].startswith("kept")
        with urllib.request.urlopen(f"{cloudlet.url}/_cloudlet/mail") as page:
            assert page.read() == b'{"mail":[]}'
