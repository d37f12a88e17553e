"""Sessions: what they may do, when they end, and that they are forgotten."""

import asyncio
import json
from types import SimpleNamespace

from cloudlet.control.outcome import Again, Done
from cloudlet.services.iam import Role, controller, find_role, iam, open_session
from cloudlet.services.iam.records import Session
from tests.services.desk import ACCOUNT, Desk

TRUST = '{"Statement":{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}}'
ARN = f"arn:aws:iam::{ACCOUNT}:role/x/app"


def document(action: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": action, "Resource": "*"}})


def role(desk: Desk) -> Role:
    desk(iam, "CreateRole", RoleName="app", Path="/x/", AssumeRolePolicyDocument=TRUST)
    desk(iam, "PutRolePolicy", RoleName="app", PolicyName="p", PolicyDocument=document("s3:*"))
    with desk.store.tx() as tx:
        made = find_role(tx, ARN)
        assert find_role(tx, f"arn:aws:iam::{ACCOUNT}:role/app") is None
    assert made is not None
    return made


def test_a_session_acts_with_its_role(desk: Desk) -> None:
    made = role(desk)
    with desk.store.tx() as tx:
        credential = open_session(tx, made, "me", 900)
    assert credential.expires == desk.clock.now() + 900
    principal = desk.principal(credential.access_key_id)
    assert principal == credential.principal
    assert principal is not None
    assert principal.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/app/me"
    assert principal.user_id == f"{made.id}:me"
    assert desk.refuses(principal, "s3:GetObject", "*") is None
    desk(iam, "DeleteRolePolicy", RoleName="app", PolicyName="p")
    refused = desk.refuses(principal, "s3:GetObject", "*")
    assert refused is not None
    assert refused.message.startswith(f"User: {principal.arn} is not authorized to perform: s3:GetObject ")


def test_session_policies_narrow_and_add_up(desk: Desk) -> None:
    made = role(desk)
    arn = desk(iam, "CreatePolicy", PolicyName="put", PolicyDocument=document("s3:PutObject"))["Policy"]["Arn"]
    with desk.store.tx() as tx:
        narrow = open_session(tx, made, "me", 900, policy=document("s3:Get*"), policy_arns=[arn])
    principal = desk.principal(narrow.access_key_id)
    assert principal is not None
    assert desk.refuses(principal, "s3:GetObject", "*") is None
    assert desk.refuses(principal, "s3:PutObject", "*") is None
    refused = desk.refuses(principal, "s3:DeleteObject", "*")
    assert refused is not None
    assert refused.message.endswith("because no session policy allows the s3:DeleteObject action")
    desk(iam, "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=document("s3:DeleteObject"), SetAsDefault=True)
    principal = desk.principal(narrow.access_key_id)
    assert principal is not None
    assert desk.refuses(principal, "s3:DeleteObject", "*") is None
    assert desk.refuses(principal, "s3:PutObject", "*") is not None
    assert desk.refuses(principal, "sqs:SendMessage", "*") is not None  # a session policy gives nothing of its own


def test_a_session_ends_with_its_role_even_if_the_name_comes_back(desk: Desk) -> None:
    made = role(desk)
    with desk.store.tx() as tx:
        key = open_session(tx, made, "me", 900).access_key_id
    desk(iam, "DeleteRolePolicy", RoleName="app", PolicyName="p")
    desk(iam, "DeleteRole", RoleName="app")
    assert desk.principal(key) is None
    role(desk)
    assert desk.principal(key) is None


def test_expired_sessions_are_forgotten(desk: Desk) -> None:
    made = role(desk)
    with desk.store.tx() as tx:
        key = open_session(tx, made, "me", 900).access_key_id
    forget = controller(desk.store, SimpleNamespace(keysets=None), desk.site).reconcilers["iam.session"]
    assert asyncio.run(forget(key)) == Again(900.0)
    desk.clock.time += 900
    assert asyncio.run(forget(key)) == Done()
    with desk.store.tx() as tx:
        assert tx.get(Session, key) is None
    assert asyncio.run(forget(key)) == Done()
