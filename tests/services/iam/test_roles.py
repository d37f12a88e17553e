"""Roles and what is told of them."""

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest

from cloudlet.services.iam import iam
from cloudlet.services.iam.service import (
    AccessDenied,
    DeleteConflict,
    EntityAlreadyExists,
    InvalidInput,
    LimitExceeded,
    MalformedPolicyDocument,
    NoSuchEntity,
    ValidationError,
)
from tests.services.desk import ACCOUNT, Desk


def trust(principal: Any = None, **more: Any) -> str:
    principal = principal or {"Service": "ecs-tasks.amazonaws.com"}
    return json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": principal,
                                                              "Action": "sts:AssumeRole", **more}})


def test_create_role_answers_what_get_role_answers(desk: Desk) -> None:
    made = desk(iam, "CreateRole", RoleName="app", Path="/ecs/", AssumeRolePolicyDocument=trust(), Description="d",
                MaxSessionDuration=7200, Tags=[{"Key": "a", "Value": "b"}])["Role"]
    assert desk(iam, "GetRole", RoleName="app")["Role"] == {**made, "RoleLastUsed": {}}
    assert re.fullmatch("AROA[A-Z2-7]{17}", made.pop("RoleId"))
    assert unquote(made.pop("AssumeRolePolicyDocument")) == trust()
    assert made == {"RoleName": "app", "Path": "/ecs/", "Arn": f"arn:aws:iam::{ACCOUNT}:role/ecs/app",
                    "CreateDate": desk.clock.now(), "Description": "d", "MaxSessionDuration": 7200,
                    "Tags": [{"Key": "a", "Value": "b"}]}


def test_a_role_is_made_once(desk: Desk) -> None:
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=trust())
    with pytest.raises(EntityAlreadyExists, match="Role with name App already exists"):
        desk(iam, "CreateRole", RoleName="App", AssumeRolePolicyDocument=trust())


@pytest.mark.parametrize("operation", [
    "GetRole", "DeleteRole", "ListRoleTags", "ListRolePolicies", "ListAttachedRolePolicies",
    "ListInstanceProfilesForRole"])
def test_what_is_not_there(desk: Desk, operation: str) -> None:
    with pytest.raises(NoSuchEntity, match=r"The role with name ghost cannot be found\."):
        desk(iam, operation, RoleName="ghost")


@pytest.mark.parametrize(("request_", "error"), [
    ({"RoleName": "a b"}, ValidationError), ({"Path": "x"}, ValidationError),
    ({"MaxSessionDuration": 3599}, ValidationError), ({"MaxSessionDuration": 43201}, ValidationError),
    ({"PermissionsBoundary": "arn:aws:iam::aws:policy/Ghost"}, NoSuchEntity),
    ({"PermissionsBoundary": "arn:aws:s3:::bucket-of-mine"}, InvalidInput),
    ({"Path": "/aws-service-role/ecs.amazonaws.com/"}, AccessDenied),
    ({"AssumeRolePolicyDocument": "{"}, MalformedPolicyDocument),
    ({"AssumeRolePolicyDocument": "{\u4e2d}"}, ValidationError),
    ({"AssumeRolePolicyDocument": trust(Sid="x" * 2048)}, LimitExceeded),
    ({"AssumeRolePolicyDocument": trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/ghost"})}, MalformedPolicyDocument),
    ({"AssumeRolePolicyDocument": trust({"AWS": f"arn:aws:iam::{ACCOUNT}:group/x"})}, MalformedPolicyDocument),
    ({"AssumeRolePolicyDocument": trust({"AWS": "bob"})}, MalformedPolicyDocument),
    ({"AssumeRolePolicyDocument": trust({"Service": "ecs-tasks"})}, MalformedPolicyDocument)])
def test_roles_that_cannot_be(desk: Desk, request_: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        desk(iam, "CreateRole", **{"RoleName": "app", "AssumeRolePolicyDocument": trust(), **request_})


def test_a_trust_policy_may_name_what_is_there(desk: Desk) -> None:
    desk(iam, "CreateUser", UserName="bob", Path="/x/")
    desk(iam, "CreateRole", RoleName="one", AssumeRolePolicyDocument=trust())
    for number, principal in enumerate([
            "*", ACCOUNT, "arn:aws:iam::210987654321:root", f"arn:aws:iam::{ACCOUNT}:user/x/bob",
            f"arn:aws:iam::{ACCOUNT}:role/one", f"arn:aws:sts::{ACCOUNT}:assumed-role/one/session"]):
        desk(iam, "CreateRole", RoleName=f"role{number}", AssumeRolePolicyDocument=trust({"AWS": principal}))


def test_list_roles_by_path(desk: Desk) -> None:
    desk(iam, "CreateRole", RoleName="b", Path="/x/", AssumeRolePolicyDocument=trust(), Tags=[{"Key": "k",
                                                                                              "Value": "v"}])
    desk(iam, "CreateRole", RoleName="a", AssumeRolePolicyDocument=trust())
    assert [role["RoleName"] for role in desk(iam, "ListRoles")["Roles"]] == ["a", "b"]
    listed = desk(iam, "ListRoles", PathPrefix="/x/")["Roles"]
    assert [role["RoleName"] for role in listed] == ["b"]
    assert "Tags" not in listed[0]


def test_update_role_and_its_description_and_its_trust(desk: Desk) -> None:
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=trust(), Description="old")
    desk(iam, "UpdateRole", RoleName="app", MaxSessionDuration=43200)
    role = desk(iam, "GetRole", RoleName="app")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("old", 43200)
    desk(iam, "UpdateRole", RoleName="app", Description="")
    assert "Description" not in desk(iam, "GetRole", RoleName="app")["Role"]
    assert desk(iam, "UpdateRoleDescription", RoleName="app", Description="new")["Role"]["Description"] == "new"
    wider = trust({"AWS": ACCOUNT})
    desk(iam, "UpdateAssumeRolePolicy", RoleName="app", PolicyDocument=wider)
    assert unquote(desk(iam, "GetRole", RoleName="app")["Role"]["AssumeRolePolicyDocument"]) == wider
    with pytest.raises(MalformedPolicyDocument):
        desk(iam, "UpdateAssumeRolePolicy", RoleName="app", PolicyDocument="[]")


def test_delete_role_refuses_while_it_has_policies(desk: Desk) -> None:
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=trust())
    desk(iam, "AttachRolePolicy", RoleName="app", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    with pytest.raises(DeleteConflict, match="must detach all policies first"):
        desk(iam, "DeleteRole", RoleName="app")
    desk(iam, "DetachRolePolicy", RoleName="app", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    desk(iam, "DeleteRole", RoleName="app")
    with pytest.raises(NoSuchEntity):
        desk(iam, "GetRole", RoleName="app")


def test_tag_role_and_untag_role(desk: Desk) -> None:
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=trust())
    desk(iam, "TagRole", RoleName="app", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    desk(iam, "UntagRole", RoleName="app", TagKeys=["a"])
    assert desk(iam, "ListRoleTags", RoleName="app")["Tags"] == [{"Key": "b", "Value": "2"}]
