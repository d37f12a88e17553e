"""Lines joined to events, however they are cut into chunks."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlet.engines.ports import LogLine
from cloudlet.services.ecs.log_events import AGE_MAX_S, EVENT_MAX, Event, Unfinished, beginning, joined

FIRST = "^#"


def lines(*texts: str, since: float = 1000.0, every: float = 0.01) -> list[LogLine]:
    return [LogLine(since + number * every, "stdout", text) for number, text in enumerate(texts)]


def fed(first: str, given: list[LogLine], cuts: list[int]) -> list[Event]:
    """The events when the lines come in chunks, and then the end."""
    events, left = list[Event](), None
    for start, end in zip([0, *cuts], [*cuts, len(given)], strict=True):
        more, left = joined(first, left, given[start:end], 1001.0, ended=False)
        events += more
    more, left = joined(first, left, [], 1001.0, ended=True)
    assert left is None
    return events + more


@given(st.lists(st.sampled_from(["#a", "#b", " c", "", "d"])), st.data())
def test_chunks_make_no_difference_and_nothing_is_lost(texts: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=4)))
    events = fed(FIRST, lines(*texts), cuts)
    assert events == fed(FIRST, lines(*texts), [])
    assert "".join(text for _, text in events) == "".join(f"{text}\n" for text in texts)
    for number, (_, text) in enumerate(events):
        assert number == 0 or text.startswith("#")
        assert "\n#" not in text


def test_an_event_has_the_time_of_its_first_line() -> None:
    events = fed(FIRST, lines("#one", "more", "#two", every=0.5), [1])
    assert events == [(1_000_000, "#one\nmore\n"), (1_001_000, "#two\n")]


def test_what_waits_long_enough_is_an_event() -> None:
    events, left = joined(FIRST, None, lines("#one", "more"), 1000.1, ended=False)
    assert (events, left) == ([], Unfinished(1000.0, "#one\nmore\n"))
    assert joined(FIRST, left, [], 1000.0 + AGE_MAX_S, ended=False) == ([], left)
    assert joined(FIRST, left, [], 1000.1 + AGE_MAX_S, ended=False) == ([(1_000_000, "#one\nmore\n")], None)
    assert joined(FIRST, left, [], 900.0, ended=False)[1] is None  # the clock was set back
    late, after = joined(FIRST, left, lines("far later", since=1010.0), 2000.0, ended=False)
    assert late == [(1_000_000, "#one\nmore\n")]
    assert after == Unfinished(1010.0, "far later\n")


def test_an_event_that_grows_too_large_is_cut() -> None:
    events = fed(FIRST, lines("#" + "x" * 200_000, "é" * 40_000, "y" * EVENT_MAX), [])
    assert [len(text.encode()) for _, text in events] == [200_002, 80_001, EVENT_MAX]


def test_a_pattern_that_takes_too_long_on_a_line_is_not_in_it() -> None:
    slow = "(" + "|".join(["(.?){30}"] * 40) + ")z"
    events, left = joined(slow, None, lines("a" * 5000, "b"), 1000.0, ended=True)
    assert left is None
    assert events == [(1_000_000, "a" * 5000 + "\nb\n")]


@pytest.mark.parametrize("format_", [
    "%Y-%m-%d %H:%M:%S", "%b %d, %Y", "%A %B %y", "%a %I:%M %p", "%S,%f", "%H:%M:%S %z", "%w"])
def test_date_formats_mean_what_strftime_writes(format_: str) -> None:
    first = beginning({"awslogs-datetime-format": format_})
    for month in range(1, 13):
        moment = datetime(2026, month, month + 12, month, 59, 7, 123456, tzinfo=UTC)
        text = moment.strftime(format_)
        assert re.search(first, text)
        events, _ = joined(first, None, lines(text, "no date here", text), 1000.1, ended=True)
        assert len(events) == 2
    assert beginning({}) == ""
    assert beginning({"awslogs-multiline-pattern": "^x"}) == "^x"
