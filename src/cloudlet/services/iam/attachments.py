"""Which managed policies are attached to which users, groups and roles, or bound what they may do."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, Resources
from cloudlet.services.iam.boundaries import asked_boundary
from cloudlet.services.iam.nouns import GROUP, ROLE, USER, Noun
from cloudlet.services.iam.policies import attached_to, bounded_by, find_any, readable, the_policy
from cloudlet.services.iam.records import Group, Role, User
from cloudlet.services.iam.roles import changeable
from cloudlet.services.iam.service import LimitExceeded, NoSuchEntity, iam
from cloudlet.services.iam.users import the_user
from cloudlet.store.db import Tx

ATTACHED_MAX = 10


def _the_policy(call: Call, request: Input) -> dict[str, str]:
    return {"iam:PolicyARN": request["PolicyArn"]}


def _the_boundary(call: Call, request: Input) -> dict[str, str | None]:
    return {"iam:PermissionsBoundary": request.get("PermissionsBoundary")}


def _declare(noun: Noun[Any], the_owner: Resources) -> None:
    """The three operations of one noun, e.g. attach_user_policy. What they change counts from the next request, in open
    sessions and for the users of a group, too; what is attached already, or again, changes nothing."""
    def owner_of(tx: Tx, call: Call, request: Input) -> User | Group | Role:
        owner: User | Group | Role = noun.asked(tx, call, request)
        return changeable(owner) if isinstance(owner, Role) else owner

    def attach(call: Call, tx: Tx, request: Input) -> Output:
        owner = owner_of(tx, call, request)
        attached = _attached(tx, call, owner.attached, request["PolicyArn"], f"PoliciesPer{noun.member}")
        tx.put(dataclasses.replace(owner, attached=attached))

    def detach(call: Call, tx: Tx, request: Input) -> Output:
        owner = owner_of(tx, call, request)
        tx.put(dataclasses.replace(owner, attached=_detached(owner.attached, request["PolicyArn"])))

    def listed(call: Call, tx: Tx, request: Input) -> Output:
        return _listed(noun.asked(tx, call, request), request)

    attach.__name__, detach.__name__ = f"attach_{noun.word}_policy", f"detach_{noun.word}_policy"
    listed.__name__ = f"list_attached_{noun.word}_policies"
    for change in (attach, detach):
        iam.write(resources=the_owner, context=_the_policy)(change)
    iam.read(resources=the_owner)(listed)


_declare(USER, the_user)
_declare(GROUP, GROUP.named)
_declare(ROLE, ROLE.named)


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
    user = USER.asked(tx, call, request)
    tx.put(dataclasses.replace(user, boundary=asked_boundary(tx, call, request)))


@iam.write(resources=ROLE.named, context=_the_boundary)
def put_role_permissions_boundary(call: Call, tx: Tx, request: Input) -> Output:
    """Bounds what a role may do, from the next request, in open sessions too."""
    role = changeable(ROLE.asked(tx, call, request))
    tx.put(dataclasses.replace(role, boundary=asked_boundary(tx, call, request)))


@iam.write(resources=the_user)
def delete_user_permissions_boundary(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a user's boundary away."""
    user = USER.asked(tx, call, request)
    if not user.boundary:
        raise NoSuchEntity(f"User {user.name} does not have a permissions boundary.")
    tx.put(dataclasses.replace(user, boundary=""))


@iam.write(resources=ROLE.named)
def delete_role_permissions_boundary(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a role's boundary away."""
    role = changeable(ROLE.asked(tx, call, request))
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
