"""ReceiveMessage: what is there, or what comes while the request is held open.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
"""

from collections.abc import Sequence
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sqs import contents, fifo, messages, receipts
from cloudlet.services.sqs.contents import check_token
from cloudlet.services.sqs.messages import Message
from cloudlet.services.sqs.records import Queue, require
from cloudlet.services.sqs.service import InvalidAttributeName, OverLimit, invalid, queue_arns, sqs
from cloudlet.store.db import Store, Tx

COUNT_MAX, WAIT_S_MAX, VISIBILITY_S_MAX = 10, 20, 43200
IN_FLIGHT_MAX = 120_000
ALARM_S_MIN = 0.05  # between two looks at a queue that has something but could not give it
SYSTEM = ("SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "SequenceNumber",
          "MessageDeduplicationId", "MessageGroupId", "AWSTraceHeader", "DeadLetterQueueSourceArn")


@sqs.wait(resources=queue_arns)
async def receive_message(call: Call, store: Store, request: Input) -> Output:
    """Up to ten messages, which nobody else gets for the visibility timeout."""
    names = _system_names(request)
    deadline: float | None = None
    while True:
        with store.tx(shared=True) as tx:
            queue = require(call, tx, request["QueueUrl"])
            wait_s = _within("WaitTimeSeconds", request.get("WaitTimeSeconds"),
                             queue.number("ReceiveMessageWaitTimeSeconds"), 0, WAIT_S_MAX,
                             f"Must be >= 0 and <= {WAIT_S_MAX}, if provided.")
            if deadline is None:
                deadline = tx.steady + wait_s
            taken = _take(tx, queue, request, wait_s > 0)
            left_s = min(deadline - tx.steady, wait_s)
            if taken:
                messages.arouse(tx, queue)  # who waits gets what is left, now or when these come back
            alarm_s = messages.next_in(tx, queue) if left_s > 0 and not taken else None
        if taken or left_s <= 0:
            break
        if not await store.news.wait(messages.topic(queue), left_s,
                                     None if alarm_s is None else max(alarm_s, ALARM_S_MIN)):
            deadline = 0.0  # that was all the time, whatever became of the clock: one last look
    if not taken:
        return {}
    await store.flush(tx)
    return {"Messages": [view(queue, message, names, request.get("MessageAttributeNames") or (), store.clock.ahead)
                         for message in taken]}


def _take(tx: Tx, queue: Queue, request: Input, waits: bool) -> list[Message]:
    """What is there now. Where too many are in flight already, that is nothing, and for a short poll of a standard
    queue an error.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
    """
    count = _within("MaxNumberOfMessages", request.get("MaxNumberOfMessages"), 1, 1, COUNT_MAX,
                    f"Must be between 1 and {COUNT_MAX}, if provided.")
    visibility_s = _within("VisibilityTimeout", request.get("VisibilityTimeout"), queue.number("VisibilityTimeout"), 0,
                           VISIBILITY_S_MAX, f"Must be between 0 and {VISIBILITY_S_MAX}, if provided.")
    attempt = request.get("ReceiveRequestAttemptId")
    if attempt is not None:
        if not queue.fifo:
            raise invalid("ReceiveRequestAttemptId", attempt, "The request include parameter that is not valid for"
                                                              " this queue type.")
        check_token("ReceiveRequestAttemptId", attempt)
        again = fifo.find_attempt(tx, queue, attempt)
        if again is not None:
            taken = messages.retake(tx, queue, again, visibility_s)
            if not taken:
                raise invalid("ReceiveRequestAttemptId", attempt, "The receiveRequestAttemptId is not valid anymore"
                                                                  " since the receive call is not retryable.")
            _remember(tx, queue, attempt, taken, visibility_s)
            return taken
    if not messages.has_room(tx, queue, count, IN_FLIGHT_MAX):
        if queue.fifo or waits:
            return []
        raise OverLimit(f"The maximum number of messages in flight ({IN_FLIGHT_MAX}) has been reached.")
    taken = messages.take(tx, queue, count, visibility_s)
    if attempt is not None and taken:
        _remember(tx, queue, attempt, taken, visibility_s)
    return taken


def _remember(tx: Tx, queue: Queue, attempt: str, taken: Sequence[Message], visibility_s: int) -> None:
    until = messages.now_ms(tx) + visibility_s * 1000
    fifo.remember_attempt(tx, queue, attempt, [(message.id, message.receives, until) for message in taken])


def _within(name: str, asked: int | None, default: int, low: int, high: int, reason: str) -> int:
    if asked is None:
        return default
    if not low <= asked <= high:
        raise invalid(name, asked, reason)
    return asked


def _system_names(request: Input) -> frozenset[str]:
    """The system attributes that are asked for, by either of the members that may."""
    asked = {*(request.get("AttributeNames") or ()), *(request.get("MessageSystemAttributeNames") or ())}
    if "All" in asked:
        return frozenset(SYSTEM)
    unknown = asked.difference(SYSTEM)
    if unknown:
        raise InvalidAttributeName(f"Unknown Attribute {min(unknown)}.")
    return frozenset(asked)


def view(queue: Queue, message: Message, names: frozenset[str], attribute_names: Sequence[str],
         ahead_s: float) -> dict[str, Any]:
    """A message as it is answered; its times are so much ahead of the wall clock."""
    shown: dict[str, Any] = {
        "MessageId": message.message_id, "ReceiptHandle": receipts.issue(queue, message.id, message.receives),
        "MD5OfBody": contents.md5_of(message.body), "Body": message.body}
    if names:
        known = _system_attributes(queue, message, int(ahead_s * 1000))
        chosen = {name: known[name] for name in SYSTEM if name in names and known.get(name)}
        if chosen:
            shown["Attributes"] = chosen
    attributes = _chosen(message, attribute_names) if attribute_names else {}
    if attributes:
        shown["MessageAttributes"] = attributes
        shown["MD5OfMessageAttributes"] = contents.md5_of_attributes(attributes)
    return shown


def _system_attributes(queue: Queue, message: Message, ahead_ms: int) -> dict[str, str]:
    about = message.about
    return {
        "SenderId": about.sender, "SentTimestamp": str(message.sent_ms - ahead_ms),
        "ApproximateReceiveCount": str(about.receives + message.receives),  # "across all queues"
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms and message.first_received_ms - ahead_ms),
        "SequenceNumber": fifo.sequence(message.id) if queue.fifo else "", "MessageDeduplicationId": about.token,
        "MessageGroupId": about.group, "AWSTraceHeader": about.trace, "DeadLetterQueueSourceArn": about.source}


def _chosen(message: Message, wanted: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The message attributes of those names, `All`, `*` or `.*` for all, `prefix.*` for those that begin so."""
    everything = not {"All", "*", ".*"}.isdisjoint(wanted)
    prefixes = tuple(name[:-2] for name in wanted if name.endswith(".*"))
    return {name: {"DataType": value.type,
                   **({"BinaryValue": value.data} if value.data is not None else {"StringValue": value.text})}
            for name, value in message.about.attributes.items()
            if everything or name in wanted or (prefixes and name.startswith(prefixes))}
