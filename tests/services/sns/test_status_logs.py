"""Delivery status logs: what is written of attempts, by whose leave, and of how many."""

import asyncio
import hashlib
import json
from typing import Any

import pytest

from cloudlet.control.outcome import Done
from cloudlet.kernel.call import Principal
from cloudlet.kernel.errors import AwsError
from cloudlet.services import logs
from cloudlet.services.iam import iam
from cloudlet.services.sns import sns
from cloudlet.services.sns.status_logs import KIND, StatusLogs
from tests.services.desk import ACCOUNT
from tests.services.sns.newsroom import Newsroom, open_policy, queue_arn, topic_arn
from tests.services.sns.post import Post

GROUP = f"sns/us-east-1/{ACCOUNT}/t"
TRUST = {"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sts:AssumeRole"}}
LOGS = {"Version": "2012-10-17", "Statement": {  # as AWS's console makes it
    "Effect": "Allow", "Resource": "*", "Action": [
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:PutMetricFilter",
        "logs:PutRetentionPolicy"]}}


@pytest.fixture
def desk(room: Newsroom) -> Newsroom:
    """A topic with a queue, and a role that may write logs."""
    room.store.create_tables(logs.TABLES)
    room(iam, "CreateRole", RoleName="log", AssumeRolePolicyDocument=json.dumps(TRUST))
    room(iam, "PutRolePolicy", RoleName="log", PolicyName="p", PolicyDocument=json.dumps(LOGS))
    room.topic("t")
    room.subscribed("t", "q")
    return room


def wants(desk: Newsroom, **attributes: str) -> None:
    for name, value in attributes.items():
        desk.sns("SetTopicAttributes", TopicArn=topic_arn("t"), AttributeName=name,
                 AttributeValue=value.replace("role/", f"arn:aws:iam::{ACCOUNT}:role/"))


def written(desk: Newsroom, group: str = GROUP) -> list[dict[str, Any]]:
    """The lines of a group, once the loop has looked at its topic."""
    with desk.store.tx() as tx:
        asked = [str(key) for (key,) in tx.execute("select key from work where kind=?", (KIND,)).fetchall()]
    for key in asked:
        assert asyncio.run(StatusLogs(desk.store).write(key)) == Done()
    there = desk(logs.logs, "DescribeLogGroups", logGroupNamePrefix=group)["logGroups"]
    if group not in [each["logGroupName"] for each in there]:
        return []
    found = desk(logs.logs, "FilterLogEvents", logGroupName=group)["events"]
    return [json.loads(event["message"]) for event in found]


def test_queues(desk: Newsroom) -> None:
    wants(desk, SQSSuccessFeedbackRoleArn="role/log", SQSFailureFeedbackRoleArn="role/log")
    sent = desk.publish("t", "grüße")
    assert written(desk, GROUP + "/Failure") == []
    (line,) = written(desk)
    (message,) = desk.receive("q")
    assert line["notification"] == {
        "messageMD5Sum": hashlib.md5("grüße".encode()).hexdigest(), "messageId": sent["MessageId"],
        "topicArn": topic_arn("t"), "timestamp": "2023-11-14 22:13:20.000"}
    assert json.loads(line["delivery"].pop("providerResponse")) == {
        "sqsRequestId": "request", "sqsMessageId": message["MessageId"]}
    assert len(line["delivery"].pop("deliveryId")) == 36
    assert line["delivery"] == {"destination": queue_arn("q"), "dwellTimeMs": 0, "attempts": 1, "statusCode": 200}
    assert line["status"] == "SUCCESS"
    desk.at("q", "SetQueueAttributes", Attributes={"Policy": ""})
    desk.publish("t", "denied")
    (line,) = written(desk, GROUP + "/Failure")
    assert (line["status"], line["delivery"]["statusCode"]) == ("FAILURE", 403) and len(written(desk)) == 1
    response = json.loads(line["delivery"]["providerResponse"])
    assert (response["ErrorCode"], response["sqsRequestId"]) == ("AccessDenied", "Unrecoverable")
    desk.sns("DeleteTopic", TopicArn=topic_arn("t"))
    assert len(written(desk)) == 1


