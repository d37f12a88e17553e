"""Instance profiles, passwords, service-linked roles, and what is said of the whole account."""

import json
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.iam import iam
from cloudlet.services.iam.service import (
    AccessDenied,
    DeleteConflict,
    EntityAlreadyExists,
    InvalidInput,
    InvalidUserType,
    LimitExceeded,
    NoSuchEntity,
    PasswordPolicyViolation,
    UnmodifiableEntity,
    ValidationError,
)
from tests.services.desk import ACCOUNT, Desk, root
from tests.services.iam.test_groups import user

EC2 = json.dumps({"Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
                                "Action": "sts:AssumeRole"}})
GOOD = "Correct1horse"


# CreateInstanceProfile GetInstanceProfile ListInstanceProfiles AddRoleToInstanceProfile DeleteInstanceProfile
# RemoveRoleFromInstanceProfile ListInstanceProfilesForRole TagInstanceProfile UntagInstanceProfile
def test_instance_profiles(desk: Desk) -> None:
    made = desk(iam, "CreateInstanceProfile", InstanceProfileName="web", Path="/x/",
                Tags=[{"Key": "a", "Value": "1"}])["InstanceProfile"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/x/web"
    assert made["Roles"] == []
    with pytest.raises(EntityAlreadyExists):
        desk(iam, "CreateInstanceProfile", InstanceProfileName="web")
    for name in ("app", "other"):
        desk(iam, "CreateRole", RoleName=name, AssumeRolePolicyDocument=EC2)
    with pytest.raises(NoSuchEntity):
        desk(iam, "RemoveRoleFromInstanceProfile", InstanceProfileName="web", RoleName="app")
    desk(iam, "AddRoleToInstanceProfile", InstanceProfileName="web", RoleName="app")
    with pytest.raises(LimitExceeded):
        desk(iam, "AddRoleToInstanceProfile", InstanceProfileName="web", RoleName="other")
    found = desk(iam, "GetInstanceProfile", InstanceProfileName="web")["InstanceProfile"]
    assert [role["RoleName"] for role in found["Roles"]] == ["app"]
    for listed in (desk(iam, "ListInstanceProfiles"), desk(iam, "ListInstanceProfilesForRole", RoleName="app")):
        assert [one["InstanceProfileName"] for one in listed["InstanceProfiles"]] == ["web"]
    with pytest.raises(DeleteConflict, match="must remove roles from instance profile first"):
        desk(iam, "DeleteInstanceProfile", InstanceProfileName="web")
    with pytest.raises(DeleteConflict, match="must remove roles from instance profile first"):
        desk(iam, "DeleteRole", RoleName="app")
    desk(iam, "RemoveRoleFromInstanceProfile", InstanceProfileName="web", RoleName="app")
    desk(iam, "TagInstanceProfile", InstanceProfileName="web", Tags=[{"Key": "b", "Value": "2"}])
    desk(iam, "UntagInstanceProfile", InstanceProfileName="web", TagKeys=["a"])
    assert desk(iam, "ListInstanceProfileTags", InstanceProfileName="web")["Tags"] == [{"Key": "b", "Value": "2"}]
    desk(iam, "DeleteInstanceProfile", InstanceProfileName="web")
    with pytest.raises(NoSuchEntity, match="Instance Profile web cannot be found"):
        desk(iam, "GetInstanceProfile", InstanceProfileName="web")


# CreateLoginProfile GetLoginProfile UpdateLoginProfile DeleteLoginProfile ChangePassword
def test_login_profiles(desk: Desk) -> None:
    bob = user(desk)
    with pytest.raises(NoSuchEntity, match="Login Profile for User bob cannot be found"):
        desk(iam, "GetLoginProfile", UserName="bob")
    made = desk(iam, "CreateLoginProfile", UserName="bob", Password=GOOD, PasswordResetRequired=True)["LoginProfile"]
    assert made == {"UserName": "bob", "CreateDate": desk.clock.now(), "PasswordResetRequired": True}
    assert desk(iam, "GetLoginProfile", UserName="bob")["LoginProfile"] == made
    with pytest.raises(EntityAlreadyExists):
        desk(iam, "CreateLoginProfile", UserName="bob", Password=GOOD)
    with pytest.raises(InvalidUserType, match="old password"):
        desk(iam, "ChangePassword", bob, OldPassword="wrong", NewPassword=GOOD + "2")
    desk(iam, "ChangePassword", bob, OldPassword=GOOD, NewPassword=GOOD + "2")
    assert desk(iam, "GetLoginProfile", UserName="bob")["LoginProfile"]["PasswordResetRequired"] is False
    desk(iam, "UpdateLoginProfile", UserName="bob", Password=GOOD, PasswordResetRequired=True)
    desk(iam, "ChangePassword", bob, OldPassword=GOOD, NewPassword=GOOD + "3")
    with pytest.raises(InvalidUserType):
        desk(iam, "ChangePassword", root(), OldPassword=GOOD, NewPassword=GOOD)
    desk(iam, "DeleteAccessKey", UserName="bob",
         AccessKeyId=desk(iam, "ListAccessKeys", UserName="bob")["AccessKeyMetadata"][0]["AccessKeyId"])
    with pytest.raises(DeleteConflict, match="must delete login profile first"):
        desk(iam, "DeleteUser", UserName="bob")
    desk(iam, "DeleteLoginProfile", UserName="bob")
    desk(iam, "DeleteUser", UserName="bob")


@pytest.mark.parametrize("password", ["", "Short1a", "alllowercase", "alllower1case"])
def test_passwords_that_are_too_simple(desk: Desk, password: str) -> None:
    user(desk)
    with pytest.raises(PasswordPolicyViolation):
        desk(iam, "CreateLoginProfile", UserName="bob", Password=password)


# UpdateAccountPasswordPolicy GetAccountPasswordPolicy DeleteAccountPasswordPolicy
def test_the_password_policy_is_what_passwords_must_keep(desk: Desk) -> None:
    user(desk)
    with pytest.raises(NoSuchEntity, match=f"The Password Policy with domain name {ACCOUNT} cannot be found"):
        desk(iam, "GetAccountPasswordPolicy")
    desk(iam, "UpdateAccountPasswordPolicy", MinimumPasswordLength=12, RequireSymbols=True, MaxPasswordAge=90)
    assert desk(iam, "GetAccountPasswordPolicy")["PasswordPolicy"] == {
        "MinimumPasswordLength": 12, "RequireSymbols": True, "RequireNumbers": False, "ExpirePasswords": True,
        "RequireUppercaseCharacters": False, "RequireLowercaseCharacters": False, "AllowUsersToChangePassword": False,
        "MaxPasswordAge": 90}
    for bad in ("short!", "nosymbolsinthis"):
        with pytest.raises(PasswordPolicyViolation):
            desk(iam, "CreateLoginProfile", UserName="bob", Password=bad)
    desk(iam, "CreateLoginProfile", UserName="bob", Password="lower!and-long")
    desk(iam, "DeleteAccountPasswordPolicy")
    with pytest.raises(NoSuchEntity):
        desk(iam, "DeleteAccountPasswordPolicy")


# CreateServiceLinkedRole DeleteServiceLinkedRole GetServiceLinkedRoleDeletionStatus
def test_service_linked_roles(desk: Desk) -> None:
    role = desk(iam, "CreateServiceLinkedRole", AWSServiceName="ecs.amazonaws.com", Description="d")["Role"]
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
    name = role["RoleName"]
    assert [policy["PolicyName"] for policy in desk(iam, "ListAttachedRolePolicies", RoleName=name)[
        "AttachedPolicies"]] == ["AmazonECSServiceRolePolicy"]
    with pytest.raises(InvalidInput, match="has been taken in this account"):
        desk(iam, "CreateServiceLinkedRole", AWSServiceName="ecs.amazonaws.com")
    for operation, more in (("DeleteRole", {}), ("UpdateAssumeRolePolicy", {"PolicyDocument": EC2}),
                            ("AttachRolePolicy", {"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
                            ("PutRolePolicy", {"PolicyName": "p", "PolicyDocument": "{}"})):
        with pytest.raises(UnmodifiableEntity):
            desk(iam, operation, RoleName=name, **more)
    task = desk(iam, "DeleteServiceLinkedRole", RoleName=name)["DeletionTaskId"]
    assert task.startswith("task/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS/")
    assert desk(iam, "GetServiceLinkedRoleDeletionStatus", DeletionTaskId=task) == {"Status": "SUCCEEDED"}
    with pytest.raises(NoSuchEntity):
        desk(iam, "GetRole", RoleName=name)
    with pytest.raises(NoSuchEntity):
        desk(iam, "GetServiceLinkedRoleDeletionStatus", DeletionTaskId="task/nothing")
    desk(iam, "CreateServiceLinkedRole", AWSServiceName="autoscaling.amazonaws.com", CustomSuffix="x")


@pytest.mark.parametrize(("request_", "error"), [
    ({"AWSServiceName": "lex.amazonaws.com"}, InvalidInput),
    ({"AWSServiceName": "ecs.amazonaws.com", "CustomSuffix": "x"}, InvalidInput)])
def test_service_linked_roles_that_cannot_be(desk: Desk, request_: dict[str, str], error: type[AwsError]) -> None:
    with pytest.raises(error):
        desk(iam, "CreateServiceLinkedRole", **request_)
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=EC2)
    with pytest.raises(InvalidInput):
        desk(iam, "DeleteServiceLinkedRole", RoleName="app")
    with pytest.raises(AccessDenied):
        desk(iam, "CreateRole", RoleName="x", Path="/aws-service-role/x/", AssumeRolePolicyDocument=EC2)


# CreateAccountAlias ListAccountAliases DeleteAccountAlias
def test_the_accounts_alias(desk: Desk) -> None:
    assert desk(iam, "ListAccountAliases")["AccountAliases"] == []
    desk(iam, "CreateAccountAlias", AccountAlias="my-company")
    desk(iam, "CreateAccountAlias", AccountAlias="my-team")
    assert desk(iam, "ListAccountAliases")["AccountAliases"] == ["my-team"]
    with pytest.raises(EntityAlreadyExists):
        desk(iam, "CreateAccountAlias", root("210987654321"), AccountAlias="my-team")
    for bad in ("-x", "x--y", "UPPER", "123456789012"):
        with pytest.raises(ValidationError):
            desk(iam, "CreateAccountAlias", AccountAlias=bad)
    with pytest.raises(NoSuchEntity):
        desk(iam, "DeleteAccountAlias", AccountAlias="my-company")
    desk(iam, "DeleteAccountAlias", AccountAlias="my-team")
    assert desk(iam, "ListAccountAliases")["AccountAliases"] == []


# GetAccountSummary GetAccountAuthorizationDetails
def test_the_whole_account(desk: Desk) -> None:
    user(desk, Tags=[{"Key": "a", "Value": "1"}])
    desk(iam, "CreateGroup", GroupName="devs")
    desk(iam, "AddUserToGroup", GroupName="devs", UserName="bob")
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=EC2, Description="d")
    desk(iam, "AttachRolePolicy", RoleName="app", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    desk(iam, "CreateInstanceProfile", InstanceProfileName="web")
    desk(iam, "AddRoleToInstanceProfile", InstanceProfileName="web", RoleName="app")
    policy = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
    desk(iam, "CreatePolicy", PolicyName="mine", PolicyDocument=policy)
    summary = desk(iam, "GetAccountSummary")["SummaryMap"]
    assert {name: summary[name] for name in ("Users", "Groups", "Roles", "InstanceProfiles", "Policies")} == {
        "Users": 1, "Groups": 1, "Roles": 1, "InstanceProfiles": 1, "Policies": 1}
    details: dict[str, Any] = desk(iam, "GetAccountAuthorizationDetails")
    assert details["UserDetailList"][0]["GroupList"] == ["devs"]
    assert details["RoleDetailList"][0]["InstanceProfileList"][0]["InstanceProfileName"] == "web"
    assert {each["PolicyName"] for each in details["Policies"]} == {"mine", "ReadOnlyAccess"}
    only = desk(iam, "GetAccountAuthorizationDetails", Filter=["Group"])
    assert (len(only["GroupDetailList"]), only["UserDetailList"], only["Policies"]) == (1, [], [])
