"""Values of a query: what a field holds, as a number, as a text, compared, and in order."""

import math
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

Value = Any  # None (absent), str, int, float, bool, Time, and list or dict where jsonParse made them

_NUMBER = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_PARTS = re.compile(r"\d+|\D+", re.ASCII)
_EXACT_MAX = 1 << 63  # beyond this, whole numbers are kept as floating-point ones
_encode = msgspec.json.Encoder().encode


class Time(int):
    """A moment in milliseconds since the epoch, shown as `2023-11-14 22:13:20.000`."""

    __slots__ = ()


def text(value: Value) -> str | None:
    """A value as results show it. Numbers have at most four decimals."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Time):
        return _moment(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < _EXACT_MAX:
            return str(int(value))
        return f"{value:.4f}".rstrip("0") if 0.0001 <= abs(value) < 1e15 else f"{value:.6g}"
    return _encode(value).decode()


def _moment(ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d %H:%M:%S}.{ms % 1000:03d}"
    except (ValueError, OverflowError, OSError):
        return str(int(ms))


def number(value: Value) -> int | float | None:
    """A value as a number; None where it is none."""
    kind = type(value)
    if kind is int or kind is float:
        return finite(value)
    if kind is str:
        if len(value) < 18 and value.isdecimal() and value.isascii():
            return int(value)
        if not _NUMBER.fullmatch(value):
            return None
        return finite(float(value)) if not value.lstrip("+-").isdigit() else finite(int(value))
    return int(value) if kind is Time or kind is bool else None


def finite(value: int | float) -> int | float | None:
    """A result of arithmetic, within what is kept exactly; None where it is beyond all numbers."""
    if type(value) is int:
        return value if -_EXACT_MAX < value < _EXACT_MAX else float(value)
    return value if math.isfinite(value) else None


def truth(value: Value) -> bool:
    """Whether a condition holds."""
    if isinstance(value, str):
        return value not in ("", "0", "false")
    return bool(value)


def equal(left: Value, right: Value) -> bool:
    """Two numbers, also where they are written differently, or the same text. What is absent equals nothing."""
    if left is None or right is None:
        return False
    if type(left) is str and type(right) is str and left == right:
        return True
    one, other = number(left), number(right)
    if one is not None and other is not None:
        return one == other
    return text(left) == text(right)


def less(left: Value, right: Value) -> bool:
    """By number, or by text where neither is a number; a number and a text are not in order, nor is what is absent."""
    if left is None or right is None:
        return False
    one, other = number(left), number(right)
    if one is not None and other is not None:
        return one < other
    if one is not None or other is not None:
        return False
    return str(text(left)) < str(text(right))


def sort_key(value: Value) -> tuple[Any, ...]:
    """The order of `sort`: absent, then texts in natural order (digits in them by value), then numbers.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Sort.html
    """
    if value is None:
        return (0,)
    found = number(value)
    if found is not None:
        return (2, found)
    return (1, tuple((0, len(part), part) if part[0] in "0123456789" else (1, 0, part)
                     for part in _PARTS.findall(str(text(value)))))
