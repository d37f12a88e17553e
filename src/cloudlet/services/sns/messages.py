"""What a message may be, and how large.

https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudlet.services.sns.records import Topic
from cloudlet.services.sns.service import InvalidParameterValue, invalid

SUBJECT_MAX, NAME_MAX = 100, 256
# Of the names that AWS has kept for itself, those by which publishers say how text messages and pushes are sent.
# https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html#sns-attrib-mobile-reserved
RESERVED = ("AWS.SNS.SMS.", "AWS.SNS.MOBILE.", "AWS.MM.SMS.")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STRANGE = re.compile(r"[^A-Za-z0-9_\-.]")  # in an attribute's name
_TYPE = re.compile(r"(String|Number|Binary)(\..+)?")
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*")
_TOKEN = re.compile(r"[!-~]{1,128}")
TRACE = re.compile(r"[!-~]{1,256}")  # https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader

Attributes = Mapping[str, Mapping[str, Any]]  # name → DataType and StringValue or BinaryValue


@dataclass(frozen=True, slots=True)
class Message:
    """A message on its way. `text` is what queues get; `group` and `token` are those of FIFO topics, "" for none,
    `trace` is a tracing header; `at`: when one was published that is `replayed`."""

    id: str
    text: str
    subject: str | None = None
    attributes: Attributes = field(default_factory=dict)
    group: str = ""
    token: str = ""
    sequence: str = ""
    trace: str = ""
    at: float | None = None
    replayed: bool = False


def size_of(entry: Mapping[str, Any]) -> int:
    """Bytes of a message: its text, and its attributes' names, types and values."""
    size = len(entry["Message"].encode())
    for name, value in (entry.get("MessageAttributes") or {}).items():
        data = value.get("BinaryValue")
        size += (len(name.encode()) + len(value["DataType"].encode())
                 + (len(data) if data is not None else len(value.get("StringValue", "").encode())))
    return size


def check(topic: Topic, entry: Mapping[str, Any]) -> None:
    """Raises InvalidParameter for a message that the topic does not take."""
    check_content(entry)
    if size_of(entry) > topic.bytes_max:
        raise invalid("Message too long")


def check_content(entry: Mapping[str, Any]) -> None:
    """Raises InvalidParameter for a message that nobody takes."""
    text, subject = entry["Message"], entry.get("Subject")
    if not text:
        raise invalid("Empty message")
    if _FORBIDDEN.search(text):
        raise invalid("Message Reason: it has a character that XML cannot carry")
    if subject is not None and (not 1 <= len(subject) <= SUBJECT_MAX or _CONTROL.search(subject)
                                or _FORBIDDEN.search(subject)):
        raise invalid("Subject")
    for name, value in (entry.get("MessageAttributes") or {}).items():
        _check_name(name)
        _check_value(name, value)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_MAX:
        raise InvalidParameterValue("Length of message attribute name must be less than 256 bytes.")
    strange = _STRANGE.search(name)
    if strange:
        raise InvalidParameterValue(f"Invalid non-alphanumeric character '#x{ord(strange[0]):X}' was found in the"
                                    " message attribute name. Can only include alphanumeric characters, hyphens,"
                                    " underscores, or dots.")
    for where, found in (("starting", name.startswith(".")), ("ending", name.endswith("."))):
        if found:
            raise InvalidParameterValue(f"Invalid message attribute name {where} with character '.' was found.")
    if ".." in name:
        raise InvalidParameterValue("Message attribute name can not have successive '.' character.")
    if name.lower().startswith(("aws.", "amazon.")) and not name.startswith(RESERVED):
        raise InvalidParameterValue(f"The message attribute name '{name}' can not start with 'AWS.' or 'Amazon.'.")


def _check_value(name: str, value: Mapping[str, Any]) -> None:
    kind = value.get("DataType") or ""
    if not kind:
        raise InvalidParameterValue(f"The message attribute '{name}' must contain non-empty message attribute type.")
    if not _TYPE.fullmatch(kind) or len(kind) > NAME_MAX:
        raise InvalidParameterValue(f"The message attribute '{name}' has an invalid message attribute type, the set of"
                                    " supported type prefixes is Binary, Number, and String.")
    wanted, other = ("BinaryValue", "StringValue") if kind.startswith("Binary") else ("StringValue", "BinaryValue")
    if value.get(other) and not value.get(wanted):
        raise InvalidParameterValue(f"The message attribute '{name}' with type '{kind.partition('.')[0]}' must use"
                                    f" field '{wanted.removesuffix('Value')}'.")
    if not value.get(wanted):
        raise InvalidParameterValue(f"The message attribute '{name}' must contain non-empty message attribute value for"
                                    f" message attribute type '{kind.partition('.')[0]}'.")
    if len(value.keys() & {"BinaryValue", "StringValue"}) > 1:
        raise InvalidParameterValue(f"The message attribute '{name}' has multiple values.")
    text = value.get("StringValue", "")
    if kind.startswith("Number") and not _NUMBER.fullmatch(text):
        raise InvalidParameterValue(f"Could not cast message attribute '{name}' value to number.")
    if _FORBIDDEN.search(text):
        raise InvalidParameterValue(f"The message attribute '{name}' has a character that XML cannot carry.")


def texts_of(entry: Mapping[str, Any], protocols: Iterable[str]) -> dict[str, str]:
    """What the subscribers of each protocol get. Raises InvalidParameter for a broken structure."""
    structure, text = entry.get("MessageStructure"), entry["Message"]
    if structure is None:
        return dict.fromkeys(protocols, text)
    if structure != "json":
        raise invalid("MessageStructure")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise invalid("Message Structure - JSON message body failed to parse") from None
    if not isinstance(content, dict) or not isinstance(content.get("default"), str):
        raise invalid("Message Structure - No default entry in JSON message body")
    own = {protocol: content.get(protocol) for protocol in protocols}
    return {protocol: text if isinstance(text, str) else content["default"] for protocol, text in own.items()}


def order(topic: Topic, entry: Mapping[str, Any]) -> tuple[str, str]:
    """A message's group and deduplication id, "" for none. Raises InvalidParameter."""
    group, token = entry.get("MessageGroupId"), entry.get("MessageDeduplicationId")
    for name, value in (("MessageGroupId", group), ("MessageDeduplicationId", token)):
        if value is not None and not _TOKEN.fullmatch(value):
            raise invalid(f"{name} Reason: {name} can only include alphanumeric and punctuation characters. 1 to 128"
                          " in length")
    if not topic.fifo:
        if token is not None:
            raise invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is"
                          " not valid for this topic type")
        return group or "", ""
    if group is None:
        raise invalid("The MessageGroupId parameter is required for FIFO topics")
    if token is None:
        if topic.attributes.get("ContentBasedDeduplication") != "true":
            raise invalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId"
                          " provided explicitly")
        token = hashlib.sha256(entry["Message"].encode()).hexdigest()
    return group, token
