"""Messages that are posted: the handshake, retries by the policy, and slow or dead subscribers that delay no other."""

import asyncio
import json
from typing import Any

import pytest

from cloudlet.control.outcome import Again, Done
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Request
from cloudlet.services.sns import delivery_policies, pending, sns
from cloudlet.services.sns.deliveries import LANES
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.store import steadiness
from tests.services.desk import ACCOUNT, root
from tests.services.sns.newsroom import Newsroom, open_policy, queue_arn, topic_arn
from tests.services.sns.post import URL, Post, said, waiting


@pytest.fixture
def post(room: Newsroom) -> Post:
    room.topic("t")
    return Post(room)


def test_the_handshake(post: Post) -> None:
    room, server = post.room, post.server()
    answer = room.sns("Subscribe", TopicArn=topic_arn("t"), Protocol="http", Endpoint=URL)
    assert answer == {"SubscriptionArn": "pending confirmation"}
    room.publish("t", "too early")
    post.during()
    ((headers, body),) = server.got
    content = json.loads(body)
    assert headers["x-amz-sns-message-type"] == content["Type"] == "SubscriptionConfirmation"
    assert headers["x-amz-sns-topic-arn"] == topic_arn("t") and "x-amz-sns-subscription-arn" not in headers
    bad = post.visit(content["SubscribeURL"][:-1])
    assert bad is not None and bad.status == 400 and b"<Code>InvalidParameter</Code>" in bad.body  # type: ignore[operator]
    good = post.visit(content["SubscribeURL"])
    assert good is not None and good.status == 200 and topic_arn("t").encode() in good.body  # type: ignore[operator]
    again = post.visit(content["SubscribeURL"])
    assert again is not None and again.status == 200 and topic_arn("t").encode() in again.body  # type: ignore[operator]
    room.publish("t", "hello", Subject="S")
    post.during()
    headers, body = server.got[1]
    content = json.loads(body)
    assert (content["Message"], headers["Content-Type"]) == ("hello", "text/plain; charset=UTF-8")
    assert headers["x-amz-sns-message-id"] == content["MessageId"] and len(server.got) == 2
    arn = headers["x-amz-sns-subscription-arn"]
    for _ in range(2):
        gone = post.visit(content["UnsubscribeURL"])
        assert gone is not None and gone.status == 200
    room.publish("t", "nobody")
    post.during()
    ((headers, body),) = server.got[2:]
    content = json.loads(body)
    assert headers["x-amz-sns-message-type"] == content["Type"] == "UnsubscribeConfirmation"
    assert content["Message"].startswith(f"You have chosen to deactivate subscription {arn}.\nTo cancel")
    (line,) = room.sns("ListSubscriptions")["Subscriptions"]
    assert line["SubscriptionArn"] == "Deleted"
    assert "does not exist" in room.wrong("GetSubscriptionAttributes", SubscriptionArn=arn)
    restored = post.visit(content["SubscribeURL"])
    assert restored is not None and restored.status == 200
    room.publish("t", "again")
    post.during()
    assert json.loads(server.got[3][1])["Message"] == "again"
    room.sns("Unsubscribe", SubscriptionArn=arn)  # its owner need not be told
    post.during()
    assert len(server.got) == 4 and room.sns("ListSubscriptions") == {"Subscriptions": []}


def test_links_that_need_who_signs(post: Post) -> None:
    arn = post.room.subscribed("t", "q")  # a queue's owner confirmed it, and must end it
    answer = post.visit(f"/?Action=Unsubscribe&SubscriptionArn={arn}")
    assert answer is not None and answer.status == 403
    assert post.visit("/?Action=ListTopics") is None and post.visit("/SimpleNotificationService-x.pem") is None
    assert len(post.room.sns("ListSubscriptions")["Subscriptions"]) == 1


