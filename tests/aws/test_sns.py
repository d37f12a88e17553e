"""SNS as boto3 and the aws CLI see it."""

import base64
import http.server
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.running import Cloudlet


def subscribed(cloudlet: Cloudlet, topic: str, name: str, **attributes: str) -> str:
    """A queue that the topic may send to; its URL."""
    sqs, fifo = cloudlet.client("sqs"), {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    url: str = sqs.create_queue(QueueName=name, Attributes=fifo)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    cloudlet.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes,
                                     ReturnSubscriptionArn=True)
    return url


def received(cloudlet: Cloudlet, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloudlet.client("sqs").receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get("Messages", [])
    return found


def test_a_message_reaches_its_subscribers_and_verifies(cloudlet: Cloudlet) -> None:
    sns = cloudlet.client("sns")
    topic = sns.create_topic(Name="news", Attributes={"SignatureVersion": "2"}, Tags=[{"Key": "a", "Value": "b"}])[
        "TopicArn"]
    whole, raw = subscribed(cloudlet, topic, "whole"), subscribed(cloudlet, topic, "raw", RawMessageDelivery="true")
    none = subscribed(cloudlet, topic, "none", FilterPolicy='{"kind": ["other"]}')
    attributes = {"kind": {"DataType": "String", "StringValue": "a"}, "b": {"DataType": "Binary", "BinaryValue": b"\1"}}
    sent = sns.publish(TopicArn=topic, Message="grüße ✓", Subject="Hi", MessageAttributes=attributes)
    (message,) = received(cloudlet, whole)
    content = json.loads(message["Body"])
    assert (content["MessageId"], content["Message"], content["TopicArn"]) == (sent["MessageId"], "grüße ✓", topic)
    with urllib.request.urlopen(content["SigningCertURL"]) as page:
        key = x509.load_pem_x509_certificate(page.read()).public_key()
    signed = "".join(f"{name}\n{content[name]}\n" for name in (
        "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"))
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(base64.b64decode(content["Signature"]), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    (message,) = received(cloudlet, raw)
    assert message["Body"] == "grüße ✓" and message["MessageAttributes"] == attributes
    assert received(cloudlet, none) == []
    batch = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[
        {"Id": "1", "Message": "x"}, {"Id": "2", "Message": "y"}])
    assert [each["Id"] for each in batch["Successful"]] == ["1", "2"]
    with pytest.raises(sns.exceptions.InvalidParameterException):
        sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[
            {"Id": "1", "Message": "x"}, {"Id": "2", "Message": "y", "Subject": "a\nb"}])
    with pytest.raises(ClientError, match=r"Value null at 'messageAttributes.a.member.dataType' failed to satisfy"):
        cloudlet.client("sns", validate=False).publish(TopicArn=topic, Message="x", MessageAttributes={
            "a": {"StringValue": "x"}})
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{cloudlet.url}/SimpleNotificationService-0.pem")
    with pytest.raises(sns.exceptions.NotFoundException):
        sns.publish(TopicArn=topic + "x", Message="x")
    with pytest.raises(sns.exceptions.InvalidParameterException):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="x")


def test_what_was_published_survives_a_kill(cloudlet: Cloudlet) -> None:
    sns = cloudlet.client("sns")
    topic = sns.create_topic(Name="k.fifo", Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "true"})[
        "TopicArn"]
    url = subscribed(cloudlet, topic, "k.fifo", RawMessageDelivery="true")
    for number in range(5):
        sns.publish(TopicArn=topic, Message=str(number), MessageGroupId="g")
    cloudlet.kill()
    cloudlet.start()
    sns = cloudlet.client("sns")
    sns.publish(TopicArn=topic, Message="3", MessageGroupId="g")  # a duplicate still
    assert [message["Body"] for message in received(cloudlet, url)] == [str(number) for number in range(5)]


