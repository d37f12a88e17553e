"""Temporary credentials of a user or root itself, and of somebody whom it vouches for."""

import re
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.identity import Credential
from cloudlet.kernel.policy import NOTHING
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.iam import open_own_session
from cloudlet.services.sts.mfa import PRESENT, shows_code
from cloudlet.services.sts.roles import DURATION_MIN_S, packed_size, session_policies
from cloudlet.services.sts.service import AccessDenied, ValidationError, sts
from cloudlet.services.sts.session_tags import tag_facts
from cloudlet.store.db import Tx

DURATION_S, DURATION_MAX_S, ROOT_MAX_S = 43200, 129600, 3600
_NAME = re.compile(r"[\w+=,.@-]{2,32}", re.ASCII)


def federated_arn(call: Call, request: Input) -> list[str]:
    """The resource of GetFederationToken."""
    return [f"arn:aws:sts::{call.account}:federated-user/{request['Name']}"]


@sts.write(resources=any_resource)
def get_session_token(call: Call, tx: Tx, request: Input) -> Output:
    """Temporary credentials of the caller; needs no permission, but a key that lasts."""
    _check_long_term(call, "GetSessionToken")
    facts = PRESENT if shows_code(tx, call, request) else ()
    return {"Credentials": credentials(open_own_session(tx, call.principal, _duration(call, request), facts=facts))}


@sts.write(resources=federated_arn)
def get_federation_token(call: Call, tx: Tx, request: Input) -> Output:
    """Temporary credentials for somebody else, who may do what the caller and the given policies both allow; without
    policies nothing but what a resource's policy allows by name."""
    _check_long_term(call, "GetFederationToken")
    name = request["Name"]
    if not _NAME.fullmatch(name):
        raise ValidationError(f"1 validation error detected: Value '{name}' at 'name' failed to satisfy constraint:"
                              r" Member must satisfy regular expression pattern: [\w+=,.@-]*")
    document, arns = session_policies(tx, call.account, request)
    if document is None and not arns:
        document = NOTHING
    credential = open_own_session(tx, call.principal, _duration(call, request), federated=name, policy=document,
                                  policy_arns=arns, facts=tag_facts(request))
    answer: dict[str, Any] = {
        "Credentials": credentials(credential),
        "FederatedUser": {"FederatedUserId": credential.principal.user_id, "Arn": credential.principal.arn}}
    if request.get("Policy"):
        answer["PackedPolicySize"] = packed_size(request["Policy"])
    return answer


def credentials(credential: Credential) -> dict[str, Any]:
    """Temporary credentials as answers carry them."""
    return {"AccessKeyId": credential.access_key_id, "SecretAccessKey": credential.secret,
            "SessionToken": credential.token, "Expiration": credential.expires}


def _check_long_term(call: Call, operation: str) -> None:
    if call.principal.is_temporary or call.principal.kind not in ("user", "root"):
        raise AccessDenied(f"Cannot call {operation} with session credentials")


def _duration(call: Call, request: Input) -> int:
    asked = request.get("DurationSeconds")
    seconds: int = DURATION_S if asked is None else asked
    if not DURATION_MIN_S <= seconds <= DURATION_MAX_S:
        side = f"less than or equal to {DURATION_MAX_S}" if seconds > DURATION_MAX_S else \
            f"greater than or equal to {DURATION_MIN_S}"
        raise ValidationError(f"1 validation error detected: Value '{seconds}' at 'durationSeconds' failed to satisfy"
                              f" constraint: Member must have value {side}")
    return min(seconds, ROOT_MAX_S) if call.principal.kind == "root" else seconds
