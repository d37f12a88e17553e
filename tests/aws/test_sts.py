"""STS as boto3 sees it: who calls, and sessions that may what they may and end when they end."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.running import Cloudlet


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def session(answer: Any) -> dict[str, str]:
    credentials = answer["Credentials"]
    return {"key": credentials["AccessKeyId"], "secret": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"]}


@pytest.fixture(scope="module")
def role(cloudlet: Cloudlet) -> str:
    """A role that its account may assume, and that may describe log groups."""
    iam = cloudlet.client("iam")
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=document(
        Principal={"AWS": "000000000000"}, Action="sts:AssumeRole"))
    iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=document(
        Action=["logs:Describe*", "iam:List*"], Resource="*"))
    arn: str = iam.get_role(RoleName="reader")["Role"]["Arn"]
    return arn


def test_get_caller_identity(cloudlet: Cloudlet) -> None:
    answer = cloudlet.client("sts").get_caller_identity()
    assert (answer["Account"], answer["UserId"], answer["Arn"]) == (
        "000000000000", "000000000000", "arn:aws:iam::000000000000:root")
    assert cloudlet.client("sts", key="123456789012").get_caller_identity()["Account"] == "123456789012"


def test_a_session_acts_as_its_role(cloudlet: Cloudlet, role: str) -> None:
    answer = cloudlet.client("sts").assume_role(RoleArn=role, RoleSessionName="me")
    mine = session(answer)
    who = cloudlet.client("sts", **mine).get_caller_identity()
    assert who["Arn"] == answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::000000000000:assumed-role/reader/me"
    assert who["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]
    cloudlet.client("logs", **mine).describe_log_groups()
    with pytest.raises(ClientError, match="because no identity-based policy allows the logs:CreateLogGroup action"):
        cloudlet.client("logs", **mine).create_log_group(logGroupName="x")


def test_a_session_policy_narrows(cloudlet: Cloudlet, role: str) -> None:
    answer = cloudlet.client("sts").assume_role(RoleArn=role, RoleSessionName="me", Policy=document(
        Action="iam:*", Resource="*"))
    mine = session(answer)
    assert answer["PackedPolicySize"] > 0
    cloudlet.client("iam", **mine).list_users()
    with pytest.raises(ClientError, match="because no session policy allows the logs:DescribeLogGroups action"):
        cloudlet.client("logs", **mine).describe_log_groups()
    with pytest.raises(ClientError, match="because no identity-based policy allows the iam:CreateUser action"):
        cloudlet.client("iam", **mine).create_user(UserName="x")


@pytest.mark.parametrize("change", [{"token": None}, {"token": "x" * 100}, {"secret": "x" * 40}])
def test_a_session_without_its_token_or_secret_is_nobody(cloudlet: Cloudlet, role: str, change: dict[str, Any]) -> None:
    mine = session(cloudlet.client("sts").assume_role(RoleArn=role, RoleSessionName="me"))
    with pytest.raises(ClientError) as refused:
        cloudlet.client("sts", **{**mine, **change}).get_caller_identity()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_one_account_cannot_become_anothers_role(cloudlet: Cloudlet, role: str) -> None:
    with pytest.raises(ClientError) as refused:
        cloudlet.client("sts", key="123456789012").assume_role(RoleArn=role, RoleSessionName="me")
    assert refused.value.response["Error"] == {
        "Type": "Sender", "Code": "AccessDenied",
        "Message": "User: arn:aws:iam::123456789012:root is not authorized to perform: sts:AssumeRole on resource: "
                   + role}


def test_sessions_survive_a_crash_of_the_control_plane(cloudlet: Cloudlet, role: str) -> None:
    mine = session(cloudlet.client("sts").assume_role(RoleArn=role, RoleSessionName="me"))
    cloudlet.kill()
    cloudlet.start()
    assert cloudlet.client("sts", **mine).get_caller_identity()["Arn"].endswith(":assumed-role/reader/me")


@pytest.mark.parametrize("request_", [
    {"RoleArn": "x" * 20, "RoleSessionName": "a b"}, {"DurationSeconds": 900, "RoleArn": "x" * 20},
    {"DurationSeconds": 99999}, {"Policy": "{"}, {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/None"}]}])
def test_bad_input_is_the_customers_fault(cloudlet: Cloudlet, role: str, request_: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as refused:
        cloudlet.client("sts").assume_role(**{"RoleArn": role, "RoleSessionName": "me", **request_})
    assert 400 <= refused.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
