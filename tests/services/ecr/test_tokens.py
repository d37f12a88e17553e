"""Whom a token lets in: nobody whose permission or credentials have ended, and nobody elsewhere."""

import base64
import json
from typing import Any

import pytest

from cloudlet.kernel.call import Call
from cloudlet.services import iam, sts
from cloudlet.services.ecr.service import ecr
from tests.services.desk import ACCOUNT, root
from tests.services.ecr.counter import Answer, Counter

STRANGER = "999999999999"
APP = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/app"
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Role:
    """A role that may do everything, and credentials of a session of it."""

    def __init__(self, counter: Counter, seconds: int = 900, **session: str) -> None:
        self.counter = counter
        counter.desk(iam.iam, "CreateRole", RoleName="deploy", AssumeRolePolicyDocument=policy(
            {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}))
        self.allow(EVERYTHING)
        self.key = counter.desk(sts.sts, "AssumeRole", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/deploy",
                                RoleSessionName="ci", DurationSeconds=seconds, **session)["Credentials"]["AccessKeyId"]

    def allow(self, *statements: dict[str, Any]) -> None:
        self.counter.desk(iam.iam, "PutRolePolicy", RoleName="deploy", PolicyName="p",
                          PolicyDocument=policy(*statements))


def login(counter: Counter, access_key_id: str) -> str:
    """The password that GetAuthorizationToken gives to these credentials, as through the gateway."""
    desk = counter.desk
    principal = desk.principal(access_key_id)
    assert principal is not None
    call = Call("request", principal.account, "us-east-1", principal, desk.clock.now(), "http://localhost:4566",
                access_key_id=access_key_id)
    with desk.store.tx() as tx:
        (data,) = ecr.operations["GetAuthorizationToken"].run(call, tx, {})["authorizationData"]
    return base64.b64decode(data["authorizationToken"]).decode().partition(":")[2]


def everything(counter: Counter, password: str, host: str = "localhost:4566") -> list[Answer]:
    """Each kind of request there is."""
    digest = counter.ask("HEAD", "/v2/app/manifests/v1").headers["docker-content-digest"]
    config = json.loads(counter.ask("GET", "/v2/app/manifests/v1").body)["config"]["digest"]
    upload = counter.ask("POST", "/v2/app/blobs/uploads/").headers["location"]
    return [counter.ask(method, path, password=password, host=host) for method, path in (
        ("GET", "/v2/app/manifests/v1"), ("HEAD", f"/v2/app/manifests/{digest}"), ("GET", f"/v2/app/blobs/{config}"),
        ("HEAD", f"/v2/app/blobs/{config}"), ("GET", "/v2/app/tags/list"), ("GET", f"/v2/app/referrers/{digest}"),
        ("POST", "/v2/app/blobs/uploads/"), ("GET", upload), ("PATCH", upload), ("PUT", f"{upload}?digest={digest}"),
        ("DELETE", upload), ("PUT", "/v2/app/manifests/v1"), ("DELETE", "/v2/app/manifests/v1"),
        ("DELETE", f"/v2/app/blobs/{config}"))]


def statuses(answers: list[Answer]) -> set[int]:
    return {answer.status for answer in answers}


@pytest.fixture
def pushed(counter: Counter) -> Counter:
    counter.push("v1")
    return counter


def test_a_role_is_let_in_until_its_session_ends(pushed: Counter) -> None:
    password = login(pushed, Role(pushed).key)
    assert not statuses(everything(pushed, password)) & {401, 403}
    pushed.push("v1")
    pushed.desk.clock.time += 899
    assert pushed.ask("GET", "/v2/app/manifests/v1", password=password).status == 200
    pushed.desk.clock.time += 1
    assert statuses(everything(pushed, password)) == {401}
    assert pushed.ask("GET", "/v2/", password=password).error == (
        401, "UNAUTHORIZED", "Your authorization token has expired. Reauthenticate and try again.")


