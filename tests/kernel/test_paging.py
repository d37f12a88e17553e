"""Pages of a list that changes while somebody walks through it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.kernel.paging import InvalidToken, cut


def test_the_last_page_has_no_token() -> None:
    assert cut([1, 2], token=None, limit=2, identity=str) == ([1, 2], None)
    assert cut([], token=None, limit=2, identity=str) == ([], None)


def test_a_token_is_bound_to_its_scope() -> None:
    _, token = cut([1, 2, 3], token=None, limit=2, identity=str, scope="a")
    assert cut([1, 2, 3], token=token, limit=2, identity=str, scope="a") == ([3], None)
    with pytest.raises(InvalidToken):
        cut([1, 2, 3], token=token, limit=2, identity=str, scope="b")


@given(st.text(max_size=80))
def test_other_texts_are_no_tokens(text: str) -> None:
    if text:
        with pytest.raises(InvalidToken):
            cut([1], token=text, limit=1, identity=str)


def test_items_that_look_alike_are_told_apart_by_their_place() -> None:
    items, seen, token = ["a"] * 7, list[str](), None
    while True:
        page, token = cut(items, token=token, limit=2, identity=str)
        seen += page
        if token is None:
            break
    assert seen == items


@settings(max_examples=200)
@given(start=st.sets(st.integers(0, 50)), changes=st.lists(st.sets(st.integers(0, 50), max_size=2), max_size=20),
       limit=st.integers(1, 9))
def test_nothing_that_stays_is_lost_or_repeated(start: set[int], changes: list[set[int]], limit: int) -> None:
    present, steady, seen, token = set(start), set(start), list[int](), None
    steps = iter(changes)
    while True:
        page, token = cut(sorted(present), token=token, limit=limit, identity=str)
        seen += page
        if token is None:
            break
        boundary = {page[-1], min((item for item in present if item > page[-1]), default=-1)}
        change = next(steps, set())
        if boundary <= change:  # both neighbours of a boundary at once: no token survives that
            change = set()
        present ^= change
        steady &= present
    assert [item for item in seen if item in steady] == sorted(steady)
