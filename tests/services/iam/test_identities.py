"""Whose an access key is, and what its owner may do now."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.kernel.names import Installation
from cloudlet.kernel.site import Site
from cloudlet.services.iam import iam, identities
from tests.services.desk import ACCOUNT, Desk, root

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def policy(action: str, resource: str = "*", effect: str = "Allow") -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": {"Effect": effect, "Action": action,
                                                              "Resource": resource}})


def user(desk: Desk, name: str = "bob", **more: Any) -> tuple[str, Principal]:
    """A user with a key: the key's id, and who has it."""
    desk(iam, "CreateUser", UserName=name, **more)
    key = desk(iam, "CreateAccessKey", UserName=name)["AccessKey"]["AccessKeyId"]
    principal = desk.principal(key)
    assert principal is not None
    return key, principal


@pytest.mark.parametrize(("key", "account"), [("test", "000000000000"), (ACCOUNT, ACCOUNT)])
def test_a_development_key_is_root_of_its_account(desk: Desk, key: str, account: str) -> None:
    with desk.store.tx() as tx:
        credential = desk.identities.credential(tx, key)
    assert credential is not None
    assert credential.secret == "test"
    assert credential.principal == root(account)


@pytest.mark.parametrize("key", ["", "tests", "12345678901", "1234567890123", "١" * 12, "AKIAIOSFODNN7EXAMPLE",
                                 "ASIAIOSFODNN7EXAMPLE"])
def test_nobody_has_another_key(desk: Desk, key: str) -> None:
    assert desk.principal(key) is None


@pytest.mark.parametrize("key", ["test", ACCOUNT])
def test_the_development_keys_can_be_switched_off(desk: Desk, tmp_path: Path, key: str) -> None:
    closed = identities(Site(Installation("abcdef"), tmp_path, development_key=False))
    with desk.store.tx() as tx:
        assert closed.credential(tx, key) is None


def test_root_may_do_everything(desk: Desk) -> None:
    assert desk.refuses(root(), "ecs:RunTask", "*") is None


def test_a_user_is_who_it_is_until_its_key_or_itself_is_gone(desk: Desk) -> None:
    key, principal = user(desk, Path="/team/")
    assert (principal.kind, principal.account) == ("user", ACCOUNT)
    assert principal.arn == principal.policy_arn == f"arn:aws:iam::{ACCOUNT}:user/team/bob"
    assert principal.user_id == desk(iam, "GetUser", UserName="bob")["User"]["UserId"]
    desk(iam, "UpdateAccessKey", UserName="bob", AccessKeyId=key, Status="Inactive")
    assert desk.principal(key) is None
    desk(iam, "UpdateAccessKey", UserName="bob", AccessKeyId=key, Status="Active")
    desk(iam, "UpdateUser", UserName="bob", NewUserName="rob", NewPath="/")
    renamed = desk.principal(key)
    assert renamed is not None
    assert renamed.arn == f"arn:aws:iam::{ACCOUNT}:user/rob"
    desk(iam, "DeleteAccessKey", UserName="rob", AccessKeyId=key)
    assert desk.principal(key) is None


def test_whoever_is_not_allowed_is_refused_in_awss_words(desk: Desk) -> None:
    _, bob = user(desk)
    refused = desk.refuses(bob, "ecs:RunTask", "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1")
    assert refused is not None
    assert refused.message == (
        "User: arn:aws:iam::123456789012:user/bob is not authorized to perform: ecs:RunTask on resource: "
        "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1 because no identity-based policy allows the "
        "ecs:RunTask action")


def test_policies_count_from_the_next_request(desk: Desk) -> None:
    _, bob = user(desk)
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=policy("ecs:*"))
    assert desk.refuses(bob, "ecs:RunTask", "*") is None
    assert desk.refuses(bob, "ec2:RunInstances", "*") is not None
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=policy("ec2:*"))
    assert desk.refuses(bob, "ecs:RunTask", "*") is not None
    assert desk.refuses(bob, "ec2:RunInstances", "*") is None
    desk(iam, "DeleteUserPolicy", UserName="bob", PolicyName="p")
    assert desk.refuses(bob, "ec2:RunInstances", "*") is not None


