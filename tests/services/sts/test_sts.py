"""Who is calling, and who may become whom."""

import json
import re
from typing import Any

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.kernel.errors import AwsError
from cloudlet.services.iam import iam
from cloudlet.services.sts import role_credentials, sts
from cloudlet.services.sts.service import (
    AccessDenied,
    InvalidParameterValue,
    MalformedPolicyDocument,
    PackedPolicyTooLarge,
    ValidationError,
)
from tests.services.desk import ACCOUNT, Desk, root

OTHER = "210987654321"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
ASSUME = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def role(desk: Desk, principal: Any, name: str = "app", **more: Any) -> str:
    desk(iam, "CreateRole", RoleName=name, AssumeRolePolicyDocument=document(
        {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}), **more)
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def user(desk: Desk, *statements: dict[str, Any], account: str = ACCOUNT, name: str = "bob") -> Principal:
    desk(iam, "CreateUser", root(account), UserName=name)
    if statements:
        desk(iam, "PutUserPolicy", root(account), UserName=name, PolicyName="p", PolicyDocument=document(*statements))
    key = desk(iam, "CreateAccessKey", root(account), UserName=name)["AccessKey"]["AccessKeyId"]
    principal = desk.principal(key)
    assert principal is not None
    return principal


def assume(desk: Desk, principal: Principal | None = None, arn: str = ROLE, **more: Any) -> Any:
    return desk(sts, "AssumeRole", principal, **{"RoleArn": arn, "RoleSessionName": "me", **more})


def test_get_caller_identity(desk: Desk) -> None:
    assert desk(sts, "GetCallerIdentity") == {"UserId": ACCOUNT, "Account": ACCOUNT,
                                              "Arn": f"arn:aws:iam::{ACCOUNT}:root"}
    bob = user(desk)
    assert desk(sts, "GetCallerIdentity", bob) == {"UserId": bob.user_id, "Account": ACCOUNT,
                                                   "Arn": f"arn:aws:iam::{ACCOUNT}:user/bob"}
    assert desk.refuses(bob, "sts:GetCallerIdentity", "*") is None


def test_assume_role_answers_credentials_that_work(desk: Desk) -> None:
    role(desk, {"AWS": ACCOUNT})
    answer = assume(desk)
    credentials, who = answer["Credentials"], answer["AssumedRoleUser"]
    assert re.fullmatch("ASIA[A-Z2-7]{16}", credentials["AccessKeyId"])
    assert len(credentials["SecretAccessKey"]) == 40
    assert len(credentials["SessionToken"]) > 100
    assert credentials["Expiration"] == desk.clock.now() + 3600
    assert re.fullmatch("AROA[A-Z2-7]{17}:me", who["AssumedRoleId"])
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/app/me"
    principal = desk.principal(credentials["AccessKeyId"])
    assert desk(sts, "GetCallerIdentity", principal) == {"UserId": who["AssumedRoleId"], "Account": ACCOUNT,
                                                         "Arn": who["Arn"]}


def denied(desk: Desk, principal: Principal | None = None, arn: str = ROLE) -> bool:
    who = (principal or root()).arn
    try:
        assume(desk, principal, arn)
    except AccessDenied as error:
        return error.message == f"User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}"
    return False


def test_a_role_that_is_not_there_or_trusts_somebody_else(desk: Desk) -> None:
    assert denied(desk)
    role(desk, {"Service": "ecs-tasks.amazonaws.com"})
    assert denied(desk)
    assert denied(desk, arn="nonsense, not an arn")


def test_within_an_account_a_trust_policy_that_names_the_caller_is_enough(desk: Desk) -> None:
    bob, eve = user(desk), user(desk, name="eve")
    role(desk, {"AWS": bob.arn})
    assert not denied(desk, bob)
    assert denied(desk, eve)


def test_where_the_trust_policy_names_the_account_the_callers_own_policy_counts(desk: Desk) -> None:
    bob, eve = user(desk, ASSUME), user(desk, {**ASSUME, "Resource": ROLE + "2"}, name="eve")
    role(desk, {"AWS": ACCOUNT})
    assert not denied(desk, bob)
    assert denied(desk, eve)


