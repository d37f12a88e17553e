"""Attributes of queues: which there are, what they may be, and what a queue says of itself.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from cloudlet.kernel import policy_grammar
from cloudlet.kernel.call import Call
from cloudlet.kernel.policy import listed
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sqs import counting, messages
from cloudlet.services.sqs.counting import COUNTS
from cloudlet.services.sqs.records import DEFAULTS, Queue, find_by_arn, require, require_own
from cloudlet.services.sqs.service import (
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidParameterValue,
    OverLimit,
    invalid,
    key_of_arn,
    queue_arns,
    sqs,
)
from cloudlet.store.db import Store, Tx

FIXED = ("QueueArn", "CreatedTimestamp", "LastModifiedTimestamp")
FIFO_DEFAULTS = {"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "queue",
                 "FifoThroughputLimit": "perQueue"}
SOURCES_MAX, RECEIVES_MAX = 10, 1000
POLICY_BYTES_MAX, STATEMENTS_MAX, ACTIONS_MAX = 8192, 20, 7
Check = Callable[[str], bool]


def _number(low: int, high: int) -> Check:
    return lambda value: value.isascii() and value.isdigit() and low <= int(value) <= high


def _one_of(*values: str) -> Check:
    return lambda value: value in values


def _is_policy(value: str) -> bool:
    try:
        policy_grammar.check(value, "resource")
    except policy_grammar.Malformed:
        return False
    actions = [action for statement in listed(json.loads(value)["Statement"])
               for action in (*listed(statement.get("Action", [])), *listed(statement.get("NotAction", [])))]
    return all(action == "*" or action.lower().startswith("sqs:") for action in actions)


def check_quotas(text: str) -> None:
    """Raises OverLimit for a policy that is too long, or has too much in it.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
    """
    if len(text.encode()) > POLICY_BYTES_MAX:
        raise OverLimit("Submitted policy is over max allowed size.")
    statements = listed(json.loads(text)["Statement"])
    if len(statements) > STATEMENTS_MAX:
        raise OverLimit(f"{len(statements)} statements were found in the submitted policy, max allowed is"
                        f" {STATEMENTS_MAX}")
    for statement in statements:
        actions = listed(statement.get("Action", statement.get("NotAction")))
        if len(actions) > ACTIONS_MAX:
            raise OverLimit(f"{len(actions)} actions were found in a statement from the submitted policy, max allowed"
                            f" is {ACTIONS_MAX}")


_TRUTH = _one_of("true", "false")
_CHECKS: Mapping[str, Check] = {
    "DelaySeconds": _number(0, 900), "MaximumMessageSize": _number(1024, 1 << 20),
    "MessageRetentionPeriod": _number(60, 1209600), "ReceiveMessageWaitTimeSeconds": _number(0, 20),
    "VisibilityTimeout": _number(0, 43200), "Policy": _is_policy, "RedrivePolicy": lambda value: True,
    "RedriveAllowPolicy": lambda value: True, "KmsMasterKeyId": lambda value: len(value) <= 2048,
    "KmsDataKeyReusePeriodSeconds": _number(60, 86400), "SqsManagedSseEnabled": _TRUTH,
}
_FIFO_CHECKS: Mapping[str, Check] = {
    "ContentBasedDeduplication": _TRUTH, "DeduplicationScope": _one_of("messageGroup", "queue"),
    "FifoThroughputLimit": _one_of("perQueue", "perMessageGroupId"), "FifoQueue": _one_of("true"),
}
_REMOVABLE = ("Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId")


def checked(name: str, asked: Mapping[str, str]) -> dict[str, str]:
    """Attributes as they are kept. Raises InvalidAttributeName, InvalidAttributeValue, InvalidParameterValue,
    OverLimit."""
    fifo, kept = name.endswith(".fifo"), {}
    if asked.get("KmsMasterKeyId") and asked.get("SqsManagedSseEnabled") == "true":
        raise InvalidAttributeName("You can use one type of server-side encryption (SSE) at one time. You can either"
                                   " enable KMS SSE or SQS SSE.")
    for attribute, value in asked.items():
        check = _CHECKS.get(attribute) or _FIFO_CHECKS.get(attribute)
        if check is None or (attribute in _FIFO_CHECKS and not fifo):
            raise InvalidAttributeName(f"Unknown Attribute {attribute}.")
        if value == "" and attribute in _REMOVABLE:
            kept[attribute] = ""
            continue
        if not check(value):
            why = " Reason: Modifying queue type is not supported." if attribute == "FifoQueue" else ""
            raise InvalidAttributeValue(f"Invalid value for the parameter {attribute}.{why}")
        if attribute == "Policy":
            check_quotas(value)
        elif attribute == "RedrivePolicy":
            value = _redrive(value)
        elif attribute == "RedriveAllowPolicy":
            value = _allow(value)
        kept[attribute] = value
    return kept


def _object(attribute: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _refused(attribute, text, "Redrive policy is not a valid JSON map.")
    return value


def _refused(attribute: str, text: str, reason: str) -> InvalidParameterValue:  # type: ignore[valid-type]
    return invalid(attribute, text[:1024], reason)


def _redrive(text: str) -> str:
    policy = _object("RedrivePolicy", text)
    target, count = policy.get("deadLetterTargetArn"), policy.get("maxReceiveCount")
    if target is None:
        raise _refused("RedrivePolicy", text, "Redrive policy does not contain mandatory attribute:"
                                              " deadLetterTargetArn.")
    if count is None:
        raise _refused("RedrivePolicy", text, "Redrive policy does not contain mandatory attribute: maxReceiveCount.")
    if policy.keys() - {"deadLetterTargetArn", "maxReceiveCount"}:
        raise _refused("RedrivePolicy", text, "Only following attributes are supported: [deadLetterTargetArn,"
                                              " maxReceiveCount].")
    if not _number(1, RECEIVES_MAX)(str(count)):
        raise _refused("RedrivePolicy", text, "Invalid value for maxReceiveCount: "
                                              f"{count}, valid values are from 1 to {RECEIVES_MAX} both inclusive.")
    if not isinstance(target, str) or key_of_arn(target) is None:
        raise _refused("RedrivePolicy", text, "Invalid value for deadLetterTargetArn.")
    return json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": int(count)}, separators=(",", ":"))


def _allow(text: str) -> str:
    policy = _object("RedriveAllowPolicy", text)
    permission, sources = policy.get("redrivePermission"), policy.get("sourceQueueArns")
    if permission not in ("allowAll", "denyAll", "byQueue"):
        raise _refused("RedriveAllowPolicy", text, "Invalid value for redrivePermission.")
    if (permission == "byQueue") != (sources is not None):
        raise _refused("RedriveAllowPolicy", text, "sourceQueueArns must be there with redrivePermission byQueue, and"
                                                   " with no other.")
    if sources is not None and (not isinstance(sources, list) or not 1 <= len(sources) <= SOURCES_MAX or not all(
            isinstance(arn, str) and key_of_arn(arn) for arn in sources)):
        raise _refused("RedriveAllowPolicy", text, f"sourceQueueArns must be 1 to {SOURCES_MAX} ARNs of queues.")
    return json.dumps(policy, separators=(",", ":"))


def check_dead_letters(tx: Tx, queue: Queue) -> None:
    """Raises InvalidParameterValue unless the queue's dead-letter queue is there, of its kind, and lets it."""
    redrive = queue.redrive
    if redrive is None:
        return
    text, target = queue.attributes["RedrivePolicy"], find_by_arn(tx, redrive[0])
    account, region, _ = queue.key.split("/", 2)
    if target is None or not target.key.startswith(f"{account}/{region}/"):
        raise _refused("RedrivePolicy", text, "Dead letter target does not exist.")
    if target.fifo != queue.fifo:
        raise _refused("RedrivePolicy", text, f"Dead-letter queue must be same type of queue as the source. "
                                              f"{'FIFO' if queue.fifo else 'Standard'} queue expected.")
    allow = json.loads(target.attributes.get("RedriveAllowPolicy") or '{"redrivePermission": "allowAll"}')
    if allow["redrivePermission"] == "denyAll" or (
            allow["redrivePermission"] == "byQueue" and queue.arn not in allow["sourceQueueArns"]):
        raise _refused("RedrivePolicy", text, "Access denied by the redrive allow policy of the dead-letter queue.")


