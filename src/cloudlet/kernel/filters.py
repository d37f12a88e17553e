"""Filters of Describe operations: names and values, any value of each filter, wildcards, tags."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from cloudlet.kernel.errors import declare

T = TypeVar("T")
Values = str | bool | int | None | Iterable[str]
Field = Callable[[T], Values]

FILTERS_MAX = 50  # per request; values per filter: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Filter.html
VALUES_MAX = 200

InvalidParameterValue = declare("InvalidParameterValue")
FilterLimitExceeded = declare("FilterLimitExceeded")


def matching(items: Iterable[T], filters: Sequence[Mapping[str, Any]] | None, fields: Mapping[str, Field[T]],
             tags: Callable[[T], Mapping[str, str]] | None = None) -> list[T]:
    """The items that meet every filter (each by any one of its values), in their order.

    `filters` is the request's member, a list of {"Name", "Values"}. `fields` maps a filter's name to what an item
    has under it: a text, a boolean ("true"/"false"), a number, several texts, or None for nothing. With `tags`, the
    names `tag:<key>`, `tag-key` and `tag-value` work too. `*` and `?` are wildcards; a backslash takes their meaning
    away. Raises InvalidParameterValue for a filter that the operation does not know, FilterLimitExceeded for too many.
    """
    tests = [_test(one, fields, tags) for one in filters or ()]
    if len(tests) > FILTERS_MAX:
        raise FilterLimitExceeded(f"The maximum number of filters is {FILTERS_MAX}")
    return [item for item in items if all(test(item) for test in tests)] if tests else list(items)


def _test(one: Mapping[str, Any], fields: Mapping[str, Field[T]],
          tags: Callable[[T], Mapping[str, str]] | None) -> Callable[[T], bool]:
    name, wanted = one.get("Name") or "", one.get("Values") or ()
    if len(wanted) > VALUES_MAX:
        raise FilterLimitExceeded(f"The maximum number of filter values specified on a single call is {VALUES_MAX}")
    field = fields.get(name) or (_tag_field(name, tags) if tags else None)
    if field is None:
        raise InvalidParameterValue(f"The filter '{name}' is invalid")
    exact = {value for value in wanted if not _is_pattern(value)}
    patterns = [_pattern(value) for value in wanted if _is_pattern(value)]

    def test(item: T) -> bool:
        return any(text in exact or any(_matches(p, text) for p in patterns) for text in _texts(field(item)))
    return test


def _tag_field(name: str, tags: Callable[[T], Mapping[str, str]]) -> Field[T] | None:
    if name.startswith("tag:"):
        key = name[4:]
        return lambda item: tags(item).get(key)
    if name == "tag-key":
        return lambda item: tags(item).keys()
    if name == "tag-value":
        return lambda item: tags(item).values()
    return None


def _texts(values: Values) -> Iterable[str]:
    match values:
        case None:
            return ()
        case bool():
            return ("true" if values else "false",)
        case str():
            return (values,)
        case int():
            return (str(values),)
        case _:
            return values


def _is_pattern(value: str) -> bool:
    return "*" in value or "?" in value or "\\" in value


def _pattern(value: str) -> list[str]:
    """A value's characters, where "*" and "?" as such are wildcards and a character taken literally is doubled."""
    parts, escaped = [], False
    for char in value:
        if char == "\\" and not escaped:
            escaped = True
            continue
        parts.append(char * 2 if escaped or char not in "*?" else char)
        escaped = False
    return parts


def _matches(pattern: Sequence[str], text: str) -> bool:
    """Whether all of the text meets the pattern. Goes back only to the last "*", so no pattern takes for ever."""
    at, star, resumed = 0, -1, 0
    position = 0
    while position < len(text):
        if at < len(pattern) and pattern[at] in ("?", text[position] * 2):
            at, position = at + 1, position + 1
        elif at < len(pattern) and pattern[at] == "*":
            star, resumed, at = at, position, at + 1
        elif star >= 0:
            resumed += 1
            at, position = star + 1, resumed
        else:
            return False
    return all(part == "*" for part in pattern[at:])
