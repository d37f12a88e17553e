"""STS: who is calling, and temporary credentials of roles."""

from dataclasses import dataclass

from cloudlet.kernel.call import Principal
from cloudlet.kernel.identity import Credential
from cloudlet.services.sts import caller, own_sessions, roles, web_identity
from cloudlet.services.sts.service import sts
from cloudlet.store.db import Tx

__all__ = ["TemporaryCredentials", "caller", "instance_credentials", "own_sessions", "role_credentials",
           "role_principal", "roles", "sts", "web_identity"]
READING_S = 900.0  # a session in which something is read once: the shortest there is


@dataclass(frozen=True, slots=True)
class TemporaryCredentials:
    """What a workload gets to act with its role; `expires` in epoch seconds."""

    access_key_id: str
    secret: str
    token: str
    expires: float


def role_credentials(tx: Tx, role_arn: str, session_name: str, duration_s: float,
                     source_arn: str = "") -> TemporaryCredentials:
    """Credentials of a task's role. Raises AccessDenied, in words a customer may read, where there is no such role or
    its trust policy does not let ecs-tasks.amazonaws.com have it for `source_arn` (the task's ARN: aws:SourceArn)."""
    return _handed(roles.credentials_for(tx, roles.ECS_TASKS, role_arn, session_name, duration_s, source_arn))


def instance_credentials(tx: Tx, role_arn: str, instance_id: str, duration_s: float, source_arn: str,
                         delivery: str) -> TemporaryCredentials:
    """Credentials of an instance's role, delivered by version `delivery` ("1.0" or "2.0") of its metadata service, for
    which policies may ask (ec2:RoleDelivery, ec2:SourceInstanceARN). Raises AccessDenied as `role_credentials` does,
    for ec2.amazonaws.com.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
    """
    facts = (("ec2:roledelivery", delivery), ("ec2:sourceinstancearn", source_arn))
    return _handed(roles.credentials_for(tx, roles.EC2, role_arn, instance_id, duration_s, source_arn, facts))


def _handed(credential: Credential) -> TemporaryCredentials:
    return TemporaryCredentials(credential.access_key_id, credential.secret, credential.token or "",
                                credential.expires or 0.0)


def role_principal(tx: Tx, role_arn: str, session_name: str, source_arn: str = "",
                   service: str = roles.ECS_TASKS) -> Principal:
    """As whom a service acts for a moment with a role that it was given, ECS with a task's execution role. Raises
    AccessDenied as `role_credentials` does."""
    return roles.credentials_for(tx, service, role_arn, session_name, READING_S, source_arn).principal
