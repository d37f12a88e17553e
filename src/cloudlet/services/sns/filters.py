"""Filter policies: which messages a subscription wants, by their attributes or by what is in their body.

https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cloudlet.services.sns import filter_operators
from cloudlet.services.sns.filter_operators import BadFilter, Scalar, Test, scalar

KEYS_MAX, COMBINATIONS_MAX, BYTES_MAX, DEPTH_MAX = 5, 150, 256 * 1024, 64
OR = "$or"

Matches = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """A policy, ready to be asked: about attributes as `attributes_of` gives them, or about a body's object."""

    matches: Matches
    of_body: bool

    def wants(self, attributes: Mapping[str, Any], body: Any) -> bool:
        """Whether the message is wanted. `body`: what its text is as JSON, None where it is none."""
        if not self.of_body:
            return self.matches(attributes)
        return isinstance(body, dict) and self.matches(body)


@lru_cache(maxsize=4096)
def parse(text: str, scope: str) -> Filter:
    """A policy of the scope MessageAttributes or MessageBody. Raises BadFilter, in AWS's words."""
    if len(text.encode()) > BYTES_MAX:
        raise BadFilter("FilterPolicy: Filter policy is too large")
    try:
        policy = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise BadFilter("FilterPolicy: failed to parse JSON.") from None
    if not isinstance(policy, dict):
        raise BadFilter("FilterPolicy: Filter must be an object")
    if len(policy) > KEYS_MAX:
        raise BadFilter(f"FilterPolicy: Filter policy can not have more than {KEYS_MAX} keys")
    compiler = _Compiler(scope == "MessageBody")
    matches, combinations = compiler.all_of(policy, 1)
    if combinations > COMBINATIONS_MAX:
        raise BadFilter("FilterPolicy: Filter policy is too complex")
    return Filter(matches, scope == "MessageBody")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def attributes_of(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A message's attributes as a policy sees them; binary ones it does not see."""
    seen: dict[str, Any] = {}
    for name, value in attributes.items():
        kind, text = value["DataType"], value.get("StringValue", "")
        if kind == "String.Array":
            seen[name] = _array(text)
        elif kind.partition(".")[0] == "Number":
            seen[name] = float(text)
        elif kind.partition(".")[0] == "String":
            seen[name] = text
    return seen


def _array(text: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, list) else text


def body_of(text: str) -> Any:
    """A message's body as a policy sees it: None where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class _Compiler:
    """Turns a policy into a function; with each part goes the number of its combinations."""

    def __init__(self, nested: bool) -> None:
        self._nested = nested

    def all_of(self, policy: Mapping[str, Any], depth: int) -> tuple[Matches, int]:
        """Each key must match."""
        if depth > DEPTH_MAX:
            raise BadFilter("FilterPolicy: Filter policy is too complex")
        parts, combinations = [], 1
        for key, wanted in policy.items():
            if key == OR and _is_or(wanted):
                part, count = self._any_of(wanted, depth)
            elif isinstance(wanted, dict):
                part, count = self._within(key, wanted, depth)
            elif isinstance(wanted, list):
                part, count = _leaf(key, wanted), len(wanted) * depth
            else:
                raise BadFilter(f'FilterPolicy: "{key}" must be an object or an array')
            parts.append(part)
            combinations *= count
        return (lambda seen: all(part(seen) for part in parts)), combinations

    def _any_of(self, alternatives: list[dict[str, Any]], depth: int) -> tuple[Matches, int]:
        parts, combinations = [], 0
        for each in alternatives:
            part, count = self.all_of(each, depth)
            parts.append(part)
            combinations += count
        return (lambda seen: any(part(seen) for part in parts)), combinations

    def _within(self, key: str, policy: dict[str, Any], depth: int) -> tuple[Matches, int]:
        """A nested key: an object, or any one object of a list, matches as a whole."""
        if not self._nested:
            raise BadFilter("Filter policy scope MessageAttributes does not support nested filter policy")
        if not policy:
            raise BadFilter("FilterPolicy: Empty objects are not allowed")
        part, combinations = self.all_of(policy, depth + 1)
        return (lambda seen: any(part(each) for each in _objects(seen.get(key)))), combinations


def _is_or(wanted: Any) -> bool:
    """Whether `$or` is the operator, rather than a key of that name.

    https://docs.aws.amazon.com/sns/latest/dg/and-or-logic.html
    """
    return (isinstance(wanted, list) and len(wanted) > 1 and all(
        isinstance(each, dict) and each and not each.keys() & filter_operators.NAMES for each in wanted))


def _objects(value: Any) -> Iterable[Mapping[str, Any]]:
    """The objects under a key. What is not there has no members, so that `exists: false` can match within it."""
    found = [each for each in _flat(value) if isinstance(each, dict)]
    return found or ({},)


def _flat(value: Any) -> Iterator[Any]:
    """What is in a list, and in lists in it; or the value itself."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting.extend(each)
        else:
            yield each


def _leaf(key: str, wanted: list[Any]) -> Matches:
    """A key's alternatives: one must be true of one of its values."""
    if not wanted:
        raise BadFilter("FilterPolicy: Empty arrays are not allowed")
    exact: set[Scalar] = set()
    tests: list[Test] = []
    exists: set[bool] = set()
    for each in wanted:
        if isinstance(each, dict):
            name, value = filter_operators.only_one(each)
            if name == "exists":
                if not isinstance(value, bool):
                    raise BadFilter("FilterPolicy: exists match pattern must be either true or false.")
                exists.add(value)
            else:
                tests.append(filter_operators.compile_test(name, value))
        elif isinstance(each, list):
            raise BadFilter("FilterPolicy: Match value must be String, number, true, false, or null")
        else:
            exact.add(filter_operators.limited(each))

    def matches(seen: Mapping[str, Any]) -> bool:
        values = () if key not in seen else tuple(
            scalar(value) for value in _flat(seen[key]) if not isinstance(value, dict) and not _is_strange(value))
        if bool(values) in exists:
            return True
        return any(value in exact or any(test(value) for test in tests) for value in values)
    return matches


def _is_strange(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
