"""Filters as Describe operations take them."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from cloudlet.kernel.filters import FILTERS_MAX, VALUES_MAX, FilterLimitExceeded, InvalidParameterValue, matching


@dataclass(frozen=True)
class Thing:
    name: str
    default: bool = False
    ports: tuple[str, ...] = ()
    size: int = 0
    tags: dict[str, str] = field(default_factory=dict)


THINGS = [Thing("web", True, ("80", "443"), 3, {"Name": "front", "env": "prod"}),
          Thing("db", False, ("5432",), 10, {"Name": "back"}),
          Thing("a*b"), Thing("axb")]
FIELDS: dict[str, Any] = {"name": lambda t: t.name, "default": lambda t: t.default, "port": lambda t: t.ports,
                          "size": lambda t: t.size, "nothing": lambda t: None}


def names(*filters: tuple[str, list[str]]) -> list[str]:
    asked = [{"Name": name, "Values": values} for name, values in filters]
    return [t.name for t in matching(THINGS, asked, FIELDS, lambda t: t.tags)]


@pytest.mark.parametrize(("filters", "expected"), [
    ([], ["web", "db", "a*b", "axb"]),
    ([("name", ["web", "db"])], ["web", "db"]),
    ([("name", ["w*"])], ["web"]),
    ([("name", ["?b"])], ["db"]),
    ([("name", [r"a\*b"])], ["a*b"]),
    ([("name", ["a*b"])], ["a*b", "axb"]),
    ([("name", ["WEB"])], []),
    ([("default", ["true"])], ["web"]),
    ([("size", ["10"])], ["db"]),
    ([("port", ["443"])], ["web"]),
    ([("port", ["443"]), ("name", ["db"])], []),
    ([("nothing", ["*"])], []),
    ([("name", [])], []),
    ([("tag:Name", ["front", "back"])], ["web", "db"]),
    ([("tag:Name", ["f*"])], ["web"]),
    ([("tag-key", ["env"])], ["web"]),
    ([("tag-value", ["back"])], ["db"]),
])
def test_matching(filters: list[tuple[str, list[str]]], expected: list[str]) -> None:
    assert names(*filters) == expected


@pytest.mark.parametrize(("pattern", "text", "expected"), [
    ("*", "", True), ("?", "", False), ("**a**", "bab", True), ("a*c?e", "abbcde", True), ("a*c?e", "abbcdef", False),
    ("*ab", "aab", True), (r"\?", "?", True), (r"\?", "x", False), (r"\\*", "\\tail", True), ("a\\", "a", True),
    ("a**", "a*", True), (r"\a", "a", True), ("*" + "a*" * 100 + "b", "a" * 255, False),
])
def test_wildcards(pattern: str, text: str, expected: bool) -> None:
    found = matching([text], [{"Name": "text", "Values": [pattern]}], {"text": lambda t: t})
    assert found == ([text] if expected else [])


def test_unknown_filter_is_the_customers_error() -> None:
    with pytest.raises(InvalidParameterValue, match="The filter 'colour' is invalid"):
        names(("colour", ["red"]))


def test_tags_are_unknown_where_the_resource_has_none() -> None:
    with pytest.raises(InvalidParameterValue):
        matching(THINGS, [{"Name": "tag:Name", "Values": ["x"]}], FIELDS)


def test_limits() -> None:
    with pytest.raises(FilterLimitExceeded):
        names(("name", ["x"] * (VALUES_MAX + 1)))
    with pytest.raises(FilterLimitExceeded):
        names(*[("name", ["x"])] * (FILTERS_MAX + 1))
