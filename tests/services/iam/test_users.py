"""Users and their access keys."""

import re
from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.iam import account_of, iam
from cloudlet.services.iam.service import (
    DeleteConflict,
    EntityAlreadyExists,
    InvalidInput,
    LimitExceeded,
    NoSuchEntity,
    ValidationError,
)
from tests.services.desk import ACCOUNT, Desk, root

POLICY = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'


def test_create_user_answers_what_get_user_answers(desk: Desk) -> None:
    made = desk(iam, "CreateUser", UserName="bob", Path="/team/", Tags=[{"Key": "k", "Value": "v"}])["User"]
    assert re.fullmatch("AIDA[A-Z2-7]{17}", made.pop("UserId"))
    assert made == {"UserName": "bob", "Path": "/team/", "Arn": f"arn:aws:iam::{ACCOUNT}:user/team/bob",
                    "CreateDate": desk.clock.now(), "Tags": [{"Key": "k", "Value": "v"}]}
    assert desk(iam, "GetUser", UserName="bob")["User"]["Arn"] == made["Arn"]


@pytest.mark.parametrize("name", ["bob", "BOB"])
def test_names_are_unique_whatever_their_case(desk: Desk, name: str) -> None:
    desk(iam, "CreateUser", UserName="bob")
    with pytest.raises(EntityAlreadyExists, match=f"User with name {name} already exists"):
        desk(iam, "CreateUser", UserName=name)


@pytest.mark.parametrize("request_", [
    {"UserName": "a b"}, {"UserName": "a/b"}, {"UserName": "ü"}, {"UserName": "a", "Path": "x"},
    {"UserName": "a", "Path": "/x"}, {"UserName": "a", "Path": "//"}, {"UserName": "a", "Path": "/a b/"}])
def test_names_and_paths_that_cannot_be(desk: Desk, request_: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="The specified value for"):
        desk(iam, "CreateUser", **request_)


@pytest.mark.parametrize("operation", ["GetUser", "DeleteUser", "ListUserTags", "ListAccessKeys", "ListUserPolicies",
                                       "ListGroupsForUser", "ListAttachedUserPolicies", "CreateAccessKey",
                                       "ListSSHPublicKeys", "ListSigningCertificates",
                                       "ListServiceSpecificCredentials"])
def test_who_is_not_there(desk: Desk, operation: str) -> None:
    with pytest.raises(NoSuchEntity, match=r"The user with name ghost cannot be found\."):
        desk(iam, operation, UserName="ghost")


def test_get_user_without_a_name_is_the_caller(desk: Desk) -> None:
    assert desk(iam, "GetUser")["User"] == {"UserId": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}
    desk(iam, "CreateUser", UserName="bob")
    key = desk(iam, "CreateAccessKey", UserName="bob")["AccessKey"]["AccessKeyId"]
    bob = desk.principal(key)
    assert desk(iam, "GetUser", bob)["User"]["UserName"] == "bob"
    assert desk(iam, "ListAccessKeys", bob)["AccessKeyMetadata"][0]["AccessKeyId"] == key
    with pytest.raises(ValidationError, match="Must specify userName when calling with non-User credentials"):
        desk(iam, "ListAccessKeys")


def test_list_users_by_path_and_account(desk: Desk) -> None:
    for name, path in (("c", "/x/"), ("a", "/"), ("b", "/x/y/")):
        desk(iam, "CreateUser", UserName=name, Path=path)
    desk(iam, "CreateUser", root("210987654321"), UserName="other")
    assert [user["UserName"] for user in desk(iam, "ListUsers")["Users"]] == ["a", "b", "c"]
    assert [user["UserName"] for user in desk(iam, "ListUsers", PathPrefix="/x/")["Users"]] == ["b", "c"]


def test_update_user_keeps_id_keys_and_policies(desk: Desk) -> None:
    before = desk(iam, "CreateUser", UserName="bob")["User"]
    desk(iam, "CreateAccessKey", UserName="bob")
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=POLICY)
    desk(iam, "CreateUser", UserName="taken")
    with pytest.raises(EntityAlreadyExists):
        desk(iam, "UpdateUser", UserName="bob", NewUserName="Taken")
    desk(iam, "UpdateUser", UserName="bob", NewUserName="Bob", NewPath="/new/")
    after = desk(iam, "GetUser", UserName="Bob")["User"]
    assert (after["UserId"], after["Arn"]) == (before["UserId"], f"arn:aws:iam::{ACCOUNT}:user/new/Bob")
    desk(iam, "UpdateUser", UserName="Bob", NewUserName="rob")
    assert len(desk(iam, "ListAccessKeys", UserName="rob")["AccessKeyMetadata"]) == 1
    assert desk(iam, "ListUserPolicies", UserName="rob")["PolicyNames"] == ["p"]
    with pytest.raises(NoSuchEntity):
        desk(iam, "GetUser", UserName="bob")


def test_delete_user_refuses_while_it_has_something(desk: Desk) -> None:
    desk(iam, "CreateUser", UserName="bob")
    key = desk(iam, "CreateAccessKey", UserName="bob")["AccessKey"]["AccessKeyId"]
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=POLICY)
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    desk(iam, "AttachUserPolicy", UserName="bob", PolicyArn=arn)
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("must detach all policies first", "DetachUserPolicy", {"PolicyArn": arn}),
        ("must delete policies first", "DeleteUserPolicy", {"PolicyName": "p"}),
        ("must delete access keys first", "DeleteAccessKey", {"AccessKeyId": key})]
    for message, operation, more in ways:
        with pytest.raises(DeleteConflict, match=message):
            desk(iam, "DeleteUser", UserName="bob")
        desk(iam, operation, UserName="bob", **more)
    desk(iam, "DeleteUser", UserName="bob")
    with pytest.raises(NoSuchEntity):
        desk(iam, "GetUser", UserName="bob")


