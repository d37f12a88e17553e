"""What policies would say: the simulator, on the evaluation that every request goes through.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudlet.kernel import policy, policy_grammar
from cloudlet.kernel.call import Call
from cloudlet.kernel.policy import Caller, Policies
from cloudlet.kernel.policy_grammar import Malformed
from cloudlet.kernel.policy_match import Keys
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.iam import managed
from cloudlet.services.iam.nouns import find_by_arn
from cloudlet.services.iam.permissions import document_of
from cloudlet.services.iam.records import Group, Role, User
from cloudlet.services.iam.service import InvalidInput, NoSuchEntity, iam, refuse_unsupported
from cloudlet.store.db import Tx

_WORDS = {"allow": "allowed", "deny": "explicitDeny", "none": "implicitDeny"}
Owner = User | Group | Role


@dataclass(frozen=True, slots=True)
class Source:
    """A document and where it comes from, as MatchedStatements names it."""

    id: str
    kind: str
    document: str


@dataclass(slots=True)
class Scenario:
    """What is simulated. `owner` is the account of the resources, `caller` who asks a resource's policy."""

    identity: Sequence[Source]
    boundary: Sequence[Source] | None
    resource_policy: Source | None
    context: dict[str, tuple[str, ...]]
    caller: Caller | None
    owner: str
    asked: set[str] = field(default_factory=set)

    def keys(self, key: str) -> tuple[str, ...] | None:
        """A context key; what is asked for and absent is remembered."""
        value = self.context.get(key)
        if value is None:
            self.asked.add(key)
        return value


@iam.read(resources=any_resource)
def simulate_custom_policy(call: Call, tx: Tx, request: Input) -> Output:
    """What given documents say of actions on resources."""
    return _simulated(call, request, _inputs(request), None, {}, None)


@iam.read(resources=lambda call, request: [request["PolicySourceArn"]])
def simulate_principal_policy(call: Call, tx: Tx, request: Input) -> Output:
    """What the policies of a user, group or role, as they stand now, say of actions on resources; given documents are
    added to them."""
    owner = _source(tx, call, request["PolicySourceArn"])
    boundary = None if isinstance(owner, Group) or not owner.boundary else [
        Source(owner.boundary.rpartition("/")[2], _managed_kind(owner.boundary), document_of(tx, owner.boundary))]
    known: dict[str, tuple[str, ...]] = {}
    if not isinstance(owner, Group):
        known = {f"aws:principaltag/{name.lower()}": (value,) for name, value in owner.tags.items()}
        known |= {"aws:principalarn": (owner.arn,), "aws:principalaccount": (owner.account,)}
    if isinstance(owner, User):
        known |= {"aws:username": (owner.name,), "aws:userid": (owner.id,), "aws:principaltype": ("User",)}
    caller = Caller(frozenset({("AWS", owner.arn)}), account=owner.account)
    return _simulated(call, request, [*_of(tx, owner), *_inputs(request)], boundary, known, caller)


@iam.read(resources=any_resource)
def get_context_keys_for_custom_policy(call: Call, tx: Tx, request: Input) -> Output:
    """The context keys that given documents ask for."""
    return {"ContextKeyNames": _asked(_inputs(request))}


@iam.read(resources=lambda call, request: [request["PolicySourceArn"]])
def get_context_keys_for_principal_policy(call: Call, tx: Tx, request: Input) -> Output:
    """The context keys that the policies of a user, group or role ask for, and given documents."""
    owner = _source(tx, call, request["PolicySourceArn"])
    return {"ContextKeyNames": _asked([*_of(tx, owner), *_inputs(request)])}


def _asked(sources: Iterable[Source]) -> list[str]:
    return sorted({name for source in sources for name in policy.keys_in(source.document).values()})


def _source(tx: Tx, call: Call, arn: str) -> Owner:
    found = find_by_arn(tx, arn)
    if not isinstance(found, User | Group | Role) or found.account != call.account:
        raise NoSuchEntity(f"The entity with ARN {arn} cannot be found.")
    return found


def _managed_kind(arn: str) -> str:
    return "aws-managed" if arn.startswith(managed.PREFIX) else "user-managed"


def _of(tx: Tx, owner: Owner) -> list[Source]:
    """The policies of a user with its groups', of a group, or of a role."""
    owners: list[Owner] = [owner]
    if isinstance(owner, User):
        owners += [group for key in owner.groups if (group := tx.get(Group, key)) is not None]
    sources = []
    for each in owners:
        kind = type(each).__name__.lower()
        sources += [Source(f"{kind}_{each.name}_{name}", kind, text) for name, text in each.inline.items()]
        sources += [Source(arn.rpartition("/")[2], _managed_kind(arn), document_of(tx, arn)) for arn in each.attached]
    return sources


