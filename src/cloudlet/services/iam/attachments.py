"""Which managed policies are attached to which users, groups and roles, or bound what they may do."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.boundaries import asked_boundary
from cloudlet.services.iam.groups import find_group, the_group
from cloudlet.services.iam.policies import attached_to, bounded_by, find_any, readable, the_policy
from cloudlet.services.iam.records import Group, Role, User
from cloudlet.services.iam.roles import changeable, find_role, the_role
from cloudlet.services.iam.service import LimitExceeded, NoSuchEntity, iam
from cloudlet.services.iam.users import find_user, the_user
from cloudlet.store.db import Tx

ATTACHED_MAX = 10


def _the_policy(call: Call, request: Input) -> dict[str, str]:
    return {"iam:PolicyARN": request["PolicyArn"]}


def _the_boundary(call: Call, request: Input) -> dict[str, str | None]:
    return {"iam:PermissionsBoundary": request.get("PermissionsBoundary")}


@iam.write(resources=the_user, context=_the_policy)
def attach_user_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Attaches a policy to a user; attaching it again changes nothing."""
    user = find_user(tx, call, request["UserName"])
    attached = _attached(tx, call, user.attached, request["PolicyArn"], "PoliciesPerUser")
    tx.put(dataclasses.replace(user, attached=attached))


@iam.write(resources=the_role, context=_the_policy)
def attach_role_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Attaches a policy to a role; attaching it again changes nothing."""
    role = changeable(find_role(tx, call, request["RoleName"]))
    attached = _attached(tx, call, role.attached, request["PolicyArn"], "PoliciesPerRole")
    tx.put(dataclasses.replace(role, attached=attached))


@iam.write(resources=the_user, context=_the_policy)
def detach_user_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a policy off a user; it gives nothing from the next request."""
    user = find_user(tx, call, request["UserName"])
    tx.put(dataclasses.replace(user, attached=_detached(user.attached, request["PolicyArn"])))


@iam.write(resources=the_role, context=_the_policy)
def detach_role_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a policy off a role; it gives nothing from the next request, in open sessions too."""
    role = changeable(find_role(tx, call, request["RoleName"]))
    tx.put(dataclasses.replace(role, attached=_detached(role.attached, request["PolicyArn"])))


@iam.write(resources=the_group, context=_the_policy)
def attach_group_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Attaches a policy to a group; attaching it again changes nothing."""
    group = find_group(tx, call, request["GroupName"])
    attached = _attached(tx, call, group.attached, request["PolicyArn"], "PoliciesPerGroup")
    tx.put(dataclasses.replace(group, attached=attached))


@iam.write(resources=the_group, context=_the_policy)
def detach_group_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a policy off a group; it gives its users nothing from their next request."""
    group = find_group(tx, call, request["GroupName"])
    tx.put(dataclasses.replace(group, attached=_detached(group.attached, request["PolicyArn"])))


@iam.read(resources=the_group)
def list_attached_group_policies(call: Call, tx: Tx, request: Input) -> Output:
    """The managed policies of a group."""
    return _listed(find_group(tx, call, request["GroupName"]), request)


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
    """The users, groups and roles to which a policy is attached, and those whose boundary it is."""
    policy = readable(tx, call, request["PolicyArn"])
    wanted, prefix = request.get("EntityFilter"), request.get("PathPrefix") or "/"
    use = request.get("PolicyUsageFilter")
    found: dict[str, User | Group | Role] = {}
    if use != "PermissionsBoundary":
        found |= {entity.arn: entity for entity in attached_to(tx, call.account, policy.arn)}
    if use != "PermissionsPolicy":
        found |= {entity.arn: entity for entity in bounded_by(tx, call.account, policy.arn)}
    answer: dict[str, Any] = {"PolicyGroups": [], "PolicyUsers": [], "PolicyRoles": []}
    for entity in found.values():
        kind = type(entity).__name__
        if wanted in (None, kind) and entity.path.startswith(prefix):
            answer[f"Policy{kind}s"].append({f"{kind}Name": entity.name, f"{kind}Id": entity.id})
    return answer


@iam.write(resources=the_user, context=_the_boundary)
def put_user_permissions_boundary(call: Call, tx: Tx, request: Input) -> Output:
    """Bounds what a user may do, from the next request."""
    user = find_user(tx, call, request["UserName"])
    tx.put(dataclasses.replace(user, boundary=asked_boundary(tx, call, request)))


@iam.write(resources=the_role, context=_the_boundary)
def put_role_permissions_boundary(call: Call, tx: Tx, request: Input) -> Output:
    """Bounds what a role may do, from the next request, in open sessions too."""
    role = changeable(find_role(tx, call, request["RoleName"]))
    tx.put(dataclasses.replace(role, boundary=asked_boundary(tx, call, request)))


@iam.write(resources=the_user)
def delete_user_permissions_boundary(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a user's boundary away."""
    user = find_user(tx, call, request["UserName"])
    if not user.boundary:
        raise NoSuchEntity(f"User {user.name} does not have a permissions boundary.")
    tx.put(dataclasses.replace(user, boundary=""))


@iam.write(resources=the_role)
def delete_role_permissions_boundary(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a role's boundary away."""
    role = changeable(find_role(tx, call, request["RoleName"]))
    if not role.boundary:
        raise NoSuchEntity(f"Role {role.name} does not have a permissions boundary.")
    tx.put(dataclasses.replace(role, boundary=""))


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


def _listed(owner: User | Group | Role, request: Input) -> dict[str, Any]:
    prefix = request.get("PathPrefix") or "/"
    return {"AttachedPolicies": [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in owner.attached
        if arn.split(":", 5)[5].removeprefix("policy").startswith(prefix)]}
