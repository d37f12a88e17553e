"""Roles: what they are for, who may assume them, and for how long."""

import dataclasses
from typing import Any

import msgspec

from cloudlet.kernel import policy
from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.boundaries import asked_boundary, shown_boundary
from cloudlet.services.iam.documents import check_trust, encoded
from cloudlet.services.iam.ids import unique_id
from cloudlet.services.iam.naming import merged_tags, tag_list
from cloudlet.services.iam.nouns import ROLE
from cloudlet.services.iam.records import InstanceProfile, OidcProvider, Role, Usage, User, entity_key, key_of_arn
from cloudlet.services.iam.service import (
    AccessDenied,
    DeleteConflict,
    MalformedPolicyDocument,
    UnmodifiableEntity,
    ValidationError,
    iam,
)
from cloudlet.store.db import Tx

SESSION_MIN_S, SESSION_MAX_S = 3600, 43200
SERVICE_PATH = "/aws-service-role/"


def described(role: Role, *, listed: bool = False) -> dict[str, Any]:
    """A role as answers carry it; lists leave the tags and the boundary out."""
    shown: dict[str, Any] = {
        "Path": role.path, "RoleName": role.name, "RoleId": role.id, "Arn": role.arn, "CreateDate": role.created,
        "AssumeRolePolicyDocument": encoded(role.trust), "MaxSessionDuration": role.max_session_s}
    if role.description:
        shown["Description"] = role.description
    if role.tags and not listed:
        shown["Tags"] = tag_list(role.tags)
    return shown if listed else {**shown, **shown_boundary(role.boundary)}


def last_used(tx: Tx, role: Role) -> dict[str, Any]:
    """When and where a role's credentials were last used."""
    usage = tx.get(Usage, role.key)
    known = usage is not None and usage.used >= role.created
    return {"RoleLastUsed": {"LastUsedDate": usage.used, "Region": usage.region} if usage and known else {}}


@iam.write(resources=ROLE.new)
def create_role(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a role that those may assume whom the trust policy names."""
    key, name, path = ROLE.check_new(tx, call, request)
    if path.startswith(SERVICE_PATH):
        raise AccessDenied("Roles under the path /aws-service-role/ are made by CreateServiceLinkedRole.")
    trust = check_trust(request["AssumeRolePolicyDocument"])
    _check_principals(tx, trust)
    role = Role(
        key, call.account, unique_id(tx, "AROA", call.account), name, path, tx.now, trust,
        request.get("Description") or "", _duration(request.get("MaxSessionDuration")),
        merged_tags({}, request.get("Tags") or (), "TagsPerRole"), boundary=asked_boundary(tx, call, request))
    tx.put(role)
    return {"Role": described(role)}


@iam.read(resources=ROLE.named)
def get_role(call: Call, tx: Tx, request: Input) -> Output:
    """A role with its trust policy."""
    role = ROLE.asked(tx, call, request)
    return {"Role": {**described(role), **last_used(tx, role)}}


@iam.read(resources=ROLE.under)
def list_roles(call: Call, tx: Tx, request: Input) -> Output:
    """The account's roles under a path."""
    return {"Roles": [described(role, listed=True) for role in ROLE.listed(tx, call, request)]}


@iam.write(resources=ROLE.named)
def update_role(call: Call, tx: Tx, request: Input) -> Output:
    """Changes the description and the longest session."""
    role = ROLE.asked(tx, call, request)
    longest = request.get("MaxSessionDuration")
    tx.put(dataclasses.replace(
        role, description=request.get("Description", role.description),
        max_session_s=role.max_session_s if longest is None else _duration(longest)))
    return {}


@iam.write(resources=ROLE.named)
def update_role_description(call: Call, tx: Tx, request: Input) -> Output:
    """Changes the description."""
    role = dataclasses.replace(ROLE.asked(tx, call, request), description=request["Description"])
    tx.put(role)
    return {"Role": described(role)}


@iam.write(resources=ROLE.named)
def update_assume_role_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Changes who may assume the role; sessions that are open stay open."""
    role = changeable(ROLE.asked(tx, call, request))
    trust = check_trust(request["PolicyDocument"])
    _check_principals(tx, trust)
    tx.put(dataclasses.replace(role, trust=trust))


@iam.write(resources=ROLE.named)
def delete_role(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a role without policies; its sessions end at once."""
    role = ROLE.asked(tx, call, request)
    if role.path.startswith(SERVICE_PATH):
        raise _unmodifiable(role)
    if tx.find(InstanceProfile, role=role.key, limit=1):
        raise DeleteConflict("Cannot delete entity, must remove roles from instance profile first.")
    if role.attached:
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")
    if role.inline:
        raise DeleteConflict("Cannot delete entity, must delete policies first.")
    tx.delete(Role, role.key)


def changeable(role: Role) -> Role:
    """The role, unless only its service may change it (a service-linked role)."""
    if role.path.startswith(SERVICE_PATH):
        raise _unmodifiable(role)
    return role


def _unmodifiable(role: Role) -> AwsError:
    return UnmodifiableEntity(f"Cannot perform the operation on the protected role '{role.name}' - this role is only"
                              " modifiable by AWS")


def _duration(seconds: int | None) -> int:
    if seconds is None:
        return SESSION_MIN_S
    if not SESSION_MIN_S <= seconds <= SESSION_MAX_S:
        side = f"less than or equal to {SESSION_MAX_S}" if seconds > SESSION_MAX_S else \
            f"greater than or equal to {SESSION_MIN_S}"
        raise ValidationError(f"1 validation error detected: Value '{seconds}' at 'maxSessionDuration' failed to"
                              f" satisfy constraint: Member must have value {side}")
    return seconds


def _check_principals(tx: Tx, trust: str) -> None:
    """AWS takes no trust policy that names a user or role which does not exist."""
    for statement in policy.listed(msgspec.json.decode(trust)["Statement"]):
        for kind, name in sorted(policy.principals(statement["Principal"])):
            if kind == "AWS" and not _exists(tx, name):
                raise MalformedPolicyDocument(f'Invalid principal in policy: "AWS":"{name}"')
            if kind == "Federated" and name.startswith("arn:") and tx.get(OidcProvider, name) is None:
                raise MalformedPolicyDocument(f'Invalid principal in policy: "FEDERATED":"{name}"')
            if kind == "Service" and not name.endswith((".amazonaws.com", ".amazon.com")):
                raise MalformedPolicyDocument(f'Invalid principal in policy: "SERVICE":"{name}"')


def _exists(tx: Tx, name: str) -> bool:
    if name == "*" or (len(name) == 12 and name.isascii() and name.isdigit()):
        return True
    parts = name.split(":", 5)
    if len(parts) != 6 or parts[:2] != ["arn", "aws"] or len(parts[4]) != 12 or not parts[4].isdigit():
        return False
    if parts[2] == "sts" and parts[5].startswith("assumed-role/") and parts[5].count("/") == 2:
        role = tx.get(Role, entity_key(parts[4], parts[5].split("/")[1]))
        return role is not None and role.name == parts[5].split("/")[1]
    if parts[2] != "iam":
        return False
    named: User | Role | None = None
    if parts[5].startswith("user/"):
        named = tx.get(User, key_of_arn(name))
    elif parts[5].startswith("role/"):
        named = tx.get(Role, key_of_arn(name))
    return parts[5] == "root" or (named is not None and named.arn == name)