def test_a_permission_taken_away_is_gone_at_once(pushed: Counter) -> None:
    role = Role(pushed)
    password = login(pushed, role.key)
    assert pushed.ask("GET", "/v2/app/manifests/v1", password=password).status == 200
    role.allow({**EVERYTHING, "Action": "ecr:GetAuthorizationToken"})
    answers = everything(pushed, password)
    assert statuses(answers) == {403}
    assert all(answer.error[1] == "DENIED" for answer in answers if answer.body)
    role.allow(EVERYTHING, {"Effect": "Deny", "Action": "ecr:*", "Resource": APP})
    assert statuses(everything(pushed, password)) == {403}
    role.allow(EVERYTHING)
    assert pushed.ask("GET", "/v2/app/manifests/v1", password=password).status == 200


def test_a_session_revoked_by_its_time_is_refused(pushed: Counter) -> None:
    role = Role(pushed)
    password = login(pushed, role.key)
    role.allow(EVERYTHING, {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
        "DateLessThan": {"aws:TokenIssueTime": "2099-01-01T00:00:00Z"}}})
    assert statuses(everything(pushed, password)) == {403}


def test_a_sessions_own_policy_counts(pushed: Counter) -> None:
    role = Role(pushed, Policy=policy({"Effect": "Allow", "Action": "ecr:BatchGetImage", "Resource": APP}))
    password = login(pushed, role.key)
    assert [answer.status for answer in everything(pushed, password)].count(403) == 11
    assert pushed.ask("GET", "/v2/app/manifests/v1", password=password).status == 200


def test_who_is_deleted_is_out(pushed: Counter) -> None:
    role = Role(pushed)
    password = login(pushed, role.key)
    pushed.desk(iam.iam, "DeleteRolePolicy", RoleName="deploy", PolicyName="p")
    pushed.desk(iam.iam, "DeleteRole", RoleName="deploy")
    assert statuses(everything(pushed, password)) == {401}


def test_a_key_that_is_no_longer_active_has_no_tokens(pushed: Counter) -> None:
    desk = pushed.desk
    desk(iam.iam, "CreateUser", UserName="ann")
    desk(iam.iam, "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=policy(EVERYTHING))
    key = desk(iam.iam, "CreateAccessKey", UserName="ann")["AccessKey"]["AccessKeyId"]
    password = login(pushed, key)
    for status, allowed in (("Active", True), ("Inactive", False), ("Active", True)):
        desk(iam.iam, "UpdateAccessKey", UserName="ann", AccessKeyId=key, Status=status)
        assert (pushed.ask("GET", "/v2/app/manifests/v1", password=password).status == 200) == allowed
    desk(iam.iam, "DeleteAccessKey", UserName="ann", AccessKeyId=key)
    assert statuses(everything(pushed, password)) == {401}


def test_a_stranger_gets_nothing(pushed: Counter) -> None:
    stranger = pushed.login(root(STRANGER))
    answers = everything(pushed, stranger)
    assert statuses(answers) == {404}  # it sees its own registry only, where no such repository is
    assert {answer.error[1] for answer in answers if answer.body} == {"NAME_UNKNOWN"}
    answers = everything(pushed, stranger, host=f"{ACCOUNT}.dkr.ecr.us-east-1.localhost:4566")
    assert statuses(answers) == {403}
    assert all("no resource-based policy allows" in answer.error[2] for answer in answers if answer.body)
    for password in ("", "wrong", base64.b64encode(b"AWS:x").decode()):
        assert statuses(everything(pushed, password)) == {401}


def test_a_token_is_for_its_region(pushed: Counter) -> None:
    elsewhere = pushed.login(region="eu-west-1")
    assert statuses(everything(pushed, elsewhere)) == {404}
    assert statuses(everything(pushed, elsewhere, f"{ACCOUNT}.dkr.ecr.us-east-1.localhost:4566")) == {403}


def test_an_expired_token_is_told_so(pushed: Counter) -> None:
    old = pushed.password
    pushed.desk.clock.time += 12 * 3600
    pushed.password = pushed.login()
    assert statuses(everything(pushed, old)) == {401}
    assert pushed.ask("GET", "/v2/app/manifests/v1").status == 200
