"""The policy simulator says what requests are told."""

import json
from typing import Any

import pytest

from cloudlet.services.iam import iam
from cloudlet.services.iam.service import InvalidInput, NoSuchEntity
from tests.services.desk import ACCOUNT, Desk
from tests.services.iam.test_groups import READ_ONLY, document, user

BUCKET = "arn:aws:s3:::bucket"


def custom(desk: Desk, *documents: str, action: str = "s3:GetObject", **more: Any) -> dict[str, Any]:
    results = desk(iam, "SimulateCustomPolicy", PolicyInputList=list(documents), ActionNames=[action], **more)
    result: dict[str, Any] = results["EvaluationResults"][0]
    return result


def test_simulate_custom_policy(desk: Desk) -> None:
    allowed = custom(desk, document("s3:*"))
    assert allowed == {
        "EvalActionName": "s3:GetObject", "EvalResourceName": "*", "EvalDecision": "allowed",
        "MatchedStatements": [{"SourcePolicyId": "PolicyInputList.1", "SourcePolicyType": "none"}],
        "MissingContextValues": []}
    denied = custom(desk, document("s3:*"), document("s3:Get*", effect="Deny"))
    assert denied["EvalDecision"] == "explicitDeny"
    assert denied["MatchedStatements"] == [{"SourcePolicyId": "PolicyInputList.2", "SourcePolicyType": "none"}]
    assert custom(desk, document("sqs:*"))["EvalDecision"] == "implicitDeny"
    bounded = custom(desk, document("s3:*"), PermissionsBoundaryPolicyInputList=[document("sqs:*")])
    assert bounded["EvalDecision"] == "implicitDeny"
    assert bounded["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}


def test_context_that_is_given_and_that_is_missing(desk: Desk) -> None:
    text = document("s3:*", Condition={"StringEquals": {"aws:RequestTag/Team": "${aws:PrincipalTag/team}"}})
    missing = custom(desk, text)
    assert missing["EvalDecision"] == "implicitDeny"
    assert missing["MissingContextValues"] == ["aws:RequestTag/Team"]
    entries = [{"ContextKeyName": name, "ContextKeyValues": ["red"], "ContextKeyType": "string"}
               for name in ("aws:requesttag/team", "AWS:PrincipalTag/team")]
    assert custom(desk, text, ContextEntries=entries)["EvalDecision"] == "allowed"
    assert desk(iam, "GetContextKeysForCustomPolicy", PolicyInputList=[text])["ContextKeyNames"] == [
        "aws:PrincipalTag/team", "aws:RequestTag/Team"]


def test_a_resources_policy_counts_for_a_caller(desk: Desk) -> None:
    caller = f"arn:aws:iam::{ACCOUNT}:user/bob"
    own = json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"AWS": caller}, "Action": "s3:*", "Resource": "*"}})
    more = {"ResourceArns": [BUCKET], "ResourcePolicy": own}
    with pytest.raises(InvalidInput, match="CallerArn is required"):
        custom(desk, document("sqs:*"), **more)
    assert custom(desk, document("sqs:*"), CallerArn=caller, **more)["EvalDecision"] == "allowed"
    assert custom(desk, document("sqs:*"), CallerArn=caller, ResourceOwner="arn:aws:iam::210987654321:root", **more)[
        "EvalDecision"] == "implicitDeny"


def test_simulate_principal_policy(desk: Desk) -> None:
    bob = user(desk, PermissionsBoundary=READ_ONLY, Tags=[{"Key": "team", "Value": "red"}])
    desk(iam, "CreateGroup", GroupName="devs")
    desk(iam, "AddUserToGroup", GroupName="devs", UserName="bob")
    desk(iam, "PutGroupPolicy", GroupName="devs", PolicyName="p", PolicyDocument=document(
        "ecs:*", Condition={"StringEquals": {"aws:PrincipalTag/team": "red", "aws:username": "bob"}}))
    results = desk(iam, "SimulatePrincipalPolicy", PolicySourceArn=bob.arn,
                   ActionNames=["ecs:DescribeTasks", "ecs:RunTask"], ResourceArns=["*", "arn:aws:ecs:r:1:task/x"])
    said = [(each["EvalActionName"], each["EvalDecision"]) for each in results["EvaluationResults"]]
    assert said == [("ecs:DescribeTasks", "allowed")] * 2 + [("ecs:RunTask", "implicitDeny")] * 2
    for action, decision in said:
        assert (desk.refuses(bob, action, "*") is None) is (decision == "allowed")
    assert {"SourcePolicyId": "group_devs_p", "SourcePolicyType": "group"} in results["EvaluationResults"][0][
        "MatchedStatements"]
    assert desk(iam, "GetContextKeysForPrincipalPolicy", PolicySourceArn=bob.arn)["ContextKeyNames"] == [
        "aws:PrincipalTag/team", "aws:username"]
    with pytest.raises(NoSuchEntity):
        desk(iam, "SimulatePrincipalPolicy", PolicySourceArn=bob.arn + "2", ActionNames=["a:b"])


@pytest.mark.parametrize("more", [
    {"PolicyInputList": ["{"]}, {"ResourceHandlingOption": "EC2-VPC-InstanceStore"}, {"CallerArn": "nobody"},
    {"ResourcePolicy": "{}"}])
def test_scenarios_that_are_refused(desk: Desk, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        desk(iam, "SimulateCustomPolicy", **{"PolicyInputList": [document()], "ActionNames": ["s3:GetObject"], **more})
