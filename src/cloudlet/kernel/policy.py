"""The evaluation of IAM policies: pure functions of documents, an action and a resource.

An explicit Deny wins over any Allow, and what nothing allows is refused. Elements that are not evaluated yet never give
a permission: an Allow statement with one of them (Condition, NotAction, NotResource, a policy variable) allows nothing,
and a Deny statement with a Condition denies as if the condition held.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec

Decision = Literal["allow", "deny", "none"]
Trust = Literal["principal", "account", "deny", "none"]
Matcher = Callable[[str], bool]

PARSED_MAX = 2048  # parsed documents that are remembered; a document has at most about 10,000 characters
NOTHING = '{"Version":"2012-10-17","Statement":[]}'
EVERYTHING = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
_VARIABLE = re.compile(r"\$\{[^}]*\}?")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, ready to be asked. `principals` are (kind, name) pairs such as ("Service", "ec2.amazonaws.com")."""

    deny: bool
    action: Matcher
    resource: Matcher
    principals: frozenset[tuple[str, str]]


Policy = tuple[Statement, ...]


def decide(policies: Iterable[Policy], action: str, resource: str) -> Decision:
    """What identity policies together say of one action on one resource (an ARN, or "*")."""
    action, found = action.lower(), False
    for policy in policies:
        for statement in policy:
            if (statement.deny or not found) and statement.action(action) and statement.resource(resource):
                if statement.deny:
                    return "deny"
                found = True
    return "allow" if found else "none"


def trust(policy: Policy, action: str, names: Iterable[tuple[str, str]], account: str) -> Trust:
    """What a role's trust policy says of a caller known by `names`, e.g. ("AWS", its ARN), of `account`.

    "principal": the caller itself is named (or everybody is); "account": only its account is, so that the caller's own
    policies must allow the action too. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """
    mine = frozenset(names)
    theirs = frozenset({("AWS", account), ("AWS", f"arn:aws:iam::{account}:root")}) if account else frozenset()
    if any(kind == "AWS" for kind, _ in mine):
        mine |= {("AWS", "*")}
    action, found = action.lower(), "none"
    for statement in policy:
        direct, via_account = not mine.isdisjoint(statement.principals), not theirs.isdisjoint(statement.principals)
        if (direct or via_account) and statement.action(action):
            if statement.deny:
                return "deny"
            found = "principal" if direct or found == "principal" else "account"
    return found  # type: ignore[return-value]


@lru_cache(maxsize=PARSED_MAX)
def parse(document: str) -> Policy:
    """A document that `policy_grammar.check` has accepted, compiled; remembered by its text."""
    content: dict[str, Any] = msgspec.json.decode(document)
    variables = content.get("Version") == "2012-10-17"  # in the older version "${" is only text
    parsed = (_statement(each, variables) for each in listed(content["Statement"]))
    return tuple(statement for statement in parsed if statement is not None)


def merge(documents: Iterable[str]) -> str:
    """One document that allows and denies what several of today's version together do."""
    statements = [each for text in documents for each in listed(msgspec.json.decode(text)["Statement"])]
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": statements}).decode()


def listed(value: Any) -> list[Any]:
    """A value of the policy language, which may always be one thing or a list of things."""
    return value if isinstance(value, list) else [value]


def principals(element: Any) -> frozenset[tuple[str, str]]:
    """The (kind, name) pairs of a Principal element; "*" is every AWS principal."""
    if element is None:
        return frozenset()
    if not isinstance(element, Mapping):
        return frozenset({("AWS", "*")})
    return frozenset((kind, name) for kind, names in element.items() for name in listed(names))


def _statement(content: Mapping[str, Any], variables: bool) -> Statement | None:
    """None for a statement that allows nothing."""
    deny = content["Effect"] == "Deny"
    if not deny and not content.keys().isdisjoint(("Condition", "NotAction", "NotResource", "NotPrincipal")):
        return None
    action = _actions(listed(content.get("Action", [])))
    if "NotAction" in content:
        action = _negated(_actions(listed(content["NotAction"])))
    patterns = listed(content.get("Resource", "*"))
    if variables and not deny:
        patterns = [pattern for pattern in patterns if not _VARIABLE.search(pattern)]
    elif variables:
        patterns = [_VARIABLE.sub("*", pattern) for pattern in patterns]
    resource = glob(patterns)
    if "NotResource" in content:
        resource = _negated(glob(p for p in listed(content["NotResource"]) if not (variables and _VARIABLE.search(p))))
    named = principals("*" if "NotPrincipal" in content else content.get("Principal"))
    return Statement(deny, action, resource, named)


def _negated(matches: Matcher) -> Matcher:
    return lambda text: not matches(text)


def _actions(patterns: list[str]) -> Matcher:
    """Action patterns by service, since a managed policy may list a thousand; actions are compared in lower case."""
    by_service: dict[str, list[str]] = {}
    for pattern in patterns:
        service = pattern.lower().partition(":")[0]
        by_service.setdefault("*" if "*" in service or "?" in service else service, []).append(pattern.lower())
    matchers = {service: glob(group) for service, group in by_service.items()}
    anywhere = matchers.pop("*", None)

    def matches(action: str) -> bool:
        of_service = matchers.get(action.partition(":")[0])
        return (of_service is not None and of_service(action)) or (anywhere is not None and anywhere(action))
    return matches


def glob(patterns: Iterable[str]) -> Matcher:
    """Matches a whole text against patterns in which `*` is any run of characters and `?` any one; case counts."""
    exact, begins, wild = set(), [], []
    for pattern in patterns:
        if not pattern.strip("*") and pattern:
            return lambda text: True
        if "*" not in pattern and "?" not in pattern:
            exact.add(pattern)
        elif "?" not in pattern and pattern.find("*") == len(pattern) - 1:
            begins.append(pattern[:-1])
        else:
            wild.append(_expression(pattern))
    prefixes = tuple(begins)
    if not wild:
        return lambda text: text in exact or text.startswith(prefixes)
    found = re.compile("|".join(wild), re.DOTALL).fullmatch
    return lambda text: text in exact or text.startswith(prefixes) or found(text) is not None


def _expression(pattern: str) -> str:
    """One pattern as a regular expression that never backtracks into an earlier `*`.

    A customer writes these, so they must not take exponential time: each piece between stars is found at its first
    place for good (an atomic group), which loses no match because the last piece is anchored by the end of the text.
    """
    first, *rest = (re.escape(piece).replace(r"\?", ".") for piece in re.sub(r"\*+", "*", pattern).split("*"))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{piece})" for piece in middle) + ".*" + last
