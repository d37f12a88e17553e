"""The functions of `stats`: each takes the values of a group's events one by one, in any order, and gives a figure.

What AWS calls approximate is so here for large groups too: memory stays bounded whatever there is to count.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cloudlet.services.logs.insights.row import Row
from cloudlet.services.logs.insights.values import Value, finite, number, sort_key, text

REMEMBERED_MAX = 1_000_000  # values and groups that one query may remember
EXACT_MAX = 4096  # values of a group up to which a percentile is exact; from there it is true to a thousandth
_STEP = math.log(1.002)


class TooMuch(Exception):
    """The query would have to remember more than one may."""


class Memory:
    """What a query remembers, counted."""

    def __init__(self) -> None:
        self.left = REMEMBERED_MAX

    def take(self) -> None:
        """One thing more. Raises TooMuch."""
        self.left -= 1
        if self.left < 0:
            raise TooMuch


class Aggregate(Protocol):
    """One figure of one group in the making."""

    def add(self, row: Row, value: Value) -> None:
        """The next event and its value."""
        ...

    def result(self) -> Value:
        """The figure so far."""
        ...


class Count:
    """How many values there are; `count(*)` is given something for every event."""

    def __init__(self, memory: Memory, parameter: float) -> None:
        self.count = 0

    def add(self, row: Row, value: Value) -> None:
        """Counts what is there."""
        if value is not None:
            self.count += 1

    def result(self) -> Value:
        """The number."""
        return self.count


class CountDistinct:
    """How many different texts the values have."""

    def __init__(self, memory: Memory, parameter: float) -> None:
        self.memory = memory
        self.seen: set[str] = set()

    def add(self, row: Row, value: Value) -> None:
        """Remembers a text that is new."""
        found = text(value)
        if found is not None and found not in self.seen:
            self.memory.take()
            self.seen.add(found)

    def result(self) -> Value:
        """The number."""
        return len(self.seen)


class Numbers:
    """Sum, mean and deviation of the values that are numbers, by Welford's method."""

    def __init__(self, memory: Memory, parameter: float) -> None:
        self.count = 0
        self.total: int | float = 0
        self.mean = self.squares = 0.0

    def add(self, row: Row, value: Value) -> None:
        """Adds a number."""
        found = number(value)
        if found is not None:
            self.count += 1
            self.total += found
            delta = found - self.mean
            self.mean += delta / self.count
            self.squares += delta * (found - self.mean)

    def result(self) -> Value:
        """Absent where there is no number; so says each of the three."""
        raise NotImplementedError


class Sum(Numbers):
    """The sum."""

    def result(self) -> Value:
        """Absent where there is no number."""
        return finite(self.total) if self.count else None


class Avg(Numbers):
    """The mean."""

    def result(self) -> Value:
        """Absent where there is no number."""
        return finite(self.total / self.count) if self.count else None


class Stddev(Numbers):
    """The standard deviation of the values as a whole population."""

    def result(self) -> Value:
        """Absent where there is no number."""
        return finite(math.sqrt(max(0.0, self.squares) / self.count)) if self.count else None


class Extreme:
    """The smallest or largest number."""

    def __init__(self, memory: Memory, parameter: float) -> None:
        self.best: int | float | None = None

    def add(self, row: Row, value: Value) -> None:
        """Keeps the better number."""
        found = number(value)
        if found is not None and (self.best is None or self.better(found, self.best)):
            self.best = found

    @staticmethod
    def better(one: float, other: float) -> bool:
        """Whether one goes before the other."""
        return one < other

    def result(self) -> Value:
        """Absent where there is no number."""
        return self.best


class Max(Extreme):
    """The largest number."""

    @staticmethod
    def better(one: float, other: float) -> bool:
        """Whether one goes before the other."""
        return one > other


class Percentile:
    """The value below which so many hundredths of the numbers are, between two of them in proportion."""

    def __init__(self, memory: Memory, parameter: float) -> None:
        self.share = parameter / 100
        self.exact: list[int | float] = []
        self.buckets: Counter[tuple[int, int]] = Counter()

    def add(self, row: Row, value: Value) -> None:
        """Keeps a number, or counts it among those about as large."""
        found = number(value)
        if found is None:
            return
        if not self.buckets and len(self.exact) < EXACT_MAX:
            self.exact.append(found)
            return
        if self.exact:
            self.buckets.update(map(_bucket, self.exact))
            self.exact = []
        self.buckets[_bucket(found)] += 1

    def result(self) -> Value:
        """Absent where there is no number."""
        if self.buckets:
            rank = self.share * (self.buckets.total() - 1)
            for bucket in sorted(self.buckets):
                rank -= self.buckets[bucket]
                if rank < 0:
                    return _of_bucket(bucket)
            return _of_bucket(max(self.buckets))
        if not self.exact:
            return None
        ordered = sorted(self.exact)
        place = self.share * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low) if place > low else ordered[low]


def _bucket(value: float) -> tuple[int, int]:
    """Buckets are in the order of their numbers, each two thousandths wide."""
    if value == 0:
        return 0, 0
    exponent = round(math.log(abs(value)) / _STEP)
    return (1, exponent) if value > 0 else (-1, -exponent)


def _of_bucket(bucket: tuple[int, int]) -> float:
    sign, exponent = bucket
    return sign * math.exp(abs(exponent) * _STEP if sign * exponent >= 0 else -abs(exponent) * _STEP)


class Edge:
    """The value of the event that comes first, by time or by the value itself; or last."""

    def __init__(self, memory: Memory, parameter: float) -> None:
        self.best: tuple[tuple[object, ...], Value] | None = None

    def add(self, row: Row, value: Value) -> None:
        """Keeps the better value."""
        if value is not None:
            rank = self.rank(row, value)
            if self.best is None or self.better(rank, self.best[0]):
                self.best = rank, value

    @staticmethod
    def rank(row: Row, value: Value) -> tuple[object, ...]:
        """What decides."""
        return row.place

    @staticmethod
    def better(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
        """Whether one goes before the other."""
        return one < other

    def result(self) -> Value:
        """Absent where no event has a value."""
        return self.best[1] if self.best else None


class Latest(Edge):
    """The value of the latest event that has one."""

    @staticmethod
    def better(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
        """Whether one goes before the other."""
        return one > other


class SortsFirst(Edge):
    """The value that `sort` puts first."""

    @staticmethod
    def rank(row: Row, value: Value) -> tuple[object, ...]:
        """What decides."""
        return sort_key(value)


class SortsLast(Latest):
    """The value that `sort` puts last."""

    @staticmethod
    def rank(row: Row, value: Value) -> tuple[object, ...]:
        """What decides."""
        return sort_key(value)


@dataclass(frozen=True, slots=True)
class Kind:
    """An aggregate function: how many arguments it takes, and what makes one for a group (given a number where it has a
    second argument)."""

    arity: tuple[int, int]
    make: Callable[[Memory, float], Aggregate]


AGGREGATES: dict[str, Kind] = {
    "count": Kind((0, 1), Count), "count_distinct": Kind((1, 1), CountDistinct), "sum": Kind((1, 1), Sum),
    "avg": Kind((1, 1), Avg), "min": Kind((1, 1), Extreme), "max": Kind((1, 1), Max), "pct": Kind((2, 2), Percentile),
    "stddev": Kind((1, 1), Stddev), "earliest": Kind((1, 1), Edge), "latest": Kind((1, 1), Latest),
    "sortsfirst": Kind((1, 1), SortsFirst), "sortslast": Kind((1, 1), SortsLast)}
