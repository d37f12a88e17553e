"""What a message may contain, how large it is, and the digests by which SDKs verify it.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
"""

import hashlib
import re
import struct
from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.errors import AwsError
from cloudlet.services.sqs.service import InvalidMessageContents, InvalidParameterValue, invalid

ATTRIBUTES_MAX = 10
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL = bytes({*range(0x20)} - {*b"\t\n\r"})
_ALLOWED = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
_NAME = re.compile(r"[\w\-.]{1,256}")  # letters of any alphabet
_TYPE = re.compile(r"(String|Number|Binary)(\..+)?")
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*")

Attributes = Mapping[str, Mapping[str, Any]]  # name → DataType and StringValue or BinaryValue


def check_text(text: str, where: str, error: type[AwsError] = InvalidMessageContents) -> None:
    """Raises the error for a character that XML cannot carry."""
    if text.isascii() and len(text.encode().translate(None, _CONTROL)) == len(text):
        return  # found out several times sooner than by the pattern
    found = _FORBIDDEN.search(text)
    if found:
        raise error(f"Invalid binary character '#x{ord(found[0]):x}' was found in {where}, the set of allowed"
                    f" characters is {_ALLOWED}")


def size_of(body: str, attributes: Attributes) -> int:
    """Bytes of a message: its body, and its attributes' names, types and values."""
    size = len(body) if body.isascii() else len(body.encode())
    for name, value in attributes.items():
        data = value.get("BinaryValue")
        size += (len(name.encode()) + len(value["DataType"].encode())
                 + (len(data) if data is not None else len(value.get("StringValue", "").encode())))
    return size


def check_attributes(attributes: Attributes) -> None:
    """Raises InvalidParameterValue for an attribute that AWS does not take."""
    if len(attributes) > ATTRIBUTES_MAX:
        raise InvalidParameterValue(f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum "
                                    f"[{ATTRIBUTES_MAX}].")
    for name, value in attributes.items():
        _check_name(name)
        _check_value(name, value)


def _check_name(name: str) -> None:
    if not name:
        raise InvalidParameterValue("The message attribute name '' is invalid. It must not be empty.")
    lower = name.lower()
    if lower.startswith(("aws.", "amazon.")):
        raise InvalidParameterValue(f"Message (user) attribute name '{name}' can not start with 'AWS.' or 'Amazon.'.")
    if not _NAME.fullmatch(name):
        raise InvalidParameterValue(
            f"The message attribute name '{name[:256]}' is invalid. Attribute name can contain A-Z, a-z, 0-9,"
            " underscore (_), hyphen (-), and period (.) characters, and must be at most 256 characters long.")
    if name.startswith(".") or name.endswith(".") or ".." in name:
        raise InvalidParameterValue(f"The message attribute name '{name}' can not start or end with a '.' character,"
                                    " and can not have successive '.' characters.")


def _check_value(name: str, value: Mapping[str, Any]) -> None:
    kind = value.get("DataType") or ""
    if not kind:
        raise InvalidParameterValue(f"The message attribute '{name}' must contain a non-empty message attribute type.")
    if not _TYPE.fullmatch(kind) or len(kind) > 256:
        raise InvalidParameterValue(f"The message attribute '{name}' has an invalid message attribute type, the set of"
                                    " supported type prefixes is Binary, Number, and String.")
    binary = kind.startswith("Binary")
    wanted, other = ("BinaryValue", "StringValue") if binary else ("StringValue", "BinaryValue")
    if not value.get(wanted):
        raise InvalidParameterValue(f"Message (user) attribute '{name}' must contain a non-empty value of type"
                                    f" '{kind.partition('.')[0]}'.")
    if other in value or value.get("StringListValues") or value.get("BinaryListValues"):
        raise InvalidParameterValue(f"Message attribute '{name}' has multiple values.")
    if not binary:
        check_text(value["StringValue"], f"the message attribute '{name}' value", InvalidParameterValue)
    if kind.startswith("Number") and not _NUMBER.fullmatch(value["StringValue"]):
        raise InvalidParameterValue(f"Can't cast the value of message (user) attribute '{name}' to a number.")


def check_system_attributes(attributes: Attributes) -> None:
    """Raises InvalidParameterValue for anything but a trace header."""
    for name, value in attributes.items():
        if name != "AWSTraceHeader":
            raise InvalidParameterValue(f"Message system attribute name '{name}' is invalid. The set of supported"
                                        " message system attribute names is [AWSTraceHeader].")
        if value.get("DataType") != "String":
            raise InvalidParameterValue(f"The message system attribute '{name}' has an invalid message system attribute"
                                        " type, the set of supported message system attribute types is [String].")
        _check_value(name, value)


def check_token(name: str, value: str) -> None:
    """Raises for a group's or a deduplication id of other than 1 to 128 printable characters."""
    if not 1 <= len(value) <= 128 or not all("!" <= char <= "~" for char in value):
        raise invalid(name, value, f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in"
                                   " length")


def md5_of(text: str) -> str:
    """The MD5 of a body, in hex."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Attributes) -> str:
    """The MD5 of attributes in the encoding that SDKs use too.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        data = value.get("BinaryValue")
        for text in (name.encode(), value["DataType"].encode()):
            digest.update(struct.pack(">I", len(text)) + text)
        digest.update(b"\x01" if data is None else b"\x02")
        payload = value["StringValue"].encode() if data is None else data
        digest.update(struct.pack(">I", len(payload)) + payload)
    return digest.hexdigest()
