"""AddPermission and RemovePermission: statements of a queue's policy, by label.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html
"""

import dataclasses
import json
import re
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.policy import letting, listed
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sqs.attributes import ACTIONS_MAX, STATEMENTS_MAX, check_quotas
from cloudlet.services.sqs.records import Queue, require_own
from cloudlet.services.sqs.service import InvalidParameterValue, OverLimit, invalid, queue_arns, sqs
from cloudlet.store.db import Tx

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ACCOUNT = re.compile(r"[0-9]{12}")


def _policy(queue: Queue) -> dict[str, Any]:
    text = queue.attributes.get("Policy")
    found: dict[str, Any] = json.loads(text) if text else {
        "Version": "2008-10-17", "Id": f"{queue.arn}/SQSDefaultPolicy", "Statement": []}
    return {**found, "Statement": listed(found["Statement"])}


def _changed(tx: Tx, queue: Queue, policy: dict[str, Any]) -> Queue:
    attributes = {**queue.attributes, "Policy": json.dumps(policy, separators=(",", ":"))}
    check_quotas(attributes["Policy"])
    if not policy["Statement"]:
        del attributes["Policy"]
    return dataclasses.replace(queue, attributes=attributes, modified=tx.now)


@sqs.write(resources=queue_arns, durable=True)
def add_permission(call: Call, tx: Tx, request: Input) -> Output:
    """Lets accounts do something with a queue."""
    queue, label = require_own(call, tx, request["QueueUrl"], "sqs:AddPermission"), request["Label"]
    accounts, actions = request["AWSAccountIds"], request["Actions"]
    if not _LABEL.fullmatch(label):
        raise invalid("Label", label, "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in"
                                      " length")
    for account in accounts:
        if not _ACCOUNT.fullmatch(account):
            raise InvalidParameterValue(f"Value [{account}] for parameter PrincipalId is invalid. Reason: Unable to"
                                        " verify.")
    known = set(sqs.model.operation_names)
    for action in actions:
        if action != "*" and action not in known:
            raise InvalidParameterValue(f"Value SQS:{action} for parameter ActionName is invalid. Reason: Please refer"
                                        " to the appropriate WSDL for a list of valid actions.")
    if len(actions) > ACTIONS_MAX:
        raise OverLimit(f"{len(actions)} Actions were found, maximum allowed is {ACTIONS_MAX}.")
    policy = _policy(queue)
    if any(statement.get("Sid") == label for statement in policy["Statement"]):
        raise invalid("Label", label, "Already exists.")
    if len(policy["Statement"]) >= STATEMENTS_MAX:
        raise OverLimit(f"{STATEMENTS_MAX} Statements were found, maximum allowed is {STATEMENTS_MAX}.")
    statement = letting(label, accounts, [f"SQS:{action}" for action in actions], queue.arn)
    tx.put(_changed(tx, queue, {**policy, "Statement": [*policy["Statement"], statement]}))


@sqs.write(resources=queue_arns, durable=True)
def remove_permission(call: Call, tx: Tx, request: Input) -> Output:
    """Takes away what a label let accounts do."""
    queue, label = require_own(call, tx, request["QueueUrl"], "sqs:RemovePermission"), request["Label"]
    policy = _policy(queue)
    left = [statement for statement in policy["Statement"] if statement.get("Sid") != label]
    if len(left) == len(policy["Statement"]):
        raise invalid("Label", label, "can't find label.")
    tx.put(_changed(tx, queue, {**policy, "Statement": left}))