def _inputs(request: Input, member: str = "PolicyInputList") -> list[Source]:
    texts = request.get(member) or ()
    for text in texts:
        _check(text, "identity")
    return [Source(f"{member}.{number}", "none", text) for number, text in enumerate(texts, 1)]


def _check(text: str, kind: policy_grammar.Kind) -> None:
    try:
        policy_grammar.check(text, kind)
    except Malformed as error:
        raise InvalidInput(f"Invalid Input {error}") from None


def _simulated(call: Call, request: Input, identity: list[Source], boundary: list[Source] | None,
               known: dict[str, tuple[str, ...]], caller: Caller | None) -> dict[str, Any]:
    refuse_unsupported(request, "OrderedOrganizationPolicyInputList", "ResourceHandlingOption")
    if request.get("PermissionsBoundaryPolicyInputList"):
        boundary = _inputs(request, "PermissionsBoundaryPolicyInputList")
    own = request.get("ResourcePolicy")
    if request.get("CallerArn"):
        caller = _caller(request["CallerArn"])
    if own is not None:
        _check(own, "resource")
        if caller is None:
            raise InvalidInput("CallerArn is required when a resource policy is specified.")
    given = {entry["ContextKeyName"].lower(): tuple(entry.get("ContextKeyValues") or ())
             for entry in request.get("ContextEntries") or () if entry.get("ContextKeyName")}
    owner = (request.get("ResourceOwner") or "").split(":")
    scenario = Scenario(identity, boundary, Source("ResourcePolicy", "resource", own) if own is not None else None,
                        {**known, **given}, caller, owner[4] if len(owner) > 4 else "")
    return {"EvaluationResults": [_result(scenario, action, resource) for action in request["ActionNames"]
                                  for resource in request.get("ResourceArns") or ["*"]]}


def _caller(arn: str) -> Caller:
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[2] != "iam" or not parts[5].startswith("user/"):
        raise InvalidInput(f"Invalid Input Invalid caller ARN: {arn}. It must be the ARN of an IAM user.")
    return Caller(frozenset({("AWS", arn)}), account=parts[4])


def _result(scenario: Scenario, action: str, resource: str) -> dict[str, Any]:
    scenario.asked.clear()
    keys: Keys = scenario.keys
    grant: policy.Grant = "none"
    caller, own, crosses = scenario.caller, scenario.resource_policy, False
    if own is not None and caller is not None:
        grant = policy.granted(policy.parse(own.document), caller, action, resource, keys)
        crosses = bool(scenario.owner) and scenario.owner != caller.account
    policies = Policies(_parsed(scenario.identity), None if scenario.boundary is None else _parsed(scenario.boundary))
    refused = policy.evaluate(policies, grant, action, resource, keys, crosses=crosses)
    word = "allow" if refused is None else "deny" if refused.explicit else "none"
    sources = [*scenario.identity, *(scenario.boundary or ()), *([own] if own is not None else [])]
    result: dict[str, Any] = {
        "EvalActionName": action, "EvalResourceName": resource, "EvalDecision": _WORDS[word],
              "MatchedStatements": _matched(sources, caller, action, resource, keys, word),
              "MissingContextValues": sorted(name for source in sources for key, name in
                                             policy.keys_in(source.document).items() if key in scenario.asked)}
    if scenario.boundary is not None:
        allowed = policy.decide(_parsed(scenario.boundary), action, resource, keys) == "allow"
        result["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": allowed}
    return result


def _matched(sources: Iterable[Source], caller: Caller | None, action: str, resource: str, keys: Keys,
             word: str) -> list[dict[str, str]]:
    """The statements that decided: those that deny where one does, else those that allow."""
    found = []
    for source in sources:
        for statement in policy.parse(source.document):
            meant = source.kind != "resource" or (caller is not None and caller.meant_by(statement) != "none")
            if meant and statement.deny == (word == "deny") and statement.applies(action.lower(), resource, keys):
                found.append({"SourcePolicyId": source.id, "SourcePolicyType": source.kind})
    return found if word != "none" else []


def _parsed(sources: Iterable[Source]) -> list[policy.Policy]:
    return [policy.parse(source.document) for source in sources]
