"""Reads a query's words one after another, knowing where each stands."""

import re
from typing import NoReturn

from cloudlet.services.logs.insights.syntax import Malformed

_SPACE = re.compile(r"(?:\s+|#[^\n]*)*")
_WORD = re.compile(r"[A-Za-z_@$][A-Za-z0-9_@$]*")
_PART = re.compile(r"[A-Za-z0-9_@$]+")
_NUMBER = re.compile(r"\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?(?![A-Za-z_])|\.\d{1,30}")
_PERIOD = re.compile(r"(\d{1,9})\s*([A-Za-z]+)")
_SYMBOL = re.compile(r"!=|<=|>=|=~|==|[-+*/%^=<>(),|\[\].]")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class Scanner:
    """The text and how far it is read: `at` is always at the next word. `last` is the end of the word before."""

    def __init__(self, query: str) -> None:
        self.query, self.at, self.last = query, 0, 0
        self._skip()

    def fail(self, start: int | None = None, message: str | None = None, end: int | None = None) -> NoReturn:
        """Raises Malformed at a place, here unless another is given; by default in AWS's words."""
        start = self.at if start is None else start
        if message is None:
            found = _WORD.match(self.query, start)
            symbol = found[0] if found else self.query[start:start + 1] or "<EOF>"
            line = self.query.count("\n", 0, start) + 1
            column = start - (self.query.rfind("\n", 0, start) + 1) + 1
            message = f"unexpected symbol found {symbol} at line {line} and position {column}"
            end = start + len(symbol) if start < len(self.query) else start
        raise Malformed(message, start, self.at if end is None else end)

    @property
    def ended(self) -> bool:
        """Whether there is nothing more."""
        return self.at == len(self.query)

    def peek_word(self) -> str:
        """The next word in lower case, "" where something else comes."""
        found = _WORD.match(self.query, self.at)
        return found[0].lower() if found else ""

    def peek_symbol(self) -> str:
        """The next symbol, "" where something else comes."""
        found = _SYMBOL.match(self.query, self.at)
        return found[0] if found else ""

    def peek(self) -> str:
        """The next character."""
        return self.query[self.at:self.at + 1]

    def word(self) -> str:
        """Reads a word as it is written."""
        return self._read(_WORD)

    def part(self) -> str:
        """Reads a part of a name that stands behind a dot: it may begin with a digit."""
        return self._read(_PART)

    def take_word(self, *words: str) -> str:
        """Reads one of these words (in lower case) if it comes next; which, or ""."""
        found = self.peek_word()
        if found not in words:
            return ""
        self._move(self.at + len(found))
        return found

    def take(self, *symbols: str) -> str:
        """Reads one of these symbols if it comes next; which, or ""."""
        found = self.peek_symbol()
        if found not in symbols or not found:
            return ""
        self._move(self.at + len(found))
        return found

    def expect(self, symbol: str) -> None:
        """Reads a symbol that must come next."""
        if not self.take(symbol):
            self.fail()

    def number(self) -> int | float:
        """Reads a number."""
        found = self._read(_NUMBER)
        return int(found) if found.isdigit() else float(found)

    def period(self) -> tuple[int, str] | None:
        """Reads a number with a unit of time, e.g. `5m`, if one comes next."""
        found = _PERIOD.match(self.query, self.at)
        if found is None:
            return None
        self._move(found.end())
        return int(found[1]), found[2].lower()

    def quoted(self) -> str:
        """Reads what stands between the quotes that come next: a text, a name, or a regular expression, whose
        backslashes stay."""
        quote, start, held = self.peek(), self.at, []
        at = start + 1
        while (character := self.query[at:at + 1]) != quote:
            if not character:
                self.fail(start)
            if character == "\\" and quote != "`" and at + 1 < len(self.query):
                following = self.query[at + 1]
                if quote == "/":
                    held.append("/" if following == "/" else character + following)
                else:
                    held.append(_ESCAPES.get(following, following if following in "\\'\"`/" else "\\" + following))
                at += 1
            else:
                held.append(character)
            at += 1
        self._move(at + 1)
        return "".join(held)

    def follows(self, symbol: str) -> bool:
        """Whether a symbol stands right behind the last word, without a space."""
        return self.at == self.last and self.query.startswith(symbol, self.at)

    def _read(self, wanted: re.Pattern[str]) -> str:
        found = wanted.match(self.query, self.at)
        if found is None:
            self.fail()
        self._move(found.end())
        return found[0]

    def _move(self, to: int) -> None:
        self.at = self.last = to
        self._skip()

    def _skip(self) -> None:
        found = _SPACE.match(self.query, self.at)
        self.at = found.end() if found else self.at
