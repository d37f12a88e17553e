"""SendMessage and SendMessageBatch.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
"""

from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.batches import each
from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sqs import batches, contents, fifo, messages
from cloudlet.services.sqs.messages import About, Attribute
from cloudlet.services.sqs.records import Queue, require
from cloudlet.services.sqs.service import (
    BatchRequestTooLong,
    InvalidParameterValue,
    MissingParameter,
    invalid,
    queue_arns,
    sqs,
)
from cloudlet.store.db import Tx

BYTES_MAX = 1 << 20  # of a message, and of all messages of a batch
DELAY_S_MAX = 900


@sqs.write(resources=queue_arns, durable=True)
def send_message(call: Call, tx: Tx, request: Input) -> Output:
    """Puts a message in; it is on the disk when this is answered."""
    queue = require(call, tx, request["QueueUrl"])
    answer = send(tx, queue, call.principal.user_id, request, call.trace)
    messages.arouse(tx, queue)
    return answer


@sqs.write(resources=queue_arns, action="sqs:SendMessage", durable=True)
def send_message_batch(call: Call, tx: Tx, request: Input) -> Output:
    """Up to ten messages, each of which succeeds or fails by itself."""
    entries = request["Entries"]
    batches.check(entries, "SendMessageBatchRequestEntry")
    size = sum(contents.size_of(entry["MessageBody"], entry.get("MessageAttributes") or {}) for entry in entries)
    if size > BYTES_MAX:
        raise BatchRequestTooLong(
            f"Batch requests cannot be longer than {BYTES_MAX} bytes. You have sent {size} bytes.")
    queue = require(call, tx, request["QueueUrl"])
    for entry in entries:  # where one says too little of its order, AWS refuses all
        _demand_order(queue, entry, InvalidParameterValue)
    answer = each(entries, lambda entry: send(tx, queue, call.principal.user_id, entry, call.trace))
    messages.arouse(tx, queue)
    return answer


def send(tx: Tx, queue: Queue, sender: str, entry: Mapping[str, Any], trace: str = "") -> dict[str, Any]:
    """The same as `put`; what is answered of it."""
    number, message_id = put(tx, queue, sender, entry, trace)
    answer = {"MessageId": message_id, "MD5OfMessageBody": contents.md5_of(entry["MessageBody"])}
    if entry.get("MessageAttributes"):
        answer["MD5OfMessageAttributes"] = contents.md5_of_attributes(entry["MessageAttributes"])
    if entry.get("MessageSystemAttributes"):
        answer["MD5OfMessageSystemAttributes"] = contents.md5_of_attributes(entry["MessageSystemAttributes"])
    if queue.fifo:
        answer["SequenceNumber"] = fifo.sequence(number)
    return answer


def put(tx: Tx, queue: Queue, sender: str, entry: Mapping[str, Any], trace: str = "") -> tuple[int, str]:
    """Puts one message into a queue; its id and its MessageId. `trace`: the tracing header of the request, which counts
    where the message has none of its own. Raises AWS's errors, and then nothing was put in.

    https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html
    """
    body, attributes = entry["MessageBody"], entry.get("MessageAttributes") or {}
    system = entry.get("MessageSystemAttributes") or {}
    _check(queue, body, attributes, system)
    group, token = _order(queue, entry, body)
    delay_s = _delay(queue, entry.get("DelaySeconds"))
    known = fifo.find_duplicate(tx, queue, group, token) if queue.fifo else None
    if known is not None:
        return known
    about = About(sender, {name: Attribute(value["DataType"], value.get("StringValue"), value.get("BinaryValue"))
                           for name, value in attributes.items()},
                  system["AWSTraceHeader"]["StringValue"] if system else trace, group, token)
    message_id = messages.new_message_id(tx)
    number = messages.add(tx, queue, message_id, body, about, delay_s)
    if queue.fifo:
        fifo.remember(tx, queue, group, token, number, message_id)
    return number, message_id


def _check(queue: Queue, body: str, attributes: Mapping[str, Any], system: Mapping[str, Any]) -> None:
    if not body:
        raise MissingParameter("The request must contain the parameter MessageBody.")
    contents.check_text(body, "the message body")
    if attributes:
        contents.check_attributes(attributes)
    if system:
        contents.check_system_attributes(system)
    limit = queue.number("MaximumMessageSize")
    if contents.size_of(body, attributes) > limit:
        raise InvalidParameterValue(f"One or more parameters are invalid. Reason: Message must be shorter than {limit}"
                                    " bytes.")


def _demand_order(queue: Queue, entry: Mapping[str, Any], missing: type[AwsError] = MissingParameter) -> None:
    """Raises for a message that says too little of its order."""
    if queue.fifo and entry.get("MessageGroupId") is None:
        raise missing("The request must contain the parameter MessageGroupId.")
    if queue.fifo and entry.get("MessageDeduplicationId") is None and (
            queue.attributes.get("ContentBasedDeduplication") != "true"):
        raise InvalidParameterValue("The queue should either have ContentBasedDeduplication enabled or"
                                    " MessageDeduplicationId provided explicitly")


def _order(queue: Queue, entry: Mapping[str, Any], body: str) -> tuple[str, str]:
    """A message's group and deduplication id; "" for none."""
    group, token = entry.get("MessageGroupId"), entry.get("MessageDeduplicationId")
    if group is not None:
        contents.check_token("MessageGroupId", group)
    if token is not None:
        contents.check_token("MessageDeduplicationId", token)
    if not queue.fifo:
        if token is not None:
            raise invalid("MessageDeduplicationId", token, "The request include parameter that is not valid for this"
                                                           " queue type.")
        return group or "", ""
    _demand_order(queue, entry)
    return group or "", token or fifo.content_token(body)


def _delay(queue: Queue, asked: int | None) -> int:
    if asked is None:
        return queue.number("DelaySeconds")
    if queue.fifo and asked:
        raise invalid("DelaySeconds", asked, "The request include parameter that is not valid for this queue type.")
    if not 0 <= asked <= DELAY_S_MAX:
        raise invalid("DelaySeconds", asked, f"DelaySeconds must be >= 0 and <= {DELAY_S_MAX}.")
    return queue.number("DelaySeconds") if queue.fifo else asked
