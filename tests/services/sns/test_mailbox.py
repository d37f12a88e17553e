"""Mail and text messages, which arrive in the installation's mailbox."""

import json
import re
from typing import Any

import pytest

from cloudlet.services.sns import mailbox
from tests.services.sns.newsroom import Newsroom, topic_arn
from tests.services.sns.post import Post


def mails(room: Newsroom) -> list[dict[str, Any]]:
    with room.store.tx() as tx:
        return mailbox.newest(tx)


@pytest.mark.parametrize("protocol", ["email", "email-json"])
def test_an_address_confirms_and_gets_mail(room: Newsroom, protocol: str) -> None:
    room.topic("t", DisplayName="News")
    asked = {"TopicArn": topic_arn("t"), "Protocol": protocol, "Endpoint": "a@example.com"}
    assert room.sns("Subscribe", **asked) == {"SubscriptionArn": "pending confirmation"}
    room.publish("t", "too early")
    post = Post(room)
    post.during()
    (mail,) = mails(room)
    assert (mail["to"], mail["subject"]) == ("a@example.com", "AWS Notification - Subscription Confirmation")
    link = json.loads(mail["text"])["SubscribeURL"] if protocol == "email-json" else re.findall(
        r"^http\S+$", mail["text"], re.M)[0]
    answer = post.visit(link)
    assert answer is not None and answer.status == 200
    room.publish("t", json.dumps({"default": "d", protocol: "for mail"}), MessageStructure="json", Subject="Hi")
    room.publish("t", "plain")
    post.during()
    _, first, second = mails(room)
    assert (first["sender"], first["subject"], second["subject"]) == ("News", "Hi", "AWS Notification Message")
    if protocol == "email-json":
        assert json.loads(first["text"])["Message"] == "for mail"
        link = json.loads(second["text"])["UnsubscribeURL"]
    else:
        assert first["text"].startswith("for mail\n\n--\nIf you wish to stop")
        link = re.findall(r"^http\S+$", second["text"], re.M)[0]
    post.visit(link)
    room.publish("t", "nobody")
    post.during()
    assert [mail["subject"] for mail in mails(room)[3:]] == ["AWS Notification - Unsubscribe Confirmation"]
    link = re.findall(r"http://localhost:4566/[^\"\s]+", mails(room)[3]["text"])[0]
    answer = post.visit(link)
    assert answer is not None and answer.status == 200
    room.publish("t", "back again")
    post.during()
    assert "back again" in mails(room)[4]["text"]


def test_text_messages(room: Newsroom) -> None:
    topic = room.topic("t", DisplayName="A long name")
    arn = room.sns("Subscribe", TopicArn=topic, Protocol="sms", Endpoint="+4915112345")["SubscriptionArn"]
    assert arn.startswith(topic)
    room.publish("t", "one")
    assert room.sns("Publish", PhoneNumber="+4915112346", Message="two")["MessageId"]
    assert [(mail["to"], mail["sender"], mail["text"]) for mail in mails(room)] == [
        ("+4915112345", "A long name", "one"), ("+4915112346", "NOTICE", "two")]
    assert "not valid to publish to" in room.wrong("Publish", PhoneNumber="me", Message="x")
    assert "too long" in room.wrong("Publish", PhoneNumber="+4915112346", Message="x" * 1601)
    assert "Empty message" in room.wrong("Publish", PhoneNumber="+4915112346", Message="")
    assert "does not support raw" in room.wrong("SetSubscriptionAttributes", SubscriptionArn=arn,
                                                AttributeName="RawMessageDelivery", AttributeValue="true")
    fifo = room.topic("t.fifo")
    assert "take no sms" in room.wrong("Subscribe", TopicArn=fifo, Protocol="sms", Endpoint="+4915112345")


def test_the_newest_are_kept(room: Newsroom) -> None:
    with room.store.tx() as tx:
        for number in range(mailbox.KEPT + 5):
            mailbox.put_text(tx, "+49", str(number))
        kept = tx.execute("select count(*), min(id) from sns_mail").fetchone()
    assert kept == (mailbox.KEPT, 6)
    assert [mail["text"] for mail in mails(room)] == [str(number) for number in range(905, 1005)]
