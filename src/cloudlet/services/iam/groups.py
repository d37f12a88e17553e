"""Groups: users who share policies."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.ids import unique_id
from cloudlet.services.iam.nouns import GROUP, USER
from cloudlet.services.iam.records import Group, User
from cloudlet.services.iam.service import DeleteConflict, LimitExceeded, iam
from cloudlet.services.iam.users import described as described_user
from cloudlet.services.iam.users import the_user
from cloudlet.store.db import Tx

GROUPS_PER_USER_MAX = 10


def described(group: Group) -> dict[str, Any]:
    """A group as answers carry it."""
    return {"Path": group.path, "GroupName": group.name, "GroupId": group.id, "Arn": group.arn,
            "CreateDate": group.created}


@iam.write(resources=GROUP.new)
def create_group(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a group without users or policies."""
    key, name, path = GROUP.check_new(tx, call, request)
    group = Group(key, call.account, unique_id(tx, "AGPA", call.account), name, path, tx.now)
    tx.put(group)
    return {"Group": described(group)}


@iam.read(resources=GROUP.named)
def get_group(call: Call, tx: Tx, request: Input) -> Output:
    """A group and its users."""
    group = GROUP.asked(tx, call, request)
    return {"Group": described(group),
            "Users": [described_user(user, listed=True) for user in tx.find(User, group=group.key)]}


@iam.read(resources=GROUP.under)
def list_groups(call: Call, tx: Tx, request: Input) -> Output:
    """The account's groups under a path."""
    return {"Groups": [described(group) for group in GROUP.listed(tx, call, request)]}


@iam.write(resources=GROUP.renamed)
def update_group(call: Call, tx: Tx, request: Input) -> Output:
    """Renames or moves a group; its users and policies stay."""
    group = GROUP.asked(tx, call, request)
    key, name, path = GROUP.check_change(tx, call, request, group)
    if key != group.key:
        tx.delete(Group, group.key)
        for user in tx.find(User, group=group.key):
            tx.put(dataclasses.replace(user, groups=tuple(key if each == group.key else each for each in user.groups)))
    tx.put(dataclasses.replace(group, key=key, name=name, path=path))


@iam.write(resources=GROUP.named)
def delete_group(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a group without users and policies."""
    group = GROUP.asked(tx, call, request)
    if tx.find(User, group=group.key, limit=1):
        raise DeleteConflict("Cannot delete entity, must remove users from group first.")
    if group.attached:
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")
    if group.inline:
        raise DeleteConflict("Cannot delete entity, must delete policies first.")
    tx.delete(Group, group.key)


@iam.write(resources=GROUP.named)
def add_user_to_group(call: Call, tx: Tx, request: Input) -> Output:
    """Puts a user into a group; the group's policies count for it from the next request."""
    group, user = GROUP.asked(tx, call, request), USER.asked(tx, call, request)
    if group.key in user.groups:
        return
    if len(user.groups) >= GROUPS_PER_USER_MAX:
        raise LimitExceeded(f"Cannot exceed quota for GroupsPerUser: {GROUPS_PER_USER_MAX}")
    tx.put(dataclasses.replace(user, groups=(*user.groups, group.key)))


@iam.write(resources=GROUP.named)
def remove_user_from_group(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a user out of a group; one that is not in it stays as it is."""
    group, user = GROUP.asked(tx, call, request), USER.asked(tx, call, request)
    tx.put(dataclasses.replace(user, groups=tuple(key for key in user.groups if key != group.key)))


@iam.read(resources=the_user)
def list_groups_for_user(call: Call, tx: Tx, request: Input) -> Output:
    """The groups of a user."""
    user = USER.asked(tx, call, request)
    return {"Groups": [described(group) for key in sorted(user.groups) if (group := tx.get(Group, key)) is not None]}
