"""A customer's regular expressions, run by RE2: in time proportional to the text, whatever the expression.

Python's own matcher backtracks, so that one expression and one text can stop everybody for hours. What RE2 cannot run
so (references back, looking around) is refused (https://github.com/google/re2/wiki/Syntax).
"""

from functools import lru_cache

import re2


class Unusable(Exception):
    """This is no regular expression, or one that is not supported; the text says why."""


class Regex:
    """A compiled expression. `names` are those of its groups that have one, in order."""

    def __init__(self, pattern: str) -> None:
        """Raises Unusable."""
        options = re2.Options()
        options.log_errors = False
        try:
            self._groups = re2.compile(pattern.encode(), options)
            options.never_capture = True
            self._found = re2.compile(pattern.encode(), options)
        except re2.error as error:
            raise Unusable(error.args[0].decode(errors="replace")) from None
        named = sorted((index, name.decode()) for name, index in self._groups.groupindex.items())
        self.names = [name for _, name in named]
        self._places = [index - 1 for index, _ in named]

    def found(self, text: str) -> bool:
        """Whether some part of the text matches."""
        return self._found.search(text.encode()) is not None

    def groups(self, text: str) -> list[str | None] | None:
        """What the named groups hold where the expression first matches; None where it does not."""
        match = self._groups.search(text.encode())
        if match is None:
            return None
        held = match.groups()
        return [None if held[at] is None else held[at].decode(errors="replace") for at in self._places]


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Regex:
    """The expression; compiled once while it is in use. Raises Unusable."""
    return Regex(pattern)