def merged(queue: Queue, kept: Mapping[str, str]) -> dict[str, str]:
    """A queue's attributes after a change; what is set to nothing is gone. Raises InvalidAttributeValue for those that
    do not go together."""
    changed = {**queue.attributes, **kept}
    if kept.get("KmsMasterKeyId"):
        changed["SqsManagedSseEnabled"] = "false"
    elif kept.get("SqsManagedSseEnabled") == "true":
        changed.pop("KmsMasterKeyId", None)
    by_group = changed.get("DeduplicationScope") == "messageGroup"
    if changed.get("FifoThroughputLimit") == "perMessageGroupId" and not by_group:
        raise InvalidAttributeValue("The FifoThroughputLimit attribute can be perMessageGroupId only where"
                                    " DeduplicationScope is messageGroup.")
    return {name: value for name, value in changed.items() if value != ""}


def view(queue: Queue, names: set[str]) -> dict[str, str]:
    """The attributes of those names, but how many messages there are."""
    known: dict[str, str] = {
        **DEFAULTS, "SqsManagedSseEnabled": "true", **(FIFO_DEFAULTS if queue.fifo else {}), **queue.attributes,
        "QueueArn": queue.arn, "CreatedTimestamp": str(int(queue.created)),
        "LastModifiedTimestamp": str(int(queue.modified))}
    if "KmsMasterKeyId" in known:
        known.setdefault("KmsDataKeyReusePeriodSeconds", "300")
    return {name: value for name, value in known.items() if name in names}


