"""The mailbox of the installation: text messages, and mail where there is no mail server; none leaves the machine.

https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html
"""

from typing import Any

from cloudlet.engines.ports import Letter
from cloudlet.store.db import Tx

KEPT, SHOWN = 1000, 100  # of all mails, the newest
TEXT_FROM, TEXT_FROM_MAX = "NOTICE", 11


def put(tx: Tx, protocol: str, letter: Letter) -> None:
    """It has arrived."""
    tx.execute("insert into sns_mail (at, protocol, recipient, sender, subject, text) values (?,?,?,?,?,?)",
               (tx.now, protocol, letter.to, letter.sender, letter.subject, letter.text))
    tx.execute("delete from sns_mail where id<=?", (tx.last_id() - KEPT,))


def put_text(tx: Tx, number: str, text: str, sender: str = "") -> None:
    """A text message has arrived; those of who has no name are from NOTICE."""
    put(tx, "sms", Letter("", sender[:TEXT_FROM_MAX] or TEXT_FROM, number, "", text))


def newest(tx: Tx) -> list[dict[str, Any]]:
    """The newest mails, the newest last: `at` in epoch seconds, protocol, to, sender, subject, text."""
    rows: list[Any] = tx.execute("select at, protocol, recipient, sender, subject, text from sns_mail"
                                 " order by id desc limit ?", (SHOWN,)).fetchall()
    names = ("at", "protocol", "to", "sender", "subject", "text")
    return [dict(zip(names, row, strict=True)) for row in reversed(rows)]
