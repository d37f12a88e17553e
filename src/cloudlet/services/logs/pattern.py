"""Filter patterns: terms (`ERROR -debug`, `?warn ?"not found"`, `%ab+c%`), or one on JSON or on space-delimited fields.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cloudlet.services.logs.chunks import Needles
from cloudlet.services.logs.pattern_fields import FieldsPattern
from cloudlet.services.logs.pattern_json import JsonPattern
from cloudlet.services.logs.pattern_regex import Regex
from cloudlet.services.logs.pattern_words import check_plain, invalid, regex, strongest

COSTLY = 8  # times as long as looking for a text, roughly: what must read each message for itself

_TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|(%[^%]*%)|([^\s"]+))(?=\s|$)', re.DOTALL)


def _nothing(message: str) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is wanted of a message. `needles`: a message that matches contains one of these texts (none: nothing is
    known); `extracted` finds the fields that the pattern names, if it `names` some, in a message that matches; `cost`
    is how much a message takes, in the time that looking for a text takes."""

    matches: Callable[[str], bool]
    needles: Needles = ()
    extracted: Callable[[str], dict[str, str]] = _nothing
    cost: int = 1
    names: bool = False


@lru_cache(maxsize=64)  # a client that goes through pages sends it with each
def compiled(text: str) -> Pattern | None:
    """What a pattern wants of a message; None where it wants them all. Raises InvalidParameter."""
    text = text.strip()
    if text.startswith("{"):
        document = JsonPattern(text)
        return Pattern(document.matches, document.needles, document.extracted, COSTLY, True)
    if text.startswith("["):
        fields = FieldsPattern(text)
        return Pattern(fields.matches, fields.needles, fields.extracted, COSTLY, True)
    return _terms(text)


def _terms(text: str) -> Pattern | None:
    """A message must contain every plain term, none of those after "-", and, where the pattern has nothing but terms
    after "?", at least one of these; beside other terms AWS ignores those after "?". Case counts."""
    terms: dict[str, list[str | Regex]] = {"": [], "-": [], "?": []}
    place = 0
    while place < len(text):
        found = _TERM.match(text, place)
        if found is None:
            raise invalid()
        sign, quoted, expression, plain = found.groups()
        if plain is not None:
            check_plain(plain)
        terms[sign].append(regex(expression) if expression else plain or re.sub(r"\\(.)", r"\1", quoted))
        place = found.end()
    every, never, some = terms[""], terms["-"], terms["?"]
    cost = COSTLY if any(isinstance(term, Regex) for term in (*every, *never, *some)) else 1
    if len(every) == 1 and not never:
        return Pattern(_contains(every[0]), _needles(every[0]), cost=cost)
    if every or never:
        wanted, unwanted = [_contains(term) for term in every], [_contains(term) for term in never]
        return Pattern(lambda message: all(has(message) for has in wanted)
                       and not any(has(message) for has in unwanted),
                       strongest(_needles(term) for term in every), cost=cost)
    if some:
        options, needles = [_contains(term) for term in some], [_needles(term) for term in some]
        return Pattern(lambda message: any(has(message) for has in options),
                       tuple(needle for each in needles for needle in each) if all(needles) else (), cost=cost)
    return None


def _contains(term: str | Regex) -> Callable[[str], bool]:
    return term.search if isinstance(term, Regex) else lambda message: term in message


def _needles(term: str | Regex) -> Needles:
    return term.needles if isinstance(term, Regex) else (term.encode(),) if term else ()
