"""Groups: their users and policies, and what those give."""

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.services.iam import iam
from cloudlet.services.iam.service import DeleteConflict, EntityAlreadyExists, LimitExceeded, NoSuchEntity
from tests.services.desk import ACCOUNT, Desk

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def document(action: str = "s3:*", effect: str = "Allow", **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17",
                       "Statement": [{"Effect": effect, "Action": action, "Resource": "*", **more}]})


def user(desk: Desk, name: str = "bob", **more: Any) -> Principal:
    desk(iam, "CreateUser", UserName=name, **more)
    key = desk(iam, "CreateAccessKey", UserName=name)["AccessKey"]["AccessKeyId"]
    principal = desk.principal(key)
    assert principal is not None
    return principal


def test_create_get_list_update_and_delete_group(desk: Desk) -> None:
    made = desk(iam, "CreateGroup", GroupName="devs", Path="/team/")["Group"]
    assert desk(iam, "GetGroup", GroupName="devs") == {"Group": made, "Users": []}
    assert desk(iam, "ListGroups", PathPrefix="/team/")["Groups"] == [made]
    assert desk(iam, "ListGroups", PathPrefix="/other/")["Groups"] == []
    assert re.fullmatch("AGPA[A-Z2-7]{17}", made.pop("GroupId"))
    assert made == {"GroupName": "devs", "Path": "/team/", "Arn": f"arn:aws:iam::{ACCOUNT}:group/team/devs",
                    "CreateDate": desk.clock.now()}
    with pytest.raises(EntityAlreadyExists, match="Group with name DEVS already exists"):
        desk(iam, "CreateGroup", GroupName="DEVS")
    desk(iam, "DeleteGroup", GroupName="devs")
    for operation in ("GetGroup", "DeleteGroup", "ListGroupPolicies", "ListAttachedGroupPolicies", "UpdateGroup"):
        with pytest.raises(NoSuchEntity, match=r"The group with name devs cannot be found\."):
            desk(iam, operation, GroupName="devs")


# AddUserToGroup RemoveUserFromGroup ListGroupsForUser
def test_users_come_and_go(desk: Desk) -> None:
    for name in ("a", "b"):
        desk(iam, "CreateGroup", GroupName=name)
    user(desk)
    for _ in range(2):
        desk(iam, "AddUserToGroup", GroupName="b", UserName="bob")
    desk(iam, "AddUserToGroup", GroupName="a", UserName="bob")
    assert [group["GroupName"] for group in desk(iam, "ListGroupsForUser", UserName="bob")["Groups"]] == ["a", "b"]
    assert [one["UserName"] for one in desk(iam, "GetGroup", GroupName="a")["Users"]] == ["bob"]
    with pytest.raises(DeleteConflict, match="must remove users from group first"):
        desk(iam, "DeleteGroup", GroupName="a")
    desk(iam, "UpdateGroup", GroupName="a", NewGroupName="c", NewPath="/x/")
    assert [group["Arn"] for group in desk(iam, "ListGroupsForUser", UserName="bob")["Groups"]] == [
        f"arn:aws:iam::{ACCOUNT}:group/b", f"arn:aws:iam::{ACCOUNT}:group/x/c"]
    for name in ("b", "c", "c"):
        desk(iam, "RemoveUserFromGroup", GroupName=name, UserName="bob")
    assert desk(iam, "ListGroupsForUser", UserName="bob")["Groups"] == []


def test_a_user_is_in_ten_groups_at_most(desk: Desk) -> None:
    user(desk)
    for number in range(10):
        desk(iam, "CreateGroup", GroupName=f"g{number}")
        desk(iam, "AddUserToGroup", GroupName=f"g{number}", UserName="bob")
    desk(iam, "CreateGroup", GroupName="more")
    with pytest.raises(LimitExceeded, match="Cannot exceed quota for GroupsPerUser: 10"):
        desk(iam, "AddUserToGroup", GroupName="more", UserName="bob")


