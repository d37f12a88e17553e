"""What a shape demands of its values beyond their types: required members, lengths, ranges, patterns, enumerations.

Compiled once per input shape; a shape that demands nothing costs nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import filterfalse
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

from cloudlet.kernel.http import Body
from cloudlet.wire.compiler import Compiler

VIOLATIONS_MAX = 20  # reported at once
PATTERN_LENGTH_MAX = 4096  # longer texts are not matched: their shapes' length limits are far below


@dataclass(frozen=True, slots=True)
class Violation:
    """One demand that was not met. `path` is as AWS writes it: `tags.1.member.key`; `member` the model's own name."""

    path: str
    member: str
    kind: str  # required, length, range, pattern, enum
    constraint: str
    value: Any = None
    secret: bool = False  # the value is nobody's to read, and left out

    @property
    def shown(self) -> str:
        """The value, cut where it is long."""
        return "" if self.secret else _shown(self.value)

    def sentence(self) -> str:
        """AWS's sentence for it."""
        if self.secret:
            return f"Value at '{self.path}' failed to satisfy constraint: {self.constraint}"
        shown = "null" if self.value is None else f"'{_shown(self.value)}'"
        return f"Value {shown} at '{self.path}' failed to satisfy constraint: {self.constraint}"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 256 else text[:256] + "..."


Check = Callable[[Any, str, list[Violation]], None]


@dataclass(frozen=True, slots=True)
class Demands:
    """Which demands a service's front makes itself (see `faults.STYLES`)."""

    patterns: bool = True
    enums: bool = True


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


# Java's classes, each as what may stand between Python's brackets: exact for ASCII, generous beyond it.
_JAVA_CLASSES = {
    "Alnum": "a-zA-Z0-9", "Alpha": "a-zA-Z", "Digit": "0-9", "Punct": "!-/:-@\\[-`{-~", "ASCII": "\\x00-\\x7F",
    "Graph": "!-~", "Print": " -~", "Space": "\\s", "L": "\\w", "M": "\u0300-\u036f", "N": "\\d", "Z": "\\s",
    "Zs": "\\s",
    "P": "!-/:-@\\[-`{-~\u00a1-\u00bf\u2010-\u206f\u3001-\u303f", "S": "$+<=>^`|~\u00a2-\u00b8\u20a0-\u23ff",
}
# `(?:-?[a-z0-9]+)*` can cut a word in exponentially many ways; `[a-z0-9]*(?:-[a-z0-9]+)*` says the same in one.
_HYPHENED = re.compile(r"\(\?:-\?(\[[^\]]+\])\+\)\*")


@cache
def _regex(pattern: str) -> re.Pattern[str] | None:
    """A pattern of the model, which speaks Java; None where Python cannot read it, and then it is not checked."""
    try:
        pattern = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")  # surrogate pairs
        pattern = _HYPHENED.sub(r"\1*(?:-\1+)*", pattern)
        python = re.sub(r"\\p\{(?:Is)?(\w+)\}", lambda m: _JAVA_CLASSES[m[1]], pattern)
        return re.compile(python, re.ASCII if python == pattern else 0)
    except (re.error, KeyError):
        return None


