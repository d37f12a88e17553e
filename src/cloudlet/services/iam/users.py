"""Users: who they are, their names, paths and tags."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.boundaries import asked_boundary, shown_boundary
from cloudlet.services.iam.ids import unique_id
from cloudlet.services.iam.naming import check_name, check_path, merged_tags, remaining_tags, tag_list, user_arn
from cloudlet.services.iam.records import AccessKey, MfaDevice, User, entity_key
from cloudlet.services.iam.service import (
    DeleteConflict,
    EntityAlreadyExists,
    NoSuchEntity,
    ValidationError,
    iam,
)
from cloudlet.store.db import Tx


def the_user(call: Call, request: Input) -> list[str]:
    """The resource of operations on one user; without a name, the caller."""
    return [user_arn(call, request["UserName"]) if request.get("UserName") else call.principal.policy_arn or "*"]


def find_user(tx: Tx, call: Call, name: str) -> User:
    """The user of that name in the caller's account; raises NoSuchEntity."""
    user = tx.get(User, entity_key(call.account, name))
    if user is None or user.name != name:
        raise NoSuchEntity(f"The user with name {name} cannot be found.")
    return user


def named_or_calling_user(tx: Tx, call: Call, request: Input) -> User:
    """The user that a request names, or the one that signed it."""
    name = request.get("UserName")
    if name is None and call.principal.kind != "user":
        raise ValidationError("Must specify userName when calling with non-User credentials")
    return find_user(tx, call, name if name is not None else call.principal.policy_arn.rpartition("/")[2])


def described(user: User, *, listed: bool = False) -> dict[str, Any]:
    """A user as answers carry it; lists leave the tags and the boundary out."""
    shown = {"Path": user.path, "UserName": user.name, "UserId": user.id, "Arn": user.arn, "CreateDate": user.created}
    if listed:
        return shown
    return {**shown, **shown_boundary(user.boundary), **({"Tags": tag_list(user.tags)} if user.tags else {})}


@iam.write(resources=lambda call, request: [user_arn(call, request["UserName"], request.get("Path") or "/")])
def create_user(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a user, who may do nothing yet."""
    name, path = check_name("userName", request["UserName"]), check_path(request.get("Path") or "/")
    _refuse_taken(tx, call, name)
    user = User(entity_key(call.account, name), call.account, unique_id(tx, "AIDA", call.account), name, path,
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


@iam.read(resources=lambda call, request: [user_arn(call, "", request.get("PathPrefix") or "/")])
def list_users(call: Call, tx: Tx, request: Input) -> Output:
    """The account's users under a path."""
    prefix = request.get("PathPrefix") or "/"
    users = tx.find(User, f"{call.account}/")
    return {"Users": [described(user, listed=True) for user in users if user.path.startswith(prefix)]}


def _old_and_new(call: Call, request: Input) -> list[str]:
    name = request.get("NewUserName") or request["UserName"]
    return [user_arn(call, request["UserName"]), user_arn(call, name, request.get("NewPath") or "/")]


@iam.write(resources=_old_and_new)
def update_user(call: Call, tx: Tx, request: Input) -> Output:
    """Renames or moves a user; keys, policies and the unique id stay."""
    user = find_user(tx, call, request["UserName"])
    name = check_name("newUserName", request.get("NewUserName") or user.name)
    path = check_path(request.get("NewPath") or user.path, "newPath")
    key = entity_key(call.account, name)
    if key != user.key:
        _refuse_taken(tx, call, name)
        tx.delete(User, user.key)
        for access_key in tx.find(AccessKey, user=user.key):
            tx.put(dataclasses.replace(access_key, user=key))
        for device in tx.find(MfaDevice, user=user.key):
            tx.put(dataclasses.replace(device, user=key))
    tx.put(dataclasses.replace(user, key=key, name=name, path=path))


@iam.write(resources=the_user)
def delete_user(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a user that has neither keys nor devices nor a password, neither policies nor groups."""
    user = find_user(tx, call, request["UserName"])
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


@iam.write(resources=the_user)
def tag_user(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags or changes their values."""
    user = find_user(tx, call, request["UserName"])
    tx.put(dataclasses.replace(user, tags=merged_tags(user.tags, request["Tags"], "TagsPerUser")))


@iam.write(resources=the_user)
def untag_user(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags; keys that are not there do no harm."""
    user = find_user(tx, call, request["UserName"])
    tx.put(dataclasses.replace(user, tags=remaining_tags(user.tags, request["TagKeys"])))


@iam.read(resources=the_user)
def list_user_tags(call: Call, tx: Tx, request: Input) -> Output:
    """A user's tags."""
    return {"Tags": tag_list(find_user(tx, call, request["UserName"]).tags)}


def _refuse_taken(tx: Tx, call: Call, name: str) -> None:
    if tx.get(User, entity_key(call.account, name)) is not None:
        raise EntityAlreadyExists(f"User with name {name} already exists.")
