"""Reading only what selectors ask for finds what reading the whole document does."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloudlet.services.logs.selection import UNSET, Step, reader, steps_of

names = st.sampled_from(["a", "b", "c", "a.b", 'q"', "\\", "ü", ""])
documents = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                         | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)
                         | st.dictionaries(names, inner, max_size=4), max_leaves=12)
steps = st.lists(names | st.integers(0, 2) | st.none(), min_size=1, max_size=4)


def found(document: Any, way: list[Step]) -> list[Any]:
    """All values to which the steps lead."""
    for step in way:
        if step is None:
            inside = list(document.values()) if isinstance(document, dict) else document
            rest = way[way.index(step) + 1:]
            return [value for each in inside for value in found(each, rest)] if isinstance(inside, list) else []
        if not isinstance(document, dict if isinstance(step, str) else list):
            return []
        if step not in (document if isinstance(document, dict) else range(len(document))):
            return []
        document = document[step]
    return [document]


@given(documents, st.lists(steps, min_size=1, max_size=4), st.booleans())
def test_selectors_find_what_is_there(document: Any, selectors: list[list[Step]], escaped: bool) -> None:
    read = reader(selectors)(json.dumps(document, ensure_ascii=escaped))
    if not isinstance(document, dict | list):
        assert read is None
        return
    assert read is not None
    for way, value in zip(selectors, read, strict=True):
        expected = found(document, way)
        assert (value if None in way else [] if value is UNSET else [value]) == expected


def test_a_member_named_twice_is_what_it_is_last() -> None:
    read = reader([steps_of("$.a.b"), steps_of("$.c")])
    assert read('{"a": {"b": 1}, "a": {}, "c": 1, "c": 2}') == (UNSET, 2)
    assert list(read('{"a": {"b": 1}, "a": 5}') or ()) == [UNSET, UNSET]
    assert list(read('{"a": 5, "a": {"b": 1}}') or ()) == [1, UNSET]


def test_what_is_not_json_has_nothing() -> None:
    read = reader([steps_of("$.s")])
    for message in ('{"s": 1} x', '{"a": 1.2.3, "s": 1}', r'{"a": "\x", "s": 1}', '{"a": nul, "s": 1}', "s", "", "{",
                    '{"a": ' + "[" * 5000 + "]" * 5000 + ', "s": 1}'):
        assert read(message) is None
