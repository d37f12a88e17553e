"""A secret's own policy, which counts in every decision about the secret."""

import dataclasses
from typing import Any

import msgspec

from cloudlet.kernel import policy_grammar
from cloudlet.kernel.call import Call
from cloudlet.kernel.policy import listed, principals
from cloudlet.kernel.service import Input, Output
from cloudlet.services.secretsmanager.conditions import asked
from cloudlet.services.secretsmanager.records import Secret, find_active, lookup_arn, the_secret
from cloudlet.services.secretsmanager.service import (
    InvalidParameter,
    MalformedPolicyDocument,
    PublicPolicy,
    secretsmanager,
)
from cloudlet.store.db import Tx

PUBLIC = "The resource policy grants access to anyone: a statement allows the principal * without a condition."


@secretsmanager.resource_policy
def policy_of(tx: Tx, arn: str) -> str | None:
    """The policy of the secret that an ARN, in full or in part, names."""
    secret = lookup_arn(tx, arn)
    return secret.policy if secret is not None else None


@secretsmanager.write(resources=the_secret, context=asked)
def put_resource_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Gives a secret its policy, in the place of the one it had."""
    secret, document = _asked(call, tx, request), request["ResourcePolicy"]
    if _is_public(document) and request.get("BlockPublicPolicy"):
        raise PublicPolicy(PUBLIC)
    tx.put(dataclasses.replace(secret, policy=document))
    return {"ARN": secret.arn, "Name": secret.name}


@secretsmanager.read(resources=the_secret, context=asked)
def get_resource_policy(call: Call, tx: Tx, request: Input) -> Output:
    """A secret's policy, where it has one."""
    secret = _asked(call, tx, request)
    answer = {"ARN": secret.arn, "Name": secret.name}
    return answer if secret.policy is None else {**answer, "ResourcePolicy": secret.policy}


@secretsmanager.write(resources=the_secret, context=asked)
def delete_resource_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Takes a secret's policy away."""
    secret = _asked(call, tx, request)
    tx.put(dataclasses.replace(secret, policy=None))
    return {"ARN": secret.arn, "Name": secret.name}


@secretsmanager.read(resources=lambda call, request: the_secret(call, request) if "SecretId" in request else ["*"],
                     context=asked)
def validate_resource_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Whether a document can be a secret's policy, and does not make the secret everybody's."""
    if "SecretId" in request:
        find_active(tx, call, request)
    if not _is_public(request["ResourcePolicy"]):
        return {"PolicyValidationPassed": True, "ValidationErrors": []}
    return {"PolicyValidationPassed": False,
            "ValidationErrors": [{"CheckName": "BlockPublicPolicy", "ErrorMessage": PUBLIC}]}


def _asked(call: Call, tx: Tx, request: Input) -> Secret:
    if request.get("PolicyName"):
        raise InvalidParameter("PolicyName is not supported: a secret has one policy.")
    return find_active(tx, call, request)


def _is_public(document: str) -> bool:
    """Whether a document lets everybody in. Raises MalformedPolicyDocument."""
    try:
        policy_grammar.check(document, "resource")
    except policy_grammar.Malformed as error:
        raise MalformedPolicyDocument(f"This resource policy contains a syntax error: {error}") from None
    return any(_lets_everybody_in(statement) for statement in listed(msgspec.json.decode(document)["Statement"]))


def _lets_everybody_in(statement: Any) -> bool:
    if statement["Effect"] != "Allow" or statement.get("Condition"):
        return False
    return "NotPrincipal" in statement or ("AWS", "*") in principals(statement.get("Principal"))
