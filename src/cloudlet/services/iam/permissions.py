"""Whether a caller may do something: which policies count for it, as they stand now, and what they say together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloudlet.kernel import policy
from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.condition_keys import RequestKeys, nothing_asked
from cloudlet.kernel.identity import Refusal
from cloudlet.kernel.policy import Caller, Policies, Policy
from cloudlet.kernel.policy_match import Keys
from cloudlet.kernel.service import Access, Service
from cloudlet.services.iam import managed
from cloudlet.services.iam.context import Context
from cloudlet.services.iam.nouns import find_by_arn
from cloudlet.services.iam.records import Group, ManagedPolicy, Role, Session, User
from cloudlet.store.db import Tx

# What the credentials of GetFederationToken and of GetSessionToken may do of STS.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_sts-comparison.html
_OF_FEDERATED, _OF_USER_SESSIONS = ("sts:GetCallerIdentity",), ("sts:GetCallerIdentity", "sts:AssumeRole")
_EVERYTHING = (policy.parse(policy.EVERYTHING),)


@dataclass(frozen=True, slots=True)
class Standing:
    """A caller as policies see it."""

    policies: Policies
    caller: Caller
    tags: Mapping[str, str]


class Permissions:
    """Decides on IAM's records. `services` are asked for the tags and the policies of their resources."""

    def __init__(self, services: Iterable[Service] = ()) -> None:
        self._services = {service.prefix: service for service in services}

    def refusal(self, tx: Tx, call: Call, action: str, resources: Iterable[str],
                keys: RequestKeys = nothing_asked) -> Refusal | None:
        """Why the caller may not, in AWS's words, naming the first resource that fails; None if it may.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
        """
        principal, standing, context = call.principal, None, None
        if _is_beyond_session(principal, action):
            return Refusal(_words(principal, action, "*", f"because no session policy allows the {action} action"),
                           stranger=action.startswith("iam:"))
        for resource in tuple(resources) or ("*",):
            if action.startswith("iam:"):
                resource = _with_path(tx, resource)
            service = self._service_of(resource)
            if service is not None and service.arn_of:
                resource = service.arn_of(tx, resource)
            access = _access(tx, call, service, action, resource, keys)
            crosses = bool(access.owner) and access.owner != principal.account and principal.kind != "anonymous"
            if principal.kind == "root" and access.policy is None and not crosses:
                continue
            if standing is None or context is None:
                standing = standing_of(tx, principal)
                context = Context(call, keys, standing.tags)
            about = self._about(tx, context, service, resource, access.owner)
            refused = _decide(standing, access, action, resource, about, crosses)
            says_itself = service is not None and service.access_of is not None
            if refused is not None and (principal.kind == "anonymous" or (crosses and says_itself)):
                return Refusal("Access Denied")
            if refused is not None:  # S3 puts the ARN between quotes
                return Refusal(_words(principal, action, f'"{resource}"' if says_itself else resource,
                                      refused.because(action)))
        return None

    def _service_of(self, resource: str) -> Service | None:
        parts = resource.split(":", 3)
        return self._services.get(parts[2]) if len(parts) == 4 else None

    @staticmethod
    def _about(tx: Tx, context: Context, service: Service | None, resource: str, owner: str) -> Keys:
        tags_of, facts_of = (service.tags_of, service.facts_of) if service is not None else (None, None)
        return context.about(resource, lambda: tags_of(tx, resource) if tags_of else {}, owner,
                             lambda: facts_of(tx, resource) if facts_of else {})


def trust_refusal(tx: Tx, call: Call, role: Role, action: str, keys: RequestKeys) -> bool:
    """Whether a role's trust policy and the caller's own policies together refuse the caller the role.

    Within an account the trust policy may name the caller, and nothing more is needed; where it names the account, and
    from another account in any case, the caller's own policies must allow it too.
    """
    if _is_beyond_session(call.principal, action):
        return True
    standing = standing_of(tx, call.principal)
    about = Context(call, keys, standing.tags).about(role.arn, lambda: role.tags, role.account)
    grant = policy.granted(policy.parse(role.trust), standing.caller, action, role.arn, about)
    return policy.evaluate(standing.policies, grant, action, role.arn, about,
                           crosses=role.account != call.principal.account, trust=True) is not None


