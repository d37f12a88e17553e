"""What makes a whole batch invalid, whatever its entries are.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
"""

import re
from collections.abc import Sequence

from cloudlet.kernel.batches import Entry
from cloudlet.services.sqs.service import (
    BatchEntryIdsNotDistinct,
    EmptyBatchRequest,
    InvalidBatchEntryId,
    TooManyEntriesInBatchRequest,
)

ENTRIES_MAX = 10
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def check(entries: Sequence[Entry], kind: str) -> None:
    """Raises what refuses a whole batch. `kind` names its entries."""
    if not entries:
        raise EmptyBatchRequest(f"There should be at least one {kind} in the request.")
    if len(entries) > ENTRIES_MAX:
        raise TooManyEntriesInBatchRequest(
            f"Maximum number of entries per request are {ENTRIES_MAX}. You have sent {len(entries)}.")
    seen: set[str] = set()
    for entry in entries:
        name = entry["Id"]
        if not _ID.fullmatch(name):
            raise InvalidBatchEntryId()
        if name in seen:
            raise BatchEntryIdsNotDistinct(f"Id {name} repeated.")
        seen.add(name)
