"""Who names a role for tasks must be allowed to pass it."""

import json
from typing import Any

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.services.ecs import ecs
from cloudlet.services.ecs.api import AccessDeniedException, InvalidParameterException
from cloudlet.services.iam import iam
from tests.services.desk import ACCOUNT, Desk
from tests.services.ecs.test_definition_rules import request

ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"


def somebody(desk: Desk) -> Principal:
    desk(iam, "CreateUser", UserName="bob")
    key = desk(iam, "CreateAccessKey", UserName="bob")["AccessKey"]["AccessKeyId"]
    principal = desk.principal(key)
    assert principal is not None
    return principal


def let_pass(desk: Desk, service: str) -> None:
    desk(iam, "PutUserPolicy", UserName="bob", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE,
            "Condition": {"StringEquals": {"iam:PassedToService": service}}}}))


@pytest.mark.parametrize("roles", [{"taskRoleArn": ROLE}, {"executionRoleArn": ROLE}])
def test_a_definition_with_a_role_needs_pass_role(desk: Desk, roles: dict[str, Any]) -> None:
    bob = somebody(desk)
    desk(ecs, "RegisterTaskDefinition", bob, **request(family="plain"))
    for service in (None, "ec2.amazonaws.com"):
        if service:
            let_pass(desk, service)
        with pytest.raises(AccessDeniedException, match=f"to perform: iam:PassRole on resource: {ROLE} "):
            desk(ecs, "RegisterTaskDefinition", bob, **request(family="web", **roles))
    let_pass(desk, "ecs-tasks.amazonaws.com")
    desk(ecs, "RegisterTaskDefinition", bob, **request(family="web", **roles))


def test_a_task_needs_it_for_its_definitions_roles_and_for_overrides(desk: Desk) -> None:
    bob = somebody(desk)
    desk(ecs, "CreateCluster")
    desk(ecs, "RegisterTaskDefinition", **request(family="plain"))
    desk(ecs, "RegisterTaskDefinition", **request(family="web", taskRoleArn=ROLE))
    for asked in ({"taskDefinition": "web"}, {"taskDefinition": "plain", "overrides": {"taskRoleArn": ROLE}}):
        with pytest.raises(AccessDeniedException, match="iam:PassRole"):
            desk(ecs, "RunTask", bob, **asked)
    with pytest.raises(AccessDeniedException, match="iam:PassRole"):
        desk(ecs, "CreateService", bob, serviceName="web", taskDefinition="web", desiredCount=1)
    let_pass(desk, "ecs-tasks.amazonaws.com")
    with pytest.raises(InvalidParameterException):  # it goes on to what else the request lacks
        desk(ecs, "RunTask", bob, taskDefinition="web")


def test_conditions_see_the_tags_of_clusters_and_definitions(desk: Desk) -> None:
    assert ecs.tags_of is not None
    made = desk(ecs, "CreateCluster", clusterName="c", tags=[{"key": "team", "value": "red"}])["cluster"]["clusterArn"]
    definition = desk(ecs, "RegisterTaskDefinition", **request(family="web", tags=[{"key": "a", "value": "1"}]))
    with desk.store.tx() as tx:
        assert ecs.tags_of(tx, made) == {"team": "red"}
        assert ecs.tags_of(tx, definition["taskDefinition"]["taskDefinitionArn"]) == {"a": "1"}
        for nothing in (made + "2", "arn:aws:ecs:us-east-1:123456789012:task-definition/web", "*"):
            assert ecs.tags_of(tx, nothing) == {}
