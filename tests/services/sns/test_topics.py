"""Topics, their attributes, tags and permissions."""

import asyncio
import json

import pytest

from cloudlet.control.outcome import Done
from cloudlet.services.sns import sns, topics
from tests.services.desk import ACCOUNT, root
from tests.services.sns.newsroom import Newsroom, topic_arn


def test_a_topic_is_made_once(room: Newsroom) -> None:
    tags = [{"Key": "a", "Value": "1"}]
    arn = room.sns("CreateTopic", Name="news", Attributes={"DisplayName": "News"}, Tags=tags)["TopicArn"]
    assert arn == topic_arn("news")
    assert room.sns("CreateTopic", Name="news") == {"TopicArn": arn}
    assert room.sns("CreateTopic", Name="news", Attributes={"DisplayName": "News"}, Tags=tags) == {"TopicArn": arn}
    assert "different attributes" in room.wrong("CreateTopic", Name="news", Attributes={"DisplayName": "x"})
    assert "different tags" in room.wrong("CreateTopic", Name="news", Tags=[])
    room.topic("other")
    assert room.sns("ListTopics") == {"Topics": [{"TopicArn": topic_arn("news")}, {"TopicArn": topic_arn("other")}]}
    assert room(sns, "ListTopics", root("210987654321")) == {"Topics": []}
    room.sns("DeleteTopic", TopicArn=arn)
    room.sns("DeleteTopic", TopicArn=arn)
    assert room.wrong("GetTopicAttributes", TopicArn=arn) == "NotFound: Topic does not exist"


def test_many_subscriptions_go_little_by_little(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "AT_ONCE", 2)
    ending = topics.Ending(room.store)

    def crowd() -> str:
        arn = room.topic("crowd")
        for number in range(5):
            room.subscribed("crowd", f"q{number}")
        return arn

    def left() -> int:
        return len(room.sns("ListSubscriptions")["Subscriptions"])
    arn, key = crowd(), f"{ACCOUNT}/us-east-1/crowd"
    room.sns("DeleteTopic", TopicArn=arn)
    assert left() == 3 and room.wrong("Publish", TopicArn=arn, Message="x") == "NotFound: Topic does not exist"
    assert asyncio.run(ending.reconcile(key)) != Done() and left() == 1
    assert asyncio.run(ending.reconcile(key)) == Done() and left() == 0
    crowd()
    room.sns("DeleteTopic", TopicArn=arn)
    room.topic("crowd")
    assert left() == 0
    room.subscribed("crowd", "q0")
    assert asyncio.run(ending.reconcile(key)) == Done() and left() == 1


@pytest.mark.parametrize(("name", "attributes", "says"), [
    ("a b", {}, "Topic Name"), ("a" * 257, {}, "Topic Name"), ("x.fifo", {}, "Topic Name"),
    ("x", {"FifoTopic": "true"}, "must end with .fifo"), ("x", {"Nonsense": "1"}, "Unknown attribute"),
    ("x", {"ContentBasedDeduplication": "true"}, "only FIFO"), ("x", {"SignatureVersion": "3"}, "Invalid value"),
    ("x", {"MaximumMessageSize": "1023"}, "MaximumMessageSize"), ("x", {"DisplayName": "a\nb"}, "DisplayName"),
    ("x", {"TracingConfig": "Active"}, "X-Ray"), ("x", {"ArchivePolicy": "{}"}, "only FIFO"),
    ("x", {"SQSSuccessFeedbackRoleArn": "arn:x"}, "ARN of a role"), ("x", {"Policy": "{"}, "Policy failed to parse"),
    ("x.fifo", {"FifoTopic": "true", "FifoThroughputScope": "all"}, "Invalid value"),
])
def test_what_is_refused(room: Newsroom, name: str, attributes: dict[str, str], says: str) -> None:
    found = room.wrong("CreateTopic", Name=name, Attributes=attributes)
    assert found.startswith("InvalidParameter: Invalid parameter: ") and says in found
    assert room.sns("ListTopics") == {"Topics": []}


