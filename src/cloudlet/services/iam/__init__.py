"""IAM: users, roles, policies, access keys and sessions; the front door for whoever must know who may do what."""

from collections.abc import Iterable
from typing import Any

from cloudlet.control.controller import Controller
from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import RequestKeys, nothing_asked
from cloudlet.kernel.identity import Identities, Refusal
from cloudlet.kernel.service import Service
from cloudlet.kernel.site import Site
from cloudlet.services.iam import (
    absent,
    access_keys,
    account,
    attachments,
    groups,
    inline,
    instance_profiles,
    mfa_devices,
    oidc_providers,
    passwords,
    policies,
    roles,
    service_linked_roles,
    simulation,
    tags,
    users,
)
from cloudlet.services.iam.identities import StoredIdentities
from cloudlet.services.iam.ids import account_of
from cloudlet.services.iam.mfa_devices import mfa_problem
from cloudlet.services.iam.permissions import Permissions, trust_refusal
from cloudlet.services.iam.policies import find_any as find_policy
from cloudlet.services.iam.records import (
    InstanceProfile,
    OidcKeys,
    OidcProvider,
    Role,
    User,
    entity_key,
    key_of_arn,
)
from cloudlet.services.iam.service import iam
from cloudlet.services.iam.sessions import KIND, Expiry, open_own_session, open_session
from cloudlet.store.db import Store, Tx

__all__ = [
    "InstanceProfile",
    "OidcKeys",
    "OidcProvider",
    "Permissions",
    "Role",
    "User",
    "absent",
    "access_keys",
    "account",
    "account_of",
    "attachments",
    "controller",
    "find_instance_profile",
    "find_policy",
    "find_role",
    "find_role_of",
    "find_user",
    "groups",
    "iam",
    "identities",
    "inline",
    "instance_profiles",
    "look_for_keys",
    "mfa_devices",
    "mfa_problem",
    "oidc_providers",
    "open_own_session",
    "open_session",
    "pass_role_refusal",
    "passwords",
    "policies",
    "refusal",
    "roles",
    "service_linked_roles",
    "simulation",
    "tags",
    "trust_refusal",
    "users",
]
_OWN = Permissions((iam,))


def identities(site: Site, services: Iterable[Service] = (iam,)) -> Identities:
    """What the gateway asks: whose an access key is, and whether its owner may do something now. `services` are asked
    for the tags and the policies of their resources."""
    return StoredIdentities(site, services)


def refusal(tx: Tx, call: Call, action: str, resource: str, keys: RequestKeys = nothing_asked) -> Refusal | None:
    """Why the caller may not do what an operation finds out that it needs beside what it is, or None. `keys` are the
    condition keys that its request has for it."""
    return _OWN.refusal(tx, call, action, (resource,), keys)


def pass_role_refusal(tx: Tx, call: Call, role_arn: str, service: str) -> Refusal | None:
    """Why the caller may not hand a role to a service (e.g. "ecs-tasks.amazonaws.com"), or None: iam:PassRole, which
    every operation asks for that takes a role for a service to act with.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html"""
    return _OWN.refusal(tx, call, "iam:PassRole", (role_arn,), lambda: {"iam:passedtoservice": (service,)})


def find_role(tx: Tx, arn: str) -> Role | None:
    """The role of that ARN (path and case included), or None."""
    role = tx.get(Role, key_of_arn(arn))
    return role if role is not None and role.arn == arn else None


def find_instance_profile(tx: Tx, account: str, *, name: str = "", arn: str = "") -> InstanceProfile | None:
    """The account's instance profile of that name or ARN, or None."""
    found = tx.get(InstanceProfile, entity_key(account, name or arn.rpartition("/")[2]))
    return found if found is not None and (found.name == name or found.arn == arn) else None


def find_role_of(tx: Tx, profile: InstanceProfile) -> Role | None:
    """The role that an instance profile hands out now, or None where it has none."""
    return tx.get(Role, profile.role) if profile.role else None


def find_user(tx: Tx, arn: str) -> User | None:
    """The user of that ARN (path and case included), or None."""
    user = tx.get(User, key_of_arn(arn))
    return user if user is not None and user.arn == arn else None


def controller(store: Store, engines: Any, site: Site) -> Controller:
    """IAM's loops: expired sessions are forgotten, and the keys of identity providers kept."""
    keeper = oidc_providers.KeyKeeper(store, engines.keysets)
    return Controller({KIND: Expiry(store).reconcile, oidc_providers.KIND: keeper.reconcile})


def look_for_keys(tx: Tx, provider: OidcProvider) -> None:
    """Has an identity provider asked for its keys now, e.g. since a token bears one that is not known."""
    tx.enqueue(oidc_providers.KIND, provider.arn)
