"""What clients that were written for AWS rely on: odd codes, sentences, and what they may leave out."""

import json

import pytest
from msgspec.structs import replace

from cloudlet.kernel.errors import AwsError
from cloudlet.services.sqs import sqs
from tests.services.desk import ACCOUNT
from tests.services.sqs.clerk import Clerk


def told(clerk: Clerk, name: str, operation: str, **request: object) -> str:
    """Code and sentence of a refusal."""
    with pytest.raises(AwsError) as caught:
        clerk.at(name, operation, **request)
    return f"{caught.value.code}: {caught.value.message}"


def test_a_name_does_for_a_url(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.at("q", "SendMessage", QueueUrl="q", MessageBody="x")
    assert clerk.bodies("q", QueueUrl=f"https://queue.amazonaws.com/{ACCOUNT}/q") == ["x"]
    assert told(clerk, "q", "SendMessage", QueueUrl="p", MessageBody="x") == (
        "AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist.")


@pytest.mark.parametrize(("wanted", "got"), [
    (["*"], {"Help.Me", "Hello", "General"}), ([".*"], {"Help.Me", "Hello", "General"}),
    (["Hel.*"], {"Help.Me", "Hello"}), (["Help", "Foo"], set()), (["Hello", "Foo"], {"Hello"}),
    (["AWS.", "..foo"], set())])
def test_names_of_attributes_that_are_wanted(clerk: Clerk, wanted: list[str], got: set[str]) -> None:
    clerk.queue("q")
    clerk.send("q", "x", MessageAttributes={
        name: {"DataType": "String", "StringValue": "v"} for name in ("Help.Me", "Hello", "General")})
    (message,) = clerk.receive("q", MessageAttributeNames=wanted)
    assert set(message.get("MessageAttributes", {})) == got
    assert ("MD5OfMessageAttributes" in message) == bool(got)


def test_attributes_may_have_letters_of_any_alphabet(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.send("q", "x", MessageAttributes={"attr.1øßä": {"DataType": "String.schön", "StringValue": "v"}})
    for name in ("a!", 'a"', "a§", "a(", "a?", "a b", ".a", "a.", "aWs.a", "AMAZON.a", "L" * 257):
        assert clerk.refused("q", "SendMessage", MessageBody="x", MessageAttributes={
            name: {"DataType": "String", "StringValue": "v"}}) == "InvalidParameterValue"


@pytest.mark.parametrize(("value", "says"), [
    ({"DataType": "String", "StringValue": ""}, "Message (user) attribute 'a' must contain a non-empty value of type"
                                                " 'String'."),
    ({"DataType": "Binary", "BinaryValue": b""}, "Message (user) attribute 'a' must contain a non-empty value of type"
                                                 " 'Binary'."),
    ({"DataType": "String", "StringValue": "\x08"}, "Invalid binary character '#x8' was found in the message attribute"
                                                    " 'a' value,"),
    ({"DataType": "Binary", "StringValue": "text"}, "Message (user) attribute 'a' must contain a non-empty value"),
    ({"DataType": "Number", "StringValue": "12x"}, "Can't cast the value of message (user) attribute 'a' to a number."),
    ({"DataType": "Number." + "L" * 256, "StringValue": "1"}, "The message attribute 'a' has an invalid message"
                                                              " attribute type,"),
    ({"DataType": "", "StringValue": "1"}, "The message attribute 'a' must contain a non-empty message attribute"
                                           " type.")])
def test_values_of_attributes_that_are_refused(clerk: Clerk, value: dict[str, object], says: str) -> None:
    clerk.queue("q")
    assert told(clerk, "q", "SendMessage", MessageBody="x",
                MessageAttributes={"a": value}).startswith(f"InvalidParameterValue: {says}")


@pytest.mark.parametrize("char", ["\x00", "\x08", "\x0b", "\x1b", "\ufffe", "\uffff"])
def test_characters_that_no_message_may_have(clerk: Clerk, char: str) -> None:
    clerk.queue("q")
    assert told(clerk, "q", "SendMessage", MessageBody=f"a{char}").startswith(
        f"InvalidMessageContents: Invalid binary character '#x{ord(char):x}' was found in the message body, the set")
    clerk.send("q", "\t\r\n\ud7ff\ue000\ufffd\U0010ffff")


def test_batches_that_say_too_little_of_their_order_are_refused_whole(clerk: Clerk) -> None:
    clerk.fifo("q.fifo")
    whole = {"Id": "a", "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    for lacking, says in (("MessageGroupId", "The request must contain the parameter MessageGroupId."),
                          ("MessageDeduplicationId", "The queue should either have ContentBasedDeduplication enabled or"
                                                     " MessageDeduplicationId provided explicitly")):
        other = {name: value for name, value in {**whole, "Id": "b"}.items() if name != lacking}
        assert told(clerk, "q.fifo", "SendMessageBatch", Entries=[whole, other]) == f"InvalidParameterValue: {says}"
    assert clerk.counts("q.fifo") == (0, 0, 0)


def test_a_purge_forgets_what_was_sent(clerk: Clerk) -> None:
    clerk.fifo("q.fifo")
    for body in ("one", "two"):
        clerk.send("q.fifo", body, MessageGroupId="g", MessageDeduplicationId="same")
        clerk.clock.time += 60
        if body == "one":
            clerk.at("q.fifo", "PurgeQueue")
    assert clerk.bodies("q.fifo") == ["two"]


def test_what_is_given_back_comes_again_before_the_others_of_its_group(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", ContentBasedDeduplication="true")
    for group, body in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1")):
        clerk.send("q.fifo", body, MessageGroupId=group)
    one, two = clerk.receive("q.fifo", 2)
    clerk.at("q.fifo", "ChangeMessageVisibility", ReceiptHandle=two["ReceiptHandle"], VisibilityTimeout=0)
    assert clerk.bodies("q.fifo") == ["b1"]  # its first is in flight
    clerk.at("q.fifo", "ChangeMessageVisibility", ReceiptHandle=one["ReceiptHandle"], VisibilityTimeout=0)
    (held,) = clerk.receive("q.fifo", 1)
    assert held["Body"] == "a1" and clerk.bodies("q.fifo") == []


def test_handles_that_have_expired(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", ContentBasedDeduplication="true", VisibilityTimeout="5")
    clerk.send("q.fifo", "x", MessageGroupId="g")
    (held,) = clerk.receive("q.fifo")
    clerk.clock.time += 5
    handle = held["ReceiptHandle"]
    says = (f"InvalidParameterValue: Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle"
            " has expired.")
    assert told(clerk, "q.fifo", "DeleteMessage", ReceiptHandle=handle) == says
    assert told(clerk, "q.fifo", "ChangeMessageVisibility", ReceiptHandle=handle, VisibilityTimeout=9) == says
    (failed,) = clerk.at("q.fifo", "DeleteMessageBatch", Entries=[{"Id": "a", "ReceiptHandle": handle}])["Failed"]
    assert failed == {"Id": "a", "SenderFault": True, "Code": "ReceiptHandleIsInvalid",
                      "Message": "The receipt handle has expired"}
    assert told(clerk, "q.fifo", "DeleteMessage", ReceiptHandle="garbage") == (
        'ReceiptHandleIsInvalid: The input receipt handle "garbage" is not a valid receipt handle.')
    assert clerk.bodies("q.fifo") == ["x"]


def test_a_standard_queue_deletes_what_nobody_took_since(clerk: Clerk) -> None:
    clerk.queue("q", VisibilityTimeout="5")
    clerk.send("q", "x")
    (held,) = clerk.receive("q")
    clerk.clock.time += 5
    clerk.at("q", "DeleteMessage", ReceiptHandle=held["ReceiptHandle"])
    assert clerk.counts("q") == (0, 0, 0)
    assert told(clerk, "q", "ChangeMessageVisibility", ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=9) == (
        f"InvalidParameterValue: Value {held['ReceiptHandle']} for parameter ReceiptHandle is invalid. Reason: Message"
        " does not exist or is not available for visibility timeout change.")


def test_a_queue_stays_of_its_kind(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.fifo("q.fifo")
    clerk.at("q.fifo", "SetQueueAttributes", Attributes={"FifoQueue": "true"})
    assert told(clerk, "q.fifo", "SetQueueAttributes", Attributes={"FifoQueue": "false"}) == (
        "InvalidAttributeValue: Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not"
        " supported.")
    assert told(clerk, "q", "SetQueueAttributes", Attributes={"FifoQueue": "true"}) == (
        "InvalidAttributeName: Unknown Attribute FifoQueue.")


def test_one_encryption_at_a_time(clerk: Clerk) -> None:
    clerk.queue("q")
    assert told(clerk, "q", "SetQueueAttributes", Attributes={
        "KmsMasterKeyId": "key", "SqsManagedSseEnabled": "true"}) == (
        "InvalidAttributeName: You can use one type of server-side encryption (SSE) at one time. You can either enable"
        " KMS SSE or SQS SSE.")
    asked = {"KmsMasterKeyId": "key", "KmsDataKeyReusePeriodSeconds": "6000", "SqsManagedSseEnabled": "false"}
    clerk.at("q", "SetQueueAttributes", Attributes=asked)
    assert clerk.at("q", "GetQueueAttributes", AttributeNames=list(asked))["Attributes"] == asked
    clerk.at("q", "SetQueueAttributes", Attributes={"SqsManagedSseEnabled": "true"})
    assert clerk.at("q", "GetQueueAttributes", AttributeNames=["KmsMasterKeyId", "SqsManagedSseEnabled"])[
        "Attributes"] == {"SqsManagedSseEnabled": "true"}


def test_dead_letter_queues_that_are_none(clerk: Clerk) -> None:
    clerk.queue("q")
    for policy, says in ((' {"deadLetterTargetArn": "dummy", "maxReceiveCount": 42}', "Invalid value for"
                          " deadLetterTargetArn."), ("nonsense", "Redrive policy is not a valid JSON map.")):
        assert told(clerk, "q", "SetQueueAttributes", Attributes={"RedrivePolicy": policy}) == (
            f"InvalidParameterValue: Value {policy} for parameter RedrivePolicy is invalid. Reason: {says}")


def test_what_a_permission_looks_like(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.at("q", "AddPermission", Label="l", AWSAccountIds=["222222222222"], Actions=["ReceiveMessage"])
    policy = json.loads(clerk.at("q", "GetQueueAttributes", AttributeNames=["Policy"])["Attributes"]["Policy"])
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"
    assert policy == {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy", "Statement": [{
        "Sid": "l", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
        "Action": "SQS:ReceiveMessage", "Resource": arn}]}


def test_tasks_that_are_none(clerk: Clerk) -> None:
    assert told(clerk, "q", "CancelMessageMoveTask", TaskHandle="nonsense") == (
        "InvalidParameterValue: Value for parameter TaskHandle is invalid.")
    clerk.queue("q")
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:"
    assert told(clerk, "q", "StartMessageMoveTask", SourceArn=arn + "q") == (
        "InvalidParameterValue: Source queue must be configured as a Dead Letter Queue.")
    clerk.queue("from", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn + "q", "maxReceiveCount": 1}))
    assert told(clerk, "q", "StartMessageMoveTask", SourceArn=arn + "q", DestinationArn=arn + "none") == (
        "ResourceNotFoundException: The resource that you specified for the DestinationArn parameter doesn't exist.")
    handle = clerk(sqs, "StartMessageMoveTask", SourceArn=arn + "q")["TaskHandle"]
    clerk.at("q", "DeleteQueue")
    assert told(clerk, "q", "CancelMessageMoveTask", TaskHandle=handle) == (
        "ResourceNotFoundException: The resource that you specified for the SourceArn parameter doesn't exist.")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000, "null", '"x"', "{}"])
