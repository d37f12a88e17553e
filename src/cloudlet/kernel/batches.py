"""Batches whose entries succeed or fail each by itself, as SQS and SNS answer them.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_BatchResultErrorEntry.html
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cloudlet.kernel.errors import AwsError

Entry = Mapping[str, Any]


def each(entries: Sequence[Entry], act: Callable[[Entry], Mapping[str, Any]]) -> dict[str, Any]:
    """Does it for each entry; what raises an AwsError fails alone."""
    successful, failed = [], []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **act(entry)})
        except AwsError as error:
            failed.append({"Id": entry["Id"], "SenderFault": error.sender_fault, "Code": error.code,
                           "Message": error.message})
    return {"Successful": successful, "Failed": failed}
