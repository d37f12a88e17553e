"""Insights queries: their life, what is measured, what is kept; and that they disturb nobody."""

import asyncio
import json
from typing import Any

import pytest

from cloudlet.control.outcome import Again, Done
from cloudlet.services.logs import chunks, logs, queries, query_loop, query_results, storage
from cloudlet.services.logs.insights import aggregates
from cloudlet.services.logs.query_loop import Queries
from cloudlet.services.logs.service import InvalidParameter, LimitExceeded, MalformedQuery, ResourceNotFound
from tests.services.desk import ACCOUNT, Desk
from tests.services.logs.test_groups import make, put

GROUP = "/ecs/web"


class Runner:
    """The loop of queries on a desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.loop = desk, Queries(desk.store)

    def start(self, text: str, **more: Any) -> str:
        now = int(self.desk.clock.now())
        request = {"logGroupName": GROUP, "startTime": now - 3600, "endTime": now + 3600, "queryString": text} | more
        return str(self.desk(logs, "StartQuery", **{key: value for key, value in request.items() if value is not None})
                   ["queryId"])

    def step(self, query: str) -> Any:
        return asyncio.run(self.loop.reconcile(f"{ACCOUNT}/us-east-1/{query}"))

    def results(self, query: str, **more: Any) -> Any:
        return self.desk(logs, "GetQueryResults", queryId=query, **more)

    def run(self, text: str, **more: Any) -> Any:
        query = self.start(text, **more)
        while self.results(query)["status"] in ("Scheduled", "Running"):
            self.step(query)
        return self.results(query)


@pytest.fixture
def runner(desk: Desk) -> Runner:
    make(desk, "a", "b")
    return Runner(desk)


def now_ms(desk: Desk) -> int:
    return int(desk.clock.now() * 1000)


def rows(answer: Any) -> list[dict[str, str]]:
    return [{each["field"]: each["value"] for each in row if each["field"] != "@ptr"} for row in answer["results"]]


def test_a_query_from_its_start_to_its_rows(desk: Desk, runner: Runner) -> None:
    now = now_ms(desk)
    put(desk, "a", (now, json.dumps({"level": "ERROR", "ms": 12})), (now + 1, "plain"))
    put(desk, "b", (now + 2, json.dumps({"level": "INFO", "ms": 5})))
    query = runner.start("fields @timestamp, level, @logStream | filter ispresent(level) | sort ms")
    assert runner.results(query)["status"] == "Scheduled"
    assert isinstance(runner.step(query), Again)
    answer = runner.results(query)
    assert answer["status"] == "Complete" and answer["queryLanguage"] == "CWLI"
    assert rows(answer) == [
        {"@timestamp": "2023-11-14 22:13:20.002", "level": "INFO", "@logStream": "b"},
        {"@timestamp": "2023-11-14 22:13:20.000", "level": "ERROR", "@logStream": "a"}]
    size = len('{"level": "ERROR", "ms": 12}plain{"level": "INFO", "ms": 5}') + 3 * 26
    assert answer["statistics"] == {
        "recordsMatched": 2, "recordsScanned": 3, "bytesScanned": size, "logGroupsScanned": 1,
        "estimatedRecordsSkipped": 0, "estimatedBytesSkipped": 0, "resultCount": 2}
    (described,) = desk(logs, "DescribeQueries", logGroupName=GROUP, status="Complete")["queries"]
    assert described["queryId"] == query and described["userIdentity"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert described["bytesScanned"] == size
    assert desk(logs, "DescribeQueries", status="Running")["queries"] == []
    assert desk(logs, "DescribeQueries", queryLanguage="SQL")["queries"] == []
    assert desk(logs, "ListLogGroupsForQuery", queryId=query) == {"logGroupIdentifiers": [GROUP]}


def test_a_row_points_to_its_event(desk: Desk, runner: Runner) -> None:
    now = now_ms(desk)
    put(desk, "a", (now, "first"), (now, json.dumps({"a": {"b": [1, True]}, "none": None})))
    (row,) = runner.run("display a.b.0 | filter ispresent(a.b.0)")["results"]
    assert row[0] == {"field": "a.b.0", "value": "1"} and row[1]["field"] == "@ptr"
    record = desk(logs, "GetLogRecord", logRecordPointer=row[1]["value"])["logRecord"]
    assert record == {"a.b.0": "1", "a.b.1": "1", "@message": '{"a": {"b": [1, true]}, "none": null}',
                      "@log": f"{ACCOUNT}:{GROUP}", "@logStream": "a", "@timestamp": str(now),
                      "@ingestionTime": str(now), "@ptr": row[1]["value"]}
    for bad in ("", "x", "bm8=", row[1]["value"][:-9]):
        with pytest.raises(InvalidParameter):
            desk(logs, "GetLogRecord", logRecordPointer=bad)
    desk(logs, "DeleteLogStream", logGroupName=GROUP, logStreamName="a")
    desk(logs, "CreateLogStream", logGroupName=GROUP, logStreamName="a")
    put(desk, "a", (now, "another"), (now, "one"))
    with pytest.raises(ResourceNotFound):
        desk(logs, "GetLogRecord", logRecordPointer=row[1]["value"])


def test_only_the_time_asked_for_and_what_retention_leaves(desk: Desk, runner: Runner) -> None:
    now = now_ms(desk)
    put(desk, "a", (now - 20_001, "before"), (now - 20_000, "start"), (now - 10_001, "end"), (now - 9000, "after"))
    second = now // 1000
    found = runner.run("fields @message", startTime=second - 20, endTime=second - 11)
    assert [row["@message"] for row in rows(found)] == ["end", "start"]
    found = runner.run("fields @message", startTime=now - 20_001, endTime=now - 20_001)
    assert [row["@message"] for row in rows(found)] == ["before"]
    put(desk, "b", (now - 2 * 86_400_000, "old"))
    assert runner.run("stats count(*) as n", startTime=second - 10 * 86_400)["results"][0][0]["value"] == "5"
    desk(logs, "PutRetentionPolicy", logGroupName=GROUP, retentionInDays=1)
    assert runner.run("stats count(*) as n", startTime=second - 10 * 86_400)["results"][0][0]["value"] == "4"


def test_several_groups(desk: Desk, runner: Runner) -> None:
    now = now_ms(desk)
    desk(logs, "CreateLogGroup", logGroupName="other")
    desk(logs, "CreateLogStream", logGroupName="other", logStreamName="s")
    desk(logs, "PutLogEvents", logGroupName="other", logStreamName="s", logEvents=[{"timestamp": now, "message": "x"}])
    put(desk, "a", (now, "y"))
    arn = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:other"
    for choice in ({"logGroupNames": [GROUP, "other"]}, {"logGroupIdentifiers": [GROUP, arn]}):
        answer = runner.run("stats count(*) as n by @log | sort @log", logGroupName=None, **choice)
        assert rows(answer) == [{"@log": f"{ACCOUNT}:{GROUP}", "n": "1"}, {"@log": f"{ACCOUNT}:other", "n": "1"}]
        assert answer["statistics"]["logGroupsScanned"] == 2
    query = runner.start("fields @message", logGroupName=None, logGroupIdentifiers=[arn])
    assert desk(logs, "ListLogGroupsForQuery", queryId=query) == {"logGroupIdentifiers": [arn]}
    desk(logs, "DeleteLogGroup", logGroupName="other")
    runner.step(query)
    assert runner.results(query)["statistics"]["logGroupsScanned"] == 0


def test_what_is_refused(desk: Desk, runner: Runner) -> None:
    with pytest.raises(MalformedQuery) as refused:
        runner.start("fields @timestamp | count()")
    assert refused.value.message == "unexpected symbol found count at line 1 and position 21"
    assert refused.value.members["queryCompileError"] == {
        "message": refused.value.message, "location": {"startCharOffset": 20, "endCharOffset": 25}}
    with pytest.raises(MalformedQuery, match="before the log groups creation time"):
        runner.start("fields @message", startTime=1, endTime=2)
    with pytest.raises(ResourceNotFound, match="Log group 'no' does not exist for account ID"):
        runner.start("fields @message", logGroupName="no")
    for bad in ({"logGroupNames": [GROUP]}, {"logGroupName": None}, {"queryLanguage": "SQL"}, {"limit": 10_001},
                {"startTime": int(desk.clock.now()) + 3601},
                {"logGroupName": None, "logGroupNames": [f"g{number}" for number in range(51)]}):
        with pytest.raises(InvalidParameter):
            runner.start("fields @message", **bad)
    for operation in ("GetQueryResults", "StopQuery", "ListLogGroupsForQuery"):
        with pytest.raises(ResourceNotFound):
            desk(logs, operation, queryId="no")
    assert desk(logs, "DescribeQueries")["queries"] == []


def test_a_query_is_stopped_while_it_runs(desk: Desk, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_loop, "SLICES_A_STEP", 1)
    put(desk, "a", (now_ms(desk), "x"))
    query = runner.start("fields @message")
    runner.step(query)
    assert runner.results(query)["status"] == "Running"
    assert desk(logs, "StopQuery", queryId=query) == {"success": True}
    for _ in range(5):
        runner.step(query)
    answer = runner.results(query)
    assert (answer["status"], answer["results"]) == ("Cancelled", [])
    with pytest.raises(InvalidParameter, match="not running"):
        desk(logs, "StopQuery", queryId=query)


def test_a_query_begins_anew_after_a_restart(desk: Desk, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_loop, "SLICES_A_STEP", 1)
    monkeypatch.setattr(query_loop, "SLICE_ROWS_MAX", 1)
    monkeypatch.setattr(query_loop, "LOOK_ROWS", 1)
    monkeypatch.setattr(query_results, "PART_ROWS", 2)
    put(desk, "a", *((now_ms(desk) + number, f"m{number}") for number in range(7)))
    query, seen = runner.start("fields @message | sort @message"), set()
    for steps in range(1, 40):  # each run gets a little further before it is cut off
        runner.loop = Queries(desk.store)
        for _ in range(steps):
            runner.step(query)
        seen.add((runner.results(query)["status"], runner.results(query)["statistics"]["recordsScanned"]))
    assert {("Running", 3), ("Complete", 7)} <= seen
    assert [row["@message"] for row in rows(runner.results(query))] == [f"m{number}" for number in range(7)]


def test_a_step_that_fails_is_not_gone_on_with(desk: Desk, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    put(desk, "a", (now_ms(desk), "x"))
    query = runner.start("fields @message")

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")
    with monkeypatch.context() as patch:
        patch.setattr(storage, "next_chunk", fail)
        with pytest.raises(OSError):
            runner.step(query)
    assert runner.results(query)["status"] == "Running"
    runner.step(query)
    assert runner.results(query)["status"] == "Complete"


def test_events_are_read_once_while_their_chunks_are_merged(desk: Desk, runner: Runner,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_loop, "SLICES_A_STEP", 1)
    for merged_after in range(1, 12):
        name = f"m{merged_after}"
        desk(logs, "CreateLogStream", logGroupName=GROUP, logStreamName=name)
        for number in range(8):
            put(desk, name, (now_ms(desk) + number, f"{number}"))
        query = runner.start(f"filter @logStream = '{name}' | fields @message | sort @message")
        for _ in range(merged_after):
            runner.step(query)
        with desk.store.tx() as tx:
            ((stream,),) = tx.execute("select id from logs_stream where name=?", (name,))
            found = storage.latest_chunks(tx, stream, 5)[::-1]
            body = chunks.merged(zip(storage.bodies(tx, stream, found), [row.seq for row in found],
                                     [row.ingested_ms for row in found], strict=True))
            assert storage.replace(tx, stream, found, body)
        while runner.results(query)["status"] == "Running":
            runner.step(query)
        assert [row["@message"] for row in rows(runner.results(query))] == [str(number) for number in range(8)]
        desk(logs, "DeleteLogStream", logGroupName=GROUP, logStreamName=name)


def test_rows_come_in_pages(desk: Desk, runner: Runner) -> None:
    put(desk, "a", *((now_ms(desk) + number, f"{number:03}") for number in range(600)))
    query = runner.start("fields @message | sort @message | limit 555")
    while runner.results(query)["status"] != "Complete":
        runner.step(query)
    found: list[str] = []
    token: dict[str, str] = {}
    pages = 0
    while True:
        page = runner.results(query, maxItems=100, **token)
        found += [row["@message"] for row in rows(page)]
        pages += 1
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert found == [f"{number:03}" for number in range(555)] and pages == 6
    assert len(runner.results(query)["results"]) == 555
    with pytest.raises(InvalidParameter):
        runner.results(query, nextToken="x")
    assert len(runner.run("fields @message", limit=7)["results"]) == 7
    assert len(runner.run("fields @message | limit 9", limit=7)["results"]) == 9


def test_results_are_kept_for_a_week(desk: Desk, runner: Runner) -> None:
    put(desk, "a", (now_ms(desk), "x"))
    query = runner.start("fields @message")
    runner.step(query)
    kept = runner.step(query)
    assert isinstance(kept, Again) and kept.after == queries.KEPT_S
    desk.clock.time += queries.KEPT_S - 1
    runner.step(query)
    assert len(runner.results(query)["results"]) == 1
    desk.clock.time += 1
    assert isinstance(runner.step(query), Done)
    with pytest.raises(ResourceNotFound):
        runner.results(query)
    with desk.store.tx() as tx:
        assert tx.execute("select count(*) from logs_result").fetchone() == (0,)


def test_a_query_may_take_an_hour(desk: Desk, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_loop, "SLICES_A_STEP", 1)
    put(desk, "a", (now_ms(desk), "x"))
    query = runner.start("fields @message")
    runner.step(query)
    desk.clock.time += 3601
    runner.step(query)
    assert runner.results(query)["status"] == "Timeout"
    runner.step(query)
    assert runner.results(query)["results"] == []


def test_a_query_that_would_remember_too_much_fails(desk: Desk, runner: Runner,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "REMEMBERED_MAX", 3)
    put(desk, "a", *((now_ms(desk) + number, f"{number}") for number in range(4)))
    assert runner.run("stats count_distinct(@message)")["status"] == "Failed"
    assert runner.run("stats count(*) by @message")["status"] == "Failed"
    assert runner.run("stats count(*) by @logStream")["status"] == "Complete"


def test_so_many_at_a_time(desk: Desk, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "CONCURRENT_MAX", 6)
    monkeypatch.setattr(query_loop, "SLICES_A_STEP", 1)
    put(desk, "a", (now_ms(desk), "x"))
    started = [runner.start("fields @message") for _ in range(6)]
    with pytest.raises(LimitExceeded, match=r"concurrency limit of \[6\] reached"):
        runner.start("fields @message")
    for query in started:
        runner.step(query)
    statuses = [runner.results(query)["status"] for query in started]
    assert statuses == ["Running"] * 4 + ["Scheduled"] * 2
    desk(logs, "StopQuery", queryId=started[0])
    runner.step(started[0])
    runner.step(started[5])
    assert runner.results(started[5])["status"] == "Running"
    runner.start("fields @message")


def test_a_reset_forgets_a_query_under_way(desk: Desk, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_loop, "SLICES_A_STEP", 1)
    put(desk, "a", (now_ms(desk), "x"))
    query = runner.start("fields @message")
    runner.step(query)
    with desk.store.tx() as tx:
        tx.clear()
    for _ in range(3):
        last = runner.step(query)
    assert isinstance(last, Done)


def test_query_definitions(desk: Desk) -> None:
    made = [desk(logs, "PutQueryDefinition", name=name, queryString="fields @message", logGroupNames=["g"])
            ["queryDefinitionId"] for name in ("b/two", "a/one", "b/one")]
    listed = desk(logs, "DescribeQueryDefinitions", queryDefinitionNamePrefix="b/")["queryDefinitions"]
    assert [each["name"] for each in listed] == ["b/one", "b/two"]
    assert listed[1] == {"queryLanguage": "CWLI", "queryDefinitionId": made[0], "name": "b/two",
                         "queryString": "fields @message", "logGroupNames": ["g"],
                         "lastModified": int(desk.clock.now() * 1000)}
    parameters = [{"name": "level", "defaultValue": "ERROR"}]
    desk(logs, "PutQueryDefinition", name="new", queryString="filter level = '{{level}}'", parameters=parameters,
         queryDefinitionId=made[0])
    listed = desk(logs, "DescribeQueryDefinitions", queryDefinitionNamePrefix="new")["queryDefinitions"]
    assert (listed[0]["logGroupNames"], listed[0]["parameters"]) == ([], parameters)
    pages = desk(logs, "DescribeQueryDefinitions", maxResults=2)
    rest = desk(logs, "DescribeQueryDefinitions", maxResults=2, nextToken=pages["nextToken"])
    assert [each["name"] for page in (pages, rest) for each in page["queryDefinitions"]] == ["a/one", "b/one", "new"]
    assert rest.get("nextToken") is None
    assert desk(logs, "DescribeQueryDefinitions", queryLanguage="PPL")["queryDefinitions"] == []
    assert desk(logs, "DeleteQueryDefinition", queryDefinitionId=made[0]) == {"success": True}
    for operation in ("DeleteQueryDefinition", "PutQueryDefinition"):
        more = {"name": "x", "queryString": "y"} if operation.startswith("Put") else {}
        with pytest.raises(ResourceNotFound):
            desk(logs, operation, queryDefinitionId=made[0], **more)
    with pytest.raises(InvalidParameter):
        desk(logs, "PutQueryDefinition", name="x", queryString="y", queryLanguage="SQL")
    with pytest.raises(InvalidParameter):
        desk(logs, "DescribeQueryDefinitions", maxResults=2, nextToken="x")
