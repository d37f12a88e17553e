"""Inline and managed policies, their versions, and to whom they are attached."""

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest

from cloudlet.kernel import policy_grammar
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.policy import parse
from cloudlet.services.iam import iam, managed
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
from tests.services.desk import ACCOUNT, Desk, root

TRUST = '{"Statement":{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}}'
EXECUTION = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
OWNERS = ["User", "Role"]


def document(action: str = "s3:*", **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*",
                                                               **more}]}, indent=2)


def owner(desk: Desk, kind: str, name: str = "it", **more: Any) -> dict[str, str]:
    desk(iam, f"Create{kind}", **{f"{kind}Name": name}, **more, **({"AssumeRolePolicyDocument": TRUST}
                                                                    if kind == "Role" else {}))
    return {f"{kind}Name": name}


def managed_policy(desk: Desk, name: str = "mine", **more: Any) -> str:
    arn: str = desk(iam, "CreatePolicy", PolicyName=name, PolicyDocument=document(), **more)["Policy"]["Arn"]
    return arn


# PutUserPolicy PutRolePolicy GetUserPolicy GetRolePolicy ListUserPolicies ListRolePolicies DeleteUserPolicy
@pytest.mark.parametrize("kind", OWNERS)
def test_inline_policies_come_back_as_they_were_put(desk: Desk, kind: str) -> None:
    it = owner(desk, kind)
    for name in ("b", "a"):
        desk(iam, f"Put{kind}Policy", **it, PolicyName=name, PolicyDocument=document(f"{name}:*"))
    assert desk(iam, f"List{kind}Policies", **it)["PolicyNames"] == ["a", "b"]
    found = desk(iam, f"Get{kind}Policy", **it, PolicyName="a")
    assert unquote(found.pop("PolicyDocument")) == document("a:*")
    assert found == {**it, "PolicyName": "a"}
    desk(iam, f"Put{kind}Policy", **it, PolicyName="a", PolicyDocument=document("c:*"))
    assert unquote(desk(iam, f"Get{kind}Policy", **it, PolicyName="a")["PolicyDocument"]) == document("c:*")
    desk(iam, f"Delete{kind}Policy", **it, PolicyName="a")
    assert desk(iam, f"List{kind}Policies", **it)["PolicyNames"] == ["b"]
    for operation in (f"Get{kind}Policy", f"Delete{kind}Policy"):
        with pytest.raises(NoSuchEntity, match=rf"The {kind.lower()} policy with name a cannot be found\."):
            desk(iam, operation, **it, PolicyName="a")


