"""Subscriptions: made, confirmed, changed, listed and ended."""

import asyncio
import json

import pytest

from cloudlet.control.outcome import Again, Broken, Done
from cloudlet.kernel.errors import AwsError
from cloudlet.services.sns import sns
from cloudlet.services.sns.records import Subscription
from cloudlet.services.sns.subscriptions import EXPIRY, Expiry, end
from tests.services.desk import ACCOUNT, root
from tests.services.sns.newsroom import Newsroom, open_policy, queue_arn, topic_arn

OTHER = "210987654321"


def test_a_queue_is_subscribed_once(room: Newsroom) -> None:
    topic = room.topic("t")
    arn = room.subscribed("t", "q", RawMessageDelivery="true")
    assert arn.startswith(topic + ":")
    again = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue_arn("q")}
    assert room.sns("Subscribe", **again) == {"SubscriptionArn": arn}
    assert room.sns("Subscribe", **again, Attributes={"RawMessageDelivery": "true"}) == {"SubscriptionArn": arn}
    assert "already exists with different attributes" in room.wrong(
        "Subscribe", **again, Attributes={"RawMessageDelivery": "false"})
    line = {"SubscriptionArn": arn, "Owner": ACCOUNT, "Protocol": "sqs", "Endpoint": queue_arn("q"),
            "TopicArn": topic}
    assert room.sns("ListSubscriptions") == {"Subscriptions": [line]}
    assert room.sns("ListSubscriptionsByTopic", TopicArn=topic) == {"Subscriptions": [line]}
    room.sns("Unsubscribe", SubscriptionArn=arn)
    room.sns("Unsubscribe", SubscriptionArn=arn)
    assert room.sns("ListSubscriptions") == {"Subscriptions": []}
    shown = room.sns("GetTopicAttributes", TopicArn=topic)["Attributes"]
    assert (shown["SubscriptionsConfirmed"], shown["SubscriptionsDeleted"]) == ("0", "1")
    assert room.wrong("GetSubscriptionAttributes", SubscriptionArn=arn) == "NotFound: Subscription does not exist"


def test_subscriptions_go_with_their_topic(room: Newsroom) -> None:
    room.topic("t")
    room.topic("t2")
    room.subscribed("t", "q")
    kept = room.subscribed("t2", "q2")
    room.sns("DeleteTopic", TopicArn=topic_arn("t"))
    assert [each["SubscriptionArn"] for each in room.sns("ListSubscriptions")["Subscriptions"]] == [kept]


@pytest.mark.parametrize(("protocol", "endpoint", "says"), [
    ("pigeon", "x", "Amazon SNS does not support this protocol string"),
    ("http", "https://x", "must match the specified"),
    ("https", "https://", "Endpoint"), ("http", "http://x/\u00e9", "Endpoint"), ("sms", "me", "Invalid SMS endpoint"),
    ("lambda", "arn:aws:lambda:us-east-1:1:function:f", "lambda is not available"), ("email", "a b@c", "Email address"),
    ("sqs", "x", "SQS endpoint ARN"), ("sqs", "", "SQS endpoint ARN"),
    ("sqs", queue_arn("q.fifo"), "can not be subscribed to standard"),
])
def test_endpoints_that_are_refused(room: Newsroom, protocol: str, endpoint: str, says: str) -> None:
    topic = room.topic("t")
    assert says in room.wrong("Subscribe", TopicArn=topic, Protocol=protocol, Endpoint=endpoint)


