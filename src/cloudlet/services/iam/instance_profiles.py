"""Instance profiles: what hands a role to an instance."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.ids import unique_id
from cloudlet.services.iam.naming import check_name, check_path, merged_tags, profile_arn, remaining_tags, tag_list
from cloudlet.services.iam.records import InstanceProfile, Role, entity_key
from cloudlet.services.iam.roles import described as described_role
from cloudlet.services.iam.roles import find_role, the_role
from cloudlet.services.iam.service import DeleteConflict, EntityAlreadyExists, LimitExceeded, NoSuchEntity, iam
from cloudlet.store.db import Tx


def the_profile(call: Call, request: Input) -> list[str]:
    """The resource of operations on one instance profile."""
    return [profile_arn(call, request["InstanceProfileName"])]


def find_profile(tx: Tx, call: Call, name: str) -> InstanceProfile:
    """The instance profile of that name in the caller's account; raises NoSuchEntity."""
    profile = tx.get(InstanceProfile, entity_key(call.account, name))
    if profile is None or profile.name != name:
        raise NoSuchEntity(f"Instance Profile {name} cannot be found.")
    return profile


def described(tx: Tx, profile: InstanceProfile, *, listed: bool = False) -> dict[str, Any]:
    """An instance profile with its role as answers carry it; lists leave the tags out."""
    role = tx.get(Role, profile.role) if profile.role else None
    shown = {"Path": profile.path, "InstanceProfileName": profile.name, "InstanceProfileId": profile.id,
             "Arn": profile.arn, "CreateDate": profile.created,
             "Roles": [described_role(role, listed=True)] if role else []}
    return {**shown, "Tags": tag_list(profile.tags)} if profile.tags and not listed else shown


@iam.write(resources=lambda call, request: [
    profile_arn(call, request["InstanceProfileName"], request.get("Path") or "/")])
def create_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Makes an instance profile without a role."""
    name, path = check_name("instanceProfileName", request["InstanceProfileName"]), check_path(
        request.get("Path") or "/")
    key = entity_key(call.account, name)
    if tx.get(InstanceProfile, key) is not None:
        raise EntityAlreadyExists(f"Instance Profile {name} already exists.")
    profile = InstanceProfile(key, call.account, unique_id(tx, "AIPA", call.account), name, path, tx.now,
                              tags=merged_tags({}, request.get("Tags") or (), "TagsPerInstanceProfile"))
    tx.put(profile)
    return {"InstanceProfile": described(tx, profile)}


@iam.read(resources=the_profile)
def get_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """An instance profile and its role."""
    return {"InstanceProfile": described(tx, find_profile(tx, call, request["InstanceProfileName"]))}


@iam.read(resources=lambda call, request: [profile_arn(call, "", request.get("PathPrefix") or "/")])
def list_instance_profiles(call: Call, tx: Tx, request: Input) -> Output:
    """The account's instance profiles under a path."""
    prefix = request.get("PathPrefix") or "/"
    return {"InstanceProfiles": [described(tx, profile, listed=True)
                                 for profile in tx.find(InstanceProfile, f"{call.account}/")
                                 if profile.path.startswith(prefix)]}


@iam.read(resources=the_role)
def list_instance_profiles_for_role(call: Call, tx: Tx, request: Input) -> Output:
    """The instance profiles that hand out a role."""
    role = find_role(tx, call, request["RoleName"])
    return {"InstanceProfiles": [described(tx, profile, listed=True)
                                 for profile in tx.find(InstanceProfile, role=role.key)]}


@iam.write(resources=the_profile)
def add_role_to_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Puts the one role into an instance profile that it may have."""
    profile = find_profile(tx, call, request["InstanceProfileName"])
    role = find_role(tx, call, request["RoleName"])
    if profile.role:
        raise LimitExceeded("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
    tx.put(dataclasses.replace(profile, role=role.key))


@iam.write(resources=the_profile)
def remove_role_from_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Takes the role out of an instance profile."""
    profile = find_profile(tx, call, request["InstanceProfileName"])
    role = find_role(tx, call, request["RoleName"])
    if profile.role != role.key:
        raise NoSuchEntity(f"Role {role.name} in Instance Profile {profile.name} cannot be found.")
    tx.put(dataclasses.replace(profile, role=""))


@iam.write(resources=the_profile)
def delete_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes an instance profile without a role."""
    profile = find_profile(tx, call, request["InstanceProfileName"])
    if profile.role:
        raise DeleteConflict("Cannot delete entity, must remove roles from instance profile first.")
    tx.delete(InstanceProfile, profile.key)


@iam.write(resources=the_profile)
def tag_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags or changes their values."""
    profile = find_profile(tx, call, request["InstanceProfileName"])
    tx.put(dataclasses.replace(profile, tags=merged_tags(profile.tags, request["Tags"], "TagsPerInstanceProfile")))


@iam.write(resources=the_profile)
def untag_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags; keys that are not there do no harm."""
    profile = find_profile(tx, call, request["InstanceProfileName"])
    tx.put(dataclasses.replace(profile, tags=remaining_tags(profile.tags, request["TagKeys"])))


@iam.read(resources=the_profile)
def list_instance_profile_tags(call: Call, tx: Tx, request: Input) -> Output:
    """An instance profile's tags."""
    return {"Tags": tag_list(find_profile(tx, call, request["InstanceProfileName"]).tags)}
