"""The evaluation of policies, against an evaluator that was written without looking at it, and sentence by sentence."""

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.kernel import policy
from cloudlet.kernel.policy import decide, glob, merge, parse, trust


def document(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


def says(action: str, resource: str, *statements: dict[str, Any]) -> str:
    return decide([parse(document(*statements))], action, resource)


ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}
QUEUE = "arn:aws:sqs:us-east-1:123456789012:jobs"


@pytest.mark.parametrize(("statement", "decision"), [
    ({}, "allow"),
    ({"Action": "sqs:SendMessage"}, "allow"),
    ({"Action": ["s3:*", "sqs:send*"]}, "allow"),
    ({"Action": "SQS:SENDMESSAGE"}, "allow"),
    ({"Action": "sqs:?endMessage"}, "allow"),
    ({"Action": "*:SendMessage"}, "allow"),
    ({"Action": "sqs:SendMessageBatch"}, "none"),
    ({"Action": "sqs:Send"}, "none"),
    ({"Action": "sns:*"}, "none"),
    ({"Resource": QUEUE}, "allow"),
    ({"Resource": "arn:aws:sqs:*:123456789012:j*s"}, "allow"),
    ({"Resource": ["arn:aws:sqs:us-east-1:123456789012:other", QUEUE]}, "allow"),
    ({"Resource": QUEUE.upper()}, "none"),
    ({"Resource": "arn:aws:sqs:us-east-1:123456789012:job"}, "none"),
    ({"Resource": []}, "none"),
    ({"Effect": "Deny"}, "deny"),
])
def test_actions_and_resources(statement: dict[str, Any], decision: str) -> None:
    assert says("sqs:SendMessage", QUEUE, {**ALLOW, **statement}) == decision


def test_an_explicit_deny_wins_wherever_it_stands() -> None:
    deny = {"Effect": "Deny", "Action": "sqs:*", "Resource": QUEUE}
    assert says("sqs:SendMessage", QUEUE, ALLOW, deny) == "deny"
    assert says("sqs:SendMessage", QUEUE, deny, ALLOW) == "deny"
    assert decide([parse(document(ALLOW)), parse(document(deny))], "sqs:SendMessage", QUEUE) == "deny"
    assert says("sqs:SendMessage", QUEUE + "2", ALLOW, deny) == "allow"


def test_one_statement_need_not_be_a_list() -> None:
    assert decide([parse(json.dumps({"Version": "2012-10-17", "Statement": ALLOW}))], "a:b", "*") == "allow"


