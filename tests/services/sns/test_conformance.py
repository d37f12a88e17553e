"""What clients that were written for AWS rely on: what is refused whole, and in which words."""

import json
from typing import Any

import pytest

from tests.services.sns.newsroom import Newsroom, queue_arn, topic_arn


def attribute(kind: str, **value: Any) -> dict[str, Any]:
    return {"a": {"DataType": kind, **value}}


EMPTY = "The message attribute 'a' must contain non-empty message attribute value for message attribute type"


@pytest.mark.parametrize(("attributes", "says"), [
    (attribute("String", StringValue=""), f"{EMPTY} 'String'."), (attribute("String"), f"{EMPTY} 'String'."),
    (attribute("Binary", BinaryValue=b""), f"{EMPTY} 'Binary'."),
    (attribute("String", BinaryValue=b"x"), "The message attribute 'a' with type 'String' must use field 'String'."),
    (attribute("Number", BinaryValue=b"1"), "The message attribute 'a' with type 'Number' must use field 'String'."),
    (attribute("Binary", StringValue="x"), "The message attribute 'a' with type 'Binary' must use field 'Binary'."),
    (attribute("Text", StringValue="x"), "The message attribute 'a' has an invalid message attribute type, the set of"
                                         " supported type prefixes is Binary, Number, and String."),
    ({"n" * 257: {"DataType": "String", "StringValue": "x"}}, "Length of message attribute name must be less than 256"
                                                              " bytes."),
    ({"a^b": {"DataType": "String", "StringValue": "x"}}, "Invalid non-alphanumeric character '#x5E' was found in the"
     " message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots."),
    ({".a": {"DataType": "String", "StringValue": "x"}}, "Invalid message attribute name starting with character '.'"
                                                         " was found."),
    ({"a.": {"DataType": "String", "StringValue": "x"}}, "Invalid message attribute name ending with character '.' was"
                                                         " found."),
    ({"a..b": {"DataType": "String", "StringValue": "x"}}, "Message attribute name can not have successive '.'"
                                                           " character.")])
def test_attributes_that_are_refused_alone_and_in_batches(room: Newsroom, attributes: dict[str, Any],
                                                          says: str) -> None:
    topic, entry = room.topic("t"), {"Message": "x", "MessageAttributes": attributes}
    room.subscribed("t", "q")
    assert room.wrong("Publish", TopicArn=topic, **entry) == f"ParameterValueInvalid: {says}"
    assert room.wrong("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=[
        {"Id": "1", "Message": "fine"}, {"Id": "2", **entry}]) == f"ParameterValueInvalid: {says}"
    assert room.bodies("q") == []


@pytest.mark.parametrize(("entry", "says"), [
    ({"Message": "x"}, "The MessageGroupId parameter is required for FIFO topics"),
    ({"Message": "x", "MessageGroupId": "g"}, "The topic should either have ContentBasedDeduplication enabled or"
                                              " MessageDeduplicationId provided explicitly"),
    ({"Message": '{"sqs": "x"}', "MessageStructure": "json"}, "Message Structure - No default entry in JSON message"
                                                              " body")])