@pytest.mark.parametrize(("name", "value", "says"), [
    ("RawMessageDelivery", "yes", "Must be true or false"), ("FilterPolicyScope", "All", "MessageBody or"),
    ("FilterPolicy", "{", "FilterPolicy: failed to parse JSON."), ("RedrivePolicy", "{}", "RedrivePolicy"),
    ("RedrivePolicy", '{"deadLetterTargetArn": "x"}', "invalid arn"),
    ("RedrivePolicy", json.dumps({"deadLetterTargetArn": queue_arn("d.fifo")}), "must use a standard queue"),
    ("RedrivePolicy", '{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:q"}', "region"),
    ("DeliveryPolicy", '{"healthyRetryPolicy": {"numRetries": -1}}', "numRetries"),
    ("ReplayPolicy", "{}", "no archive"),
])
def test_attributes_that_are_refused(room: Newsroom, name: str, value: str, says: str) -> None:
    topic = room.topic("t")
    arn = room.subscribed("t", "q")
    found = room.wrong("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName=name, AttributeValue=value)
    assert found.startswith("InvalidParameter: Invalid parameter: ") and says in found
    room.queue("q2")
    found = room.wrong("Subscribe", TopicArn=topic, Protocol="sqs", Endpoint=queue_arn("q2"), Attributes={name: value})
    assert found.startswith("InvalidParameter: Invalid parameter: Attributes Reason: ") and says in found
    assert len(room.sns("ListSubscriptions")["Subscriptions"]) == 1
    assert room.wrong("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName="None", AttributeValue="x") == (
        "InvalidParameter: Invalid parameter: AttributeName")


def test_attributes(room: Newsroom) -> None:
    room.topic("t")
    room.queue("dead")
    arn = room.subscribed("t", "q", FilterPolicy='{"a": ["x"]}')

    def shown() -> dict[str, str]:
        found: dict[str, str] = room.sns("GetSubscriptionAttributes", SubscriptionArn=arn)["Attributes"]
        return found
    assert shown() == {
        "SubscriptionArn": arn, "TopicArn": topic_arn("t"), "Owner": ACCOUNT, "Protocol": "sqs",
        "Endpoint": queue_arn("q"), "RawMessageDelivery": "false", "PendingConfirmation": "false",
        "ConfirmationWasAuthenticated": "true", "SubscriptionPrincipal": f"arn:aws:iam::{ACCOUNT}:root",
        "FilterPolicy": '{"a": ["x"]}', "FilterPolicyScope": "MessageAttributes"}
    redrive = json.dumps({"deadLetterTargetArn": queue_arn("dead")})
    for name, value in (("RedrivePolicy", redrive), ("FilterPolicyScope", "MessageBody"), ("FilterPolicy", "")):
        room.sns("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName=name, AttributeValue=value)
    assert shown()["RedrivePolicy"] == redrive and "FilterPolicy" not in shown()
    nested = '{"a": {"b": [1]}}'
    room.sns("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue=nested)
    assert "does not support nested" in room.wrong("SetSubscriptionAttributes", SubscriptionArn=arn,
                                                   AttributeName="FilterPolicyScope",
                                                   AttributeValue="MessageAttributes")


def test_strangers_do_not_touch_a_subscription(room: Newsroom) -> None:
    room.topic("t")
    arn = room.subscribed("t", "q")
    for operation in ("GetSubscriptionAttributes", "Unsubscribe"):
        with pytest.raises(AwsError) as caught:
            room(sns, operation, root(OTHER), SubscriptionArn=arn)
        assert caught.value.code == "AuthorizationError"
    assert room.wrong("Unsubscribe", SubscriptionArn="x").startswith("InvalidParameter: Invalid parameter: Subscr")


def test_the_queue_of_another_account_confirms(room: Newsroom) -> None:
    topic = room.topic("t")
    room.queue("q", Policy=open_policy(queue_arn("q"), topic))
    asked = room(sns, "Subscribe", root(OTHER), TopicArn=topic, Protocol="sqs", Endpoint=queue_arn("q"))
    assert asked == {"SubscriptionArn": "pending confirmation"}
    room.publish("t", "too early")
    assert room.sns("ListSubscriptionsByTopic", TopicArn=topic)["Subscriptions"][0]["SubscriptionArn"] == (
        "PendingConfirmation")
    assert room.sns("GetTopicAttributes", TopicArn=topic)["Attributes"]["SubscriptionsPending"] == "1"
    (body,) = room.bodies("q")
    sent = json.loads(body)
    assert sent["Type"] == "SubscriptionConfirmation" and sent["Token"] in sent["SubscribeURL"]
    assert room.wrong("ConfirmSubscription", TopicArn=topic, Token="f" * 64) == (
        "InvalidParameter: Invalid parameter: Token")
    arn = room.sns("ConfirmSubscription", TopicArn=topic, Token=sent["Token"])["SubscriptionArn"]
    room.publish("t", "now")
    assert json.loads(room.bodies("q")[0])["Message"] == "now" and arn.startswith(topic)


def test_passwords_are_not_shown(room: Newsroom) -> None:
    asked = {"TopicArn": room.topic("t"), "Protocol": "https", "Endpoint": "https://me:se:cret@localhost/a:b@c"}
    arn = room.sns("Subscribe", **asked, ReturnSubscriptionArn=True)["SubscriptionArn"]
    assert room.sns("Subscribe", **asked, ReturnSubscriptionArn=True)["SubscriptionArn"] == arn
    shown = "https://me:****@localhost/a:b@c"
    assert room.sns("GetSubscriptionAttributes", SubscriptionArn=arn)["Attributes"]["Endpoint"] == shown
    assert room.sns("ListSubscriptions")["Subscriptions"][0]["Endpoint"] == shown
    for url in ("https://localhost/a:b@c", "https://me@localhost/", "http://localhost:80/?x=a:b@c"):
        assert Subscription("k", "", "", "https", url).shown_endpoint == url


def test_the_topics_owner_ends_a_foreign_subscription(room: Newsroom) -> None:
    topic = room.topic("t")
    room.queue("q", Policy=open_policy(queue_arn("q"), topic))
    asked = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": queue_arn("q")}
    arn = room(sns, "Subscribe", root(OTHER), **asked, ReturnSubscriptionArn=True)["SubscriptionArn"]
    token = json.loads(room.bodies("q")[0])["Token"]
    room.sns("ConfirmSubscription", TopicArn=topic, Token=token)
    room.sns("Unsubscribe", SubscriptionArn=arn)
    sent = json.loads(room.bodies("q")[0])
    assert sent["Type"] == "UnsubscribeConfirmation" and sent["Token"] != token
    assert "Token" in room.wrong("ConfirmSubscription", TopicArn=topic, Token=token)
    room.publish("t", "nobody")
    assert room.bodies("q") == []
    assert room.sns("Subscribe", **asked)["SubscriptionArn"] == arn  # whose queue it is needs no token
    room.publish("t", "again")
    assert json.loads(room.bodies("q")[0])["Message"] == "again"


def test_what_nobody_confirms_or_restores_goes(room: Newsroom) -> None:
    topic, day = room.topic("t"), 86400.0
    expiry = Expiry(room.store)

    def lines() -> list[str]:
        return [line["SubscriptionArn"] for line in room.sns("ListSubscriptions")["Subscriptions"]]

    def looked_at(key: str) -> Again | Done | Broken:
        return asyncio.run(expiry.reconcile(key))
    asked = {"TopicArn": topic, "Protocol": "https", "Endpoint": "https://localhost/x"}
    arn = room.sns("Subscribe", **asked, ReturnSubscriptionArn=True)["SubscriptionArn"]
    with room.store.tx() as tx:
        ((key, due),) = tx.execute("select key, due from work where kind=?", (EXPIRY,)).fetchall()
    assert due == room.clock.time + 2 * day
    room.clock.time += day
    room.sns("Subscribe", **asked)  # asks once more, and it has two days from now
    room.clock.time += day
    assert looked_at(str(key)) == Again(day, "it is not confirmed yet") and lines() == ["PendingConfirmation"]
    room.clock.time += day
    assert looked_at(str(key)) == Done() and lines() == []
    assert room.wrong("GetSubscriptionAttributes", SubscriptionArn=arn) == "NotFound: Subscription does not exist"
    with room.store.tx() as tx:
        ended = Subscription(f"{ACCOUNT}/us-east-1/t/e", OTHER, "", "https", "https://localhost/y")
        tx.put(ended)
        end(tx, ended, ACCOUNT, "http://localhost:4566", "r")
    room.clock.time += 3 * day - 1
    assert looked_at(ended.key) == Again(1.0, "it is not confirmed yet") and lines() == []
    room.clock.time += 1
    assert looked_at(ended.key) == Done() == looked_at(ended.key)
    assert room.sns("ListSubscriptionsByTopic", TopicArn=topic) == {"Subscriptions": []}


def test_limits(room: Newsroom) -> None:
    fifo = room.topic("t.fifo")
    for number in range(100):
        room.sns("Subscribe", TopicArn=fifo, Protocol="sqs", Endpoint=queue_arn(f"q{number}"))
    assert room.wrong("Subscribe", TopicArn=fifo, Protocol="sqs", Endpoint=queue_arn("one-more")).startswith(
        "SubscriptionLimitExceeded")
    topic, policy = room.topic("t"), {"FilterPolicy": '{"a": [1]}'}
    for number in range(200):
        room.sns("Subscribe", TopicArn=topic, Protocol="sqs", Endpoint=queue_arn(f"q{number}"), Attributes=policy)
    assert room.wrong("Subscribe", TopicArn=topic, Protocol="sqs", Endpoint=queue_arn("one-more"),
                      Attributes=policy).startswith("FilterPolicyLimitExceeded")
