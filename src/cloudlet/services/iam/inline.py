"""Inline policies: documents that belong to one user, one group or one role."""

import dataclasses
from collections.abc import Mapping

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.documents import GROUP_SIZE_MAX, ROLE_SIZE_MAX, USER_SIZE_MAX, check, encoded, size
from cloudlet.services.iam.groups import find_group, the_group
from cloudlet.services.iam.naming import check_name
from cloudlet.services.iam.roles import changeable, find_role, the_role
from cloudlet.services.iam.service import LimitExceeded, NoSuchEntity, iam
from cloudlet.services.iam.users import find_user, the_user
from cloudlet.store.db import Tx


@iam.write(resources=the_user)
def put_user_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Adds or replaces a user's inline policy; it counts from the next request."""
    user = find_user(tx, call, request["UserName"])
    tx.put(dataclasses.replace(user, inline=_added(user.inline, request, USER_SIZE_MAX, f"user {user.name}")))


@iam.read(resources=the_user)
def get_user_policy(call: Call, tx: Tx, request: Input) -> Output:
    """The document of a user's inline policy."""
    user = find_user(tx, call, request["UserName"])
    return {"UserName": user.name, **_document(user.inline, request["PolicyName"], "user")}


@iam.read(resources=the_user)
def list_user_policies(call: Call, tx: Tx, request: Input) -> Output:
    """The names of a user's inline policies."""
    return {"PolicyNames": sorted(find_user(tx, call, request["UserName"]).inline)}


@iam.write(resources=the_user)
def delete_user_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Removes a user's inline policy."""
    user = find_user(tx, call, request["UserName"])
    tx.put(dataclasses.replace(user, inline=_without(user.inline, request["PolicyName"], "user")))


@iam.write(resources=the_role)
def put_role_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Adds or replaces a role's inline policy; it counts from the next request, in open sessions too."""
    role = changeable(find_role(tx, call, request["RoleName"]))
    tx.put(dataclasses.replace(role, inline=_added(role.inline, request, ROLE_SIZE_MAX, f"role {role.name}")))


@iam.read(resources=the_role)
def get_role_policy(call: Call, tx: Tx, request: Input) -> Output:
    """The document of a role's inline policy."""
    role = find_role(tx, call, request["RoleName"])
    return {"RoleName": role.name, **_document(role.inline, request["PolicyName"], "role")}


@iam.read(resources=the_role)
def list_role_policies(call: Call, tx: Tx, request: Input) -> Output:
    """The names of a role's inline policies."""
    return {"PolicyNames": sorted(find_role(tx, call, request["RoleName"]).inline)}


@iam.write(resources=the_role)
def delete_role_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Removes a role's inline policy."""
    role = changeable(find_role(tx, call, request["RoleName"]))
    tx.put(dataclasses.replace(role, inline=_without(role.inline, request["PolicyName"], "role")))


@iam.write(resources=the_group)
def put_group_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Adds or replaces a group's inline policy; it counts for its users from their next request."""
    group = find_group(tx, call, request["GroupName"])
    tx.put(dataclasses.replace(group, inline=_added(group.inline, request, GROUP_SIZE_MAX, f"group {group.name}")))


@iam.read(resources=the_group)
def get_group_policy(call: Call, tx: Tx, request: Input) -> Output:
    """The document of a group's inline policy."""
    group = find_group(tx, call, request["GroupName"])
    return {"GroupName": group.name, **_document(group.inline, request["PolicyName"], "group")}


@iam.read(resources=the_group)
def list_group_policies(call: Call, tx: Tx, request: Input) -> Output:
    """The names of a group's inline policies."""
    return {"PolicyNames": sorted(find_group(tx, call, request["GroupName"]).inline)}


@iam.write(resources=the_group)
def delete_group_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Removes a group's inline policy."""
    group = find_group(tx, call, request["GroupName"])
    tx.put(dataclasses.replace(group, inline=_without(group.inline, request["PolicyName"], "group")))


def _added(inline: Mapping[str, str], request: Input, size_max: int, owner: str) -> dict[str, str]:
    name = check_name("policyName", request["PolicyName"])
    added = {**inline, name: check(request["PolicyDocument"], "identity")}
    if sum(map(size, added.values())) > size_max:
        raise LimitExceeded(f"Maximum policy size of {size_max} bytes exceeded for {owner}")
    return added


def _document(inline: Mapping[str, str], name: str, owner: str) -> dict[str, str]:
    return {"PolicyName": name, "PolicyDocument": encoded(_must_have(inline, name, owner)[name])}


def _without(inline: Mapping[str, str], name: str, owner: str) -> dict[str, str]:
    return {key: text for key, text in _must_have(inline, name, owner).items() if key != name}


def _must_have(inline: Mapping[str, str], name: str, owner: str) -> Mapping[str, str]:
    if name not in inline:
        raise NoSuchEntity(f"The {owner} policy with name {name} cannot be found.")
    return inline