@sqs.wait(resources=queue_arns)
async def get_queue_attributes(call: Call, store: Store, request: Input) -> Output:
    """What is asked for of a queue's attributes; `All` for all."""
    with store.tx() as tx:
        queue = require(call, tx, request["QueueUrl"])
    known, asked = {*_CHECKS, *FIXED, *_FIFO_CHECKS, *COUNTS}, set(request.get("AttributeNames") or ())
    unknown = asked - known - {"All"}
    if unknown:
        raise InvalidAttributeName(f"Unknown Attribute {min(unknown)}.")
    names = known if "All" in asked else asked
    found = view(queue, names)
    if not names.isdisjoint(COUNTS):
        counted = await counting.counts(store, queue)
        found |= {name: str(counted[name]) for name in COUNTS if name in names}
    return {"Attributes": found} if found else {}


@sqs.write(resources=queue_arns, durable=True)
def set_queue_attributes(call: Call, tx: Tx, request: Input) -> Output:
    """Changes some of a queue's attributes."""
    queue = require_own(call, tx, request["QueueUrl"], "sqs:SetQueueAttributes")
    kept = checked(queue.name, request["Attributes"])
    changed = dataclasses.replace(queue, attributes=merged(queue, kept), modified=tx.now)
    if kept.get("RedrivePolicy"):
        check_dead_letters(tx, changed)
    tx.put(changed)
    messages.arouse(tx, changed)


@sqs.resource_policy
def policy_of(tx: Tx, arn: str) -> str | None:
    """The policy of a queue; it counts in every decision about it."""
    queue = find_by_arn(tx, arn)
    return queue.attributes.get("Policy") if queue is not None else None


@sqs.resource_tags
def tags_of(tx: Tx, arn: str) -> Mapping[str, str]:
    """The tags of a queue, for conditions."""
    queue = find_by_arn(tx, arn)
    return queue.tags if queue is not None else {}
