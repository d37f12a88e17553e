"""Puts messages into the queues that are subscribed, or into the dead-letter queues of those subscriptions.

https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
"""

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cloudlet.kernel import policy
from cloudlet.kernel.errors import AwsError
from cloudlet.services.sns import filters
from cloudlet.services.sns.envelopes import Notification
from cloudlet.services.sns.messages import Message
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.services.sqs import find_by_arn, send
from cloudlet.store.db import Tx

SERVICE = "sns.amazonaws.com"
ATTRIBUTES_MAX = 10  # of a message in a queue
# A policy that lets everybody in lets SNS in, which is how queues were opened to topics before services had names.
_SNS = policy.Caller(frozenset({("Service", SERVICE), ("AWS", "*")}))

log = logging.getLogger(__name__)


class Failure(NamedTuple):
    """Why a queue did not get a message."""

    code: str
    message: str


def fan_out(tx: Tx, topic: Topic, message: Message, endpoint: str, request_id: str) -> None:
    """Gives a message to all who want it: each has it, or its dead-letter queue does, once this is committed."""
    attributes: dict[str, Any] | None = None
    body: Any = None
    envelope: Notification | None = None
    for subscription in tx.find(Subscription, f"{topic.key}/"):
        if subscription.token:
            continue
        wanted = subscription.attributes.get("FilterPolicy")
        if wanted is not None:
            if attributes is None:
                attributes, body = filters.attributes_of(message.attributes), filters.body_of(message.text)
            scope = subscription.attributes["FilterPolicyScope"]
            if not filters.parse(wanted, scope).wants(attributes, body):
                continue
        if subscription.raw:
            entry: dict[str, Any] = {"MessageBody": message.text, "MessageAttributes": message.attributes}
        else:
            envelope = envelope or Notification(tx, topic, message, endpoint)
            entry = {"MessageBody": envelope.to(subscription.arn)}
        failure = put(tx, topic, subscription.endpoint, {**entry, **_order(message, subscription.endpoint)})
        if failure is not None:
            envelope = envelope or Notification(tx, topic, message, endpoint)
            _set_aside(tx, topic, subscription, message, entry, envelope, failure, request_id)


def _order(message: Message, queue_arn: str) -> dict[str, str]:
    if queue_arn.endswith(".fifo"):
        return {"MessageGroupId": message.group, "MessageDeduplicationId": message.token}
    return {"MessageGroupId": message.group} if message.group else {}


def _set_aside(tx: Tx, topic: Topic, subscription: Subscription, message: Message, entry: Mapping[str, Any],
               envelope: Notification, failure: Failure, request_id: str) -> None:
    """Puts what could not be delivered into the subscription's dead-letter queue, with what went wrong."""
    redrive = subscription.attributes.get("RedrivePolicy")
    if redrive is None:
        log.info("%s did not get message %s: %s", subscription.endpoint, message.id, failure.message)
        return
    target = json.loads(redrive)["deadLetterTargetArn"]
    why = {name: {"DataType": "String", "StringValue": value} for name, value in (
        ("RequestID", request_id), ("ErrorCode", failure.code), ("ErrorMessage", failure.message))}
    attributes = {**entry.get("MessageAttributes", {}), **why}
    if len(attributes) > ATTRIBUTES_MAX:  # no queue takes them all: they are in the envelope
        entry, attributes = {"MessageBody": envelope.to(subscription.arn)}, why
    again = put(tx, topic, target, {**entry, "MessageAttributes": attributes, **_order(message, target)})
    if again is not None:
        log.warning("neither %s nor %s got message %s: %s", subscription.endpoint, target, message.id, again.message)


def put(tx: Tx, topic: Topic, queue_arn: str, entry: Mapping[str, Any]) -> Failure | None:
    """Puts a message into a queue, if that lets the topic; else why not."""
    queue = find_by_arn(tx, queue_arn)
    if queue is None:
        return Failure("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
    if not _is_allowed(queue.attributes.get("Policy"), queue_arn, topic.arn, topic.account):
        return Failure("AccessDenied", f"The policy of {queue_arn} does not let {SERVICE} send messages of"
                                       f" {topic.arn}.")
    try:
        send(tx, queue, SERVICE, entry)
    except AwsError as error:
        return Failure(error.code, error.message)
    return None


@lru_cache(maxsize=16384)
def _is_allowed(document: str | None, queue_arn: str, topic_arn: str, account: str) -> bool:
    """Whether a queue's policy lets SNS send messages of a topic; without one it does not."""
    if document is None:
        return False
    known = {"aws:sourcearn": (topic_arn,), "aws:sourceaccount": (account,), "aws:sourceowner": (account,),
             "aws:principalservicename": (SERVICE,), "aws:principalisawsservice": ("true",)}
    return policy.granted(policy.parse(document), _SNS, "sqs:SendMessage", queue_arn, known.get) == "direct"
