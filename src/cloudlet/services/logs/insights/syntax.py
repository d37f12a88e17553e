"""What a query says, as a tree."""

from dataclasses import dataclass

Part = str | int


class Malformed(Exception):
    """The query is not valid. `start` and `end` are offsets of what is wrong in its text."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message, self.start, self.end = message, start, end


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a text, or a truth value."""

    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time: so many of a unit (ms, s, m, h, d, w, mo, q, y)."""

    amount: int
    unit: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field by the parts of its name, which dots separate outside of backquotes; an index stands in brackets."""

    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """The name in one piece."""
        return ".".join(map(str, self.parts))


@dataclass(frozen=True, slots=True)
class Call:
    """A function, by its name in lower case, and what it is given."""

    function: str
    arguments: tuple["Expression", ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Unary:
    """`not` or `-`."""

    operator: str
    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """`and or = != < <= > >= + - * / % ^`."""

    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Among:
    """`in [...]`."""

    operand: "Expression"
    items: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Like:
    """`like` a text, which the operand contains, or a regular expression, which matches a part of it."""

    operand: "Expression"
    pattern: str
    regex: bool
    start: int
    end: int


Expression = Constant | Period | Field | Call | Unary | Binary | Among | Like


@dataclass(frozen=True, slots=True)
class Named:
    """An expression and the name of what it gives: that after `as`, or its own text."""

    expression: Expression
    name: str
    alias: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Fields:
    """`fields` adds columns, `display` says which there are."""

    columns: tuple[Named, ...]
    only: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """What does not fulfil the condition is left out."""

    condition: Expression


@dataclass(frozen=True, slots=True)
class Parse:
    """New fields, from the parts of a text that `*` in a pattern stand for, or a regular expression's named groups."""

    source: Expression
    pattern: str
    regex: bool
    names: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures over all events, or over each group of events with the same values."""

    figures: tuple[Named, ...]
    by: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Sort:
    """By values, each with whether in falling order."""

    keys: tuple[tuple[Expression, bool], ...]


@dataclass(frozen=True, slots=True)
class Dedup:
    """Of events with the same values, the first."""

    keys: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """The first so many."""

    count: int


Command = Fields | Filter | Parse | Stats | Sort | Dedup | Limit
