"""Queues themselves: CreateQueue, GetQueueUrl, ListQueues, DeleteQueue, PurgeQueue, attributes, tags, permissions."""

import asyncio
import dataclasses
import json
from typing import Any

import pytest

from cloudlet.control.outcome import Done
from cloudlet.kernel.errors import AwsError
from cloudlet.services.sqs import set_keeping_of_names, sqs
from cloudlet.services.sqs.expiry import Expiry
from cloudlet.services.sqs.moves import Moving
from cloudlet.services.sqs.records import Deleted
from tests.services.desk import ACCOUNT, root
from tests.services.sqs.clerk import Clerk


def test_made_again_as_it_is_or_refused(clerk: Clerk) -> None:
    url = clerk.queue("q", VisibilityTimeout="40")
    assert url == clerk.url("q") == clerk.queue("q") == clerk.queue("q", VisibilityTimeout="40")
    assert clerk.refused("q", "CreateQueue", QueueName="q", Attributes={"VisibilityTimeout": "41"}) \
        == "QueueAlreadyExists"
    assert clerk.at("q", "GetQueueUrl", QueueName="q") == {"QueueUrl": url}
    clerk.at("q", "DeleteQueue")
    assert clerk.refused("q", "GetQueueUrl", QueueName="q") == "AWS.SimpleQueueService.NonExistentQueue"


def test_names_of_deleted_queues_may_be_kept_for_a_minute(clerk: Clerk) -> None:
    for kept in (True, False):
        set_keeping_of_names(clerk.store, dataclasses.replace(clerk.site, keep_queue_names=kept))
        clerk.queue("q")
        clerk.at("q", "DeleteQueue")
        clerk.clock.time += 59
        if kept:
            assert clerk.refused("q", "CreateQueue", QueueName="q") == "AWS.SimpleQueueService.QueueDeletedRecently"
            clerk.queue("other")
            clerk.clock.time += 1
        clerk.queue("q")
        clerk.at("q", "DeleteQueue")
        clerk.clock.time += 60
    asyncio.run(Expiry(clerk.store).look())
    with clerk.store.tx() as tx:
        assert tx.find(Deleted) == []


@pytest.mark.parametrize(("name", "attributes", "code"), [
    ("", {}, "InvalidParameterValue"), ("a" * 81, {}, "InvalidParameterValue"), ("a.b", {}, "InvalidParameterValue"),
    ("a.fifo", {}, "InvalidParameterValue"), ("a", {"FifoQueue": "true"}, "InvalidParameterValue"),
    ("a", {"Colour": "red"}, "InvalidAttributeName"), ("a", {"DelaySeconds": "901"}, "InvalidAttributeValue"),
    ("a", {"MaximumMessageSize": "1048577"}, "InvalidAttributeValue"), ("a", {"Policy": "{"}, "InvalidAttributeValue"),
    ("a", {"ContentBasedDeduplication": "true"}, "InvalidAttributeName"),
    ("a", {"RedrivePolicy": "[]"}, "InvalidParameterValue"),
    ("a", {"RedrivePolicy": '{"deadLetterTargetArn": "x", "maxReceiveCount": 1}'}, "InvalidParameterValue"),
    ("a", {"RedrivePolicy": f'{{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:{ACCOUNT}:no", "maxReceiveCount": 1}}'},
     "InvalidParameterValue"), ("a", {"KmsMasterKeyId": "k", "SqsManagedSseEnabled": "true"}, "InvalidAttributeName"),
    ("a.fifo", {"FifoQueue": "false"}, "InvalidParameterValue")])
def test_names_and_attributes_that_are_refused(clerk: Clerk, name: str, attributes: dict[str, str], code: str) -> None:
    assert clerk.refused("q", "CreateQueue", QueueName=name, Attributes=attributes) == code


def test_attributes_with_their_defaults(clerk: Clerk) -> None:
    clerk.queue("q")
    found = clerk.at("q", "GetQueueAttributes", AttributeNames=["All"])["Attributes"]
    assert found == {
        "VisibilityTimeout": "30", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600",
        "DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": "true",
        "QueueArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:q", "CreatedTimestamp": "1700000000",
        "LastModifiedTimestamp": "1700000000", "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0"}
    assert clerk.at("q", "GetQueueAttributes") == {}
    assert clerk.refused("q", "GetQueueAttributes", AttributeNames=["Nope"]) == "InvalidAttributeName"
    clerk.clock.time += 5
    clerk.at("q", "SetQueueAttributes", Attributes={"DelaySeconds": "7"})
    assert clerk.at("q", "GetQueueAttributes", AttributeNames=["DelaySeconds", "LastModifiedTimestamp"]) == {
        "Attributes": {"DelaySeconds": "7", "LastModifiedTimestamp": "1700000005"}}