def test_web_servers_each_attempt(desk: Newsroom) -> None:
    wants(desk, HTTPSuccessFeedbackRoleArn="role/log", HTTPFailureFeedbackRoleArn="role/log")
    post, dead = Post(desk), queue_arn("dead")
    desk.queue("dead", Policy=open_policy(dead, topic_arn("t")))
    redrive = json.dumps({"deadLetterTargetArn": dead})
    post.subscribed(RedrivePolicy=redrive)
    (line,) = written(desk)  # the confirmation
    assert "messageMD5Sum" not in line["notification"] and line["status"] == "SUCCESS"
    post.server("http://localhost:9/hook", 503, 0, 200, 404)
    desk.publish("t", "m")
    post.during()
    post.later(20)
    post.later(20)
    first, second = written(desk, GROUP + "/Failure")
    assert [first["delivery"][name] for name in ("attempts", "statusCode", "dwellTimeMs")] == [1, 503, 0]
    assert [second["delivery"][name] for name in ("attempts", "statusCode", "dwellTimeMs")] == [2, 0, 20_000]
    assert first["notification"] == second["notification"] and first["delivery"]["redrivePolicy"] == redrive
    assert first["notification"]["messageMD5Sum"] == hashlib.md5(b"m").hexdigest()
    assert first["delivery"]["deliveryId"] != second["delivery"]["deliveryId"]
    third = written(desk)[1]["delivery"]
    assert (third["attempts"], third["statusCode"], third["destination"]) == (3, 200, "http://localhost:9/hook")


def test_samples(desk: Newsroom) -> None:
    wants(desk, SQSSuccessFeedbackRoleArn="role/log", SQSSuccessFeedbackSampleRate="0")
    for number in range(40):
        desk.publish("t", str(number))
    assert written(desk) == []
    wants(desk, SQSSuccessFeedbackSampleRate="50")
    for number in range(200):
        desk.publish("t", str(number))
    assert 50 < len(written(desk)) < 150
    shown = desk.sns("GetTopicAttributes", TopicArn=topic_arn("t"))["Attributes"]
    assert (shown["SQSSuccessFeedbackSampleRate"], shown["SQSSuccessFeedbackRoleArn"]) == (
        "50", f"arn:aws:iam::{ACCOUNT}:role/log")
    wants(desk, SQSSuccessFeedbackRoleArn="", SQSSuccessFeedbackSampleRate="")
    before = len(written(desk))
    desk.publish("t", "x")
    assert len(written(desk)) == before
    assert "SQSSuccessFeedbackRoleArn" not in desk.sns("GetTopicAttributes", TopicArn=topic_arn("t"))["Attributes"]
    for rate in ("101", "-1", "x", "1.5"):
        assert "percentage" in desk.wrong("SetTopicAttributes", TopicArn=topic_arn("t"),
                                          AttributeName="HTTPSuccessFeedbackSampleRate", AttributeValue=rate)


def test_a_role_that_may_not_write_loses_lines_and_no_message(desk: Newsroom) -> None:
    wants(desk, SQSSuccessFeedbackRoleArn="role/log")
    desk(iam, "DeleteRolePolicy", RoleName="log", PolicyName="p")
    desk.publish("t", "lost")
    assert written(desk) == [] and len(desk.bodies("q")) == 1
    only = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}}
    desk(iam, "PutRolePolicy", RoleName="log", PolicyName="p", PolicyDocument=json.dumps(only))
    desk.publish("t", "lost too")  # nobody may make the group
    assert written(desk) == []
    desk(iam, "PutRolePolicy", RoleName="log", PolicyName="p", PolicyDocument=json.dumps(LOGS))
    desk.publish("t", "kept")
    desk(iam, "UpdateAssumeRolePolicy", RoleName="log", PolicyDocument=json.dumps(TRUST).replace("sns.", "ecs."))
    assert written(desk) == []
    desk(iam, "UpdateAssumeRolePolicy", RoleName="log", PolicyDocument=json.dumps(TRUST))
    desk.publish("t", "kept")
    assert len(written(desk)) == 1
    desk(iam, "PutRolePolicy", RoleName="log", PolicyName="p", PolicyDocument=json.dumps(only))
    desk.publish("t", "kept")  # the group is there
    assert len(written(desk)) == 2


def test_roles_that_are_refused(desk: Newsroom) -> None:
    name = "LambdaFailureFeedbackRoleArn"
    missing = f"arn:aws:iam::{ACCOUNT}:role/missing"
    asked = {"TopicArn": topic_arn("t"), "AttributeName": name}
    assert "does not exist" in desk.wrong("SetTopicAttributes", **asked, AttributeValue=missing)
    assert "does not exist" in desk.wrong("CreateTopic", Name="u", Attributes={name: missing})
    user = desk(iam, "CreateUser", UserName="u")["User"]
    may = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sns:*", "Resource": "*"}}
    desk(iam, "PutUserPolicy", UserName="u", PolicyName="p", PolicyDocument=json.dumps(may))
    principal = Principal("user", ACCOUNT, user["Arn"], user["UserId"])
    with pytest.raises(AwsError, match="iam:PassRole"):
        desk(sns, "SetTopicAttributes", principal, **asked, AttributeValue=f"arn:aws:iam::{ACCOUNT}:role/log")
    desk(sns, "SetTopicAttributes", principal, **asked, AttributeValue="")  # takes nothing
