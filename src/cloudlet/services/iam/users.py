"""Users: who they are, their names and paths."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.boundaries import asked_boundary, shown_boundary
from cloudlet.services.iam.ids import unique_id
from cloudlet.services.iam.naming import merged_tags, tag_list
from cloudlet.services.iam.nouns import USER
from cloudlet.services.iam.records import AccessKey, MfaDevice, User
from cloudlet.services.iam.service import DeleteConflict, ValidationError, iam
from cloudlet.store.db import Tx


def the_user(call: Call, request: Input) -> list[str]:
    """The resource of operations on one user; without a name, the caller."""
    return USER.named(call, request) if request.get("UserName") else [call.principal.policy_arn or "*"]


def named_or_calling_user(tx: Tx, call: Call, request: Input) -> User:
    """The user that a request names, or the one that signed it."""
    name = request.get("UserName")
    if name is None and call.principal.kind != "user":
        raise ValidationError("Must specify userName when calling with non-User credentials")
    return USER.find(tx, call, name if name is not None else call.principal.policy_arn.rpartition("/")[2])


def described(user: User, *, listed: bool = False) -> dict[str, Any]:
    """A user as answers carry it; lists leave the tags and the boundary out."""
    shown = {"Path": user.path, "UserName": user.name, "UserId": user.id, "Arn": user.arn, "CreateDate": user.created}
    if listed:
        return shown
    return {**shown, **shown_boundary(user.boundary), **({"Tags": tag_list(user.tags)} if user.tags else {})}


@iam.write(resources=USER.new)
def create_user(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a user, who may do nothing yet."""
    key, name, path = USER.check_new(tx, call, request)
    user = User(key, call.account, unique_id(tx, "AIDA", call.account), name, path,
                tx.now, merged_tags({}, request.get("Tags") or (), "TagsPerUser"),
                boundary=asked_boundary(tx, call, request))
    tx.put(user)
    return {"User": described(user)}


@iam.read(resources=the_user)
def get_user(call: Call, tx: Tx, request: Input) -> Output:
    """A user; without a name, the caller (the root user too)."""
    if request.get("UserName") is None and call.principal.kind == "root":
        return {"User": {"UserId": call.account, "Arn": call.principal.arn}}
    return {"User": described(named_or_calling_user(tx, call, request))}


@iam.read(resources=USER.under)
def list_users(call: Call, tx: Tx, request: Input) -> Output:
    """The account's users under a path."""
    return {"Users": [described(user, listed=True) for user in USER.listed(tx, call, request)]}


@iam.write(resources=USER.renamed)
def update_user(call: Call, tx: Tx, request: Input) -> Output:
    """Renames or moves a user; keys, policies and the unique id stay."""
    user = USER.asked(tx, call, request)
    key, name, path = USER.check_change(tx, call, request, user)
    if key != user.key:
        tx.delete(User, user.key)
        for access_key in tx.find(AccessKey, user=user.key):
            tx.put(dataclasses.replace(access_key, user=key))
        for device in tx.find(MfaDevice, user=user.key):
            tx.put(dataclasses.replace(device, user=key))
    tx.put(dataclasses.replace(user, key=key, name=name, path=path))


@iam.write(resources=the_user)
def delete_user(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a user that has neither keys nor devices nor a password, neither policies nor groups."""
    user = USER.asked(tx, call, request)
    if user.groups:
        raise DeleteConflict("Cannot delete entity, must remove users from group first.")
    if user.password is not None:
        raise DeleteConflict("Cannot delete entity, must delete login profile first.")
    if user.attached:
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")
    if user.inline:
        raise DeleteConflict("Cannot delete entity, must delete policies first.")
    if tx.find(AccessKey, user=user.key, limit=1):
        raise DeleteConflict("Cannot delete entity, must delete access keys first.")
    if tx.find(MfaDevice, user=user.key, limit=1):
        raise DeleteConflict("Cannot delete entity, must delete MFA device first.")
    tx.delete(User, user.key)
