"""Message-move tasks: dead letters go back where they came from, or elsewhere, at a rate.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

import base64
import binascii
import dataclasses
import json

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Need, Output
from cloudlet.services.sqs import messages
from cloudlet.services.sqs.records import Queue, check_own, find_by_arn
from cloudlet.services.sqs.service import InvalidParameterValue, ResourceNotFound, invalid, sqs
from cloudlet.store.db import Store, Tx
from cloudlet.store.records import record

RATE_MAX = 500
SLICE = 50  # messages of one transaction
LISTED_MAX = 10
KEPT = 10  # tasks of a queue that have ended


@record("sqs.move", reconciled=True, indexes={"source": lambda move: move.source})
class Move:
    """A task. `rate`: messages a second. `status`: RUNNING, COMPLETED, CANCELLED or FAILED. Times are epoch seconds."""

    id: str
    source: str
    destination: str
    rate: int | None
    started: float
    to_move: int
    moved: int = 0
    status: str = "RUNNING"
    reason: str = ""

    @property
    def handle(self) -> str:
        """What a customer knows it by."""
        return base64.b64encode(json.dumps({"taskId": self.id, "sourceArn": self.source}).encode()).decode()


# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html

def _needs_to_start(call: Call, request: Input) -> list[Need]:
    target = request.get("DestinationArn")
    return _needs("StartMessageMoveTask", request["SourceArn"]) + ([Need("sqs:SendMessage", target)] if target else [])


def _needs_to_cancel(call: Call, request: Input) -> list[Need]:
    return _needs("CancelMessageMoveTask", _read(request["TaskHandle"])[1])


def _needs(action: str, source: str) -> list[Need]:
    return [Need(f"sqs:{each}", source) for each in (action, "ReceiveMessage", "DeleteMessage", "GetQueueAttributes")]


def _read(handle: str) -> tuple[str, str]:
    try:
        said = json.loads(base64.b64decode(handle, validate=True))
        return str(said["taskId"]), str(said["sourceArn"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise InvalidParameterValue("Value for parameter TaskHandle is invalid.") from None


def _queue(call: Call, tx: Tx, arn: str, action: str) -> Queue:
    found = find_by_arn(tx, arn)
    if found is None or found.key.split("/")[1] != call.region:
        raise ResourceNotFound()
    check_own(call, found, f"sqs:{action}")
    return found


@sqs.write(resources=_needs_to_start, durable=True)
def start_message_move_task(call: Call, tx: Tx, request: Input) -> Output:
    """Begins to move what is in a dead-letter queue."""
    source = _queue(call, tx, request["SourceArn"], "StartMessageMoveTask")
    destination = request.get("DestinationArn") or ""
    if destination:
        target = find_by_arn(tx, destination)
        if target is None:
            raise ResourceNotFound("The resource that you specified for the DestinationArn parameter doesn't exist.")
        if target.fifo != source.fifo or target.key == source.key:
            raise InvalidParameterValue("Destination queue must be another queue of the same type.")
    if not tx.find(Queue, limit=1, dead_letters=source.arn):
        raise InvalidParameterValue("Source queue must be configured as a Dead Letter Queue.")
    tasks = tx.find(Move, source=source.arn)
    if any(task.status == "RUNNING" for task in tasks):
        raise InvalidParameterValue("There is already a task running. Only one active task is allowed for a source"
                                    " queue arn at a given time.")
    rate = request.get("MaxNumberOfMessagesPerSecond")
    if rate is not None and not 1 <= rate <= RATE_MAX:
        raise invalid("MaxNumberOfMessagesPerSecond", rate, f"Must be between 1 and {RATE_MAX}, if provided.")
    for old in sorted(tasks, key=lambda task: task.started)[:-KEPT + 1]:
        tx.delete(Move, old.id)
    made = Move(tx.token(32), source.arn, destination, rate, tx.now, messages.total(tx, source))
    tx.put(made)
    return {"TaskHandle": made.handle}


@sqs.write(resources=_needs_to_cancel, durable=True)
def cancel_message_move_task(call: Call, tx: Tx, request: Input) -> Output:
    """Ends a task; what it has moved stays moved."""
    name, source = _read(request["TaskHandle"])
    _queue(call, tx, source, "CancelMessageMoveTask")
    task = tx.get(Move, name)
    if task is None:
        raise ResourceNotFound("Task does not exist.")
    if task.status != "RUNNING":
        raise InvalidParameterValue("Only active tasks can be cancelled.")
    tx.put(dataclasses.replace(task, status="CANCELLED"))
    return {"ApproximateNumberOfMessagesMoved": task.moved}


@sqs.read(resources=lambda call, request: [request["SourceArn"]])
def list_message_move_tasks(call: Call, tx: Tx, request: Input) -> Output:
    """The latest tasks of a queue, the newest first."""
    source, limit = _queue(call, tx, request["SourceArn"], "ListMessageMoveTasks"), request.get("MaxResults", 1)
    if not 1 <= limit <= LISTED_MAX:
        raise invalid("MaxResults", limit, f"Must be between 1 and {LISTED_MAX}, if provided.")
    tasks = sorted(tx.find(Move, source=source.arn), key=lambda task: task.started, reverse=True)
    return {"Results": [_view(task) for task in tasks[:limit]]}


def _view(task: Move) -> dict[str, object]:
    shown: dict[str, object] = {
        "Status": task.status, "SourceArn": task.source, "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move, "StartedTimestamp": int(task.started * 1000)}
    for name, value in (("DestinationArn", task.destination), ("MaxNumberOfMessagesPerSecond", task.rate),
                        ("TaskHandle", task.handle if task.status == "RUNNING" else ""),
                        ("FailureReason", task.reason)):
        if value:
            shown[name] = value
    return shown


class Moving:
    """The loop of tasks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """Moves the next few messages."""
        with self._store.tx() as tx:
            task = tx.get(Move, key)
            if task is None or task.status != "RUNNING":
                return Done()
            rate = task.rate or RATE_MAX
            count = max(1, min(rate, SLICE))
            moved, reason = _advance(tx, task, count)
            status = "FAILED" if reason else "RUNNING" if moved == count else "COMPLETED"
            tx.put(dataclasses.replace(task, moved=task.moved + moved, status=status, reason=reason), wake=False)
        return Again(count / rate) if status == "RUNNING" else Done()


def _advance(tx: Tx, task: Move, count: int) -> tuple[int, str]:
    """Moves at most so many messages; how many, and why no more can be moved."""
    source = find_by_arn(tx, task.source)
    if source is None:
        return 0, "AWS.SimpleQueueService.NonExistentQueue"
    moved = 0
    while moved < count and (waiting := messages.waiting(tx, source, count - moved)):
        for message in waiting:
            target = find_by_arn(tx, task.destination or message.about.source)
            if target is None:
                return moved, ("CouldNotDetermineMessageSource" if not task.destination and not message.about.source
                               else "AWS.SimpleQueueService.NonExistentQueue")
            messages.move(tx, source, message, target)
            moved += 1
    return moved, ""
