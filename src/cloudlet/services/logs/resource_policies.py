"""Resource policies: documents of an account that count in every decision about its log groups in a region."""

from typing import Any

import msgspec

from cloudlet.kernel import policy_grammar
from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.policy import listed
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.logs.service import InvalidParameter, LimitExceeded, ResourceNotFound, logs
from cloudlet.store.db import Tx
from cloudlet.store.records import record

POLICIES_MAX = 10  # of an account in a region
DOCUMENT_BYTES_MAX = 5120


@record("logs.resource_policy")
class ResourcePolicy:
    """A named document; its key is ACCOUNT/REGION/NAME."""

    key: str
    name: str
    document: str
    updated: float


@logs.resource_policy
def policy_of(tx: Tx, text: str) -> str | None:
    """The statements of all policies of the account and region that an ARN names, as one document."""
    arn = Arn.parse(text)
    found = tx.find(ResourcePolicy, f"{arn.account}/{arn.region}/") if arn is not None else []
    if not found:
        return None
    statements = [statement for each in found for statement in listed(msgspec.json.decode(each.document)["Statement"])]
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": statements}).decode()


@logs.write(resources=any_resource)
def put_resource_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a policy, or changes the one of that name."""
    name, document = _name(request), request.get("policyDocument")
    if not document:
        raise InvalidParameter("policyDocument must be specified.")
    if len(document.encode()) > DOCUMENT_BYTES_MAX:
        raise InvalidParameter(f"Resource policy document exceeds the limit of {DOCUMENT_BYTES_MAX} bytes.")
    try:
        policy_grammar.check(document, "resource")
    except policy_grammar.Malformed as error:
        raise InvalidParameter(f"Invalid policy document: {error}") from None
    key, prefix = f"{call.scope}/{name}", f"{call.scope}/"
    if tx.get(ResourcePolicy, key) is None and len(tx.find(ResourcePolicy, prefix)) >= POLICIES_MAX:
        raise LimitExceeded("Resource limit exceeded.")
    policy = ResourcePolicy(key, name, document, tx.now)
    tx.put(policy)
    return {"resourcePolicy": _described(policy)}


@logs.read(resources=any_resource)
def describe_resource_policies(call: Call, tx: Tx, request: Input) -> Output:
    """The policies of the account in the region, in order of name."""
    if request.get("resourceArn") or request.get("policyScope", "ACCOUNT") != "ACCOUNT":
        return {"resourcePolicies": []}
    return {"resourcePolicies": [_described(policy) for policy in tx.find(ResourcePolicy, f"{call.scope}/")]}


@logs.write(resources=any_resource)
def delete_resource_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a policy."""
    key = f"{call.scope}/{_name(request)}"
    if tx.get(ResourcePolicy, key) is None:
        raise ResourceNotFound("The specified resource policy does not exist.")
    tx.delete(ResourcePolicy, key)


def _name(request: Input) -> str:
    if request.get("resourceArn") or request.get("expectedRevisionId"):
        raise InvalidParameter("resourceArn is not supported: a resource policy is the account's.")
    name = request.get("policyName")
    if not name:
        raise InvalidParameter("policyName must be specified.")
    return str(name)


def _described(policy: ResourcePolicy) -> dict[str, Any]:
    return {"policyName": policy.name, "policyDocument": policy.document, "policyScope": "ACCOUNT",
            "lastUpdatedTime": int(policy.updated * 1000)}
