"""The operators of filter policies, each compiled into a question about one value.

https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
"""

import ipaddress
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

NUMBER_MAX, DIGITS = 10**9, 5  # of numbers, and after their point
WILDCARDS_MAX = 3  # in one pattern
_MEMBER = "Invalid member in numeric match"
NAMES = frozenset({"anything-but", "prefix", "suffix", "equals-ignore-case", "wildcard", "numeric", "cidr", "exists"})
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, "=": operator.eq, ">": operator.gt, ">=": operator.ge}

Scalar = tuple[str, Any]  # kind and value, since in Python 1 == True
Test = Callable[[Scalar], bool]


class BadFilter(Exception):
    """A policy that AWS refuses; the text says why, in AWS's words."""


def scalar(value: Any) -> Scalar:
    """A text, number, true, false or null as it is compared. Numbers have five digits after the point."""
    if isinstance(value, str):
        return "text", value
    if value is None or isinstance(value, bool):
        return "word", value
    return "number", round(float(value), DIGITS) if abs(value) <= NUMBER_MAX else value


def limited(value: Any) -> Scalar:
    """A value of a policy. Raises BadFilter for a number out of range."""
    found = scalar(value)
    if found[0] == "number" and not -NUMBER_MAX <= found[1] <= NUMBER_MAX:
        raise BadFilter(f"FilterPolicy: Match value must be between {-NUMBER_MAX} and {NUMBER_MAX}")
    return found


def only_one(expression: Mapping[str, Any]) -> tuple[str, Any]:
    """The operator and its value."""
    if not expression:
        raise BadFilter("FilterPolicy: Empty objects are not allowed")
    if len(expression) > 1:
        raise BadFilter("FilterPolicy: Only one key allowed in match expression")
    ((name, value),) = expression.items()
    if name not in NAMES:
        raise BadFilter(f"FilterPolicy: Unrecognized match type {name}")
    return name, value


def compile_test(name: str, value: Any) -> Test:
    """The question of any operator but `exists`. Raises BadFilter."""
    if name == "numeric":
        return _numeric(value)
    if name == "anything-but":
        return _anything_but(value)
    if not isinstance(value, str):
        raise BadFilter(f"FilterPolicy: {name} match pattern must be a string")
    if name == "cidr":
        return _cidr(value)
    return _of_text(name, value)


def _of_text(name: str, wanted: str) -> Test:
    if name == "prefix":
        return lambda seen: seen[0] == "text" and seen[1].startswith(wanted)
    if name == "suffix":
        return lambda seen: seen[0] == "text" and seen[1].endswith(wanted)
    if name == "wildcard":
        return _wildcard(wanted)
    lower = wanted.lower()
    return lambda seen: seen[0] == "text" and seen[1].lower() == lower


def _wildcard(pattern: str) -> Test:
    """`*` is any text; `\\*` and `\\\\` are the characters. Its cost is linear: the pieces are looked for in turn."""
    pieces, piece, at = [], "", 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            if pattern[at + 1:at + 2] not in ("*", "\\"):
                raise BadFilter("FilterPolicy: Invalid escape character in wildcard match pattern")
            at += 1
            piece += pattern[at]
        elif char == "*":
            if pattern[at + 1:at + 2] == "*":
                raise BadFilter("FilterPolicy: Consecutive wildcard characters are not allowed")
            pieces.append(piece)
            piece = ""
        else:
            piece += char
        at += 1
    pieces.append(piece)
    if len(pieces) - 1 > WILDCARDS_MAX:
        raise BadFilter(f"FilterPolicy: A single pattern must not contain more than {WILDCARDS_MAX} wildcards")
    first, *middle = pieces
    if not middle:
        return lambda seen: seen == ("text", first)
    last = middle.pop()

    def test(seen: Scalar) -> bool:
        kind, text = seen
        if kind != "text" or len(text) < len(first) + len(last) or not (
                text.startswith(first) and text.endswith(last)):
            return False
        place, end = len(first), len(text) - len(last)
        for part in middle:
            place = text.find(part, place, end)
            if place < 0:
                return False
            place += len(part)
        return True
    return test


def _cidr(block: str) -> Test:
    if block.count("/") != 1:
        raise BadFilter("FilterPolicy: Malformed CIDR, one '/' required")
    try:
        network = ipaddress.ip_network(block, strict=False)
    except ValueError:
        raise BadFilter("FilterPolicy: Malformed CIDR, mask bits must be an integer"
                        if re.fullmatch(r".*/\D*", block) else "FilterPolicy: Malformed CIDR") from None

    def test(seen: Scalar) -> bool:
        if seen[0] != "text":
            return False
        try:
            return ipaddress.ip_address(seen[1]) in network
        except ValueError:
            return False
    return test


def _numeric(expression: Any) -> Test:
    """`["=", n]`, or one bound, or a lower and an upper one."""
    if not isinstance(expression, list):
        raise BadFilter("FilterPolicy: Value of numeric must be an array.")
    bounds: list[tuple[str, float]] = []
    for at in range(0, max(len(expression), 1), 2):
        name = expression[at] if expression else "]"
        if len(bounds) > 1:
            raise BadFilter("FilterPolicy: Too many terms in numeric range expression")
        if bounds and bounds[0][0] not in (">", ">="):
            raise BadFilter("FilterPolicy: Too many elements in numeric expression")
        if not isinstance(name, str) or name == "]":
            raise BadFilter(f"FilterPolicy: {'Bad value in numeric range' if bounds else _MEMBER}: {name}")
        if bounds and name not in ("<", "<="):
            raise BadFilter(f"FilterPolicy: Bad numeric range operator: {name}")
        if name not in _COMPARE:
            raise BadFilter(f"FilterPolicy: Unrecognized numeric range operator: {name}")
        number = expression[at + 1] if at + 1 < len(expression) else None
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise BadFilter(f"FilterPolicy: Value of {'equals' if name == '=' else name} must be numeric")
        bounds.append((name, limited(number)[1]))
    if len(bounds) == 2 and bounds[1][1] <= bounds[0][1]:
        raise BadFilter("FilterPolicy: Bottom must be less than top")
    return lambda seen: seen[0] == "number" and all(_COMPARE[name](seen[1], number) for name, number in bounds)


def _anything_but(value: Any) -> Test:
    """Anything but these texts or numbers, or what another operator finds."""
    if isinstance(value, dict):
        name, wanted = only_one(value)
        if name not in ("prefix", "suffix", "wildcard", "equals-ignore-case"):
            raise BadFilter(f"FilterPolicy: Unsupported anything-but pattern: {name}")
        texts = wanted if isinstance(wanted, list) else [wanted]
        if not texts:
            raise BadFilter("FilterPolicy: Empty arrays are not allowed")
        tests = [compile_test(name, text) for text in texts]
        return lambda seen: not any(test(seen) for test in tests)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise BadFilter("FilterPolicy: Empty arrays are not allowed")
    if any(each is None or isinstance(each, bool | list | dict) for each in values):
        raise BadFilter("FilterPolicy: Inside anything but list, start|null|boolean is not supported.")
    spared = {limited(each) for each in values}
    return lambda seen: seen not in spared
