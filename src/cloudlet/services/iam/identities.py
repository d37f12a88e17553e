"""What the gateway asks of IAM: whose an access key is, and whether its owner may do something now."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cloudlet.kernel.call import Call, Principal
from cloudlet.kernel.condition_keys import RequestKeys, nothing_asked
from cloudlet.kernel.identity import Credential, Refusal
from cloudlet.kernel.service import Service
from cloudlet.kernel.site import Site
from cloudlet.services.iam.permissions import Permissions, session_policy
from cloudlet.services.iam.records import AccessKey, Role, Session, User
from cloudlet.services.iam.usage import UsageNotes
from cloudlet.store.db import Tx

DEVELOPMENT_ACCOUNT = "000000000000"
DEVELOPMENT_SECRET = "test"
# What anybody may do (AWS: "no permissions are required"), and AssumeRole, which weighs the trust policy as well.
ANSWERED_BY_THE_OPERATION = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken", "sts:AssumeRole",
                                       "sts:AssumeRoleWithWebIdentity"})


class StoredIdentities:
    """`kernel.identity.Identities` on the records of IAM. Root may do everything within its account, and no more.

    `services` are asked for the tags and the policies of their resources.
    """

    def __init__(self, site: Site, services: Iterable[Service] = ()) -> None:
        self._development_key = site.development_key
        self._permissions, self._usage = Permissions(services), UsageNotes()

    def constant(self, access_key_id: str) -> Credential | None:
        """See Identities: a development key's."""
        return development_credential(access_key_id) if self._development_key else None

    def credential(self, tx: Any, access_key_id: str) -> Credential | None:
        """The credential of a development key, a user's active access key or a session; else None."""
        if access_key_id.startswith("AKIA"):
            return _user_credential(tx, access_key_id)
        if access_key_id.startswith("ASIA"):
            return session_credential(tx, access_key_id)
        return self.constant(access_key_id)

    def refuses(self, tx: Any, call: Call, action: str, resources: tuple[str, ...],
                keys: RequestKeys = nothing_asked) -> Refusal | None:
        """None where the policies that count allow the caller the action on every one of the resources, now."""
        self._usage.note(tx, call, action)
        if action in ANSWERED_BY_THE_OPERATION:
            return None
        return self._permissions.refusal(tx, call, action, resources, keys)


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
    """The credential of a session whose owner still exists; whether it has expired is the asker's to say."""
    session = tx.get(Session, access_key_id)
    principal = _session_principal(tx, session) if session is not None else None
    if session is None or principal is None:
        return None
    return Credential(session.access_key_id, session.secret, principal, session.token, session.expires)


def _session_principal(tx: Tx, session: Session) -> Principal | None:
    if session.kind == "role":
        role = tx.get(Role, session.role)
        if role is None or role.id != session.role_id:
            return None
        return Principal("role", role.account, f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{session.name}",
                         f"{role.id}:{session.name}", role.arn, session_policy(tx, session), session.facts)
    account, arn, id = session.account, f"arn:aws:iam::{session.account}:root", session.account
    if session.role:
        user = tx.get(User, session.role)
        if user is None or user.id != session.role_id:
            return None
        arn, id = user.arn, user.id
    if session.kind == "federated":
        return Principal("federated", account, f"arn:aws:sts::{account}:federated-user/{session.name}",
                         f"{account}:{session.name}", arn, session_policy(tx, session), session.facts)
    if not session.role:
        return Principal("root", account, arn, id, facts=session.facts)
    return Principal("user", account, arn, id, arn, facts=session.facts)
