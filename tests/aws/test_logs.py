"""CloudWatch Logs as boto3 and `aws logs tail` see it."""

import time
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.running import Cloudlet


def put(client: Any, group: str, *messages: str, stream: str = "s") -> Any:
    now = int(time.time() * 1000)
    return client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[
        {"timestamp": now + number, "message": message} for number, message in enumerate(messages)])


def make(client: Any, group: str, *streams: str) -> None:
    client.create_log_group(logGroupName=group)
    for stream in streams or ("s",):
        client.create_log_stream(logGroupName=group, logStreamName=stream)


def test_events_go_in_and_come_out(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    make(logs, "/app/one", "a", "b")
    put(logs, "/app/one", "first", "zweite Zeile äöü", stream="a")
    put(logs, "/app/one", "third", stream="b")
    page = logs.get_log_events(logGroupName="/app/one", logStreamName="a", startFromHead=True)
    assert [event["message"] for event in page["events"]] == ["first", "zweite Zeile äöü"]
    end = logs.get_log_events(logGroupName="/app/one", logStreamName="a", nextToken=page["nextForwardToken"],
                              startFromHead=True)
    assert (end["events"], end["nextForwardToken"]) == ([], page["nextForwardToken"])
    found = logs.filter_log_events(logGroupName="/app/one", filterPattern="third")["events"]
    assert [(event["logStreamName"], event["message"]) for event in found] == [("b", "third")]
    group = logs.describe_log_groups(logGroupNamePrefix="/app/one")["logGroups"][0]
    assert group["storedBytes"] == len("firstthirdzweite Zeile äöü".encode()) + 3 * 26


def test_pages_of_everything(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs", region="eu-central-1")
    for number in range(5):
        make(logs, f"many/{number}", *(f"s{stream}" for stream in range(5)))
    groups = list(logs.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["logGroups"]) for page in groups] == [2, 2, 1]
    streams = list(logs.get_paginator("describe_log_streams").paginate(
        logGroupName="many/0", PaginationConfig={"PageSize": 2}))
    assert [len(page["logStreams"]) for page in streams] == [2, 2, 1]
    for stream in range(5):
        put(logs, "many/0", f"message {stream}", stream=f"s{stream}")
    events = list(logs.get_paginator("filter_log_events").paginate(
        logGroupName="many/0", PaginationConfig={"PageSize": 2}))
    assert sorted(event["message"] for page in events for event in page["events"]) == [
        f"message {stream}" for stream in range(5)]
    assert len(events) == 3


def test_retention_and_tags(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    make(logs, "kept")
    logs.put_retention_policy(logGroupName="kept", retentionInDays=7)
    group = logs.describe_log_groups(logGroupNamePattern="kept")["logGroups"][0]
    assert group["retentionInDays"] == 7
    logs.tag_resource(resourceArn=group["logGroupArn"], tags={"a": "b"})
    assert logs.list_tags_for_resource(resourceArn=group["logGroupArn"])["tags"] == {"a": "b"}
    assert logs.list_tags_log_group(logGroupName="kept")["tags"] == {"a": "b"}
    logs.delete_log_group(logGroupName="kept")


@pytest.mark.parametrize(("operation", "request_", "code"), [
    ("create_log_group", {"logGroupName": "a b"}, "InvalidParameterException"),
    ("create_log_group", {"logGroupName": "x", "kmsKeyId": "arn:aws:kms:us-east-1:000000000000:key/x"},
     "InvalidParameterException"),
    ("get_log_events", {"logGroupName": "ghost", "logStreamName": "s"}, "ResourceNotFoundException"),
    ("put_retention_policy", {"logGroupName": "bad", "retentionInDays": 2}, "InvalidParameterException"),
    ("put_log_events", {"logGroupName": "bad", "logStreamName": "s", "logEvents": [
        {"timestamp": 2, "message": "x"}, {"timestamp": 1, "message": "x"}]}, "InvalidParameterException"),
    ("filter_log_events", {"logGroupName": "bad", "filterPattern": "{ $.a = 1"}, "InvalidParameterException"),
    ("filter_log_events", {"logGroupName": "bad", "limit": 10001}, "InvalidParameterException"),
    ("describe_log_streams", {"logGroupName": "bad", "nextToken": "x"}, "InvalidParameterException")])
def test_bad_input_is_the_customers_fault(cloudlet: Cloudlet, operation: str, request_: dict[str, Any],
                                          code: str) -> None:
    logs = cloudlet.client("logs")
    try:
        make(logs, "bad")
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    with pytest.raises(ClientError) as refused:
        getattr(logs, operation)(**request_)
    assert refused.value.response["Error"]["Code"] == code


def results_of(client: Any, query: str, group: str) -> Any:
    now = int(time.time())
    started = client.start_query(logGroupName=group, startTime=now - 600, endTime=now + 600, queryString=query)
    while True:
        answer = client.get_query_results(queryId=started["queryId"])
        if answer["status"] not in ("Scheduled", "Running"):
            return answer
        time.sleep(0.05)


def test_insights_queries(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    make(logs, "/insights")
    put(logs, "/insights", *(f'{{"level": "{("INFO", "ERROR")[number % 3 == 0]}", "ms": {number}}}'
                             for number in range(30)))
    answer = results_of(logs, "filter level = 'ERROR' | stats count(*) as n, max(ms) by level", "/insights")
    assert (answer["status"], answer["results"]) == ("Complete", [[
        {"field": "level", "value": "ERROR"}, {"field": "n", "value": "10"}, {"field": "max(ms)", "value": "27"}]])
    assert (answer["statistics"]["recordsMatched"], answer["statistics"]["recordsScanned"]) == (10, 30)
    answer = results_of(logs, "fields @timestamp, ms | sort ms desc | limit 1", "/insights")
    pointer = answer["results"][0][-1]
    assert pointer["field"] == "@ptr"
    record = logs.get_log_record(logRecordPointer=pointer["value"])["logRecord"]
    assert (record["ms"], record["@logStream"]) == ("29", "s")
    with pytest.raises(logs.exceptions.MalformedQueryException) as refused:
        results_of(logs, "fields @timestamp | count()", "/insights")
    assert refused.value.response["queryCompileError"]["location"] == {"startCharOffset": 20, "endCharOffset": 25}
    assert len(list(logs.get_paginator("describe_queries").paginate(PaginationConfig={"PageSize": 1}))) == 2


def test_no_acknowledged_event_is_lost_in_a_crash(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    make(logs, "crash")
    put(logs, "crash", *map(str, range(100)))
    cloudlet.kill()
    cloudlet.start()
    found = cloudlet.client("logs").filter_log_events(logGroupName="crash")["events"]
    assert [event["message"] for event in found] == list(map(str, range(100)))


def tail(client: Any, group: str, start_ms: int, seen: set[str]) -> tuple[list[str], int]:
    """One round of `aws logs tail --follow` (CLI 2): every page since the newest timestamp, known events left out."""
    fresh, token = [], {}
    while True:
        page = client.filter_log_events(logGroupName=group, interleaved=True, startTime=start_ms, **token)
        for event in page["events"]:
            if event["eventId"] not in seen:
                seen.add(event["eventId"])
                fresh.append(event["message"])
                start_ms = max(start_ms, event["timestamp"])
        if "nextToken" not in page:
            return fresh, start_ms
        token = {"nextToken": page["nextToken"]}


def test_aws_logs_tail_follows(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    make(logs, "/ecs/web", "web/1", "web/2")
    put(logs, "/ecs/web", "before", stream="web/1")
    seen: set[str] = set()
    fresh, start_ms = tail(logs, "/ecs/web", int((time.time() - 600) * 1000), seen)
    assert fresh == ["before"]
    newest = logs.filter_log_events(logGroupName="/ecs/web")["events"][-1]["timestamp"]
    logs.put_log_events(logGroupName="/ecs/web", logStreamName="web/2", logEvents=[
        {"timestamp": newest, "message": "same millisecond"}, {"timestamp": newest + 1, "message": "after"}])
    fresh, start_ms = tail(logs, "/ecs/web", start_ms, seen)
    assert fresh == ["same millisecond", "after"]
    assert tail(logs, "/ecs/web", start_ms, seen) == ([], start_ms)


def test_the_aws_cli_reads_logs(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    make(logs, "cli")
    put(logs, "cli", *(f"line {number}" for number in range(30)))
    read = cloudlet.aws("logs", "filter-log-events", "--log-group-name", "cli", "--page-size", "7", "--query",
                        "events[].message", "--output", "text").stdout.replace("\t", "\n").splitlines()
    assert read == [f"line {number}" for number in range(30)]


def test_a_live_tail_goes_on_until_the_client_leaves(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    make(logs, "tailed", "s", "t")
    put(logs, "tailed", "before")
    # Clients put "stream-" before the host's name, which is the API's own only on AWS.
    tailing = boto3.client("logs", endpoint_url=cloudlet.url, region_name="us-east-1", aws_access_key_id="test",
                           aws_secret_access_key="test", config=Config(inject_host_prefix=False, proxies={}))
    arn = logs.describe_log_groups(logGroupNamePrefix="tailed")["logGroups"][0]["logGroupArn"]
    stream = tailing.start_live_tail(logGroupIdentifiers=[arn], logEventFilterPattern="{ $.n >= 2 }")["responseStream"]
    events = iter(stream)
    start = next(events)["sessionStart"]
    assert (start["logGroupIdentifiers"], start["logEventFilterPattern"]) == ([arn], "{ $.n >= 2 }")
    assert next(events)["sessionUpdate"] == {"sessionMetadata": {"sampled": False}, "sessionResults": []}
    put(logs, "tailed", '{"n": 1}', '{"n": 2}', stream="t")
    found: list[Any] = []
    deadline = time.monotonic() + 20
    while not found and time.monotonic() < deadline:
        found = next(events)["sessionUpdate"]["sessionResults"]
    assert [(event["logStreamName"], event["message"], event["logGroupIdentifier"]) for event in found] == [
        ("t", '{"n": 2}', arn)]
    stream.close()
    for _ in range(20):  # more than may be open at once
        left = tailing.start_live_tail(logGroupIdentifiers=[arn])["responseStream"]
        assert "sessionStart" in next(iter(left))
        left.close()
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        tailing.start_live_tail(logGroupIdentifiers=[arn + "x"])
    assert logs.describe_log_streams(logGroupName="tailed")["logStreams"]


def test_filters_and_policies(cloudlet: Cloudlet) -> None:
    logs = cloudlet.client("logs")
    make(logs, "filtered")
    logs.put_metric_filter(logGroupName="filtered", filterName="f", filterPattern="{ $.ms > 100 }",
                           metricTransformations=[{"metricName": "slow", "metricNamespace": "app",
                                                   "metricValue": "$.ms", "unit": "Milliseconds"}])
    (pages,) = logs.get_paginator("describe_metric_filters").paginate(logGroupName="filtered")
    assert pages["metricFilters"][0]["metricTransformations"][0]["metricValue"] == "$.ms"
    assert logs.test_metric_filter(filterPattern="[a, b > 5]", logEventMessages=["x 3", "y 7"])["matches"] == [
        {"eventNumber": 2, "eventMessage": "y 7", "extractedValues": {"$a": "y", "$b": "7"}}]
    with pytest.raises(ClientError, match=r"InvalidParameterException.*Invalid character\(s\) in term '@'"):
        logs.filter_log_events(logGroupName="filtered", filterPattern="a@b")
    with pytest.raises(ClientError, match="Could not execute the lambda function"):
        logs.put_subscription_filter(logGroupName="filtered", filterName="f", filterPattern="",
                                     destinationArn="arn:aws:lambda:us-east-1:000000000000:function:f")
    assert [group["logGroupName"] for group in logs.list_log_groups(logGroupNamePattern="^filt")["logGroups"]] == [
        "filtered"]
    logs.delete_log_group(logGroupName="filtered")