def test_managed_policies_count_as_their_default_version_stands(desk: Desk) -> None:
    _, bob = user(desk)
    desk(iam, "AttachUserPolicy", UserName="bob", PolicyArn=READ_ONLY)
    assert desk.refuses(bob, "ecs:DescribeTasks", "*") is None
    assert desk.refuses(bob, "ecs:RunTask", "*") is not None
    arn = desk(iam, "CreatePolicy", PolicyName="run", PolicyDocument=policy("ecs:RunTask"))["Policy"]["Arn"]
    desk(iam, "AttachUserPolicy", UserName="bob", PolicyArn=arn)
    assert desk.refuses(bob, "ecs:RunTask", "*") is None
    desk(iam, "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=policy("ecs:StopTask"), SetAsDefault=True)
    assert desk.refuses(bob, "ecs:RunTask", "*") is not None
    desk(iam, "SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v1")
    assert desk.refuses(bob, "ecs:RunTask", "*") is None
    desk(iam, "DetachUserPolicy", UserName="bob", PolicyArn=arn)
    assert desk.refuses(bob, "ecs:RunTask", "*") is not None


def test_a_deny_wins_and_says_so(desk: Desk) -> None:
    _, bob = user(desk)
    desk(iam, "AttachUserPolicy", UserName="bob", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="no", PolicyDocument=policy("ecs:*", effect="Deny"))
    refused = desk.refuses(bob, "ecs:RunTask", "*")
    assert refused is not None
    assert refused.message.endswith("on resource: * with an explicit deny in an identity-based policy")
    assert desk.refuses(bob, "ec2:RunInstances", "*") is None


def test_every_resource_must_be_allowed_and_none_means_all(desk: Desk) -> None:
    _, bob = user(desk)
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=policy("sqs:*", "arn:aws:sqs:*:*:a*"))
    assert desk.refuses(bob, "sqs:SendMessage", "arn:aws:sqs:r:1:a", "arn:aws:sqs:r:1:ab") is None
    refused = desk.refuses(bob, "sqs:SendMessage", "arn:aws:sqs:r:1:a", "arn:aws:sqs:r:1:b")
    assert refused is not None
    assert "on resource: arn:aws:sqs:r:1:b " in refused.message
    assert desk.refuses(bob, "sqs:ListQueues") is not None


def test_paths_of_users_and_roles_count_though_requests_leave_them_out(desk: Desk) -> None:
    _, bob = user(desk)
    desk(iam, "CreateUser", UserName="boss", Path="/admin/")
    desk(iam, "AttachUserPolicy", UserName="bob", PolicyArn="arn:aws:iam::aws:policy/IAMFullAccess")
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="no",
         PolicyDocument=policy("iam:*", f"arn:aws:iam::{ACCOUNT}:user/admin/*", "Deny"))
    operation = iam.operations["DeleteUser"]
    assert operation.resources is not None
    for name, refused in (("boss", True), ("bob", False)):
        resources = tuple(operation.resources(desk.call(bob), {"UserName": name}))
        assert (desk.refuses(bob, operation.action, *resources) is not None) is refused


def test_a_deleted_user_may_nothing(desk: Desk) -> None:
    key, bob = user(desk)
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=policy("*"))
    desk(iam, "DeleteUserPolicy", UserName="bob", PolicyName="p")
    desk(iam, "DeleteAccessKey", UserName="bob", AccessKeyId=key)
    desk(iam, "DeleteUser", UserName="bob")
    assert desk.refuses(bob, "ecs:RunTask", "*") is not None


def test_nobody_reaches_into_another_account_and_root_no_further_than_others(desk: Desk) -> None:
    _, bob = user(desk)
    desk(iam, "AttachUserPolicy", UserName="bob", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    foreign = "arn:aws:ecs:us-east-1:210987654321:cluster/x"
    for principal in (bob, root()):
        assert desk.refuses(principal, "ecs:RunTask", foreign.replace("210987654321", ACCOUNT)) is None
        assert desk.refuses(principal, "iam:AttachRolePolicy", "arn:aws:iam::aws:policy/AdministratorAccess") is None
        assert desk.refuses(principal, "s3:GetObject", "arn:aws:s3:::bucket/key") is None
        refused = desk.refuses(principal, "ecs:RunTask", foreign)
        assert refused is not None
        assert refused.message == (f"User: {principal.arn} is not authorized to perform: ecs:RunTask on resource: "
                                   f"{foreign} because no resource-based policy allows the ecs:RunTask action")
