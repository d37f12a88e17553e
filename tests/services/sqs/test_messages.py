"""SendMessage, ReceiveMessage, DeleteMessage, ChangeMessageVisibility and their batches, in standard queues."""

import asyncio
import hashlib
from typing import Any

import pytest

from cloudlet.services.sqs import receiving
from cloudlet.services.sqs.expiry import Expiry
from tests.services.sqs.clerk import Clerk


def test_a_message_is_hidden_while_somebody_has_it(clerk: Clerk) -> None:
    clerk.queue("q", VisibilityTimeout="30")
    sent = clerk.send("q", "hello")
    assert sent["MD5OfMessageBody"] == hashlib.md5(b"hello").hexdigest()
    (first,) = clerk.receive("q", AttributeNames=["All"])
    assert (first["Body"], first["MessageId"]) == ("hello", sent["MessageId"])
    assert first["Attributes"]["ApproximateReceiveCount"] == "1"
    assert clerk.receive("q") == []
    assert clerk.counts("q") == (0, 1, 0)
    clerk.clock.time += 30
    (second,) = clerk.receive("q", MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"])
    assert second["Attributes"] == {"SentTimestamp": "1700000000000", "ApproximateReceiveCount": "2"}
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    clerk.at("q", "DeleteMessage", ReceiptHandle=first["ReceiptHandle"])  # of an earlier receive: passed over
    assert clerk.counts("q") == (0, 1, 0)
    clerk.at("q", "DeleteMessage", ReceiptHandle=second["ReceiptHandle"])
    clerk.at("q", "DeleteMessage", ReceiptHandle=second["ReceiptHandle"])  # again: no error
    clerk.clock.time += 3600
    assert (clerk.receive("q"), clerk.counts("q")) == ([], (0, 0, 0))


def test_delays_of_queues_and_messages(clerk: Clerk) -> None:
    clerk.queue("q", DelaySeconds="10")
    clerk.send("q", "late")
    clerk.send("q", "later", DelaySeconds=20)
    clerk.send("q", "now", DelaySeconds=0)
    assert clerk.counts("q") == (1, 0, 2)
    assert clerk.bodies("q") == ["now"]
    clerk.clock.time += 10
    assert clerk.bodies("q") == ["late"]
    clerk.clock.time += 10
    assert clerk.bodies("q") == ["later"]


def test_visibility_is_changed_and_given_back(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.send("q", "x")
    (message,) = clerk.receive("q")
    handle = message["ReceiptHandle"]
    clerk.at("q", "ChangeMessageVisibility", ReceiptHandle=handle, VisibilityTimeout=100)
    clerk.clock.time += 99
    assert clerk.receive("q") == []
    clerk.at("q", "ChangeMessageVisibility", ReceiptHandle=handle, VisibilityTimeout=0)
    (again,) = clerk.receive("q")
    clerk.at("q", "ChangeMessageVisibility", ReceiptHandle=handle, VisibilityTimeout=1)  # an old handle does, too
    clerk.clock.time += 1
    clerk.at("q", "ChangeMessageVisibility", ReceiptHandle=again["ReceiptHandle"], VisibilityTimeout=50)  # too late
    (again,) = clerk.receive("q")
    clerk.clock.time += 31
    (third,) = clerk.receive("q", VisibilityTimeout=40_000)
    clerk.clock.time += 3000
    assert clerk.refused("q", "ChangeMessageVisibility", ReceiptHandle=third["ReceiptHandle"],
                         VisibilityTimeout=43_200) == "InvalidParameterValue"  # twelve hours in all


def test_batches_succeed_and_fail_by_entry(clerk: Clerk) -> None:
    clerk.queue("q")
    answer = clerk.at("q", "SendMessageBatch", Entries=[
        {"Id": "a", "MessageBody": "one"}, {"Id": "b", "MessageBody": "\x00"},
        {"Id": "c", "MessageBody": "two", "DelaySeconds": 901}, {"Id": "d", "MessageBody": "three"}])
    assert [entry["Id"] for entry in answer["Successful"]] == ["a", "d"]
    assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]] == [
        ("b", "InvalidMessageContents", True), ("c", "InvalidParameterValue", True)]
    got = clerk.receive("q")
    assert [message["Body"] for message in got] == ["one", "three"]
    changed = clerk.at("q", "ChangeMessageVisibilityBatch", Entries=[
        {"Id": "a", "ReceiptHandle": got[0]["ReceiptHandle"], "VisibilityTimeout": 60},
        {"Id": "b", "ReceiptHandle": "nonsense", "VisibilityTimeout": 60}])
    assert [entry["Code"] for entry in changed["Failed"]] == ["ReceiptHandleIsInvalid"]
    deleted = clerk.at("q", "DeleteMessageBatch", Entries=[
        {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(got)])
    assert (len(deleted["Successful"]), deleted["Failed"]) == (2, [])
    assert clerk.counts("q") == (0, 0, 0)


def test_every_character_that_xml_can_carry(clerk: Clerk) -> None:
    clerk.queue("q")
    carried = [chr(code) for code in range(0x250) if code > 0x1f or chr(code) in "\t\r\n"]
    for text in (char for char in map(chr, range(0x20)) if char not in carried):
        assert clerk.refused("q", "SendMessage", MessageBody=text) == "InvalidMessageContents"
        assert clerk.refused("q", "SendMessage", MessageBody=f"ü{text}") == "InvalidMessageContents"
    for text in ("".join(carried[:99]), "".join(carried)):
        clerk.send("q", text)
    assert clerk.bodies("q") == ["".join(carried[:99]), "".join(carried)] and carried[98] == "\x7f"


@pytest.mark.parametrize(("entries", "code"), [
    ([], "EmptyBatchRequest"),
    ([{"Id": str(n), "MessageBody": "x"} for n in range(11)], "TooManyEntriesInBatchRequest"),
    ([{"Id": "a", "MessageBody": "x"}, {"Id": "a", "MessageBody": "y"}], "BatchEntryIdsNotDistinct"),
    ([{"Id": "a b", "MessageBody": "x"}], "InvalidBatchEntryId"),
    ([{"Id": str(n), "MessageBody": "x" * 300_000} for n in range(4)], "BatchRequestTooLong")])
def test_batches_that_are_refused_whole(clerk: Clerk, entries: list[dict[str, Any]], code: str) -> None:
    clerk.queue("q")
    assert clerk.refused("q", "SendMessageBatch", Entries=entries) == f"AWS.SimpleQueueService.{code}"
    assert clerk.counts("q") == (0, 0, 0)


@pytest.mark.parametrize(("request_", "code"), [
    ({"MessageBody": ""}, "MissingParameter"), ({"MessageBody": "x\x0b"}, "InvalidMessageContents"),
    ({"MessageBody": "x" * 1025}, "InvalidParameterValue"), ({"MessageBody": "x", "DelaySeconds": -1},
                                                             "InvalidParameterValue"),
    ({"MessageBody": "x", "MessageDeduplicationId": "d"}, "InvalidParameterValue"),
    ({"MessageBody": "x", "MessageAttributes": {"a..b": {"DataType": "String", "StringValue": "v"}}},
     "InvalidParameterValue"),
    ({"MessageBody": "x", "MessageAttributes": {"AWS.x": {"DataType": "String", "StringValue": "v"}}},
     "InvalidParameterValue"),
    ({"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "Float", "StringValue": "v"}}},
     "InvalidParameterValue"),
    ({"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "v"}}},
     "InvalidParameterValue"),
    ({"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "String", "StringValue": ""}}},
     "InvalidParameterValue"),
    ({"MessageBody": "x", "MessageAttributes": {f"a{n}": {"DataType": "String", "StringValue": "v"}
                                                for n in range(11)}}, "InvalidParameterValue"),
    ({"MessageBody": "x", "MessageSystemAttributes": {"Other": {"DataType": "String", "StringValue": "v"}}},
     "InvalidParameterValue")])
def test_messages_that_are_refused(clerk: Clerk, request_: dict[str, Any], code: str) -> None:
    clerk.queue("q", MaximumMessageSize="1024")
    assert clerk.refused("q", "SendMessage", **request_) == code
    assert clerk.counts("q") == (0, 0, 0)


@pytest.mark.parametrize("request_", [{"MaxNumberOfMessages": 0}, {"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21},
                                      {"VisibilityTimeout": 43201}, {"ReceiveRequestAttemptId": "a"}])
def test_receives_that_are_refused(clerk: Clerk, request_: dict[str, Any]) -> None:
    clerk.queue("q")
    assert clerk.refused("q", "ReceiveMessage", **request_) == "InvalidParameterValue"
    assert clerk.refused("nope", "ReceiveMessage") == "AWS.SimpleQueueService.NonExistentQueue"


def test_too_many_in_flight(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "IN_FLIGHT_MAX", 2)
    clerk.queue("q", VisibilityTimeout="10")
    for body in "abc":
        clerk.send("q", body)
    assert clerk.bodies("q", count=2) == ["a", "b"]
    assert clerk.refused("q", "ReceiveMessage") == "OverLimit"

    async def scene() -> None:
        waiting = asyncio.ensure_future(clerk.ask("q", "ReceiveMessage", WaitTimeSeconds=1))
        await asyncio.sleep(0.01)
        assert not waiting.done()  # who waits is told nothing
        clerk.clock.time += 10
        async with asyncio.timeout(5):
            assert await waiting
    asyncio.run(scene())


def test_those_in_flight_are_counted_now_and_then(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "IN_FLIGHT_MAX", 6)
    clerk.queue("q", VisibilityTimeout="10")
    for number in range(6):
        clerk.send("q", str(number))
    assert clerk.bodies("q", count=1) == ["0"]  # counted: five more may be
    (held,) = clerk.receive("q", count=1)
    clerk.at("q", "DeleteMessage", ReceiptHandle=held["ReceiptHandle"])
    assert clerk.bodies("q", count=3) == ["2", "3", "4"]  # of so few, all may be
    for number in range(6, 12):
        clerk.send("q", str(number))
    assert clerk.bodies("q", count=2) == ["5", "6"]  # four were in flight
    assert clerk.refused("q", "ReceiveMessage") == "OverLimit"
    clerk.clock.time += 10
    assert len(clerk.bodies("q", count=6)) == 6
    assert clerk.refused("q", "ReceiveMessage") == "OverLimit"


def test_attributes_are_answered_as_asked(clerk: Clerk) -> None:
    clerk.queue("q")
    attributes = {"app.a": {"DataType": "String", "StringValue": "1"}, "app.b": {"DataType": "Binary.x",
                  "BinaryValue": b"\x00"}, "c": {"DataType": "Number", "StringValue": "2"}}
    sent = clerk.send("q", "x", MessageAttributes=attributes, MessageSystemAttributes={
        "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}})
    assert len(sent["MD5OfMessageAttributes"]) == len(sent["MD5OfMessageSystemAttributes"]) == 32
    (message,) = clerk.receive("q", VisibilityTimeout=0, MessageAttributeNames=["All"], AttributeNames=["All"])
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"]["AWSTraceHeader"] == "Root=1"
    (message,) = clerk.receive("q", VisibilityTimeout=0, MessageAttributeNames=["app.*"])
    assert set(message["MessageAttributes"]) == {"app.a", "app.b"}
    (message,) = clerk.receive("q", VisibilityTimeout=0)
    assert "MessageAttributes" not in message and "Attributes" not in message


def test_what_is_past_its_retention_is_never_received(clerk: Clerk) -> None:
    clerk.queue("q", MessageRetentionPeriod="60")
    for number in range(3):
        clerk.send("q", f"old {number}")
    clerk.receive("q", count=1)
    clerk.clock.time += 60
    clerk.send("q", "young")
    assert clerk.bodies("q") == ["young"]
    clerk.clock.time += 3600
    clerk.send("q", "younger")
    asyncio.run(Expiry(clerk.store).look())
    assert clerk.counts("q") == (1, 0, 0)


def test_a_waiting_receiver_is_woken_by_the_send(clerk: Clerk) -> None:
    clerk.queue("q")

    async def scene() -> None:
        waiting = [asyncio.ensure_future(clerk.ask("q", "ReceiveMessage", WaitTimeSeconds=20)) for _ in range(3)]
        await asyncio.sleep(0.01)
        for number in range(3):
            await clerk.ask("q", "SendMessage", MessageBody=str(number))
            async with asyncio.timeout(10):
                await asyncio.wait(waiting[number:number + 1])
            assert [each.done() for each in waiting] == [True] * (number + 1) + [False] * (2 - number)  # first come
        assert [each.result()["Messages"][0]["Body"] for each in waiting] == ["0", "1", "2"]
    asyncio.run(scene())


def test_who_leaves_passes_the_news_on(clerk: Clerk) -> None:
    clerk.queue("q")

    async def scene() -> None:
        leaving, staying = (asyncio.ensure_future(clerk.ask("q", "ReceiveMessage", WaitTimeSeconds=20))
                            for _ in range(2))
        await asyncio.sleep(0.01)
        sent = asyncio.ensure_future(clerk.ask("q", "SendMessage", MessageBody="x"))
        await asyncio.sleep(0)  # the send has told the first, which has not run yet
        leaving.cancel()
        await sent
        async with asyncio.timeout(5):
            assert (await staying)["Messages"][0]["Body"] == "x"
    asyncio.run(scene())


def test_a_waiting_receiver_gets_what_becomes_visible(clerk: Clerk) -> None:
    clerk.queue("q")

    async def scene() -> None:
        await clerk.ask("q", "SendMessage", MessageBody="x")
        (held,) = (await clerk.ask("q", "ReceiveMessage"))["Messages"]
        waiting = asyncio.ensure_future(clerk.ask("q", "ReceiveMessage", WaitTimeSeconds=20))
        await asyncio.sleep(0.01)
        await clerk.ask("q", "ChangeMessageVisibility", ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=0)
        async with asyncio.timeout(5):
            (again,) = (await waiting)["Messages"]
        assert again["MessageId"] == held["MessageId"]
    asyncio.run(scene())
