"""Filter patterns on space-delimited fields: `[ip, user, ..., status = 4*, bytes > 100]`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/matching-terms-events.html. What stands between brackets or
double quotes in a message is one field.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cloudlet.services.logs.chunks import Needles
from cloudlet.services.logs.pattern_words import (
    DEPTH_MAX,
    Comparison,
    Holds,
    Words,
    comparison,
    invalid,
    number,
    strongest,
)

ELLIPSIS = "..."
_FIELD = re.compile(r'"[^"]*"|\[[^\]]*\]|\S+')
_NAME = re.compile(r"\s*(\.\.\.(?=\s*(?:,|$))|[\w-]+)")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a pattern: its name ("" where it has none), and what is demanded of it."""

    name: str
    holds: Holds | None = None
    needles: Needles = ()


class FieldsPattern:
    """A pattern between brackets. Raises InvalidParameter where it cannot be read."""

    def __init__(self, source: str) -> None:
        if not source.endswith("]"):
            raise invalid()
        self._words = Words(source[1:-1])
        fields = [self._field()]
        while self._words.takes(","):
            fields.append(self._field())
        self._words.end()
        gaps = [at for at, field in enumerate(fields) if field.name == ELLIPSIS]
        if len(gaps) > 1:
            raise invalid(ELLIPSIS)
        self._head = fields[:gaps[0]] if gaps else fields
        self._tail = fields[gaps[0] + 1:] if gaps else None
        self._demands = [(at, field.holds) for at, field in (
            *enumerate(self._head), *enumerate(self._tail or (), -len(self._tail or ()))) if field.holds is not None]
        self.needles = strongest(field.needles for field in fields)

    def matches(self, message: str) -> bool:
        """Whether a message has the fields, and all is as demanded of them."""
        values = _FIELD.findall(message)
        if not self._has_place(values):
            return False
        for at, holds in self._demands:
            value = _bare(values[at])
            if not holds(value, number(value)):
                return False
        return True

    def extracted(self, message: str) -> dict[str, str]:
        """The fields of a message: by name, and by number where they have none."""
        return {f"${field.name or at}": value for at, (field, value) in enumerate(self._assigned(message), 1)}

    def _has_place(self, values: Sequence[str]) -> bool:
        """Whether there are neither more fields nor fewer than in the pattern."""
        if self._tail is None:
            return len(values) == len(self._head)
        return len(values) >= len(self._head) + len(self._tail)

    def _assigned(self, message: str) -> list[tuple[Field, str]]:
        """The fields of a message with those of the pattern; none where there are more, or fewer."""
        values = list(map(_bare, _FIELD.findall(message)))
        if not self._has_place(values):
            return []
        between = len(values) - len(self._head) - len(self._tail or ())
        return list(zip([*self._head, *[Field("")] * between, *(self._tail or ())], values, strict=True))

    def _field(self) -> Field:
        word = self._words.peek()
        if word is None or word.text == ",":
            return Field("")
        if word.text == "(":
            demand, name = self._either("", 0)
            return Field(name, demand.holds, demand.needles)
        name = self._name()
        following = self._words.peek()
        if following is None or following.text == "," or name == ELLIPSIS:
            return Field(name)
        demand, _ = self._either(name, 0, first=True)
        return Field(name, demand.holds, demand.needles)

    def _name(self) -> str:
        found = self._words.match(_NAME)
        if found is None:
            word = self._words.peek()
            raise invalid(word.text if word else "")
        return found[1]

    def _either(self, name: str, depth: int, first: bool = False) -> tuple[Comparison, str]:
        demand, name = self._all(name, depth, first)
        options = [demand]
        while self._words.takes("||"):
            demand, name = self._all(name, depth)
            options.append(demand)
        if len(options) == 1:
            return options[0], name
        known = all(option.needles for option in options)
        return Comparison(lambda text, value: any(option.holds(text, value) for option in options),
                          tuple(needle for option in options for needle in option.needles) if known else ()), name

    def _all(self, name: str, depth: int, first: bool = False) -> tuple[Comparison, str]:
        demand, name = self._one(name, depth, first)
        demands = [demand]
        while self._words.takes("&&"):
            demand, name = self._one(name, depth)
            demands.append(demand)
        if len(demands) == 1:
            return demands[0], name
        return Comparison(lambda text, value: all(demand.holds(text, value) for demand in demands),
                          strongest(demand.needles for demand in demands)), name

    def _one(self, name: str, depth: int, first: bool = False) -> tuple[Comparison, str]:
        """A condition, and the one field it is about; `first`: the name was read already."""
        if depth > DEPTH_MAX:
            raise invalid("(")
        if not first and self._words.takes("("):
            found, name = self._either(name, depth + 1)
            if not self._words.takes(")"):
                raise invalid()
            return found, name
        said = name if first else self._name()
        if name and said != name:
            raise invalid(said)
        return comparison(self._words), said


def _bare(value: str) -> str:
    """A field without the quotes or the brackets around it."""
    return value[1:-1] if len(value) > 1 and value[0] + value[-1] in ('""', "[]") else value