# PutGroupPolicy GetGroupPolicy ListGroupPolicies DeleteGroupPolicy AttachGroupPolicy DetachGroupPolicy
def test_a_groups_policies_count_for_its_users(desk: Desk) -> None:
    bob = user(desk)
    desk(iam, "CreateGroup", GroupName="devs")
    desk(iam, "PutGroupPolicy", GroupName="devs", PolicyName="p", PolicyDocument=document("ecs:*"))
    assert desk.refuses(bob, "ecs:RunTask", "*") is not None
    desk(iam, "AddUserToGroup", GroupName="devs", UserName="bob")
    assert desk.refuses(bob, "ecs:RunTask", "*") is None
    found = desk(iam, "GetGroupPolicy", GroupName="devs", PolicyName="p")
    assert unquote(found["PolicyDocument"]) == document("ecs:*")
    assert desk(iam, "ListGroupPolicies", GroupName="devs")["PolicyNames"] == ["p"]
    with pytest.raises(DeleteConflict):
        desk(iam, "DeleteUser", UserName="bob")
    desk(iam, "DeleteGroupPolicy", GroupName="devs", PolicyName="p")
    assert desk.refuses(bob, "ecs:RunTask", "*") is not None
    desk(iam, "AttachGroupPolicy", GroupName="devs", PolicyArn=READ_ONLY)
    assert desk.refuses(bob, "ecs:DescribeTasks", "*") is None
    assert desk(iam, "ListAttachedGroupPolicies", GroupName="devs")["AttachedPolicies"][0]["PolicyArn"] == READ_ONLY
    entities = desk(iam, "ListEntitiesForPolicy", PolicyArn=READ_ONLY)
    assert [group["GroupName"] for group in entities["PolicyGroups"]] == ["devs"]
    desk(iam, "DetachGroupPolicy", GroupName="devs", PolicyArn=READ_ONLY)
    assert desk.refuses(bob, "ecs:DescribeTasks", "*") is not None


# PutUserPermissionsBoundary DeleteUserPermissionsBoundary
def test_a_boundary_bounds_a_user(desk: Desk) -> None:
    bob = user(desk, PermissionsBoundary=READ_ONLY)
    shown = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": READ_ONLY}
    assert desk(iam, "GetUser", UserName="bob")["User"]["PermissionsBoundary"] == shown
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=document("*"))
    assert desk.refuses(bob, "ecs:DescribeTasks", "*") is None
    refused = desk.refuses(bob, "ecs:RunTask", "*")
    assert refused is not None
    assert refused.message.endswith("because no permissions boundary allows the ecs:RunTask action")
    arn = desk(iam, "CreatePolicy", PolicyName="limit", PolicyDocument=document("ecs:*"))["Policy"]["Arn"]
    desk(iam, "PutUserPermissionsBoundary", UserName="bob", PermissionsBoundary=arn)
    assert desk.refuses(bob, "ecs:RunTask", "*") is None
    assert desk(iam, "GetPolicy", PolicyArn=arn)["Policy"]["PermissionsBoundaryUsageCount"] == 1
    assert [policy["Arn"] for policy in desk(
        iam, "ListPolicies", PolicyUsageFilter="PermissionsBoundary")["Policies"]] == [arn]
    entities = desk(iam, "ListEntitiesForPolicy", PolicyArn=arn, PolicyUsageFilter="PermissionsBoundary")
    assert [one["UserName"] for one in entities["PolicyUsers"]] == ["bob"]
    with pytest.raises(DeleteConflict):
        desk(iam, "DeletePolicy", PolicyArn=arn)
    desk(iam, "DeleteUserPermissionsBoundary", UserName="bob")
    assert desk.refuses(bob, "s3:PutObject", "*") is None
    with pytest.raises(NoSuchEntity):
        desk(iam, "DeleteUserPermissionsBoundary", UserName="bob")


# PutRolePermissionsBoundary DeleteRolePermissionsBoundary
def test_a_boundary_of_a_role_comes_and_goes(desk: Desk) -> None:
    trust = json.dumps({"Statement": {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}})
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=trust)
    desk(iam, "PutRolePermissionsBoundary", RoleName="app", PermissionsBoundary=READ_ONLY)
    shown = desk(iam, "GetRole", RoleName="app")["Role"]["PermissionsBoundary"]
    assert shown["PermissionsBoundaryArn"] == READ_ONLY
    desk(iam, "DeleteRolePermissionsBoundary", RoleName="app")
    assert "PermissionsBoundary" not in desk(iam, "GetRole", RoleName="app")["Role"]
