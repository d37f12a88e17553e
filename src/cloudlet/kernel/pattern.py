"""A customer's regular expression, matched in time proportional to the value's length, whatever the pattern.

A customer writes both, and Python's own matcher can be made to take exponential time; so the pattern is read with
Python's parser and run as a nondeterministic automaton (https://swtch.com/~rsc/regexp/regexp1.html). The common part of
Java's and Python's languages is supported; what cannot be run so (references back, looking around) is refused.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import repeat
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

STATES_MAX = 10_000  # of an automaton; `.{1,4096}` has 8,193
STEPS_MAX = 150_000  # states looked at while one value is matched: some tenths of a second
KNOWN_MAX = 5_000  # steps of a pattern that are remembered from one value to the next

Accepts = Callable[[str], bool]
Holds = Callable[[str, int], bool]


STAY: tuple[Accepts, int] = (lambda character: False, 0)  # the way on from a state that reads nothing


class Unusable(Exception):
    """The pattern is no regular expression, or one that is not supported; the text says why."""


class Automaton:
    """States by number. From a state, `moves` leads on by reading a character, `jumps` without reading any, where its
    condition holds at that place."""

    def __init__(self) -> None:
        self.moves: dict[int, tuple[Accepts, int]] = {}
        self.jumps: dict[int, list[tuple[Holds | None, int]]] = {}
        self.places = False  # some condition looks at the place
        self.size = 0
        self.known: dict[tuple[frozenset[int], str], frozenset[int]] = {}  # what `occurs` found, without places

    def state(self) -> int:
        """A new one. Raises Unusable where there are too many."""
        self.size += 1
        if self.size > STATES_MAX:
            raise Unusable("it repeats too much")
        return self.size - 1

    def jump(self, start: int, end: int, holds: Holds | None = None) -> None:
        """Another way from one state to another that reads nothing."""
        self.jumps.setdefault(start, []).append((holds, end))
        self.places = self.places or holds is not None


def matches(pattern: str, value: str) -> bool:
    """Whether the whole value is one of the pattern's texts. Raises Unusable."""
    automaton, last = _compiled(pattern)
    current = frozenset(_reached(automaton, {0}, value, 0))
    known: dict[tuple[frozenset[int], str], frozenset[int]] = {}  # ways taken already, where places do not matter
    steps = len(current)
    for at, character in enumerate(value):
        after = known.get((current, character))
        if after is None:
            ways = map(automaton.moves.get, current, repeat(STAY))
            after = frozenset(_reached(automaton, {end for accepts, end in ways if accepts(character)}, value, at + 1))
            steps += len(current) + len(after)
            if steps > STEPS_MAX:
                raise Unusable("it takes too long on this value")
            if not automaton.places:
                known[current, character] = after
        current = after
        if not current:
            return False
    return last in current


def occurs(pattern: str, value: str, steps_max: int = STEPS_MAX) -> bool:
    """Whether one of the pattern's texts stands anywhere in the value. Raises Unusable, also after so many steps."""
    automaton, last = _compiled(pattern, whole=False)
    anchored = _is_anchored(pattern)
    current = frozenset(_reached(automaton, {0}, value, 0))
    steps = 0
    for at, character in enumerate(value):
        if last in current or not current:
            break
        after = automaton.known.get((current, character))
        if after is None:
            ways = map(automaton.moves.get, current, repeat(STAY))
            begun = {end for accepts, end in ways if accepts(character)}
            after = frozenset(_reached(automaton, begun if anchored else begun | {0}, value, at + 1))
            steps += len(current) + len(after)
            if steps > steps_max:
                raise Unusable("it takes too long on this value")
            if not automaton.places and len(automaton.known) < KNOWN_MAX:
                automaton.known[current, character] = after
        current = after
    return last in current


@lru_cache(maxsize=64)
def _is_anchored(pattern: str) -> bool:
    """Whether its texts stand at the beginning only, so that there is no need to look elsewhere."""
    return list(parser.parse(pattern))[:1] == [(op.AT, op.AT_BEGINNING)]


def _reached(automaton: Automaton, states: set[int], value: str, at: int) -> set[int]:
    """Those states and all that can be reached from them without reading."""
    found, open_ = set(states), list(states)
    while open_:
        for holds, end in automaton.jumps.get(open_.pop(), ()):
            if end not in found and (holds is None or holds(value, at)):
                found.add(end)
                open_.append(end)
    return found


