"""Regular expressions of filter patterns: AWS's restricted syntax, matched in time that grows as the message does.

There are no groups, so an expression is a choice of chains of character classes, some of which may be skipped or
repeated. All places where a message may stand in the chains are bits of one number; sets that occur are remembered with
where each character leads, so that most characters cost one look-up.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/regex-expressions.html
"""

import re
import string

from cloudlet.services.logs.chunks import Needles

LITERALS = frozenset(string.ascii_letters + string.digits + ":_#=@/;,-")
POSITIONS_MAX = 2000  # of all chains together; `x{m,n}` has n
KNOWN_MAX = 256  # sets remembered
OTHER = 128  # what stands for every character that is not ASCII

_ALL = frozenset(range(OTHER + 1))
_DIGITS = frozenset(map(ord, string.digits))
_WORD = frozenset(map(ord, string.ascii_letters + string.digits + "_"))
_SPACE = frozenset(map(ord, " \t\n\r\f\v"))
_CLASSES = {"d": _DIGITS, "D": _ALL - _DIGITS, "w": _WORD, "W": _ALL - _WORD, "s": _SPACE, "S": _ALL - _SPACE}
_COUNT = re.compile(r"\{(\d{1,4})(?:,(\d{0,4}))?\}")

Position = tuple[frozenset[int], bool, bool]  # which characters, whether it may be skipped, whether it may be repeated
Node = list["Node | None"]


class Unusable(Exception):
    """Not an expression of the supported syntax."""


class Regex:
    """`search(text)`: whether the expression is found in a text. `needles`: one of these is in every such text."""

    def __init__(self, source: str) -> None:
        """Raises Unusable."""
        branches = [_Branch(branch) for branch in _branches(source)]
        if sum(len(branch.positions) for branch in branches) > POSITIONS_MAX:
            raise Unusable(source)
        literals = [branch.literal() for branch in branches]
        self.needles: Needles = tuple(literals) if all(literals) else ()
        self._masks = [0] * (OTHER + 1)
        self._skips = self._repeats = self._starts = self._restarts = self._anywhere = self._at_end = 0
        place = 0
        for branch in branches:
            place = self._place(branch, place)
        self._nodes: dict[int, Node] = {}
        self._sets: dict[int, int] = {}  # by the id of its node
        self._hit: Node = []
        self._hit += [self._hit] * (OTHER + 1)

    def _place(self, branch: "_Branch", place: int) -> int:
        """Adds a chain from a bit on; the first bit after it."""
        self._starts |= 1 << place
        if not branch.from_start:
            self._restarts |= 1 << place
        for characters, skip, repeat in branch.positions:
            for character in characters:
                self._masks[character] |= 1 << place
            self._skips |= skip << place
            self._repeats |= repeat << place
            place += 1
        if branch.to_end:
            self._at_end |= 1 << place
        else:
            self._anywhere |= 1 << place
        return place + 1

    def search(self, text: str) -> bool:
        """Whether the expression is found in the text."""
        node = self._node(self._starts)
        for byte in text.encode() if text.isascii() else bytes(min(ord(character), OTHER) for character in text):
            node = node[byte] or self._follow(node, byte)
        return node is self._hit or bool(self._sets[id(node)] & self._at_end)

    def _node(self, places: int) -> Node:
        skips = self._skips
        places |= (skips + (places & skips)) ^ skips  # the carry runs through a row of what may be skipped
        if places & self._anywhere:
            return self._hit
        found = self._nodes.get(places)
        if found is None:
            found = [None] * (OTHER + 1)
            self._nodes[places] = found
            self._sets[id(found)] = places
        return found

    def _follow(self, node: Node, byte: int) -> Node:
        places, mask = self._sets[id(node)], self._masks[byte]
        after = (places & mask) << 1 | places & (mask & self._repeats) << 1 | self._restarts
        if len(self._nodes) > KNOWN_MAX:
            self._nodes, self._sets = {}, {}
            return self._node(after)
        node[byte] = following = self._node(after)
        return following


