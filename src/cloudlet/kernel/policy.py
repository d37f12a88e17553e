"""The evaluation of IAM policies: pure functions of documents, an action, a resource and what is known of the request.

An explicit Deny wins over any Allow, and what nothing allows is refused.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec

from cloudlet.kernel.policy_conditions import Holds, compile_conditions
from cloudlet.kernel.policy_match import (
    Keys,
    Matcher,
    action_matcher,
    expand,
    glob,
    glob_one,
    has_variables,
    no_keys,
    variables_of,
)

Decision = Literal["allow", "deny", "none"]
# What a resource policy says: "direct" names the caller beyond its limits (a user, a session), "limited" names a role
# (whose boundary and session policies still count), "account" names its account (so that its own policies decide).
Grant = Literal["direct", "limited", "account", "deny", "none"]
Source = Literal["identity-based policy", "permissions boundary", "session policy", "resource-based policy"]
Name = tuple[str, str]  # the kind and the name of a principal, e.g. ("Service", "ec2.amazonaws.com")

PARSED_MAX = 2048  # parsed documents that are remembered; a document has at most about 10,000 characters
NOTHING = '{"Version":"2012-10-17","Statement":[]}'
EVERYTHING = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
_EVERYBODY: Name = ("AWS", "*")
_ORDER: tuple[Grant, ...] = ("none", "account", "limited", "direct")


@dataclass(frozen=True, slots=True)
class Resources:
    """The Resource or NotResource element: what is fixed, and the patterns whose variables are still open."""

    fixed: Matcher
    open: tuple[str, ...]
    negated: bool
    deny: bool

    def match(self, resource: str, keys: Keys) -> bool:
        """Whether the statement is about the resource. A variable without a value matches nothing; it excludes
        nothing from a Deny with NotResource, and everything from an Allow."""
        if not self.open:
            return self.fixed(resource) != self.negated
        expanded = [expand(pattern, keys) for pattern in self.open]
        found = self.fixed(resource) or any(text is not None and glob_one(text)(resource) for text in expanded)
        if self.negated and not self.deny and None in expanded:
            return False
        return found != self.negated


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, ready to be asked. `others`: `principals` are those who are not meant (NotPrincipal)."""

    deny: bool
    action: Matcher
    resources: Resources
    conditions: tuple[Holds, ...]
    principals: frozenset[Name]
    others: bool
    sid: str

    def applies(self, action: str, resource: str, keys: Keys) -> bool:
        """Whether action (in lower case), resource and conditions fit."""
        return (self.action(action) and self.resources.match(resource, keys)
                and all(holds(keys) for holds in self.conditions))


Policy = tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """By which names policies may mean a caller: see Grant. `account` "": it has none (a service)."""

    direct: frozenset[Name]
    limited: frozenset[Name] = frozenset()
    account: str = ""

    @property
    def accounts(self) -> frozenset[Name]:
        """The names of its account."""
        return frozenset({("AWS", self.account), ("AWS", f"arn:aws:iam::{self.account}:root")}
                         if self.account else ())

    def meant_by(self, statement: Statement) -> Grant:
        """How the statement's Principal means the caller, or its NotPrincipal does not spare it.

        AWS spares from a Deny only whom NotPrincipal names with its account (and a session with its role).
        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
        """
        named, everybody = statement.principals, "limited" if self.limited else "direct"
        if statement.others:
            mine = self.direct | self.limited
            if statement.deny:
                spared = mine <= named and (not self.account or not self.accounts.isdisjoint(named))
            else:
                spared = not named.isdisjoint(mine | self.accounts | {_EVERYBODY})
            return "none" if spared else everybody  # type: ignore[return-value]
        if not named.isdisjoint(self.direct):
            return "direct"
        if not named.isdisjoint(self.limited):
            return "limited"
        if _EVERYBODY in named and any(kind == "AWS" for kind, _ in self.direct):
            return everybody  # type: ignore[return-value]
        return "none" if named.isdisjoint(self.accounts) else "account"


def decide(policies: Iterable[Policy], action: str, resource: str, keys: Keys = no_keys) -> Decision:
    """What policies without principals together say of one action on one resource (an ARN, or "*")."""
    action, found = action.lower(), False
    for policy in policies:
        for statement in policy:
            if (statement.deny or not found) and statement.applies(action, resource, keys):
                if statement.deny:
                    return "deny"
                found = True
    return "allow" if found else "none"


def granted(policy: Policy, caller: Caller, action: str, resource: str, keys: Keys = no_keys) -> Grant:
    """What a resource policy says of a caller; of a role's trust policy, with the role as the resource."""
    action = action.lower()
    found: Grant = "none"
    for statement in policy:
        grant = caller.meant_by(statement)
        if grant != "none" and statement.applies(action, resource, keys):
            if statement.deny:
                return "deny"
            found = stronger(found, grant)
    return found


