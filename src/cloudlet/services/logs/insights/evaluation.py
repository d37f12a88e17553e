"""Expressions made into functions of a row, once for a query."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from cloudlet.kernel import regex
from cloudlet.services.logs.insights import functions
from cloudlet.services.logs.insights.aggregates import AGGREGATES, Kind
from cloudlet.services.logs.insights.row import Row
from cloudlet.services.logs.insights.syntax import (
    Among,
    Binary,
    Call,
    Constant,
    Expression,
    Field,
    Like,
    Malformed,
    Part,
    Period,
    Unary,
)
from cloudlet.services.logs.insights.values import Time, Value, equal, finite, less, number, text, truth

Evaluate = Callable[[Row], Value]

_LITERAL = re.compile(r"[\w \-:=,;\"'<>@%&!~#/]+")  # an expression that stands for itself
_BUILT_IN: dict[str, Evaluate] = {
    "@timestamp": lambda row: Time(row.place[0]) if row.origin else None,
    "@message": lambda row: row.message if row.origin else None,
    "@logStream": lambda row: row.origin.stream if row.origin else None,
    "@log": lambda row: row.origin.log if row.origin else None,
    "@ingestionTime": lambda row: Time(row.ingested) if row.origin else None}


class Scope:
    """What names mean at a place in a query: `names` were made by the commands before; `now_s` is when it was started.

    In `stats`, `inner` is the scope of what aggregate functions are given, and `figures` collects these functions: rows
    hold their results under their numbers. `where` is the place of what is evaluated.
    """

    def __init__(self, now_s: float, inner: "Scope | None" = None) -> None:
        self.now_s, self.inner = now_s, inner
        self.names: set[str] = set()
        self.figures: list[tuple[Kind, float, Evaluate]] = []
        self.where = (0, 0)

    def after(self) -> "Scope":
        """The scope of what comes after `stats`."""
        scope = Scope(self.now_s)
        scope.names = set(self.names)
        return scope

    def evaluate(self, expression: Expression) -> Evaluate:
        """The expression as a function of a row. Raises Malformed."""
        match expression:
            case Constant(value):
                return lambda row: value
            case Field():
                return self._field(expression)
            case Call():
                return self._call(expression)
            case Unary(operator, operand):
                inner = self.evaluate(operand)
                return _negation(inner) if operator == "not" else lambda row: _negative(inner(row))
            case Binary(operator, left, right):
                return _OPERATORS[operator](self.evaluate(left), self.evaluate(right))
            case Among(operand, items):
                return _among(self.evaluate(operand), [self.evaluate(item) for item in items])
            case Like():
                return self._like(expression)
            case Period():
                raise AssertionError("a period stands only where its function looks for it")

    def _field(self, field: Field) -> Evaluate:
        name, parts = field.name, field.parts
        if name in self.names:
            return lambda row: row.made.get(name)
        for cut in range(len(parts) - 1, 0, -1):
            head = ".".join(map(str, parts[:cut]))
            if head in self.names:
                return lambda row, rest=parts[cut:]: walk(row.made.get(head), rest)  # type: ignore[misc]
        if self.inner is not None:
            raise Malformed(f"the field {name} is neither grouped by nor given to an aggregate function", *self.where)
        built_in = _BUILT_IN.get(name)
        if built_in is not None:
            return built_in
        if len(parts) == 1:
            return lambda row: leaf(row.found.get(name))
        return lambda row: leaf(walk(row.found, parts))

    def _call(self, call: Call) -> Evaluate:
        kind = AGGREGATES.get(call.function)
        if kind is not None:
            return self._figure(call, kind)
        if call.function in functions.SPECIAL:
            return self._special(call)
        arguments = [self.evaluate(argument) for argument in call.arguments]
        apply = functions.FUNCTIONS[call.function].apply
        if len(arguments) == 1:
            (only,) = arguments
            return lambda row: apply((only(row),))
        return lambda row: apply([argument(row) for argument in arguments])

    def _special(self, call: Call) -> Evaluate:
        if call.function == "now":
            now = int(self.now_s)
            return lambda row: now
        *values, last = call.arguments
        if call.function in functions.PERIODIC:
            if not isinstance(last, Period):
                raise Malformed(f"the function {call.function} needs a period of time, such as 5m", call.start,
                                call.end)
            of = self.evaluate(values[0]) if values else _BUILT_IN["@timestamp"]
            round_ = functions.ceil if call.function == "dateceil" else functions.floor
            return lambda row: None if (ms := number(of(row))) is None else round_(ms, last)
        found = [self.evaluate(argument) for argument in call.arguments]
        if call.function == "ispresent":
            return lambda row: found[0](row) is not None
        return lambda row: next((value for each in found if (value := each(row)) is not None), None)

    def _figure(self, call: Call, kind: Kind) -> Evaluate:
        inner, parameter = self.inner, 0.0
        assert inner is not None  # the parser lets aggregates stand in `stats` only, and not in each other
        if len(call.arguments) == 2:
            share = call.arguments[1]
            value = number(share.value) if isinstance(share, Constant) else None
            if value is None or not 0 <= value <= 100:
                raise Malformed("the second argument of pct must be a number from 0 to 100", call.start, call.end)
            parameter = float(value)
        of = inner.evaluate(call.arguments[0]) if call.arguments else lambda row: True
        self.figures.append((kind, parameter, of))
        number_ = len(self.figures) - 1
        return lambda row: row.made.get(number_)

    def _like(self, like: Like) -> Evaluate:
        of, pattern = self.evaluate(like.operand), like.pattern
        if not like.regex or _LITERAL.fullmatch(pattern):
            return lambda row: (value := text(of(row))) is not None and pattern in value
        found = compiled(like.pattern, like.start, like.end).found
        return lambda row: (value := text(of(row))) is not None and found(value)


def compiled(pattern: str, start: int, end: int) -> regex.Regex:
    """A regular expression of the query that stands there. Raises Malformed."""
    try:
        return regex.compiled(pattern)
    except regex.Unusable as error:
        raise Malformed(f"invalid regular expression: {error}", start, end) from None


def leaf(value: Any) -> Value:
    """A value found in a message, where it is a field: not an object or a list, whose members are."""
    return None if type(value) is dict or type(value) is list else value


def walk(value: Any, parts: Sequence[Part]) -> Value:
    """What a name leads to within objects and lists. A name in an object may itself contain dots."""
    if not parts:
        return value
    if isinstance(value, list):
        first = parts[0]
        index = first if isinstance(first, int) else int(first) if first.isdigit() and len(first) < 10 else len(value)
        return walk(value[index], parts[1:]) if index < len(value) else None
    if isinstance(value, dict):
        for cut in range(1, len(parts) + 1):
            name = ".".join(map(str, parts[:cut]))
            if name in value and (found := walk(value[name], parts[cut:])) is not None:
                return found
    return None


def _negation(inner: Evaluate) -> Evaluate:
    return lambda row: not truth(inner(row))


def _negative(value: Value) -> Value:
    found = number(value)
    return None if found is None else -found


def _among(of: Evaluate, items: Sequence[Evaluate]) -> Evaluate:
    def run(row: Row) -> Value:
        value = of(row)
        return any(equal(value, item(row)) for item in items)
    return run


def _arithmetic(operate: Callable[[Any, Any], Any]) -> Callable[[Evaluate, Evaluate], Evaluate]:
    def make(left: Evaluate, right: Evaluate) -> Evaluate:
        def run(row: Row) -> Value:
            one, other = number(left(row)), number(right(row))
            if one is None or other is None:
                return None
            try:
                return finite(operate(one, other))
            except (ArithmeticError, ValueError):
                return None
        return run
    return make


def _power(one: float, other: float) -> float:
    return math.pow(one, other)


def _unequal(left: Evaluate, right: Evaluate) -> Evaluate:
    """What is absent differs from everything that is there."""
    def run(row: Row) -> Value:
        one, other = left(row), right(row)
        return not equal(one, other) and not (one is None and other is None)
    return run


_OPERATORS: dict[str, Callable[[Evaluate, Evaluate], Evaluate]] = {
    "and": lambda left, right: lambda row: truth(left(row)) and truth(right(row)),
    "or": lambda left, right: lambda row: truth(left(row)) or truth(right(row)),
    "=": lambda left, right: lambda row: equal(left(row), right(row)),
    "!=": _unequal,
    "<": lambda left, right: lambda row: less(left(row), right(row)),
    ">": lambda left, right: lambda row: less(right(row), left(row)),
    "<=": lambda left, right: lambda row: less(one := left(row), other := right(row)) or equal(one, other),
    ">=": lambda left, right: lambda row: less(other := right(row), one := left(row)) or equal(one, other),
    "+": _arithmetic(lambda one, other: one + other),
    "-": _arithmetic(lambda one, other: one - other),
    "*": _arithmetic(lambda one, other: one * other),
    "/": _arithmetic(lambda one, other: one / other),
    "%": _arithmetic(math.fmod),
    "^": _arithmetic(_power)}