def test_an_explicit_deny_of_the_callers_own_policy_wins(desk: Desk) -> None:
    bob = user(desk, {**ASSUME, "Effect": "Deny"})
    role(desk, {"AWS": bob.arn})
    assert denied(desk, bob)


def test_across_accounts_both_must_allow(desk: Desk) -> None:
    stranger, friend = user(desk, account=OTHER), user(desk, ASSUME, account=OTHER, name="friend")
    role(desk, {"AWS": stranger.arn})
    role(desk, {"AWS": OTHER}, "open")
    assert denied(desk, stranger)
    assert denied(desk, friend)
    opened = ROLE.replace("app", "open")
    assert denied(desk, stranger, opened)
    assert not denied(desk, friend, opened)
    assert not denied(desk, root(OTHER), opened)
    assert denied(desk, root(OTHER))


def test_a_role_may_assume_another_for_an_hour(desk: Desk) -> None:
    first = role(desk, {"AWS": ACCOUNT}, "first", MaxSessionDuration=7200)
    role(desk, {"AWS": first}, MaxSessionDuration=7200)
    wide = desk.principal(assume(desk, arn=first)["Credentials"]["AccessKeyId"])
    narrow = desk.principal(assume(desk, arn=first, Policy=document({**ASSUME, "Action": "s3:*"}))["Credentials"]
                            ["AccessKeyId"])
    assert not denied(desk, wide)
    assert denied(desk, narrow)
    with pytest.raises(ValidationError, match="1 hour session limit for roles assumed by role chaining"):
        assume(desk, wide, DurationSeconds=3601)


@pytest.mark.parametrize("seconds", [899, 7201])
def test_durations_that_cannot_be(desk: Desk, seconds: int) -> None:
    role(desk, {"AWS": ACCOUNT}, MaxSessionDuration=7200)
    with pytest.raises(ValidationError):
        assume(desk, DurationSeconds=seconds)
    assert assume(desk, DurationSeconds=7200)["Credentials"]["Expiration"] == desk.clock.now() + 7200


@pytest.mark.parametrize(("more", "error"), [
    ({"RoleSessionName": "a b"}, ValidationError), ({"RoleSessionName": "a"}, ValidationError),
    ({"Policy": "{"}, MalformedPolicyDocument), ({"Policy": document(ASSUME) + " " * 2048}, PackedPolicyTooLarge),
    ({"PolicyArns": [{"arn": f"arn:aws:iam::{ACCOUNT}:policy/ghost"}]}, MalformedPolicyDocument),
    ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}] * 11}, ValidationError),
    ({"Tags": [{"Key": "a", "Value": "b"}]}, AccessDenied), ({"SourceIdentity": "bob"}, AccessDenied),
    ({"Tags": [{"Key": "a", "Value": "b"}, {"Key": "A", "Value": "b"}]}, InvalidParameterValue),
    ({"Tags": [{"Key": "aws:x", "Value": "b"}]}, InvalidParameterValue),
    ({"TransitiveTagKeys": ["a"]}, InvalidParameterValue), ({"SourceIdentity": "a b"}, ValidationError),
    ({"SerialNumber": "x" * 9, "TokenCode": "123456"}, AccessDenied), ({"TokenCode": "123456"}, AccessDenied)])
def test_requests_that_are_refused(desk: Desk, more: dict[str, Any], error: type[AwsError]) -> None:
    role(desk, {"AWS": ACCOUNT})
    with pytest.raises(error):
        assume(desk, **more)


def test_an_external_id_is_taken_where_nothing_asks_for_it(desk: Desk) -> None:
    role(desk, {"AWS": ACCOUNT})
    assert assume(desk, ExternalId="x", PolicyArns=[{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}])


def test_get_access_key_info_reads_the_account_from_the_id(desk: Desk) -> None:
    role(desk, {"AWS": ACCOUNT})
    key = assume(desk)["Credentials"]["AccessKeyId"]
    assert desk(sts, "GetAccessKeyInfo", root(OTHER), AccessKeyId=key) == {"Account": ACCOUNT}
    with pytest.raises(ValidationError):
        desk(sts, "GetAccessKeyInfo", AccessKeyId="AKIAIOSFODNN7EXAMPLE")