def test_a_web_server_confirms_and_is_told(cloudlet: Cloudlet) -> None:
    got: queue.Queue[tuple[Any, dict[str, Any]]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        down = False

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self.down:
                got.put((self.headers, json.loads(body)))
            self.send_response(503 if self.down else 200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sns = cloudlet.client("sns")
        topic = sns.create_topic(Name="web")["TopicArn"]
        retries = {"healthyRetryPolicy": {"numRetries": 20, "minDelayTarget": 1, "maxDelayTarget": 1}}
        arn = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://localhost:{server.server_port}/in",
                            ReturnSubscriptionArn=True, Attributes={"DeliveryPolicy": json.dumps(retries)})[
            "SubscriptionArn"]
        headers, content = got.get(timeout=30)
        assert headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
        with urllib.request.urlopen(content["SubscribeURL"]) as page:
            assert arn in page.read().decode()
        Handler.down = True
        sns.publish(TopicArn=topic, Message="kept")
        cloudlet.kill()
        Handler.down = False
        cloudlet.start()
        headers, content = got.get(timeout=30)
        assert (content["Message"], headers["x-amz-sns-subscription-arn"]) == ("kept", arn)
        with urllib.request.urlopen(content["UnsubscribeURL"]):
            (line,) = cloudlet.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        assert line["SubscriptionArn"] == "Deleted"
        headers, content = got.get(timeout=30)
        assert headers["x-amz-sns-message-type"] == content["Type"] == "UnsubscribeConfirmation"
        nobody = boto3.client("sns", "us-east-1", endpoint_url=cloudlet.url, config=Config(
            signature_version=UNSIGNED, proxies={}))
        assert nobody.confirm_subscription(TopicArn=topic, Token=content["Token"])["SubscriptionArn"] == arn
        with pytest.raises(ClientError, match="MissingAuthenticationToken"):
            nobody.confirm_subscription(TopicArn=topic, Token=content["Token"], AuthenticateOnUnsubscribe="true")
        assert nobody.unsubscribe(SubscriptionArn=arn)["ResponseMetadata"]["HTTPStatusCode"] == 200
        with pytest.raises(ClientError):
            nobody.list_topics()
        server.shutdown()


def test_other_accounts_need_the_topics_leave(cloudlet: Cloudlet) -> None:
    sns, other = cloudlet.client("sns"), cloudlet.client("sns", key="222222222222")
    topic = sns.create_topic(Name="shared")["TopicArn"]
    with pytest.raises(other.exceptions.AuthorizationErrorException):
        other.publish(TopicArn=topic, Message="x")
    sns.add_permission(TopicArn=topic, Label="in", AWSAccountId=["222222222222"], ActionName=["Publish"])
    assert other.publish(TopicArn=topic, Message="x")["MessageId"]
    with pytest.raises(other.exceptions.AuthorizationErrorException):
        other.subscribe(TopicArn=topic, Protocol="sms", Endpoint="+4915112345")
    sns.publish(PhoneNumber="+4915112345", Message="ring")
    with urllib.request.urlopen(f"{cloudlet.url}/_cloudlet/mail") as page:
        assert json.load(page)["mail"][-1]["text"] == "ring"


def test_a_policy_says_who_may_subscribe_what(cloudlet: Cloudlet) -> None:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html"""
    sns, other = cloudlet.client("sns"), cloudlet.client("sns", key="222222222222")
    topic = sns.create_topic(Name="restricted")["TopicArn"]
    conditions = ({"StringEquals": {"sns:Protocol": "sqs"}}, {"StringLike": {"sns:Endpoint": "*@example.com"}})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps({
        "Version": "2012-10-17", "Statement": [{
            "Sid": str(number), "Effect": "Allow", "Principal": {"AWS": "222222222222"}, "Action": "SNS:Subscribe",
            "Resource": topic, "Condition": condition} for number, condition in enumerate(conditions)]}))
    for protocol, endpoint in (("sqs", "arn:aws:sqs:us-east-1:222222222222:q"), ("email", "you@example.com")):
        assert other.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)["SubscriptionArn"]
    for protocol, endpoint in (("sms", "+4915112345"), ("email", "you@example.org")):
        with pytest.raises(other.exceptions.AuthorizationErrorException):
            other.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint)


def test_deliveries_are_logged(cloudlet: Cloudlet) -> None:
    sns, iam, logs = cloudlet.client("sns"), cloudlet.client("iam"), cloudlet.client("logs")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                                                     "Principal": {"Service": "sns.amazonaws.com"}}]}
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}
    role = iam.create_role(RoleName="SNSSuccessFeedback", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="SNSSuccessFeedback", PolicyName="logs", PolicyDocument=json.dumps(may))
    topic = sns.create_topic(Name="logged", Attributes={
        "SQSSuccessFeedbackRoleArn": role, "SQSFailureFeedbackRoleArn": role, "SQSSuccessFeedbackSampleRate": "100"})[
        "TopicArn"]
    subscribed(cloudlet, topic, "logged")
    sent = sns.publish(TopicArn=topic, Message="x")
    group, deadline = f"sns/us-east-1/{topic.split(':')[4]}/logged", time.monotonic() + 30
    while not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (event,) = logs.filter_log_events(logGroupName=group)["events"]
    line = json.loads(event["message"])
    assert (line["status"], line["notification"]["messageId"]) == ("SUCCESS", sent["MessageId"])


def test_pages_and_the_cli(cloudlet: Cloudlet) -> None:
    sns = cloudlet.client("sns")
    made = {sns.create_topic(Name=f"page-{number}")["TopicArn"] for number in range(105)}
    pages = list(sns.get_paginator("list_topics").paginate())
    assert len(pages) > 1 and made <= {topic["TopicArn"] for page in pages for topic in page["Topics"]}

    def aws(*words: str) -> Any:
        out = cloudlet.aws("sns", *words).stdout
        return json.loads(out) if out.strip() else None
    topic = aws("create-topic", "--name", "cli")["TopicArn"]
    aws("set-topic-attributes", "--topic-arn", topic, "--attribute-name", "DisplayName", "--attribute-value", "Me")
    assert aws("get-topic-attributes", "--topic-arn", topic)["Attributes"]["DisplayName"] == "Me"
    assert aws("publish", "--topic-arn", topic, "--message", "hello")["MessageId"]
    aws("delete-topic", "--topic-arn", topic)
