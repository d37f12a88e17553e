"""Gives messages to subscribers: to queues, or to the dead-letter queues of their subscriptions, at once.

https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cloudlet.kernel import policy
from cloudlet.kernel.clock import as_uuid
from cloudlet.kernel.errors import AwsError
from cloudlet.services.sns import filters, pending, status_logs
from cloudlet.services.sns import texts as text_messages
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


class Form:
    """A message as the subscribers of one protocol get it; what not all of them need is made when it is needed."""

    def __init__(self, tx: Tx, topic: Topic, message: Message, endpoint: str) -> None:
        self._tx, self._topic, self._message, self._endpoint = tx, topic, message, endpoint
        self._attributes: dict[str, Any] | None = None
        self._body: Any = None
        self._envelope: Notification | None = None

    def is_wanted_by(self, subscription: Subscription) -> bool:
        """Whether its filter policy lets the message through."""
        wanted = subscription.attributes.get("FilterPolicy")
        if wanted is None:
            return True
        if self._attributes is None:
            self._attributes = filters.attributes_of(self._message.attributes)
            self._body = filters.body_of(self._message.text)
        policy = filters.parse(wanted, subscription.attributes["FilterPolicyScope"])
        return policy.wants(self._attributes, self._body)

    def enveloped(self, subscription: Subscription) -> str:
        """What a subscriber gets that does not want the bare text."""
        if self._envelope is None:
            self._envelope = Notification(self._tx, self._topic, self._message, self._endpoint)
        return self._envelope.to(subscription)


def fan_out(tx: Tx, topic: Topic, message: Message, texts: Mapping[str, str], endpoint: str, request_id: str) -> None:
    """Gives a message to all who want it: once this is committed, each queue has it, or the dead-letter queue of its
    subscription does, and for the others it is on record as to be posted. `texts`: what it says, by protocol."""
    forms: dict[str, Form] = {}
    for subscription in tx.find(Subscription, f"{topic.key}/"):
        if subscription.token or subscription.held:
            continue
        protocol = subscription.protocol
        form = forms.get(protocol)
        if form is None:
            form = forms[protocol] = Form(tx, topic, dataclasses.replace(message, text=texts[protocol]), endpoint)
        if not form.is_wanted_by(subscription):
            continue
        if protocol == "sqs":
            _into_queue(tx, topic, subscription, message, texts[protocol], form, request_id)
        elif protocol == "sms":
            text_messages.send(tx, topic.scope, subscription.endpoint, texts[protocol], message.attributes,
                               topic.attributes.get("DisplayName", ""))
        else:
            body = texts[protocol] if subscription.raw else form.enveloped(subscription)
            pending.add(tx, subscription, "Notification", message.id, request_id, body, subscription.raw)


def replay(tx: Tx, topic: Topic, subscription: Subscription, message: Message, at: float, endpoint: str) -> None:
    """Gives a subscriber a message of the archive, published `at`, if it wants that. Its queue may have had it a moment
    ago, and takes it all the same."""
    again = dataclasses.replace(message, at=at, replayed=True, token=tx.token(32))
    form = Form(tx, topic, again, endpoint)
    if form.is_wanted_by(subscription):
        _into_queue(tx, topic, subscription, again, again.text, form, as_uuid(tx.token(32)))


def _into_queue(tx: Tx, topic: Topic, subscription: Subscription, message: Message, text: str, form: Form,
                request_id: str) -> None:
    if subscription.raw:
        entry: dict[str, Any] = {"MessageBody": text, "MessageAttributes": message.attributes}
    else:
        entry = {"MessageBody": form.enveloped(subscription)}
    if message.trace:
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": message.trace}}
    put_in = put(tx, topic, subscription.endpoint, entry | _order(message, subscription.endpoint))
    _tell(tx, topic, subscription, message.id, text, put_in, request_id)
    if not isinstance(put_in, Failure):
        return
    if len(entry.get("MessageAttributes", ())) > ATTRIBUTES_MAX - len(Failure._fields) - 1:
        entry = {"MessageBody": form.enveloped(subscription)}  # no queue takes them all: they are in the envelope
    set_aside(tx, topic, subscription, message.id, entry, put_in, request_id, message)


def _tell(tx: Tx, topic: Topic, subscription: Subscription, message_id: str, text: str, put_in: Failure | str,
          request_id: str) -> None:
    """Has it logged, in the words in which queues answer SNS."""
    def told() -> status_logs.Told:
        status, said = 200, {"sqsRequestId": request_id, "sqsMessageId": put_in}
        if isinstance(put_in, Failure):
            status = 403 if put_in.code == "AccessDenied" else 400
            said = {"ErrorCode": put_in.code, "ErrorMessage": put_in.message, "sqsRequestId": "Unrecoverable"}
        return status_logs.Told(message_id, text, tx.now, tx.now, 1, status, json.dumps(said, separators=(",", ":")))
    status_logs.tell(tx, topic, subscription, told, failed=isinstance(put_in, Failure))


def _order(message: Message, queue_arn: str) -> dict[str, str]:
    if queue_arn.endswith(".fifo"):
        return {"MessageGroupId": message.group, "MessageDeduplicationId": message.token}
    return {"MessageGroupId": message.group} if message.group and not message.sequence else {}  # of a FIFO topic none


def set_aside(tx: Tx, topic: Topic, subscription: Subscription, message_id: str, entry: Mapping[str, Any],
              failure: Failure, request_id: str, message: Message | None = None) -> None:
    """Puts what could not be delivered into the subscription's dead-letter queue, with what went wrong. `message`: the
    one whose order a queue keeps."""
    redrive = subscription.attributes.get("RedrivePolicy")
    if redrive is None:
        log.info("%s did not get message %s: %s", subscription.shown_endpoint, message_id, failure.message)
        return
    target = json.loads(redrive)["deadLetterTargetArn"]
    why = {name: {"DataType": "String", "StringValue": value} for name, value in (
        ("RequestID", request_id), ("ErrorCode", failure.code), ("ErrorMessage", failure.message))}
    again = put(tx, topic, target, {**entry, "MessageAttributes": {**entry.get("MessageAttributes", {}), **why},
                                    **(_order(message, target) if message is not None else {})})
    if isinstance(again, Failure):
        log.warning("neither %s nor %s got message %s: %s", subscription.shown_endpoint, target, message_id,
                    again.message)


def put(tx: Tx, topic: Topic, queue_arn: str, entry: Mapping[str, Any]) -> Failure | str:
    """Puts a message into a queue, if that lets the topic; its id there, or why not."""
    queue = find_by_arn(tx, queue_arn)
    if queue is None:
        return Failure("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
    if not _is_allowed(queue.attributes.get("Policy"), queue_arn, topic.arn, topic.account):
        return Failure("AccessDenied", f"The policy of {queue_arn} does not let {SERVICE} send messages of"
                                       f" {topic.arn}.")
    try:
        return send(tx, queue, SERVICE, entry)
    except AwsError as error:
        return Failure(error.code, error.message)


@lru_cache(maxsize=16384)
def _is_allowed(document: str | None, queue_arn: str, topic_arn: str, account: str) -> bool:
    """Whether a queue's policy lets SNS send messages of a topic; without one it does not."""
    if document is None:
        return False
    known = {"aws:sourcearn": (topic_arn,), "aws:sourceaccount": (account,), "aws:sourceowner": (account,),
             "aws:principalservicename": (SERVICE,), "aws:principalisawsservice": ("true",)}
    return policy.granted(policy.parse(document), _SNS, "sqs:SendMessage", queue_arn, known.get) == "direct"