@pytest.mark.parametrize("more", [
    {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
    {"NotAction": "iam:*"},
    {"NotResource": "arn:aws:iam::*:role/x"},
    {"Resource": "arn:aws:s3:::${aws:username}/*"},
])
def test_an_allow_with_what_is_not_evaluated_allows_nothing(more: dict[str, Any]) -> None:
    statement = {**ALLOW, **more}
    for name in more:
        statement.pop(name.removeprefix("Not"), None) if name.startswith("Not") else None
    assert says("s3:GetObject", "arn:aws:s3:::bob/x", statement) == "none"


@pytest.mark.parametrize(("more", "decision"), [
    ({"Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "false"}}}, "deny"),
    ({"NotAction": "iam:*", "Resource": "*"}, "deny"),
    ({"NotAction": "s3:Get*", "Resource": "*"}, "allow"),
    ({"Action": "*", "NotResource": "arn:aws:s3:::alice/*"}, "deny"),
    ({"Action": "*", "NotResource": "arn:aws:s3:::bob/*"}, "allow"),
    ({"Action": "*", "NotResource": "arn:aws:s3:::${aws:username}/*"}, "deny"),
    ({"Action": "*", "Resource": "arn:aws:s3:::${aws:username}/*"}, "deny"),
    ({"Action": "*", "Resource": "arn:aws:s3:::${aws:username"}, "deny"),
])
def test_a_deny_is_never_left_out(more: dict[str, Any], decision: str) -> None:
    assert says("s3:GetObject", "arn:aws:s3:::bob/x", ALLOW, {"Effect": "Deny", **more}) == decision


def test_the_older_version_has_no_variables() -> None:
    old = document({**ALLOW, "Resource": "arn:aws:s3:::${a}"}, version="2008-10-17")
    assert decide([parse(old)], "s3:GetObject", "arn:aws:s3:::${a}") == "allow"


def test_merged_documents_allow_and_deny_together() -> None:
    both = merge([document(ALLOW), json.dumps({"Version": "2012-10-17", "Statement": {**ALLOW, "Effect": "Deny",
                                                                                      "Action": "iam:*"}})])
    assert decide([parse(both)], "sqs:SendMessage", "*") == "allow"
    assert decide([parse(both)], "iam:GetUser", "*") == "deny"
    assert decide([parse(policy.NOTHING)], "sqs:SendMessage", "*") == "none"


@pytest.mark.parametrize(("pattern", "text"), [("*a" * 30 + "*b", "a" * 3000), ("?*" * 200 + "x", "a" * 3000)])
def test_no_pattern_takes_for_ever(pattern: str, text: str) -> None:
    assert not glob([pattern])(text)  # a matcher that goes back never gets here


# ── an independent evaluator ─────────────────────────────────────────────────────────────────────────────────────


def naive_glob(pattern: str, text: str) -> bool:
    @cache
    def match(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "*":
            return match(p + 1, t) or (t < len(text) and match(p, t + 1))
        return t < len(text) and pattern[p] in ("?", text[t]) and match(p + 1, t + 1)
    return match(0, 0)


def naive_any(patterns: str | list[str], text: str) -> bool:
    return any(naive_glob(pattern, text) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


def naive_actions(patterns: str | list[str], action: str) -> bool:
    lower = patterns.lower() if isinstance(patterns, str) else [pattern.lower() for pattern in patterns]
    return naive_any(lower, action.lower())


def naive_decide(documents: list[dict[str, Any]], action: str, resource: str) -> str:
    verdicts = []
    for content in documents:
        statements = content["Statement"] if isinstance(content["Statement"], list) else [content["Statement"]]
        for statement in statements:
            actions = (naive_actions(statement["Action"], action) if "Action" in statement
                       else not naive_actions(statement["NotAction"], action))
            resources = (naive_any(statement["Resource"], resource) if "Resource" in statement
                         else not naive_any(statement["NotResource"], resource))
            plain = "Action" in statement and "Resource" in statement and "Condition" not in statement
            if actions and resources and (plain or statement["Effect"] == "Deny"):
                verdicts.append(statement["Effect"])
    return "deny" if "Deny" in verdicts else "allow" if verdicts else "none"


letters = st.text("aAb*?:/", min_size=0, max_size=8)
actions = st.one_of(st.just("*"), st.builds("{}:{}".format, st.text("aAb*?", min_size=1, max_size=3),
                                            st.text("aAbB*?", min_size=1, max_size=6)))


def one_or_more(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str | list[str]]:
    return st.one_of(strategy, st.lists(strategy, max_size=4))


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"]))}
    made[draw(st.sampled_from(["Action"] * 4 + ["NotAction"]))] = draw(one_or_more(actions))
    made[draw(st.sampled_from(["Resource"] * 4 + ["NotResource"]))] = draw(one_or_more(letters))
    if draw(st.integers(0, 5)) == 0:
        made["Condition"] = {"Bool": {"aws:SecureTransport": "true"}}
    return made


documents = st.fixed_dictionaries({"Version": st.just("2012-10-17"),
                                   "Statement": st.one_of(statements(), st.lists(statements(), max_size=4))})


requests = st.builds("{}:{}".format, st.text("aAb", min_size=1, max_size=2), st.text("aAbB", min_size=1, max_size=4))


@settings(max_examples=300, deadline=None)
@given(st.lists(documents, max_size=3), requests, st.text("aAb:/", max_size=6))
def test_it_agrees_with_the_naive_evaluator(contents: list[dict[str, Any]], action: str, resource: str) -> None:
    parsed = [parse(json.dumps(content)) for content in contents]
    assert decide(parsed, action, resource) == naive_decide(contents, action, resource)


@settings(max_examples=300, deadline=None)
@given(st.lists(letters, max_size=3), st.text("aAb:/", max_size=8))
def test_globs_agree_with_naive_ones(patterns: list[str], text: str) -> None:
    assert glob(patterns)(text) == naive_any(patterns, text)


# ── trust policies ───────────────────────────────────────────────────────────────────────────────────────────────

ACCOUNT = "123456789012"
USER = f"arn:aws:iam::{ACCOUNT}:user/bob"


def trusts(principal: Any, *, action: str = "sts:AssumeRole", effect: str = "Allow", **more: Any) -> str:
    parsed = parse(document({"Effect": effect, "Principal": principal, "Action": action, **more}))
    return trust(parsed, "sts:AssumeRole", [("AWS", USER)], ACCOUNT)


@pytest.mark.parametrize(("principal", "answer"), [
    ({"AWS": USER}, "principal"),
    ({"AWS": ["arn:aws:iam::999999999999:root", USER]}, "principal"),
    ("*", "principal"),
    ({"AWS": "*"}, "principal"),
    ({"AWS": ACCOUNT}, "account"),
    ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "account"),
    ({"AWS": "999999999999"}, "none"),
    ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/*"}, "none"),  # no patterns among principals
    ({"Service": "ecs-tasks.amazonaws.com"}, "none"),
    ({"Service": USER}, "none"),
])
def test_whom_a_role_trusts(principal: Any, answer: str) -> None:
    assert trusts(principal) == answer


def test_a_trust_policy_can_deny_and_can_say_too_little() -> None:
    assert trusts({"AWS": ACCOUNT}, effect="Deny") == "deny"
    assert trusts({"AWS": USER}, action="sts:TagSession") == "none"
    assert trusts({"AWS": USER}, Condition={"StringEquals": {"sts:ExternalId": "x"}}) == "none"
    both = parse(document({"Effect": "Allow", "Principal": "*", "Action": "sts:*"},
                          {"Effect": "Deny", "Principal": {"AWS": USER}, "Action": "sts:*"}))
    assert trust(both, "sts:AssumeRole", [("AWS", USER)], ACCOUNT) == "deny"
    assert trust(both, "sts:AssumeRole", [("AWS", USER + "2")], ACCOUNT) == "principal"


def test_a_service_is_trusted_by_its_name_alone() -> None:
    ecs = parse(document({"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                          "Action": "sts:AssumeRole"}))
    assert trust(ecs, "sts:AssumeRole", [("Service", "ecs-tasks.amazonaws.com")], "") == "principal"
    assert trust(ecs, "sts:AssumeRole", [("Service", "ec2.amazonaws.com")], "") == "none"
    everybody = parse(document({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}))
    assert trust(everybody, "sts:AssumeRole", [("Service", "ecs-tasks.amazonaws.com")], "") == "none"