def test_policies_that_are_none(clerk: Clerk, text: str) -> None:
    clerk.queue("q")
    for name, code in (("Policy", "InvalidAttributeValue"), ("RedrivePolicy", "InvalidParameterValue"),
                       ("RedriveAllowPolicy", "InvalidParameterValue")):
        assert clerk.refused("q", "SetQueueAttributes", Attributes={name: text}) == code


def test_huge_maps(clerk: Clerk) -> None:
    clerk.queue("q")
    assert told(clerk, "q", "SendMessage", MessageBody="x", MessageAttributes={
        f"a{number}": {"DataType": "String", "StringValue": "v"} for number in range(20_000)}) == (
        "InvalidParameterValue: Number of message attributes [20000] exceeds the allowed maximum [10].")
    many = {f"a{number}": "1" for number in range(20_000)}
    assert clerk.refused("q", "SetQueueAttributes", Attributes=many) == "InvalidAttributeName"
    assert clerk.refused("q", "TagQueue", Tags=many) == "InvalidParameterValue"


@pytest.mark.parametrize("pairs", [(("q", "p"), ("p", "q")), (("q", "q"),)])
def test_dead_letters_that_go_round_in_circles(clerk: Clerk, pairs: tuple[tuple[str, str], ...]) -> None:
    for name in ("q", "p"):
        clerk.queue(name, VisibilityTimeout="1")
    for source, target in pairs:
        clerk.at(source, "SetQueueAttributes", Attributes={"RedrivePolicy": json.dumps({
            "deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{target}", "maxReceiveCount": 1})})
    clerk.send("q", "x")
    got = []
    for _ in range(8):
        got += clerk.bodies("q") + clerk.bodies("p")
        clerk.clock.time += 1
    assert got.count("x") >= 4 and sum(clerk.counts("q")) + sum(clerk.counts("p")) == 1


def test_the_tracing_header_of_a_request(clerk: Clerk) -> None:
    clerk.queue("q")
    own = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=own"}}
    with clerk.store.tx() as tx:
        call = replace(clerk.call(), trace="Root=1-5759e988-bd862e3fe1be46a994272793")
        for more in ({}, {"MessageSystemAttributes": own}):
            answer = sqs.operations["SendMessage"].run(call, tx, {"QueueUrl": "q", "MessageBody": "x", **more})
            assert ("MD5OfMessageSystemAttributes" in answer) == bool(more)
    assert [message["Attributes"]["AWSTraceHeader"] for message in clerk.receive("q", AttributeNames=["All"])] == [
        "Root=1-5759e988-bd862e3fe1be46a994272793", "Root=own"]