class Validator(Compiler[Check | None]):
    """Compiles input shapes into checks that append to a list of violations."""

    def __init__(self, demands: Demands) -> None:
        self._demands = demands
        self._structures: dict[str, Check | None] = {}

    def of(self, shape: Shape) -> Check | None:
        """The check for one shape; None where it demands nothing. No violation repeats a value that is sensitive."""
        found = super().of(shape)
        return _hushed(found) if found is not None and shape.metadata.get("sensitive") else found

    def _scalar(self, shape: Shape) -> Check | None:
        if isinstance(shape, StringShape):
            return self._string(shape)
        match shape.type_name:
            case "blob":
                return _length(shape)
            case "integer" | "long" | "float" | "double":
                return _range(shape)
        return None

    def _structure(self, shape: StructureShape) -> Check | None:
        if shape.name in self._structures:
            return self._structures[shape.name]
        required = tuple(shape.required_members)
        checks: dict[str, tuple[str, Check]] = {}

        def check(value: Any, path: str, violations: list[Violation]) -> None:
            prefix = f"{path}." if path else ""
            for name in filterfalse(value.__contains__, required):
                violations.append(Violation(prefix + _lower(name), name, "required", "Member must not be null"))
            for name in filter(value.__contains__, checks):
                shown, member = checks[name]
                if len(violations) < VIOLATIONS_MAX:
                    member(value[name], prefix + shown, violations)

        self._structures[shape.name] = check  # a shape that contains itself meets this entry
        for name, member in shape.members.items():
            found = self.of(member)
            if found is not None:
                checks[name] = _lower(name), found
        if not required and all(found is check for _, found in checks.values()):
            self._structures[shape.name] = None
        return self._structures[shape.name]

    def _list(self, shape: ListShape) -> Check | None:
        size, member = _length(shape), self.of(shape.member)
        if member is None:
            return size

        def check(value: Any, path: str, violations: list[Violation]) -> None:
            if size:
                size(value, path, violations)
            for index, item in enumerate(value, 1):
                member(item, f"{path}.{index}.member", violations)
                if len(violations) >= VIOLATIONS_MAX:
                    return
        return check

    def _map(self, shape: MapShape) -> Check | None:
        size, key, member = _length(shape), self.of(shape.key), self.of(shape.value)
        if key is None and member is None:
            return size

        def check(value: Any, path: str, violations: list[Violation]) -> None:
            if size:
                size(value, path, violations)
            for name, item in value.items():
                if key:
                    key(name, path, violations)
                if member:
                    member(item, f"{path}.{_shown(name)}.member", violations)
                if len(violations) >= VIOLATIONS_MAX:
                    return
        return check

    def _string(self, shape: StringShape) -> Check | None:
        size = _length(shape)
        choices = frozenset(shape.enum) if self._demands.enums and shape.enum else None
        said = shape.metadata.get("pattern", "")
        pattern = _regex(said) if said and self._demands.patterns else None
        if choices is None and pattern is None:
            return size
        listed = ", ".join(shape.enum) if choices else ""

        def check(value: Any, path: str, violations: list[Violation]) -> None:
            before = len(violations)
            if size:
                size(value, path, violations)
            if choices is not None and value not in choices:
                violations.append(Violation(
                    path, path, "enum", f"Member must satisfy enum value set: [{listed}]", value))
            elif (pattern is not None and len(violations) == before and len(value) <= PATTERN_LENGTH_MAX
                    and pattern.fullmatch(value) is None):
                violations.append(Violation(
                    path, path, "pattern", f"Member must satisfy regular expression pattern: {said}", value))
        return check


def _hushed(check: Check) -> Check:
    def hushed(value: Any, path: str, violations: list[Violation]) -> None:
        found: list[Violation] = []
        check(value, path, found)
        violations.extend(replace(violation, value=None, secret=True) for violation in found)
    return hushed


def _length(shape: Shape) -> Check | None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is None and high is None:
        return None
    low, high = low or 0, float("inf") if high is None else high

    def check(value: Any, path: str, violations: list[Violation]) -> None:
        if isinstance(value, Body):
            return
        if len(value) < low:
            violations.append(Violation(
                path, path, "length", f"Member must have length greater than or equal to {low}", value))
        elif len(value) > high:
            violations.append(Violation(
                path, path, "length", f"Member must have length less than or equal to {high}", value))
    return check


def _range(shape: Shape) -> Check | None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is None and high is None:
        return None

    def check(value: Any, path: str, violations: list[Violation]) -> None:
        if low is not None and value < low:
            violations.append(Violation(
                path, path, "range", f"Member must have value greater than or equal to {low}", value))
        elif high is not None and value > high:
            violations.append(Violation(
                path, path, "range", f"Member must have value less than or equal to {high}", value))
    return check
