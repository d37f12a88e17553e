"""What JSON and space-delimited filter patterns have in common: their words, and comparing a value with one of them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.regex import Unusable
from cloudlet.services.logs.chunks import Needles
from cloudlet.services.logs.pattern_regex import Regex
from cloudlet.services.logs.service import InvalidParameter

REGEXES_MAX = 2  # in one pattern, as on AWS
DEPTH_MAX = 30  # of parentheses

_WORD = re.compile(r'\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<regex>%[^%]*%)'
                   r'|(?P<sign>&&|\|\||!=|=!|>=|<=|[=<>(),])|(?P<plain>[^\s"%&|=<>(),!]+))', re.DOTALL)
_PLAIN = re.compile(r"[\w.*+\-/]+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")

Number = int | float
Holds = Callable[[str | Number, Number | None], bool]  # of what `str` makes a value's text of; the number it is


def invalid(term: str = "") -> AwsError:
    """AWS's words for a pattern that cannot be read."""
    return InvalidParameter(f"Invalid character(s) in term '{term}'" if term else "Invalid filter pattern")


def check_plain(text: str) -> None:
    """Raises InvalidParameter where a word must be quoted."""
    if not _PLAIN.fullmatch(text):
        raise invalid(re.sub(_PLAIN, "", text)[:1])


def number(text: str) -> Number | None:
    """What a text says as a number."""
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def regex(source: str) -> Regex:
    """The expression between two "%". Raises InvalidParameter."""
    try:
        return Regex(source.strip("%"))
    except Unusable:
        raise invalid(source) from None


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a pattern: its kind (quoted, regex, sign, plain) and its text, as written."""

    kind: str
    text: str


class Words:
    """A pattern's words, one after the other."""

    def __init__(self, source: str) -> None:
        self._source, self._at, self._regexes = source, 0, 0

    def peek(self) -> Word | None:
        """The next word, or None at the end. Raises InvalidParameter."""
        found = _WORD.match(self._source, self._at)
        if found is not None:
            return Word(str(found.lastgroup), found[str(found.lastgroup)])
        rest = self._source[self._at:].strip()
        if rest:
            raise invalid(rest[:1])
        return None

    def take(self) -> Word:
        """The next word; raises InvalidParameter at the end."""
        word = self.peek()
        if word is None:
            raise invalid()
        found = _WORD.match(self._source, self._at)
        self._at = found.end() if found else self._at
        if word.kind == "regex":
            self._regexes += 1
            if self._regexes > REGEXES_MAX:
                raise InvalidParameter(f"A filter pattern may contain at most {REGEXES_MAX} regular expressions.")
        return word

    def match(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        """What an expression finds here, after space."""
        found = expression.match(self._source, self._at)
        self._at = found.end() if found else self._at
        return found

    def takes(self, *signs: str) -> str | None:
        """Takes the next word if it is one of the signs."""
        word = self.peek()
        if word is None or word.kind != "sign" or word.text not in signs:
            return None
        return self.take().text

    def end(self) -> None:
        """Raises InvalidParameter unless nothing is left."""
        word = self.peek()
        if word is not None:
            raise invalid(word.text)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A test of a value, and texts of which a value that passes contains one (none: nothing is known)."""

    holds: Holds
    needles: Needles


def comparison(words: Words) -> Comparison:
    """The sign and the word that come next: what they demand of a value. Raises InvalidParameter."""
    sign = words.takes("=", "!=", "=!", ">", ">=", "<", "<=")
    if sign is None:
        word = words.peek()
        raise invalid(word.text if word else "")
    word = words.take()
    if word.kind == "sign":
        raise invalid(word.text)
    if sign in ("=", "!=", "=!"):
        return _equality(word, sign == "=")
    limit = number(word.text) if word.kind == "plain" else None
    if limit is None:
        raise invalid(word.text)
    return Comparison(_ordering(sign, limit), ())


def _ordering(sign: str, limit: Number) -> Holds:
    orders: dict[str, Holds] = {
        ">": lambda text, value: value is not None and value > limit,
        ">=": lambda text, value: value is not None and value >= limit,
        "<": lambda text, value: value is not None and value < limit,
        "<=": lambda text, value: value is not None and value <= limit}
    return orders[sign]


def _equality(word: Word, equal: bool) -> Comparison:
    if word.kind == "regex":
        found = regex(word.text)
        return Comparison(lambda text, value: found.search(str(text)) == equal, found.needles if equal else ())
    if word.kind == "quoted":
        text, same = re.sub(r"\\(.)", r"\1", word.text[1:-1], flags=re.DOTALL), None
    else:
        check_plain(word.text)
        text, same = word.text, number(word.text)
    core, like = _wildcard(text)

    def holds(text: str | Number, value: Number | None) -> bool:
        return (value == same if same is not None and value is not None else like(str(text))) == equal
    return Comparison(holds, (core.encode(),) if equal and core and same is None else ())


def _wildcard(text: str) -> tuple[str, Callable[[str], bool]]:
    """A text in which "*" at either end stands for anything (elsewhere it is a star): its core, and what it matches."""
    if text.strip("*") == "" and text:
        return "", lambda value: True
    core, before, after = text.strip("*"), text.startswith("*"), text.endswith("*")
    if before and after:
        return core, lambda value: core in value
    if before:
        return core, lambda value: value.endswith(core)
    if after:
        return core, lambda value: value.startswith(core)
    return core, lambda value: value == core


def strongest(every: Iterator[Needles]) -> Needles:
    """Of what each of several demands tells, what is most telling."""
    return max((needles for needles in every if needles), key=lambda needles: min(map(len, needles)), default=())
