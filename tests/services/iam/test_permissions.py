"""What conditions see: the request, the caller, the resource and its policy; PassRole; what was used when."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloudlet.kernel.call import ANONYMOUS, Call, Principal
from cloudlet.kernel.identity import Refusal
from cloudlet.kernel.names import Installation
from cloudlet.kernel.service import Access, Service
from cloudlet.kernel.site import Site
from cloudlet.services.iam import iam, identities, pass_role_refusal
from tests.services.desk import ACCOUNT, Desk, root
from tests.services.iam.test_groups import user

OTHER = "210987654321"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:jobs"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(desk: Desk, *, name: str = "bob", **more: Any) -> None:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", **more}
    desk(iam, "PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=document(statement))


@pytest.mark.parametrize(("operator", "key", "value"), [
    ("IpAddress", "aws:SourceIp", "127.0.0.0/8"), ("DateGreaterThan", "aws:CurrentTime", "2023-01-01T00:00:00Z"),
    ("NumericLessThan", "aws:EpochTime", "1800000000"), ("StringEquals", "aws:PrincipalAccount", ACCOUNT),
    ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/*"), ("StringEquals", "aws:PrincipalType", "User"),
    ("StringLike", "aws:userid", "AIDA*"), ("StringEquals", "aws:username", "bob"),
    ("StringEquals", "aws:RequestedRegion", "us-east-1"), ("Bool", "aws:SecureTransport", "false"),
    ("StringEquals", "aws:PrincipalTag/Team", "red"), ("StringEquals", "aws:RequestTag/stage", "dev"),
    ("ForAllValues:StringEquals", "aws:TagKeys", "stage"), ("Null", "aws:MultiFactorAuthPresent", "true"),
    ("StringEquals", "aws:ResourceAccount", ACCOUNT), ("StringEquals", "sqs:own", "x"),
    ("Null", "aws:PrincipalOrgID", "true"), ("Bool", "aws:PrincipalIsAWSService", "false"),
])
def test_condition_keys(desk: Desk, operator: str, key: str, value: str) -> None:
    bob = user(desk, Tags=[{"Key": "team", "Value": "red"}])

    def refusal() -> Refusal | None:
        given = {"aws:requesttag/stage": ("dev",), "aws:tagkeys": ("stage",), "sqs:own": ("x",)}
        with desk.store.tx() as tx:
            return desk.identities.refuses(tx, desk.call(bob), "sqs:SendMessage", (QUEUE,), lambda: given)

    allow(desk, Condition={operator: {key: value}})
    assert refusal() is None
    other = {"Null": "false", "Bool": "true", "DateGreaterThan": "2030-01-01T00:00:00Z"}.get(operator, "1")
    allow(desk, Condition={operator: {key: other}})
    assert refusal() is not None


def test_tags_of_users_roles_and_policies_are_known(desk: Desk) -> None:
    bob = user(desk)
    desk(iam, "CreateUser", UserName="eve", Path="/x/", Tags=[{"Key": "Team", "Value": "red"}])
    allow(desk, Action="iam:*", Condition={"StringEquals": {"iam:ResourceTag/team": "red"}})
    assert desk.refuses(bob, "iam:DeleteUser", f"arn:aws:iam::{ACCOUNT}:user/eve") is None
    assert desk.refuses(bob, "iam:DeleteUser", f"arn:aws:iam::{ACCOUNT}:user/bob") is not None


class Queues:
    """A service whose resources have tags and policies."""

    def __init__(self, desk: Desk, directory: Path) -> None:
        self.policies: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {}
        sqs = Service("sqs")
        sqs.resource_policy(lambda tx, arn: self.policies.get(arn))
        sqs.resource_tags(lambda tx, arn: self.tags.get(arn, {}))
        self._desk, self._identities = desk, identities(Site(Installation("abcdef"), directory), (sqs,))

    def refuses(self, who: Principal, arn: str = QUEUE) -> Refusal | None:
        with self._desk.store.tx() as tx:
            return self._identities.refuses(tx, self._desk.call(who), "sqs:SendMessage", (arn,))


def test_resource_policies_and_tags(desk: Desk, tmp_path: Path) -> None:
    queues, bob = Queues(desk, tmp_path), user(desk)
    assert queues.refuses(bob) is not None
    queues.policies[QUEUE] = document({"Effect": "Allow", "Principal": {"AWS": bob.arn}, "Action": "sqs:*"})
    assert queues.refuses(bob) is None
    queues.policies[QUEUE] = document({"Effect": "Deny", "Principal": "*", "Action": "sqs:*"})
    for who in (bob, root()):
        refused = queues.refuses(who)
        assert refused is not None
        assert refused.message.endswith("with an explicit deny in a resource-based policy")
    del queues.policies[QUEUE]
    allow(desk, Condition={"StringEquals": {"aws:ResourceTag/team": "${aws:username}"}})
    assert queues.refuses(bob) is not None
    queues.tags[QUEUE] = {"Team": "bob"}
    assert queues.refuses(bob) is None


def test_from_another_account_both_sides_must_allow(desk: Desk, tmp_path: Path) -> None:
    queues = Queues(desk, tmp_path)
    desk(iam, "CreateUser", root(OTHER), UserName="eve")
    key = desk(iam, "CreateAccessKey", root(OTHER), UserName="eve")["AccessKey"]["AccessKeyId"]
    eve = desk.principal(key)
    assert eve is not None
    queues.policies[QUEUE] = document({"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "sqs:*"})
    refused = queues.refuses(eve)
    assert refused is not None
    assert refused.message.endswith("because no identity-based policy allows the sqs:SendMessage action")
    desk(iam, "PutUserPolicy", root(OTHER), UserName="eve", PolicyName="p",
         PolicyDocument=document({"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}))
    assert queues.refuses(eve) is None
    assert queues.refuses(root(OTHER)) is None
    queues.policies[QUEUE] = document({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sqs:*"})
    assert queues.refuses(eve) is not None
    assert queues.refuses(root(OTHER)) is not None


def test_resources_that_say_themselves_who_may(desk: Desk, tmp_path: Path) -> None:
    bucket, said = "arn:aws:s3:::b", {"access": Access(OTHER)}
    s3, keys = Service("s3"), {"s3:prefix": ("a/",)}
    s3.resource_access(lambda tx, call, action, arn, asked: said["access"] if asked() == keys else Access(""))
    people = identities(desk.site, (s3,))

    def refuses(who: Principal, action: str = "s3:ListBucket") -> Refusal | None:
        with desk.store.tx() as tx:
            return people.refuses(tx, desk.call(who), action, (bucket,), lambda: keys)

    bob, eve = user(desk), root(OTHER)
    for who in (bob, root(), ANONYMOUS):
        refused = refuses(who)
        assert refused is not None and refused.message == "Access Denied"
    assert refuses(eve) is None
    said["access"] = Access(OTHER, grant="account")  # its own policies must still allow it
    assert refuses(root()) is None and refuses(bob) is not None and refuses(ANONYMOUS) is not None
    said["access"] = Access(OTHER, document({
        "Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": bucket,
        "Condition": {"StringEquals": {"s3:prefix": "a/"}}}))
    assert refuses(ANONYMOUS) is None and refuses(root()) is None
    assert refuses(ANONYMOUS, "s3:PutObject") is not None and refuses(bob) is not None
    said["access"] = Access(OTHER, document({"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": bucket}),
                            "direct")
    assert all(refuses(who) is not None for who in (bob, root(), eve, ANONYMOUS))


def test_passing_a_role_is_asked_for_with_the_service_it_goes_to(desk: Desk) -> None:
    bob = user(desk)
    arn = f"arn:aws:iam::{ACCOUNT}:role/app"

    def refusal(service: str, role: str = arn) -> Refusal | None:
        with desk.store.tx() as tx:
            return pass_role_refusal(tx, desk.call(bob), role, service)

    assert refusal("ecs-tasks.amazonaws.com") is not None
    allow(desk, Action="iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}})
    assert refusal("ecs-tasks.amazonaws.com") is None
    assert refusal("ec2.amazonaws.com") is not None
    refused = refusal("ecs-tasks.amazonaws.com", f"arn:aws:iam::{OTHER}:role/app")
    assert refused is not None
    assert "is not authorized to perform: iam:PassRole on resource: " in refused.message


def test_the_last_use_of_keys_and_roles_is_noted_once_a_minute(desk: Desk) -> None:
    bob = user(desk)
    key = desk(iam, "ListAccessKeys", UserName="bob")["AccessKeyMetadata"][0]["AccessKeyId"]

    def use(action: str, who: Principal) -> None:
        call = desk.call(who)
        with desk.store.tx() as tx:
            desk.identities.refuses(tx, Call(call.request_id, call.account, call.region, who, call.now, call.endpoint,
                                             access_key_id=key), action, ("*",))

    def used() -> Any:
        return desk(iam, "GetAccessKeyLastUsed", AccessKeyId=key)["AccessKeyLastUsed"]

    assert used() == {"ServiceName": "N/A", "Region": "N/A"}
    use("sts:GetCallerIdentity", bob)
    first = desk.clock.now()
    assert used() == {"LastUsedDate": first, "ServiceName": "sts", "Region": "us-east-1"}
    desk.clock.time += 30
    use("sts:GetCallerIdentity", bob)
    assert used()["LastUsedDate"] == first
    use("ecs:ListTasks", bob)
    assert used() == {"LastUsedDate": first + 30, "ServiceName": "ecs", "Region": "us-east-1"}
    desk(iam, "CreateRole", RoleName="app", AssumeRolePolicyDocument=document(
        {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}))
    role = Principal("role", ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/app/x", "AROA:x",
                     f"arn:aws:iam::{ACCOUNT}:role/app")
    use("ecs:ListTasks", role)
    assert desk(iam, "GetRole", RoleName="app")["Role"]["RoleLastUsed"] == {
        "LastUsedDate": desk.clock.now(), "Region": "us-east-1"}
