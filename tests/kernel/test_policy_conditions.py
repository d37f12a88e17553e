"""The conditions of policies, operator by operator, sentence by sentence."""

import json
from typing import Any

import pytest

from cloudlet.kernel.policy import decide, parse

ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def met(condition: dict[str, Any], **keys: Any) -> bool:
    known = {name.replace("_", ":", 1): tuple(value) if isinstance(value, list) else (value,)
             for name, value in keys.items()}
    return decide([parse(document({**ALLOW, "Condition": condition}))], "a:b", "*", known.get) == "allow"


@pytest.mark.parametrize(("operator", "wanted", "given_", "holds"), [
    ("StringEquals", "a", "a", True), ("StringEquals", ["x", "a"], "a", True), ("StringEquals", "a*", "ab", False),
    ("StringEquals", "a", "A", False), ("StringNotEquals", ["a", "b"], "b", False), ("StringNotEquals", "a", "b", True),
    ("StringEqualsIgnoreCase", "aB", "Ab", True), ("StringNotEqualsIgnoreCase", "aB", "Ab", False),
    ("StringLike", "a*c?", "abbcd", True), ("StringLike", "A*", "ab", False), ("StringNotLike", "a*", "ab", False),
    ("NumericEquals", "10", "10.0", True), ("NumericEquals", 10, "10", True), ("NumericNotEquals", "10", "9", True),
    ("NumericLessThan", "10", "9", True), ("NumericLessThan", "10", "10", False),
    ("NumericLessThanEquals", "10", "10", True), ("NumericGreaterThan", "10", "9", False),
    ("NumericGreaterThanEquals", "9", "10", True), ("NumericEquals", "x", "10", False),
    ("NumericEquals", "10", "x", False),
    ("DateGreaterThan", "2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z", True),
    ("DateLessThan", "2020-01-01", "2019-12-31T23:59:59Z", True),
    ("DateEquals", "2020-01-01T01:00:00+01:00", "2020-01-01T00:00:00Z", True),
    ("DateLessThanEquals", "1577836800", "2020-01-01T00:00:00Z", True),
    ("DateNotEquals", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z", False), ("DateEquals", "soon", "2020", False),
    ("Bool", "true", "True", True), ("Bool", True, "true", True), ("Bool", "false", "true", False),
    ("BinaryEquals", "QmluYXJ5VmFsdWVJbkJhc2U2NA==", "QmluYXJ5VmFsdWVJbkJhc2U2NA==", True),
    ("BinaryEquals", "QQ==", "Qg==", False), ("BinaryEquals", "?", "?", False),
    ("IpAddress", "203.0.113.0/24", "203.0.113.7", True), ("IpAddress", "203.0.113.0/24", "203.0.114.7", False),
    ("IpAddress", "203.0.113.7", "203.0.113.7", True), ("IpAddress", "2001:db8::/32", "2001:db8::1", True),
    ("IpAddress", "2001:db8::/32", "203.0.113.7", False), ("IpAddress", "here", "203.0.113.7", False),
    ("NotIpAddress", ["203.0.113.0/24", "10.0.0.0/8"], "10.1.1.1", False), ("NotIpAddress", "10.0.0.0/8", "::1", True),
    ("ArnEquals", "arn:aws:s3:::a*", "arn:aws:s3:::abc", True), ("ArnLike", "arn:*:s3:::abc", "arn:aws:s3:::abc", True),
    ("ArnLike", "arn:*:abc", "arn:aws:s3:::abc", False), ("ArnLike", "arn:aws:*", "arn:aws:s3:::abc", False),
    ("ArnNotLike", "arn:aws:s3:::a*", "arn:aws:s3:::b", True),
    ("ArnNotEquals", "arn:aws:s3:::a", "arn:aws:s3:::a", False),
    ("ArnLike", "arn:aws:sns:*:1:t:*", "arn:aws:sns:r:1:t:u:v", True),
])
def test_operators(operator: str, wanted: Any, given_: str, holds: bool) -> None:
    assert met({operator: {"aws:K": wanted}}, aws_k=given_) is holds
    assert met({operator + "IfExists": {"AWS:k": wanted}}, aws_k=given_) is holds
    assert met({operator + "IfExists": {"aws:k": wanted}})
    assert met({operator: {"aws:k": wanted}}) is ("Not" in operator)


def test_keys_must_all_hold_and_operators_too() -> None:
    both = {"StringEquals": {"aws:a": "1", "aws:b": ["2", "3"]}, "Bool": {"aws:c": "true"}}
    assert met(both, aws_a="1", aws_b="3", aws_c="true")
    assert not met(both, aws_a="1", aws_b="4", aws_c="true")
    assert not met(both, aws_a="1", aws_b="3", aws_c="false")
    assert met({})


@pytest.mark.parametrize(("wanted", "present", "holds"), [
    ("true", False, True), ("true", True, False), ("false", True, True), ("false", False, False), (True, False, True)])
def test_null(wanted: Any, present: bool, holds: bool) -> None:
    assert met({"Null": {"aws:k": wanted}}, **({"aws_k": "x"} if present else {})) is holds


@pytest.mark.parametrize(("operator", "wanted", "given_", "holds"), [
    ("ForAllValues:StringEquals", ["a", "b"], ["a"], True),
    ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
    ("ForAllValues:StringEquals", ["a"], None, True), ("ForAllValues:StringEquals", ["a"], [], True),
    ("ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True), ("ForAnyValue:StringEquals", ["a"], ["c"], False),
    ("ForAnyValue:StringEquals", ["a"], None, False), ("ForAnyValue:StringEqualsIfExists", ["a"], None, True),
    ("ForAnyValue:StringNotEquals", ["a"], ["a", "b"], True), ("ForAnyValue:StringNotEquals", ["a"], ["a"], False),
    ("ForAnyValue:StringNotEquals", ["a"], None, False), ("ForAllValues:StringNotEquals", ["a"], ["a", "b"], False),
    ("ForAllValues:StringNotLike", ["a*"], ["b", "c"], True), ("ForAllValues:StringNotLike", ["a*"], None, True),
])
def test_sets(operator: str, wanted: list[str], given_: list[str] | None, holds: bool) -> None:
    assert met({operator: {"aws:TagKeys": wanted}}, **({} if given_ is None else {"aws_tagkeys": given_})) is holds


def test_several_values_without_a_set_operator() -> None:
    assert met({"StringEquals": {"aws:k": "a"}}, aws_k=["a", "b"])
    assert not met({"StringNotEquals": {"aws:k": "a"}}, aws_k=["a", "b"])


def test_variables_in_conditions() -> None:
    same_team = {"StringEquals": {"aws:resourcetag/team": "${aws:principaltag/Team}"}}
    tags = {"aws_resourcetag/team": "a*"}
    assert met(same_team, **tags, **{"aws_principaltag/team": "a*"})
    assert not met({"StringLike": {"aws:resourcetag/team": "${aws:principaltag/team}"}},
                   **{"aws_resourcetag/team": "abc", "aws_principaltag/team": "a*"})
    assert not met(same_team, **tags)
    assert not met({"StringNotEquals": {"aws:resourcetag/team": "${aws:principaltag/team}"}}, **tags)
    assert met({"StringLike": {"aws:k": "${*}${?}${$}*"}}, aws_k="*?$anything")
    assert met({"ArnLike": {"aws:k": "arn:aws:iam::${aws:account}:role/*"}}, aws_k="arn:aws:iam::1:role/x",
               aws_account="1")
