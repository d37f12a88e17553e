"""What the selectors of a JSON filter pattern find in a message, of which no more becomes objects than they ask for.

That matters: a million messages are read for one answer, and most of the time would go into members nobody looks at.
"""

import re
from collections.abc import Callable, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import Any

import msgspec

UNSET = msgspec.UNSET  # what a selector finds where there is nothing

Step = str | int | None  # a member, an element, or all of them
Found = Sequence[Any]  # by selector: a value or UNSET; for one with a wildcard, a list of values
Tree = dict[str, Any]  # members by name: a tree of what is wanted of one, None where it is wanted whole

_STEP = re.compile(r"""\[(?:(?P<index>\d+)|(?P<every>\*)|'(?P<single>[^']*)'|"(?P<double>[^"]*)")\]"""
                   r"""|\.(?:(?P<any>\*)|(?P<name>[\w-]+))""")
_UNFIT = re.compile(r'["\\\x00-\x1f]')  # in what msgspec takes as a member's name
_decode = msgspec.json.Decoder().decode


def steps_of(selector: str) -> list[Step]:
    """The steps of a selector, e.g. `$.user['id'][0].*`."""
    found: list[Step] = []
    for step in _STEP.finditer(selector):
        kind, said = step.lastgroup, step[str(step.lastgroup)]
        found.append(int(said) if kind == "index" else None if kind in ("every", "any") else said)
    return found


def reader(selectors: Sequence[Sequence[Step]]) -> Callable[[str], Found | None]:
    """What reads a message; it answers None for one that is neither an object nor an array."""
    ways = [list(takewhile(lambda step: isinstance(step, str), steps)) for steps in selectors]
    if not all(ways) or any(_UNFIT.search(str(name)) for way in ways for name in way):
        return lambda message: _read_whole(message, selectors)
    tree = _tree(ways)
    places = [_place(tree, way) for way in ways]
    rests = [steps[place.count(".") + 1:] for place, steps in zip(places, selectors, strict=True)]
    decode, get = msgspec.json.Decoder(_shape(tree)).decode, attrgetter(*places)
    alone, whole = len(places) == 1, not any(rests)

    def read(message: str) -> Found | None:
        try:
            document = decode(message)
        except msgspec.ValidationError:  # something else than an object stands where one was expected
            return _read_whole(message, selectors)
        except (ValueError, RecursionError):
            return None
        values = (get(document),) if alone else get(document)
        return values if whole else [_value(value, rest) for value, rest in zip(values, rests, strict=True)]
    return read


def _read_whole(message: str, selectors: Sequence[Sequence[Step]]) -> Found | None:
    try:
        document = _decode(message)
    except (ValueError, RecursionError):
        return None
    return [_value(document, steps) for steps in selectors] if isinstance(document, dict | list) else None


def _tree(ways: Sequence[Sequence[Step]]) -> Tree:
    """What is wanted of a document; a member that one selector wants whole is not looked into for another."""
    tree: Tree = {}
    for way in sorted(ways, key=len):
        inside: Tree | None = tree
        for name in map(str, way[:-1]):
            inside = inside.setdefault(name, {}) if inside is not None else None
        if inside is not None:
            inside.setdefault(str(way[-1]), None)
    return tree


def _place(tree: Tree, way: Sequence[Step]) -> str:
    """Where the value stands to which the names lead, or the one it is in, in objects of the tree's shape."""
    place, inside = [], tree
    for name in map(str, way):
        place.append(f"m{list(inside).index(name)}")
        inside = inside[name]
        if inside is None:
            break
    return ".".join(place)


def _shape(tree: Tree) -> type[msgspec.Struct]:
    """A type of objects that have the tree's members; where a document has none, UNSET, or an object without any."""
    fields: list[tuple[str, Any, Any]] = []
    for number, inside in enumerate(tree.values()):
        kind = Any if inside is None else _shape(inside)
        fields.append((f"m{number}", kind, UNSET if inside is None else kind()))
    return msgspec.defstruct("Part", fields, rename={f"m{number}": name for number, name in enumerate(tree)},
                             frozen=True, gc=False)


def _value(document: Any, steps: Sequence[Step]) -> Any:
    """What stands where the steps lead; a list of values if there is a wildcard among them."""
    for at, step in enumerate(steps):
        if step is None:
            inside = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
            rest = steps[at + 1:]
            if not rest:
                return list(inside)
            found = [_value(each, rest) for each in inside]
            if None in rest:
                return [value for values in found for value in values]
            return [value for value in found if value is not UNSET]
        known = isinstance(document, dict) and step in document if isinstance(step, str) else (
            isinstance(document, list) and step < len(document))
        if not known:
            return [] if None in steps[at:] else UNSET
        document = document[step]
    return document
