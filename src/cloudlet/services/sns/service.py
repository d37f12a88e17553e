"""SNS's declaration: the service, its errors in AWS's words, and what its operations act on.

https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html
"""

import json
from collections.abc import Container, Set
from functools import lru_cache
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Service

sns = Service("sns")

AuthorizationError = sns.error("AuthorizationErrorException")
BatchEntryIdsNotDistinct = sns.error(
    "BatchEntryIdsNotDistinctException", "Two or more batch entries in the request have the same Id.")
BatchRequestTooLong = sns.error(
    "BatchRequestTooLongException", "The length of all the messages put together is more than the limit.")
EmptyBatchRequest = sns.error("EmptyBatchRequestException", "The batch request doesn't contain any entries.")
FilterPolicyLimitExceeded = sns.error("FilterPolicyLimitExceededException")
InvalidBatchEntryId = sns.error(
    "InvalidBatchEntryIdException", "The Id of a batch entry in a batch request doesn't abide by the specification.")
InvalidParameter = sns.error("InvalidParameterException")
InvalidParameterValue = sns.error("InvalidParameterValueException")
InvalidState = sns.error("InvalidStateException")
NotFound = sns.error("NotFoundException")
ResourceNotFound = sns.error("ResourceNotFoundException", "Resource does not exist")
SubscriptionLimitExceeded = sns.error("SubscriptionLimitExceededException")
TagLimitExceeded = sns.error(
    "TagLimitExceededException", "Could not complete request: tag quota of per resource exceeded")
TooManyEntriesInBatchRequest = sns.error(
    "TooManyEntriesInBatchRequestException", "The batch request contains more entries than permissible.")


def invalid(what: str) -> InvalidParameter:  # type: ignore[valid-type]
    """The error for a parameter, in AWS's form."""
    return InvalidParameter(f"Invalid parameter: {what}")


def json_map(text: str, name: str, required: Set[str] = frozenset(),
             allowed: Container[str] | None = None) -> dict[str, Any]:
    """What an attribute of that name says in JSON: a map that has all that is required, and beside that only what is
    allowed (None: whatever it likes). Raises InvalidParameter."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and required <= content.keys() and (
            allowed is None or all(key in required or key in allowed for key in content)):
        return content
    raise invalid(f"{name}: failed to parse JSON.")


@lru_cache(maxsize=16384)
def arn_of_key(key: str) -> str:
    """The ARN of the topic or subscription that has a key."""
    account, region, *names = key.split("/")
    return f"arn:aws:sns:{region}:{account}:{':'.join(names)}"


def key_of_arn(call: Call, arn: str, parameter: str = "TopicArn") -> str:
    """The key of the topic that an ARN of the caller's region names. Raises InvalidParameter."""
    parts = arn.split(":")
    if len(parts) < 6:
        raise invalid(f"{parameter} Reason: An ARN must have at least 6 elements, not {len(parts)}")
    if len(parts) != 6 or parts[:3] != ["arn", "aws", "sns"] or parts[3] != call.region or not parts[4] or (
            not parts[5] or "/" in arn):
        raise invalid(parameter)
    return f"{parts[4]}/{parts[3]}/{parts[5]}"


def topic_arns(call: Call, request: Input) -> list[str]:
    """What an operation on a topic acts on."""
    return [arn_of_key(key_of_arn(call, request["TopicArn"]))]


def resource_arns(call: Call, request: Input) -> list[str]:
    """What an operation on a topic's tags acts on."""
    return [arn_of_key(key_of_arn(call, request["ResourceArn"], "ResourceArn"))]
