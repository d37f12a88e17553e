"""POST policies: what the owner of a bucket lets a browser's form say.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cloudlet.kernel.errors import declare
from cloudlet.wire.scalars import Malformed, time_of_iso

AccessDenied = declare("AccessDenied", status=403)
InvalidPolicyDocument = declare("InvalidPolicyDocument")

_UNASKED = {"policy", "x-amz-signature", "signature", "awsaccesskeyid", "file"}  # fields that need no condition
_RANGE = "content-length-range"
_DIGITS = re.compile(r"[0-9]{1,18}")
_DOLLAR = re.compile(r"(?<!\\)((?:\\\\)*)\\\$")  # `\\$`, which JSON does not know and AWS takes for a dollar sign


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many bytes the file of a form may have."""

    least: int = 0
    most: int | None = None


def check(policy: str, fields: Mapping[str, str], now: float) -> Sizes:
    """What a policy (in base64) lets the file's size be; `fields` by lower-case names, with the bucket among them.

    Raises InvalidPolicyDocument, or AccessDenied where it has expired, is not met, or does not know a field.
    """
    document = _document(policy)
    if now > _expiration(document):
        raise AccessDenied("Invalid according to Policy: Policy expired.")
    conditions = document.get("conditions")
    if conditions is None:
        raise _invalid("Policy missing conditions.")
    if not isinstance(conditions, list):
        raise _invalid("Invalid 'conditions' value: must be a List.")
    for name in document.keys() - {"expiration", "conditions"}:
        raise _invalid(f"Unexpected: '{name[:64]}'.")
    asked, sizes = set(), Sizes()
    for operator, name, value in [test for condition in conditions for test in _tests(condition)]:
        if operator == _RANGE:
            sizes = _narrowed(sizes, name, value)
            continue
        asked.add(name.lower())
        if not _holds(operator, name.lower(), fields.get(name.lower(), ""), value):
            raise _failed(operator, f"${name}", value)
    for name in fields:
        if name not in asked and name not in _UNASKED and not name.startswith("x-ignore-"):
            raise AccessDenied(f"Invalid according to Policy: Extra input fields: {name}")
    return sizes


def _failed(*condition: Any) -> Exception:
    said = json.dumps(condition, ensure_ascii=False)
    return AccessDenied(f"Invalid according to Policy: Policy Condition failed: {said}")


def _invalid(why: str) -> Exception:
    return InvalidPolicyDocument(f"Invalid Policy: {why}")


def _document(policy: str) -> dict[str, Any]:
    try:
        text = base64.b64decode("".join(policy.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _invalid("Invalid Base64 encoding.") from None
    try:
        document = msgspec.json.decode(_DOLLAR.sub(r"\1$", text))
    except (msgspec.DecodeError, RecursionError):
        raise _invalid("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON.")
    return document


def _expiration(document: dict[str, Any]) -> float:
    said = document.get("expiration")
    if said is None:
        raise _invalid("Policy missing expiration.")
    try:
        return time_of_iso(said) if isinstance(said, str) and "T" in said else _no_time()
    except Malformed:
        raise _invalid(f"Invalid 'expiration' value: '{str(said)[:64]}'") from None


def _no_time() -> float:
    raise Malformed


def _tests(condition: Any) -> list[tuple[str, Any, Any]]:
    """A condition as operator, field and value; one in braces may name only one field."""
    if isinstance(condition, dict):
        if len(condition) != 1:
            raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
        name, value = next(iter(condition.items()))
        if not isinstance(value, str):
            raise _invalid("Invalid Simple-Condition: value must be a string.")
        return [("eq", name, value)]
    if not isinstance(condition, list):
        raise _invalid("Invalid condition test: must be a List or Object.")
    if not condition or not isinstance(condition[0], str):
        raise _invalid("Invalid Condition: missing operation identifier.")
    operator = condition[0].lower()
    if operator not in ("eq", "starts-with", _RANGE):
        raise _invalid(f"Invalid Condition: unknown operation '{operator[:64]}'.")
    if len(condition) != 3:
        raise _invalid(f"Invalid {operator}: wrong number of arguments.")
    name, value = condition[1:]
    if operator == _RANGE:
        if any(isinstance(each, str) and not _DIGITS.fullmatch(each) for each in (name, value)):
            raise _failed(operator, name, value)
        return [(operator, _size(name), _size(value))]
    if not (isinstance(name, str) and isinstance(value, str)):
        raise _invalid(f"Invalid {operator}: arguments must be a field as $name and a string.")
    if not name.startswith("$"):  # there is no such field
        raise _failed(operator, name, value)
    return [(operator, name[1:], value)]


def _size(value: Any) -> int:
    if isinstance(value, str):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _invalid(f"Invalid {_RANGE}: arguments must be numbers of bytes.")
    return value


def _narrowed(sizes: Sizes, least: int, most: int) -> Sizes:
    return Sizes(max(sizes.least, least), most if sizes.most is None else min(sizes.most, most))


def _holds(operator: str, name: str, actual: str, value: str) -> bool:
    if operator == "eq":
        return actual == value
    parts = actual.split(",") if name == "content-type" else [actual]  # a list of types: each must fit
    return all(part.strip().startswith(value) for part in parts)