def test_pages_of_queues(clerk: Clerk) -> None:
    for name in ("b1", "a1", "b2", "b3"):
        clerk.queue(name)
    assert [url.rpartition("/")[2] for url in clerk.at("", "ListQueues")["QueueUrls"]] == ["a1", "b1", "b2", "b3"]
    first = clerk.at("", "ListQueues", QueueNamePrefix="b", MaxResults=2)
    second = clerk.at("", "ListQueues", QueueNamePrefix="b", MaxResults=2, NextToken=first["NextToken"])
    assert [len(page["QueueUrls"]) for page in (first, second)] == [2, 1] and "NextToken" not in second
    assert clerk.at("", "ListQueues", QueueNamePrefix="z") == {}
    assert clerk.refused("", "ListQueues", NextToken="b1") == "MissingParameter"


def test_a_purged_queue_is_empty_once_a_minute(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.send("q", "x")
    (held,) = clerk.receive("q")
    clerk.send("q", "y")
    clerk.at("q", "PurgeQueue")
    assert clerk.counts("q") == (0, 0, 0)
    clerk.at("q", "DeleteMessage", ReceiptHandle=held["ReceiptHandle"])
    clerk.send("q", "z")
    assert clerk.refused("q", "PurgeQueue") == "AWS.SimpleQueueService.PurgeQueueInProgress"
    clerk.clock.time += 60
    assert clerk.bodies("q") == ["z"]
    clerk.at("q", "PurgeQueue")
    stores = [key for (key,) in clerk.store._db.execute("select key from work where kind='sqs.drop'")]
    for store in stores:
        assert asyncio.run(Expiry(clerk.store).drop(store)) == Done()
    assert clerk.store._db.execute("select count(*) from sqs_body").fetchone() == (0,)


def test_after_a_reset_nothing_is_taken_for_what_was_before(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.send("q", "x", MessageGroupId="a")
    (old,) = clerk.receive("q")
    clerk.at("q", "DeleteQueue")
    with clerk.store.tx() as tx:
        tx.clear()
    clerk.clock.time -= 1
    clerk.queue("q")
    clerk.send("q", "y", MessageGroupId="a")
    assert clerk.bodies("q", VisibilityTimeout=0) == ["y"]
    assert clerk.refused("q", "DeleteMessage", ReceiptHandle=old["ReceiptHandle"]) == "ReceiptHandleIsInvalid"
    for (key,) in clerk.store._db.execute("select key from work where kind='sqs.drop'").fetchall():
        asyncio.run(Expiry(clerk.store).drop(key))  # of the queue that was deleted before
    assert clerk.bodies("q") == ["y"]


def test_tags(clerk: Clerk) -> None:
    clerk(sqs, "CreateQueue", QueueName="q", tags={"a": "1"})
    clerk.at("q", "TagQueue", Tags={"b": "2"})
    clerk.at("q", "UntagQueue", TagKeys=["a", "none"])
    assert clerk.at("q", "ListQueueTags") == {"Tags": {"b": "2"}}
    assert clerk.refused("q", "TagQueue", Tags={"aws:x": "2"}) == "InvalidParameterValue"
    assert clerk.refused("q", "TagQueue", Tags={str(n): "" for n in range(51)}) == "InvalidParameterValue"


@pytest.mark.parametrize(("operation", "request_"), [
    ("AddPermission", {"Label": "l", "AWSAccountIds": ["222222222222"], "Actions": ["*"]}),
    ("RemovePermission", {"Label": "l"}), ("SetQueueAttributes", {"Attributes": {"DelaySeconds": "1"}}),
    ("TagQueue", {"Tags": {"a": "b"}}), ("UntagQueue", {"TagKeys": ["a"]}), ("ListQueueTags", {}), ("DeleteQueue", {})])
def test_what_no_policy_lets_another_account_do(clerk: Clerk, operation: str, request_: dict[str, Any]) -> None:
    clerk.queue("q", Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}]}))
    stranger = root("222222222222")
    assert clerk.refused("q", operation, principal=stranger, **request_) == "AccessDenied"
    assert clerk.at("q", "SendMessage", principal=stranger, MessageBody="x")["MessageId"]
    assert clerk.at("q", "PurgeQueue", principal=stranger) is None
    if operation != "RemovePermission":
        clerk.at("q", operation, **request_)  # as its owner


