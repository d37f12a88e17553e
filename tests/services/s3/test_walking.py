"""Walking keys in order: common prefixes, and that those below one are passed by seeking."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlet.services.s3 import walking
from cloudlet.services.s3.walking import STEPS_MAX

TEXT = st.text(alphabet="ab/\ud7ff\ue000\uffff\U00010000\U0010ffff\0", max_size=5)


@given(text=TEXT, other=TEXT)
def test_what_follows_a_prefix(text: str, other: str) -> None:
    """It is after all that begins with it, and nothing else is between."""
    after = walking.following(text)
    if after is None:
        assert not text.strip("\U0010ffff")
    else:
        assert text + other < after
        assert not text <= other < after or other.startswith(text)


def listed(keys: list[str], prefix: str = "", delimiter: str = "", marker: str = "") -> tuple[list[str], int]:
    """What a walk finds, and how many rows it read."""
    read = 0

    def seek(key: str) -> list[tuple[str]]:
        nonlocal read
        rows = keys[bisect_left(keys, key):]

        def counted() -> object:
            nonlocal read
            for row in rows:
                read += 1
                yield (row,)
        return counted()  # type: ignore[return-value]
    start = walking.start_after(marker, prefix, delimiter)
    return [walking.name_of(entry) for entry in walking.entries(seek, start, prefix, delimiter)], read


def naive(keys: list[str], prefix: str, delimiter: str, marker: str) -> list[str]:
    found: list[str] = []
    for key in keys:
        if key.startswith(prefix) and key > marker:
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key if at < 0 else key[:at + len(delimiter)]
            if name not in found and (at < 0 or not marker.startswith(name)):
                found.append(name)
    return found


@given(keys=st.sets(TEXT.filter(bool), max_size=25), prefix=TEXT, delimiter=st.sampled_from(["", "/", "a/", "b", "//"]),
       marker=TEXT)
def test_against_the_slow_way(keys: set[str], prefix: str, delimiter: str, marker: str) -> None:
    for asked in (prefix, prefix[:1], ""):
        assert listed(sorted(keys), asked, delimiter, marker)[0] == naive(sorted(keys), asked, delimiter, marker)


def test_a_common_prefix_costs_a_few_rows_however_many_keys_it_has() -> None:
    keys = sorted([f"a/{number:06d}" for number in range(50_000)] + ["b", "c/1", "c/2", "d"])
    found, read = listed(keys, delimiter="/")
    assert found == ["a/", "b", "c/", "d"]
    assert read <= STEPS_MAX + 2 + 5


@pytest.mark.parametrize(("marker", "first"), [
    ("", "a/"), ("a", "a/"), ("a/", "b"), ("a/x", "b"), ("a0", "b"), ("b", "c/"), ("c/", "d"), ("z", None)])
def test_markers_within_common_prefixes_stand_for_all_of_them(marker: str, first: str | None) -> None:
    found, _ = listed(["a/x", "a/y", "b", "c/1", "d"], delimiter="/", marker=marker)
    assert found[:1] == ([first] if first else [])
