"""The functions of a query that give a value for one event.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-operations-functions.html
"""

import ipaddress
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from cloudlet.services.logs.insights.syntax import Period
from cloudlet.services.logs.insights.values import Time, Value, finite, number, text

TEXT_MAX = 1 << 20  # characters that concat and replace make at most; a longer result is absent
JSON_MAX = 1 << 18  # characters that jsonParse reads
_ANY = 255
_LENGTHS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_MONTHS = {"mo": 1, "q": 3, "y": 12}
_MONDAY_MS = 4 * 86_400_000  # the first one after the epoch
PERIODIC = ("bin", "datefloor", "dateceil")
SPECIAL = {"bin": (1, 1), "datefloor": (2, 2), "dateceil": (2, 2), "now": (0, 0), "ispresent": (1, 1),
           "coalesce": (1, _ANY)}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Function:
    """How many values it takes, and what it makes of them."""

    least: int
    most: int
    apply: Callable[[Sequence[Value]], Value]


def arity(function: str) -> tuple[int, int]:
    """How many arguments a function takes, at least and at most; (0, -1) where there is no such function."""
    if function in SPECIAL:
        return SPECIAL[function]
    found = FUNCTIONS.get(function)
    return (found.least, found.most) if found else (0, -1)


def floor(ms: int | float, period: Period) -> Time | None:
    """The beginning of the period that a moment is in: counted from the epoch, weeks from a Monday; months, quarters
    and years by the calendar (UTC)."""
    months = _MONTHS.get(period.unit)
    if months is None:
        length, offset = period.amount * _LENGTHS_MS[period.unit], _MONDAY_MS if period.unit == "w" else 0
        return Time((int(ms) - offset) // length * length + offset)
    try:
        moment = datetime.fromtimestamp(ms // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    length = months * period.amount
    return _month(((moment.year - 1970) * 12 + moment.month - 1) // length * length)


def ceil(ms: int | float, period: Period) -> Time | None:
    """The end of the period that a moment is in; the moment itself where one begins there."""
    start = floor(ms, period)
    if start is None or start == ms:
        return start
    months = _MONTHS.get(period.unit)
    if months is None:
        return Time(start + period.amount * _LENGTHS_MS[period.unit])
    moment = datetime.fromtimestamp(start // 1000, UTC)
    return _month((moment.year - 1970) * 12 + moment.month - 1 + months * period.amount)


def _month(months: int) -> Time | None:
    """The beginning of a month, counted from January 1970."""
    try:
        return Time(int(datetime(1970 + months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000)
    except (ValueError, OverflowError):
        return None


def _numeric(apply: Callable[..., int | float]) -> Callable[[Sequence[Value]], Value]:
    """A function of numbers: absent where a value is none, or where it has no result."""
    def run(values: Sequence[Value]) -> Value:
        numbers = [number(value) for value in values]
        if any(each is None for each in numbers):
            return None
        try:
            return finite(apply(*numbers))
        except (ValueError, OverflowError):
            return None
    return run


def _textual(apply: Callable[..., Value]) -> Callable[[Sequence[Value]], Value]:
    """A function of texts: absent where a value is."""
    def run(values: Sequence[Value]) -> Value:
        texts = [text(value) for value in values]
        return None if any(each is None for each in texts) else apply(*texts)
    return run


def _best(choose: Callable[..., int | float]) -> Callable[[Sequence[Value]], Value]:
    def run(values: Sequence[Value]) -> Value:
        numbers = [found for value in values if (found := number(value)) is not None]
        return choose(numbers) if numbers else None
    return run


def _concat(values: Sequence[Value]) -> Value:
    joined = "".join(text(value) or "" for value in values)
    return joined if len(joined) <= TEXT_MAX else None


def _replace(value: str, what: str, by: str) -> Value:
    if not what or len(value) + value.count(what) * len(by) > TEXT_MAX:
        return value if not what else None
    return value.replace(what, by)


def _substr(values: Sequence[Value]) -> Value:
    whole, start = text(values[0]), number(values[1])
    length = number(values[2]) if len(values) > 2 else TEXT_MAX
    if whole is None or start is None or length is None or start < 0 or length < 0:
        return None
    return whole[int(start):int(start) + int(length)]


def _json_parse(value: str) -> Value:
    if len(value) > JSON_MAX:
        return None
    try:
        found = _decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _json_stringify(values: Sequence[Value]) -> Value:
    (value,) = values
    return None if value is None else _encode(int(value) if isinstance(value, Time) else value).decode()


def _in_subnet(versions: tuple[int, ...]) -> Callable[[str, str], bool]:
    def run(value: str, subnet: str) -> bool:
        try:
            network, address = ipaddress.ip_network(subnet, strict=False), ipaddress.ip_address(value)
        except ValueError:
            return False
        return address.version in versions and address in network
    return run


def _is_address(versions: tuple[int, ...]) -> Callable[[str], bool]:
    def run(value: str) -> bool:
        try:
            return ipaddress.ip_address(value).version in versions
        except ValueError:
            return False
    return run


def _from_millis(values: Sequence[Value]) -> Value:
    found = number(values[0])
    return None if found is None else Time(int(found))


def _to_millis(values: Sequence[Value]) -> Value:
    return int(values[0]) if isinstance(values[0], Time) else None


FUNCTIONS: dict[str, Function] = {
    "abs": Function(1, 1, _numeric(abs)),
    "ceil": Function(1, 1, _numeric(math.ceil)),
    "floor": Function(1, 1, _numeric(math.floor)),
    "log": Function(1, 1, _numeric(math.log)),
    "sqrt": Function(1, 1, _numeric(math.sqrt)),
    "greatest": Function(1, _ANY, _best(max)),
    "least": Function(1, _ANY, _best(min)),
    "frommillis": Function(1, 1, _from_millis),
    "tomillis": Function(1, 1, _to_millis),
    "isempty": Function(1, 1, lambda values: values[0] is None or values[0] == ""),
    "isblank": Function(1, 1, lambda values: values[0] is None or not (text(values[0]) or "").strip()),
    "concat": Function(1, _ANY, _concat),
    "ltrim": Function(1, 2, _textual(str.lstrip)),
    "rtrim": Function(1, 2, _textual(str.rstrip)),
    "trim": Function(1, 2, _textual(str.strip)),
    "strlen": Function(1, 1, _textual(len)),
    "toupper": Function(1, 1, _textual(str.upper)),
    "tolower": Function(1, 1, _textual(str.lower)),
    "substr": Function(2, 3, _substr),
    "replace": Function(3, 3, _textual(_replace)),
    "strcontains": Function(2, 2, _textual(lambda value, part: int(part in value))),
    "isvalidip": Function(1, 1, _textual(_is_address((4, 6)))),
    "isvalidipv4": Function(1, 1, _textual(_is_address((4,)))),
    "isvalidipv6": Function(1, 1, _textual(_is_address((6,)))),
    "isipinsubnet": Function(2, 2, _textual(_in_subnet((4, 6)))),
    "isipv4insubnet": Function(2, 2, _textual(_in_subnet((4,)))),
    "isipv6insubnet": Function(2, 2, _textual(_in_subnet((6,)))),
    "jsonparse": Function(1, 1, _textual(_json_parse)),
    "jsonstringify": Function(1, 1, _json_stringify),
}
