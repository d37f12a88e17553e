"""Log events: what is taken, and that it comes back whole and in order, whichever way it is read."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudlet.services import logs as front
from cloudlet.services.logs import events as events_of
from cloudlet.services.logs import logs, storage
from cloudlet.services.logs.service import InvalidParameter, ResourceNotFound
from cloudlet.services.logs.storage import Scan, Source, event_id, place_of
from tests.services.desk import ACCOUNT, Desk
from tests.services.logs.test_groups import make, put

GROUP = "/ecs/web"
HOUR_MS = 3_600_000


def now_ms(desk: Desk) -> int:
    return int(desk.clock.now() * 1000)


def get(desk: Desk, stream: str = "s", **more: Any) -> Any:
    return desk(logs, "GetLogEvents", logGroupName=GROUP, logStreamName=stream, **more)


def messages(answer: Any) -> list[str]:
    return [event["message"] for event in answer["events"]]


def filtered(desk: Desk, **more: Any) -> list[dict[str, Any]]:
    """All pages."""
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = desk(logs, "FilterLogEvents", logGroupName=GROUP, **more, **token)
        assert page["searchedLogStreams"] == []
        found += page["events"]
        if page["nextToken"] is None:
            return found
        assert token.get("nextToken") != page["nextToken"]
        token = {"nextToken": page["nextToken"]}


def test_events_come_back_as_they_were_put(desk: Desk) -> None:
    make(desk, "s")
    now = now_ms(desk)
    answer = put(desk, "s", (now - 1, "ünï\n\tcode"), (now, "second"))
    assert list(answer) == ["nextSequenceToken"]
    assert get(desk)["events"] == [{"timestamp": now - 1, "message": "ünï\n\tcode", "ingestionTime": now},
                                   {"timestamp": now, "message": "second", "ingestionTime": now}]


def test_batches_that_are_refused(desk: Desk) -> None:
    make(desk, "s")
    now = now_ms(desk)
    with pytest.raises(InvalidParameter, match="must be in chronological order"):
        put(desk, "s", (now, "b"), (now - 1, "a"))
    with pytest.raises(InvalidParameter, match=r"Upload too large: 1048577 bytes exceeds limit of 1048576"):
        put(desk, "s", (now, "x" * (1_048_576 - 25)))
    with pytest.raises(InvalidParameter, match="cannot span more than 24 hours"):
        put(desk, "s", (now - 24 * HOUR_MS - 1, "a"), (now, "b"))
    assert get(desk)["events"] == []
    put(desk, "s", (now, "x" * (1_048_576 - 26)))
    put(desk, "s", (now - 24 * HOUR_MS, "a"), (now, "b"))


def test_events_outside_the_window_are_left_out_and_reported(desk: Desk) -> None:
    make(desk, "s")
    now = now_ms(desk)
    answer = put(desk, "s", (now - 15 * 24 * HOUR_MS, "old"), (now - 14 * 24 * HOUR_MS - 1, "old"), (now, "good"),
                 (now + 2 * HOUR_MS, "good"), (now + 2 * HOUR_MS + 1, "new"))
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 4}
    assert messages(get(desk)) == ["good", "good"]
    desk(logs, "PutRetentionPolicy", logGroupName=GROUP, retentionInDays=3)
    answer = put(desk, "s", (now - 4 * 24 * HOUR_MS, "expired"), (now, "good"))
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    assert len(messages(get(desk))) == 3


def test_get_log_events_goes_back_and_forth(desk: Desk) -> None:
    make(desk, "s")
    now = now_ms(desk)
    for number in range(0, 10, 2):
        put(desk, "s", (now + number, str(number)), (now + number + 1, str(number + 1)))
    last = get(desk, limit=4)
    assert messages(last) == list("6789")
    before = get(desk, limit=4, nextToken=last["nextBackwardToken"])
    assert messages(before) == list("2345")
    assert messages(get(desk, limit=4, nextToken=before["nextForwardToken"])) == list("6789")
    head = get(desk, limit=4, nextToken=before["nextBackwardToken"])
    assert messages(head) == list("01")
    end = get(desk, limit=4, nextToken=head["nextBackwardToken"])
    assert (messages(end), end["nextBackwardToken"]) == ([], head["nextBackwardToken"])
    assert messages(get(desk, limit=3, startFromHead=True)) == list("012")
    assert messages(get(desk, limit=2, nextToken=end["nextForwardToken"])) == list("01")
    assert messages(get(desk, startTime=now + 3, endTime=now + 6)) == list("345")
    assert messages(get(desk, startTime=now + 3, endTime=now + 6, limit=2)) == list("45")
    assert messages(get(desk, startTime=now + 3, endTime=now + 6, limit=2, startFromHead=True)) == list("34")


def test_the_forward_token_stays_the_same_at_the_end_until_something_comes(desk: Desk) -> None:
    make(desk, "s")
    now = now_ms(desk)
    empty = get(desk, startFromHead=True)
    assert messages(empty) == []
    assert messages(get(desk, nextToken=empty["nextForwardToken"])) == []
    put(desk, "s", (now, "a"))
    page = get(desk, nextToken=empty["nextForwardToken"])
    assert messages(page) == ["a"]
    end = get(desk, nextToken=page["nextForwardToken"])
    assert (messages(end), end["nextForwardToken"]) == ([], page["nextForwardToken"])
    put(desk, "s", (now, "b"))  # in the same millisecond
    assert messages(get(desk, nextToken=end["nextForwardToken"])) == ["b"]


@pytest.mark.parametrize("token", ["x", "f/", "f/12x", "g/12/s", "f/" + "9" * 61, "p3"])
def test_tokens_that_nobody_gave(desk: Desk, token: str) -> None:
    make(desk, "s")
    for operation, more in (("GetLogEvents", {"logStreamName": "s"}), ("FilterLogEvents", {})):
        with pytest.raises(InvalidParameter, match="The specified nextToken is invalid"):
            desk(logs, operation, logGroupName=GROUP, nextToken=token, **more)


def test_extreme_times_and_tokens_do_no_harm(desk: Desk) -> None:
    make(desk, "s")
    put(desk, "s", (now_ms(desk), "a"))
    assert messages(get(desk, startTime=0, endTime=2**63 - 1)) == ["a"]
    assert messages(get(desk, nextToken="b/" + "9" * 60)) == ["a"]
    assert messages(get(desk, nextToken="f/" + "9" * 60)) == []
    assert len(filtered(desk, endTime=2**63 - 1)) == 1
    assert filtered(desk, startTime=2**63 - 1) == []


def test_a_page_holds_a_megabyte(desk: Desk) -> None:
    make(desk, "s")
    for number in range(3):
        put(desk, "s", (now_ms(desk) + number, str(number) * 600_000))
    assert [message[0] for message in messages(get(desk))] == ["2"]
    assert [message[0] for message in messages(get(desk, startFromHead=True))] == ["0"]
    assert [event["message"][0] for event in filtered(desk)] == ["0", "1", "2"]


def test_filter_log_events_weaves_the_streams(desk: Desk) -> None:
    make(desk, "web/a", "web/b", "job/c")
    now = now_ms(desk)
    put(desk, "web/a", (now + 1, "1"), (now + 4, "4"))
    put(desk, "web/b", (now + 2, "2"), (now + 5, "5"))
    put(desk, "job/c", (now + 3, "3"))

    def order(**more: Any) -> str:
        return "".join(event["message"] for event in filtered(desk, **more))

    assert order() == order(limit=1) == order(limit=2) == "12345"
    assert order(startFromHead=False) == order(startFromHead=False, limit=2) == "54321"
    assert order(logStreamNames=["web/a", "job/c"]) == "134"
    assert order(logStreamNamePrefix="web/") == "1245"
    assert order(startTime=now + 2, endTime=now + 4) == "234"
    assert order(logStreamNamePrefix="none") == ""
    event = filtered(desk)[2]
    assert {key: event[key] for key in event if key != "eventId"} == {
        "logStreamName": "job/c", "timestamp": now + 3, "message": "3", "ingestionTime": now}
    ids = [event["eventId"] for event in filtered(desk)]
    assert [len(each) for each in ids] == [56] * 5
    assert len(set(ids)) == 5
    with pytest.raises(ResourceNotFound):
        order(logStreamNames=["ghost"])
    with pytest.raises(InvalidParameter):
        order(logStreamNames=["web/a"], logStreamNamePrefix="web")


MESSAGES = ["ERROR disk full", "WARN disk slow", "INFO all well", 'ERROR "quoted" code=7', "error lower"]


@pytest.mark.parametrize(("pattern", "found"), [
    ("", [0, 1, 2, 3, 4]), ("   ", [0, 1, 2, 3, 4]), ("ERROR", [0, 3]), ("ERROR disk", [0]), ("disk ERROR", [0]),
    ('"ERROR disk"', [0]), ('"disk ERROR"', []), ("disk -ERROR", [1]), ("-ERROR", [1, 2, 4]),
    ('-"all well" -ERROR', [1, 4]),
    ("?ERROR ?WARN", [0, 1, 3]), ('?"all well" ?WARN', [1, 2]), ("?INFO disk", [0, 1]), ('"code=7"', [3]),
    (r'"\"quoted\""', [3]), ("%c[a-z]+=7%", [3]), ("[level=E*, ..., last=f*]", [0])])
def test_filter_patterns(desk: Desk, pattern: str, found: list[int]) -> None:
    make(desk, "s")
    put(desk, "s", *((now_ms(desk) + number, message) for number, message in enumerate(MESSAGES)))
    assert [event["message"] for event in filtered(desk, filterPattern=pattern)] == [MESSAGES[each] for each in found]


@pytest.mark.parametrize("head", [True, False])
def test_filtering_looks_at_a_limited_amount_of_text_and_still_gets_on(
        desk: Desk, monkeypatch: pytest.MonkeyPatch, head: bool) -> None:
    monkeypatch.setattr(events_of, "SCAN_BYTES_MAX", 1)
    make(desk, "s")
    now = now_ms(desk)
    for number in range(20):
        put(desk, "s", (now + number // 4, f"{number}"), (now + 20, "last"))
    first = desk(logs, "FilterLogEvents", logGroupName=GROUP, filterPattern="nothing", startFromHead=head)
    assert (first["events"], first["nextToken"] is not None) == ([], True)
    assert filtered(desk, filterPattern="nothing", startFromHead=head) == []
    assert len(filtered(desk, filterPattern="last", startFromHead=head)) == 20


def test_ensure_stream_and_append(desk: Desk) -> None:
    def ensure(create_group: bool) -> None:
        with desk.store.tx() as tx:
            front.ensure_stream(tx, ACCOUNT, "us-east-1", GROUP, "s", create_group=create_group)

    with pytest.raises(ResourceNotFound):
        ensure(False)
    ensure(True)
    ensure(False)
    now = now_ms(desk)
    with desk.store.tx() as tx:
        front.append(tx, ACCOUNT, "us-east-1", GROUP, "s", [(now, "late"), (now - 30 * 24 * HOUR_MS, "early")])
        front.append(tx, ACCOUNT, "us-east-1", GROUP, "s", [])
        front.append(tx, ACCOUNT, "us-east-1", GROUP, "s", [(now, str(number)) for number in range(25_000)])
        with pytest.raises(ResourceNotFound):
            front.append(tx, ACCOUNT, "us-east-1", GROUP, "ghost", [(now, "x")])
    assert [event["message"] for event in filtered(desk)] == ["early", "late", *map(str, range(25_000))]


def test_get_log_group_fields(desk: Desk) -> None:
    make(desk, "s")
    assert desk(logs, "GetLogGroupFields", logGroupName=GROUP) == {"logGroupFields": []}
    now = now_ms(desk)
    put(desk, "s", (now - 20 * 60_000, '{"old": 1}'), (now, '{"user": {"id": 1}, "tags": ["a"]}'),
        (now, '{"user": {"id": 2, "name": "x"}}'), (now, "text"), (now, '{"user": 3'))

    def fields(**more: int) -> dict[str, int]:
        found = desk(logs, "GetLogGroupFields", logGroupIdentifier=GROUP, **more)["logGroupFields"]
        return {field["name"]: field["percent"] for field in found}

    everywhere = dict.fromkeys(("@ingestionTime", "@log", "@logStream", "@message", "@timestamp"), 100)
    assert fields() == {**everywhere, "user.id": 50, "tags.0": 25, "user.name": 25}
    assert list(fields())[5:] == ["user.id", "tags.0", "user.name"]
    assert fields(time=now // 1000 - 20 * 60) == {**everywhere, "old": 100}


def test_event_ids_name_places() -> None:
    place = (1_700_000_000_123, 2**48 - 1, 77, 9999)
    assert place_of(event_id(place)) == place
    assert len(str(event_id(place))) == 56
    assert event_id((5,)) < event_id((5, 0, 1, 0)) < event_id((5, 0, 1, 1)) < event_id((6,))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.integers(1, 30), st.integers(1, 40))
def test_scans_agree_with_sorting(desk: Desk, source: random.Random, batches: int, span: int) -> None:
    with desk.store.tx() as tx:
        group = storage.random_id(tx)
        expected = []
        for name in "ab":
            storage.create_stream(tx, group, name)
        for _ in range(batches):
            stream = storage.find_stream(tx, group, source.choice("ab"))
            assert stream is not None
            times = sorted(1000 + source.randrange(span) for _ in range(source.randint(1, 6)))
            storage.append(tx, group, stream, [(time, "x") for time in times])
            expected += [(time, stream.id, stream.next_seq, index) for index, time in enumerate(times)]
        expected.sort()
        low, high = sorted((source.choice(expected), (1000 + source.randrange(span),)))
        inside = [place for place in expected if low <= place < high]
        scan = Scan(tx, Source.group(group), low, high)
        assert [event[:4] for batch, _ in scan.forward() for event in batch] == inside
        assert [event[:4] for batch, _ in scan.backward() for event in batch] == inside[::-1]
        tx.execute("delete from logs_chunk")
