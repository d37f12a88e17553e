"""Publishing: who gets a message, in what form, and what becomes of one that cannot be delivered."""

import asyncio
import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cloudlet.services.sns import order
from cloudlet.services.sns.signing import MessageSigner
from cloudlet.store import tx
from tests.services.sns.newsroom import Newsroom, open_policy, queue_arn, topic_arn

ATTRIBUTES: dict[str, Any] = {
    "kind": {"DataType": "String", "StringValue": "a"}, "n": {"DataType": "Number", "StringValue": "1.5"},
    "raw": {"DataType": "Binary", "BinaryValue": b"\1\2"},
    "list": {"DataType": "String.Array", "StringValue": '["x", "y"]'}}


def test_every_queue_gets_an_envelope(room: Newsroom) -> None:
    topic = room.topic("t")
    arns = {name: room.subscribed("t", name) for name in ("q1", "q2")}
    answer = room.publish("t", 'say "grüße" ✓\n', Subject="Hi", MessageAttributes=ATTRIBUTES)
    for name, arn in arns.items():
        (body,) = room.bodies(name)
        assert body.startswith('{\n  "Type" : "Notification",\n  "MessageId" : "')
        content = json.loads(body)
        assert list(content) == ["Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion",
                                 "Signature", "SigningCertURL", "UnsubscribeURL", "MessageAttributes"]
        assert content["MessageId"] == answer["MessageId"] and content["TopicArn"] == topic
        assert (content["Message"], content["Subject"]) == ('say "grüße" ✓\n', "Hi")
        assert content["Timestamp"] == "2023-11-14T22:13:20.000Z"
        assert content["UnsubscribeURL"].endswith(f"/?Action=Unsubscribe&SubscriptionArn={arn}")
        assert content["MessageAttributes"] == {
            "kind": {"Type": "String", "Value": "a"}, "n": {"Type": "Number", "Value": "1.5"},
            "raw": {"Type": "Binary", "Value": "AQI="}, "list": {"Type": "String.Array", "Value": '["x", "y"]'}}
    room.publish("t", "plain")
    assert not {"Subject", "MessageAttributes"} & json.loads(room.bodies("q1")[0]).keys()


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [None, "S"])
def test_signatures_verify_as_aws_says(room: Newsroom, version: str, subject: str | None) -> None:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html"""
    room.topic("t", SignatureVersion=version)
    room.subscribed("t", "q")
    room.publish("t", "hello\nworld", **({"Subject": subject} if subject else {}))
    content = json.loads(room.bodies("q")[0])
    with room.store.tx() as tx:
        signer = tx.get(MessageSigner, "signer")
    assert signer and content["SigningCertURL"] == f"http://localhost:4566{signer.path}"
    key = x509.load_pem_x509_certificate(signer.certificate.encode()).public_key()
    assert isinstance(key, rsa.RSAPublicKey) and content["SignatureVersion"] == version
    signed = "".join(f"{name}\n{content[name]}\n" for name in (
        "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type") if name in content)
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()
    key.verify(base64.b64decode(content["Signature"]), signed.encode(), padding.PKCS1v15(), digest)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(content["Signature"]), signed.encode() + b"x", padding.PKCS1v15(), digest)


def test_raw_delivery(room: Newsroom) -> None:
    room.topic("t")
    room.subscribed("t", "q", RawMessageDelivery="true")
    room.publish("t", "bare", MessageAttributes=ATTRIBUTES, Subject="lost")
    (message,) = room.receive("q", MessageAttributeNames=["All"])
    assert message["Body"] == "bare" and message["MessageAttributes"] == ATTRIBUTES


def test_filters_decide(room: Newsroom) -> None:
    room.topic("t")
    room.subscribed("t", "all", RawMessageDelivery="true")
    room.subscribed("t", "a", RawMessageDelivery="true", FilterPolicy='{"kind": ["a"]}')
    room.subscribed("t", "y", RawMessageDelivery="true", FilterPolicy='{"list": ["y"]}')
    room.subscribed("t", "body", RawMessageDelivery="true", FilterPolicy='{"k": {"n": [{"numeric": [">", 1]}]}}',
                    FilterPolicyScope="MessageBody")
    room.publish("t", '{"k": {"n": 2}}')
    room.publish("t", "text", MessageAttributes=ATTRIBUTES)
    assert room.bodies("all") == ['{"k": {"n": 2}}', "text"]
    assert room.bodies("a") == room.bodies("y") == ["text"]
    assert room.bodies("body") == ['{"k": {"n": 2}}']


def test_structure(room: Newsroom) -> None:
    room.topic("t")
    room.subscribed("t", "q", RawMessageDelivery="true")
    for text in ({"default": "d", "sqs": "s"}, {"default": "d", "http": "h"}, {"default": "d", "sqs": 5}):
        room.publish("t", json.dumps(text), MessageStructure="json")
    assert room.bodies("q") == ["s", "d", "d"]
    room.publish("t", '{"default": "x", "default": "y"}', MessageStructure="json")
    assert room.bodies("q") == ["y"]
    for bad, says in (("x", "failed to parse"), ("[]", "No default entry"), ('{"sqs": "x"}', "No default entry")):
        assert says in room.wrong("Publish", TopicArn=topic_arn("t"), Message=bad, MessageStructure="json")
    assert "MessageStructure" in room.wrong("Publish", TopicArn=topic_arn("t"), Message="x", MessageStructure="xml")


@pytest.mark.parametrize(("request_", "says"), [
    ({"Message": ""}, "Invalid parameter: Empty message"), ({"Message": "x" * 262145}, "Message too long"),
    ({"Message": "é" * 131073}, "Message too long"), ({"Message": "\0"}, "Message Reason"),
    ({"Subject": "a\nb"}, "Subject"), ({"Subject": "x" * 101}, "Subject"), ({"Subject": ""}, "Subject"),
    ({"MessageAttributes": {"a": {"DataType": "Color", "StringValue": "x"}}}, "invalid message attribute type"),
    ({"MessageAttributes": {"a": {"DataType": "String"}}}, "non-empty message attribute value"),
    ({"MessageAttributes": {"a": {"DataType": "Number", "StringValue": "x"}}}, "to number"),
    ({"MessageAttributes": {"a..b": {"DataType": "String", "StringValue": "x"}}}, "successive"),
    ({"MessageAttributes": {"AWS.x": {"DataType": "String", "StringValue": "x"}}}, "can not start with 'AWS.'"),
    ({"MessageDeduplicationId": "d"}, "not valid for this topic type"), ({"MessageGroupId": "a b"}, "MessageGroupId"),
    ({"PhoneNumber": "+4912345"}, "Only one of"),
])
def test_what_is_refused_reaches_nobody(room: Newsroom, request_: dict[str, Any], says: str) -> None:
    topic = room.topic("t")
    room.subscribed("t", "q")
    for request in ({"TopicArn": topic, "Message": "m", **request_}, {"TargetArn": topic, "Message": "m", **request_}):
        assert says in room.wrong("Publish", **request)
    assert room.bodies("q") == []


def test_how_large_a_message_may_be(room: Newsroom) -> None:
    room.topic("t", MaximumMessageSize="1048576")
    room.subscribed("t", "q", RawMessageDelivery="true")
    room.publish("t", "x" * 1048576)
    assert len(room.bodies("q")[0]) == 1048576
    assert "too long" in room.wrong("Publish", TopicArn=topic_arn("t"), Message="x" * 1048577)
    assert room.wrong("Publish", Message="x").endswith("TopicArn or TargetArn Reason: no value for required parameter")


def test_a_queue_that_does_not_let_the_topic_in(room: Newsroom) -> None:
    topic = room.topic("t")
    room.queue("dead", Policy=open_policy(queue_arn("dead"), topic))
    redrive = json.dumps({"deadLetterTargetArn": queue_arn("dead")})
    room.subscribed("t", "gone", RedrivePolicy=redrive, RawMessageDelivery="true")
    room.subscribed("t", "shut", RedrivePolicy=redrive)
    room.subscribed("t", "silent")
    room.subscribed("t", "open")
    room.at("gone", "DeleteQueue")
    for name in ("shut", "silent"):
        room.at(name, "SetQueueAttributes", Attributes={"Policy": open_policy(queue_arn(name), topic_arn("other"))})
    room.publish("t", "m", MessageAttributes=ATTRIBUTES)
    assert room.bodies("shut") == room.bodies("silent") == [] and len(room.bodies("open")) == 1
    got = room.receive("dead", MessageAttributeNames=["All"])
    first, second = sorted(got, key=lambda message: len(message["Body"]))
    assert first["Body"] == "m" and json.loads(second["Body"])["Message"] == "m"
    why = first["MessageAttributes"]
    assert why.keys() == {*ATTRIBUTES, "RequestID", "ErrorCode", "ErrorMessage"}
    assert why["ErrorCode"]["StringValue"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert second["MessageAttributes"]["ErrorCode"]["StringValue"] == "AccessDenied"


def test_policies_that_let_a_topic_in(room: Newsroom) -> None:
    topic = room.topic("t")
    room.subscribed("t", "q", RawMessageDelivery="true")
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "SQS:*", "Resource": queue_arn("q")}

    def works(**changed: Any) -> bool:
        policy = json.dumps({"Version": "2012-10-17", "Statement": [{**statement, **changed}]})
        room.at("q", "SetQueueAttributes", Attributes={"Policy": policy})
        room.publish("t", "m")
        return room.bodies("q") == ["m"]
    assert works() and works(Principal="*") and works(Principal={"Service": "sns.amazonaws.com"})
    assert works(Condition={"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:t"}})
    assert works(Condition={"StringEquals": {"aws:SourceAccount": topic.split(":")[4]}})
    assert not works(Condition={"StringEquals": {"aws:SourceAccount": "210987654321"}})
    assert not works(Action="sqs:ReceiveMessage") and not works(Effect="Deny")
    assert not works(Principal={"Service": "events.amazonaws.com"})
    room.at("q", "SetQueueAttributes", Attributes={"Policy": ""})
    room.publish("t", "m")
    assert room.bodies("q") == []


def test_raw_delivery_of_more_than_a_queue_takes(room: Newsroom) -> None:
    topic = room.topic("t")
    room.queue("dead", Policy=open_policy(queue_arn("dead"), topic))
    room.subscribed("t", "q", RawMessageDelivery="true",
                    RedrivePolicy=json.dumps({"deadLetterTargetArn": queue_arn("dead")}))
    many = {f"a{number}": {"DataType": "String", "StringValue": "x"} for number in range(11)}
    room.publish("t", "m", MessageAttributes=many)
    assert room.bodies("q") == []
    (message,) = room.receive("dead", MessageAttributeNames=["All"])
    assert len(json.loads(message["Body"])["MessageAttributes"]) == 11 and len(message["MessageAttributes"]) == 3


def test_batches(room: Newsroom) -> None:
    topic = room.topic("t")
    room.subscribed("t", "q", RawMessageDelivery="true")

    def batch(*entries: dict[str, Any]) -> Any:
        return room.sns("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=list(entries))
    answer = batch({"Id": "1", "Message": "a"}, {"Id": "3", "Message": "c"})
    assert [each["Id"] for each in answer["Successful"]] == ["1", "3"] and answer["Failed"] == []
    assert room.bodies("q") == ["a", "c"]
    one = {"Id": "1", "Message": "a"}
    for entries, code in (([], "EmptyBatchRequest"), ([one, one], "BatchEntryIdsNotDistinct"),
                          ([{"Id": "a b", "Message": "x"}], "InvalidBatchEntryId"),
                          ([{"Id": str(n), "Message": "x"} for n in range(11)], "TooManyEntriesInBatchRequest"),
                          ([{"Id": str(n), "Message": "x" * 150_000} for n in range(2)], "BatchRequestTooLong")):
        assert room.wrong("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=entries).startswith(code + ":")
    assert room.bodies("q") == []


def test_fifo_keeps_order_and_knows_duplicates(room: Newsroom) -> None:
    topic = room.topic("t.fifo", ContentBasedDeduplication="true")
    room.subscribed("t.fifo", "q.fifo")
    room.subscribed("t.fifo", "standard", RawMessageDelivery="true")
    sent = [room.publish("t.fifo", str(number), MessageGroupId="g") for number in range(12)]
    assert room.publish("t.fifo", "3", MessageGroupId="g") == sent[3]
    numbers = [each["SequenceNumber"] for each in sent]
    assert numbers == sorted(set(numbers)) and all(len(number) == 20 for number in numbers)
    got = room.receive("q.fifo", AttributeNames=["All"])
    content = [json.loads(each["Body"]) for each in got]
    assert [each["Message"] for each in content] == [str(number) for number in range(10)]
    assert [each["SequenceNumber"] for each in content] == numbers[:10] and "Signature" not in content[0]
    assert {each["Attributes"]["MessageGroupId"] for each in got} == {"g"}
    assert len(room.bodies("standard")) == 10
    room.clock.time += 301
    assert room.publish("t.fifo", "3", MessageGroupId="g") != sent[3]
    assert "MessageGroupId parameter is required" in room.wrong("Publish", TopicArn=topic, Message="x")
    plain = room.topic("u.fifo", FifoThroughputScope="MessageGroup")
    assert "ContentBasedDeduplication" in room.wrong("Publish", TopicArn=plain, Message="x", MessageGroupId="g")
    one, two = (room.publish("u.fifo", "x", MessageGroupId=group, MessageDeduplicationId="d") for group in "ab")
    assert one != two == room.publish("u.fifo", "y", MessageGroupId="b", MessageDeduplicationId="d")


def test_old_tokens_are_forgotten_a_few_at_a_time(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "FORGOTTEN_AT_ONCE", 2)
    room.topic("t.fifo", ContentBasedDeduplication="true")

    def publish(message: str) -> str:
        answer: str = room.publish("t.fifo", message, MessageGroupId="g")["MessageId"]
        return answer

    def known() -> int:
        return int(room.store._db.execute("select count(*) from sns_dedup").fetchall()[0][0])
    old = [publish(str(number)) for number in range(3)]
    room.clock.time += 300
    assert publish("new") not in old and known() == 2
    assert publish("0") not in old and publish("2") not in old and known() == 3


def test_a_group_makes_no_order_in_a_standard_topic(room: Newsroom) -> None:
    room.topic("t")
    room.subscribed("t", "q")
    room.publish("t", "m", MessageGroupId="tenant")
    (message,) = room.receive("q", AttributeNames=["All"])
    assert message["Attributes"]["MessageGroupId"] == "tenant"


def test_many_queues_of_all_kinds_get_it_in_one_transaction(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tx, "LATER_MAX", 8)
    room.topic("t")
    dead = json.dumps({"deadLetterTargetArn": queue_arn("dead")})
    room.queue("dead", Policy=open_policy(queue_arn("dead"), topic_arn("t")))
    plain = [f"q{number}" for number in range(20)]
    for name in (*plain, "fair", "later"):
        room.subscribed("t", name)
    for name in ("gone", "shut", "small"):
        room.subscribed("t", name, RedrivePolicy=dead)
    room.subscribed("t", "no", FilterPolicy='{"kind": ["b"]}')
    room.subscribed("t", "raw", RawMessageDelivery="true")
    room.send("fair", "a tenant's", MessageGroupId="tenant")
    room.at("later", "SetQueueAttributes", Attributes={"DelaySeconds": "60"})
    room.at("small", "SetQueueAttributes", Attributes={"MaximumMessageSize": "1024"})
    room.at("shut", "SetQueueAttributes", Attributes={"Policy": ""})
    room.at("gone", "DeleteQueue")
    waiting = room.ask("q7", "ReceiveMessage", WaitTimeSeconds=20)

    async def publish() -> Any:
        held_open = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        room.publish("t", "x" * 1500, MessageAttributes=ATTRIBUTES)
        return (await asyncio.wait_for(held_open, 5))["Messages"]
    found = asyncio.run(publish()) + [room.receive(name)[0] for name in plain if name != "q7"]
    assert len({message["MessageId"] for message in found}) == 20
    assert {json.loads(message["Body"])["Message"] for message in found} == {"x" * 1500}
    assert [room.bodies(name) for name in plain] == [[]] * 20  # each got it once
    assert room.bodies("raw") == ["x" * 1500] and room.bodies("no") == [] and room.counts("later") == (0, 0, 1)
    assert {len(body) > 1500 for body in room.bodies("fair", 1) + room.bodies("fair", 1)} == {True, False}
    set_aside = room.receive("dead", MessageAttributeNames=["All"])
    assert sorted(message["MessageAttributes"]["ErrorCode"]["StringValue"] for message in set_aside) == [
        "AWS.SimpleQueueService.NonExistentQueue", "AccessDenied", "InvalidParameterValue"]
    room.publish("t", "again")
    assert len(room.receive("q7")) == 1 and room.counts("q1") == (1, 1, 0)


def test_ids_grow_whatever_the_clock_does(room: Newsroom) -> None:
    room.topic("t")
    for number in range(3):
        room.subscribed("t", f"q{number}", RawMessageDelivery="true")
    for text, by_s in (("one", 0.0), ("two", -3600.0), ("three", 0.0), ("four", 7200.0)):
        room.clock.time += by_s
        room.publish("t", text)
        room.send("q1", f"after {text}")
    with room.store.tx() as look:
        rows = look.execute("select body from sqs_body order by id").fetchall()
    assert [body for (body,) in rows] == [
        said for text in ("one", "two", "three", "four") for said in (text, text, text, f"after {text}")]
