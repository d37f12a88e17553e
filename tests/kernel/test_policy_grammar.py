"""What is a policy document, and what AWS says of one that is not."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.kernel.policy import parse
from cloudlet.kernel.policy_grammar import Malformed, check

GOOD = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
TOO_OLD = "Policy document must be version 2012-10-17 or greater."
TRUST = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}


def with_statement(base: dict[str, Any], without: str = "", **more: Any) -> str:
    statement = {key: value for key, value in {**base, **more}.items() if key != without}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize("statement", [
    GOOD, {**GOOD, "Sid": "One"}, {**GOOD, "Action": ["s3:*", "*"]}, {**GOOD, "Resource": ["arn:aws:s3:::a", "*"]},
    {**GOOD, "Condition": {"ForAnyValue:StringLikeIfExists": {"aws:x": ["a", "b"]}, "Bool": {"y": True}}},
    {**GOOD, "Resource": "arn:aws:iam::123456789012:role/*"}, {**GOOD, "Resource": "arn:aws:logs:*"},
])
def test_identity_policies_that_are_taken(statement: dict[str, Any]) -> None:
    text = json.dumps({"Version": "2012-10-17", "Id": "x", "Statement": statement})
    check(text, "identity")
    parse(text)


@pytest.mark.parametrize(("text", "message"), [
    ("", "Syntax errors in policy."),
    ("{", "Syntax errors in policy."),
    ("[]", "Syntax errors in policy."),
    ('"x"', "Syntax errors in policy."),
    ("[" * 5000, "Syntax errors in policy."),
    ('{"Version":"2012-10-17"}', "Syntax errors in policy."),
    ('{"Version":"2012-10-17","Statement":[]}', "Syntax errors in policy."),
    ('{"Version":"2012-10-17","Statement":["x"]}', "Syntax errors in policy."),
    ('{"Version":"2012-10-17","Statement":"x"}', "Syntax errors in policy."),
    ('{"Version":"2013-10-17","Statement":{}}', "Syntax errors in policy."),
    (json.dumps({"Version": "2008-10-17", "Statement": GOOD}), TOO_OLD),
    (json.dumps({"Statement": GOOD}), TOO_OLD),
    (json.dumps({"Version": "2012-10-17", "Statement": GOOD, "Extra": 1}), "Syntax errors in policy."),
    (with_statement(GOOD, Effect="allow"), "Syntax errors in policy."),
    (with_statement(GOOD, Effect=["Allow"]), "Syntax errors in policy."),
    (with_statement(GOOD, Extra=1), "Syntax errors in policy."),
    (with_statement(GOOD, Sid=1), "Syntax errors in policy."),
    (with_statement(GOOD, Action=1), "Syntax errors in policy."),
    (with_statement(GOOD, NotAction="s3:*"), "Syntax errors in policy."),
    (with_statement(GOOD, NotResource="*"), "Syntax errors in policy."),
    (with_statement(GOOD, Resource={"a": 1}), "Syntax errors in policy."),
    (with_statement(GOOD, Condition=[]), "Syntax errors in policy."),
    (with_statement(GOOD, Condition={"StringEqual": {"a": "b"}}), "Syntax errors in policy."),
    (with_statement(GOOD, Condition={"StringEquals": {"a": {}}}), "Syntax errors in policy."),
    (with_statement(GOOD, Principal="*"), "Policy document should not specify a principal."),
    (with_statement(GOOD, "Action"), "Policy statement must contain actions."),
    (with_statement(GOOD, Action=[]), "Policy statement must contain actions."),
    (with_statement(GOOD, "Resource"), "Policy statement must contain resources."),
    (with_statement(GOOD, Resource=[]), "Policy statement must contain resources."),
    (with_statement(GOOD, Action="GetObject"),
     "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
    (with_statement(GOOD, Action="s3:Get:Object"), "Actions/Condition can contain only one colon."),
    (with_statement(GOOD, Action="s_3:GetObject"), "Vendor s_3 is not valid"),
    (with_statement(GOOD, Resource="bucket"), 'Resource bucket must be in ARN format or "*".'),
    (with_statement(GOOD, Resource="arn:gov:s3:::x"), 'Partition "gov" is not valid for resource "arn:gov:s3:*:*:x".'),
    (with_statement(GOOD, Resource="arn:aws:s3:us-east-1::x"),
     "Resource arn:aws:s3:us-east-1::x can not contain region information."),
    (with_statement(GOOD, Resource="arn:aws:iam:us-east-1:1:role/x"),
     "IAM resource arn:aws:iam:us-east-1:1:role/x cannot contain region information."),
    (with_statement(GOOD, Resource="arn:aws:s3"), "The policy failed legacy parsing"),
    (json.dumps({"Version": "2012-10-17", "Statement": [{**GOOD, "Sid": "a"}, {**GOOD, "Sid": "a"}]}),
     "Statement IDs (SID) in a single policy must be unique."),
])
def test_identity_policies_that_are_not(text: str, message: str) -> None:
    with pytest.raises(Malformed) as refused:
        check(text, "identity")
    assert str(refused.value) == message


@pytest.mark.parametrize(("text", "message"), [
    ("{", "This policy contains invalid Json"),
    (with_statement(TRUST, "Principal"), "Missing required field Principal"),
    (with_statement(TRUST, Resource="*"), "Has prohibited field Resource"),
    (with_statement(TRUST, "Principal", NotPrincipal="*"), "Has prohibited field NotPrincipal"),
    (with_statement(TRUST, Principal="root"), "Syntax errors in policy."),
    (with_statement(TRUST, Principal={}), "Syntax errors in policy."),
    (with_statement(TRUST, Principal={"User": "x"}), "Syntax errors in policy."),
    (with_statement(TRUST, Principal={"AWS": {"x": 1}}), "Syntax errors in policy."),
    (with_statement(TRUST, Action="s3:GetObject"), "AssumeRole policy may only specify STS AssumeRole actions."),
    (with_statement(TRUST, Action="*"), "AssumeRole policy may only specify STS AssumeRole actions."),
    (with_statement(TRUST, "Action", NotAction="sts:*"), "AssumeRole policy may only specify STS AssumeRole actions."),
])
def test_trust_policies_that_are_not(text: str, message: str) -> None:
    with pytest.raises(Malformed) as refused:
        check(text, "trust")
    assert str(refused.value) == message


@pytest.mark.parametrize("version", ["2008-10-17", "2012-10-17"])
def test_trust_policies_of_both_versions_are_taken(version: str) -> None:
    check(json.dumps({"Version": version, "Statement": [TRUST]}), "trust")
    check(json.dumps({"Statement": [TRUST]}), "trust")


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.sampled_from(["Effect", "Action", "Resource", "Principal", "AWS", "Sid",
                                                         "Condition", "StringEquals", "x"]), inner, max_size=4),
                           max_leaves=12)


@settings(max_examples=200)
@given(json_values, st.sampled_from(["identity", "trust"]))
def test_whatever_is_accepted_can_be_parsed(value: Any, kind: Any) -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": value})
    try:
        check(text, kind)
    except Malformed:
        return
    parse(text)
