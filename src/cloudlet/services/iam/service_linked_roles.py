"""Service-linked roles: made for a service, changeable by nobody else, deleted as a task of their own."""

import re

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.clock import as_uuid
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam import managed
from cloudlet.services.iam.ids import unique_id
from cloudlet.services.iam.nouns import ROLE
from cloudlet.services.iam.records import Role, RoleDeletion, entity_key
from cloudlet.services.iam.roles import SERVICE_PATH, described
from cloudlet.services.iam.service import InvalidInput, NoSuchEntity, iam
from cloudlet.store.db import Tx

# service → (the role's name, AWS's policy for it)
ROLES = {
    "ecs.amazonaws.com": ("AWSServiceRoleForECS", "AmazonECSServiceRolePolicy"),
    "ecs.application-autoscaling.amazonaws.com": (
        "AWSServiceRoleForApplicationAutoScaling_ECSService", "AWSApplicationAutoscalingECSServicePolicy"),
    "elasticloadbalancing.amazonaws.com": (
        "AWSServiceRoleForElasticLoadBalancing", "AWSElasticLoadBalancingServiceRolePolicy"),
    "autoscaling.amazonaws.com": ("AWSServiceRoleForAutoScaling", "AutoScalingServiceRolePolicy"),
    "rds.amazonaws.com": ("AWSServiceRoleForRDS", "AmazonRDSServiceRolePolicy"),
}
_SUFFIX = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_TAKE_SUFFIX = {"autoscaling.amazonaws.com"}


def _the_new_role(call: Call, request: Input) -> list[str]:
    service = request["AWSServiceName"]
    return [ROLE.arn(call, ROLES.get(service, ("*", ""))[0], f"{SERVICE_PATH}{service}/")]


@iam.write(resources=_the_new_role, context=lambda call, request: {"iam:AWSServiceName": request["AWSServiceName"]})
def create_service_linked_role(call: Call, tx: Tx, request: Input) -> Output:
    """Makes the role that a service acts with in this account."""
    service, suffix = request["AWSServiceName"], request.get("CustomSuffix")
    if service not in ROLES:
        raise InvalidInput(f"Service principal {service} does not support service-linked roles here.")
    name, policy = ROLES[service]
    if suffix is not None:
        if service not in _TAKE_SUFFIX or not _SUFFIX.fullmatch(suffix):
            raise InvalidInput(f"Custom suffix is not allowed for {service}")
        name = f"{name}_{suffix}"
    if tx.get(Role, entity_key(call.account, name)) is not None:
        raise InvalidInput(f"Service role name {name} has been taken in this account, please try a different suffix.")
    trust = msgspec.json.encode({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]}).decode()
    arn = f"{managed.PREFIX}{SERVICE_PATH}{policy}"
    role = Role(entity_key(call.account, name), call.account, unique_id(tx, "AROA", call.account), name,
                f"{SERVICE_PATH}{service}/", tx.now, trust, request.get("Description") or "",
                attached=(arn,))
    tx.put(role)
    return {"Role": described(role)}


@iam.write(resources=ROLE.named)
def delete_service_linked_role(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a service-linked role; the task that AWS makes of it has succeeded when this answers."""
    role = ROLE.asked(tx, call, request)
    if not role.path.startswith(SERVICE_PATH):
        raise InvalidInput(f"The role {role.name} is not a service-linked role.")
    task = f"task{role.path}{role.name}/{as_uuid(tx.token(32))}"
    tx.put(RoleDeletion(f"{call.account}/{task}"))
    tx.delete(Role, role.key)
    return {"DeletionTaskId": task}


@iam.read(resources=lambda call, request: [ROLE.arn(call, request["DeletionTaskId"].removeprefix("task/"))])
def get_service_linked_role_deletion_status(call: Call, tx: Tx, request: Input) -> Output:
    """How the deletion of a service-linked role went."""
    if tx.get(RoleDeletion, f"{call.account}/{request['DeletionTaskId']}") is None:
        raise NoSuchEntity(f"The deletion task {request['DeletionTaskId']} cannot be found.")
    return {"Status": "SUCCEEDED"}