class _Branch:
    """One of the choices."""

    def __init__(self, source: str) -> None:
        self.positions: list[Position] = []
        self.from_start = source.startswith("^")
        at = int(self.from_start)
        end = len(source) - _ends_with_anchor(source)
        self.to_end = end < len(source)
        if at >= end and not (self.from_start or self.to_end):
            raise Unusable(source)
        while at < end:
            characters, at = _characters(source[:end], at)
            least, most, at = _count(source[:end], at)
            self.positions += [(characters, False, False)] * least
            if most is None:
                if least:
                    self.positions[-1] = (characters, False, True)
                else:
                    self.positions.append((characters, True, True))
            else:
                self.positions += [(characters, True, False)] * (most - least)
            if len(self.positions) > POSITIONS_MAX:
                raise Unusable(source)

    def literal(self) -> bytes:
        """The longest text that is in whatever the branch matches."""
        best = found = b""
        for characters, skip, repeat in self.positions:
            single = len(characters) == 1 and not skip and OTHER not in characters
            found = found + bytes(characters) if single else b""
            best = max(best, found, key=len)
            if repeat:
                found = bytes(characters) if single else b""
        return best


def _branches(source: str) -> list[str]:
    """The choices: split at each "|" that is neither escaped nor in brackets."""
    found, start, at, inside = [], 0, 0, False
    while at < len(source):
        character = source[at]
        if character == "\\":
            at += 1
        elif character == "[" and not inside:
            inside = True
        elif character == "]":
            inside = False
        elif character == "|" and not inside:
            found.append(source[start:at])
            start = at + 1
        at += 1
    return [*found, source[start:]]


def _ends_with_anchor(source: str) -> bool:
    return source.endswith("$") and (len(source) - len(source[:-1].rstrip("\\"))) % 2 == 1


def _characters(source: str, at: int) -> tuple[frozenset[int], int]:
    """The class of characters that begins there, and where it ends."""
    character = source[at]
    if character == ".":
        return _ALL - {10, 13}, at + 1
    if character == "[":
        return _brackets(source, at + 1)
    if character == "\\":
        return _escaped(source, at + 1)
    if character not in LITERALS:
        raise Unusable(source)
    return frozenset({ord(character)}), at + 1


def _escaped(source: str, at: int) -> tuple[frozenset[int], int]:
    character = source[at:at + 1]
    if character in _CLASSES:
        return _CLASSES[character], at + 1
    if character == "x" and re.fullmatch("[0-7][0-9A-Fa-f]", source[at + 1:at + 3]):
        return frozenset({int(source[at + 1:at + 3], 16)}), at + 3
    if not character or character not in string.punctuation:
        raise Unusable(source)
    return frozenset({ord(character)}), at + 1


def _brackets(source: str, at: int) -> tuple[frozenset[int], int]:
    negated = source[at:at + 1] == "^"
    at += negated
    found: set[int] = set()
    first = at
    while at < len(source) and (source[at] != "]" or at == first):
        one, at = _escaped(source, at + 1) if source[at] == "\\" else (frozenset({ord(source[at])}), at + 1)
        if source[at:at + 1] == "-" and source[at + 1:at + 2] not in ("", "]") and len(one) == 1:
            last, at = (_escaped(source, at + 2) if source[at + 1] == "\\"
                        else (frozenset({ord(source[at + 1])}), at + 2))
            if len(last) != 1 or min(last) < min(one):
                raise Unusable(source)
            one = frozenset(range(min(one), min(last) + 1))
        found |= one
    if at >= len(source) or max(found) >= OTHER:
        raise Unusable(source)
    return (_ALL - found if negated else frozenset(found)), at + 1


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
    if most is not None and most < max(least, 1):
        raise Unusable(source)
    return least, most, found.end()
