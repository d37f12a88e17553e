"""The Condition element: operators, set operators and keys that are absent.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html,
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

import base64
import binascii
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from cloudlet.kernel.policy_match import Keys, Matcher, arn_like, expand, glob_one, has_variables, plain

Holds = Callable[[Keys], bool]
Number = Callable[[str], float | None]

_ANY, _ALL, _IF_EXISTS = "ForAnyValue:", "ForAllValues:", "IfExists"


def number(text: str) -> float | None:
    """A number as the Numeric operators read it, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def moment(text: str) -> float | None:
    """A time as the Date operators read it, in epoch seconds: ISO 8601, or epoch seconds; else None."""
    if (seconds := number(text)) is not None:
        return seconds
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _ip(pattern: str) -> Matcher:
    network = _network(pattern)

    def matches(text: str) -> bool:
        try:
            return network is not None and ip_address(text) in network
        except ValueError:
            return False
    return matches


def _binary(pattern: str) -> Matcher:
    def decoded(text: str) -> bytes | None:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None
    wanted = decoded(pattern)
    return lambda text: wanted is not None and decoded(text) == wanted


def _ordered(read: Number, compare: Callable[[float, float], bool]) -> Callable[[str], Matcher]:
    def make(pattern: str) -> Matcher:
        wanted = read(pattern)

        def matches(text: str) -> bool:
            given = read(text)
            return wanted is not None and given is not None and compare(given, wanted)
        return matches
    return make


def _equal(pattern: str) -> Matcher:
    return plain(pattern).__eq__


def _equal_in_any_case(pattern: str) -> Matcher:
    wanted = plain(pattern).casefold()
    return lambda text: text.casefold() == wanted


_MAKERS: dict[str, Callable[[str], Matcher]] = {
    "StringEquals": _equal, "StringEqualsIgnoreCase": _equal_in_any_case, "StringLike": glob_one,
    "ArnEquals": arn_like, "ArnLike": arn_like,  # the two do the same
    "Bool": _equal_in_any_case, "BinaryEquals": _binary, "IpAddress": _ip,
    **{f"{kind}{test}": _ordered(read, compare)
       for kind, read in (("Numeric", number), ("Date", moment))
       for test, compare in (("Equals", operator.eq), ("LessThan", operator.lt), ("LessThanEquals", operator.le),
                             ("GreaterThan", operator.gt), ("GreaterThanEquals", operator.ge))},
}
_NEGATED = {
    "StringNotEquals": "StringEquals", "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike", "ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike", "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals", "DateNotEquals": "DateEquals"}
OPERATORS = frozenset({*_MAKERS, *_NEGATED, "Null"})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The values of one key under one operator: matchers that are ready, and texts whose variables are still open."""

    ready: tuple[Matcher, ...]
    open: tuple[str, ...]
    make: Callable[[str], Matcher]

    def now(self, keys: Keys) -> tuple[list[Matcher], bool]:
        """The matchers for one request, and whether every variable had a value."""
        expanded = [expand(text, keys) for text in self.open]
        return [*self.ready, *(self.make(text) for text in expanded if text is not None)], None not in expanded


def compile_conditions(element: Mapping[str, Mapping[str, Any]], *, variables: bool, deny: bool) -> tuple[Holds, ...]:
    """What must all hold for a statement to count. `variables`: the document's version has them; `deny`: the
    statement denies, so that a doubt is decided the other way."""
    return tuple(_compile(name, key.lower(), texts(values), variables, deny)
                 for name, keys in element.items() for key, values in keys.items())


def texts(values: Any) -> tuple[str, ...]:
    """Condition values as text: JSON's numbers and booleans may stand for it."""
    listed: Iterable[Any] = values if isinstance(values, list) else [values]
    return tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in listed)


def _compile(name: str, key: str, values: tuple[str, ...], variables: bool, deny: bool) -> Holds:
    quantifier = next((prefix for prefix in (_ANY, _ALL) if name.startswith(prefix)), "")
    if_exists = name.endswith(_IF_EXISTS)
    base = name.removeprefix(quantifier).removesuffix(_IF_EXISTS)
    if base == "Null":
        absent = {value.lower() for value in values}
        return lambda keys: ("true" if not keys(key) else "false") in absent
    negated = base in _NEGATED
    make = _MAKERS[_NEGATED.get(base, base)]
    takes_variables = variables and base.startswith(("String", "Arn"))
    wanted = _Wanted(tuple(make(value) for value in values if not (takes_variables and has_variables(value))),
                     tuple(value for value in values if takes_variables and has_variables(value)), make)

    def holds(keys: Keys) -> bool:
        given = keys(key)
        if not given:
            return if_exists or (quantifier == _ALL if quantifier else negated)
        matchers, resolved = wanted.now(keys)
        if negated and not resolved and not deny:
            return False  # "is not what nobody knows" is no reason to allow anything
        found = [any(matches(value) for matches in matchers) != negated for value in given]
        return all(found) if quantifier == _ALL or (negated and not quantifier) else any(found)
    return holds
