"""Regular expressions of filter patterns: AWS's restricted syntax, checked here and run by RE2.

There are no groups, so an expression is a choice of rows of characters, some of which may be skipped or repeated; what
must stand in every text can be told from that.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/regex-expressions.html
"""

import re
import string

from cloudlet.kernel import regex
from cloudlet.kernel.regex import Unusable
from cloudlet.services.logs.chunks import Needles

LITERALS = frozenset(string.ascii_letters + string.digits + ":_#=@/;,-")
ESCAPABLE = frozenset(string.punctuation) - {"_"}

_COUNT = re.compile(r"\{(\d{1,4})(?:,(\d{0,4}))?\}")
_HEX = re.compile("x([0-7][0-9A-Fa-f])")


class Regex:
    """`search(text)`: whether the expression is found in a text. `needles`: one of these is in every such text."""

    def __init__(self, source: str) -> None:
        """Raises Unusable."""
        literals = [_literal(branch) for branch in _branches(source)]
        self.needles: Needles = tuple(literals) if all(literals) else ()
        self.search = regex.compiled(source).found


def _branches(source: str) -> list[str]:
    """The choices: split at each "|" that is neither escaped nor in brackets."""
    found, start, at, inside = [], 0, 0, False
    while at < len(source):
        character = source[at]
        if character == "\\":
            at += 1
        elif character == "[":
            inside = True
        elif character == "]":
            inside = False
        elif character == "|" and not inside:
            found.append(source[start:at])
            start = at + 1
        at += 1
    return [*found, source[start:]]


def _literal(source: str) -> bytes:
    """The longest text that is in whatever a choice matches. Raises Unusable."""
    best = found = ""
    at, end = int(source.startswith("^")), len(source) - _ends_with_anchor(source)
    if at >= end:
        raise Unusable(source)
    while at < end:
        character, at = _character(source, at)
        least, most, at = _count(source, at)
        found = found + character * least if character else ""
        best = max(best, found, key=len)
        if most != least:
            found = character if least else ""
    return best.encode()


def _ends_with_anchor(source: str) -> bool:
    return source.endswith("$") and (len(source) - len(source[:-1].rstrip("\\"))) % 2 == 1


def _character(source: str, at: int) -> tuple[str, int]:
    """The character that comes next, "" where it may be one of several, and where that ends."""
    character = source[at]
    if character == ".":
        return "", at + 1
    if character == "[":
        return "", _after_brackets(source, at + 1)
    if character == "\\":
        return _escaped(source, at + 1)
    if character not in LITERALS:
        raise Unusable(source)
    return character, at + 1


def _escaped(source: str, at: int) -> tuple[str, int]:
    character, code = source[at:at + 1], _HEX.match(source, at)
    if character and character in "dDwWsS":
        return "", at + 1
    if code is not None:
        return chr(int(code[1], 16)), code.end()
    if character not in ESCAPABLE:
        raise Unusable(source)
    return character, at + 1


def _after_brackets(source: str, at: int) -> int:
    """Where a class of characters ends."""
    at += source.startswith("^", at)
    first = at
    while source[at:at + 1] != "]" or at == first:
        character = source[at:at + 1]
        if character == "\\":
            _, at = _escaped(source, at + 1)
        elif not character or character in "[]" or not character.isascii():
            raise Unusable(source)
        else:
            at += 1
    return at + 1


def _count(source: str, at: int) -> tuple[int, int | None, int]:
    """How often, at least and at most (None: without end), and where the quantifier ends."""
    simple = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(source[at:at + 1])
    if simple:
        return (*simple, at + 1)
    if source[at:at + 1] != "{":
        return 1, 1, at
    found = _COUNT.match(source, at)
    if found is None:
        raise Unusable(source)
    least, said = int(found[1]), found[2]
    most = least if said is None else int(said) if said else None
    return least, most, found.end()
