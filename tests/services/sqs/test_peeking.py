"""The page that shows a queue's messages and leaves them as they are."""

import asyncio
import dataclasses
import json
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from lxml import etree
from msgspec.structs import replace

from cloudlet.admin import Admin
from cloudlet.kernel.http import Body, Chunks, Request
from cloudlet.services.sqs.peeking import PATH, page
from tests.services.desk import ACCOUNT
from tests.services.sqs.clerk import Clerk


async def sent(body: bytes) -> Chunks:
    yield body


def look(clerk: Clerk, path: str = PATH, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None,
         **asked: str) -> tuple[int, Any]:
    """The status, and the answer as JSON unless another form is accepted."""
    request = Request(method, path, urlencode(asked), {"accept": "application/json", **(headers or {})},
                      Body(sent(body)))
    response = asyncio.run(page(clerk.store, request))
    assert isinstance(response.body, bytes)
    return response.status, (json.loads(response.body) if "json" in response.headers["content-type"]
                             else response.body.decode())


def seen(clerk: Clerk, **asked: str) -> list[tuple[str, str, str, str]]:
    """Body, count of receives, and whether visible and delayed."""
    status, answer = look(clerk, **asked)
    found = (answer["ReceiveMessageResponse"]["ReceiveMessageResult"] or {}).get("Message", [])
    assert status == 200
    return [(message["Body"], *(next(pair["Value"] for pair in message["Attribute"] if pair["Name"] == name)
                                for name in ("ApproximateReceiveCount", "IsVisible", "IsDelayed")))
            for message in (found if isinstance(found, list) else [found])]


def test_a_look_changes_nothing(clerk: Clerk) -> None:
    url = clerk.queue("q")
    assert seen(clerk, QueueUrl=url) == []
    for body in ("one", "two"):
        clerk.send("q", body, MessageAttributes={"a": {"DataType": "Binary", "BinaryValue": b"\1"}})
    for _ in range(2):
        assert seen(clerk, QueueUrl=url) == [("one", "0", "true", "false"), ("two", "0", "true", "false")]
    assert clerk.counts("q") == (2, 0, 0)
    assert clerk.bodies("q", 1, VisibilityTimeout=0) == ["one"]
    assert {row[:2] for row in seen(clerk, QueueUrl=url)} == {("one", "1"), ("two", "0")}
    (first, _) = look(clerk, QueueUrl=url)[1]["ReceiveMessageResponse"]["ReceiveMessageResult"]["Message"]
    assert "ReceiptHandle" not in first and first["MessageAttribute"] == {
        "Name": "a", "Value": {"DataType": "Binary", "BinaryValue": "AQ=="}}


def test_those_in_flight_and_delayed(clerk: Clerk) -> None:
    url = clerk.queue("q")
    for body in ("one", "two"):
        clerk.send("q", body)
    clerk.send("q", "late", DelaySeconds=10)
    clerk.receive("q", 1)
    assert [row[0] for row in seen(clerk, QueueUrl=url, ShowInvisible="False")] == ["two"]
    assert seen(clerk, QueueUrl=url, ShowInvisible="true", ShowDelayed="True") == [
        ("one", "1", "false", "false"), ("two", "0", "true", "false"), ("late", "0", "true", "true")]
    assert [row[0] for row in seen(clerk, QueueUrl=url, ShowDelayed="true")] == ["two", "late"]


