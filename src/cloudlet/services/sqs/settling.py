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
from cloudlet.services.sqs.service import InvalidParameterValue, MessageNotInflight, invalid, queue_arns, sqs
from cloudlet.store.db import Store, Tx


@sqs.wait(resources=queue_arns)
async def delete_message(call: Call, store: Store, request: Input) -> Output:
    """A message was dealt with; what is gone already is no error."""
    with store.tx(shared=True) as tx:
        queue = require(call, tx, request["QueueUrl"])
        delete(tx, queue, request["ReceiptHandle"])
    await store.flush(tx)


@sqs.wait(resources=queue_arns, action="sqs:DeleteMessage")
async def delete_message_batch(call: Call, store: Store, request: Input) -> Output:
    """Up to ten messages."""
    batches.check(request["Entries"], "DeleteMessageBatchRequestEntry")
    with store.tx(shared=True) as tx:
        queue = require(call, tx, request["QueueUrl"])
        answer = each(request["Entries"], lambda entry: delete(tx, queue, entry["ReceiptHandle"]))
    await store.flush(tx)
    return answer


@sqs.wait(resources=queue_arns)
async def change_message_visibility(call: Call, store: Store, request: Input) -> Output:
    """Keeps a message from others for so many seconds from now; 0 gives it back."""
    with store.tx(shared=True) as tx:
        queue = require(call, tx, request["QueueUrl"])
        change(tx, queue, request)
    await store.flush(tx)


@sqs.wait(resources=queue_arns, action="sqs:ChangeMessageVisibility")
async def change_message_visibility_batch(call: Call, store: Store, request: Input) -> Output:
    """Up to ten messages."""
    batches.check(request["Entries"], "ChangeMessageVisibilityBatchRequestEntry")
    with store.tx(shared=True) as tx:
        queue = require(call, tx, request["QueueUrl"])
        answer = each(request["Entries"], lambda entry: change(tx, queue, entry))
    await store.flush(tx)
    return answer


def delete(tx: Tx, queue: Queue, handle: str) -> dict[str, Any]:
    """Removes what the handle was given for. A standard queue passes over handles of earlier receives; a FIFO queue
    refuses one whose visibility timeout has ended."""
    receipt = receipts.read(queue, handle)
    message = messages.held(tx, queue, receipt.id)
    if message is None:
        return {}
    if queue.fifo and (message.receives != receipt.receives or message.visible_ms <= messages.now_ms(tx)):
        raise invalid("ReceiptHandle", handle, "The receipt handle has expired.")
    if message.receives == receipt.receives:
        messages.remove(tx, queue, message)
        if queue.fifo:
            messages.arouse(tx, queue)  # the next of its group may go
    return {}


def change(tx: Tx, queue: Queue, entry: Entry) -> dict[str, Any]:
    """Moves the end of a visibility timeout, to 12 hours after the receive at most."""
    seconds, handle = entry.get("VisibilityTimeout"), entry["ReceiptHandle"]
    if seconds is None or not 0 <= seconds <= VISIBILITY_S_MAX:
        raise invalid("VisibilityTimeout", seconds, f"Must be between 0 and {VISIBILITY_S_MAX}")
    receipt, now = receipts.read(queue, handle), messages.now_ms(tx)
    message = messages.held(tx, queue, receipt.id)
    if message is None or message.receives != receipt.receives:
        raise invalid("ReceiptHandle", handle,
                      "Message does not exist or is not available for visibility timeout change.")
    if message.visible_ms <= now:
        raise MessageNotInflight(f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not"
                                 " exist or is not available for visibility timeout change.")
    if now + seconds * 1000 > message.taken_ms + VISIBILITY_S_MAX * 1000:
        raise InvalidParameterValue(f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total"
                                    f" VisibilityTimeout for the message is beyond the limit [{VISIBILITY_S_MAX}"
                                    " seconds].")
    messages.set_visible(tx, queue, message, now + seconds * 1000)
    messages.arouse(tx, queue)
    return {}
