"""What SQS keeps of queues as records; their messages are rows."""

import json
from dataclasses import field

from cloudlet.kernel.call import Call
from cloudlet.services.sqs.service import AccessDenied, QueueDoesNotExist, arn_of_key, key_of_arn, key_of_url
from cloudlet.store.db import Tx
from cloudlet.store.records import record

DEFAULTS = {"VisibilityTimeout": "30", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600",
            "DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0"}


def _target(queue: "Queue") -> str | None:
    redrive = queue.attributes.get("RedrivePolicy")
    return json.loads(redrive)["deadLetterTargetArn"] if redrive else None


@record("sqs.queue", indexes={"dead_letters": _target})
class Queue:
    """A queue; its key is `ACCOUNT/REGION/NAME`. `attributes` are those that were set. `id` is its number for its life
    (in receipt handles), `store` what its messages and their tokens are stored under: a purge gives it a new one.
    `fair`: a standard queue to which somebody sent with a message group. Times are epoch seconds,
    that of the last purge by the steady time."""

    key: str
    id: int
    store: int
    created: float
    modified: float
    purged: float = 0.0
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    fair: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.key.rpartition("/")[2]

    @property
    def account(self) -> str:
        """Whose it is."""
        return self.key.partition("/")[0]

    @property
    def arn(self) -> str:
        """`arn:aws:sqs:REGION:ACCOUNT:NAME`."""
        return arn_of_key(self.key)

    @property
    def fifo(self) -> bool:
        """Whether it keeps order."""
        return self.key.endswith(".fifo")

    @property
    def by_group(self) -> bool:
        """Whether duplicates are looked for within message groups only."""
        return self.attributes.get("DeduplicationScope") == "messageGroup"

    @property
    def redrive(self) -> tuple[str, int] | None:
        """The ARN of its dead-letter queue, and after how many receives messages go there."""
        text = self.attributes.get("RedrivePolicy")
        if not text:
            return None
        policy = json.loads(text)
        return policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])

    def number(self, name: str) -> int:
        """A numeric attribute, as set or by default."""
        return int(self.attributes.get(name) or DEFAULTS[name])

    def url(self, endpoint: str) -> str:
        """Its URL as a caller reaches it."""
        return f"{endpoint}/{self.account}/{self.name}"


@record("sqs.deleted")
class Deleted:
    """A queue that was deleted at that steady time, where names are kept for a while; its key is the queue's."""

    key: str
    at: float


@record("sqs.names", lasting=True)
class Names:
    """Whether names are kept for a while once their queues are deleted. There is one at most, whose key is empty."""

    key: str = ""
    kept: bool = False


def require(call: Call, tx: Tx, url: str) -> Queue:
    """The queue that a URL means. Raises InvalidAddress, QueueDoesNotExist."""
    found = tx.get(Queue, key_of_url(call, url))
    if found is None:
        raise QueueDoesNotExist()
    return found


def require_own(call: Call, tx: Tx, url: str, action: str) -> Queue:
    """The same for what only a queue's own account may do, whatever its policy says. Raises AccessDenied too.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-limitations-of-custom-policies.html
    """
    found = require(call, tx, url)
    check_own(call, found, action)
    return found


def check_own(call: Call, queue: Queue, action: str) -> None:
    """Raises AccessDenied unless it is the caller's account's."""
    if queue.account != call.account:
        raise AccessDenied(f"User: {call.principal.arn} is not authorized to perform: {action} on resource:"
                           f" {queue.arn}")


def find_by_arn(tx: Tx, arn: str) -> Queue | None:
    """The queue of an ARN, or None."""
    key = key_of_arn(arn)
    return tx.get(Queue, key) if key else None
