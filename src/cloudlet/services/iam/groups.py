"""Groups: users who share policies."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.ids import unique_id
from cloudlet.services.iam.naming import check_name, check_path, group_arn
from cloudlet.services.iam.records import Group, User, entity_key
from cloudlet.services.iam.service import DeleteConflict, EntityAlreadyExists, LimitExceeded, NoSuchEntity, iam
from cloudlet.services.iam.users import described as described_user
from cloudlet.services.iam.users import find_user, the_user
from cloudlet.store.db import Tx

GROUPS_PER_USER_MAX = 10


def the_group(call: Call, request: Input) -> list[str]:
    """The resource of operations on one group."""
    return [group_arn(call, request["GroupName"])]


def find_group(tx: Tx, call: Call, name: str) -> Group:
    """The group of that name in the caller's account; raises NoSuchEntity."""
    group = tx.get(Group, entity_key(call.account, name))
    if group is None or group.name != name:
        raise NoSuchEntity(f"The group with name {name} cannot be found.")
    return group


def described(group: Group) -> dict[str, Any]:
    """A group as answers carry it."""
    return {"Path": group.path, "GroupName": group.name, "GroupId": group.id, "Arn": group.arn,
            "CreateDate": group.created}


@iam.write(resources=lambda call, request: [group_arn(call, request["GroupName"], request.get("Path") or "/")])
def create_group(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a group without users or policies."""
    name, path = check_name("groupName", request["GroupName"]), check_path(request.get("Path") or "/")
    _refuse_taken(tx, call, name)
    group = Group(entity_key(call.account, name), call.account, unique_id(tx, "AGPA", call.account), name, path, tx.now)
    tx.put(group)
    return {"Group": described(group)}


@iam.read(resources=the_group)
def get_group(call: Call, tx: Tx, request: Input) -> Output:
    """A group and its users."""
    group = find_group(tx, call, request["GroupName"])
    return {"Group": described(group),
            "Users": [described_user(user, listed=True) for user in tx.find(User, group=group.key)]}


@iam.read(resources=lambda call, request: [group_arn(call, "", request.get("PathPrefix") or "/")])
def list_groups(call: Call, tx: Tx, request: Input) -> Output:
    """The account's groups under a path."""
    prefix = request.get("PathPrefix") or "/"
    return {"Groups": [described(group) for group in tx.find(Group, f"{call.account}/")
                       if group.path.startswith(prefix)]}


def _old_and_new(call: Call, request: Input) -> list[str]:
    name = request.get("NewGroupName") or request["GroupName"]
    return [group_arn(call, request["GroupName"]), group_arn(call, name, request.get("NewPath") or "/")]


@iam.write(resources=_old_and_new)
def update_group(call: Call, tx: Tx, request: Input) -> Output:
    """Renames or moves a group; its users and policies stay."""
    group = find_group(tx, call, request["GroupName"])
    name = check_name("newGroupName", request.get("NewGroupName") or group.name)
    path = check_path(request.get("NewPath") or group.path, "newPath")
    key = entity_key(call.account, name)
    if key != group.key:
        _refuse_taken(tx, call, name)
        tx.delete(Group, group.key)
        for user in tx.find(User, group=group.key):
            tx.put(dataclasses.replace(user, groups=tuple(key if each == group.key else each for each in user.groups)))
    tx.put(dataclasses.replace(group, key=key, name=name, path=path))


@iam.write(resources=the_group)
def delete_group(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a group without users and policies."""
    group = find_group(tx, call, request["GroupName"])
    if tx.find(User, group=group.key, limit=1):
        raise DeleteConflict("Cannot delete entity, must remove users from group first.")
    if group.attached:
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")
    if group.inline:
        raise DeleteConflict("Cannot delete entity, must delete policies first.")
    tx.delete(Group, group.key)


@iam.write(resources=the_group)
def add_user_to_group(call: Call, tx: Tx, request: Input) -> Output:
    """Puts a user into a group; the group's policies count for it from the next request."""
    group, user = find_group(tx, call, request["GroupName"]), find_user(tx, call, request["UserName"])
    if group.key in user.groups:
        return
    if len(user.groups) >= GROUPS_PER_USER_MAX:
        raise LimitExceeded(f"Cannot exceed quota for GroupsPerUser: {GROUPS_PER_USER_MAX}")
    tx.put(dataclasses.replace(user, groups=(*user.groups, group.key)))


@iam.write(resources=the_group)
def remove_user_from_group(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a user out of a group; one that is not in it stays as it is."""
    group, user = find_group(tx, call, request["GroupName"]), find_user(tx, call, request["UserName"])
    tx.put(dataclasses.replace(user, groups=tuple(key for key in user.groups if key != group.key)))


@iam.read(resources=the_user)
def list_groups_for_user(call: Call, tx: Tx, request: Input) -> Output:
    """The groups of a user."""
    user = find_user(tx, call, request["UserName"])
    return {"Groups": [described(group) for key in sorted(user.groups) if (group := tx.get(Group, key)) is not None]}


def _refuse_taken(tx: Tx, call: Call, name: str) -> None:
    if tx.get(Group, entity_key(call.account, name)) is not None:
        raise EntityAlreadyExists(f"Group with name {name} already exists.")