def test_batches_that_are_refused_whole(room: Newsroom, entry: dict[str, Any], says: str) -> None:
    topic = room.topic("t.fifo")
    room.subscribed("t.fifo", "q.fifo")
    fine = {"Id": "1", "Message": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    assert room.wrong("PublishBatch", TopicArn=topic, PublishBatchRequestEntries=[fine, {"Id": "2", **entry}]) == (
        f"InvalidParameter: Invalid parameter: {says}")
    assert room.bodies("q.fifo") == []


def test_targets_that_are_none(room: Newsroom) -> None:
    short = "InvalidParameter: Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not"
    assert room.wrong("Publish", TopicArn="", Message="x") == f"{short} 1"
    assert room.wrong("Publish", TopicArn="a:b", Message="x") == f"{short} 2"
    endpoint = topic_arn("endpoint/APNS/app/0f0e0d0c-0000-0000-0000-000000000000")
    assert room.wrong("Publish", TargetArn=endpoint, Message="x") == (
        "InvalidParameter: Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified")
    assert room.wrong("Unsubscribe", SubscriptionArn="") == (
        "InvalidParameter: Invalid parameter: SubscriptionArn Reason: no value for required parameter")


@pytest.mark.parametrize(("number", "good"), [
    ("+15551234567", True), ("+15/55-123.4567", True), ("+49 (151) 123456", True), ("NAA+15551234567", False),
    ("+1a234", False), ("++15551234567", False), ("+1555--1234567", False), ("+15551234567.", False)])
def test_telephone_numbers(room: Newsroom, number: str, good: bool) -> None:
    topic = room.topic("t")
    if good:
        room.sns("Subscribe", TopicArn=topic, Protocol="sms", Endpoint=number)
        return
    assert room.wrong("Subscribe", TopicArn=topic, Protocol="sms", Endpoint=number) == (
        f"InvalidParameter: Invalid SMS endpoint: {number}")
    assert room.wrong("Publish", PhoneNumber=number, Message="x") == (
        f"InvalidParameter: Invalid parameter: PhoneNumber Reason: {number} is not valid to publish to")


def test_tokens_that_are_none(room: Newsroom) -> None:
    topic = room.topic("t")
    assert room.wrong("ConfirmSubscription", TopicArn=topic, Token="random") == "InvalidParameter: Invalid token"
    for arn in (topic, topic_arn("none")):
        assert room.wrong("ConfirmSubscription", TopicArn=arn, Token="0f" * 32) == (
            "InvalidParameter: Invalid parameter: Token")


def test_a_scope_shows_with_a_policy_only(room: Newsroom) -> None:
    room.topic("t")
    arn = room.subscribed("t", "q")

    def shown(name: str, value: str) -> set[str]:
        room.sns("SetSubscriptionAttributes", SubscriptionArn=arn, AttributeName=name, AttributeValue=value)
        found = room.sns("GetSubscriptionAttributes", SubscriptionArn=arn)["Attributes"]
        return {found[each] for each in found if each.startswith("FilterPolicy")}
    assert shown("FilterPolicyScope", "MessageBody") == set()
    assert shown("FilterPolicy", '{"k": ["v"]}') == {"MessageBody", '{"k": ["v"]}'}
    assert shown("FilterPolicy", "") == set()


def test_queues_behind_ordered_topics(room: Newsroom) -> None:
    room.topic("t.fifo", ContentBasedDeduplication="true")
    room.subscribed("t.fifo", "plain", RawMessageDelivery="true")
    redrive = json.dumps({"deadLetterTargetArn": queue_arn("plain")})
    assert "must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic." in room.wrong(
        "Subscribe", TopicArn=topic_arn("t.fifo"), Protocol="sqs", Endpoint=queue_arn("q.fifo"),
        Attributes={"RedrivePolicy": redrive})
    room.publish("t.fifo", "x", MessageGroupId="g")
    (message,) = room.receive("plain", AttributeNames=["All"])
    assert "MessageGroupId" not in message["Attributes"]
    room.topic("t")
    room.subscribed("t", "fair", RawMessageDelivery="true")
    room.publish("t", "x", MessageGroupId="g")
    (message,) = room.receive("fair", AttributeNames=["All"])
    assert message["Attributes"]["MessageGroupId"] == "g"


@pytest.mark.parametrize(("numeric", "says"), [
    ([], "Invalid member in numeric match: ]"), (["operator"], "Unrecognized numeric range operator: operator"),
    ([1, "<="], "Invalid member in numeric match: 1"), (["=", "000"], "Value of equals must be numeric"),
    ([">="], "Value of >= must be numeric"), (["<", 100, ">", 10], "Too many elements in numeric expression"),
    ([">=", 1, ">", 2], "Bad numeric range operator: >"), ([">", 3, "<", 1], "Bottom must be less than top"),
    ([">", 20, "<="], "Value of <= must be numeric"), ([">", 20, 30], "Bad value in numeric range: 30"),
    ([">", 20, "test"], "Bad numeric range operator: test"), ([">", "20", "<", "30"], "Value of > must be numeric"),
    ([">", 20, "<", 30, "<", 50], "Too many terms in numeric range expression")])
def test_ranges_that_are_none(room: Newsroom, numeric: list[Any], says: str) -> None:
    topic = room.topic("t")
    assert room.wrong("Subscribe", TopicArn=topic, Protocol="sms", Endpoint="+123123123", Attributes={
        "FilterPolicy": json.dumps({"key": [{"numeric": numeric}]})}) == (
        f"InvalidParameter: Invalid parameter: Attributes Reason: FilterPolicy: {says}")


def test_nobody_has_opted_out(room: Newsroom) -> None:
    assert room.sns("CheckIfPhoneNumberIsOptedOut", phoneNumber="+1555550100") == {"isOptedOut": False}
    assert room.sns("ListPhoneNumbersOptedOut") == {"phoneNumbers": []}
    assert room.sns("OptInPhoneNumber", phoneNumber="+1555550100") == {}
    for operation in ("CheckIfPhoneNumberIsOptedOut", "OptInPhoneNumber"):
        assert room.wrong(operation, phoneNumber="+44742LALALA") == (
            "InvalidParameter: Invalid parameter: PhoneNumber Reason: input incorrectly formatted")


DEEP = ("[" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000, '{"a":' * 500 + '["x"]' + "}" * 500)


@pytest.mark.parametrize("text", DEEP)
def test_what_is_nested_too_deeply(room: Newsroom, text: str) -> None:
    topic = room.topic("t")
    room.subscribed("t", "q", FilterPolicyScope="MessageBody", FilterPolicy='{"a": ["x"]}', RawMessageDelivery="true")
    for name in ("Policy", "DeliveryPolicy"):
        assert room.wrong("SetTopicAttributes", TopicArn=topic, AttributeName=name, AttributeValue=text).startswith(
            f"InvalidParameter: Invalid parameter: {name}")
    for name in ("FilterPolicy", "RedrivePolicy", "DeliveryPolicy"):
        assert room.wrong("Subscribe", TopicArn=topic, Protocol="sqs", Endpoint=queue_arn("other"), Attributes={
            name: text, "FilterPolicyScope": "MessageBody"}).startswith(
            f"InvalidParameter: Invalid parameter: Attributes Reason: {name}")
    assert room.wrong("Publish", TopicArn=topic, Message=text, MessageStructure="json").startswith("InvalidParameter")
    if len(text) < 200_000:
        room.publish("t", text)  # no filter wants it
    assert room.bodies("q") == []
