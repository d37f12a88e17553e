"""Which managed policies are attached to which users and roles."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.policies import attached_to, find_any, readable, the_policy
from cloudlet.services.iam.records import Role, User
from cloudlet.services.iam.roles import find_role, the_role
from cloudlet.services.iam.service import LimitExceeded, NoSuchEntity, iam
from cloudlet.services.iam.users import find_user, the_user
from cloudlet.store.db import Tx

ATTACHED_MAX = 10


@iam.write(resources=the_user)
def attach_user_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Attaches a policy to a user; attaching it again changes nothing."""
    user = find_user(tx, call, request["UserName"])
    attached = _attached(tx, call, user.attached, request["PolicyArn"], "PoliciesPerUser")
    tx.put(dataclasses.replace(user, attached=attached))


@iam.write(resources=the_role)
def attach_role_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Attaches a policy to a role; attaching it again changes nothing."""
    role = find_role(tx, call, request["RoleName"])
    attached = _attached(tx, call, role.attached, request["PolicyArn"], "PoliciesPerRole")
    tx.put(dataclasses.replace(role, attached=attached))


@iam.write(resources=the_user)
def detach_user_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a policy off a user; it gives nothing from the next request."""
    user = find_user(tx, call, request["UserName"])
    tx.put(dataclasses.replace(user, attached=_detached(user.attached, request["PolicyArn"])))


@iam.write(resources=the_role)
def detach_role_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a policy off a role; it gives nothing from the next request, in open sessions too."""
    role = find_role(tx, call, request["RoleName"])
    tx.put(dataclasses.replace(role, attached=_detached(role.attached, request["PolicyArn"])))


@iam.read(resources=the_user)
def list_attached_user_policies(call: Call, tx: Tx, request: Input) -> Output:
    """The managed policies of a user."""
    return _listed(find_user(tx, call, request["UserName"]), request)


@iam.read(resources=the_role)
def list_attached_role_policies(call: Call, tx: Tx, request: Input) -> Output:
    """The managed policies of a role."""
    return _listed(find_role(tx, call, request["RoleName"]), request)


@iam.read(resources=the_policy)
def list_entities_for_policy(call: Call, tx: Tx, request: Input) -> Output:
    """The users and roles to which a policy is attached."""
    policy = readable(tx, call, request["PolicyArn"])
    wanted, prefix = request.get("EntityFilter"), request.get("PathPrefix") or "/"
    boundary = request.get("PolicyUsageFilter") == "PermissionsBoundary"  # nothing can have one here yet
    found = [] if boundary else [e for e in attached_to(tx, call.account, policy.arn) if e.path.startswith(prefix)]
    users = [user for user in found if isinstance(user, User) and wanted in (None, "User")]
    roles = [role for role in found if isinstance(role, Role) and wanted in (None, "Role")]
    return {"PolicyGroups": [],
            "PolicyUsers": [{"UserName": user.name, "UserId": user.id} for user in users],
            "PolicyRoles": [{"RoleName": role.name, "RoleId": role.id} for role in roles]}


def _attached(tx: Tx, call: Call, attached: tuple[str, ...], arn: str, quota: str) -> tuple[str, ...]:
    if find_any(tx, call.account, arn) is None:
        raise NoSuchEntity(f"Policy {arn} does not exist or is not attachable.")
    if arn in attached:
        return attached
    if len(attached) >= ATTACHED_MAX:
        raise LimitExceeded(f"Cannot exceed quota for {quota}: {ATTACHED_MAX}")
    return (*attached, arn)


def _detached(attached: Sequence[str], arn: str) -> tuple[str, ...]:
    if arn not in attached:
        raise NoSuchEntity(f"Policy {arn} was not found.")
    return tuple(other for other in attached if other != arn)


def _listed(owner: User | Role, request: Input) -> dict[str, Any]:
    prefix = request.get("PathPrefix") or "/"
    return {"AttachedPolicies": [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in owner.attached
        if arn.split(":", 5)[5].removeprefix("policy").startswith(prefix)]}