def test_groups(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", ContentBasedDeduplication="true")
    clerk.queue("fair")
    for name in ("q.fifo", "fair"):
        for group, body in (("a", "a1"), ("a", "a2"), ("b", "b1")):
            clerk.send(name, body, MessageGroupId=group)
    assert [row[0] for row in seen(clerk, QueueUrl=clerk.url("fair"))] == ["a1", "a2", "b1"]
    clerk.receive("q.fifo", 1)
    assert [row[0] for row in seen(clerk, QueueUrl=clerk.url("q.fifo"))] == ["b1"]  # the others wait for their first
    assert [row[0] for row in seen(clerk, QueueUrl=clerk.url("q.fifo"), ShowInvisible="true")] == ["a1", "a2", "b1"]


def test_the_path_may_name_the_queue(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.send("q", "x")
    assert look(clerk, f"{PATH}/us-east-1/{ACCOUNT}/q")[0] == 200
    for url in (f"http://localhost:4566/queue/us-east-1/{ACCOUNT}/q", f"http://sqs.us-east-1.localhost/{ACCOUNT}/q"):
        assert [row[0] for row in seen(clerk, QueueUrl=url)] == ["x"]
    for path, url in ((f"{PATH}/us-east-2/{ACCOUNT}/q", ""), (PATH, ""), (PATH, f"http://x/{ACCOUNT}/none"),
                      (PATH, f"http://eu-west-1.queue.localhost/{ACCOUNT}/q")):
        status, answer = look(clerk, path, QueueUrl=url)
        assert (status, answer["ErrorResponse"]["Error"]["Code"]) == (400, "AWS.SimpleQueueService.NonExistentQueue")
    status, answer = look(clerk, QueueUrl="http://localhost:4566/nonsense")
    assert (status, answer["ErrorResponse"]["Error"]["Code"]) == (404, "InvalidAddress")


def test_xml_and_sdks(clerk: Clerk) -> None:
    url = clerk.queue("q")
    clerk.send("q", "<a> & \r", MessageAttributes={"k": {"DataType": "String", "StringValue": "v"}})
    status, text = look(clerk, headers={"accept": "*/*"}, QueueUrl=url)
    root, spaces = etree.fromstring(text.encode()), {"n": "http://queue.amazonaws.com/doc/2012-11-05/"}
    assert root.findtext("n:ReceiveMessageResult/n:Message/n:Body", namespaces=spaces) == "<a> & \r"
    form = urlencode({"Action": "ReceiveMessage", "QueueUrl": url, "MaxNumberOfMessages": "1"}).encode()
    assert look(clerk, method="POST", body=form)[0] == 200
    target, body = {"x-amz-target": "AmazonSQS.ReceiveMessage"}, json.dumps({"QueueUrl": url}).encode()
    status, answer = look(clerk, method="POST", body=body, headers=target)
    assert (status, answer["Messages"][0]["Body"]) == (200, "<a> & \r")
    assert answer["Messages"][0]["MessageAttributes"] == {"k": {"DataType": "String", "StringValue": "v"}}


@pytest.mark.parametrize(("source", "origin", "key", "status"), [
    ("127.0.0.1", "", True, 200), ("10.0.0.9", "", True, 403), ("127.0.0.1", "http://evil", True, 403),
    ("127.0.0.1", "http://localhost:4566", True, 200), ("127.0.0.1", "", False, 403)])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_may_look(clerk: Clerk, method: str, source: str, origin: str, key: bool, status: int) -> None:
    url = clerk.queue("q")
    site = dataclasses.replace(clerk.site, development_key=key)
    admin = Admin(clerk.store, site, 1, (), {}, lambda: None, peek=partial(page, clerk.store))
    headers = {"host": "localhost:4566"} | ({"origin": origin} if origin else {})
    request = Request(method, PATH, urlencode({"QueueUrl": url}), headers, Body(sent(b"")), source)
    answer = asyncio.run(admin.handle(request))
    assert answer is not None and answer.status == status
    assert asyncio.run(admin.handle(replace(request, path="/_aws/sqs/other"))) is None
    answer = asyncio.run(admin.handle(replace(request, method="DELETE")))
    assert answer is not None and answer.status == 405


@pytest.mark.parametrize(("body", "target"), [
    (b"Action=SendMessage&MessageBody=x", ""), (b"{}", "AmazonSQS.SendMessage"), (b"[]", "AmazonSQS.ReceiveMessage"),
    (b"{", "AmazonSQS.ReceiveMessage"), (b"\xff", ""), (b"x" * 70_000, "")])
def test_other_operations_are_refused(clerk: Clerk, body: bytes, target: str) -> None:
    clerk.queue("q")
    status, answer = look(clerk, method="POST", body=body, headers={"x-amz-target": target} if target else {})
    code = answer["__type"] if target else answer["ErrorResponse"]["Error"]["Code"]
    assert (status, code) == (400, "InvalidRequest") and clerk.counts("q") == (0, 0, 0)