@lru_cache(maxsize=64)
def _compiled(pattern: str, whole: bool = True) -> tuple[Automaton, int]:
    try:
        tree = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise Unusable(str(error)) from None
    if tree.state.flags & (re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.LOCALE | re.ASCII):
        raise Unusable("flags are not supported")
    items = list(tree)
    # Where the whole value must match, these say nothing.
    while whole and items and items[0] == (op.AT, op.AT_BEGINNING):
        del items[0]
    while whole and items and items[-1] == (op.AT, op.AT_END):
        del items[-1]
    automaton = Automaton()
    return automaton, _sequence(automaton, automaton.state(), items)


def _sequence(automaton: Automaton, start: int, items: Any) -> int:
    for kind, argument in items:
        start = _item(automaton, start, kind, argument)
    return start


def _item(automaton: Automaton, start: int, kind: Any, argument: Any) -> int:
    """Adds what one piece of a pattern stands for; the state after it."""
    if kind is op.SUBPATTERN and not argument[1] and not argument[2]:
        return _sequence(automaton, start, argument[3])
    if kind is op.ATOMIC_GROUP:
        raise Unusable("atomic groups are not supported")
    if kind is op.BRANCH:
        end = automaton.state()
        for branch in argument[1]:
            first = automaton.state()
            automaton.jump(start, first)
            automaton.jump(_sequence(automaton, first, branch), end)
        return end
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT):  # which texts match does not depend on greed
        return _repeat(automaton, start, *argument)
    end = automaton.state()
    if kind is op.AT:
        automaton.jump(start, end, _place(argument))
    else:
        automaton.moves[start] = _character(kind, argument), end
        return end
    return end


def _repeat(automaton: Automaton, start: int, least: int, most: int, items: Any) -> int:
    for _ in range(least):
        start = _sequence(automaton, _fresh(automaton, start), items)
    end = automaton.state()
    if most is op.MAXREPEAT:
        loop = _fresh(automaton, start)
        automaton.jump(_sequence(automaton, _fresh(automaton, loop), items), loop)
        automaton.jump(loop, end)
        return end
    for _ in range(most - least):
        automaton.jump(start, end)
        start = _sequence(automaton, _fresh(automaton, start), items)
    automaton.jump(start, end)
    return end


def _fresh(automaton: Automaton, start: int) -> int:
    """A state of its own after `start`, which may have other ways on."""
    state = automaton.state()
    automaton.jump(start, state)
    return state


def _character(kind: Any, argument: Any) -> Accepts:
    if kind is op.LITERAL:
        return lambda character: ord(character) == argument
    if kind is op.NOT_LITERAL:
        return lambda character: ord(character) != argument
    if kind is op.ANY:
        return lambda character: character != "\n"
    if kind is op.IN:
        negated, tests = argument[0][0] is op.NEGATE, [_member(*each) for each in argument if each[0] is not op.NEGATE]
        return lambda character: any(test(character) for test in tests) != negated
    raise Unusable(f"{str(kind).lower().replace('_', ' ')} is not supported")


def _member(kind: Any, argument: Any) -> Accepts:
    if kind is op.RANGE:
        low, high = argument
        return lambda character: low <= ord(character) <= high
    if kind is op.CATEGORY:
        found = _CATEGORIES[argument].fullmatch
        return lambda character: found(character) is not None
    return _character(kind, argument)


_CATEGORIES = {  # Java's classes are ASCII's
    op.CATEGORY_DIGIT: re.compile(r"[0-9]"), op.CATEGORY_NOT_DIGIT: re.compile(r"[^0-9]"),
    op.CATEGORY_WORD: re.compile(r"\w", re.ASCII), op.CATEGORY_NOT_WORD: re.compile(r"\W", re.ASCII),
    op.CATEGORY_SPACE: re.compile(r"\s", re.ASCII), op.CATEGORY_NOT_SPACE: re.compile(r"\S", re.ASCII)}


def _place(argument: Any) -> Holds:
    if argument in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
        return lambda value, at: at == 0
    if argument is op.AT_END:
        return lambda value, at: at == len(value) or value[at:] == "\n"
    if argument is op.AT_END_STRING:
        return lambda value, at: at == len(value)
    inside = argument is op.AT_BOUNDARY

    def boundary(value: str, at: int) -> bool:
        before, after = _words(value, at)
        return (before != after) == inside
    return boundary


def _words(value: str, at: int) -> Iterator[bool]:
    word = _CATEGORIES[op.CATEGORY_WORD].fullmatch
    yield at > 0 and word(value[at - 1]) is not None
    yield at < len(value) and word(value[at]) is not None
