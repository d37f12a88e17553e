"""What may be subscribed to a topic, and to whom it belongs.

https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html
"""

import re
from urllib.parse import urlsplit

from cloudlet.services.sns.records import BYTES, Topic
from cloudlet.services.sns.service import InvalidParameter, invalid

KNOWN = ("http", "https", "email", "email-json", "sms", "sqs", "application", "lambda", "firehose")
DELIVERED = ("sqs", "http", "https", "email", "email-json", "sms")  # those that are there
LENGTH_MAX = 2048
_ADDRESS = re.compile(r"[^@\s<>\"\x00-\x1f\x7f]{1,64}@[A-Za-z0-9.-]{1,255}")
_NUMBER = re.compile(r"\+?[1-9][0-9]{4,14}")
_MARKS = re.compile(r"(?<=[0-9)])[-/. ](?=[0-9(])|[()](?=[0-9 -])")


def owner_of(account: str, topic: Topic, protocol: str, endpoint: str) -> str:
    """The account that an endpoint belongs to, "" for none: then it has to confirm. `account`: who subscribes it.
    Raises InvalidParameter."""
    if protocol not in KNOWN:
        raise invalid(f"Amazon SNS does not support this protocol string: {protocol[:64]}")
    if protocol not in DELIVERED:
        raise invalid(f"Protocol Reason: {protocol} is not available here")
    if protocol == "sqs":
        return _of_queue(topic, endpoint)
    if topic.fifo or topic.bytes_max > BYTES:
        raise invalid(f"Protocol Reason: FIFO topics, and those of messages above {BYTES} bytes, take no {protocol}")
    if protocol == "sms":
        if not is_number(endpoint):
            raise InvalidParameter(f"Invalid SMS endpoint: {endpoint[:64]}")
        return account  # which AWS does not ask either
    if protocol.startswith("email"):
        if not _ADDRESS.fullmatch(endpoint):
            raise invalid("Email address")
    else:
        _check_url(protocol, endpoint)
    return ""


def is_number(text: str) -> bool:
    """Whether it is a telephone's, with the marks that people put between its digits."""
    return _NUMBER.fullmatch(_MARKS.sub("", text)) is not None


def _of_queue(topic: Topic, endpoint: str) -> str:
    parts = endpoint.split(":")
    if len(parts) != 6 or parts[:3] != ["arn", "aws", "sqs"] or not all(parts[3:]):
        raise invalid("SQS endpoint ARN")
    if parts[5].endswith(".fifo") and not topic.fifo:
        raise invalid("Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS"
                      " topics")
    return parts[4]


def _check_url(protocol: str, endpoint: str) -> None:
    if not endpoint.startswith(f"{protocol}://"):
        raise invalid("Endpoint must match the specified protocol")
    try:
        host = urlsplit(endpoint).hostname
    except ValueError:
        host = None
    if not host or len(endpoint) > LENGTH_MAX or not endpoint.isascii() or not endpoint.isprintable():
        raise invalid("Endpoint")
