"""Archives of FIFO topics, and replays: each message once more, in order, and then what comes."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudlet.control.outcome import Again, Done
from cloudlet.services.sns import archive, replays, sns
from cloudlet.services.sns.records import Subscription
from cloudlet.services.sns.subscriptions import end
from tests.services.desk import ACCOUNT, root
from tests.services.sns.newsroom import Newsroom, open_policy, queue_arn, topic_arn

DAY = 86400.0
KEY = f"{ACCOUNT}/us-east-1/t.fifo"


def when(room: Newsroom, before_s: float = 0.0) -> str:
    return datetime.fromtimestamp(room.clock.time - before_s, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def policy(start: str, **more: str) -> str:
    return json.dumps({"PointType": "Timestamp", "StartingPoint": start, **more})


@pytest.fixture
def kept(room: Newsroom) -> Newsroom:
    room.topic("t.fifo", ArchivePolicy='{"MessageRetentionPeriod": "30"}', ContentBasedDeduplication="true")
    return room


def publish(room: Newsroom, *texts: str, group: str = "g", **more: Any) -> list[Any]:
    return [room.publish("t.fifo", text, MessageGroupId=group, **more) for text in texts]


def replay(room: Newsroom, arn: str, value: str) -> None:
    room.sns("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName="ReplayPolicy", AttributeValue=value)


def status(room: Newsroom, arn: str) -> str | None:
    found: str | None = room.sns("GetSubscriptionAttributes", SubscriptionArn=arn)["Attributes"].get("ReplayStatus")
    return found


def step(room: Newsroom, arn: str) -> Any:
    return asyncio.run(replays.Replays(room.store).reconcile(f"{KEY}/{arn.rpartition(':')[2]}"))


def taken(room: Newsroom, queue: str, count: int = 10) -> list[dict[str, Any]]:
    """What the queue has, in order; it is deleted."""
    found = []
    while messages := room.receive(queue, count):
        for message in messages:
            found.append(json.loads(message["Body"]))
            room.at(queue, "DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
    return found


def test_a_subscriber_has_them_once_more(kept: Newsroom) -> None:
    arn = kept.subscribed("t.fifo", "q.fifo")
    start = when(kept)
    sent = publish(kept, "one", "two", Subject="S", MessageAttributes={
        "a": {"DataType": "Binary", "BinaryValue": b"\0\xff"}})
    first = taken(kept, "q.fifo")
    kept.clock.time += 60  # well within the five minutes in which the queue takes nothing twice
    replay(kept, arn, policy(start))
    assert status(kept, arn) == "Pending"
    publish(kept, "three")
    assert taken(kept, "q.fifo") == []  # it comes when it is its turn
    assert step(kept, arn) == Done() and status(kept, arn) == "Completed"
    again = taken(kept, "q.fifo")
    assert [each["Message"] for each in again] == ["one", "two", "three"] and all(each["Replayed"] for each in again)
    assert [each["MessageId"] for each in again[:2]] == [each["MessageId"] for each in sent]
    for before, now in zip(first, again, strict=False):
        assert now.pop("Replayed") is True and now == before  # its time and its sequence number as well
    publish(kept, "four")
    (last,) = taken(kept, "q.fifo")
    assert last["Message"] == "four" and "Replayed" not in last
    assert step(kept, arn) == Done() and taken(kept, "q.fifo") == []


def test_many_and_what_is_published_meanwhile(kept: Newsroom) -> None:
    publish(kept, *(str(number) for number in range(120)))
    arn = kept.subscribed("t.fifo", "q.fifo", ReplayPolicy=policy(when(kept)))
    assert step(kept, arn) == Again(0.0, "messages are replayed") and status(kept, arn) == "In progress"
    publish(kept, *(str(number) for number in range(120, 130)))
    while step(kept, arn) != Done():
        pass
    publish(kept, "130")
    assert [each["Message"] for each in taken(kept, "q.fifo")] == [str(number) for number in range(131)]


def test_an_end_pauses_the_subscription(kept: Newsroom) -> None:
    arn = kept.subscribed("t.fifo", "q.fifo")
    times = []
    for text in ("one", "two", "three"):
        times.append(when(kept))
        publish(kept, text)
        kept.clock.time += 10
    taken(kept, "q.fifo")
    replay(kept, arn, policy(times[0], EndingPoint=times[1]))
    assert step(kept, arn) == Done() and status(kept, arn) == "Completed"
    publish(kept, "four")
    assert [each["Message"] for each in taken(kept, "q.fifo")] == ["one", "two"]
    replay(kept, arn, policy(times[2]))
    assert step(kept, arn) == Done()
    assert [each["Message"] for each in taken(kept, "q.fifo")] == ["three", "four"]
    replay(kept, arn, policy(times[0], EndingPoint=when(kept, -50)))  # what is to come belongs to it
    assert step(kept, arn) == Again(50.0, "messages are replayed")
    kept.clock.time += 20
    publish(kept, "five")
    kept.clock.time += 31
    publish(kept, "six")
    assert step(kept, arn) == Done()
    assert [each["Message"] for each in taken(kept, "q.fifo")] == ["one", "two", "three", "four", "five"]
    replay(kept, arn, "")  # goes on at once
    assert status(kept, arn) is None
    publish(kept, "seven")
    assert [each["Message"] for each in taken(kept, "q.fifo")] == ["seven"]


def test_filters_raw_messages_and_dead_letters(kept: Newsroom) -> None:
    publish(kept, "no")
    publish(kept, "yes", MessageAttributes={"a": {"DataType": "String", "StringValue": "x"}})
    arn = kept.subscribed("t.fifo", "q.fifo", FilterPolicy='{"a": ["x"]}', RawMessageDelivery="true",
                          ReplayPolicy=policy(when(kept)))
    assert step(kept, arn) == Done()
    (message,) = kept.receive("q.fifo", MessageAttributeNames=["All"])
    assert message["Body"] == "yes" and message["MessageAttributes"]["a"]["StringValue"] == "x"
    arn = kept.sns("Subscribe", TopicArn=topic_arn("t.fifo"), Protocol="sqs", Endpoint=queue_arn("none"), Attributes={
        "ReplayPolicy": policy(when(kept))})["SubscriptionArn"]
    assert step(kept, arn) == Done() and status(kept, arn) == "Completed"  # a queue that is gone is no reason to stop


def test_what_is_too_old_goes(kept: Newsroom) -> None:
    def left() -> int:
        with kept.store.tx() as tx:
            return int(tx.execute("select count(*) from sns_archive").fetchone()[0])

    def looked_at() -> Any:
        return asyncio.run(archive.Expiry(kept.store).reconcile(KEY))

    def beginning() -> str:
        found: str = kept.sns("GetTopicAttributes", TopicArn=topic_arn("t.fifo"))["Attributes"]["BeginningArchiveTime"]
        return found
    made = when(kept)
    assert beginning() == made
    publish(kept, "old")
    kept.clock.time += 29 * DAY
    publish(kept, "new")
    assert isinstance(looked_at(), Again) and left() == 2 and beginning() == made
    kept.clock.time += 2 * DAY
    arn = kept.subscribed("t.fifo", "q.fifo", ReplayPolicy=policy(made))
    assert step(kept, arn) == Done()
    assert [each["Message"] for each in taken(kept, "q.fifo")] == ["new"]  # before the loop has looked
    assert looked_at() == Again(3600.0, "its archive is kept short") and left() == 1
    assert beginning() == when(kept, 30 * DAY)
    topic = topic_arn("t.fifo")
    assert kept.wrong("DeleteTopic", TopicArn=topic).startswith("InvalidState: ")
    replay(kept, arn, policy(made))
    kept.sns("SetTopicAttributes", TopicArn=topic, AttributeName="ArchivePolicy", AttributeValue="{}")
    assert step(kept, arn) == Done() and status(kept, arn) == "Failed"
    publish(kept, "gone")
    assert [each["Message"] for each in taken(kept, "q.fifo")] == ["gone"]
    assert looked_at() == Done() and left() == 0
    kept.sns("DeleteTopic", TopicArn=topic)


def test_a_restored_subscription_does_not_begin_anew(kept: Newsroom) -> None:
    publish(kept, "one")
    arn = kept.subscribed("t.fifo", "q.fifo", ReplayPolicy=policy(when(kept)))
    with kept.store.tx() as tx:
        (found,) = tx.find(Subscription)
        end(tx, found, "210987654321", "http://localhost:4566", "r")
    assert step(kept, arn) == Done()
    (told,) = taken(kept, "q.fifo")
    assert told["Type"] == "UnsubscribeConfirmation"
    kept.sns("ConfirmSubscription", TopicArn=topic_arn("t.fifo"), Token=told["Token"])
    publish(kept, "two")
    assert step(kept, arn) == Done() and [each["Message"] for each in taken(kept, "q.fifo")] == ["two"]


def test_the_ordered_queue_of_another_account_has_its_history(kept: Newsroom) -> None:
    publish(kept, "one")
    kept.queue("q.fifo", FifoQueue="true", Policy=open_policy(queue_arn("q.fifo"), topic_arn("t.fifo")))
    kept(sns, "Subscribe", root("210987654321"), TopicArn=topic_arn("t.fifo"), Protocol="sqs",
         Endpoint=queue_arn("q.fifo"), Attributes={"ReplayPolicy": policy(when(kept))})
    (asked,) = taken(kept, "q.fifo")
    arn = kept.sns("ConfirmSubscription", TopicArn=topic_arn("t.fifo"), Token=asked["Token"])["SubscriptionArn"]
    assert step(kept, arn) == Done() and [each["Message"] for each in taken(kept, "q.fifo")] == ["one"]


@pytest.mark.parametrize("text", [
    "{", "[]", '{"MessageRetentionPeriod": 0}', '{"MessageRetentionPeriod": 366}', '{"MessageRetentionPeriod": true}',
    '{"MessageRetentionPeriod": 1.5}', '{"MessageRetentionPeriod": "x"}', '{"MessageRetentionPeriod": 1, "x": 1}'])
def test_archive_policies_that_are_refused(kept: Newsroom, text: str) -> None:
    assert "ArchivePolicy: " in kept.wrong("SetTopicAttributes", TopicArn=topic_arn("t.fifo"),
                                           AttributeName="ArchivePolicy", AttributeValue=text)


@pytest.mark.parametrize(("text", "says"), [
    ("{", "failed to parse"), ("{}", "failed to parse"), ('{"PointType": "Timestamp"}', "failed to parse"),
    (policy("yesterday"), "StartingPoint must be a time"), (policy("2023-01-01T00:00:00Z", X="1"), "failed to parse"),
    (policy("2023-01-01T00:00:00Z", EndingPoint="2023-01-01T00:00:00Z"), "after StartingPoint"),
    (policy("2023-01-01T00:00:00Z").replace("Timestamp", "Offset"), "PointType"),
    ('{"PointType": "Timestamp", "StartingPoint": 5}', "StartingPoint must be a time")])
def test_replay_policies_that_are_refused(kept: Newsroom, text: str, says: str) -> None:
    arn = kept.subscribed("t.fifo", "q.fifo")
    assert says in kept.wrong("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName="ReplayPolicy",
                              AttributeValue=text)
    publish(kept, "goes on")
    assert len(taken(kept, "q.fifo")) == 1
