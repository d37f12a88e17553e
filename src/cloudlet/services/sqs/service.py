"""SQS's declaration: the service, its errors in AWS's words, and what its operations act on.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
"""

import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import declare
from cloudlet.kernel.service import Input, Service

URL_MAX = 2048  # characters of a queue's URL that are looked at

sqs = Service("sqs", protocols=("query",))
NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")  # of a queue

AccessDenied = declare("AccessDenied", status=403, shape_name="AccessDeniedException")
BatchEntryIdsNotDistinct = sqs.error("BatchEntryIdsNotDistinct")
BatchRequestTooLong = sqs.error("BatchRequestTooLong")
EmptyBatchRequest = sqs.error("EmptyBatchRequest")
InvalidAddress = sqs.error("InvalidAddress")
InvalidAttributeName = sqs.error("InvalidAttributeName")
InvalidAttributeValue = sqs.error("InvalidAttributeValue")
InvalidBatchEntryId = sqs.error(
    "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can"
    " be at most 80 letters long.")
InvalidMessageContents = sqs.error("InvalidMessageContents")
InvalidParameterValue = declare("InvalidParameterValue", shape_name="InvalidParameterValueException")
MissingParameter = declare("MissingParameter", shape_name="MissingRequiredParameterException")
OverLimit = sqs.error("OverLimit")
PurgeQueueInProgress = sqs.error("PurgeQueueInProgress")
QueueDeletedRecently = sqs.error(
    "QueueDeletedRecently",
    "You must wait 60 seconds after deleting a queue before you can create another with the same name.")
QueueDoesNotExist = sqs.error("QueueDoesNotExist", "The specified queue does not exist.")
QueueNameExists = sqs.error("QueueNameExists")
ReceiptHandleIsInvalid = sqs.error("ReceiptHandleIsInvalid")
ResourceNotFound = sqs.error(
    "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.")
TooManyEntriesInBatchRequest = sqs.error("TooManyEntriesInBatchRequest")
UnsupportedOperation = sqs.error("UnsupportedOperation")


def invalid(parameter: str, value: object, reason: str) -> InvalidParameterValue:  # type: ignore[valid-type]
    """The error for one parameter's value, in AWS's sentence."""
    return InvalidParameterValue(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def key_of_url(call: Call, url: str) -> str:
    """The key of the queue that a URL means: `…/ACCOUNT/NAME`, whatever the host; or its name, which AWS takes for one
    of the caller's own. Raises InvalidAddress."""
    found = account_and_name(url) if len(url) <= URL_MAX else None
    if found is not None:
        return f"{found[0]}/{call.region}/{found[1]}"
    if NAME.fullmatch(url):
        return f"{call.scope}/{url}"
    raise InvalidAddress(f"The address {url[:URL_MAX]} is not valid for this endpoint.")


@lru_cache(maxsize=16384)
def account_and_name(url: str) -> tuple[str, str] | None:
    """Of what a URL means, which may be no queue."""
    parts = unquote(urlsplit(url).path).strip("/").split("/")
    if len(parts) < 2 or not (len(parts[-2]) == 12 and parts[-2].isdigit()) or not parts[-1]:
        return None
    return parts[-2], parts[-1]


def arn_of_key(key: str) -> str:
    """The ARN of the queue that has a key."""
    account, region, name = key.split("/", 2)
    return f"arn:aws:sqs:{region}:{account}:{name}"


@lru_cache(maxsize=16384)
def key_of_arn(arn: str) -> str | None:
    """The key of the queue that an ARN names; None where it can name none."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "sqs" or not all(parts[3:]):
        return None
    return f"{parts[4]}/{parts[3]}/{parts[5]}"


def queue_arns(call: Call, request: Input) -> list[str]:
    """What an operation on a queue acts on."""
    return [arn_of_key(key_of_url(call, request["QueueUrl"]))]


def named_arns(call: Call, request: Input) -> list[str]:
    """What an operation on a queue's name acts on."""
    account = request.get("QueueOwnerAWSAccountId") or call.account
    return [f"arn:aws:sqs:{call.region}:{account}:{request['QueueName']}"]
