"""Queues: made, found, listed, emptied and deleted.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
"""

import dataclasses

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.kernel.site import Site
from cloudlet.services.sqs import attributes, messages
from cloudlet.services.sqs.messages import new_store
from cloudlet.services.sqs.records import Deleted, Names, Queue, require, require_own
from cloudlet.services.sqs.service import (
    NAME,
    InvalidParameterValue,
    MissingParameter,
    PurgeQueueInProgress,
    QueueDeletedRecently,
    QueueDoesNotExist,
    QueueNameExists,
    named_arns,
    queue_arns,
    sqs,
)
from cloudlet.services.sqs.tags import check_tags
from cloudlet.store.db import Store, Tx

DROP = "sqs.drop"  # kind of work: messages stored under a number that no queue has any more
NAME_KEPT_S = 60.0  # after a queue was deleted, where names are kept
PURGE_S = 60.0  # between two purges of a queue
PAGE_MAX = 1000


@sqs.write(resources=named_arns, durable=True)
def create_queue(call: Call, tx: Tx, request: Input) -> Output:
    """A new queue, or the URL of the one that is as asked already."""
    name, asked = request["QueueName"], dict(request.get("Attributes") or {})
    if not NAME.fullmatch(name):
        fifo = name.endswith(".fifo") or asked.get("FifoQueue") == "true"
        raise InvalidParameterValue(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with"
            " .fifo suffix and be 1 to 80 in length." if fifo else
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
    if name.endswith(".fifo") != (asked.get("FifoQueue") == "true"):
        raise InvalidParameterValue(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with"
            " .fifo suffix and be 1 to 80 in length.")
    kept, key = attributes.checked(name, asked), f"{call.scope}/{name}"
    found = tx.get(Queue, key)
    if found is not None:
        have = attributes.view(found, set(kept))
        for attribute, value in kept.items():
            if have.get(attribute, "") != value:
                raise QueueNameExists("A queue already exists with the same name and a different value for attribute"
                                      f" {attribute}")
        return {"QueueUrl": found.url(call.endpoint)}
    if _was_deleted_recently(tx, key):
        raise QueueDeletedRecently()
    tags = check_tags(request.get("tags") or {})
    made = Queue(key, new_store(tx), new_store(tx), tx.now, tx.now, tags=tags)
    made = dataclasses.replace(made, attributes=attributes.merged(made, kept))
    attributes.check_dead_letters(tx, made)
    tx.put(made)
    return {"QueueUrl": made.url(call.endpoint)}


@sqs.write(resources=queue_arns, durable=True)
def delete_queue(call: Call, tx: Tx, request: Input) -> Output:
    """A queue and all its messages are gone; whoever waits for one is told."""
    queue = require_own(call, tx, request["QueueUrl"], "sqs:DeleteQueue")
    tx.delete(Queue, queue.key)
    if _keeps_names(tx):
        tx.put(Deleted(queue.key, tx.steady))
    tx.enqueue(DROP, str(queue.store))
    _tell_all(tx, queue)


def set_keeping_of_names(store: Store, site: Site) -> None:
    """Keeps the installation's setting where operations find it."""
    with store.tx() as tx:
        if _keeps_names(tx) != site.keep_queue_names:
            tx.put(Names("", site.keep_queue_names))


def _keeps_names(tx: Tx) -> bool:
    return (tx.get(Names, "") or Names()).kept


def _was_deleted_recently(tx: Tx, key: str) -> bool:
    found = tx.get(Deleted, key)
    return found is not None and found.at <= tx.steady < found.at + NAME_KEPT_S and _keeps_names(tx)


def release_names(tx: Tx, limit: int) -> bool:
    """Forgets queues that were deleted long enough ago; whether there may be others."""
    found = tx.find(Deleted, limit=limit)
    old = [each for each in found if not each.at <= tx.steady < each.at + NAME_KEPT_S]
    for each in old:
        tx.delete(Deleted, each.key)
    return len(old) == limit


@sqs.write(resources=queue_arns, durable=True)
def purge_queue(call: Call, tx: Tx, request: Input) -> Output:
    """A queue without its messages, those in flight included; once a minute at most."""
    queue = require(call, tx, request["QueueUrl"])
    if queue.purged <= tx.steady < queue.purged + PURGE_S:
        raise PurgeQueueInProgress(f"Only one PurgeQueue operation on {queue.name} is allowed every 60 seconds.")
    tx.put(dataclasses.replace(queue, store=new_store(tx), purged=tx.steady))
    tx.enqueue(DROP, str(queue.store))


def _tell_all(tx: Tx, queue: Queue) -> None:
    news, name = tx.news, messages.topic(queue)

    def tell() -> None:
        while news.tell(name):
            pass
    tx.after.append(tell)


@sqs.read(resources=named_arns)
def get_queue_url(call: Call, tx: Tx, request: Input) -> Output:
    """The URL of a queue by its name, perhaps another account's."""
    account = request.get("QueueOwnerAWSAccountId") or call.account
    found = tx.get(Queue, f"{account}/{call.region}/{request['QueueName']}")
    if found is None:
        raise QueueDoesNotExist()
    return {"QueueUrl": found.url(call.endpoint)}


@sqs.read(resources=any_resource)
def list_queues(call: Call, tx: Tx, request: Input) -> Output:
    """The URLs of queues in order of name. Without MaxResults at most a thousand, and no token.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListQueues.html
    """
    prefix = f"{call.scope}/{request.get('QueueNamePrefix') or ''}"
    return _paged(call, request, "QueueUrls", tx.find(Queue, prefix, after=_after(call, request), limit=PAGE_MAX + 1))


@sqs.read(resources=queue_arns)
def list_dead_letter_source_queues(call: Call, tx: Tx, request: Input) -> Output:
    """The queues whose dead letters come here."""
    queue = require(call, tx, request["QueueUrl"])
    found = tx.find(Queue, after=_after(call, request), limit=PAGE_MAX + 1, dead_letters=queue.arn)
    return _paged(call, request, "queueUrls", found)


def _after(call: Call, request: Input) -> str:
    token = request.get("NextToken")
    if not token:
        return ""
    if request.get("MaxResults") is None:
        raise MissingParameter("MaxResults is a mandatory parameter when you provide a value for NextToken.")
    if not NAME.fullmatch(token):
        raise InvalidParameterValue("Invalid NextToken value.")
    return f"{call.scope}/{token}"


def _paged(call: Call, request: Input, member: str, found: list[Queue]) -> Output:
    limit = request.get("MaxResults")
    if limit is not None and not 1 <= limit <= PAGE_MAX:
        raise InvalidParameterValue(f"Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer"
                                    f" between 1 and {PAGE_MAX}.")
    shown = found[:limit or PAGE_MAX]
    answer: dict[str, object] = {member: [queue.url(call.endpoint) for queue in shown]} if shown else {}
    if member == "queueUrls":
        answer.setdefault(member, [])
    if limit is not None and len(found) > limit:
        answer["NextToken"] = shown[-1].name
    return answer
