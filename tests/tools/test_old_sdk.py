"""Queues as an SDK of the time before JSON uses them: the query protocol says what the other says, errors included."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running import Cloudlet

pytestmark = pytest.mark.slow
OLD = "boto3==1.26.165"  # SQS speaks JSON since November 2023

# Uses every operation, well and badly, and writes down what came of it, without what is new each time.
SCRIPT = r"""
import json, os, re, sys
import boto3
from botocore.config import Config

account = sys.argv[1]
sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1",
                   aws_access_key_id=account, aws_secret_access_key="test",
                   config=Config(retries={"max_attempts": 0}, parameter_validation=False))
HIDDEN = ((account, "ACCOUNT"), (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"), (r"\b1\d{19}\b", "SEQUENCE"),
          (r"\b1[5-9]\d{8}(\d{3})?\b", "TIME"), (r"Y2xx[A-Za-z0-9+/=]+", "HANDLE"),
          (r"[A-Za-z0-9+/]{60,}={0,2}", "TASK"))
said = []


def plain(value):
    if isinstance(value, dict):
        return {name: plain(part) for name, part in sorted(value.items()) if name != "ResponseMetadata"}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, (bytes, int)):
        return "TIME" if isinstance(value, int) and value > 10 ** 9 else str(value)
    for pattern, word in HIDDEN:
        value = re.sub(pattern, word, value)
    return value


def do(operation, **request):
    try:
        answer = getattr(sqs, operation)(**request)
        came = plain(answer)
    except sqs.exceptions.ClientError as refused:
        answer, error = {}, refused.response["Error"]
        came = [error["Code"], plain(error["Message"]), refused.response["ResponseMetadata"]["HTTPStatusCode"]]
    said.append([operation, plain({name: value for name, value in request.items() if len(str(value)) < 500}), came])
    return answer


q = do("create_queue", QueueName="q", Attributes={"VisibilityTimeout": "5"}, tags={"a": "b", "c": "ü"})["QueueUrl"]
f = do("create_queue", QueueName="f.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})[
    "QueueUrl"]
d = do("create_queue", QueueName="dead")["QueueUrl"]
dead = f"arn:aws:sqs:us-east-1:{account}:dead"
for request in ({}, {"QueueName": "a b"}, {"QueueName": "z.fifo"}, {"QueueName": "q", "Attributes": {
        "VisibilityTimeout": "6"}}, {"QueueName": "z", "Attributes": {"Nope": "1"}}, {"QueueName": "z", "Attributes": {
        "DelaySeconds": "x"}}):
    do("create_queue", **request)
for request in ({}, {"MaxResults": 1}, {"QueueNamePrefix": "q"}, {"QueueNamePrefix": "no"}, {"NextToken": "x"}):
    do("list_queues", **request)
for name in ("q", "none"):
    do("get_queue_url", QueueName=name)
    do("get_queue_url", QueueName=name, QueueOwnerAWSAccountId=account)
do("set_queue_attributes", QueueUrl=q, Attributes={"RedrivePolicy": json.dumps({
    "deadLetterTargetArn": dead, "maxReceiveCount": 2}), "DelaySeconds": "0"})
do("set_queue_attributes", QueueUrl=q, Attributes={"RedrivePolicy": "x"})
for names in ([], ["All"], ["QueueArn", "Policy"], ["Policy"], ["Nope"]):
    do("get_queue_attributes", QueueUrl=q, AttributeNames=names)
do("list_dead_letter_source_queues", QueueUrl=d)
do("tag_queue", QueueUrl=q, Tags={"t": "1", "e": ""})
do("untag_queue", QueueUrl=q, TagKeys=["t", "a"])
for url in (q, d, q + "x"):
    do("list_queue_tags", QueueUrl=url)
attributes = {"s": {"DataType": "String", "StringValue": "grüße ✓ <&>\"'"}, "n": {"DataType": "Number.x",
              "StringValue": "1.5"}, "b": {"DataType": "Binary", "BinaryValue": b"\0\1\xff"}}
do("send_message", QueueUrl=q, MessageBody="grüße ✓ <&>\r\n\t]]>", MessageAttributes=attributes,
   MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}})
for request in ({}, {"MessageBody": ""}, {"MessageBody": "\0"}, {"MessageBody": "x", "DelaySeconds": 901},
                {"MessageBody": "x" * 1048577}, {"MessageBody": "x", "MessageDeduplicationId": "d"},
                *({"MessageBody": "x", "MessageAttributes": each} for each in (
                    {"a": {"DataType": "String"}}, {"a": {"StringValue": "x"}}, {"a": {"DataType": "X",
                     "StringValue": "x"}}, {"a": {"DataType": "String", "StringListValues": ["x"]}}))):
    do("send_message", QueueUrl=q, **request)
