"""Temporary credentials: opened by STS, forgotten when they have expired."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.kernel.call import Principal
from cloudlet.kernel.identity import Credential
from cloudlet.services.iam.identities import session_credential
from cloudlet.services.iam.ids import key_id, secret_key, session_token
from cloudlet.services.iam.nouns import find_by_arn
from cloudlet.services.iam.records import Role, Session
from cloudlet.store.db import Store, Tx

KIND = "iam.session"
Facts = tuple[tuple[str, str], ...]


def open_session(tx: Tx, role: Role, name: str, duration_s: float, *, policy: str | None = None,
                 policy_arns: Sequence[str] = (), facts: Facts = ()) -> Credential:
    """New credentials of a role, for `duration_s` seconds; whether the caller may have them was decided before.

    `policy` and `policy_arns` are the session policies: what the session may do is what they and the role both allow.
    `facts` are condition keys (in lower case) and values that hold for the session, such as its tags.
    """
    return _opened(tx, Session(
        access_key_id=key_id(tx, "ASIA", role.account), secret=secret_key(tx), token=session_token(tx),
        role=role.key, role_id=role.id, name=name, expires=tx.now + duration_s, policy=policy,
        policy_arns=tuple(policy_arns), account=role.account, facts=facts), duration_s)


def open_own_session(tx: Tx, principal: Principal, duration_s: float, *, federated: str = "",
                     policy: str | None = None, policy_arns: Sequence[str] = (), facts: Facts = ()) -> Credential:
    """New credentials of a user or root itself, or with `federated` of somebody of that name whom it vouches for."""
    user = find_by_arn(tx, principal.arn) if principal.kind == "user" else None
    return _opened(tx, Session(
        access_key_id=key_id(tx, "ASIA", principal.account), secret=secret_key(tx), token=session_token(tx),
        role=user.key if user else "", role_id=user.id if user else "", name=federated, expires=tx.now + duration_s,
        policy=policy, policy_arns=tuple(policy_arns), kind="federated" if federated else "user",
        account=principal.account, facts=facts), duration_s)


def _opened(tx: Tx, session: Session, duration_s: float) -> Credential:
    issued = datetime.fromtimestamp(tx.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    session = dataclasses.replace(session, facts=(*session.facts, ("aws:tokenissuetime", issued)))
    tx.put(session)
    tx.enqueue(KIND, session.access_key_id, after=duration_s)
    credential = session_credential(tx, session.access_key_id)
    assert credential is not None
    return credential


class Expiry:
    """The loop that deletes a session when its time is over."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """Deletes the session of that access key, or waits until it has expired."""
        with self._store.tx() as tx:
            session = tx.get(Session, key)
            if session is not None and session.expires > tx.now:
                return Again(session.expires - tx.now)
            tx.delete(Session, key)
        return Done()
