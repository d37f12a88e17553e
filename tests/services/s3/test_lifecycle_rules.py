"""When lifecycle rules say that something is due."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cloudlet.services.s3 import lifecycle_rules as rules
from cloudlet.services.s3.lifecycle_rules import BY_CLASS, Subject

DAY_S = 86_400
BIG = 1 << 20


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def loaded(**members: Any) -> list[rules.Rule]:
    return rules.load([{"ID": "r", "Status": "Enabled", "Filter": {}, **members}])


def subject(key: str = "key", size: int = BIG, tags: dict[str, str] | None = None, **more: Any) -> Subject:
    return Subject(key, size, tags or {}, at("2014-01-15 10:30"), **more)


def test_days_end_at_the_next_midnight() -> None:
    # The example of AWS's documentation.
    assert rules.expires(loaded(Expiration={"Days": 3}), subject()) == (at("2014-01-19 00:00"), "r")
    assert rules.expires(loaded(Expiration={"Date": at("2020-01-01")}), subject()) == (at("2020-01-01"), "r")
    assert rules.expires(loaded(Expiration={"Days": 3}, Status="Disabled"), subject()) is None
    both = rules.load([{"ID": name, "Status": "Enabled", "Prefix": "", "Expiration": {"Days": days}}
                       for name, days in (("late", 9), ("soon", 2))])
    found = rules.expires(both, subject())
    assert found is not None and found.rule == "soon"
    assert rules.header(rules.Due(at("2012-12-21"), 'a b: "ü"')) == (
        'expiry-date="Fri, 21 Dec 2012 00:00:00 GMT", rule-id="a b: %22%C3%BC%22"')


@pytest.mark.parametrize(("filter", "fits", "misses"), [
    ({"Prefix": "a/"}, subject("a/b"), subject("b/a/")),
    ({"Tag": {"Key": "k", "Value": "v"}}, subject(tags={"k": "v", "x": "y"}), subject(tags={"k": "w"})),
    ({"ObjectSizeGreaterThan": 10}, subject(size=11), subject(size=10)),
    ({"ObjectSizeLessThan": 10}, subject(size=9), subject(size=10)),
    ({"And": {"Prefix": "a", "Tags": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": ""}]}},
     subject("a", tags={"k": "v", "l": ""}), subject("a", tags={"k": "v"})),
    ({"And": {"ObjectSizeGreaterThan": 10, "ObjectSizeLessThan": 20}}, subject(size=15), subject(size=20))])
def test_what_a_filter_lets_through(filter: dict[str, Any], fits: Subject, misses: Subject) -> None:
    found = loaded(Filter=filter, Expiration={"Days": 1})
    assert rules.expires(found, fits) and rules.expires(found, misses) is None


def test_markers_without_versions() -> None:
    now = at("2014-01-15 10:30")
    assert rules.marker_expires(loaded(Expiration={"ExpiredObjectDeleteMarker": True}), "k", now) == (now, "r")
    assert rules.marker_expires(loaded(Expiration={"ExpiredObjectDeleteMarker": False}), "k", now) is None
    assert rules.marker_expires(loaded(Expiration={"Days": 3}), "k", now) == (at("2014-01-19"), "r")
    tagged = loaded(Filter={"Tag": {"Key": "k", "Value": "v"}}, Expiration={"Days": 3})
    assert rules.marker_expires(tagged, "k", now) is None


def test_versions_that_are_not_current() -> None:
    since = at("2014-01-16 01:00")
    kept = loaded(NoncurrentVersionExpiration={"NoncurrentDays": 2, "NewerNoncurrentVersions": 2})
    assert rules.noncurrent_expires(kept, subject(), since, 1) is None
    assert rules.noncurrent_expires(kept, subject(), since, 2) == (at("2014-01-19"), "r")
    assert rules.noncurrent_expires(kept, subject(size=0), since, 2, marker=True)
    assert rules.noncurrent_expires(loaded(Expiration={"Days": 1}), subject(), since, 9) is None


def test_the_way_down_the_classes() -> None:
    steps = [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 90, "StorageClass": "GLACIER"}]
    found, made = loaded(Transitions=steps), subject().modified
    for days, target in ((30, None), (31, "STANDARD_IA"), (90, "STANDARD_IA"), (91, "GLACIER")):
        assert rules.moves_to(found, subject(), made + days * DAY_S, "") == target
    assert rules.moves_to(found, subject(storage_class="DEEP_ARCHIVE"), made + 900 * DAY_S, "") is None
    assert rules.moves_to(found, subject(storage_class="REDUCED_REDUNDANCY"), made + 31 * DAY_S, "") == "STANDARD_IA"
    onezone = subject(storage_class="ONEZONE_IA")
    assert rules.moves_to(loaded(Transitions=[{"Days": 0, "StorageClass": "GLACIER_IR"}]), onezone,
                          made + DAY_S, "") is None


def test_small_objects_stay_where_they_are() -> None:
    small, later = subject(size=1000), subject().modified + 100 * DAY_S
    found = loaded(Transitions=[{"Days": 1, "StorageClass": "GLACIER"}])
    assert rules.moves_to(found, small, later, "") is None
    assert rules.moves_to(found, small, later, BY_CLASS) == "GLACIER"
    infrequent = loaded(Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}])
    assert rules.moves_to(infrequent, small, later, BY_CLASS) is None
    said = loaded(Filter={"ObjectSizeGreaterThan": 500}, Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}])
    assert rules.moves_to(said, small, later, "") == "STANDARD_IA"


def test_where_to_look() -> None:
    found = rules.load([{"ID": prefix, "Status": "Enabled", "Filter": {"Prefix": prefix}} for prefix in (
        "b/c", "a", "b/", "ab")])
    assert rules.prefixes(found) == ["a", "b/"]
    assert rules.prefixes([]) == []
