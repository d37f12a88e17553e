"""Families and revisions."""

import asyncio
from typing import Any

import pytest

from cloudlet.control.outcome import Done
from cloudlet.services.ecs import definitions, ecs
from cloudlet.services.ecs.api import ClientException, InvalidParameterException
from tests.services.desk import Desk
from tests.services.ecs.test_definition_rules import request

ARN = "arn:aws:ecs:us-east-1:123456789012:task-definition/"


def register(desk: Desk, family: str = "web", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = desk(ecs, "RegisterTaskDefinition", **request(**{"family": family, **more}))
    return found


def test_revisions_count_up_and_the_latest_active_one_is_meant(desk: Desk) -> None:
    first = register(desk, tags=[{"key": "k", "value": "v"}])
    assert first["taskDefinition"]["taskDefinitionArn"] == ARN + "web:1"
    assert first["tags"] == [{"key": "k", "value": "v"}]
    assert first["taskDefinition"]["registeredBy"] == "arn:aws:iam::123456789012:root"
    register(desk)
    described = desk(ecs, "DescribeTaskDefinition", taskDefinition="web", include=["TAGS"])
    assert described["taskDefinition"]["revision"] == 2
    assert described["tags"] == []
    gone = desk(ecs, "DeregisterTaskDefinition", taskDefinition="web:2")["taskDefinition"]
    assert gone["status"] == "INACTIVE"
    assert gone["deregisteredAt"] == desk.clock.now()
    assert desk(ecs, "DescribeTaskDefinition", taskDefinition="web")["taskDefinition"]["revision"] == 1
    assert desk(ecs, "DescribeTaskDefinition", taskDefinition=ARN + "web:2")["taskDefinition"]["status"] == "INACTIVE"


def test_what_is_not_there(desk: Desk) -> None:
    for text in ("web", "web:1", ARN + "web:1", "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:1"):
        with pytest.raises(ClientException, match="Unable to describe task definition"):
            desk(ecs, "DescribeTaskDefinition", taskDefinition=text)
    with pytest.raises(ClientException, match="does not exist"):
        desk(ecs, "DeregisterTaskDefinition", taskDefinition="web:1")
    with pytest.raises(InvalidParameterException, match="Missing revision"):
        desk(ecs, "DeregisterTaskDefinition", taskDefinition="web")


def test_lists(desk: Desk) -> None:
    for family in ("web", "web", "web2", "api"):
        register(desk, family)
    for _ in range(9):
        register(desk, "api")
    assert desk(ecs, "ListTaskDefinitions", familyPrefix="web")["taskDefinitionArns"] == [ARN + "web:1", ARN + "web:2"]
    newest = desk(ecs, "ListTaskDefinitions", sort="DESC")["taskDefinitionArns"]
    assert newest[:3] == [ARN + "web2:1", ARN + "web:2", ARN + "web:1"]
    assert newest[3:5] == [ARN + "api:10", ARN + "api:9"]
    desk(ecs, "DeregisterTaskDefinition", taskDefinition="web2:1")
    families = "ListTaskDefinitionFamilies"
    assert desk(ecs, families)["families"] == ["api", "web", "web2"]
    assert desk(ecs, families, status="ACTIVE", familyPrefix="web")["families"] == ["web"]
    assert desk(ecs, families, status="INACTIVE")["families"] == ["web2"]
    assert desk(ecs, "ListTaskDefinitions", status="INACTIVE")["taskDefinitionArns"] == [ARN + "web2:1"]


def test_deleting_takes_an_inactive_one_and_never_gives_its_number_again(desk: Desk) -> None:
    register(desk)
    answer = desk(ecs, "DeleteTaskDefinitions", taskDefinitions=["web:1", "web:2"])
    assert [failure["reason"][:43] for failure in answer["failures"]] == [
        "The specified task definition is still in A", "The specified task definition does not exis"]
    desk(ecs, "DeregisterTaskDefinition", taskDefinition="web:1")
    answer = desk(ecs, "DeleteTaskDefinitions", taskDefinitions=["web:1"])
    assert answer["taskDefinitions"][0]["status"] == "DELETE_IN_PROGRESS"
    with desk.store.tx() as tx:
        (key,) = [d.key for d in tx.find(definitions.Definition)]
    assert asyncio.run(definitions.reconcile(desk.store, key)) == Done()
    with pytest.raises(ClientException, match="Unable to describe"):
        desk(ecs, "DescribeTaskDefinition", taskDefinition="web:1")
    assert register(desk)["taskDefinition"]["revision"] == 2