def standing_of(tx: Tx, principal: Principal) -> Standing:
    """The policies of a caller as they stand now; none where the user or role is gone."""
    session = None if principal.session is None else (policy.parse(principal.session),)
    caller = caller_of(principal)
    if principal.kind == "root" or (principal.kind == "federated" and principal.policy_arn.endswith(":root")):
        return Standing(Policies(_EVERYTHING, session=session), caller, {})
    owner = find_by_arn(tx, principal.policy_arn)
    if not isinstance(owner, User | Role):
        return Standing(Policies((), session=session), caller, {})
    return Standing(policies_of(tx, owner, session), caller, {} if principal.kind == "federated" else owner.tags)


def policies_of(tx: Tx, owner: User | Role, session: Iterable[Policy] | None = None) -> Policies:
    """The policies of a user (with its groups') or a role: inline and attached, and the boundary."""
    groups = [group for key in owner.groups if (group := tx.get(Group, key))] if isinstance(owner, User) else []
    texts = [text for each in (owner, *groups)
             for text in (*each.inline.values(), *(document_of(tx, arn) for arn in each.attached))]
    boundary = (policy.parse(document_of(tx, owner.boundary)),) if owner.boundary else None
    return Policies([policy.parse(text) for text in texts], boundary, None if session is None else tuple(session))


def caller_of(principal: Principal) -> Caller:
    """By which names resource policies may mean a caller."""
    names = frozenset({("AWS", principal.arn)})
    if principal.kind == "role":
        return Caller(names, frozenset({("AWS", principal.policy_arn)}), principal.account)
    return Caller(names, account=principal.account)


def document_of(tx: Tx, policy_arn: str) -> str:
    """The document of a managed policy, AWS's or the customer's; one that allows nothing where it is gone."""
    ours = managed.find(policy_arn)
    if ours is not None:
        return ours.document
    theirs = tx.get(ManagedPolicy, policy_arn)
    return theirs.document if theirs is not None else policy.NOTHING


def session_policy(tx: Tx, session: Session) -> str | None:
    """The session's policies as one document (they add up), with the managed ones as they stand now."""
    documents = [document_of(tx, arn) for arn in session.policy_arns]
    if not documents:
        return session.policy
    return policy.merge([*documents, *([session.policy] if session.policy is not None else [])])


def _access(tx: Tx, call: Call, service: Service | None, action: str, resource: str, keys: RequestKeys) -> Access:
    """What the resource says of who may: its account stands in its ARN, unless its service knows better."""
    if service is not None and service.access_of:
        return service.access_of(tx, call, action, resource, keys)
    parts = resource.split(":", 5)
    owner = parts[4] if len(parts) == 6 and len(parts[4]) == 12 and parts[4].isdigit() else ""
    return Access(owner, service.policy_of(tx, resource) if service is not None and service.policy_of else None)


def _decide(standing: Standing, access: Access, action: str, resource: str, keys: Keys,
            crosses: bool) -> policy.Refused | None:
    grant = access.grant
    if access.policy is not None:
        said = policy.granted(policy.parse(access.policy), standing.caller, action, resource, keys)
        grant = "deny" if said == "deny" else policy.stronger(said, grant)
    return policy.evaluate(standing.policies, grant, action, resource, keys, crosses=crosses)


def _is_beyond_session(principal: Principal, action: str) -> bool:
    """Whether an action is none for temporary credentials of a user, or of somebody whom a user federated: nothing of
    IAM, unless a user showed the code of a device, and little of STS."""
    if not principal.is_temporary or principal.kind == "role":
        return False
    federated = principal.kind == "federated"
    if action.startswith("iam:"):
        return federated or ("aws:multifactorauthpresent", "true") not in principal.facts
    return action.startswith("sts:") and action not in (_OF_FEDERATED if federated else _OF_USER_SESSIONS)


def _with_path(tx: Tx, resource: str) -> str:
    """The ARN of a user, role … as it is: requests name them without the path that is part of it."""
    owner = find_by_arn(tx, resource, exact=False)
    return owner.arn if owner is not None else resource


def _words(principal: Principal, action: str, resource: str, because: str) -> str:
    return f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource} {because}"
