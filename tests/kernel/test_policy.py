"""The evaluation of policies, against an evaluator that was written without looking at it, and sentence by sentence."""

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.kernel import policy
from cloudlet.kernel.policy import Caller, Policies, decide, evaluate, granted, merge, parse
from cloudlet.kernel.policy_match import glob


def document(*statements: dict[str, Any], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


def says(action: str, resource: str, *statements: dict[str, Any]) -> str:
    return decide([parse(document(*statements))], action, resource)


ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}
KEYS: dict[str, tuple[str, ...]] = {"aws:username": ("bob",), "aws:securetransport": ("true",),
                                    "aws:several": ("bob", "eve")}
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


@pytest.mark.parametrize(("more", "decision"), [
    ({"NotAction": "iam:*"}, "allow"),
    ({"NotAction": ["iam:*", "S3:get*"]}, "none"),
    ({"NotResource": "arn:aws:iam::*:role/x"}, "allow"),
    ({"NotResource": "arn:aws:s3:::bob/*"}, "none"),
    ({"NotResource": "arn:aws:s3:::${aws:username}/*"}, "none"),
    ({"NotResource": "arn:aws:s3:::${aws:nobody}/*"}, "none"),  # without a value nobody knows what is left out
    ({"Resource": "arn:aws:s3:::${aws:username}/*"}, "allow"),
    ({"Resource": "arn:aws:s3:::${AWS:UserName}/${*}"}, "none"),
    ({"Resource": "arn:aws:s3:::${aws:nobody}/*"}, "none"),
    ({"Resource": "arn:aws:s3:::${aws:nobody, 'bob'}/*"}, "allow"),
    ({"Resource": "arn:aws:s3:::${aws:username, 'alice'}/*"}, "allow"),
    ({"Resource": ["arn:aws:s3:::${aws:nobody}/*", "arn:aws:s3:::b?b/x"]}, "allow"),
    ({"Resource": "arn:aws:s3:::${aws:several}/*"}, "none"),
    ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, "allow"),
    ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, "none"),
])
def test_an_allow_with_the_rest_of_the_language(more: dict[str, Any], decision: str) -> None:
    statement = {name: value for name, value in ALLOW.items() if f"Not{name}" not in more} | more
    parsed = parse(document(statement))
    assert decide([parsed], "s3:GetObject", "arn:aws:s3:::bob/x", KEYS.get) == decision


def test_a_variable_brings_no_wildcards() -> None:
    parsed = parse(document({**ALLOW, "Resource": "arn:aws:s3:::${aws:username}/*"}))
    star = {"aws:username": ("*",)}
    assert decide([parsed], "s3:GetObject", "arn:aws:s3:::bob/x", star.get) == "none"
    assert decide([parsed], "s3:GetObject", "arn:aws:s3:::*/x", star.get) == "allow"


