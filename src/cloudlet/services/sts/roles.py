"""Assuming a role: who may, for how long, narrowed by which session policies."""

import re
from collections.abc import Iterable
from typing import Any

from cloudlet.kernel import policy, policy_grammar
from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import keys_of, tag_keys
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.identity import Credential
from cloudlet.kernel.policy_grammar import Malformed
from cloudlet.kernel.service import Input, Output
from cloudlet.services.iam import Role, find_policy, find_role, open_session, trust_refusal
from cloudlet.services.sts.mfa import shows_code
from cloudlet.services.sts.service import (
    AccessDenied,
    MalformedPolicyDocument,
    PackedPolicyTooLarge,
    ValidationError,
    sts,
)
from cloudlet.services.sts.session_tags import Passed, passed_by
from cloudlet.store.db import Tx

ACTION = "sts:AssumeRole"
EC2, ECS_TASKS = "ec2.amazonaws.com", "ecs-tasks.amazonaws.com"  # the services that run things with roles
DURATION_MIN_S, DURATION_S, CHAINED_MAX_S = 900, 3600, 3600
POLICY_ARNS_MAX, POLICY_SIZE_MAX = 10, 2048
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


@sts.write(resources=lambda call, request: [request["RoleArn"]])
def assume_role(call: Call, tx: Tx, request: Input) -> Output:
    """Temporary credentials of a role, where its trust policy and the caller's own policies allow it."""
    refuse_unsupported(request)
    name = session_name(request["RoleSessionName"])
    role, passed = find_role(tx, request["RoleArn"]), passed_by(call, request)
    if role is None:
        raise _denied(call, ACTION, request["RoleArn"])
    _check_trust(tx, call, role, request, passed, shows_code(tx, call, request))
    document, arns = session_policies(tx, role.account, request)
    credential = open_session(tx, role, name, duration_of(call, role, request),
                              policy=document, policy_arns=arns, facts=passed.facts)
    answer: dict[str, Any] = {
        "Credentials": {"AccessKeyId": credential.access_key_id, "SecretAccessKey": credential.secret,
                        "SessionToken": credential.token, "Expiration": credential.expires},
        "AssumedRoleUser": {"AssumedRoleId": credential.principal.user_id, "Arn": credential.principal.arn}}
    if document is not None:
        answer["PackedPolicySize"] = packed_size(document)
    if passed.source_identity:
        answer["SourceIdentity"] = passed.source_identity
    return answer


def credentials_for(tx: Tx, service: str, role_arn: str, session_name: str, duration_s: float, source_arn: str,
                    facts: tuple[tuple[str, str], ...] = ()) -> Credential:
    """Credentials of a role for what a service runs (`service`: its principal); `source_arn` is what a trust policy may
    ask for, `facts` what the session carries.

    Raises AccessDenied where there is no such role or its trust policy does not let the service have it.
    """
    role = find_role(tx, role_arn)
    if role is not None:
        keys = keys_of({"aws:SourceAccount": role.account, "aws:SourceArn": source_arn or None,
                        "sts:RoleSessionName": session_name})
        caller = policy.Caller(frozenset({("Service", service)}))
        if policy.granted(policy.parse(role.trust), caller, ACTION, role.arn, keys.get) == "direct":
            return open_session(tx, role, session_name, duration_s, facts=facts)
    if service == EC2:
        raise AccessDenied(f"EC2 cannot assume the role {role_arn.rpartition('/')[2]}. Please see documentation at"
                           " https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html"
                           "#troubleshoot_iam-ec2_errors-info-doc.")
    raise AccessDenied(
        f"ECS was unable to assume the role '{role_arn}' that was provided for this task. Please verify that the"
        " role being passed has the proper trust relationship and permissions and that your IAM user has"
        " permissions to pass this role.")


def _check_trust(tx: Tx, call: Call, role: Role, request: Input, passed: Passed, mfa: bool) -> None:
    """Raises AccessDenied unless the caller may have the role, and may pass what it passes to the session.

    That a code was shown (`mfa`) counts here and not in the role's session, as on AWS:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_configure-api-require.html
    """
    shown = {"aws:MultiFactorAuthPresent": "true", "aws:MultiFactorAuthAge": "0"} if mfa else {}

    def keys() -> dict[str, tuple[str, ...]]:
        return {**tag_keys(request), **keys_of({
            "sts:ExternalId": request.get("ExternalId"), "sts:RoleSessionName": request["RoleSessionName"],
            "sts:SourceIdentity": request.get("SourceIdentity"),
            "sts:TransitiveTagKeys": request.get("TransitiveTagKeys") or None, **shown})}

    for action in (ACTION, *passed.actions):
        if trust_refusal(tx, call, role, action, keys):
            raise _denied(call, action, role.arn)


def packed_size(document: str) -> int:
    """How much of what a session may carry its policy takes, in per cent."""
    return -(-len(document) * 100 // POLICY_SIZE_MAX)


def session_name(name: str) -> str:
    """A role session's name, if it is one that AWS takes."""
    if not _SESSION_NAME.fullmatch(name):
        raise ValidationError(f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy"
                              r" constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*")
    return name


def duration_of(call: Call, role: Role, request: Input) -> int:
    """How long a role's session lasts, in seconds."""
    asked = request.get("DurationSeconds")
    seconds: int = DURATION_S if asked is None else asked
    if seconds < DURATION_MIN_S:
        raise ValidationError(f"1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy"
                              f" constraint: Member must have value greater than or equal to {DURATION_MIN_S}")
    if call.principal.kind == "role" and seconds > CHAINED_MAX_S:
        raise ValidationError("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role"
                              " chaining")
    if seconds > role.max_session_s:
        raise ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    return seconds


def session_policies(tx: Tx, account: str, request: Input) -> tuple[str | None, list[str]]:
    """The session policies of a request: a document, and ARNs of managed policies of the account."""
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
        if find_policy(tx, account, arn) is None:
            raise MalformedPolicyDocument(f"Policy {arn} does not exist or is not attachable.")
    return document, arns


def _denied(call: Call, action: str, role_arn: str) -> AwsError:
    """The same words whether the role is not there or does not trust the caller, as on AWS."""
    return AccessDenied(f"User: {call.principal.arn} is not authorized to perform: {action} on resource: {role_arn}")


def refuse_unsupported(request: Input, members: Iterable[str] = ("ProvidedContexts",)) -> None:
    """Raises ValidationError where the request sets a member that nothing here would honour."""
    for member in members:
        if request.get(member):
            raise ValidationError(f"{member} is not supported.")
