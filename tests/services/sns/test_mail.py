"""Mail that is sent by a server: what it says, how often it is tried, and that it holds up nothing else."""

import asyncio
import json
import re

import pytest

from cloudlet.engines.fake.mail import FakeMail
from cloudlet.kernel.errors import Busy, Refused
from cloudlet.services.sns import delivery_policies, mailbox
from cloudlet.services.sns.records import Subscription, Topic
from tests.services.desk import ACCOUNT
from tests.services.sns.newsroom import Newsroom, open_policy, queue_arn, topic_arn
from tests.services.sns.post import Post, waiting


def subscribed(room: Newsroom, protocol: str = "email", **attributes: str) -> Post:
    """An address that has confirmed, and a post with a mail server."""
    room.topic("t", DisplayName="News")
    room.sns("Subscribe", TopicArn=topic_arn("t"), Protocol=protocol, Endpoint="a@example.com", Attributes=attributes)
    post = Post(room, FakeMail())
    post.during()
    assert post.mail is not None
    (letter,) = post.mail.taken
    assert (letter.sender, letter.to, letter.subject) == (
        "AWS Notifications", "a@example.com", "AWS Notification - Subscription Confirmation")
    answer = post.visit(re.findall(r"http://localhost:4566/[^\"\s]+", letter.text)[0])
    assert answer is not None and answer.status == 200
    post.mail.taken.clear()
    return post


@pytest.mark.parametrize("protocol", ["email", "email-json"])
def test_letters(room: Newsroom, protocol: str) -> None:
    post = subscribed(room, protocol)
    assert post.mail is not None
    room.publish("t", "grüße", Subject="Hi")
    room.publish("t", "plain")
    post.during()
    first, second = post.mail.taken
    assert (first.sender, first.subject, second.subject) == ("News", "Hi", "AWS Notification Message")
    assert first.id != second.id
    if protocol == "email-json":
        assert json.loads(first.text)["Message"] == "grüße"
    else:
        assert first.text.startswith("grüße\n\n--\nIf you wish to stop")
    with room.store.tx() as tx:
        assert mailbox.newest(tx) == []


def test_a_server_that_is_down_gets_it_later_and_once(room: Newsroom) -> None:
    post = subscribed(room)
    assert post.mail is not None
    post.mail.faults = [Busy("451 later"), Busy("down")]
    room.publish("t", "m")
    post.during()
    post.later(9)
    assert (post.mail.tried, post.mail.taken, waiting(post)) == (2, [], 1)  # the first of them was the confirmation
    post.later(1)
    post.later(10)
    assert len(post.mail.taken) == 1 and waiting(post) == 0


def test_the_operator_is_told_once(room: Newsroom, caplog: pytest.LogCaptureFixture) -> None:
    post = subscribed(room)
    assert post.mail is not None
    post.mail.faults = [Busy("mail.example: down")] * 3

    async def act() -> None:
        for number in range(3):
            room.publish("t", str(number))
        await post.settle()
        room.clock.time += 10
        room.publish("t", "last")
    with caplog.at_level("WARNING", "cloudlet.services.sns.deliveries"):
        post.during(act)
    assert [record.message for record in caplog.records] == ["mail waits: mail.example: down", "mail is sent again"]
    assert len(post.mail.taken) == 4


def test_mail_that_cannot_be_delivered_is_set_aside(room: Newsroom) -> None:
    dead = queue_arn("dead")
    room.queue("dead", Policy=open_policy(dead, topic_arn("t")))
    post = subscribed(room, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead}))
    assert post.mail is not None
    post.mail.faults = [Refused("550 no such user")]
    room.publish("t", "refused")
    post.during()
    post.mail.faults, before = [Busy("down")] * 60, post.mail.tried
    room.publish("t", "given up")
    for _ in range(60):
        post.later(600)
    assert post.mail.tried - before == 51 and waiting(post) == 0 and post.mail.taken == []
    got = room.receive("dead", MessageAttributeNames=["All"])
    assert [json.loads(each["Body"])["Message"] for each in got] == ["refused", "given up"]
    assert [each["MessageAttributes"]["ErrorMessage"]["StringValue"] for each in got] == ["550 no such user", "down"]


def test_mail_is_tried_for_six_hours() -> None:
    topic = Topic(f"{ACCOUNT}/us-east-1/t", 0.0)
    delays = delivery_policies.delays_s(topic, Subscription(f"{topic.key}/s", "", "", "email", "a@b"))
    assert len(delays) == 50 and delays[:3] == [10.0, 10.0, 10.0] and delays[-39:] == [600.0] * 39
    assert delays == sorted(delays) and 6 * 3600 < sum(delays) < 7.5 * 3600


def test_a_mail_server_that_hangs_delays_no_post(room: Newsroom) -> None:
    post, url = subscribed(room), "http://localhost:9/hook"
    web = post.subscribed(url)
    assert post.mail is not None and web

    async def act() -> None:
        gate = asyncio.Event()
        assert post.mail is not None
        post.mail.before = lambda: gate.wait()  # type: ignore[assignment, return-value]
        for number in range(20):
            room.publish("t", str(number))
        await post.settle()
        assert len(post.web.servers[url].got) == 20 and post.mail.taken == []
        gate.set()
    post.during(act)
    assert len(post.mail.taken) == 20 and waiting(post) == 0