def test_attributes(room: Newsroom) -> None:
    arn = room.topic("t")
    found = room.sns("GetTopicAttributes", TopicArn=arn)["Attributes"]
    policy = json.loads(found["Policy"])
    assert policy["Statement"][0]["Condition"] == {"StringEquals": {"AWS:SourceOwner": ACCOUNT}}
    assert found["Owner"] == ACCOUNT and found["SubscriptionsConfirmed"] == "0" and "FifoTopic" not in found
    assert json.loads(found["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 3

    def put(name: str, value: str) -> None:
        room.sns("SetTopicAttributes", TopicArn=arn, AttributeName=name, AttributeValue=value)
    put("DisplayName", "Ü")
    put("SignatureVersion", "2")
    put("MaximumMessageSize", "1048576")
    put("DeliveryPolicy", '{"http": {"defaultHealthyRetryPolicy": {"numRetries": 7}}}')
    found = room.sns("GetTopicAttributes", TopicArn=arn)["Attributes"]
    assert (found["DisplayName"], found["SignatureVersion"], found["MaximumMessageSize"]) == ("Ü", "2", "1048576")
    assert json.loads(found["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 7
    put("DisplayName", "")
    assert room.sns("GetTopicAttributes", TopicArn=arn)["Attributes"]["DisplayName"] == ""
    for name, value in (("FifoTopic", "true"), ("Nonsense", ""), ("Nonsense", "x")):
        assert room.wrong("SetTopicAttributes", TopicArn=arn, AttributeName=name, AttributeValue=value) == (
            "InvalidParameter: Invalid parameter: AttributeName")
    for bad in ("x", "[]", '{"tcp": {}}', '{"http": {"defaultHealthyRetryPolicy": {"numRetries": 101}}}',
                '{"http": {"defaultHealthyRetryPolicy": {"minDelayTarget": 30, "maxDelayTarget": 20}}}',
                '{"http": {"defaultHealthyRetryPolicy": {"numNoDelayRetries": 9}}}',
                '{"http": {"defaultThrottlePolicy": {"maxReceivesPerSecond": 0}}}',
                '{"http": {"defaultHealthyRetryPolicy": {"backoffFunction": "cubic"}}}'):
        assert "DeliveryPolicy" in room.wrong("SetTopicAttributes", TopicArn=arn, AttributeName="DeliveryPolicy",
                                              AttributeValue=bad)
    fifo = room.sns("GetTopicAttributes", TopicArn=room.topic("f.fifo"))["Attributes"]
    assert (fifo["FifoTopic"], fifo["ContentBasedDeduplication"]) == ("true", "false")


@pytest.mark.parametrize(("action", "good"), [
    ("SNS:Publish", True), ("sns:publish", True), ("sns:*", True), ("*", True), ("sns:List*", True),
    ("SNS:Receive", True), ("sns:CreateTopic", False), ("sns:TagResource", False), ("sqs:SendMessage", False)])
def test_actions_of_policies(room: Newsroom, action: str, good: bool) -> None:
    """https://github.com/hashicorp/terraform/issues/12740"""
    arn = room.topic("t")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["SNS:Subscribe", action], "Resource": arn}]})
    request = {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": policy}
    if good:
        room.sns("SetTopicAttributes", **request)
    else:
        assert room.wrong("SetTopicAttributes", **request) == (
            "InvalidParameter: Invalid parameter: Policy statement action out of service scope!")


def test_how_much_a_policy_may_have(room: Newsroom) -> None:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-language-api-permissions-reference.html"""
    arn = room.topic("t")

    def policy(count: int, name: str) -> dict[str, str]:
        return {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": json.dumps({
            "Version": "2012-10-17", "Statement": [{
                "Sid": f"{name}{number}", "Effect": "Allow", "Principal": "*", "Action": "sns:Publish", "Resource": arn}
                for number in range(count)]})}
    room.sns("SetTopicAttributes", **policy(100, "s"))
    for request in (policy(101, "s"), policy(100, "s" * 256)):
        assert "Policy Error" in room.wrong("SetTopicAttributes", **request)


def test_permissions(room: Newsroom) -> None:
    arn = room.topic("t")
    room.sns("AddPermission", TopicArn=arn, Label="in", AWSAccountId=["210987654321"], ActionName=["Publish"])
    policy = json.loads(room.sns("GetTopicAttributes", TopicArn=arn)["Attributes"]["Policy"])
    assert policy["Statement"][1] == {
        "Sid": "in", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::210987654321:root"},
        "Action": "SNS:Publish", "Resource": arn}
    assert "already exists" in room.wrong("AddPermission", TopicArn=arn, Label="in", AWSAccountId=["210987654321"],
                                          ActionName=["Publish"])
    assert "out of service scope" in room.wrong("AddPermission", TopicArn=arn, Label="x",
                                                AWSAccountId=["210987654321"], ActionName=["CreateTopic"])
    assert "AWSAccountId" in room.wrong("AddPermission", TopicArn=arn, Label="x", AWSAccountId=["me"],
                                        ActionName=["Publish"])
    room.sns("RemovePermission", TopicArn=arn, Label="in")
    room.sns("RemovePermission", TopicArn=arn, Label="in")
    assert len(json.loads(room.sns("GetTopicAttributes", TopicArn=arn)["Attributes"]["Policy"])["Statement"]) == 1
    foreign = json.dumps({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                                        "Resource": arn}})
    assert "out of service scope" in room.wrong("SetTopicAttributes", TopicArn=arn, AttributeName="Policy",
                                                AttributeValue=foreign)


def test_tags(room: Newsroom) -> None:
    arn = room.topic("t")
    room.sns("TagResource", ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    room.sns("UntagResource", ResourceArn=arn, TagKeys=["a", "none"])
    assert room.sns("ListTagsForResource", ResourceArn=arn) == {"Tags": [{"Key": "b", "Value": ""}]}
    many = [{"Key": str(n), "Value": ""} for n in range(50)]
    assert room.wrong("TagResource", ResourceArn=arn, Tags=many).startswith("TagLimitExceeded")
    twice = [{"Key": "x", "Value": "1"}, {"Key": "x", "Value": "2"}]
    assert "Duplicated keys" in room.wrong("TagResource", ResourceArn=arn, Tags=twice)
    assert room.wrong("ListTagsForResource", ResourceArn=topic_arn("none")) == (
        "ResourceNotFound: Resource does not exist")


@pytest.mark.parametrize("arn", ["x", "arn:aws:sqs:us-east-1:123456789012:t", "arn:aws:sns:eu-west-1:123456789012:t"])
def test_arns_that_name_no_topic(room: Newsroom, arn: str) -> None:
    assert "Invalid parameter: TopicArn" in room.wrong("GetTopicAttributes", TopicArn=arn)
