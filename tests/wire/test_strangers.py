"""Who gets nothing: strangers, lapsed credentials, signatures for something else, and whoever lost permission.

Over every operation that any service declares, so that none can be forgotten.
"""

import asyncio
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from cloudlet.kernel.call import Call
from cloudlet.kernel.clock import SystemClock
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.names import Installation
from cloudlet.kernel.service import Service
from cloudlet.kernel.site import Site
from cloudlet.services import iam, logs, s3, sts
from cloudlet.services.iam.identities import ANSWERED_BY_THE_OPERATION
from cloudlet.services.iam.records import Session
from cloudlet.store.db import Store
from cloudlet.wire.gateway import Gateway
from tests.services.desk import ACCOUNT, Clock, root
from tests.wire.exchange import signed
from tests.wire.test_probe import declared, well_formed

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
DENIED = re.compile(rb"AccessDenied|UnauthorizedOperation|not authorized to perform|AccessDeniedException")
# What needs no permission, since it only tells callers who they are, or opens by a token of its own.
OPEN = ANSWERED_BY_THE_OPERATION
TEXTS = ("default", "abc-1", "arn:aws:iam::123456789012:role/x", "10.0.0.0/16", "us-east-1a", "a" * 40, "/a",
         "arn:aws:ecs:us-east-1:123456789012:cluster/default", "sha256:" + "0" * 64, "123456789012", "{}", "1",
         "https://example.com/x", "ABCDEFGHIJ234567ABCDEFGHIJ234567")
ADDRESSES = {"QueueUrl": "http://localhost:4566/000000000000/default",  # what is none is refused for that
             "TopicArn": "arn:aws:sns:us-east-1:000000000000:default"}


