"""A query made ready to run: stages, each a chain of steps for single rows that ends in groups or in an order.

Rows are fed one at a time, and what a stage keeps is bounded, so that whoever feeds can stop at any row and go on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from cloudlet.services.logs.insights.aggregates import Aggregate, Kind, Memory
from cloudlet.services.logs.insights.evaluation import Evaluate, Scope, compiled
from cloudlet.services.logs.insights.parser import LIMIT_MAX, parse
from cloudlet.services.logs.insights.row import Row
from cloudlet.services.logs.insights.syntax import (
    Command,
    Dedup,
    Field,
    Fields,
    Filter,
    Limit,
    Malformed,
    Named,
    Parse,
    Sort,
    Stats,
)
from cloudlet.services.logs.insights.values import Time, Value, sort_key, text, truth

KEPT_BYTES_MAX = 32 << 20  # of messages that a query keeps for its result, which has fewer rows where they are longer
ROW_BYTES = 500  # what a row takes beside its message, about
CUT_ROWS = 1000  # so many more rows than are wanted are kept before the last ones are thrown away
DEFAULT_COLUMNS = ("@timestamp", "@message")

_KEYS = (str, Time)  # values that are told apart as they are; others by their text

Step = Callable[[Row], bool]  # whether the row stays
Result = list[tuple[str, str]]  # one row's columns: name and value


@dataclass
class Ordered:
    """Keeps the first rows in an order, of those with the same values the first. Where no order is said, or leaves it
    open, the latest event goes first; a later stage's rows are taken as they come."""

    keys: list[tuple[Evaluate, bool]] = field(default_factory=list)
    same: list[Evaluate] = field(default_factory=list)
    limit: int = 0
    latest_first: bool = True
    kept: list[tuple[list[Any], Row]] = field(default_factory=list)
    fresh: int = 0
    last: tuple[list[Any], Row] | None = None

    def add(self, row: Row) -> None:
        """The next row."""
        keys = [sort_key(key(row)) for key, _ in self.keys]
        if self.last is not None and self._is_behind(self.last, keys, row):
            return
        self.kept.append((keys, row))
        self.fresh += len(row.message) + ROW_BYTES
        if len(self.kept) >= (self.limit or LIMIT_MAX) + CUT_ROWS or self.fresh > KEPT_BYTES_MAX:
            self._cut()

    def _is_behind(self, last: tuple[list[Any], Row], keys: list[Any], row: Row) -> bool:
        """Whether a row comes after the last of those that are kept, which are as many as there may be."""
        if self.keys:
            one, other = (last[0][0], keys[0]) if self.keys[0][1] else (keys[0], last[0][0])
            return bool(one > other)
        return self.latest_first and row.place < last[1].place

    def rows(self) -> Iterator[Row]:
        """What is kept, in order."""
        self._cut()
        return (row for _, row in self.kept)

    def _cut(self) -> None:
        if self.latest_first:
            self.kept.sort(key=lambda each: each[1].place, reverse=True)
        for number in range(len(self.keys) - 1, -1, -1):
            self.kept.sort(key=lambda each, number=number: each[0][number],  # type: ignore[misc]
                           reverse=self.keys[number][1])
        seen: set[tuple[str, ...]] = set()
        kept: list[tuple[list[Any], Row]] = []
        size = 0
        for each in self.kept:
            if self.same and not self._is_new(each[1], seen):
                continue
            size += len(each[1].message)
            if len(kept) == (self.limit or LIMIT_MAX) or (kept and size > KEPT_BYTES_MAX):
                break
            kept.append(each)
        self.kept, self.fresh = kept, 0
        self.last = kept[-1] if len(kept) == (self.limit or LIMIT_MAX) else None

    def _is_new(self, row: Row, seen: set[tuple[str, ...]]) -> bool:
        values = [text(of(row)) for of in self.same]
        key = tuple(value for value in values if value is not None)
        if len(key) < len(values):
            return True  # what is absent is like nothing else
        if key in seen:
            return False
        seen.add(key)
        return True


