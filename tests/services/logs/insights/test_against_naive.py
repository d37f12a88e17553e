"""Queries made at random, answered by the plan and by an evaluator that takes every command at its word, over lists."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.services.logs.insights.plan import Plan
from cloudlet.services.logs.insights.row import Row
from tests.services.logs.insights.test_language import ORIGIN, START_MS

NAMES = ("a", "b", "c.d")
words = st.sampled_from(["", "x", "yz", "10", "9", "-1.5", "x1"])
numbers = st.integers(-3, 12) | st.sampled_from([0.5, 2.25])
scalars = words | numbers | st.booleans()
messages = st.fixed_dictionaries({}, optional={
    "a": scalars, "b": scalars, "c": st.fixed_dictionaries({}, optional={"d": scalars})}) | words

fields = st.tuples(st.just("field"), st.sampled_from([*NAMES, "none"]))
constants = st.tuples(st.just("constant"), words | numbers)
operands = st.recursive(fields | constants, lambda inner: st.tuples(st.sampled_from("+-*"), inner, inner), max_leaves=4)
conditions = st.recursive(
    st.tuples(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), operands, operands)
    | st.tuples(st.just("like"), fields, words) | st.tuples(st.just("present"), fields)
    | st.tuples(st.just("in"), fields, st.lists(words | numbers, min_size=1)),
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner) | st.tuples(st.just("not"), inner),
    max_leaves=4)
figures = st.sampled_from(["count", "sum", "avg", "min", "max", "count_distinct", "earliest", "latest"])
commands = st.lists(
    st.tuples(st.just("filter"), conditions)
    | st.tuples(st.just("make"), operands)
    | st.tuples(st.just("sort"), st.lists(st.tuples(fields, st.booleans()), min_size=1, max_size=2))
    | st.tuples(st.just("limit"), st.integers(1, 6)), max_size=5)
ends = (st.tuples(st.just("stats"), st.lists(st.tuples(figures, fields), min_size=1, max_size=3), fields | st.none())
        | st.tuples(st.just("dedup"), st.lists(fields, min_size=1, max_size=2)) | st.none())


def written(tree: Any) -> str:
    """An expression as a query has it."""
    match tree:
        case ("field", name):
            return str(name)
        case ("constant", value) | (str() | int() | float() as value):
            return json.dumps(value) if isinstance(value, str) else str(value)
        case ("like", of, text):
            return f"{written(of)} like {json.dumps(text)}"
        case ("in", of, items):
            return f"{written(of)} in [{', '.join(map(written, items))}]"
        case ("present", of):
            return f"isPresent({written(of)})"
        case ("not", of):
            return f"not ({written(of)})"
        case (operator, left, right):
            return f"({written(left)} {operator} {written(right)})"
    raise AssertionError(tree)


def as_number(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        try:
            return float(value) if "." in value else int(value)
        except ValueError:
            return None
    return value


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return str(int(value)) if value == int(value) else f"{round(value, 4):.4f}".rstrip("0")
    return str(value)


def same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return False
    numbers_ = as_number(one), as_number(other)
    return numbers_[0] == numbers_[1] if None not in numbers_ else as_text(one) == as_text(other)


def before(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return False
    numbers_ = as_number(one), as_number(other)
    if None not in numbers_:
        return bool(numbers_[0] < numbers_[1])
    return numbers_ == (None, None) and as_text(one) < as_text(other)


def evaluated(tree: Any, row: dict[str, Any]) -> Any:
    match tree:
        case ("field", name):
            return row.get(name)
        case ("constant", value):
            return value
        case ("and", left, right):
            return bool(evaluated(left, row)) and bool(evaluated(right, row))
        case ("or", left, right):
            return bool(evaluated(left, row)) or bool(evaluated(right, row))
        case ("not", of):
            return not evaluated(of, row)
        case ("present", of):
            return evaluated(of, row) is not None
        case ("like", of, text):
            value = evaluated(of, row)
            return value is not None and text in as_text(value)
        case ("in", of, items):
            return any(same(evaluated(of, row), item) for item in items)
        case (operator, left, right):
            one, other = evaluated(left, row), evaluated(right, row)
            if operator in "+-*":
                one, other = as_number(one), as_number(other)
                if one is None or other is None:
                    return None
                return one + other if operator == "+" else one - other if operator == "-" else one * other
            return {"=": same(one, other), "!=": not same(one, other) and (one is not None or other is not None),
                    "<": before(one, other), ">": before(other, one), "<=": before(one, other) or same(one, other),
                    ">=": before(other, one) or same(one, other)}[operator]
    raise AssertionError(tree)


def rank(value: Any) -> tuple[Any, ...]:
    """The order of `sort` for the words and numbers there are here."""
    if value is None:
        return (0,)
    if as_number(value) is not None:
        return (2, as_number(value))
    return (1, as_text(value))


def figure(name: str, rows: list[dict[str, Any]], of: Any) -> Any:
    there = [(row["@place"], evaluated(of, row)) for row in rows if evaluated(of, row) is not None]
    there.sort(key=lambda each: each[0])
    found = [as_number(value) for _, value in there if as_number(value) is not None]
    if name == "count":
        return len(there)
    if name == "count_distinct":
        return len({as_text(value) for _, value in there})
    if name in ("earliest", "latest"):
        return (there[0] if name == "earliest" else there[-1])[1] if there else None
    if not found:
        return None
    return {"sum": sum(found), "avg": sum(found) / len(found), "min": min(found), "max": max(found)}[name]


def naive(steps: list[Any], end: Any, events: list[Any]) -> list[dict[str, str]]:
    rows: list[dict[str, Any]] = []
    for number, event in enumerate(events):
        found = event if isinstance(event, dict) else {}
        row = {"@place": number, "a": found.get("a"), "b": found.get("b"), "c.d": found.get("c", {}).get("d")}
        rows.insert(0, row)
    shown = ["a", "b"]
    for number, step in enumerate(steps):
        match step:
            case ("filter", condition):
                rows = [row for row in rows if evaluated(condition, row)]
            case ("make", of):
                rows = [{**row, f"m{number}": evaluated(of, row)} for row in rows]
                shown.append(f"m{number}")
            case ("sort", keys):
                if not any(other[0] == "sort" for other in following(steps, number)):
                    rows.sort(key=lambda row: -row["@place"]) if not limited(steps, number) else None
                    for of, falling in reversed(keys):
                        rows.sort(key=lambda row, of=of: rank(evaluated(of, row)), reverse=falling)  # type: ignore[misc]
            case ("limit", count):
                rows = rows[:count]
    if end and end[0] == "dedup":
        seen, kept = set(), []
        for row in rows:
            key = tuple(None if (value := evaluated(of, row)) is None else as_text(value) for of in end[1])
            if None in key or key not in seen:
                kept.append(row)
            seen.add(key)
        rows = kept
    if end and end[0] == "stats":
        groups: dict[Any, list[dict[str, Any]]] = {} if end[2] else {None: []}
        for row in rows:
            value = evaluated(end[2], row) if end[2] else None
            groups.setdefault(None if value is None else as_text(value), []).append(row)
        rows = [{"by": key, **{f"f{number}": figure(name, group, of) for number, (name, of) in enumerate(end[1])}}
                for key, group in groups.items()]
        shown = ["by", *(f"f{number}" for number in range(len(end[1])))]
    return [{name: as_text(row[name]) for name in shown if row.get(name) is not None} for row in rows]


def following(steps: list[Any], number: int) -> list[Any]:
    """The steps up to the next limit: what is sorted again there need not be sorted now."""
    rest = steps[number + 1:]
    cut = next((at for at, step in enumerate(rest) if step[0] == "limit"), len(rest))
    return rest[:cut]


def limited(steps: list[Any], number: int) -> bool:
    return any(step[0] == "limit" for step in steps[:number])


def query_of(steps: list[Any], end: Any) -> str:
    texts = ["fields a, b"]
    for number, step in enumerate(steps):
        match step:
            case ("filter", condition):
                texts.append(f"filter {written(condition)}")
            case ("make", of):
                texts.append(f"fields {written(of)} as m{number}")
            case ("sort", keys):
                texts.append("sort " + ", ".join(f"{written(of)} {('asc', 'desc')[falling]}" for of, falling in keys))
            case ("limit", count):
                texts.append(f"limit {count}")
    if end and end[0] == "dedup":
        texts.append("dedup " + ", ".join(map(written, end[1])))
    if end and end[0] == "stats":
        listed = ", ".join(f"{name}({written(of)}) as f{number}" for number, (name, of) in enumerate(end[1]))
        texts.append(f"stats {listed}" + (f" by {written(end[2])} as by" if end[2] else ""))
    return " | ".join(texts)


@settings(max_examples=300)
@given(commands, ends, st.lists(messages, max_size=12), st.randoms(use_true_random=False))
def test_plans_answer_what_the_commands_say(steps: list[Any], end: Any, events: list[Any], random: Any) -> None:
    plan = Plan(query_of(steps, end), 0)
    order = list(range(len(events)))
    random.shuffle(order)  # streams are read one after another, so that events come in any order
    for number in order:
        text = events[number] if isinstance(events[number], str) else json.dumps(events[number])
        plan.feed(Row(ORIGIN, (START_MS + number, 1, 1, 0), text, START_MS))
    found = [dict(plan.shown(row)) for row in plan.drain() if row is not None]
    expected = naive(steps, end, events)
    if end and end[0] == "stats":  # whose rows have no order
        found.sort(key=str)
        expected.sort(key=str)
    assert found == expected, query_of(steps, end)
