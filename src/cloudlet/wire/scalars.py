"""Single values between text and Python: times, numbers, blobs, booleans. Times are epoch seconds as floats."""

import base64
import binascii
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import Any

from botocore.model import Shape

_TIME_MIN, _TIME_MAX = -62135596800.0, 253402300800.0  # the years 1 to 9999, which is what ISO 8601 can say
_INTEGER_MAX, _LONG_MAX = 2**31, 2**63


class Malformed(Exception):
    """A request that does not fit its protocol or its shape's types; the text is for the customer."""


class MalformedParameter(Malformed):
    """The same of a parameter in the query string or of a header, by its name and what it was."""

    def __init__(self, name: str, value: str, text: str) -> None:
        super().__init__(text)
        self.name, self.value = name, value


def epoch(value: float) -> float:
    """A number as a time. Raises Malformed outside the years 1 to 9999."""
    if not _TIME_MIN <= value < _TIME_MAX:
        raise Malformed(f"{value} is not a valid Timestamp")
    return float(value)


def time_of_iso(text: str) -> float:
    """Epoch seconds of an ISO 8601 text; without an offset it is UTC. Raises Malformed."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Malformed(f"{_short(text)} is not a valid Timestamp") from None


def time_of_rfc822(text: str) -> float:
    """Epoch seconds of an HTTP date. Raises Malformed."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError):
        raise Malformed(f"{_short(text)} is not a valid Timestamp") from None


def time_of_number(text: str) -> float:
    """Epoch seconds of a decimal number. Raises Malformed."""
    return epoch(real(text))


def iso(value: float) -> str:
    """`2026-01-02T03:04:05Z`, with milliseconds where there are any."""
    whole, milli = divmod(round(value * 1000), 1000)
    text = _to_the_second(whole)
    return f"{text}.{milli:03d}Z" if milli else text + "Z"


def iso_milliseconds(value: float) -> str:
    """`2026-01-02T03:04:05.000Z`: EC2 and S3 always say the milliseconds."""
    whole, milli = divmod(round(value * 1000), 1000)
    return f"{_to_the_second(whole)}.{milli:03d}Z"


@lru_cache(maxsize=4096)  # an answer's times are often the same ones
def _to_the_second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).isoformat()[:19]


def rfc822(value: float) -> str:
    """`Fri, 02 Jan 2026 03:04:05 GMT`."""
    return _rfc822(int(value))


@lru_cache(maxsize=4096)
def _rfc822(value: int) -> str:
    return formatdate(value, usegmt=True)


def unix(value: float) -> int | float:
    """Seconds with at most milliseconds, whole where they are."""
    rounded = round(value, 3)
    return int(rounded) if rounded == int(rounded) else rounded


def unix_text(value: float) -> str:
    """The same, as text."""
    return str(unix(value))


def integer(text: str) -> int:
    """A whole number of 32 bits. Raises Malformed."""
    return _whole(text, _INTEGER_MAX, "Integer")


def long(text: str) -> int:
    """A whole number of 64 bits. Raises Malformed."""
    return _whole(text, _LONG_MAX, "Long")


def _whole(text: str, bound: int, kind: str) -> int:
    if len(text) < 10 and text.isascii() and text.isdigit():  # nearly always
        return int(text)
    digits = text[1:] if text[:1] in ("-", "+") else text
    value = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else bound
    if not -bound <= value < bound:
        raise Malformed(f"{_short(text)} is not a valid {kind}")
    return value


def real(text: str) -> float:
    """A number, or NaN, Infinity, -Infinity. Raises Malformed."""
    if text in SPECIAL:
        return SPECIAL[text]
    try:
        value = float(text) if len(text) < 400 and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Malformed(f"{_short(text)} is not a valid Double")
    return value


SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def real_text(value: float) -> str:
    """A number as XML and headers say it."""
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def boolean(text: str) -> bool:
    """`true` or `false`, in any case. Raises Malformed."""
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    raise Malformed(f"{_short(text)} is not a valid Boolean")


def blob(text: str) -> bytes:
    """Bytes of base64. Raises Malformed."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("a Blob must be base64") from None


def blob_text(value: bytes) -> str:
    """Base64 of bytes."""
    return base64.b64encode(value).decode("ascii")


def _short(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "..."


def plain_text(value: Any) -> str:
    """What needs no form: texts, and numbers that are whole."""
    return value if type(value) is str else str(value)


def timestamp_format(shape: Shape, default: str) -> str:
    """`iso8601`, `rfc822` or `unixtimestamp`: what the shape asks for, else the protocol's default."""
    given: str = shape.serialization.get("timestampFormat", default)
    return given.lower()


TIME_FROM_TEXT: dict[str, Callable[[str], float]] = {
    "iso8601": time_of_iso, "rfc822": time_of_rfc822, "unixtimestamp": time_of_number}
TIME_TO_TEXT: dict[str, Callable[[float], str]] = {"iso8601": iso, "rfc822": rfc822, "unixtimestamp": unix_text}


def from_text(shape: Shape, times: str) -> Callable[[str], Any]:
    """What turns a text (of a query, an element or a header) into the shape's value; `times` is the default format."""
    match shape.type_name:
        case "integer":
            return integer
        case "long":
            return long
        case "float" | "double":
            return real
        case "boolean":
            return boolean
        case "blob":
            return blob
        case "timestamp":
            return TIME_FROM_TEXT[timestamp_format(shape, times)]
    return str


def to_text(shape: Shape, times: str, iso_text: Callable[[float], str] = iso) -> Callable[[Any], str]:
    """The way back."""
    match shape.type_name:
        case "float" | "double":
            return real_text
        case "boolean":
            return lambda value: "true" if value else "false"
        case "blob":
            return blob_text
        case "timestamp":
            form = timestamp_format(shape, times)
            return iso_text if form == "iso8601" else TIME_TO_TEXT[form]
    return plain_text