@pytest.mark.parametrize(("kind", "limit"), [("User", 2048), ("Role", 10240)])
def test_inline_policies_have_room_for_so_much(desk: Desk, kind: str, limit: int) -> None:
    it = owner(desk, kind)
    half = document(Sid="x" * (limit // 2 - 100))
    desk(iam, f"Put{kind}Policy", **it, PolicyName="a", PolicyDocument=half + " " * limit)  # white space is free
    desk(iam, f"Put{kind}Policy", **it, PolicyName="b", PolicyDocument=half)
    with pytest.raises(LimitExceeded, match=f"Maximum policy size of {limit} bytes exceeded for {kind.lower()} it"):
        desk(iam, f"Put{kind}Policy", **it, PolicyName="c", PolicyDocument=half)


@pytest.mark.parametrize(("name", "text", "error"), [
    ("a", "{", MalformedPolicyDocument), ("a", "中", ValidationError), ("a b", document(), ValidationError)])
def test_inline_policies_that_cannot_be(desk: Desk, name: str, text: str, error: type[AwsError]) -> None:
    it = owner(desk, "Role")
    with pytest.raises(error):
        desk(iam, "PutRolePolicy", **it, PolicyName=name, PolicyDocument=text)


def test_create_policy_and_get_policy(desk: Desk) -> None:
    made = desk(iam, "CreatePolicy", PolicyName="mine", Path="/x/", PolicyDocument=document(), Description="d",
                Tags=[{"Key": "a", "Value": "b"}])["Policy"]
    found = desk(iam, "GetPolicy", PolicyArn=made["Arn"])["Policy"]
    assert found.pop("Description") == "d"
    assert found == made
    assert re.fullmatch("ANPA[A-Z2-7]{17}", made.pop("PolicyId"))
    assert made == {
        "PolicyName": "mine", "Arn": f"arn:aws:iam::{ACCOUNT}:policy/x/mine", "Path": "/x/", "DefaultVersionId": "v1",
        "AttachmentCount": 0, "PermissionsBoundaryUsageCount": 0, "IsAttachable": True, "CreateDate": desk.clock.now(),
        "UpdateDate": desk.clock.now(), "Tags": [{"Key": "a", "Value": "b"}]}
    with pytest.raises(EntityAlreadyExists, match="A policy called MINE already exists"):
        desk(iam, "CreatePolicy", PolicyName="MINE", PolicyDocument=document())


@pytest.mark.parametrize(("request_", "error"), [
    ({"PolicyName": "a b"}, ValidationError), ({"Path": "x"}, ValidationError),
    ({"PolicyDocument": "{}"}, MalformedPolicyDocument), ({"PolicyDocument": document(Sid="x" * 6144)}, LimitExceeded)])
def test_managed_policies_that_cannot_be(desk: Desk, request_: dict[str, str], error: type[AwsError]) -> None:
    with pytest.raises(error):
        desk(iam, "CreatePolicy", **{"PolicyName": "a", "PolicyDocument": document(), **request_})


@pytest.mark.parametrize(("arn", "error", "message"), [
    (f"arn:aws:iam::{ACCOUNT}:policy/ghost", NoSuchEntity, "Policy {} was not found."),
    ("arn:aws:iam::aws:policy/Ghost", NoSuchEntity, "Policy {} was not found."),
    ("arn:aws:s3:::bucket-of-mine", InvalidInput, "ARN {} is not valid."),
    ("not an arn at all, really", InvalidInput, "ARN {} is not valid.")])
def test_policies_that_are_not_there(desk: Desk, arn: str, error: type[AwsError], message: str) -> None:
    for operation in ("GetPolicy", "DeletePolicy", "ListPolicyVersions", "ListEntitiesForPolicy", "ListPolicyTags"):
        with pytest.raises(error) as refused:
            desk(iam, operation, PolicyArn=arn)
        assert refused.value.message == message.format(arn)


def test_a_policy_of_another_account_is_not_there(desk: Desk) -> None:
    arn = managed_policy(desk)
    with pytest.raises(NoSuchEntity):
        desk(iam, "GetPolicy", root("210987654321"), PolicyArn=arn)


def test_versions_come_and_go(desk: Desk) -> None:
    arn = managed_policy(desk)
    desk.clock.time += 5
    second = desk(iam, "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=document("b:*"))["PolicyVersion"]
    assert second == {"VersionId": "v2", "IsDefaultVersion": False, "CreateDate": desk.clock.now()}
    desk(iam, "SetDefaultPolicyVersion", PolicyArn=arn, VersionId="v2")
    for number in range(3, 6):
        desk(iam, "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=document(f"{number}:*"))
    with pytest.raises(LimitExceeded, match="up to 5 versions"):
        desk(iam, "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=document())
    with pytest.raises(DeleteConflict, match="Cannot delete the default version of a policy"):
        desk(iam, "DeletePolicyVersion", PolicyArn=arn, VersionId="v2")
    desk(iam, "DeletePolicyVersion", PolicyArn=arn, VersionId="v1")
    sixth = desk(iam, "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=document("6:*"), SetAsDefault=True)
    assert sixth["PolicyVersion"]["VersionId"] == "v6"  # numbers are never used again
    listed = desk(iam, "ListPolicyVersions", PolicyArn=arn)["Versions"]
    assert [version["VersionId"] for version in listed] == ["v6", "v5", "v4", "v3", "v2"]
    assert [version["VersionId"] for version in listed if version["IsDefaultVersion"]] == ["v6"]
    found = desk(iam, "GetPolicyVersion", PolicyArn=arn, VersionId="v2")["PolicyVersion"]
    assert unquote(found["Document"]) == document("b:*")
    for operation in ("GetPolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion"):
        with pytest.raises(NoSuchEntity, match="version v1 does not exist or is not attachable"):
            desk(iam, operation, PolicyArn=arn, VersionId="v1")


def test_delete_policy_refuses_while_it_is_used(desk: Desk) -> None:
    arn, it = managed_policy(desk), owner(desk, "Role")
    desk(iam, "AttachRolePolicy", **it, PolicyArn=arn)
    desk(iam, "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=document())
    with pytest.raises(DeleteConflict, match="Cannot delete a policy attached to entities"):
        desk(iam, "DeletePolicy", PolicyArn=arn)
    desk(iam, "DetachRolePolicy", **it, PolicyArn=arn)
    with pytest.raises(DeleteConflict, match="This policy has more than one version"):
        desk(iam, "DeletePolicy", PolicyArn=arn)
    desk(iam, "DeletePolicyVersion", PolicyArn=arn, VersionId="v2")
    desk(iam, "DeletePolicy", PolicyArn=arn)
    with pytest.raises(NoSuchEntity):
        desk(iam, "GetPolicy", PolicyArn=arn)


# AttachUserPolicy AttachRolePolicy DetachUserPolicy ListAttachedUserPolicies ListAttachedRolePolicies
@pytest.mark.parametrize("kind", OWNERS)
def test_attaching_and_detaching(desk: Desk, kind: str) -> None:
    it, arn = owner(desk, kind), managed_policy(desk, Path="/x/")
    for _ in range(2):
        desk(iam, f"Attach{kind}Policy", **it, PolicyArn=arn)
    desk(iam, f"Attach{kind}Policy", **it, PolicyArn=EXECUTION)
    assert desk(iam, f"ListAttached{kind}Policies", **it)["AttachedPolicies"] == [
        {"PolicyName": "mine", "PolicyArn": arn},
        {"PolicyName": "AmazonECSTaskExecutionRolePolicy", "PolicyArn": EXECUTION}]
    assert len(desk(iam, f"ListAttached{kind}Policies", **it, PathPrefix="/x/")["AttachedPolicies"]) == 1
    assert desk(iam, "GetPolicy", PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    desk(iam, f"Detach{kind}Policy", **it, PolicyArn=arn)
    with pytest.raises(NoSuchEntity, match="was not found"):
        desk(iam, f"Detach{kind}Policy", **it, PolicyArn=arn)
    with pytest.raises(NoSuchEntity, match="does not exist or is not attachable"):
        desk(iam, f"Attach{kind}Policy", **it, PolicyArn=arn + "2")
    for number in range(9):
        desk(iam, f"Attach{kind}Policy", **it, PolicyArn=managed_policy(desk, f"p{number}"))
    with pytest.raises(LimitExceeded, match=f"Cannot exceed quota for PoliciesPer{kind}: 10"):
        desk(iam, f"Attach{kind}Policy", **it, PolicyArn=arn)


def test_list_entities_for_policy(desk: Desk) -> None:
    arn = managed_policy(desk)
    for kind in OWNERS:
        desk(iam, f"Attach{kind}Policy", **owner(desk, kind, f"a-{kind}", Path="/x/"), PolicyArn=arn)
        owner(desk, kind, f"other-{kind}")

    def names(**more: str) -> list[str]:
        found = desk(iam, "ListEntitiesForPolicy", PolicyArn=arn, **more)
        assert found["PolicyGroups"] == []
        return [each.get("UserName") or each["RoleName"] for each in found["PolicyUsers"] + found["PolicyRoles"]]

    assert names() == ["a-User", "a-Role"]
    assert names(EntityFilter="Role") == ["a-Role"]
    assert names(EntityFilter="Group") == []
    assert names(PathPrefix="/y/") == []
    assert names(PolicyUsageFilter="PermissionsBoundary") == []
    assert names(PolicyUsageFilter="PermissionsPolicy") == ["a-User", "a-Role"]


def test_list_policies_by_scope(desk: Desk) -> None:
    arn = managed_policy(desk)
    desk(iam, "AttachUserPolicy", **owner(desk, "User"), PolicyArn=EXECUTION)

    def arns(**more: Any) -> list[str]:
        return [policy["Arn"] for policy in desk(iam, "ListPolicies", **more)["Policies"]]

    assert arns(Scope="Local") == [arn]
    assert EXECUTION in arns(Scope="AWS")
    assert arn not in arns(Scope="AWS")
    assert {arn, EXECUTION} < set(arns())
    assert arns(OnlyAttached=True) == [EXECUTION]
    assert EXECUTION in arns(PathPrefix="/service-role/")
    assert arn not in arns(PathPrefix="/service-role/")
    assert arns(PolicyUsageFilter="PermissionsBoundary") == []


def test_tag_policy_and_untag_policy(desk: Desk) -> None:
    arn = managed_policy(desk)
    desk(iam, "TagPolicy", PolicyArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    desk(iam, "UntagPolicy", PolicyArn=arn, TagKeys=["a"])
    assert desk(iam, "ListPolicyTags", PolicyArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]


def test_awss_policies_are_true_documents_and_read_only(desk: Desk) -> None:
    found = desk(iam, "GetPolicy", PolicyArn=EXECUTION)["Policy"]
    version = desk(iam, "GetPolicyVersion", PolicyArn=EXECUTION, VersionId=found["DefaultVersionId"])["PolicyVersion"]
    statement = json.loads(unquote(version["Document"]))["Statement"][0]
    assert {"ecr:GetAuthorizationToken", "logs:PutLogEvents"} < set(statement["Action"])
    assert [each["VersionId"] for each in desk(iam, "ListPolicyVersions", PolicyArn=EXECUTION)["Versions"]] == [
        found["DefaultVersionId"]]
    with pytest.raises(NoSuchEntity):
        desk(iam, "GetPolicyVersion", PolicyArn=EXECUTION, VersionId="v99")
    for operation, more in (("DeletePolicy", {}), ("CreatePolicyVersion", {"PolicyDocument": document()}),
                            ("TagPolicy", {"Tags": []})):
        with pytest.raises(AccessDenied):
            desk(iam, operation, PolicyArn=EXECUTION, **more)


@pytest.mark.parametrize("policy", managed.policies().values(), ids=lambda policy: policy.name)
def test_every_policy_of_awss_is_one_that_we_would_take(policy: managed.AwsPolicy) -> None:
    policy_grammar.check(policy.document, "identity")
    parse(policy.document)
