"""Account settings, what they change, and what Fargate has none of."""

from typing import Any

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.services.ecs import ecs
from cloudlet.services.ecs.api import (
    AccessDeniedException,
    InvalidParameterException,
    NamespaceNotFoundException,
)
from cloudlet.services.iam import iam
from tests.services.desk import ACCOUNT, Desk

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
NAMES = ["awsvpcTrunking", "containerInsights", "containerInstanceLongArnFormat", "defaultLogDriverMode",
         "fargateEventWindows", "fargateFIPSMode", "fargateTaskRetirementWaitPeriod", "guardDutyActivate",
         "serviceLongArnFormat", "tagResourceAuthorization", "taskLongArnFormat"]


@pytest.fixture
def ann(desk: Desk) -> Principal:
    """A user who may do whatever begins with Create or Describe."""
    desk(iam, "CreateUser", UserName="ann")
    desk(iam, "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=(
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecs:Create*", "Resource": "*"}]}'))
    arn = f"arn:aws:iam::{ACCOUNT}:user/ann"
    return Principal("user", ACCOUNT, arn, "AIDA", arn)


def settings(desk: Desk, principal: Principal | None = None, **request: Any) -> dict[str, tuple[str, str]]:
    found = desk(ecs, "ListAccountSettings", principal, **request)["settings"]
    return {one["name"]: (one["value"], one["principalArn"]) for one in found}


def test_settings_are_the_principals_the_accounts_or_ecss_own(desk: Desk, ann: Principal) -> None:
    assert settings(desk) == {}
    assert list(settings(desk, effectiveSettings=True)) == NAMES
    assert settings(desk, ann, effectiveSettings=True, name="containerInsights") == {
        "containerInsights": ("disabled", ann.arn)}
    made = desk(ecs, "PutAccountSettingDefault", name="containerInsights", value="Enhanced")["setting"]
    assert made == {"name": "containerInsights", "value": "enhanced", "principalArn": ROOT, "type": "user"}
    assert settings(desk, ann, effectiveSettings=True, name="containerInsights") == {
        "containerInsights": ("enhanced", ann.arn)}
    assert settings(desk, ann) == {}
    desk(ecs, "PutAccountSetting", ann, name="containerInsights", value="enabled")
    assert settings(desk, ann) == settings(desk, principalArn=ann.arn) == {"containerInsights": ("enabled", ann.arn)}
    assert settings(desk, ann, name="containerInsights", value="disabled") == {}
    insights = {}
    for name, principal in (("hers", ann), ("ours", None)):
        insights[name] = desk(ecs, "CreateCluster", principal, clusterName=name)["cluster"]["settings"][0]["value"]
    assert insights == {"hers": "enabled", "ours": "enhanced"}
    assert desk(ecs, "CreateCluster", clusterName="c", settings=[{"name": "containerInsights", "value": "disabled"}])[
        "cluster"]["settings"] == [{"name": "containerInsights", "value": "disabled"}]
    gone = desk(ecs, "DeleteAccountSetting", ann, name="containerInsights")["setting"]
    assert (gone["value"], gone["principalArn"]) == ("enhanced", ann.arn)
    assert settings(desk, region="eu-west-1", effectiveSettings=True)["containerInsights"] == ("disabled", ROOT)


def test_only_the_root_user_sets_for_others(desk: Desk, ann: Principal) -> None:
    with pytest.raises(AccessDeniedException):
        desk(ecs, "PutAccountSetting", ann, name="containerInsights", value="enabled", principalArn=ROOT)
    with pytest.raises(InvalidParameterException):
        desk(ecs, "PutAccountSetting", name="containerInsights", value="enabled", principalArn="ann")
    with pytest.raises(InvalidParameterException, match="only be set for the root user"):
        desk(ecs, "PutAccountSetting", ann, name="fargateTaskRetirementWaitPeriod", value="0")
    desk(ecs, "PutAccountSetting", name="fargateTaskRetirementWaitPeriod", value="0")
    assert settings(desk) == {"fargateTaskRetirementWaitPeriod": ("0", ROOT)}


@pytest.mark.parametrize(("name", "value", "words"), [
    ("guardDutyActivate", "on", "AWS manages it"), ("serviceLongArnFormat", "disabled", "not supported by Cloudlet"),
    ("fargateFIPSMode", "enabled", "not supported by Cloudlet"), ("containerInsights", "much", "Invalid value"),
    ("fargateTaskRetirementWaitPeriod", "3", "Invalid value"), ("tagResourceAuthorization", "enabled", "Invalid value"),
    ("fargateEventWindows", "enabled", "not supported by Cloudlet")])
def test_what_cannot_be_set(desk: Desk, name: str, value: str, words: str) -> None:
    for operation in ("PutAccountSetting", "PutAccountSettingDefault"):
        with pytest.raises(InvalidParameterException, match=words):
            desk(ecs, operation, name=name, value=value)
    assert settings(desk) == {}


def test_making_something_with_tags_needs_the_permission_to_tag(desk: Desk, ann: Principal) -> None:
    tags = [{"key": "k", "value": "v"}]
    desk(ecs, "CreateCluster", ann, clusterName="bare")
    with pytest.raises(AccessDeniedException, match=r"ecs:TagResource on resource: .*cluster/tagged"):
        desk(ecs, "CreateCluster", ann, clusterName="tagged", tags=tags)
    desk(iam, "PutUserPolicy", UserName="ann", PolicyName="t", PolicyDocument=(
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecs:TagResource", "Resource": "*",'
        ' "Condition": {"StringEquals": {"ecs:CreateAction": "CreateCluster", "aws:RequestTag/k": "v"}}}]}'))
    desk(ecs, "CreateCluster", ann, clusterName="tagged", tags=tags)
    with pytest.raises(AccessDeniedException):
        desk(ecs, "CreateCluster", ann, clusterName="other", tags=[{"key": "k", "value": "w"}])
    desk(ecs, "PutAccountSettingDefault", name="tagResourceAuthorization", value="off")
    desk(ecs, "CreateCluster", ann, clusterName="other", tags=[{"key": "k", "value": "w"}])


def test_there_are_no_container_instances_and_no_namespaces(desk: Desk) -> None:
    desk(ecs, "CreateCluster", clusterName="c")
    assert desk(ecs, "ListContainerInstances", cluster="c") == {"containerInstanceArns": []}
    described = desk(ecs, "DescribeContainerInstances", cluster="c", containerInstances=["i"])
    assert described == {"containerInstances": [], "failures": [
        {"arn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:container-instance/c/i", "reason": "MISSING"}]}
    with pytest.raises(InvalidParameterException):
        desk(ecs, "DescribeContainerInstances", cluster="c", containerInstances=[])
    with pytest.raises(NamespaceNotFoundException):
        desk(ecs, "ListServicesByNamespace", namespace="n")