def statement(number: int = 0, actions: list[str] | str = "sqs:SendMessage") -> dict[str, Any]:
    return {"Sid": str(number), "Effect": "Allow", "Principal": "*", "Action": actions, "Resource": "*"}


@pytest.mark.parametrize(("statements", "code"), [
    ([statement(number) for number in range(20)], ""), ([statement(number) for number in range(21)], "OverLimit"),
    (statement(actions=["sqs:SendMessage"] * 7), ""), (statement(actions=["sqs:SendMessage"] * 8), "OverLimit"),
    (statement(actions="SQS:*"), ""), (statement(actions="*"), ""),
    (statement(actions=["sqs:SendMessage", "s3:GetObject"]), "InvalidAttributeValue"),
    ({**statement(), "Condition": {"StringEquals": {"aws:username": "x" * 8192}}}, "OverLimit")])
def test_what_a_policy_may_have(clerk: Clerk, statements: Any, code: str) -> None:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html"""
    clerk.queue("q")
    policy = {"Attributes": {"Policy": json.dumps({"Version": "2012-10-17", "Statement": statements})}}
    if code:
        assert clerk.refused("q", "SetQueueAttributes", **policy) == code
        assert clerk.at("q", "GetQueueAttributes", AttributeNames=["Policy"]) == {}
    else:
        clerk.at("q", "SetQueueAttributes", **policy)


def test_who_may_move_dead_letters_where(clerk: Clerk) -> None:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html"""
    source, foreign = f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead", "arn:aws:sqs:us-east-1:222222222222:q"
    clerk.queue("dead", Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}]}))
    clerk.queue("q", RedrivePolicy=json.dumps({"deadLetterTargetArn": source, "maxReceiveCount": 1}))
    start, call = sqs.operations["StartMessageMoveTask"], clerk.call()
    more = {f"sqs:{action}": [source] for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")}
    assert start.needs(call, {"SourceArn": source}) == {"sqs:StartMessageMoveTask": [source]} | more
    assert start.needs(call, {"SourceArn": source, "DestinationArn": foreign}) == {
        "sqs:StartMessageMoveTask": [source], "sqs:SendMessage": [foreign]} | more
    handle = clerk.at("dead", "StartMessageMoveTask", SourceArn=source)["TaskHandle"]
    cancel = sqs.operations["CancelMessageMoveTask"].needs(call, {"TaskHandle": handle})
    assert cancel == {"sqs:CancelMessageMoveTask": [source]} | more
    for operation, request in (("StartMessageMoveTask", {"SourceArn": source}), ("ListMessageMoveTasks", {
            "SourceArn": source}), ("CancelMessageMoveTask", {"TaskHandle": handle})):
        assert clerk.refused("dead", operation, principal=root("222222222222"), **request) == "AccessDenied"
        with pytest.raises(AwsError, match="SourceArn"):
            clerk(sqs, operation, region="eu-west-1", **request)


def test_permissions_are_statements_that_count(clerk: Clerk) -> None:
    clerk.queue("q")
    arn, stranger = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q", root("222222222222")
    assert clerk.refuses(stranger, "sqs:SendMessage", arn) is not None
    clerk.at("q", "AddPermission", Label="in", AWSAccountIds=["222222222222"], Actions=["SendMessage"])
    policy = json.loads(clerk.at("q", "GetQueueAttributes", AttributeNames=["Policy"])["Attributes"]["Policy"])
    assert policy["Statement"][0]["Sid"] == "in"
    assert clerk.refused("q", "AddPermission", Label="in", AWSAccountIds=["222222222222"],
                         Actions=["SendMessage"]) == "InvalidParameterValue"
    assert clerk.refused("q", "AddPermission", Label="many", Actions=["SendMessage"], AWSAccountIds=[
        f"{number:012}" for number in range(250)]) == "OverLimit"
    assert clerk.refused("q", "AddPermission", Label="x", AWSAccountIds=["1"], Actions=["SendMessage"]) \
        == "InvalidParameterValue"
    clerk.at("q", "RemovePermission", Label="in")
    assert "Attributes" not in clerk.at("q", "GetQueueAttributes", AttributeNames=["Policy"])
    assert clerk.refused("q", "RemovePermission", Label="in") == "InvalidParameterValue"


@pytest.mark.parametrize("url", ["", "http://localhost:4566/", "no name", "http://x/12/q"])
def test_urls_that_are_none(clerk: Clerk, url: str) -> None:
    assert clerk.refused("q", "GetQueueAttributes", QueueUrl=url) == "InvalidAddress"


def dead_letters(clerk: Clerk, count: int, source: str = "q", target: str = "dead") -> None:
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{target}"
    clerk.at(source, "SetQueueAttributes", Attributes={
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": count})})


def test_what_fails_too_often_is_set_aside_and_moved_back(clerk: Clerk) -> None:
    clerk.queue("q", VisibilityTimeout="10")
    clerk.queue("dead")
    dead_letters(clerk, 2)
    sent = clerk.send("q", "poison", MessageAttributes={"a": {"DataType": "String", "StringValue": "1"}})
    for _ in range(2):
        assert clerk.bodies("q") == ["poison"]
        clerk.clock.time += 10
    assert clerk.receive("q") == []
    (message,) = clerk.receive("dead", VisibilityTimeout=0, AttributeNames=["All"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "3"  # across both queues
    assert (message["MessageId"], message["Attributes"]["DeadLetterQueueSourceArn"], message["Attributes"][
        "SentTimestamp"]) == (sent["MessageId"], f"arn:aws:sqs:us-east-1:{ACCOUNT}:q", "1700000000000")
    assert clerk.at("dead", "ListDeadLetterSourceQueues") == {"queueUrls": [clerk.url("q")]}
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"
    clerk.at("dead", "StartMessageMoveTask", SourceArn=arn)
    assert clerk.refused("dead", "StartMessageMoveTask", SourceArn=arn) == "InvalidParameterValue"
    (running,) = clerk.at("dead", "ListMessageMoveTasks", SourceArn=arn)["Results"]
    (key,) = (key for (key,) in clerk.store._db.execute("select key from work where kind='sqs.move'"))
    asyncio.run(Moving(clerk.store).reconcile(key))
    assert clerk.refused("dead", "CancelMessageMoveTask", TaskHandle=running["TaskHandle"]) == "InvalidParameterValue"
    (done,) = clerk.at("dead", "ListMessageMoveTasks", SourceArn=arn)["Results"]
    assert (done["Status"], done["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    (back,) = clerk.receive("q", MessageAttributeNames=["All"])
    assert (back["Body"], back["MessageAttributes"]["a"]["StringValue"]) == ("poison", "1")
    assert back["MessageId"] != sent["MessageId"]


def test_dead_letters_of_groups_are_moved_back_in_their_order(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", VisibilityTimeout="10", ContentBasedDeduplication="true")
    clerk.fifo("dead.fifo")
    dead_letters(clerk, 1, "q.fifo", "dead.fifo")
    for body in ("one", "two", "three"):
        clerk.send("q.fifo", body, MessageGroupId="g")
    clerk.receive("q.fifo")
    clerk.clock.time += 10
    assert clerk.receive("q.fifo", VisibilityTimeout=0) == []
    clerk.receive("dead.fifo", count=1, VisibilityTimeout=5)  # "one" becomes visible last
    clerk.clock.time += 5
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead.fifo"
    clerk.at("dead.fifo", "StartMessageMoveTask", SourceArn=arn)
    (key,) = (key for (key,) in clerk.store._db.execute("select key from work where kind='sqs.move'"))
    asyncio.run(Moving(clerk.store).reconcile(key))
    assert clerk.bodies("q.fifo") == ["one", "two", "three"]


def test_what_does_not_go_together(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    clerk.fifo("plain.fifo")
    assert clerk.refused("q.fifo", "SetQueueAttributes",
                         Attributes={"DeduplicationScope": "queue"}) == "InvalidAttributeValue"
    assert clerk.refused("plain.fifo", "SetQueueAttributes",
                         Attributes={"FifoThroughputLimit": "perMessageGroupId"}) == "InvalidAttributeValue"


def test_a_count_of_receives_is_a_number_however_it_is_written(clerk: Clerk) -> None:
    clerk.queue("q")
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"
    for count in ('"5"', "5"):
        clerk.queue("from", RedrivePolicy=f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": {count}}}')
    for count in ('"³"', "0", "1001", "true", "1.5"):
        assert clerk.refused("q", "CreateQueue", QueueName="x", Attributes={"RedrivePolicy": (
            f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": {count}}}')}) == "InvalidParameterValue"


@pytest.mark.parametrize("allow", [{"redrivePermission": "denyAll"}, {
    "redrivePermission": "byQueue", "sourceQueueArns": [f"arn:aws:sqs:us-east-1:{ACCOUNT}:other"]}])
def test_a_dead_letter_queue_may_refuse_sources(clerk: Clerk, allow: dict[str, Any]) -> None:
    clerk.queue("q")
    clerk.queue("dead", RedriveAllowPolicy=json.dumps(allow))
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"
    assert clerk.refused("q", "SetQueueAttributes", Attributes={
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})}) == "InvalidParameterValue"