def test_tag_user_and_untag_user(desk: Desk) -> None:
    desk(iam, "CreateUser", UserName="bob")
    desk(iam, "TagUser", UserName="bob", Tags=[{"Key": "Team", "Value": "a"}, {"Key": "x", "Value": "1"}])
    desk(iam, "TagUser", UserName="bob", Tags=[{"Key": "team", "Value": "b"}])
    assert desk(iam, "ListUserTags", UserName="bob")["Tags"] == [{"Key": "x", "Value": "1"},
                                                                 {"Key": "team", "Value": "b"}]
    desk(iam, "UntagUser", UserName="bob", TagKeys=["TEAM", "never"])
    assert desk(iam, "ListUserTags", UserName="bob")["Tags"] == [{"Key": "x", "Value": "1"}]


@pytest.mark.parametrize(("tags", "error"), [
    ([{"Key": "a", "Value": ""}, {"Key": "A", "Value": ""}], InvalidInput),
    ([{"Key": "aws:x", "Value": ""}], InvalidInput),
    ([{"Key": "a!", "Value": ""}], ValidationError),
    ([{"Key": "a", "Value": "{}"}], ValidationError),
    ([{"Key": f"k{number}", "Value": ""} for number in range(51)], LimitExceeded)])
def test_tags_that_cannot_be(desk: Desk, tags: list[dict[str, str]], error: type[AwsError]) -> None:
    desk(iam, "CreateUser", UserName="bob")
    with pytest.raises(error):
        desk(iam, "TagUser", UserName="bob", Tags=tags)


def test_access_keys_are_made_listed_and_deleted(desk: Desk) -> None:
    desk(iam, "CreateUser", UserName="bob")
    first = desk(iam, "CreateAccessKey", UserName="bob")["AccessKey"]
    assert re.fullmatch("AKIA[A-Z2-7]{16}", first["AccessKeyId"])
    assert len(first["SecretAccessKey"]) == 40
    assert account_of(first["AccessKeyId"]) == ACCOUNT
    desk.clock.time += 1
    second = desk(iam, "CreateAccessKey", UserName="bob")["AccessKey"]
    with pytest.raises(LimitExceeded, match="Cannot exceed quota for AccessKeysPerUser: 2"):
        desk(iam, "CreateAccessKey", UserName="bob")
    desk(iam, "UpdateAccessKey", UserName="bob", AccessKeyId=first["AccessKeyId"], Status="Inactive")
    listed = desk(iam, "ListAccessKeys", UserName="bob")["AccessKeyMetadata"]
    assert [(key["AccessKeyId"], key["Status"]) for key in listed] == [
        (first["AccessKeyId"], "Inactive"), (second["AccessKeyId"], "Active")]
    assert "SecretAccessKey" not in listed[0]
    desk(iam, "DeleteAccessKey", UserName="bob", AccessKeyId=first["AccessKeyId"])
    assert len(desk(iam, "ListAccessKeys", UserName="bob")["AccessKeyMetadata"]) == 1


@pytest.mark.parametrize(("operation", "more"), [("DeleteAccessKey", {}), ("UpdateAccessKey", {"Status": "Active"})])
def test_nobody_touches_anothers_key(desk: Desk, operation: str, more: dict[str, str]) -> None:
    for name in ("bob", "eve"):
        desk(iam, "CreateUser", UserName=name)
    key = desk(iam, "CreateAccessKey", UserName="bob")["AccessKey"]["AccessKeyId"]
    with pytest.raises(NoSuchEntity, match=f"The Access Key with id {key} cannot be found"):
        desk(iam, operation, UserName="eve", AccessKeyId=key, **more)


def test_a_status_that_cannot_be(desk: Desk) -> None:
    desk(iam, "CreateUser", UserName="bob")
    key = desk(iam, "CreateAccessKey", UserName="bob")["AccessKey"]["AccessKeyId"]
    with pytest.raises(ValidationError):
        desk(iam, "UpdateAccessKey", UserName="bob", AccessKeyId=key, Status="Expired")


def test_list_groups_for_user_is_empty_since_there_are_no_groups(desk: Desk) -> None:
    desk(iam, "CreateUser", UserName="bob")
    assert desk(iam, "ListGroupsForUser", UserName="bob") == {"Groups": []}


@pytest.mark.parametrize(("operation", "member"), [
    ("ListSSHPublicKeys", "SSHPublicKeys"), ("ListSigningCertificates", "Certificates"),
    ("ListServiceSpecificCredentials", "ServiceSpecificCredentials")])
def test_what_nobody_can_make_is_not_there(desk: Desk, operation: str, member: str) -> None:
    desk(iam, "CreateUser", UserName="bob")
    assert desk(iam, operation, UserName="bob") == {member: []}


def test_accounts_are_read_from_ids_alone() -> None:
    assert account_of("AKIAIOSFODNN7EXAMPLE") is None  # from before 2019
    assert account_of("ASIAY34FZKBOKMUTVV7A") == "609629065308"  # an example that the scheme's discoverers published
    assert account_of("short") is None
    assert account_of("AKIA!!!!!!!!!!!!!!!!") is None
