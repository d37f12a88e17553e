"""SQS as boto3 and the aws CLI see it."""

import json
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.running import Cloudlet


def test_a_message_goes_through(cloudlet: Cloudlet) -> None:
    sqs = cloudlet.client("sqs")
    url = sqs.create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    attributes = {"kind": {"DataType": "String", "StringValue": "a"},
                  "raw": {"DataType": "Binary", "BinaryValue": b"\1"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="grüße ✓", MessageAttributes=attributes)  # botocore checks MD5s
    (got,) = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    assert (got["Body"], got["MessageId"], got["MessageAttributes"]) == ("grüße ✓", sent["MessageId"], attributes)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.get_queue_url(QueueName="none")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    sqs.delete_queue(QueueUrl=url)


def test_errors_have_the_names_of_both_protocols(cloudlet: Cloudlet) -> None:
    sqs = cloudlet.client("sqs")
    url = sqs.create_queue(QueueName="names")["QueueUrl"]
    for name, code, request in (("MissingRequiredParameterException", "MissingParameter", {"MessageBody": ""}),
                                ("InvalidParameterValueException", "InvalidParameterValue", {
                                    "MessageBody": "x", "DelaySeconds": 901})):
        with pytest.raises(ClientError) as caught:
            sqs.send_message(QueueUrl=url, **request)
        error = caught.value.response["Error"]
        assert (error["QueryErrorCode"], error["Code"]) == (name, code)
    with pytest.raises(ClientError) as caught:
        cloudlet.client("sqs", key="222222222222").send_message(QueueUrl=url, MessageBody="x")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    with pytest.raises(ClientError) as caught:
        cloudlet.client("sqs", key="AKIANOBODYNOBODYNOBO").list_queues()
    assert caught.value.response["Error"]["Code"] == "InvalidClientTokenId"


def test_a_queue_is_fair_among_groups(cloudlet: Cloudlet) -> None:
    sqs = cloudlet.client("sqs")
    url = sqs.create_queue(QueueName="tenants")["QueueUrl"]
    for group, batches in (("noisy", 5), ("quiet", 1)):
        for _ in range(batches):
            sqs.send_message_batch(QueueUrl=url, Entries=[
                {"Id": str(number), "MessageBody": group, "MessageGroupId": group} for number in range(10)])
    got = [message["Body"] for _ in range(6)
           for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]]
    assert got[:10] == ["noisy"] * 10
    assert got.index("quiet") <= 30  # more in flight make a tenant noisy, and it had fifty
    assert (got.count("noisy"), got.count("quiet")) == (50, 10)


def test_a_long_poll_is_woken(cloudlet: Cloudlet) -> None:
    sqs, got = cloudlet.client("sqs"), list[Any]()
    url = sqs.create_queue(QueueName="poll")["QueueUrl"]
    waiting = threading.Thread(target=lambda: got.append(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)))
    waiting.start()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    waiting.join(15)
    assert got and got[0]["Messages"][0]["Body"] == "x"


def test_messages_survive_a_kill(cloudlet: Cloudlet) -> None:
    sqs = cloudlet.client("sqs")
    url = sqs.create_queue(QueueName="k.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})[
        "QueueUrl"]
    sqs.send_message_batch(QueueUrl=url, Entries=[
        {"Id": str(n), "MessageBody": str(n), "MessageGroupId": "g"} for n in range(10)])
    cloudlet.kill()
    cloudlet.start()
    sqs = cloudlet.client("sqs")
    sqs.send_message(QueueUrl=url, MessageBody="3", MessageGroupId="g")  # a duplicate still
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in got] == [str(n) for n in range(10)]


def test_the_cli(cloudlet: Cloudlet) -> None:
    def aws(*words: str) -> Any:
        out = cloudlet.aws("sqs", *words, "--endpoint-url", cloudlet.url).stdout
        return json.loads(out) if out.strip() else None
    url = aws("create-queue", "--queue-name", "cli", "--attributes", "DelaySeconds=0")["QueueUrl"]
    aws("send-message", "--queue-url", url, "--message-body", "hello", "--message-attributes",
        '{"a": {"DataType": "Number", "StringValue": "1"}}')
    (got,) = aws("receive-message", "--queue-url", url, "--attribute-names", "All", "--message-attribute-names",
                 "All")["Messages"]
    assert (got["Body"], got["MessageAttributes"]["a"]["StringValue"]) == ("hello", "1")
    aws("delete-message", "--queue-url", url, "--receipt-handle", got["ReceiptHandle"])
    assert aws("get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]["QueueArn"] \
        == "arn:aws:sqs:us-east-1:000000000000:cli"
