"""Customers' regular expressions: the same verdicts as a backtracking matcher, in bounded time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlet.kernel.pattern import Unusable, matches, occurs

PIECES = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "[^0-9b]", r"\d", r"\W", r"\s", "c", "^", "$", r"\b", r"\."])
COUNTS = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?"])
PATTERNS = st.recursive(PIECES, lambda inner: st.one_of(
    st.tuples(inner, inner).map("".join),
    st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
    st.tuples(inner, COUNTS).map(lambda two: f"({two[0]}){two[1]}")), max_leaves=8)


@given(PATTERNS, st.text("abc1. \n", max_size=6))
def test_it_says_what_pythons_matcher_says(pattern: str, value: str) -> None:
    assert matches(pattern, value) == (re.fullmatch(pattern, value, re.ASCII) is not None)


@given(PATTERNS, st.lists(st.text("abc1. \n", max_size=6), max_size=3))
def test_it_finds_what_pythons_matcher_finds(pattern: str, values: list[str]) -> None:
    for value in values:  # more than one: what is remembered of a pattern must not mislead
        assert occurs(pattern, value) == (re.search(pattern, value, re.ASCII) is not None)


@pytest.mark.parametrize(("pattern", "value"), [
    ("(a+)+b", "a" * 8192), ("(a*)*(a*)*(a*)*b", "a" * 8192), (".*.*.*.*x", "a" * 8192), ("(a|a)*b", "a" * 8192)])
def test_patterns_that_backtracking_never_finishes(pattern: str, value: str) -> None:
    assert not matches(pattern, value)
    assert not occurs(pattern, value)


def test_long_values_and_wide_counts() -> None:
    assert matches("^([a-z]+,)*[a-z]+$", "abc," * 2000 + "a")
    assert matches(".{1,4096}", "a" * 4096) and not matches(".{1,4095}", "a" * 4096)


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?=a)a", "(?<!a)b", "(?i)a", "a{1,20000}", "(a?){1000}b",
                                     "(((a?){99}){99}){99}", "(?>a)", r"\p{L}"])
def test_what_cannot_be_run_is_refused(pattern: str) -> None:
    with pytest.raises(Unusable):
        matches(pattern, "a" * 8192)
