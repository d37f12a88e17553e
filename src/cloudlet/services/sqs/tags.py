"""Tags of queues.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-tags.html
"""

import dataclasses
from collections.abc import Mapping

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sqs.records import require_own
from cloudlet.services.sqs.service import InvalidParameterValue, queue_arns, sqs
from cloudlet.store.db import Tx

TAGS_MAX, KEY_MAX, VALUE_MAX = 50, 128, 256


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as they are kept. Raises InvalidParameterValue."""
    if len(tags) > TAGS_MAX:
        raise InvalidParameterValue(f"Too many tags added for queue. The maximum is {TAGS_MAX}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= KEY_MAX or len(value) > VALUE_MAX:
            raise InvalidParameterValue(f"Tag keys must be between 1 and {KEY_MAX} characters in length, values at most"
                                        f" {VALUE_MAX}.")
        if key.lower().startswith("aws:"):
            raise InvalidParameterValue("Tag keys beginning with aws: are reserved for system use.")
    return dict(tags)


@sqs.write(resources=queue_arns, durable=True)
def tag_queue(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags to a queue or changes their values."""
    queue = require_own(call, tx, request["QueueUrl"], "sqs:TagQueue")
    tx.put(dataclasses.replace(queue, tags=check_tags({**queue.tags, **check_tags(request["Tags"])})))


@sqs.write(resources=queue_arns, durable=True)
def untag_queue(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags from a queue."""
    queue, gone = require_own(call, tx, request["QueueUrl"], "sqs:UntagQueue"), set(request["TagKeys"])
    tx.put(dataclasses.replace(queue, tags={key: value for key, value in queue.tags.items() if key not in gone}))


@sqs.read(resources=queue_arns)
def list_queue_tags(call: Call, tx: Tx, request: Input) -> Output:
    """A queue's tags."""
    tags = require_own(call, tx, request["QueueUrl"], "sqs:ListQueueTags").tags
    return {"Tags": tags} if tags else {}