def test_who_knows_the_token_needs_no_signature(post: Post) -> None:
    """https://docs.aws.amazon.com/sns/latest/api/API_ConfirmSubscription.html"""
    arn = post.room.sns("Subscribe", TopicArn=topic_arn("t"), Protocol="http", Endpoint=URL,
                        ReturnSubscriptionArn=True)["SubscriptionArn"]
    server = post.server(URL)
    post.during()
    asked = {"Action": "ConfirmSubscription", "Version": "2010-03-31", "TopicArn": topic_arn("t"),
             "Token": json.loads(server.got.pop()[1])["Token"]}
    for wrong, status, code in (({"Token": "0" * 64}, 400, "InvalidParameter"), ({"TopicArn": "x"}, 400, "Invalid"),
                                ({"AuthenticateOnUnsubscribe": "true"}, 403, "MissingAuthenticationToken")):
        refused = post.form(**{**asked, **wrong})
        assert refused is not None and refused.status == status and code in str(refused.body)
    assert post.room.sns("GetSubscriptionAttributes", SubscriptionArn=arn)["Attributes"]["PendingConfirmation"] == (
        "true")
    confirmed = post.form(**asked)
    assert confirmed is not None and confirmed.status == 200
    assert f"<SubscriptionArn>{arn}</SubscriptionArn></ConfirmSubscriptionResult>" in str(confirmed.body)
    found = post.room.sns("GetSubscriptionAttributes", SubscriptionArn=arn)["Attributes"]
    assert (found["PendingConfirmation"], found["ConfirmationWasAuthenticated"]) == ("false", "false")
    gone = post.form(Action="Unsubscribe", SubscriptionArn=arn)
    assert gone is not None and gone.status == 200 and "<UnsubscribeResponse" in str(gone.body)
    post.during()
    assert json.loads(server.got[-1][1])["Type"] == "UnsubscribeConfirmation"


def test_forms_for_others_are_left_to_them(post: Post) -> None:
    assert post.form(Action="AssumeRoleWithWebIdentity", RoleArn="r") is None
    assert post.form("/bucket", Action="Unsubscribe", SubscriptionArn="x") is None
    assert post.form(Action="Unsubscribe", SubscriptionArn="x" * 20_000) is None
    for method, kind in (("POST", "text/plain"), ("PUT", "application/x-www-form-urlencoded")):
        assert post.ask(Request(method, "/", "", {"content-type": kind}, said(b"Action=Unsubscribe"))) is None


def test_who_signs_may_end_what_no_signature_is_needed_for(post: Post) -> None:
    """And its subscriber is told; https://docs.aws.amazon.com/sns/latest/api/API_Unsubscribe.html"""
    arn, kept = post.subscribed(), post.room.subscribed("t", "q")
    stranger = root("222222222222")
    with pytest.raises(AwsError, match="Not entitled"):
        post.room(sns, "Unsubscribe", stranger, SubscriptionArn=kept)
    post.room(sns, "Unsubscribe", stranger, SubscriptionArn=arn)
    post.during()
    assert json.loads(post.web.servers[URL].got[-1][1])["Type"] == "UnsubscribeConfirmation"
    assert {line["SubscriptionArn"] for line in post.room.sns("ListSubscriptions")["Subscriptions"]} == {
        "Deleted", kept}


def test_raw_posts_and_filters(post: Post) -> None:
    post.subscribed(RawMessageDelivery="true", FilterPolicy='{"a": ["x"]}', DeliveryPolicy=json.dumps(
        {"requestPolicy": {"headerContentType": "application/json"}}))
    post.room.publish("t", "unwanted")
    post.room.publish("t", json.dumps({"default": "d", "http": "own"}), MessageStructure="json",
                      MessageAttributes={"a": {"DataType": "String", "StringValue": "x"}})
    post.during()
    ((headers, body),) = post.web.servers[URL].got
    assert (body, headers["x-amz-sns-rawdelivery"], headers["Content-Type"]) == (b"own", "true", "application/json")


