"""STS as boto3 sees it: who calls, and sessions that may what they may and end when they end."""

import json
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from cloudlet.services.iam.mfa_devices import STEP_S, code_at
from tests.issuer import Issuer
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


def test_a_token_is_exchanged_in_a_request_that_nobody_signed(cloudlet: Cloudlet, tmp_path: Path) -> None:
    iam = cloudlet.client("iam")
    stranger = boto3.client("sts", endpoint_url=cloudlet.url, region_name="us-east-1",
                            config=Config(signature_version=UNSIGNED, proxies={}))
    with Issuer(tmp_path) as issuer:
        arn = iam.create_open_id_connect_provider(
            Url=issuer.url, ClientIDList=["app"], ThumbprintList=[issuer.thumbprint])["OpenIDConnectProviderArn"]
        role = iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=document(
            Principal={"Federated": arn}, Action="sts:AssumeRoleWithWebIdentity"))["Role"]["Arn"]
        now = int(time.time())
        token = issuer.keys[0].token({"iss": issuer.url, "sub": "me", "aud": "app", "iat": now, "exp": now + 60})
        answer = stranger.assume_role_with_web_identity(RoleArn=role, RoleSessionName="me", WebIdentityToken=token)
        assert cloudlet.client("sts", **session(answer)).get_caller_identity()["Arn"] == (
            "arn:aws:sts::000000000000:assumed-role/pipeline/me")
        with pytest.raises(ClientError, match="InvalidIdentityToken"):
            stranger.assume_role_with_web_identity(RoleArn=role, RoleSessionName="me", WebIdentityToken=token[:-4])
    with pytest.raises(ClientError, match="MissingAuthenticationToken"):
        stranger.get_caller_identity()


def test_a_session_with_an_mfa_device(cloudlet: Cloudlet) -> None:
    iam = cloudlet.client("iam")
    iam.create_user(UserName="with-device")
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]
    seed, now = device["Base32StringSeed"].decode(), int(time.time()) // STEP_S
    iam.enable_mfa_device(UserName="with-device", SerialNumber=device["SerialNumber"],
                          AuthenticationCode1=code_at(seed, now - 1), AuthenticationCode2=code_at(seed, now))
    assert [each["SerialNumber"] for each in iam.list_mfa_devices(UserName="with-device")["MFADevices"]] == [
        device["SerialNumber"]]
    iam.put_user_policy(UserName="with-device", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "ecs:*", "Resource": "*", "Condition": {
                "Bool": {"aws:MultiFactorAuthPresent": "true"}}},
            {"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"}]}))
    key = iam.create_access_key(UserName="with-device")["AccessKey"]
    own = {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    with pytest.raises(ClientError, match="AccessDenied"):
        cloudlet.client("ecs", **own).list_clusters()
    answer = cloudlet.client("sts", **own).get_session_token(SerialNumber=device["SerialNumber"],
                                                             TokenCode=code_at(seed, now + 1))
    assert cloudlet.client("ecs", **session(answer)).list_clusters()["clusterArns"] == []
    assert cloudlet.client("iam", **session(answer)).get_user()["User"]["UserName"] == "with-device"
    without = cloudlet.client("sts", **own).get_session_token()
    with pytest.raises(ClientError, match="InvalidClientTokenId"):  # as AWS has it
        cloudlet.client("iam", **session(without)).get_user()
