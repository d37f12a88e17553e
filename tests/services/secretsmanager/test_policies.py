"""Who may read what: policies of identities on secrets, policies of secrets, several secrets at once."""

import json
from typing import Any

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.identity import Refusal
from cloudlet.services.iam import iam, identities
from cloudlet.services.secretsmanager import secretsmanager
from tests.services.desk import ACCOUNT, Desk, root
from tests.services.secretsmanager.test_secrets import ONE, create, describe, refused

OTHER = "210987654321"
READ = "secretsmanager:GetSecretValue"


def document(effect: str = "Allow", action: str = READ, **statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": action, **statement}]})


def user(desk: Desk, name: str, policy: str | None = None, account: str = ACCOUNT) -> Principal:
    owner = root(account)
    desk(iam, "CreateUser", owner, UserName=name)
    if policy is not None:
        desk(iam, "PutUserPolicy", owner, UserName=name, PolicyName="p", PolicyDocument=policy)
    key = desk(iam, "CreateAccessKey", owner, UserName=name)["AccessKey"]["AccessKeyId"]
    principal = desk.principal(key)
    assert principal is not None
    return principal


def asked(desk: Desk, who: Principal, operation: str, **request: Any) -> Refusal | None:
    """What the gateway is told of a request."""
    declared = secretsmanager.operations[operation]
    assert declared.resources is not None and declared.context is not None
    call, keys = desk.call(who), {}
    for name, value in declared.context(call, request).items():
        keys[name.lower()] = (str(value),)
    with desk.store.tx() as tx:
        return identities(desk.site, (iam, secretsmanager)).refuses(
            tx, call, declared.action, tuple(declared.resources(call, request)), lambda: keys)


def put_policy(desk: Desk, policy: str, **request: Any) -> Any:
    return desk(secretsmanager, "PutResourcePolicy", SecretId="app/db", ResourcePolicy=policy, **request)


@pytest.mark.parametrize("pattern", ["{arn}", "{partial}-??????", "{partial}-*", "*"])
def test_policies_are_asked_about_the_arn_in_full(desk: Desk, pattern: str) -> None:
    arn = create(desk)["ARN"]
    resource = pattern.format(arn=arn, partial=arn[:-7])
    bob = user(desk, "bob", document(Resource=resource))
    for secret_id in ("app/db", arn, arn[:-7]):
        assert asked(desk, bob, "GetSecretValue", SecretId=secret_id) is None
    assert resource == "*" or asked(desk, bob, "GetSecretValue", SecretId="app/db2") is not None
    refusal = asked(desk, bob, "DeleteSecret", SecretId="app/db")
    assert refusal is not None and refusal.message == (
        f"User: arn:aws:iam::{ACCOUNT}:user/bob is not authorized to perform: secretsmanager:DeleteSecret on resource:"
        f" {arn} because no identity-based policy allows the secretsmanager:DeleteSecret action")


def test_conditions_on_tags_and_requests(desk: Desk) -> None:
    create(desk, Tags=[{"Key": "team", "Value": "a"}])
    bob = user(desk, "bob", document(Resource="*", Condition={"StringEquals": {
        "aws:ResourceTag/team": "a", "secretsmanager:VersionStage": "AWSCURRENT"}}))
    assert asked(desk, bob, "GetSecretValue", SecretId="app/db", VersionStage="AWSCURRENT") is None
    assert asked(desk, bob, "GetSecretValue", SecretId="app/db", VersionStage="AWSPREVIOUS") is not None
    desk(secretsmanager, "TagResource", SecretId="app/db", Tags=[{"Key": "team", "Value": "b"}])
    assert asked(desk, bob, "GetSecretValue", SecretId="app/db", VersionStage="AWSCURRENT") is not None


def test_a_secrets_policy_lets_in_and_keeps_out(desk: Desk) -> None:
    create(desk)
    bob = user(desk, "bob")
    assert asked(desk, bob, "GetSecretValue", SecretId="app/db") is not None
    put_policy(desk, document(Principal={"AWS": bob.arn}, Resource="*"))
    assert asked(desk, bob, "GetSecretValue", SecretId="app/db") is None
    put_policy(desk, document("Deny", Principal="*", Resource="*"))
    alice = user(desk, "alice", document(Resource="*"))
    refusal = asked(desk, alice, "GetSecretValue", SecretId="app/db")
    assert refusal is not None and "explicit deny in a resource-based policy" in refusal.message
    desk(secretsmanager, "DeleteResourcePolicy", SecretId="app/db")
    assert asked(desk, alice, "GetSecretValue", SecretId="app/db") is None


def test_another_account_is_let_in_by_both_and_reads_no_value(desk: Desk) -> None:
    arn = create(desk)["ARN"]
    stranger = user(desk, "eve", document(action="secretsmanager:*", Resource="*"), OTHER)
    assert asked(desk, stranger, "GetSecretValue", SecretId=arn) is not None
    put_policy(desk, document(action="secretsmanager:*", Principal={"AWS": OTHER}, Resource="*"))
    assert asked(desk, stranger, "GetSecretValue", SecretId=arn) is None
    assert desk(secretsmanager, "DescribeSecret", stranger, SecretId=arn)["Name"] == "app/db"
    with pytest.raises(AwsError, match="default KMS service key") as error:
        desk(secretsmanager, "GetSecretValue", stranger, SecretId=arn)
    assert error.value.code == "InvalidRequestException"
    with pytest.raises(AwsError, match="default KMS service key"):
        desk(secretsmanager, "PutSecretValue", stranger, SecretId=arn, SecretString="x", ClientRequestToken="2" * 32)


def test_a_policy_is_kept_as_it_was_given(desk: Desk) -> None:
    arn = create(desk)["ARN"]
    assert desk(secretsmanager, "GetResourcePolicy", SecretId="app/db") == {"ARN": arn, "Name": "app/db"}
    policy = document(Principal={"AWS": ACCOUNT}, Resource="*")
    assert put_policy(desk, policy, BlockPublicPolicy=True) == {"ARN": arn, "Name": "app/db"}
    assert desk(secretsmanager, "GetResourcePolicy", SecretId=arn)["ResourcePolicy"] == policy
    desk(secretsmanager, "DeleteSecret", SecretId="app/db")
    assert refused(desk, "GetResourcePolicy", SecretId="app/db")[0] == "InvalidRequestException"


@pytest.mark.parametrize("policy", ["x", "{}", document(Resource="*"), document("Maybe", Principal="*", Resource="*")])
def test_what_is_no_policy(desk: Desk, policy: str) -> None:
    create(desk)
    for operation in ("PutResourcePolicy", "ValidateResourcePolicy"):
        assert refused(desk, operation, SecretId="app/db", ResourcePolicy=policy)[0] == (
            "MalformedPolicyDocumentException")


@pytest.mark.parametrize(("principal", "condition", "public"), [
    ("*", None, True), ({"AWS": "*"}, None, True), ({"AWS": ["*", ACCOUNT]}, None, True),
    ({"AWS": ACCOUNT}, None, False),
    ("*", {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}, False)])
def test_policies_for_everybody(desk: Desk, principal: Any, condition: Any, public: bool) -> None:
    create(desk)
    policy = document(Principal=principal, Resource="*", **({"Condition": condition} if condition else {}))
    checked = desk(secretsmanager, "ValidateResourcePolicy", ResourcePolicy=policy)
    assert checked["PolicyValidationPassed"] is not public
    if public:
        assert refused(desk, "PutResourcePolicy", SecretId="app/db", ResourcePolicy=policy, BlockPublicPolicy=True)[
            0] == "PublicPolicyException"
    put_policy(desk, policy)


def batch(desk: Desk, who: Principal | None = None, **request: Any) -> Any:
    return desk(secretsmanager, "BatchGetSecretValue", who, **request)


def test_several_are_read_and_each_must_be_allowed(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        create(desk, name, f"value {name}")
    desk(secretsmanager, "DeleteSecret", SecretId="c")
    answer = batch(desk, SecretIdList=["a", "c", "nope", "b"])
    assert [each["SecretString"] for each in answer["SecretValues"]] == ["value a", "value b"]
    assert [(each["SecretId"], each["ErrorCode"]) for each in answer["Errors"]] == [
        ("c", "InvalidRequestException"), ("nope", "ResourceNotFoundException")]
    bob = user(desk, "bob", document(Resource=describe(desk, "a")["ARN"]))
    answer = batch(desk, bob, SecretIdList=["a", "b"])
    assert [each["Name"] for each in answer["SecretValues"]] == ["a"]
    assert [(each["SecretId"], each["ErrorCode"]) for each in answer["Errors"]] == [("b", "AccessDeniedException")]
    assert "value b" not in str(answer)


def test_several_are_found_by_filters_in_pages(desk: Desk) -> None:
    for number in range(5):
        create(desk, f"app/{number}", str(number))
    create(desk, "other")
    filters = [{"Key": "name", "Values": ["app/"]}]
    first = batch(desk, Filters=filters, MaxResults=3)
    rest = batch(desk, Filters=filters, MaxResults=3, NextToken=first["NextToken"])
    assert [each["SecretString"] for page in (first, rest) for each in page["SecretValues"]] == list("01234")
    assert "NextToken" not in rest
    for request in ({}, {"SecretIdList": ["a"], "Filters": filters}, {"SecretIdList": ["a"], "MaxResults": 3}):
        assert refused(desk, "BatchGetSecretValue", **request)[0] == "InvalidParameterException"
    assert refused(desk, "BatchGetSecretValue", Filters=filters, NextToken="x")[0] == "InvalidNextTokenException"


def test_what_is_drawn_once_is_asked_of_no_single_resource(desk: Desk) -> None:
    create(desk, token=ONE)
    bob = user(desk, "bob", document(action="secretsmanager:CreateSecret",
                                     Resource=f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:bob/*"))
    assert asked(desk, bob, "CreateSecret", Name="bob/x") is None
    assert asked(desk, bob, "CreateSecret", Name="alice/x") is not None