def test_what_fails_is_tried_again_by_the_policy(post: Post) -> None:
    post.subscribed(DeliveryPolicy=json.dumps({"healthyRetryPolicy": {
        "numRetries": 4, "numNoDelayRetries": 1, "minDelayTarget": 10, "maxDelayTarget": 30}}))
    server = post.server(URL, 500, 0, 429)
    post.room.publish("t", "m")
    post.during()
    assert len(server.got) == 2  # the second at once
    post.later(9)
    assert len(server.got) == 2
    post.later(1)
    assert len(server.got) == 3
    post.later(20)
    assert len(server.got) == 4 and waiting(post) == 0
    assert len({body for _, body in server.got}) == 1


def test_what_cannot_be_delivered_is_set_aside(post: Post) -> None:
    dead, room = queue_arn("dead"), post.room
    room.queue("dead", Policy=open_policy(dead, topic_arn("t")))
    post.subscribed(RedrivePolicy=json.dumps({"deadLetterTargetArn": dead}))
    server = post.server(URL, 404, 503, 503, 503, 503)
    room.publish("t", "refused")
    post.during()
    assert len(server.got) == 1  # what is refused is not tried again
    room.publish("t", "down")
    for _ in range(6):
        post.later(20)
    assert len(server.got) == 5 and waiting(post) == 0
    got = room.receive("dead", MessageAttributeNames=["All"])
    assert [json.loads(each["Body"])["Message"] for each in got] == ["refused", "down"]
    assert [each["MessageAttributes"]["ErrorCode"]["StringValue"] for each in got] == ["404", "503"]


def test_a_subscriber_that_hangs_delays_no_other(post: Post) -> None:
    slow, quick = URL + "/slow", URL + "/quick"
    post.subscribed(slow)
    post.subscribed(quick)

    async def act() -> None:
        gate = asyncio.Event()
        post.web.servers[slow].before = lambda: gate.wait()  # type: ignore[assignment, return-value]
        for number in range(20):
            post.room.publish("t", str(number))
        await post.settle()
        assert [json.loads(body)["Message"] for _, body in post.web.servers[quick].got] == [str(n) for n in range(20)]
        assert not post.web.servers[slow].got
        gate.set()
    post.during(act)
    assert len(post.web.servers[slow].got) == 20 and waiting(post) == 0


def test_what_was_under_way_is_posted_after_the_next_start(post: Post) -> None:
    post.subscribed()
    server = post.web.servers[URL]

    async def act() -> None:
        server.before = lambda: asyncio.sleep(3600)
        post.room.publish("t", "m")
    post.during(act)  # cut off in the middle
    assert not server.got and waiting(post) == 1
    server.before = None
    post.during()
    assert len(server.got) == 1 and waiting(post) == 0


def test_what_waits_goes_with_its_subscription(post: Post) -> None:
    arn = post.subscribed()
    del post.web.servers[URL]
    post.room.publish("t", "m")
    post.during()
    assert waiting(post) == 1
    post.room.sns("Unsubscribe", SubscriptionArn=arn)
    with post.room.store.tx() as tx:
        assert [pending.turns(tx, lane, (), 9) for lane in LANES] == [([], None)] * 3
    assert isinstance(asyncio.run(pending.Forgetting(post.room.store).remove("all")), Again)
    assert asyncio.run(pending.Forgetting(post.room.store).remove("all")) == Done() and waiting(post) == 0


def delays(**policy: Any) -> list[float]:
    topic = Topic(f"{ACCOUNT}/us-east-1/t", 0.0)
    text = json.dumps({"healthyRetryPolicy": policy})
    return delivery_policies.delays_s(topic, Subscription(f"{topic.key}/s", "", "", "http", URL,
                                                          attributes={"DeliveryPolicy": text}))


