"""Filter patterns on JSON: `{ $.user.id = 1 && ($.status >= 500 || $.error IS TRUE) }`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/matching-terms-json-log-events.html. A comparison is about a
text or a number; where there is none, or something else, it fails, also with "!=".
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from cloudlet.services.logs.chunks import Needles
from cloudlet.services.logs.pattern_words import DEPTH_MAX, Words, comparison, invalid, strongest
from cloudlet.services.logs.selection import UNSET, Found, Step, reader, steps_of

WILDCARDS_MAX = 3  # in the selectors of one pattern, as on AWS

_SELECTOR = re.compile(r"""\s*(\$(?:\.?\[(?:\d{1,9}|\*|'[^']*'|"[^"]*")\]|\.(?:\*|[\w-]+))+)""")
_STATE = re.compile(r"\s*(?:(IS)\s+(TRUE|FALSE|NULL)|(NOT\s+EXISTS))(?=[\s)&|]|$)", re.IGNORECASE)
_WANTED = {"TRUE": True, "FALSE": False, "NULL": None}
_ESCAPED = re.compile(rb'["\\\x00-\x1f]')
_NUMERIC = frozenset(b"0123456789+-.eE")

Test = Callable[[Found], bool]


@dataclass(frozen=True, slots=True)
class Expression:
    """A test of what the selectors find, and texts of which the JSON of a document that passes contains one."""

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
        self._read = reader(list(self._selectors.values()))

    def matches(self, message: str) -> bool:
        """Whether a message is JSON and passes."""
        found = self._read(message)
        return found is not None and self._test(found)

    def extracted(self, message: str) -> dict[str, str]:
        """What the pattern's selectors find in a message, by selector."""
        found = self._read(message) or ()
        return {selector: str(value) for (selector, steps), values in zip(self._selectors.items(), found, strict=False)
                for value in (values if None in steps else (values,)) if type(value) in (str, int, float)}

    def _either(self, depth: int) -> Expression:
        options = [self._all(depth)]
        while self._words.takes("||"):
            options.append(self._all(depth))
        if len(options) == 1:
            return options[0]
        known = all(option.needles for option in options)
        return Expression(lambda found: any(option.test(found) for option in options),
                          tuple(needle for option in options for needle in option.needles) if known else ())

    def _all(self, depth: int) -> Expression:
        demands = [self._one(depth)]
        while self._words.takes("&&"):
            demands.append(self._one(depth))
        if len(demands) == 1:
            return demands[0]
        return Expression(lambda found: all(demand.test(found) for demand in demands),
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
        steps = self._selectors.setdefault(selector[1], steps_of(selector[1]))
        at, several = list(self._selectors).index(selector[1]), None in steps
        state = self._words.match(_STATE)
        if state is not None and state[3]:
            return Expression(lambda found: not found[at] if several else found[at] is UNSET, ())
        if state is not None:
            wanted = _WANTED[state[2].upper()]
            return Expression(lambda found: any(value is wanted for value in found[at]) if several
                              else found[at] is wanted, ())
        demand = comparison(self._words)
        holds = demand.holds

        def test(found: Found, at: int = at) -> bool:
            value = found[at]
            kind = type(value)
            return holds(value, None) if kind is str else (kind is int or kind is float) and holds(value, value)
        return Expression(test if not several else lambda found: any(test((value,), 0) for value in found[at]),
                          _in_json(demand.needles))


def _in_json(needles: Needles) -> Needles:
    """Texts of which JSON contains one where its value contains one of `needles`. A number may be written in many ways,
    and any character as an escape sequence, as some must be."""
    if not needles or any(_NUMERIC.issuperset(needle) for needle in needles):
        return ()
    return (*(needle for needle in needles if not _ESCAPED.search(needle)), b"\\")
