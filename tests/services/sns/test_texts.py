"""Text messages: whom they are from, and what an account has set for them."""

from typing import Any

import pytest
from msgspec.structs import replace

from cloudlet.services.sns import mailbox, sns
from tests.services.sns.newsroom import Newsroom, topic_arn

NUMBER = "+4915112345"


def senders(room: Newsroom) -> list[str]:
    with room.store.tx() as tx:
        return [mail["sender"] for mail in mailbox.newest(tx)]


def attribute(name: str, value: str) -> dict[str, Any]:
    return {f"AWS.SNS.SMS.{name}": {"DataType": "String", "StringValue": value}}


def test_whom_texts_are_from(room: Newsroom) -> None:
    room.topic("plain")
    room.topic("named", DisplayName="Topic Name Is Long")
    for topic in ("plain", "named"):
        room.sns("Subscribe", TopicArn=topic_arn(topic), Protocol="sms", Endpoint=NUMBER)
    room.sns("Publish", PhoneNumber=NUMBER, Message="x")
    assert room.sns("GetSMSAttributes") == {"attributes": {}}
    room.sns("SetSMSAttributes", attributes={"DefaultSenderID": "Shop1", "DefaultSMSType": "Transactional"})
    assert room.sns("GetSMSAttributes", attributes=["DefaultSMSType", "MonthlySpendLimit"]) == {
        "attributes": {"DefaultSMSType": "Transactional"}}
    room.sns("Publish", PhoneNumber=NUMBER, Message="x")
    room.publish("plain", "x")
    room.publish("named", "x")
    own = {**attribute("SenderID", "Own"), **attribute("SMSType", "Promotional"), **attribute("MaxPrice", "0.5")}
    room.sns("Publish", PhoneNumber=NUMBER, Message="x", MessageAttributes=own)
    room.publish("named", "x", MessageAttributes=own)
    room.sns("SetSMSAttributes", attributes={"DefaultSenderID": "", "MonthlySpendLimit": ""})
    assert room.sns("GetSMSAttributes") == {"attributes": {"DefaultSMSType": "Transactional"}}
    room.sns("Publish", PhoneNumber=NUMBER, Message="x")
    assert senders(room) == ["NOTICE", "Shop1", "Shop1", "Topic Name ", "Own", "Own", "NOTICE"]


@pytest.mark.parametrize(("attributes", "says"), [
    ({"DefaultSenderID": "123"}, "among them a letter"), ({"DefaultSenderID": "a" * 12}, "1 to 11"),
    ({"DefaultSMSType": "Urgent"}, "Promotional, Transactional"), ({"Nonsense": "1"}, "Unknown attribute"),
    ({"MonthlySpendLimit": "1"}, "not available"), ({"UsageReportS3Bucket": "b"}, "not available")])
def test_settings_that_are_refused(room: Newsroom, attributes: dict[str, str], says: str) -> None:
    room.sns("SetSMSAttributes", attributes={"DefaultSenderID": "Kept"})
    assert says in room.wrong("SetSMSAttributes", attributes={"DefaultSMSType": "Promotional", **attributes})
    assert room.sns("GetSMSAttributes") == {"attributes": {"DefaultSenderID": "Kept"}}


def test_messages_that_are_refused(room: Newsroom) -> None:
    room.topic("t")
    for own, says in ((attribute("SenderID", "1"), "among them a letter"), (attribute("SMSType", "x"), "Promotional")):
        assert says in room.wrong("Publish", PhoneNumber=NUMBER, Message="x", MessageAttributes=own)
        assert says in room.wrong("Publish", TopicArn=topic_arn("t"), Message="x", MessageAttributes=own)
    other = {"AWS.SNS.other": {"DataType": "String", "StringValue": "x"}}
    assert "can not start with" in room.wrong("Publish", TopicArn=topic_arn("t"), Message="x", MessageAttributes=other)
    assert senders(room) == []


def test_a_tracing_header_is_passed_on_to_queues(room: Newsroom) -> None:
    room.topic("t")
    room.subscribed("t", "q")

    def publish(trace: str) -> dict[str, str]:
        call = replace(room.call(), trace=trace)
        with room.store.tx() as tx:
            sns.operations["Publish"].run(call, tx, {"TopicArn": topic_arn("t"), "Message": "x"})
        (message,) = room.receive("q", AttributeNames=["AWSTraceHeader"])
        found: dict[str, str] = message.get("Attributes", {})
        return found
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    assert publish(header) == {"AWSTraceHeader": header}
    assert publish("") == publish("two words") == publish("x" * 300) == {}
