"""What conditions and policy variables may ask of a request: the global condition keys, and the resource's tags.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import RequestKeys
from cloudlet.kernel.policy_match import Keys

_KINDS = {"root": "Account", "user": "User", "role": "AssumedRole", "federated": "FederatedUser", "service": "Service",
          "anonymous": "Anonymous"}
_PRINCIPAL_TAG, _RESOURCE_TAG = "aws:principaltag/", "resourcetag/"
TagsOf = Callable[[], Mapping[str, str]]
FactsOf = Callable[[], Mapping[str, str]]


def no_facts() -> Mapping[str, str]:
    """The keys of a resource that has none of its own."""
    return {}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _name_of_user(call: Call) -> str | None:
    return call.principal.arn.rpartition("/")[2] if call.principal.kind == "user" else None


def _seconds_since_mfa(call: Call) -> str | None:
    facts = dict(call.principal.facts)
    if facts.get("aws:multifactorauthpresent") != "true":
        return None
    return str(int(call.now - datetime.fromisoformat(facts["aws:tokenissuetime"]).timestamp()))


def _principal_arn(call: Call) -> str | None:
    principal = call.principal
    if principal.kind == "anonymous":
        return None
    return principal.arn if principal.kind == "federated" else principal.policy_arn or principal.arn


_OF_CALL: dict[str, Callable[[Call], str | None]] = {
    "aws:sourceip": lambda call: call.source_ip,
    "aws:currenttime": lambda call: _iso(call.now),
    "aws:epochtime": lambda call: str(int(call.now)),
    "aws:requestedregion": lambda call: call.region,
    "aws:securetransport": lambda call: "true" if call.endpoint.startswith("https:") else "false",
    "aws:useragent": lambda call: call.user_agent or None,
    "aws:referer": lambda call: call.referer or None,
    "aws:principalarn": _principal_arn,
    "aws:principalaccount": lambda call: call.principal.account or None,
    "aws:principaltype": lambda call: _KINDS[call.principal.kind],
    "aws:principalisawsservice": lambda call: "false",
    "aws:viaawsservice": lambda call: "false",
    "aws:userid": lambda call: call.principal.user_id,
    "aws:username": _name_of_user,
    # In requests signed with a long-term key there is no such key at all; a session opened with a device has the fact.
    "aws:multifactorauthpresent": lambda call: "false" if call.principal.is_temporary else None,
    "aws:multifactorauthage": lambda call: _seconds_since_mfa(call),
}


class Context:
    """The condition keys of one call. Nothing is computed until a condition or a variable asks."""

    def __init__(self, call: Call, asked: RequestKeys, principal_tags: Mapping[str, str]) -> None:
        self._call, self._asked, self._tags = call, asked, principal_tags
        self._given: dict[str, tuple[str, ...]] | None = None

    def about(self, resource: str, tags_of: TagsOf, owner: str, facts_of: FactsOf = no_facts) -> Keys:
        """The keys as they are for one resource (an ARN) of the account `owner` ("" where that is not known)."""
        tags: dict[str, str] | None = None
        facts: dict[str, str] | None = None

        def keys(key: str) -> tuple[str, ...] | None:
            nonlocal tags, facts
            prefix, found, name = key.partition(_RESOURCE_TAG)
            if found and prefix.endswith(":"):  # aws:ResourceTag/…, ecr:ResourceTag/…, ssm:resourceTag/…
                if tags is None:
                    tags = {tag.lower(): value for tag, value in tags_of().items()}
                return (tags[name],) if name in tags else None
            if key == "aws:resourceaccount":
                return (owner,) if owner else None
            if facts is None:
                facts = {name.lower(): value for name, value in facts_of().items()}
            return (facts[key],) if key in facts else self._of_request(key)
        return keys

    def _of_request(self, key: str) -> tuple[str, ...] | None:
        if self._given is None:
            tags = {f"{_PRINCIPAL_TAG}{name.lower()}": (value,) for name, value in self._tags.items()}
            facts: dict[str, tuple[str, ...]] = {}
            for name, value in self._call.principal.facts:
                facts[name] = (*facts.get(name, ()), value)
            self._given = {**self._asked(), **tags, **facts}  # a session's tags before its role's
        if key in self._given:
            return self._given[key]
        of_call = _OF_CALL.get(key)
        found = of_call(self._call) if of_call is not None else None
        return None if found is None else (found,)
