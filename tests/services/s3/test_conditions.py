"""Conditional headers and ranges, one row a case."""

from typing import Any

import pytest

from cloudlet.kernel.errors import AwsError
from cloudlet.services.s3 import conditions
from cloudlet.services.s3.conditions import Range

AT = 1_700_000_000.9  # the object's time; HTTP knows its whole second
BEFORE, SAME, LATER = 1_699_999_999.0, 1_700_000_000.0, 1_700_000_001.0
NOW, TO_COME = 1_700_000_001.5, 1_700_000_002.0


def outcome(check: Any, *args: Any, **kwargs: Any) -> str:
    try:
        check(*args, **kwargs)
    except AwsError as error:
        return f"{error.status} {error.members.get('Condition', '')}".strip()
    return "200"


@pytest.mark.parametrize(("asked", "read", "copied"), [
    ({}, "200", "200"),
    ({"IfMatch": '"tag"'}, "200", "200"),
    ({"IfMatch": "tag"}, "200", "200"),
    ({"IfMatch": "*"}, "200", "200"),
    ({"IfMatch": '"no", "tag"'}, "200", "200"),
    ({"IfMatch": 'W/"tag"'}, "412 If-Match", "412 If-Match"),
    ({"IfMatch": '"no"'}, "412 If-Match", "412 If-Match"),
    ({"IfNoneMatch": '"no"'}, "200", "200"),
    ({"IfNoneMatch": '"tag"'}, "304", "412 If-None-Match"),
    ({"IfNoneMatch": 'W/"tag"'}, "304", "412 If-None-Match"),
    ({"IfNoneMatch": '"a,b" , tag'}, "304", "412 If-None-Match"),
    ({"IfNoneMatch": "*"}, "304", "412 If-None-Match"),
    ({"IfModifiedSince": BEFORE}, "200", "200"),
    ({"IfModifiedSince": SAME}, "304", "412 If-Modified-Since"),
    ({"IfModifiedSince": LATER}, "304", "412 If-Modified-Since"),
    ({"IfModifiedSince": TO_COME}, "200", "200"),
    ({"IfUnmodifiedSince": BEFORE}, "412 If-Unmodified-Since", "412 If-Unmodified-Since"),
    ({"IfUnmodifiedSince": SAME}, "200", "200"),
    ({"IfUnmodifiedSince": LATER}, "200", "200"),
    ({"IfUnmodifiedSince": TO_COME}, "200", "200"),
    # A tag decides, and the date beside it is not asked about: S3's two documented pairs, and their opposites.
    ({"IfMatch": '"tag"', "IfUnmodifiedSince": BEFORE}, "200", "200"),
    ({"IfNoneMatch": '"tag"', "IfModifiedSince": BEFORE}, "304", "412 If-None-Match"),
    ({"IfMatch": '"no"', "IfUnmodifiedSince": LATER}, "412 If-Match", "412 If-Match"),
    ({"IfNoneMatch": '"no"', "IfModifiedSince": LATER}, "200", "200"),
    ({"IfMatch": '"tag"', "IfNoneMatch": '"tag"'}, "304", "412 If-None-Match"),
    ({"IfMatch": '"no"', "IfNoneMatch": '"tag"'}, "412 If-Match", "412 If-Match")])
def test_reading_and_copying(asked: dict[str, Any], read: str, copied: str) -> None:
    assert outcome(conditions.check_read, asked, "tag", AT, NOW) == read
    of_source = {f"CopySource{name}": value for name, value in asked.items()}
    assert outcome(conditions.check_copy, of_source, "tag", AT, NOW) == copied.replace(" ", " x-amz-copy-source-")
    assert outcome(conditions.check_copy, asked, "tag", AT, NOW) == "200"


@pytest.mark.parametrize(("if_match", "if_none_match", "on_nothing", "on_tag"), [
    (None, None, "200", "200"), (None, "*", "200", "412 If-None-Match"), (None, '"tag"', "501", "501"),
    ('"tag"', None, "404", "200"), ("tag", None, "404", "200"), ('"no"', None, "404", "412 If-Match"),
    ("*", None, "501", "501"), ('"tag"', "*", "501", "501")])