def test_role_credentials_are_for_tasks_whose_role_trusts_ecs(desk: Desk) -> None:
    trusted = role(desk, {"Service": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"]}, "task")
    other = role(desk, {"Service": "ec2.amazonaws.com"}, "instance")
    everybody = role(desk, {"AWS": "*"}, "everybody")
    with desk.store.tx() as tx:
        credentials = role_credentials(tx, trusted, "0123456789abcdef", 21600)
        for arn in (other, everybody, trusted + "2"):
            with pytest.raises(AccessDenied, match=f"ECS was unable to assume the role '{arn}'"):
                role_credentials(tx, arn, "x1", 21600)
    assert credentials.expires == desk.clock.now() + 21600
    principal = desk.principal(credentials.access_key_id)
    assert principal is not None
    assert principal.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/task/0123456789abcdef"


def tagging_role(desk: Desk, name: str, principal: Any) -> str:
    desk(iam, "CreateRole", RoleName=name, AssumeRolePolicyDocument=document(
        {"Effect": "Allow", "Principal": principal,
         "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]}))
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def test_session_tags_are_what_conditions_see_and_go_on_where_they_are_transitive(desk: Desk) -> None:
    first, second = (tagging_role(desk, name, {"AWS": ACCOUNT}) for name in ("first", "second"))
    for name in ("first", "second"):
        desk(iam, "PutRolePolicy", RoleName=name, PolicyName="p", PolicyDocument=document(
            {**ASSUME, "Action": "sts:*"},
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::${aws:PrincipalTag/team}/*"},
            {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*",
             "Condition": {"StringEquals": {"aws:PrincipalTag/stage": "dev", "aws:SourceIdentity": "bob"}}}))
    answer = assume(desk, arn=first, SourceIdentity="bob", TransitiveTagKeys=["Team"],
                    Tags=[{"Key": "Team", "Value": "red"}, {"Key": "stage", "Value": "dev"}])
    assert answer["SourceIdentity"] == "bob"
    session = desk.principal(answer["Credentials"]["AccessKeyId"])
    assert session is not None
    assert desk.refuses(session, "s3:GetObject", "arn:aws:s3:::red/x") is None
    assert desk.refuses(session, "s3:GetObject", "arn:aws:s3:::blue/x") is not None
    assert desk.refuses(session, "s3:PutObject", "*") is None
    chained = desk.principal(assume(desk, session, second)["Credentials"]["AccessKeyId"])
    assert chained is not None
    assert desk.refuses(chained, "s3:GetObject", "arn:aws:s3:::red/x") is None
    assert desk.refuses(chained, "s3:PutObject", "*") is not None  # stage was not passed on
    with pytest.raises(InvalidParameterValue, match="conflicts with a transitive tag key"):
        assume(desk, session, second, Tags=[{"Key": "TEAM", "Value": "blue"}])
    with pytest.raises(ValidationError, match="SourceIdentity cannot be changed"):
        assume(desk, session, second, SourceIdentity="eve")


def test_a_trust_policy_with_conditions(desk: Desk) -> None:
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=document(
        {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "sts:AssumeRole",
         "Condition": {"StringEquals": {"sts:ExternalId": "secret"}, "StringLike": {"sts:RoleSessionName": "m*"}}}))
    eve = user(desk, ASSUME, account=OTHER, name="eve")
    with pytest.raises(AccessDenied):
        assume(desk, eve)
    with pytest.raises(AccessDenied):
        assume(desk, eve, ExternalId="secret", RoleSessionName="eve")
    assert assume(desk, eve, ExternalId="secret")["AssumedRoleUser"]["Arn"].endswith("/app/me")


def test_a_task_role_whose_trust_policy_asks_whom_the_task_is_for(desk: Desk) -> None:
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=document(
        {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole",
         "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:*"},
                       "StringEquals": {"aws:SourceAccount": ACCOUNT}}}))
    with desk.store.tx() as tx:
        assert role_credentials(tx, ROLE, "task", 900, f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/c/1").token
        with pytest.raises(AccessDenied):
            role_credentials(tx, ROLE, "task", 900, f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task/c/1")


def test_get_session_token(desk: Desk) -> None:
    bob = user(desk, {"Effect": "Allow", "Action": ["ecs:*", "iam:*", "sts:*"], "Resource": "*"})
    credentials = desk(sts, "GetSessionToken", bob)["Credentials"]
    assert credentials["Expiration"] == desk.clock.now() + 43200
    session = desk.principal(credentials["AccessKeyId"])
    assert session is not None
    assert desk(sts, "GetCallerIdentity", session)["Arn"] == bob.arn
    assert desk.refuses(session, "ecs:RunTask", "*") is None
    assert desk.refuses(session, "s3:GetObject", "*") is not None
    assert desk.refuses(session, "iam:GetUser", "*") is not None  # not without a device
    assert desk.refuses(session, "sts:GetFederationToken", "*") is not None
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=document(
        {"Effect": "Allow", "Action": "*", "Resource": "*",
         "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}))
    assert desk.refuses(session, "ecs:RunTask", "*") is not None  # a permission that was taken away a second ago
    with pytest.raises(AccessDenied, match="Cannot call GetSessionToken with session credentials"):
        desk(sts, "GetSessionToken", session)
    assert desk(sts, "GetSessionToken", root(), DurationSeconds=7200)["Credentials"][
        "Expiration"] == desk.clock.now() + 3600
    for seconds in (899, 129601):
        with pytest.raises(ValidationError):
            desk(sts, "GetSessionToken", bob, DurationSeconds=seconds)


def test_get_federation_token(desk: Desk) -> None:
    bob = user(desk, {"Effect": "Allow", "Action": ["s3:*", "ecs:*"], "Resource": "*"})
    policy = document({"Effect": "Allow", "Action": ["s3:Get*", "sqs:*"], "Resource": "*",
                       "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red"}}})
    answer = desk(sts, "GetFederationToken", bob, Name="guest", Policy=policy, Tags=[{"Key": "team", "Value": "red"}])
    assert answer["FederatedUser"] == {"Arn": f"arn:aws:sts::{ACCOUNT}:federated-user/guest",
                                       "FederatedUserId": f"{ACCOUNT}:guest"}
    guest = desk.principal(answer["Credentials"]["AccessKeyId"])
    assert guest is not None
    assert desk(sts, "GetCallerIdentity", guest)["Arn"] == answer["FederatedUser"]["Arn"]
    assert desk.refuses(guest, "s3:GetObject", "*") is None
    for action in ("s3:PutObject", "sqs:SendMessage", "iam:GetUser"):
        assert desk.refuses(guest, action, "*") is not None
    bare = desk.principal(desk(sts, "GetFederationToken", bob, Name="guest")["Credentials"]["AccessKeyId"])
    assert bare is not None
    assert desk.refuses(bare, "s3:GetObject", "*") is not None
    with pytest.raises(ValidationError):
        desk(sts, "GetFederationToken", bob, Name="a b")
    with pytest.raises(AccessDenied):
        desk(sts, "GetFederationToken", guest, Name="guest")
    everything = document({"Effect": "Allow", "Action": "*", "Resource": "*"})
    answer = desk(sts, "GetFederationToken", root(), Name="free", Policy=everything)
    free = desk.principal(answer["Credentials"]["AccessKeyId"])
    assert free is not None
    role(desk, {"AWS": "*"})
    assume(desk, bob)
    with pytest.raises(AccessDenied, match="not authorized to perform: sts:AssumeRole"):
        assume(desk, free)
    credentials = desk(sts, "GetFederationToken", root(), Name="xy", Policy=policy)["Credentials"]
    of_root = desk.principal(credentials["AccessKeyId"])
    assert of_root is not None
    assert desk.refuses(of_root, "ecs:RunTask", "*") is not None
