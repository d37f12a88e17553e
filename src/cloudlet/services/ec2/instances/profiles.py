"""Instance profiles of instances: given at launch or later, changed, and taken away.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2_instance-profiles.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2, touches
from cloudlet.services.ec2.instances.records import Instance, ProfileAssociation
from cloudlet.services.ec2.nouns import find
from cloudlet.services.iam import InstanceProfile, find_instance_profile, find_role_of, pass_role_refusal
from cloudlet.store.db import Tx

EC2 = "ec2.amazonaws.com"


def associated(tx: Tx, call: Call, given: Mapping[str, Any] | None) -> ProfileAssociation | None:
    """The association with the instance profile that a request names, if it names one. The caller must be allowed to
    pass its role. Raises InvalidParameterValue, UnauthorizedOperation."""
    name, arn = (given or {}).get("Name"), (given or {}).get("Arn")
    if not name and not arn:
        return None
    if name and arn:
        raise api.InvalidParameterCombination("The parameter 'iamInstanceProfile.name' may not be used in combination "
                                              "with 'iamInstanceProfile.arn'")
    found = find_instance_profile(tx, call.account, name=name or "", arn=arn or "")
    if found is None:
        member, noun = ("name", "name") if name else ("arn", "ARN")
        raise api.InvalidParameterValue(f"Value ({name or arn}) for parameter iamInstanceProfile.{member} is invalid. "
                                        f"Invalid IAM Instance Profile {noun}")
    _require_passing(tx, call, found)
    return ProfileAssociation(f"iip-assoc-{tx.token(17)}", found.arn, found.id, tx.now)


def _require_passing(tx: Tx, call: Call, profile: InstanceProfile) -> None:
    role = find_role_of(tx, profile)
    api.permit(pass_role_refusal(tx, call, role.arn, EC2) if role else None)


def view(profile: ProfileAssociation) -> dict[str, Any]:
    """The profile as an instance shows it."""
    return {"Arn": profile.arn, "Id": profile.profile_id}


def _association(instance: Instance, profile: ProfileAssociation, state: str = "associated") -> dict[str, Any]:
    return {"AssociationId": profile.id, "InstanceId": instance.id, "IamInstanceProfile": view(profile),
            "State": state, "Timestamp": profile.at}


def _find(tx: Tx, call: Call, id: str) -> tuple[Instance, ProfileAssociation]:
    for instance in tx.find(Instance, f"{call.scope}/", profile=id):
        if instance.profile:
            return instance, instance.profile
    raise api.InvalidProfileAssociationNotFound(f"An invalid association-id of '{id}' was given")


@ec2.write(resources=touches(instance="InstanceId"))
def associate_iam_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Gives an instance that has none a profile."""
    instance = find(tx, call, Instance, request["InstanceId"])
    if instance.state not in ("running", "stopped", "pending", "stopping"):
        raise api.IncorrectInstanceState(f"The instance '{instance.id}' is not in a state in which a profile can be "
                                         "associated.")
    if instance.profile:
        raise api.IncorrectState(f"There is an existing association for instance {instance.id}")
    profile = _required(tx, call, request)
    tx.put(replace(instance, profile=profile))
    return {"IamInstanceProfileAssociation": _association(instance, profile, "associating")}


def _required(tx: Tx, call: Call, request: Input) -> ProfileAssociation:
    profile = associated(tx, call, request["IamInstanceProfile"])
    if profile is None:
        raise api.MissingParameter("The request must contain the parameter iamInstanceProfile.name or .arn")
    return profile


@ec2.write(resources=touches(instance=""))
def disassociate_iam_instance_profile(call: Call, tx: Tx, request: Input) -> Output:
    """Takes the profile away: its credentials end when they expire."""
    instance, profile = _find(tx, call, request["AssociationId"])
    tx.put(replace(instance, profile=None))
    return {"IamInstanceProfileAssociation": _association(instance, profile, "disassociating")}


@ec2.write(resources=touches(instance=""))
def replace_iam_instance_profile_association(call: Call, tx: Tx, request: Input) -> Output:
    """Another profile in the place of the one it has."""
    instance, _ = _find(tx, call, request["AssociationId"])
    profile = _required(tx, call, request)
    tx.put(replace(instance, profile=profile))
    return {"IamInstanceProfileAssociation": _association(instance, profile, "associating")}


@ec2.read(resources=any_resource)
def describe_iam_instance_profile_associations(call: Call, tx: Tx, request: Input) -> Output:
    """Associations by id and filter."""
    asked = request.get("AssociationIds")
    pairs = ([_find(tx, call, id) for id in asked] if asked else
             [(i, i.profile) for i in tx.find(Instance, f"{call.scope}/") if i.profile])
    found = matching([_association(*pair) for pair in pairs], request.get("Filters"), {
        "instance-id": lambda view: view["InstanceId"], "state": lambda view: view["State"]})
    return {"IamInstanceProfileAssociations": found}