@dataclass
class Grouped:
    """Figures of each group of rows."""

    figures: list[tuple[Kind, float, Evaluate]]
    outcomes: list[tuple[str, Evaluate]]
    by: list[tuple[str, Evaluate]]
    memory: Memory
    groups: dict[tuple[Value, ...], tuple[list[Any], list[Aggregate]]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """The next row. Raises TooMuch."""
        values = [of(row) for _, of in self.by]
        key = tuple(value if type(value) in _KEYS else text(value) for value in values)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = values, self._fresh()
            self.memory.take()
        for aggregate, (_, _, of) in zip(group[1], self.figures, strict=True):
            aggregate.add(row, of(row))

    def rows(self) -> Iterator[Row]:
        """A row for each group, in the order in which they were found; without `by`, always one."""
        if not self.groups and not self.by:
            self.groups[()] = [], self._fresh()
        for number, (values, aggregates) in enumerate(self.groups.values()):
            row = Row(None, (-number,), "", 0)
            row.made = {name: value for (name, _), value in zip(self.by, values, strict=True)}
            row.made |= {figure: aggregate.result() for figure, aggregate in enumerate(aggregates)}
            for name, outcome in self.outcomes:
                row.made[name] = outcome(row)
            yield row

    def _fresh(self) -> list[Aggregate]:
        return [kind.make(self.memory, parameter) for kind, parameter, _ in self.figures]


@dataclass
class Stage:
    """Steps, and what the rows that stay are gathered in."""

    steps: list[Step]
    sink: Ordered | Grouped
    passed: int = 0

    def feed(self, row: Row) -> None:
        """The next row. Raises TooMuch."""
        for step in self.steps:
            if not step(row):
                return
        self.passed += 1
        self.sink.add(row)


class Plan:
    """A query that is ready: `feed` it with events in any order, then `drain` it."""

    def __init__(self, query: str, now_s: float, limit: int | None = None) -> None:
        """`limit`: how many rows there are at most, where the query does not say. Raises Malformed."""
        self._scope, self._memory = Scope(now_s), Memory()
        self._stages: list[Stage] = []
        self._steps: list[Step] = []
        self._order: Ordered | None = None
        self._columns: dict[str, Evaluate] = {}
        self._parsed: dict[str, Evaluate] = {}
        self._only: dict[str, Evaluate] | None = None
        for command in parse(query):
            self._add(command)
        order = self._order or self._new_order()
        order.limit = order.limit or limit or LIMIT_MAX
        self._stages.append(Stage(self._steps, order))
        columns = self._columns or {name: self._scope.evaluate(Field((name,))) for name in DEFAULT_COLUMNS}
        self._shown = list((columns | self._parsed if self._only is None else self._only).items())

    def feed(self, row: Row) -> None:
        """The next event. Raises TooMuch."""
        self._stages[0].feed(row)

    @property
    def matched(self) -> int:
        """How many events have passed all filters so far."""
        return self._stages[0].passed

    def drain(self) -> Iterator[Row | None]:
        """The rows of the result in order, and None now and then while there is still work. Raises TooMuch."""
        for stage, following in pairwise(self._stages):
            for row in stage.sink.rows():
                following.feed(row)
                yield None
        yield from self._stages[-1].sink.rows()

    def shown(self, row: Row) -> Result:
        """A row's columns that have a value."""
        return [(name, value) for name, of in self._shown if (value := text(of(row))) is not None]

    def _add(self, command: Command) -> None:
        order = self._order
        if order and order.same and not isinstance(command, Limit | Fields):
            raise Malformed("only limit can follow dedup", 0, 0)
        match command:
            case Fields(columns, only):
                self._fields(columns, only)
            case Parse():
                self._parse(command)
            case Filter(condition):
                self._close_if_limited()
                self._steps.append(_holds(self._scope.evaluate(condition)))
            case Stats():
                self._close_if_limited()
                self._stats(command)
            case Sort(keys):
                self._close_if_limited()
                self._ordered().keys = [(self._scope.evaluate(key), falling) for key, falling in keys]
            case Dedup(fields):
                self._close_if_limited()
                self._ordered().same = [self._scope.evaluate(each) for each in fields]
            case Limit(count):
                self._ordered().limit = min(count, self._ordered().limit or LIMIT_MAX)

    def _fields(self, columns: Sequence[Named], only: bool) -> None:
        shown = {}
        for column in columns:
            of = self._scope.evaluate(column.expression)
            if column.alias or not isinstance(column.expression, Field):
                if column.alias or column.name not in self._scope.names:
                    self._define(column.name, column.start, column.end)
                    self._steps.append(_makes(column.name, of))
                of = self._scope.evaluate(Field((column.name,)))
            shown[column.name] = of
        if only:
            self._only = shown
        else:
            self._columns |= shown

    def _parse(self, command: Parse) -> None:
        source = self._scope.evaluate(command.source)
        split: Callable[[str], Sequence[str | None] | None]
        if command.regex:
            expression = compiled(command.pattern, command.start, command.end)
            names, split = tuple(expression.names), expression.groups
            if not names or command.names:
                raise Malformed("parse takes the names of new fields from the named groups of a regular expression",
                                command.start, command.end)
        else:
            names, split = command.names, _glob(command.pattern)
            if not names or command.pattern.count("*") != len(names):
                raise Malformed("parse needs as many names after as, as there are * in its pattern", command.start,
                                command.end)
        for name in names:
            self._define(name, command.start, command.end)
            self._parsed[name] = self._scope.evaluate(Field((name,)))
        self._steps.append(_splits(source, split, names))

    def _stats(self, command: Stats) -> None:
        outer = Scope(self._scope.now_s, self._scope)
        by = []
        for named in command.by:
            by.append((named.name, self._scope.evaluate(named.expression)))
            outer.names.add(named.name)
        outcomes = []
        for named in command.figures:
            outer.where = named.start, named.end
            outcomes.append((named.name, outer.evaluate(named.expression)))
            if named.name in outer.names:
                raise Malformed(f"Ephemeral field is already defined: {named.name}", named.start, named.end)
            outer.names.add(named.name)
        self._stages.append(Stage(self._steps, Grouped(outer.figures, outcomes, by, self._memory)))
        self._steps, self._order, self._scope = [], None, outer.after()
        self._parsed, self._only = {}, None
        self._columns = {name: self._scope.evaluate(Field((name,))) for name, _ in [*by, *outcomes]}

    def _define(self, name: str, start: int, end: int) -> None:
        if name in self._scope.names:
            raise Malformed(f"Ephemeral field is already defined: {name}", start, end)
        self._scope.names.add(name)

    def _ordered(self) -> Ordered:
        if self._order is None:
            self._order = self._new_order()
        return self._order

    def _new_order(self) -> Ordered:
        return Ordered(latest_first=not self._stages)

    def _close_if_limited(self) -> None:
        """What follows a limit sees only what is within it; sorting alone makes no difference to what follows."""
        if self._order and self._order.limit:
            self._stages.append(Stage(self._steps, self._order))
            self._steps, self._order = [], None


def _holds(condition: Evaluate) -> Step:
    return lambda row: truth(condition(row))


def _makes(name: str, of: Evaluate) -> Step:
    def step(row: Row) -> bool:
        row.made[name] = of(row)
        return True
    return step


def _splits(source: Evaluate, split: Callable[[str], Sequence[str | None] | None], names: Sequence[str]) -> Step:
    def step(row: Row) -> bool:
        value = text(source(row))
        found = None if value is None else split(value)
        if found is not None:
            row.made.update(zip(names, found, strict=True))
        return True
    return step


def _glob(pattern: str) -> Callable[[str], list[str] | None]:
    """What the `*` of a pattern stand for, each as short as possible; one at the pattern's end for the rest."""
    first, *others = pattern.split("*")

    def split(value: str) -> list[str] | None:
        start = value.find(first)
        if start < 0:
            return None
        at, found = start + len(first), []
        for number, other in enumerate(others):
            end = len(value) if not other and number == len(others) - 1 else value.find(other, at)
            if end < 0:
                return None
            found.append(value[at:end])
            at = end + len(other)
        return found
    return split
