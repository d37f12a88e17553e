"""Publish and PublishBatch: into every queue that wants it, in the publisher's transaction.

https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

import re
from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.batches import each
from cloudlet.kernel.call import Call
from cloudlet.kernel.clock import as_uuid
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sns import archive, delivering, endpoints, messages, order, texts
from cloudlet.services.sns.messages import Message
from cloudlet.services.sns.records import Topic, require
from cloudlet.services.sns.service import (
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InvalidBatchEntryId,
    TooManyEntriesInBatchRequest,
    arn_of_key,
    invalid,
    key_of_arn,
    sns,
    topic_arns,
)
from cloudlet.store.db import Tx

ENTRIES_MAX = 10
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def _target(request: Input) -> tuple[str, str]:
    """The topic's ARN, and the name of the parameter that says it."""
    for name in ("TopicArn", "TargetArn"):
        if name in request:
            if request[name].partition(":endpoint/")[1]:
                raise invalid(f"{name} Reason: No endpoint found for the target arn specified")
            return request[name], name
    raise invalid("TopicArn or TargetArn Reason: no value for required parameter")


def _target_arns(call: Call, request: Input) -> list[str]:
    return ["*"] if request.get("PhoneNumber") else [arn_of_key(key_of_arn(call, *_target(request)))]


@sns.write(resources=_target_arns, durable=True)
def publish(call: Call, tx: Tx, request: Input) -> Output:
    """Sends a message to a topic, or a text to a telephone. Every queue that wants it has it when this is answered."""
    if request.get("PhoneNumber"):
        return _text(call, tx, request)
    topic = require(call, tx, *_target(request))
    return put(tx, topic, request, call.endpoint, call.request_id, call.trace)


@sns.write(resources=topic_arns, action="sns:Publish", durable=True)
def publish_batch(call: Call, tx: Tx, request: Input) -> Output:
    """Up to ten messages, each of which succeeds or fails by itself."""
    topic, entries = require(call, tx, request["TopicArn"]), request["PublishBatchRequestEntries"]
    if not entries:
        raise EmptyBatchRequest()
    if len(entries) > ENTRIES_MAX:
        raise TooManyEntriesInBatchRequest()
    if not all(_ID.fullmatch(entry["Id"]) for entry in entries):
        raise InvalidBatchEntryId()
    if len({entry["Id"] for entry in entries}) < len(entries):
        raise BatchEntryIdsNotDistinct()
    if sum(map(messages.size_of, entries)) > topic.bytes_max:
        raise BatchRequestTooLong()
    for entry in entries:  # for one that nobody takes AWS refuses all
        _check(topic, entry)
    return each(entries, lambda entry: put(tx, topic, entry, call.endpoint, call.request_id, call.trace))


def _text(call: Call, tx: Tx, request: Input) -> Any:
    """A text message."""
    if request.get("TopicArn") or request.get("TargetArn"):
        raise invalid("Only one of TopicArn, TargetArn and PhoneNumber may be given")
    if not endpoints.is_number(request["PhoneNumber"]):
        raise invalid(f"PhoneNumber Reason: {request['PhoneNumber'][:64]} is not valid to publish to")
    messages.check_content(request)
    text = messages.texts_of(request, ("sms",))["sms"]
    attributes = request.get("MessageAttributes") or {}
    texts.check(attributes)
    if len(text) > texts.TEXT_MAX:
        raise invalid("Message too long")
    texts.send(tx, call.scope, request["PhoneNumber"], text, attributes)
    return {"MessageId": as_uuid(tx.token(32))}


def _check(topic: Topic, entry: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, str]]:
    """What a message says by protocol, and its group and deduplication id. Raises for one that the topic does not
    take."""
    messages.check(topic, entry)
    texts.check(entry.get("MessageAttributes") or {})
    return messages.texts_of(entry, endpoints.DELIVERED), messages.order(topic, entry)


def put(tx: Tx, topic: Topic, entry: Mapping[str, Any], endpoint: str, request_id: str,
        trace: str = "") -> dict[str, str]:
    """Publishes one message; what is answered of it. Raises AWS's errors, and then nobody got anything.

    A FIFO topic that had it in the last five minutes answers as it did then.
    """
    said, (group, token) = _check(topic, entry)
    scoped = f"{group}\n{token}" if topic.attributes.get("FifoThroughputScope") == "MessageGroup" else token
    known = order.find_duplicate(tx, topic.key, scoped) if topic.fifo else None
    if known is not None:
        return {"MessageId": known[0], "SequenceNumber": known[1]}
    name = as_uuid(tx.token(32))
    sequence = order.remember(tx, topic.key, scoped, name) if topic.fifo else ""
    message = Message(name, said["sqs"], entry.get("Subject"), entry.get("MessageAttributes") or {}, group, token,
                      sequence, trace if messages.TRACE.fullmatch(trace) else "")
    archive.keep(tx, topic, message, endpoint)
    delivering.fan_out(tx, topic, message, said, endpoint, request_id)
    return {"MessageId": name, **({"SequenceNumber": sequence} if sequence else {})}
