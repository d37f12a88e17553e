"""What the gateway asks of IAM: whose an access key is, and whether its owner may do something now."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cloudlet.kernel import policy
from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.identity import Credential, Refusal
from cloudlet.kernel.policy import Decision, Policy
from cloudlet.kernel.site import Site
from cloudlet.services.iam import managed
from cloudlet.services.iam.records import AccessKey, ManagedPolicy, Role, Session, User, key_of_arn
from cloudlet.store.db import Tx

DEVELOPMENT_ACCOUNT = "000000000000"
DEVELOPMENT_SECRET = "test"
# What anybody may do (AWS: "no permissions are required"), and AssumeRole, which weighs the trust policy as well.
ANSWERED_BY_THE_OPERATION = frozenset({"sts:GetCallerIdentity", "sts:AssumeRole"})


class StoredIdentities:
    """`kernel.identity.Identities` on the records of IAM. Root may do everything within its account, and no more."""

    def __init__(self, site: Site) -> None:
        self._development_key = site.development_key

    def credential(self, tx: Any, access_key_id: str) -> Credential | None:
        """The credential of a development key, a user's active access key or a session; else None."""
        if access_key_id.startswith("AKIA"):
            return _user_credential(tx, access_key_id)
        if access_key_id.startswith("ASIA"):
            return session_credential(tx, access_key_id)
        return development_credential(access_key_id) if self._development_key else None

    def refuses(self, tx: Any, call: Call, action: str, resources: tuple[str, ...]) -> Refusal | None:
        """None where the caller's policies, as they stand now, allow the action on every one of the resources."""
        if action in ANSWERED_BY_THE_OPERATION:
            return None
        for resource in resources:
            if _is_foreign(resource, call.principal.account):
                return _refusal(call.principal, action, resource,
                                f"because no resource-based policy allows the {action} action")
        if call.principal.kind == "root":
            return None
        if action.startswith("iam:"):
            resources = tuple(_with_path(tx, resource) for resource in resources)
        return refusal(tx, call.principal, action, resources)


def _is_foreign(resource: str, account: str) -> bool:
    """An ARN in another account: only a policy of the resource could allow that, and none can be given here yet."""
    parts = resource.split(":", 5)
    return len(parts) == 6 and parts[4] != account and len(parts[4]) == 12 and parts[4].isdigit()


def _with_path(tx: Tx, resource: str) -> str:
    """The ARN of a user or role as it is: requests name them without the path that is part of it."""
    owner: User | Role | None = None
    if ":user/" in resource:
        owner = tx.get(User, key_of_arn(resource))
    elif ":role/" in resource:
        owner = tx.get(Role, key_of_arn(resource))
    return owner.arn if owner is not None and owner.name == resource.rpartition("/")[2] else resource


@lru_cache(maxsize=1024)
def development_credential(access_key_id: str) -> Credential | None:
    """The root user of account 000000000000 for `test`, of an account for its twelve digits; the secret is `test`."""
    digits = len(access_key_id) == 12 and access_key_id.isascii() and access_key_id.isdigit()
    if not digits and access_key_id != "test":
        return None
    account = access_key_id if digits else DEVELOPMENT_ACCOUNT
    return Credential(access_key_id, DEVELOPMENT_SECRET,
                      Principal("root", account, f"arn:aws:iam::{account}:root", account))


def _user_credential(tx: Tx, access_key_id: str) -> Credential | None:
    key = tx.get(AccessKey, access_key_id)
    user = tx.get(User, key.user) if key is not None and key.active else None
    if key is None or user is None:
        return None
    return Credential(key.id, key.secret, Principal("user", user.account, user.arn, user.id, user.arn))


def session_credential(tx: Tx, access_key_id: str) -> Credential | None:
    """The credential of a session whose role still exists; whether it has expired is the asker's to say."""
    session = tx.get(Session, access_key_id)
    role = tx.get(Role, session.role) if session is not None else None
    if session is None or role is None or role.id != session.role_id:
        return None
    arn = f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{session.name}"
    principal = Principal("role", role.account, arn, f"{role.id}:{session.name}", role.arn,
                          _session_policy(tx, session))
    return Credential(session.access_key_id, session.secret, principal, session.token, session.expires)


def _session_policy(tx: Tx, session: Session) -> str | None:
    """The session's policies as one document (they add up), with the managed ones as they stand now."""
    documents = [document_of(tx, arn) for arn in session.policy_arns]
    if not documents:
        return session.policy
    return policy.merge([*documents, *([session.policy] if session.policy is not None else [])])


def document_of(tx: Tx, policy_arn: str) -> str:
    """The document of a managed policy, AWS's or the customer's; one that allows nothing where it is gone."""
    ours = managed.find(policy_arn)
    if ours is not None:
        return ours.document
    theirs = tx.get(ManagedPolicy, policy_arn)
    return theirs.document if theirs is not None else policy.NOTHING


def identity_policies(tx: Tx, principal: Principal) -> list[Policy]:
    """The policies of a user or role as they stand now: inline and attached; none where the identity is gone."""
    key = key_of_arn(principal.policy_arn)
    owner = tx.get(User, key) if principal.kind == "user" else tx.get(Role, key)
    if owner is None or owner.arn != principal.policy_arn:
        return []
    return [policy.parse(text) for text in (*owner.inline.values(), *(document_of(tx, a) for a in owner.attached))]


def refusal(tx: Tx, principal: Principal, action: str, resources: Iterable[str]) -> Refusal | None:
    """Why a user or a role's session may not, in AWS's words, naming the first resource that fails; None if it may.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    identity, session = identity_policies(tx, principal), _session_policies(principal)
    for resource in tuple(resources) or ("*",):
        for kind, policies in (("identity-based", identity), ("session", session)):
            decision = policy.decide(policies, action, resource)
            if decision != "allow":
                return _refusal(principal, action, resource, _because(kind, decision, action))
    return None


def _refusal(principal: Principal, action: str, resource: str, because: str) -> Refusal:
    return Refusal(f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource} {because}")


def permission(tx: Tx, principal: Principal, action: str, resource: str) -> tuple[Decision, Decision]:
    """What the caller's identity policies and what its session policies say; the latter "allow" where it has none."""
    return (policy.decide(identity_policies(tx, principal), action, resource),
            policy.decide(_session_policies(principal), action, resource))


def _session_policies(principal: Principal) -> list[Policy]:
    return [policy.parse(policy.EVERYTHING if principal.session is None else principal.session)]


def _because(kind: str, decision: Decision, action: str) -> str:
    if decision == "deny":
        return f"with an explicit deny in {'an' if kind[0] == 'i' else 'a'} {kind} policy"
    return f"because no {kind} policy allows the {action} action"