def stronger(one: Grant, other: Grant) -> Grant:
    """The one of two grants, neither of them a denial, that gives more."""
    return max(one, other, key=_ORDER.index)


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies that count for a caller. `boundary` and `session`: None where it has none."""

    identity: Sequence[Policy]
    boundary: Sequence[Policy] | None = None
    session: Sequence[Policy] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Which kind of policy refused, and whether by an explicit Deny."""

    by: Source
    explicit: bool

    def because(self, action: str) -> str:
        """The end of AWS's sentence. https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"""
        if self.explicit:
            return f"with an explicit deny in {'an' if self.by[0] == 'i' else 'a'} {self.by}"
        return f"because no {self.by} allows the {action} action"


def evaluate(policies: Policies, grant: Grant, action: str, resource: str, keys: Keys = no_keys, *,
             crosses: bool = False, trust: bool = False) -> Refused | None:
    """None where one caller may do one thing. `grant` is what the resource's policy says ("none" without one).

    `crosses`: the resource is another account's, so both sides must allow. `trust`: the resource's policy must allow
    in any case, as a role's trust policy must.
    """
    said: tuple[tuple[Source, Decision], ...] = (
        ("identity-based policy", decide(policies.identity, action, resource, keys)),
        ("permissions boundary", _limit(policies.boundary, action, resource, keys)),
        ("session policy", _limit(policies.session, action, resource, keys)),
        ("resource-based policy", "deny" if grant == "deny" else "allow"))
    for source, decision in said:
        if decision == "deny":
            return Refused(source, True)
    if grant == "none" and (crosses or trust):
        return Refused("resource-based policy", False)
    if grant == "direct" and not crosses:
        return None
    for source, decision in said[1 if grant == "limited" and not crosses else 0:]:
        if decision == "none":
            return Refused(source, False)
    return None


def _limit(policies: Sequence[Policy] | None, action: str, resource: str, keys: Keys) -> Decision:
    return "allow" if policies is None else decide(policies, action, resource, keys)


@lru_cache(maxsize=PARSED_MAX)
def parse(document: str) -> Policy:
    """A document that `policy_grammar.check` has accepted, compiled; remembered by its text."""
    content: dict[str, Any] = msgspec.json.decode(document)
    variables = content.get("Version") == "2012-10-17"  # in the older version "${" is only text
    return tuple(_statement(each, variables) for each in listed(content["Statement"]))


def keys_in(document: str) -> dict[str, str]:
    """The condition keys that a document asks for, as operators' keys or variables: lower case → as written."""
    content: dict[str, Any] = msgspec.json.decode(document)
    names: list[str] = []
    for statement in listed(content["Statement"]):
        for keys in statement.get("Condition", {}).values():
            names += keys
            for values in keys.values():
                names += [name for value in listed(values) for name in variables_of(str(value))]
        for member in ("Resource", "NotResource"):
            names += [name for text in listed(statement.get(member, [])) for name in variables_of(text)]
    return {name.lower(): name for name in names}


def merge(documents: Iterable[str]) -> str:
    """One document that allows and denies what several of today's version together do."""
    statements = [each for text in documents for each in listed(msgspec.json.decode(text)["Statement"])]
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": statements}).decode()


def letting(label: str, accounts: Sequence[str], actions: Sequence[str], resource: str) -> dict[str, Any]:
    """The statement that lets accounts do something with a resource, as AddPermission of SQS and SNS writes it."""
    roots = [f"arn:aws:iam::{account}:root" for account in accounts]
    return {"Sid": label, "Effect": "Allow", "Principal": {"AWS": roots[0] if len(roots) == 1 else roots},
            "Action": actions[0] if len(actions) == 1 else list(actions), "Resource": resource}


def listed(value: Any) -> list[Any]:
    """A value of the policy language, which may always be one thing or a list of things."""
    return value if isinstance(value, list) else [value]


def principals(element: Any) -> frozenset[Name]:
    """The (kind, name) pairs of a Principal element; "*" is every AWS principal."""
    if element is None:
        return frozenset()
    if not isinstance(element, Mapping):
        return frozenset({_EVERYBODY})
    return frozenset((kind, name) for kind, names in element.items() for name in listed(names))


def _statement(content: Mapping[str, Any], variables: bool) -> Statement:
    deny = content["Effect"] == "Deny"
    matches = action_matcher(listed(content.get("Action", [])))
    if "NotAction" in content:
        spared = action_matcher(listed(content["NotAction"]))
        matches = lambda action: not spared(action)  # noqa: E731
    negated = "NotResource" in content
    patterns = listed(content["NotResource"] if negated else content.get("Resource", "*"))
    still_open = tuple(pattern for pattern in patterns if variables and has_variables(pattern))
    resources = Resources(glob(pattern for pattern in patterns if pattern not in still_open), still_open, negated, deny)
    others = "NotPrincipal" in content
    return Statement(
        deny, matches, resources,
        compile_conditions(content.get("Condition", {}), variables=variables, deny=deny),
        principals(content["NotPrincipal"] if others else content.get("Principal")), others, content.get("Sid", ""))
