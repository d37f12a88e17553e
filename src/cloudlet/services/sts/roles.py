"""Assuming a role: who may, for how long, narrowed by which session policies."""

import re
from collections.abc import Iterable
from typing import Any

from cloudlet.kernel import policy, policy_grammar
from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.identity import Credential
from cloudlet.kernel.policy_grammar import Malformed
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam import Role, find_policy, find_role, open_session, permission
from cloudlet.services.sts.service import (
    AccessDenied,
    MalformedPolicyDocument,
    PackedPolicyTooLarge,
    ValidationError,
    sts,
)
from cloudlet.store.db import Tx

ACTION = "sts:AssumeRole"
DURATION_MIN_S, DURATION_S, CHAINED_MAX_S = 900, 3600, 3600
POLICY_ARNS_MAX, POLICY_SIZE_MAX = 10, 2048
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


@sts.write(resources=lambda call, request: [request["RoleArn"]])
def assume_role(call: Call, tx: Tx, request: Input) -> Output:
    """Temporary credentials of a role, where its trust policy and the caller's own policies allow it."""
    _refuse_unsupported(request)
    name = _session_name(request["RoleSessionName"])
    role = find_role(tx, request["RoleArn"])
    if role is None or not _may_assume(tx, call, role):
        raise _denied(call, request["RoleArn"])
    document, arns = _session_policies(tx, role, request)
    credential = open_session(tx, role, name, _duration(call, role, request.get("DurationSeconds")),
                              policy=document, policy_arns=arns)
    answer: dict[str, Any] = {
        "Credentials": {"AccessKeyId": credential.access_key_id, "SecretAccessKey": credential.secret,
                        "SessionToken": credential.token, "Expiration": credential.expires},
        "AssumedRoleUser": {"AssumedRoleId": credential.principal.user_id, "Arn": credential.principal.arn}}
    if document is not None:
        answer["PackedPolicySize"] = -(-len(document) * 100 // POLICY_SIZE_MAX)
    return answer


def credentials_for_task(tx: Tx, role_arn: str, session_name: str, duration_s: float) -> Credential:
    """Credentials of a role with which ECS runs a task.

    Raises AccessDenied where there is no such role or its trust policy does not name ecs-tasks.amazonaws.com.
    """
    role, ecs = find_role(tx, role_arn), [("Service", "ecs-tasks.amazonaws.com")]
    if role is None or policy.trust(policy.parse(role.trust), ACTION, ecs, "") != "principal":
        raise AccessDenied(
            f"ECS was unable to assume the role '{role_arn}' that was provided for this task. Please verify that the"
            " role being passed has the proper trust relationship and permissions and that your IAM user has"
            " permissions to pass this role.")
    return open_session(tx, role, session_name, duration_s)


def _may_assume(tx: Tx, call: Call, role: Role) -> bool:
    """Within an account the trust policy may name the caller, and nothing more is needed; where it names the account,
    and from another account in any case, the caller's own policies must allow it too."""
    caller = call.principal
    names = {("AWS", caller.arn), ("AWS", caller.policy_arn or caller.arn)}
    trust = policy.trust(policy.parse(role.trust), ACTION, names, caller.account)
    if trust not in ("principal", "account"):
        return False
    if caller.kind == "root":
        return True
    identity, session = permission(tx, caller, ACTION, role.arn)
    if session != "allow" or identity == "deny":
        return False
    return identity == "allow" or (trust == "principal" and caller.account == role.account)


def _session_name(name: str) -> str:
    if not _SESSION_NAME.fullmatch(name):
        raise ValidationError(f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy"
                              r" constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*")
    return name


def _duration(call: Call, role: Role, asked: int | None) -> int:
    seconds = DURATION_S if asked is None else asked
    if seconds < DURATION_MIN_S:
        raise ValidationError(f"1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy"
                              f" constraint: Member must have value greater than or equal to {DURATION_MIN_S}")
    if call.principal.kind == "role" and seconds > CHAINED_MAX_S:
        raise ValidationError("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role"
                              " chaining")
    if seconds > role.max_session_s:
        raise ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    return seconds


def _session_policies(tx: Tx, role: Role, request: Input) -> tuple[str | None, list[str]]:
    document, arns = request.get("Policy"), [each.get("arn", "") for each in request.get("PolicyArns") or ()]
    if document is not None:
        if len(document) > POLICY_SIZE_MAX:
            raise PackedPolicyTooLarge(f"Packed policy consumes {len(document) * 100 // POLICY_SIZE_MAX}% of allotted"
                                       " space, please use smaller policy.")
        try:
            policy_grammar.check(document, "identity")
        except Malformed as error:
            raise MalformedPolicyDocument(str(error)) from None
    if len(arns) > POLICY_ARNS_MAX:
        raise ValidationError("1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member"
                              f" must have length less than or equal to {POLICY_ARNS_MAX}")
    for arn in arns:
        if find_policy(tx, role.account, arn) is None:
            raise MalformedPolicyDocument(f"Policy {arn} does not exist or is not attachable.")
    return document, arns


def _denied(call: Call, role_arn: str) -> AwsError:
    """The same words whether the role is not there or does not trust the caller, as on AWS."""
    return AccessDenied(f"User: {call.principal.arn} is not authorized to perform: {ACTION} on resource: {role_arn}")


def _refuse_unsupported(request: Input, members: Iterable[str] = (
        "Tags", "TransitiveTagKeys", "SerialNumber", "TokenCode", "SourceIdentity", "ProvidedContexts")) -> None:
    for member in members:
        if request.get(member):
            raise ValidationError(f"{member} is not supported.")