@pytest.mark.parametrize(("more", "decision"), [
    ({"Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "false"}}}, "allow"),
    ({"Action": "*", "Resource": "*", "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}}, "deny"),
    ({"NotAction": "iam:*", "Resource": "*"}, "deny"),
    ({"NotAction": "s3:Get*", "Resource": "*"}, "allow"),
    ({"Action": "*", "NotResource": "arn:aws:s3:::alice/*"}, "deny"),
    ({"Action": "*", "NotResource": "arn:aws:s3:::bob/*"}, "allow"),
    ({"Action": "*", "NotResource": "arn:aws:s3:::${aws:username}/*"}, "allow"),
    ({"Action": "*", "NotResource": "arn:aws:s3:::${aws:nobody}/*"}, "deny"),
    ({"Action": "*", "Resource": "arn:aws:s3:::${aws:username}/*"}, "deny"),
    ({"Action": "*", "Resource": "arn:aws:s3:::${aws:nobody}/*"}, "allow"),
    ({"Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:username": "${aws:nobody}"}}}, "deny"),
])
def test_a_deny_with_the_rest_of_the_language(more: dict[str, Any], decision: str) -> None:
    parsed = parse(document(ALLOW, {"Effect": "Deny", **more}))
    assert decide([parsed], "s3:GetObject", "arn:aws:s3:::bob/x", KEYS.get) == decision


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
# Patterns are lists of one-character strings here; a character that stands for itself is wrapped in a tuple.

Signs = list[Any]


def naive_glob(pattern: str | Signs, text: str) -> bool:
    @cache
    def match(p: int, t: int) -> bool:
        if p == len(pattern):
            return t == len(text)
        if pattern[p] == "*":
            return match(p + 1, t) or (t < len(text) and match(p, t + 1))
        if t == len(text):
            return False
        return (pattern[p] in ("?", text[t]) or pattern[p] == (text[t],)) and match(p + 1, t + 1)
    return match(0, 0)


def naive_any(patterns: str | list[str], text: str) -> bool:
    return any(naive_glob(pattern, text) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


def naive_actions(patterns: str | list[str], action: str) -> bool:
    lower = patterns.lower() if isinstance(patterns, str) else [pattern.lower() for pattern in patterns]
    return naive_any(lower, action.lower())


Known = dict[str, tuple[str, ...]]


def naive_expand(pattern: str, keys: Known) -> Signs | None:
    signs: Signs = []
    while pattern:
        if not pattern.startswith("${"):
            signs.append(pattern[0])
            pattern = pattern[1:]
            continue
        name, _, pattern = pattern[2:].partition("}")
        if name in ("*", "?", "$"):
            signs.append((name,))
        elif len(keys.get(name, ())) == 1:
            signs += [(sign,) for sign in keys[name][0]]
        else:
            return None
    return signs


def naive_one(operator: str, wanted: str, value: str, keys: Known) -> bool | None:
    """Whether one value fits one wanted; None where a variable is unknown."""
    if operator == "NumericLessThan":
        return float(value) < float(wanted)
    signs = naive_expand(wanted, keys)
    if signs is None:
        return None
    if operator == "StringEquals":
        return "".join(sign if isinstance(sign, str) else sign[0] for sign in signs) == value
    return naive_glob(signs, value)


def naive_condition(name: str, key: str, wanted: list[str], keys: Known, deny: bool) -> bool:
    if name == "Null":
        return str(key not in keys or not keys[key]).lower() in wanted
    values = keys.get(key) or ()
    base = name.split(":")[-1].replace("IfExists", "")
    negated, positive = "Not" in base, base.replace("Not", "")
    if not values:
        if name.endswith("IfExists") or name.startswith("ForAllValues"):
            return True
        return negated and not name.startswith("ForAnyValue")
    answers = [[naive_one(positive, one, value, keys) for one in wanted] for value in values]
    if negated and not deny and any(None in row for row in answers):
        return False
    fits = [True in row for row in answers]
    if name.startswith("ForAllValues"):
        return all(fit != negated for fit in fits)
    if name.startswith("ForAnyValue"):
        return any(fit != negated for fit in fits)
    return not any(fits) if negated else any(fits)


def naive_resources(statement: dict[str, Any], resource: str, keys: Known) -> bool:
    patterns = statement.get("Resource", statement.get("NotResource", "*"))
    expanded = [naive_expand(each, keys) for each in ([patterns] if isinstance(patterns, str) else patterns)]
    found = any(signs is not None and naive_glob(signs, resource) for signs in expanded)
    if "NotResource" not in statement:
        return found
    return not found and (statement["Effect"] == "Deny" or None not in expanded)


def naive_applies(statement: dict[str, Any], action: str, resource: str, keys: Known) -> bool:
    actions = (naive_actions(statement["Action"], action) if "Action" in statement
               else not naive_actions(statement["NotAction"], action))
    return actions and naive_resources(statement, resource, keys) and all(
        naive_condition(name, key, wanted, keys, statement["Effect"] == "Deny")
        for name, test in statement.get("Condition", {}).items() for key, wanted in test.items())


def naive_statements(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [statement for content in contents for statement in
            (content["Statement"] if isinstance(content["Statement"], list) else [content["Statement"]])]


def naive_decide(contents: list[dict[str, Any]], action: str, resource: str, keys: Known) -> str:
    verdicts = [each["Effect"] for each in naive_statements(contents) if naive_applies(each, action, resource, keys)]
    return "deny" if "Deny" in verdicts else "allow" if verdicts else "none"


letters = st.text("aAb*?:/", min_size=0, max_size=8)
actions = st.one_of(st.just("*"), st.builds("{}:{}".format, st.text("aAb*?", min_size=1, max_size=3),
                                            st.text("aAbB*?", min_size=1, max_size=6)))
patterns = st.lists(st.sampled_from(["a", "b", "*", "?", "/", "${k:a}", "${k:b}", "${*}", "${k:none}"]),
                    max_size=4).map("".join)
operators = st.sampled_from(["String{}Equals{}", "String{}Like{}", "ForAllValues:String{}Like{}",
                             "ForAnyValue:String{}Equals{}"])


def one_or_more(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str | list[str]]:
    return st.one_of(strategy, st.lists(strategy, max_size=4))


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.integers(0, 7))
    key = draw(st.sampled_from(["k:a", "k:b", "k:c", "k:none"]))
    if kind == 0:
        return {"Null": {key: [draw(st.sampled_from(["true", "false"]))]}}
    if kind == 1:
        return {"NumericLessThan": {"k:number": [draw(st.sampled_from(["1", "2", "3.5"]))]}}
    name = draw(operators).format(draw(st.sampled_from(["", "Not"])), draw(st.sampled_from(["", "", "IfExists"])))
    return {name: {key: draw(st.lists(patterns, min_size=1, max_size=3))}}


@st.composite
def statements(draw: st.DrawFn, principals: Any = None) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"]))}
    made[draw(st.sampled_from(["Action"] * 4 + ["NotAction"]))] = draw(one_or_more(actions))
    made[draw(st.sampled_from(["Resource"] * 4 + ["NotResource"]))] = draw(one_or_more(st.one_of(letters, patterns)))
    if draw(st.integers(0, 2)) == 0:
        made["Condition"] = draw(conditions())
    if principals is not None:
        made[draw(st.sampled_from(["Principal"] * 3 + ["NotPrincipal"]))] = draw(principals)
    return made


def documents_of(statement: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"Version": st.just("2012-10-17"),
                                  "Statement": st.one_of(statement, st.lists(statement, max_size=4))})


documents = documents_of(statements())
requests = st.builds("{}:{}".format, st.text("aAb", min_size=1, max_size=2), st.text("aAbB", min_size=1, max_size=4))
contexts = st.fixed_dictionaries({}, optional={
    "k:a": st.text("ab*?/", max_size=3).map(lambda text: (text,)), "k:b": st.text("ab", max_size=2).map(lambda t: (t,)),
    "k:c": st.lists(st.text("ab", max_size=2), max_size=3).map(tuple), "k:number": st.just(("2",))})


@settings(max_examples=500)
@given(st.lists(documents, max_size=3), requests, st.text("aAb:/*", max_size=6), contexts)
def test_it_agrees_with_the_naive_evaluator(contents: list[dict[str, Any]], action: str, resource: str,
                                            keys: Known) -> None:
    parsed = [parse(json.dumps(content)) for content in contents]
    assert decide(parsed, action, resource, keys.get) == naive_decide(contents, action, resource, keys)


@settings(max_examples=300)
@given(st.lists(letters, max_size=3), st.text("aAb:/", max_size=8))
def test_globs_agree_with_naive_ones(patterns: list[str], text: str) -> None:
    assert glob(patterns)(text) == naive_any(patterns, text)


# ── callers, resource policies, limits ───────────────────────────────────────────────────────────────────────────────

ACCOUNT, OTHER = "123456789012", "999999999999"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
USER = f"arn:aws:iam::{ACCOUNT}:user/bob"
ROLE, SESSION = f"arn:aws:iam::{ACCOUNT}:role/app", f"arn:aws:sts::{ACCOUNT}:assumed-role/app/me"
BOB = Caller(frozenset({("AWS", USER)}), account=ACCOUNT)
APP = Caller(frozenset({("AWS", SESSION)}), frozenset({("AWS", ROLE)}), ACCOUNT)
ECS = Caller(frozenset({("Service", "ecs-tasks.amazonaws.com")}))


def naive_evaluate(caller: Caller, identity: Any, boundary: Any, session: Any, resource_policy: Any, action: str,
                   resource: str, keys: Known, crosses: bool, trust: bool) -> bool:
    """AWS's page on the logic, read from top to bottom."""
    sides = [identity, *([boundary] if boundary is not None else []), *([session] if session is not None else [])]
    about = [each for each in naive_statements([resource_policy] if resource_policy else [])
             if naive_applies(each, action, resource, keys)]

    def names(statement: dict[str, Any]) -> set[str]:
        element = statement.get("Principal", statement.get("NotPrincipal"))
        listed = "*" if element == "*" else element.get("AWS", [])
        return {listed} if isinstance(listed, str) else set(listed)

    own = {name for kind, name in caller.direct | caller.limited if kind == "AWS"}
    is_role, denied, reach = bool(caller.limited), False, set[str]()
    for statement in about:
        listed = names(statement)
        account = bool(listed & {ACCOUNT, ROOT})
        if "NotPrincipal" in statement:
            if statement["Effect"] == "Deny":
                denied = denied or not (own <= listed and account)
            elif not account and not listed & (own | {"*"}):
                reach.add("role" if is_role else "self")
        elif statement["Effect"] == "Deny":
            denied = denied or account or bool(listed & (own | {"*"}))
        else:
            if listed & {SESSION, USER} & own:
                reach.add("self")
            if listed & {ROLE} & own or "*" in listed:
                reach.add("role" if is_role else "self")
            if account:
                reach.add("account")
    if denied or any(naive_decide([side], action, resource, keys) == "deny" for side in sides):
        return False
    allowed = [naive_decide([side], action, resource, keys) == "allow" for side in sides]
    if crosses:
        return bool(reach) and all(allowed)
    if trust and not reach:
        return False
    return "self" in reach or ("role" in reach and all(allowed[1:])) or all(allowed)


principals_ = st.one_of(st.just("*"), st.fixed_dictionaries({"AWS": one_or_more(
    st.sampled_from([USER, ROLE, SESSION, ROOT, ACCOUNT, OTHER, "*"])).filter(bool)}))
maybe = st.one_of(st.none(), documents)


@settings(max_examples=500)
@given(st.sampled_from([BOB, APP]), documents, maybe, maybe,
       st.one_of(st.none(), documents_of(statements(principals_))), requests, st.text("ab:/", max_size=4), contexts,
       st.booleans(), st.booleans())
def test_the_whole_agrees_with_the_naive_evaluator(
        caller: Caller, identity: Any, boundary: Any, session: Any, resource_policy: Any, action: str, resource: str,
        keys: Known, crosses: bool, trust: bool) -> None:
    def ready(content: Any) -> Any:
        return None if content is None else [parse(json.dumps(content))]
    policies = Policies(ready(identity), ready(boundary), ready(session))
    own = parse(json.dumps(resource_policy)) if resource_policy else ()
    refused = evaluate(policies, granted(own, caller, action, resource, keys.get), action, resource, keys.get,
                       crosses=crosses, trust=trust)
    assert (refused is None) is naive_evaluate(caller, identity, boundary, session, resource_policy, action, resource,
                                               keys, crosses, trust)


def trusts(principal: Any, *, caller: Caller = BOB, action: str = "sts:AssumeRole", effect: str = "Allow",
           element: str = "Principal", **more: Any) -> str:
    parsed = parse(document({"Effect": effect, element: principal, "Action": action, **more}))
    return granted(parsed, caller, "sts:AssumeRole", ROLE, {"sts:externalid": ("x",)}.get)


@pytest.mark.parametrize(("principal", "user", "session"), [
    ({"AWS": USER}, "direct", "none"),
    ({"AWS": ROLE}, "none", "limited"),
    ({"AWS": SESSION}, "none", "direct"),
    ({"AWS": ["arn:aws:iam::999999999999:root", USER]}, "direct", "none"),
    ("*", "direct", "limited"),
    ({"AWS": "*"}, "direct", "limited"),
    ({"AWS": ACCOUNT}, "account", "account"),
    ({"AWS": ROOT}, "account", "account"),
    ({"AWS": [ROOT, USER, ROLE]}, "direct", "limited"),
    ({"AWS": OTHER}, "none", "none"),
    ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/*"}, "none", "none"),  # no patterns among principals
    ({"Service": "ecs-tasks.amazonaws.com"}, "none", "none"),
    ({"Service": USER}, "none", "none"),
])
def test_whom_a_policy_means(principal: Any, user: str, session: str) -> None:
    assert trusts(principal) == user
    assert trusts(principal, caller=APP) == session


@pytest.mark.parametrize(("principal", "user", "session"), [
    ({"AWS": [USER, ROOT]}, "none", "deny"), ({"AWS": USER}, "deny", "deny"), ({"AWS": ROOT}, "deny", "deny"),
    ({"AWS": [SESSION, ROLE, ACCOUNT]}, "deny", "none"), ({"AWS": [ROLE, ACCOUNT]}, "deny", "deny")])
def test_a_deny_spares_whom_not_principal_names_whole(principal: Any, user: str, session: str) -> None:
    assert trusts(principal, effect="Deny", element="NotPrincipal") == user
    assert trusts(principal, effect="Deny", element="NotPrincipal", caller=APP) == session


def test_an_allow_with_not_principal_means_everybody_else() -> None:
    assert trusts({"AWS": USER}, element="NotPrincipal") == "none"
    assert trusts({"AWS": ROOT}, element="NotPrincipal") == "none"
    assert trusts({"AWS": OTHER}, element="NotPrincipal") == "direct"


def test_a_trust_policy_can_deny_and_can_say_too_little() -> None:
    assert trusts({"AWS": ACCOUNT}, effect="Deny") == "deny"
    assert trusts({"AWS": USER}, action="sts:TagSession") == "none"
    assert trusts({"AWS": USER}, Condition={"StringEquals": {"sts:ExternalId": "x"}}) == "direct"
    assert trusts({"AWS": USER}, Condition={"StringEquals": {"sts:ExternalId": "y"}}) == "none"


def test_a_service_is_trusted_by_its_name_alone() -> None:
    assert trusts({"Service": "ecs-tasks.amazonaws.com"}, caller=ECS) == "direct"
    assert trusts({"Service": "ec2.amazonaws.com"}, caller=ECS) == "none"
    assert trusts({"AWS": "*"}, caller=ECS) == "none"


@pytest.mark.parametrize(("which", "says"), [
    ("identity", "identity-based policy"), ("boundary", "permissions boundary"), ("session", "session policy")])
def test_a_refusal_names_the_kind_of_policy(which: str, says: str) -> None:
    everything, nothing = [parse(policy.EVERYTHING)], [parse(policy.NOTHING)]
    deny = [parse(document({**ALLOW, "Effect": "Deny"}))]
    given_ = {"identity": everything, "boundary": everything, "session": everything}
    refused = evaluate(Policies(**{**given_, which: nothing}), "none", "a:B", "*")
    assert refused is not None
    assert refused.because("a:B") == f"because no {says} allows the a:B action"
    refused = evaluate(Policies(**{**given_, which: deny}), "direct", "a:B", "*")
    assert refused is not None
    assert refused.because("a:B") == f"with an explicit deny in {'an' if says[0] == 'i' else 'a'} {says}"
    refused = evaluate(Policies(**given_), "deny", "a:B", "*")
    assert refused is not None
    assert refused.because("a:B") == "with an explicit deny in a resource-based policy"
    refused = evaluate(Policies(**given_), "none", "a:B", "*", crosses=True)
    assert refused is not None
    assert refused.because("a:B") == "because no resource-based policy allows the a:B action"