@dataclass
class Plane:
    """IAM's real answers in front of every service."""

    store: Store
    clock: Clock
    gateway: Gateway

    def do(self, service: Service, operation: str, **request: Any) -> Any:
        """As the account's root, past the wire."""
        call = Call("request", ACCOUNT, "us-east-1", root(), self.clock.now(), "http://localhost:4566")
        with self.store.tx() as tx:
            return service.operations[operation].run(call, tx, request)

    def ask(self, request: Request) -> Response:
        answer = asyncio.run(self.gateway.handle(request))
        assert isinstance(answer.body, bytes | bytearray) or answer.status != 200
        return answer

    def records(self) -> list[Any]:
        """All that is stored, but when keys and roles were last used."""
        with self.store.tx() as tx:
            return [tx.execute("select * from record where kind != 'iam.usage'").fetchall(),
                    tx.execute("select kind, key from work").fetchall()]

    def role(self, name: str, *policies: str) -> Any:
        """Credentials of a session of a new role."""
        trust = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": ACCOUNT},
                                                        "Action": "sts:AssumeRole"}}
        arn = self.do(iam.iam, "CreateRole", RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        for policy in policies:
            self.do(iam.iam, "AttachRolePolicy", RoleName=name, PolicyArn=policy)
        return self.do(sts.sts, "AssumeRole", RoleArn=arn, RoleSessionName="me")["Credentials"]

    def user(self, name: str, *policies: str) -> Any:
        """The access key of a new user."""
        self.do(iam.iam, "CreateUser", UserName=name)
        for policy in policies:
            self.do(iam.iam, "AttachUserPolicy", UserName=name, PolicyArn=policy)
        return self.do(iam.iam, "CreateAccessKey", UserName=name)["AccessKey"]


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    clock = Clock()
    clock.time = SystemClock().now()  # botocore signs with the real time
    store = Store(str(tmp_path / "store.db"), clock)
    store.create_tables(logs.TABLES + s3.TABLES)
    identities = iam.identities(Site(Installation("abcdef"), tmp_path), declared())
    return Plane(store, clock, Gateway(declared(), store, clock, identities))


def fitting(shape: Shape, depth: int = 0) -> Any:
    """A small value that the shape allows, as far as its text can be guessed."""
    match shape:
        case StructureShape():
            return {name: ADDRESSES.get(name) or fitting(member, depth + 1) for name, member in shape.members.items()
                    if name in shape.required_members and depth < 6}
        case ListShape():
            return [fitting(shape.member, depth + 1)]
        case MapShape():
            return {fitting(shape.key): fitting(shape.value, depth + 1)}
    low = shape.metadata.get("min", 0)
    match shape.type_name:
        case "integer" | "long":
            return max(1, int(low))
        case "float" | "double" | "timestamp":
            return float(max(1, low))
        case "boolean":
            return False
        case "blob":
            return b"0"
    return shape.metadata["enum"][0] if "enum" in shape.metadata else _text(shape, int(low))


def _text(shape: Shape, low: int) -> str:
    most, pattern = shape.metadata.get("max", 10_000), shape.metadata.get("pattern", "")
    for text in TEXTS:
        try:
            if low <= len(text) <= most and (not pattern or re.fullmatch(pattern, text)):
                return text
        except re.error:
            return text
    return TEXTS[1]


def asked(plane: Plane, service: Service, operation: OperationModel, credentials: Any, *, scope: str | None = None,
          **more: Any) -> Request:
    """The operation with as little as it needs, signed by a user or a session; `more` spoils the signature."""
    plain = well_formed(plane.gateway, service, next(iter(service.protocols)), operation,
                        fitting(operation.input_shape) if operation.input_shape else {})
    body = asyncio.run(plain.body.read(10_000_000))
    url = f"http://localhost:4566{plain.path}" + (f"?{plain.query}" if plain.query else "")
    headers = {name: value for name, value in plain.headers.items()
               if name in ("x-amz-target", "content-type", "smithy-protocol", "accept")}
    given = {"key": credentials["AccessKeyId"], "secret": credentials["SecretAccessKey"],
             "token": credentials.get("SessionToken")} | more
    return signed(scope or service.model.signing_name, body, method=plain.method, url=url, headers=headers, **given)


@pytest.mark.parametrize("who", ["user", "role"])
def test_whom_nothing_is_allowed_gets_nothing_from_any_operation(plane: Plane, who: str) -> None:
    credentials = plane.user("nobody") if who == "user" else plane.role("nobody")
    plane.do(s3.s3, "CreateBucket", Bucket=TEXTS[0])  # of one that is not there S3 says so to anybody
    before, answered, wrong = plane.records(), 0, []
    for service in declared():
        for operation in service.operations.values():
            if f"{service.prefix}:{operation.model.name}" in OPEN or operation.model.auth_type == "none":
                continue
            answer = plane.ask(asked(plane, service, operation.model, credentials))
            body = answer.body if isinstance(answer.body, bytes) else b""
            if answer.status < 400 or answer.status >= 500:
                wrong.append((service.name, operation.model.name, answer.status))
            answered += bool(DENIED.search(body))
    assert not wrong
    assert plane.records() == before
    count = sum(len(service.operations) for service in declared())
    assert answered > 0.9 * count, f"{answered} of {count} were refused for want of a permission"


LISTS = {"ecs": "ListClusters", "ecr": "DescribeRepositories", "logs": "DescribeLogGroups", "iam": "ListUsers",
         "ssm": "DescribeParameters", "secretsmanager": "ListSecrets", "ec2": "DescribeVpcs"}


def each_list(plane: Plane, credentials: Any) -> dict[str, Request]:
    found = {}
    for service in declared():
        if service.name in LISTS:
            operation = service.operations[LISTS[service.name]].model
            found[service.name] = asked(plane, service, operation, credentials)
    assert len(found) == len(LISTS)
    return found


def statuses(plane: Plane, requests: dict[str, Request]) -> dict[str, int]:
    return {name: plane.ask(request).status for name, request in requests.items()}


def all_are(answers: dict[str, int], *allowed: int) -> bool:
    return all(status in allowed for status in answers.values())


@pytest.mark.parametrize("who", ["user", "role"])
def test_what_was_taken_away_a_moment_ago_is_gone(plane: Plane, who: str) -> None:
    make = plane.user if who == "user" else plane.role
    credentials = make("ann", ADMINISTRATOR)
    assert all_are(statuses(plane, each_list(plane, credentials)), 200)
    name = {"UserName": "ann"} if who == "user" else {"RoleName": "ann"}
    kind = who.capitalize()
    plane.do(iam.iam, f"Detach{kind}Policy", **name, PolicyArn=ADMINISTRATOR)
    refused = each_list(plane, credentials)
    assert all(DENIED.search(bytes(plane.ask(request).body)) for request in refused.values())
    plane.do(iam.iam, f"Attach{kind}Policy", **name, PolicyArn=ADMINISTRATOR)
    assert all_are(statuses(plane, each_list(plane, credentials)), 200)
    plane.do(iam.iam, f"Put{kind}PermissionsBoundary", **name,
             PermissionsBoundary="arn:aws:iam::aws:policy/AmazonSSMReadOnlyAccess")
    found = statuses(plane, each_list(plane, credentials))
    assert [service for service, status in found.items() if status == 200] == ["ssm"]


def test_keys_that_are_no_more(plane: Plane) -> None:
    key, session = plane.user("ann", ADMINISTRATOR), plane.role("app", ADMINISTRATOR)
    assert all_are(statuses(plane, each_list(plane, key) | {"again": each_list(plane, session)["ecs"]}), 200)
    plane.do(iam.iam, "UpdateAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert all_are(statuses(plane, each_list(plane, key)), 400, 401, 403)
    plane.do(iam.iam, "UpdateAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Active")
    assert all_are(statuses(plane, each_list(plane, key)), 200)
    plane.do(iam.iam, "DeleteAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"])
    assert all_are(statuses(plane, each_list(plane, key)), 400, 401, 403)
    with plane.store.tx() as tx:  # its hour is over
        tx.put(replace(tx.get(Session, session["AccessKeyId"]), expires=plane.clock.now()))
    assert all_are(statuses(plane, each_list(plane, session)), 400, 401, 403)


def test_a_session_ends_with_its_role(plane: Plane) -> None:
    session = plane.role("app", ADMINISTRATOR)
    assert all_are(statuses(plane, each_list(plane, session)), 200)
    plane.do(iam.iam, "DetachRolePolicy", RoleName="app", PolicyArn=ADMINISTRATOR)
    plane.do(iam.iam, "DeleteRole", RoleName="app")
    plane.role("app", ADMINISTRATOR)
    assert all_are(statuses(plane, each_list(plane, session)), 400, 401, 403)


def test_signatures_of_strangers_and_for_something_else(plane: Plane) -> None:
    key, session, other = plane.user("ann", ADMINISTRATOR), plane.role("app", ADMINISTRATOR), plane.role("b")
    stranger = {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x" * 40}
    cases: list[tuple[Any, dict[str, Any]]] = [
        (stranger, {}), (key, {"secret": "x" * 40}), (key, {"token": session["SessionToken"]}),
        (session, {"token": None}), (session, {"token": other["SessionToken"]}),
        (session, {"key": other["AccessKeyId"]})]
    for service in declared():
        if service.name in LISTS:
            operation = service.operations[LISTS[service.name]].model
            for credentials in (key, session):
                assert plane.ask(asked(plane, service, operation, credentials)).status == 200
                elsewhere = plane.ask(asked(plane, service, operation, credentials,
                                            scope="ecs" if service.name == "iam" else "iam"))
                assert elsewhere.status in (400, 403, 404), (service.name, elsewhere)
            for credentials, more in cases:
                answer = plane.ask(asked(plane, service, operation, credentials, **more))
                assert answer.status in (400, 401, 403), (service.name, more, answer)
