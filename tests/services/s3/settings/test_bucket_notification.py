"""PutBucketNotificationConfiguration and GetBucketNotificationConfiguration."""

import asyncio
import json
from typing import Any

import pytest

from cloudlet.services import sns, sqs
from tests.services.desk import root
from tests.services.s3.counter import ACCOUNT, Answer, Counter

PUT = "<Event>s3:ObjectCreated:Put</Event>"
SAME = {"StringEquals": {"aws:SourceAccount": ACCOUNT}, "ArnLike": {"aws:SourceArn": "arn:aws:s3:*:*:bkt"}}


def queue(counter: Counter, name: str, policy: dict[str, Any] | None = None, **attributes: str) -> None:
    """A queue into which S3 may send, for buckets of the account."""
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "SQS:SendMessage",
                 "Resource": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}", "Condition": SAME, **(policy or {})}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    counter.store.create_tables(sqs.TABLES)
    counter.desk(sqs.sqs, "CreateQueue", root(ACCOUNT), QueueName=name, Attributes={"Policy": document, **attributes})


def told(counter: Counter, name: str) -> list[dict[str, Any]]:
    """What came since the last time."""
    run = sqs.sqs.operations["ReceiveMessage"].run
    found: list[dict[str, Any]] = []
    while True:
        answer: Any = asyncio.run(run(counter.desk.call(root(ACCOUNT)), counter.store, {
            "QueueUrl": f"http://x/{ACCOUNT}/{name}", "MaxNumberOfMessages": 10}))
        messages = (answer or {}).get("Messages") or []
        if not messages:
            return found
        for message in messages:
            found.append(json.loads(message["Body"]))
            counter.desk(sqs.sqs, "DeleteMessage", root(ACCOUNT), QueueUrl=f"http://x/{ACCOUNT}/{name}",
                         ReceiptHandle=message["ReceiptHandle"])


def notify(counter: Counter, queue: str, events: str = PUT, filter: str = "", *, name: str = "", more: str = "",
           **headers: str) -> Answer:
    arn = queue if queue.startswith("arn:") or not queue else f"arn:aws:sqs:us-east-1:{ACCOUNT}:{queue}"
    one = (f"<QueueConfiguration>{f'<Id>{name}</Id>' if name else ''}<Queue>{arn}</Queue>{events}"
           f"{f'<Filter><S3Key>{filter}</S3Key></Filter>' if filter else ''}</QueueConfiguration>") if arn else ""
    return counter.ask("PUT", "/bkt", f"<NotificationConfiguration>{one}{more}</NotificationConfiguration>".encode(),
                       headers=headers, notification="")


def rule(name: str, value: str) -> str:
    return f"<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>"


def test_what_is_put_is_read_and_taken_away(counter: Counter) -> None:
    queue(counter, "q")
    assert len(counter.ask("GET", "/bkt", notification="").xml) == 0
    assert notify(counter, "q", filter=rule("prefix", "a/") + rule("SUFFIX", ".jpg")).status == 200
    got = counter.ask("GET", "/bkt", notification="").xml.find("QueueConfiguration")
    assert got.findtext("Id") and got.findtext("Queue").endswith(":q")
    assert got.findtext("Event") == "s3:ObjectCreated:Put"
    assert [(each.findtext("Name"), each.findtext("Value")) for each in got.iter("FilterRule")] == [
        ("Prefix", "a/"), ("Suffix", ".jpg")]
    (test,) = told(counter, "q")
    assert (test["Service"], test["Event"], test["Bucket"]) == ("Amazon S3", "s3:TestEvent", "bkt")
    assert notify(counter, "").status == 200
    assert len(counter.ask("GET", "/bkt", notification="").xml) == 0
    assert notify(counter, "q", more=other("<Event>s3:ObjectRemoved:*</Event>")).status == 200
    assert counter.ask("GET", "/bkt", notification="").xml.find(".//Filter") is None  # an empty one is none


@pytest.mark.parametrize(("name", "policy", "problem"), [
    ("none", None, "does not exist"), ("q", {"Principal": {"AWS": ACCOUNT}}, "Permissions"),
    ("q", {"Condition": {"StringEquals": {"aws:SourceAccount": "111111111111"}}}, "Permissions"),
    ("q", {"Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::other"}}}, "Permissions"),
    ("q", {"Action": "sqs:ReceiveMessage"}, "Permissions"), ("q", {"Effect": "Deny"}, "Permissions")])
def test_queues_that_cannot_be_sent_to(counter: Counter, name: str, policy: dict[str, Any] | None,
                                       problem: str) -> None:
    queue(counter, "q", policy)
    answer = notify(counter, name)
    assert (answer.code, answer.xml.findtext("Message")) == (
        "InvalidArgument", "Unable to validate the following destination configurations")
    assert problem in answer.xml.findtext("ArgumentValue1")
    assert notify(counter, name, **{"x-amz-skip-destination-validation": "true"}).status == 200
    assert counter.ask("PUT", "/bkt/key", b"x").status == 200
    assert name == "none" or told(counter, name) == []