def test_the_phases_of_a_policy() -> None:
    assert delays() == [20.0, 20.0, 20.0]
    assert delays(numRetries=0) == []
    assert delays(numRetries=6, numNoDelayRetries=1, numMinDelayRetries=1, numMaxDelayRetries=1, minDelayTarget=10,
                  maxDelayTarget=30) == [0.0, 10.0, 10.0, 20.0, 30.0, 30.0]
    for function in ("linear", "arithmetic", "geometric", "exponential"):
        found = delays(numRetries=50, minDelayTarget=1, maxDelayTarget=3600, backoffFunction=function)
        assert found == sorted(found) and (found[0], round(found[-1])) == (1.0, 3600) and len(found) == 50


def test_what_counts_is_shown_and_is_an_hour_at_most(post: Post) -> None:
    arn = post.subscribed(DeliveryPolicy='{"healthyRetryPolicy": {"numRetries": 5}}')

    def shown() -> Any:
        attributes = post.room.sns("GetSubscriptionAttributes", SubscriptionArn=arn)["Attributes"]
        return json.loads(attributes["EffectiveDeliveryPolicy"])
    assert shown() == {
        "healthyRetryPolicy": {"minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 5, "numMaxDelayRetries": 0,
                               "numNoDelayRetries": 0, "numMinDelayRetries": 0, "backoffFunction": "linear"},
        "sicklyRetryPolicy": None, "throttlePolicy": None, "guaranteed": False,
        "requestPolicy": {"headerContentType": "text/plain; charset=UTF-8"}}
    policy = {"http": {"disableSubscriptionOverrides": True, "defaultThrottlePolicy": {"maxReceivesPerSecond": 7}}}
    post.room.sns("SetTopicAttributes", TopicArn=topic_arn("t"), AttributeName="DeliveryPolicy",
                  AttributeValue=json.dumps(policy))
    assert (shown()["healthyRetryPolicy"]["numRetries"], shown()["throttlePolicy"]) == (3, {"maxReceivesPerSecond": 7})
    long = {"minDelayTarget": 36, "maxDelayTarget": 36, "numRetries": 100}
    asked = {"SubscriptionArn": arn, "AttributeName": "DeliveryPolicy"}
    post.room.sns("SetSubscriptionAttributes", **asked, AttributeValue=json.dumps({"healthyRetryPolicy": long}))
    too_long = json.dumps({"healthyRetryPolicy": {**long, "maxDelayTarget": 37}})
    assert "must not exceed 3600" in post.room.wrong("SetSubscriptionAttributes", **asked, AttributeValue=too_long)


def test_a_topic_may_forbid_other_policies() -> None:
    topic = Topic(f"{ACCOUNT}/us-east-1/t", 0.0, {"DeliveryPolicy": json.dumps({"http": {
        "disableSubscriptionOverrides": True, "defaultHealthyRetryPolicy": {"numRetries": 1},
        "defaultThrottlePolicy": {"maxReceivesPerSecond": 4}}})})
    own = Subscription(f"{topic.key}/s", "", "", "http", URL, attributes={
        "DeliveryPolicy": '{"healthyRetryPolicy": {"numRetries": 9}}'})
    assert delivery_policies.delays_s(topic, own) == [20.0] and delivery_policies.pause_s(topic, own) == 0.25


def test_a_clock_that_is_set_back_delays_nobody(post: Post) -> None:
    post.subscribed()
    server = post.server(URL, 500)
    for text in ("tried", "new"):
        post.room.publish("t", text)
        post.during()
    assert len(server.got) == 2  # of which the first failed, and is tried again in 20 seconds
    post.room.publish("t", "waits")
    post.room.clock.time -= 7200
    steadiness.follow(post.room.store, -7200)
    post.later(0)
    post.room.publish("t", "then")
    post.later(0)
    post.later(19)
    assert [json.loads(body)["Message"] for _, body in server.got] == ["tried", "new", "waits", "then"]
    post.later(1)
    assert json.loads(server.got[4][1])["Message"] == "tried" and waiting(post) == 0
