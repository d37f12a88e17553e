"""Filter patterns on JSON: `{ $.user.id = 1 && ($.status >= 500 || $.error IS TRUE) }`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/matching-terms-json-log-events.html. A comparison is about a
text or a number; where there is none, or something else, it fails, also with "!=".
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from cloudlet.services.logs.chunks import Needles
from cloudlet.services.logs.pattern_words import DEPTH_MAX, Words, comparison, invalid, strongest

WILDCARDS_MAX = 3  # in the selectors of one pattern, as on AWS

_SELECTOR = re.compile(r"""\s*(\$(?:\.?\[(?:\d{1,9}|\*|'[^']*'|"[^"]*")\]|\.(?:\*|[\w-]+))+)""")
_STEP = re.compile(r"""\[(?:(?P<index>\d+)|(?P<every>\*)|'(?P<single>[^']*)'|"(?P<double>[^"]*)")\]"""
                   r"""|\.(?:(?P<any>\*)|(?P<name>[\w-]+))""")
_STATE = re.compile(r"\s*(?:(IS)\s+(TRUE|FALSE|NULL)|(NOT\s+EXISTS))(?=[\s)&|]|$)", re.IGNORECASE)
_WANTED = {"TRUE": True, "FALSE": False, "NULL": None}
_ESCAPED = re.compile(rb'["\\\x00-\x1f]')
_NUMERIC = frozenset(b"0123456789+-.eE")

_decode = msgspec.json.Decoder().decode

Step = str | int | None  # a member, an element, or all of them
Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Expression:
    """A test of a document, and texts of which the JSON of a document that passes contains one."""

    test: Test
    needles: Needles


class JsonPattern:
    """A pattern between braces. Raises InvalidParameter where it cannot be read."""

    def __init__(self, source: str) -> None:
        if not source.endswith("}"):
            raise invalid()
        self._selectors: dict[str, list[Step]] = {}
        self._words = Words(source[1:-1])
        expression = self._either(0)
        self._words.end()
        if sum(steps.count(None) for steps in self._selectors.values()) > WILDCARDS_MAX:
            raise invalid("*")
        self._test, self.needles = expression.test, expression.needles

    def matches(self, message: str) -> bool:
        """Whether a message is JSON and passes."""
        document = _document(message)
        return document is not None and self._test(document)

    def extracted(self, message: str) -> dict[str, str]:
        """What the pattern's selectors find in a message, by selector."""
        document = _document(message)
        return {selector: str(value) for selector, steps in self._selectors.items()
                for value in _values(document, steps) if _comparable(value)}

    def _either(self, depth: int) -> Expression:
        options = [self._all(depth)]
        while self._words.takes("||"):
            options.append(self._all(depth))
        if len(options) == 1:
            return options[0]
        known = all(option.needles for option in options)
        return Expression(lambda document: any(option.test(document) for option in options),
                          tuple(needle for option in options for needle in option.needles) if known else ())

    def _all(self, depth: int) -> Expression:
        demands = [self._one(depth)]
        while self._words.takes("&&"):
            demands.append(self._one(depth))
        if len(demands) == 1:
            return demands[0]
        return Expression(lambda document: all(demand.test(document) for demand in demands),
                          strongest(demand.needles for demand in demands))

    def _one(self, depth: int) -> Expression:
        if depth > DEPTH_MAX:
            raise invalid("(")
        if self._words.takes("("):
            found = self._either(depth + 1)
            if not self._words.takes(")"):
                raise invalid()
            return found
        return self._condition()

    def _condition(self) -> Expression:
        selector = self._words.match(_SELECTOR)
        if selector is None:
            word = self._words.peek()
            raise invalid(word.text if word else "")
        steps = self._selectors.setdefault(selector[1], _steps(selector[1]))
        state = self._words.match(_STATE)
        if state is not None and state[3]:
            return Expression(lambda document: not _values(document, steps), ())
        if state is not None:
            wanted = _WANTED[state[2].upper()]
            return Expression(lambda document: any(value is wanted for value in _values(document, steps)), ())
        demand = comparison(self._words)
        holds = demand.holds

        def passes(value: Any) -> bool:
            return holds(value, None) if isinstance(value, str) else _comparable(value) and holds(str(value), value)

        def test(document: Any) -> bool:
            return any(map(passes, _values(document, steps)))
        return Expression(test, _in_json(demand.needles))


def _in_json(needles: Needles) -> Needles:
    """Texts of which JSON contains one where its value contains one of `needles`. A number may be written in many ways,
    and any character as an escape sequence, as some must be."""
    if not needles or any(_NUMERIC.issuperset(needle) for needle in needles):
        return ()
    return (*(needle for needle in needles if not _ESCAPED.search(needle)), b"\\")


def _document(message: str) -> Any:
    """The object or array that a message is; None where it is none."""
    if message.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return _decode(message)
    except (ValueError, RecursionError):
        return None


def _steps(selector: str) -> list[Step]:
    found: list[Step] = []
    for step in _STEP.finditer(selector):
        kind, said = step.lastgroup, step[str(step.lastgroup)]
        found.append(int(said) if kind == "index" else None if kind in ("every", "any") else said)
    return found


def _values(document: Any, steps: list[Step]) -> Iterable[Any]:
    """What stands where the steps lead."""
    for at, step in enumerate(steps):
        if step is None:
            inside = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
            return [value for each in inside for value in _values(each, steps[at + 1:])]
        if isinstance(step, str):
            if not isinstance(document, dict) or step not in document:
                return ()
        elif not isinstance(document, list) or step >= len(document):
            return ()
        document = document[step]
    return (document,)


def _comparable(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
