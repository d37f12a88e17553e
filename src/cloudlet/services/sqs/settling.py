"""DeleteMessage and ChangeMessageVisibility, one by one and in batches.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
"""

from typing import Any

from cloudlet.kernel.batches import Entry, each
from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sqs import batches, messages, receipts
from cloudlet.services.sqs.receiving import VISIBILITY_S_MAX
from cloudlet.services.sqs.records import Queue, require
from cloudlet.services.sqs.service import InvalidParameterValue, ReceiptHandleIsInvalid, invalid, queue_arns, sqs
from cloudlet.store.db import Tx

EXPIRED = "The receipt handle has expired."


@sqs.write(resources=queue_arns, durable=True)
def delete_message(call: Call, tx: Tx, request: Input) -> Output:
    """A message was dealt with; what is gone already is no error."""
    delete(tx, require(call, tx, request["QueueUrl"]), request["ReceiptHandle"])


@sqs.write(resources=queue_arns, action="sqs:DeleteMessage", durable=True)
def delete_message_batch(call: Call, tx: Tx, request: Input) -> Output:
    """Up to ten messages."""
    batches.check(request["Entries"], "DeleteMessageBatchRequestEntry")
    queue = require(call, tx, request["QueueUrl"])
    return each(request["Entries"], lambda entry: _delete_entry(tx, queue, entry["ReceiptHandle"]))


@sqs.write(resources=queue_arns, durable=True)
def change_message_visibility(call: Call, tx: Tx, request: Input) -> Output:
    """Keeps a message from others for so many seconds from now; 0 gives it back."""
    change(tx, require(call, tx, request["QueueUrl"]), request)


@sqs.write(resources=queue_arns, action="sqs:ChangeMessageVisibility", durable=True)
def change_message_visibility_batch(call: Call, tx: Tx, request: Input) -> Output:
    """Up to ten messages."""
    batches.check(request["Entries"], "ChangeMessageVisibilityBatchRequestEntry")
    queue = require(call, tx, request["QueueUrl"])
    return each(request["Entries"], lambda entry: change(tx, queue, entry))


def _delete_entry(tx: Tx, queue: Queue, handle: str) -> dict[str, Any]:
    """The same in a batch, which has another code for a handle that has expired."""
    try:
        return delete(tx, queue, handle)
    except InvalidParameterValue:
        raise ReceiptHandleIsInvalid(EXPIRED[:-1]) from None


def delete(tx: Tx, queue: Queue, handle: str) -> dict[str, Any]:
    """Removes what the handle was given for. A standard queue passes over handles of earlier receives; a FIFO queue
    refuses one whose visibility timeout has ended."""
    receipt = receipts.read(queue, handle)
    message = messages.held(tx, queue, receipt.id)
    if message is None:
        return {}
    if queue.fifo and _has_expired(message, receipt, messages.now_ms(tx)):
        raise invalid("ReceiptHandle", handle, EXPIRED)
    if message.receives == receipt.receives:
        messages.remove(tx, queue, message)
        if queue.fifo:
            messages.arouse(tx, queue)  # the next of its group may go
    return {}


def _has_expired(message: messages.Held, receipt: receipts.Receipt, now_ms: int) -> bool:
    return message.receives != receipt.receives or message.visible_ms <= now_ms


def change(tx: Tx, queue: Queue, entry: Entry) -> dict[str, Any]:
    """Moves the end of a visibility timeout, to 12 hours after the receive at most. Of a message of a standard queue
    any handle does, as on AWS, and nothing happens where the timeout has ended; a FIFO queue refuses that.

    https://github.com/localstack/localstack/pull/9632
    """
    seconds, handle = entry.get("VisibilityTimeout"), entry["ReceiptHandle"]
    if seconds is None or not 0 <= seconds <= VISIBILITY_S_MAX:
        raise invalid("VisibilityTimeout", seconds, f"Must be between 0 and {VISIBILITY_S_MAX}")
    receipt, now = receipts.read(queue, handle), messages.now_ms(tx)
    message = messages.held(tx, queue, receipt.id)
    if message is None:
        raise invalid("ReceiptHandle", handle,
                      "Message does not exist or is not available for visibility timeout change.")
    if queue.fifo and _has_expired(message, receipt, now):
        raise invalid("ReceiptHandle", handle, EXPIRED)
    if message.visible_ms <= now:
        return {}
    if now + seconds * 1000 > message.taken_ms + VISIBILITY_S_MAX * 1000:
        raise InvalidParameterValue(f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total"
                                    f" VisibilityTimeout for the message is beyond the limit [{VISIBILITY_S_MAX}"
                                    " seconds]")
    messages.set_visible(tx, queue, message, now + seconds * 1000)
    messages.arouse(tx, queue)
    return {}