got = do("receive_message", QueueUrl=q, AttributeNames=["All"], MessageAttributeNames=["All"])["Messages"][0]
for request in ({}, {"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21}, {"AttributeNames": ["Nope"]},
                {"VisibilityTimeout": -1}, {"ReceiveRequestAttemptId": "r"}):
    do("receive_message", QueueUrl=q, **request)
for handle in (got["ReceiptHandle"], "x"):
    for seconds in (1, 43201):
        do("change_message_visibility", QueueUrl=q, ReceiptHandle=handle, VisibilityTimeout=seconds)
    do("delete_message", QueueUrl=q, ReceiptHandle=handle)
for _ in range(2):
    do("purge_queue", QueueUrl=q)
do("send_message_batch", QueueUrl=q, Entries=[
    {"Id": "a", "MessageBody": "1", "MessageAttributes": attributes}, {"Id": "b", "MessageBody": "\0"},
    {"Id": "c", "MessageBody": "3", "DelaySeconds": 900}, {"Id": "d", "MessageBody": "4", "DelaySeconds": 901}])
for entries in ([], [{"Id": "a", "MessageBody": "1"}] * 2, [{"Id": "a b", "MessageBody": "1"}], [{"MessageBody": "1"}],
                [{"Id": "a"}], [{"Id": str(n), "MessageBody": "1"} for n in range(11)],
                [{"Id": str(n), "MessageBody": "x" * 600000} for n in range(2)]):
    do("send_message_batch", QueueUrl=q, Entries=entries)
handle = do("receive_message", QueueUrl=q, MessageAttributeNames=["s", "b"], AttributeNames=["SenderId"])[
    "Messages"][0]["ReceiptHandle"]
for operation, more in (("change_message_visibility_batch", {"VisibilityTimeout": 10}), ("delete_message_batch", {})):
    do(operation, QueueUrl=q, Entries=[])
    do(operation, QueueUrl=q, Entries=[{"Id": "a", "ReceiptHandle": handle, **more},
                                       {"Id": "b", "ReceiptHandle": "x", **more}])
for body in ("one", "one", "two"):
    do("send_message", QueueUrl=f, MessageBody=body, MessageGroupId="g")
for request in ({}, {"MessageGroupId": "g", "DelaySeconds": 5}, {"MessageGroupId": "a b"}):
    do("send_message", QueueUrl=f, MessageBody="m", **request)
for _ in range(2):
    got = do("receive_message", QueueUrl=f, MaxNumberOfMessages=10, AttributeNames=["All"],
             ReceiveRequestAttemptId="r")["Messages"]
do("delete_message", QueueUrl=f, ReceiptHandle=got[0]["ReceiptHandle"])
do("send_message_batch", QueueUrl=f, Entries=[{"Id": "a", "MessageBody": "1"}])
for label, accounts, actions in (("l", ["111122223333"], ["SendMessage", "*"]), ("l", ["111122223333"], ["*"]),
                                 ("m", ["1"], ["*"]), ("m", ["111122223333"], ["Nope"])):
    do("add_permission", QueueUrl=q, Label=label, AWSAccountIds=accounts, Actions=actions)
for _ in range(2):
    do("get_queue_attributes", QueueUrl=q, AttributeNames=["Policy"])
    do("remove_permission", QueueUrl=q, Label="l")
do("start_message_move_task", SourceArn=dead, MaxNumberOfMessagesPerSecond=1)
for arn in (dead, f"arn:aws:sqs:us-east-1:{account}:q", "x"):
    do("list_message_move_tasks", SourceArn=arn)
    do("start_message_move_task", SourceArn=arn)
do("cancel_message_move_task", TaskHandle="x")
for url in (q, q, f, d, "http://x/y"):
    do("delete_queue", QueueUrl=url)
print(json.dumps(said))
"""


def transcript(python: Path | str, cloudlet: Cloudlet, account: str) -> list[Any]:
    done = subprocess.run([python, "-c", SCRIPT, account], env=cloudlet.environment, capture_output=True, text=True,
                          check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    said: list[Any] = json.loads(done.stdout)
    return said


def alike(came: Any) -> Any:
    """Without what the two protocols themselves say differently."""
    if isinstance(came, dict):  # XML has no lists without elements
        return {name: value for name, value in came.items() if value != []}
    return [came[0], came[1].replace(" for this wsdl version", ""), came[2]]


def test_the_query_protocol_says_what_json_says(cloudlet: Cloudlet, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    done = subprocess.run([tmp_path / "bin/pip", "install", "-q", OLD], capture_output=True, text=True, check=False,
                          timeout=600)
    if done.returncode:
        pytest.skip("an old SDK cannot be installed here")
    new = transcript(sys.executable, cloudlet, "111111111111")
    old = transcript(tmp_path / "bin/python", cloudlet, "222222222222")
    assert len(new) == len(old) > 100 and ("wsdl" in str(new), "wsdl" in str(old)) == (False, True)
    for expected, found in zip(new, old, strict=True):
        assert [*found[:2], alike(found[2])] == [*expected[:2], alike(expected[2])]
