"""Settings of the mail server: what is understood, and what is refused in words that help."""

from pathlib import Path

import pytest

from cloudlet.config import BadSetting, load
from cloudlet.kernel.site import MailServer


@pytest.mark.parametrize(("url", "server"), [
    ("smtp://mail.example", MailServer("mail.example", 25, "a@b.example")),
    ("smtp://u@localhost:2525", MailServer("localhost", 2525, "a@b.example", "", "u", "secret")),
    ("smtp+starttls://u%40x@mail.example", MailServer("mail.example", 587, "a@b.example", "starttls", "u@x", "secret")),
    ("smtps://u@mail.example:99", MailServer("mail.example", 99, "a@b.example", "tls", "u", "secret"))])
def test_mail_servers(url: str, server: MailServer, tmp_path: Path) -> None:
    environment = {"CLOUDLET_SMTP_PASSWORD": "secret" if server.user else "", "CLOUDLET_MAIL_FROM": "a@b.example"}
    assert load({"smtp": url}, environment).mail_server == server
    secret = tmp_path / "secret"
    secret.write_text(environment.pop("CLOUDLET_SMTP_PASSWORD") + "\n")
    found = load({}, {**environment, "CLOUDLET_SMTP": url, "CLOUDLET_SMTP_PASSWORD_FILE": str(secret)}).mail_server
    assert found == server and "secret" not in repr(found)


def test_without_one() -> None:
    assert load({}, {"CLOUDLET_SMTP_PASSWORD": "x", "CLOUDLET_SMTP_PASSWORD_FILE": "/nowhere"}).mail_server is None


@pytest.mark.parametrize(("url", "says"), [
    ("mail.example", "must be given as"), ("http://mail.example", "must be given as"), ("smtp://", "must be given as"),
    ("smtp://mail.example:x", "must be given as"), ("smtp://mail.example/path", "must be given as"),
    ("smtps://u:p@mail.example", "seen by everybody"), ("smtp://u@mail.example", "unencrypted")])
def test_what_is_refused(url: str, says: str) -> None:
    with pytest.raises(BadSetting, match=says):
        load({"smtp": url, "mail_from": "a@b.example"}, {})


def test_senders_and_password_files() -> None:
    for sender in ("", "me", "a b@c", "a@b\n"):
        with pytest.raises(BadSetting, match="--mail-from"):
            load({"smtp": "smtp://mail.example", "mail_from": sender}, {})
    with pytest.raises(BadSetting, match="password"):
        load({"smtp": "smtp://mail.example", "mail_from": "a@b.c"}, {"CLOUDLET_SMTP_PASSWORD_FILE": "/nowhere"})


def test_names_of_queues_are_kept_where_that_is_asked_for() -> None:
    assert not load({}, {}).keep_queue_names
    assert load({"keep_queue_names": "1"}, {}).keep_queue_names
    assert load({}, {"CLOUDLET_KEEP_QUEUE_NAMES": "yes"}).keep_queue_names
    with pytest.raises(BadSetting, match="CLOUDLET_KEEP_QUEUE_NAMES must be one of"):
        load({}, {"CLOUDLET_KEEP_QUEUE_NAMES": "perhaps"})
