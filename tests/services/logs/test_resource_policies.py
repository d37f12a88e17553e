"""Resource policies of Logs: kept, and counted in decisions."""

import json

import pytest

from cloudlet.kernel.call import Principal
from cloudlet.services.logs import logs
from cloudlet.services.logs.resource_policies import POLICIES_MAX
from cloudlet.services.logs.service import InvalidParameter, LimitExceeded, ResourceNotFound
from tests.services.desk import ACCOUNT, Desk, root

RESOURCE = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:g:log-stream:"


def document(effect: str, principal: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Sid": "x", "Effect": effect, "Principal": {"AWS": principal}, "Action": "logs:*", "Resource": "*"}]})


def put(desk: Desk, name: str, text: str) -> None:
    desk(logs, "PutResourcePolicy", policyName=name, policyDocument=text)


def test_put_resource_policy_describe_and_delete_it(desk: Desk) -> None:
    text = document("Allow", f"arn:aws:iam::{ACCOUNT}:root")
    answer = desk(logs, "PutResourcePolicy", policyName="b", policyDocument=text)
    expected = {"policyName": "b", "policyDocument": text, "policyScope": "ACCOUNT",
                "lastUpdatedTime": int(desk.clock.now() * 1000)}
    assert answer == {"resourcePolicy": expected}
    put(desk, "a", text)
    assert [each["policyName"] for each in desk(logs, "DescribeResourcePolicies")["resourcePolicies"]] == ["a", "b"]
    assert desk(logs, "DescribeResourcePolicies")["resourcePolicies"][1] == expected
    assert desk(logs, "DescribeResourcePolicies", policyScope="RESOURCE") == {"resourcePolicies": []}
    assert desk(logs, "DescribeResourcePolicies", root("210987654321")) == {"resourcePolicies": []}
    desk(logs, "DeleteResourcePolicy", policyName="b")
    with pytest.raises(ResourceNotFound):
        desk(logs, "DeleteResourcePolicy", policyName="b")
    for wrong in ("{}", "x", json.dumps({"Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}),
                  text.replace("logs:*", "logs:" + "x" * 5120)):
        with pytest.raises(InvalidParameter):
            put(desk, "a", wrong)
    with pytest.raises(InvalidParameter):
        desk(logs, "PutResourcePolicy", policyDocument=text)
    with pytest.raises(InvalidParameter, match="resourceArn is not supported"):
        desk(logs, "PutResourcePolicy", policyDocument=text, resourceArn=RESOURCE)
    for number in range(POLICIES_MAX - 1):
        put(desk, f"p{number}", text)
    with pytest.raises(LimitExceeded):
        put(desk, "more", text)
    put(desk, "a", text)


def test_resource_policies_count_in_every_decision(desk: Desk) -> None:
    user = Principal("user", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/u", "AIDA", f"arn:aws:iam::{ACCOUNT}:user/u")
    from cloudlet.services.iam import iam, identities
    desk.identities = identities(desk.site, (logs, iam))
    desk(iam, "CreateUser", UserName="u")
    assert desk.refuses(user, "logs:PutLogEvents", RESOURCE) is not None
    put(desk, "a", document("Allow", user.arn))
    assert desk.refuses(user, "logs:PutLogEvents", RESOURCE) is None
    put(desk, "b", document("Deny", user.arn))
    assert desk.refuses(user, "logs:PutLogEvents", RESOURCE) is not None
    desk(logs, "DeleteResourcePolicy", policyName="b")
    assert desk.refuses(user, "logs:PutLogEvents", RESOURCE) is None
    assert desk.refuses(user, "logs:PutLogEvents", RESOURCE.replace("us-east-1", "eu-west-1")) is not None
