"""Instance profiles: what hands a role to an instance."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam.ids import unique_id
from cloudlet.services.iam.naming import merged_tags, tag_list
from cloudlet.services.iam.nouns import PROFILE, ROLE
from cloudlet.services.iam.records import InstanceProfile, Role
from cloudlet.services.iam.roles import described as described_role
from cloudlet.services.iam.service import DeleteConflict, LimitExceeded, NoSuchEntity, iam
from cloudlet.store.db import Tx


def described(tx: Tx, profile: InstanceProfile, *, listed: bool = False) -> dict[str, Any]:
    """An instance profile with its role as answers carry it; lists leave the tags out."""
    role = tx.get(Role, profile.role) if profile.role else None
    shown = {"Path": profile.path, "InstanceProfileName": profile.name, "InstanceProfileId": profile.id,
             "Arn": profile.arn, "CreateDate": profile.created,
             "Roles": [described_role(role, listed=True)] if role else []}
    return {**shown, "Tags": tag_list(profile.tags)} if profile.tags and not listed else shown


@iam.write(resources=PROFILE.new)
def create_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Makes an instance profile without a role."""
    key, name, path = PROFILE.check_new(tx, call, request)
    profile = InstanceProfile(key, call.account, unique_id(tx, "AIPA", call.account), name, path, tx.now,
                              tags=merged_tags({}, request.get("Tags") or (), "TagsPerInstanceProfile"))
    tx.put(profile)
    return {"InstanceProfile": described(tx, profile)}


@iam.read(resources=PROFILE.named)
def get_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """An instance profile and its role."""
    return {"InstanceProfile": described(tx, PROFILE.asked(tx, call, request))}


@iam.read(resources=PROFILE.under)
def list_instance_profiles(call: Call, tx: Tx, request: Input) -> Output:
    """The account's instance profiles under a path."""
    return {"InstanceProfiles": [described(tx, profile, listed=True)
                                 for profile in PROFILE.listed(tx, call, request)]}


@iam.read(resources=ROLE.named)
def list_instance_profiles_for_role(call: Call, tx: Tx, request: Input) -> Output:
    """The instance profiles that hand out a role."""
    role = ROLE.asked(tx, call, request)
    return {"InstanceProfiles": [described(tx, profile, listed=True)
                                 for profile in tx.find(InstanceProfile, role=role.key)]}


@iam.write(resources=PROFILE.named)
def add_role_to_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Puts the one role into an instance profile that it may have."""
    profile = PROFILE.asked(tx, call, request)
    role = ROLE.asked(tx, call, request)
    if profile.role:
        raise LimitExceeded("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
    tx.put(dataclasses.replace(profile, role=role.key))


@iam.write(resources=PROFILE.named)
def remove_role_from_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Takes the role out of an instance profile."""
    profile = PROFILE.asked(tx, call, request)
    role = ROLE.asked(tx, call, request)
    if profile.role != role.key:
        raise NoSuchEntity(f"Role {role.name} in Instance Profile {profile.name} cannot be found.")
    tx.put(dataclasses.replace(profile, role=""))


@iam.write(resources=PROFILE.named)
def delete_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes an instance profile without a role."""
    profile = PROFILE.asked(tx, call, request)
    if profile.role:
        raise DeleteConflict("Cannot delete entity, must remove roles from instance profile first.")
    tx.delete(InstanceProfile, profile.key)