def test_writing(if_match: str | None, if_none_match: str | None, on_nothing: str, on_tag: str) -> None:
    assert outcome(conditions.check_write, if_match, if_none_match, "key", None) == on_nothing
    assert outcome(conditions.check_write, if_match, if_none_match, "key", "tag") == on_tag


@pytest.mark.parametrize(("if_match", "on_nothing", "on_marker", "on_tag"), [
    ("*", "404", "412 If-Match", "200"), ('"tag"', "404", "412 If-Match", "200"),
    ('"no"', "404", "412 If-Match", "412 If-Match")])
def test_deleting(if_match: str, on_nothing: str, on_marker: str, on_tag: str) -> None:
    assert outcome(conditions.check_delete, if_match, "key", None, of_marker=False) == on_nothing
    assert outcome(conditions.check_delete, if_match, "key", None, of_marker=True) == on_marker
    assert outcome(conditions.check_delete, if_match, "key", "tag", of_marker=True) == on_tag


@pytest.mark.parametrize(("header", "size", "expected"), [
    (None, 10, None), ("bytes=0-0", 10, (0, 1)), ("bytes=2-4", 10, (2, 3)), ("bytes=2-", 10, (2, 8)),
    ("bytes=-3", 10, (7, 3)), ("bytes=-30", 10, (0, 10)), ("bytes=5-99", 10, (5, 5)), ("Bytes=1-2", 10, (1, 2)),
    ("bytes=9-9", 10, (9, 1)), ("bytes=10-", 10, "416"), ("bytes=10-20", 10, "416"), ("bytes=-0", 10, "416"),
    ("bytes=0-", 0, "416"), ("bytes=-5", 0, "416"),
    # What is no range of bytes, and several at once: the whole object, as S3 does.
    ("bytes=4-2", 10, None), ("bytes=-", 10, None), ("bytes=a-b", 10, None), ("items=0-1", 10, None),
    ("bytes=0-1,3-4", 10, None), ("bytes=+1-2", 10, None), ("bytes= 1-2", 10, None),
    ("bytes=٣-٤", 10, None), ("", 10, None),
    (f"bytes=0-{'9' * 5000}", 10, None), (f"bytes=0-{'9' * 19}", 10, (0, 10))])
def test_ranges(header: str | None, size: int, expected: Any) -> None:
    if expected == "416":
        with pytest.raises(AwsError) as refused:
            conditions.byte_range(header, size)
        assert (refused.value.code, refused.value.status) == ("InvalidRange", 416)
        assert refused.value.members == {"RangeRequested": header, "ActualObjectSize": str(size)}
    else:
        assert conditions.byte_range(header, size) == (expected and Range(*expected))


def test_what_a_range_is_called() -> None:
    assert Range(2, 3).header(10) == "bytes 2-4/10"


@pytest.mark.parametrize(("header", "expected"), [
    (None, None), ("bytes=0-9", (0, 10)), ("bytes=3-3", (3, 1)), ("bytes=0-10", "not valid"), ("bytes=3-", "the form"),
    ("bytes=10-10", "is invalid"), ("bytes=10-20", "is invalid"),
    ("bytes=-3", "the form"), ("bytes=4-2", "the form"), ("0-9", "the form"), ("bytes=0-1,2-3", "the form"),
    ("bytes=" + "1" * 5000 + "-2", "the form")])
def test_ranges_of_a_source(header: str | None, expected: Any) -> None:
    if isinstance(expected, str):
        with pytest.raises(AwsError, match=expected) as refused:
            conditions.copy_range(header, 10)
        assert refused.value.code == ("InvalidRequest" if "is invalid" in expected else "InvalidArgument")
    else:
        assert conditions.copy_range(header, 10) == (expected and Range(*expected))


@pytest.mark.parametrize("tag", ['"abc"', "abc", 'abc"', '"abc', ' "abc" '])
def test_quotes_are_not_needed(tag: str) -> None:
    assert conditions.matches(tag, "abc")
    assert not conditions.matches(tag, "ab")