def test_a_policy_for_everybody_lets_s3_in(counter: Counter) -> None:
    queue(counter, "q", {"Principal": "*"})
    assert notify(counter, "q").status == 200
    queue(counter, "q.fifo", FifoQueue="true")
    assert "FIFO" in notify(counter, "q.fifo").xml.findtext("ArgumentValue1")


@pytest.mark.parametrize(("filter", "events", "code"), [
    (rule("infix", "a"), PUT, "InvalidArgument"), (rule("prefix", "a") * 2, PUT, "InvalidArgument"),
    (rule("prefix", "a" * 1025), PUT, "InvalidArgument"), ("", "", "MalformedXML"),
    ("", "<Event>s3:ObjectEaten:*</Event>", "InvalidArgument")])
def test_what_is_no_configuration(counter: Counter, filter: str, events: str, code: str) -> None:
    queue(counter, "q")
    assert notify(counter, "q", events, filter).code == code
    assert notify(counter, "q", "<Event>s3:Nothing</Event>").status == 400
    assert notify(counter, "arn:aws:sqs:us-west-2:000000000000:q").code == "InvalidArgument"
    unread = notify(counter, "arn:x", **{"x-amz-skip-destination-validation": "true"})  # which skips not that
    assert [unread.xml.findtext(name) for name in ("Message", "ArgumentName", "ArgumentValue")] == [
        "The ARN could not be parsed", "Queue", "arn:x"]
    infix = notify(counter, "q", filter=rule("INFIX", "a"))
    assert infix.xml.findtext("ArgumentValue") == "INFIX"
    assert told(counter, "q") == []


def test_destinations_that_are_not_there(counter: Counter) -> None:
    for more in ("<EventBridgeConfiguration/>",
                 f"<CloudFunctionConfiguration><CloudFunction>arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
                 f"</CloudFunction>{PUT}</CloudFunctionConfiguration>"):
        assert notify(counter, "", more=more).status == 501


def test_topics(counter: Counter) -> None:
    arn = f"arn:aws:sns:us-east-1:{ACCOUNT}:t"
    more = f"<TopicConfiguration><Id>t</Id><Topic>{arn}</Topic>{PUT}</TopicConfiguration>"
    counter.store.create_tables(sns.TABLES)
    both = notify(counter, "none", "<Event>s3:ObjectRemoved:*</Event>", more=more).xml
    assert [both.findtext(name) for name in ("ArgumentName1", "ArgumentValue1", "ArgumentName2", "ArgumentValue2")] == [
        f"arn:aws:sqs:us-east-1:{ACCOUNT}:none", "The destination queue does not exist", arn,
        "The destination topic does not exist"]
    counter.desk(sns.sns, "CreateTopic", root(ACCOUNT), Name="t")
    assert "Permissions" in notify(counter, "", more=more).xml.findtext("ArgumentValue1")
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "SNS:Publish",
                 "Resource": arn, "Condition": SAME}
    counter.desk(sns.sns, "SetTopicAttributes", root(ACCOUNT), TopicArn=arn, AttributeName="Policy",
                 AttributeValue=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    queue(counter, "q", {"Principal": "*", "Condition": {}})
    counter.desk(sns.sns, "Subscribe", root(ACCOUNT), TopicArn=arn, Protocol="sqs",
                 Endpoint=f"arn:aws:sqs:us-east-1:{ACCOUNT}:q")
    assert notify(counter, "", more=more).status == 200
    got = counter.ask("GET", "/bkt", notification="").xml
    assert [each.tag for each in got] == ["TopicConfiguration"] and got.findtext("TopicConfiguration/Topic") == arn
    counter.ask("PUT", "/bkt/key", b"x")
    test, put = told(counter, "q")
    assert json.loads(test["Message"])["Event"] == "s3:TestEvent"
    assert (put["Subject"], put["TopicArn"]) == ("Amazon S3 Notification", arn)
    assert json.loads(put["Message"])["Records"][0]["eventName"] == "ObjectCreated:Put"
    assert notify(counter, "q", more=more).code == "InvalidArgument"  # one event is told once


def other(events: str, *rules: str) -> str:
    return (f"<QueueConfiguration><Queue>arn:aws:sqs:us-east-1:{ACCOUNT}:q</Queue>{events}<Filter><S3Key>"
            f"{''.join(rules)}</S3Key></Filter></QueueConfiguration>")


@pytest.mark.parametrize(("more", "status"), [
    (other(PUT, rule("prefix", "b")), 200), (other(PUT, rule("prefix", "a/b")), 400),
    (other("<Event>s3:ObjectCreated:*</Event>"), 400), (other("<Event>s3:ObjectRemoved:*</Event>"), 200),
    (other(PUT, rule("suffix", ".gif")), 200), (other(PUT, rule("suffix", "g")), 400)])
def test_one_event_is_told_once(counter: Counter, more: str, status: int) -> None:
    queue(counter, "q")
    assert notify(counter, "q", filter=rule("prefix", "a/") + rule("suffix", ".jpg"), more=more).status == status
