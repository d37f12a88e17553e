"""The mailbox of the installation, in which mail and text messages arrive: none of them leaves the machine.

https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html
"""

from typing import Any

from cloudlet.services.sns.records import Topic
from cloudlet.store.db import Tx

PROTOCOLS = ("email", "email-json", "sms")
KEPT, SHOWN = 1000, 100  # of all mails, the newest
FROM, TEXT_FROM = "AWS Notifications", "NOTICE"


def put(tx: Tx, protocol: str, to: str, sender: str, subject: str, text: str) -> None:
    """It has arrived."""
    tx.execute("insert into sns_mail (at, protocol, recipient, sender, subject, text) values (?,?,?,?,?,?)",
               (tx.now, protocol, to, sender, subject, text))
    tx.execute("delete from sns_mail where id<=?", (tx.last_id() - KEPT,))


def notify(tx: Tx, topic: Topic, protocol: str, to: str, subject: str | None, text: str, url: str) -> None:
    """A message of a topic; `url` ends the subscription."""
    name = topic.attributes.get("DisplayName", "")
    if protocol == "email":
        text += ("\n\n--\nIf you wish to stop receiving notifications from this topic, please click or visit the link"
                 f" below to unsubscribe:\n{url}\n")
    if protocol == "sms":
        put(tx, protocol, to, name[:11] or TEXT_FROM, "", text)
    else:
        put(tx, protocol, to, name or FROM, subject or "AWS Notification Message", text)


def ask(tx: Tx, topic: Topic, protocol: str, to: str, envelope: str, url: str) -> None:
    """The mail by which an address confirms its subscription: by visiting `url`."""
    text = envelope if protocol == "email-json" else (
        f"You have chosen to subscribe to the topic:\n{topic.arn}\n\nTo confirm this subscription, click or visit the"
        f" link below (If this was in error no action is necessary):\n{url}\n")
    put(tx, protocol, to, FROM, "AWS Notification - Subscription Confirmation", text)


def newest(tx: Tx) -> list[dict[str, Any]]:
    """The newest mails, the newest last: `at` in epoch seconds, protocol, to, sender, subject, text."""
    rows: list[Any] = tx.execute("select at, protocol, recipient, sender, subject, text from sns_mail"
                                 " order by id desc limit ?", (SHOWN,)).fetchall()
    names = ("at", "protocol", "to", "sender", "subject", "text")
    return [dict(zip(names, row, strict=True)) for row in reversed(rows)]
