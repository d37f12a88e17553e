"""Log groups and streams."""

import asyncio
from typing import Any

import pytest

from cloudlet.control.outcome import Again, Done
from cloudlet.kernel.errors import AwsError
from cloudlet.services.logs import controller, logs, storage
from cloudlet.services.logs.merging import Deletion
from cloudlet.services.logs.service import (
    InvalidOperation,
    InvalidParameter,
    ResourceAlreadyExists,
    ResourceNotFound,
    TooManyTags,
    Validation,
)
from tests.services.desk import ACCOUNT, Desk, root

ARN = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/ecs/web"
DAY_S = 86400


def make(desk: Desk, *streams: str, group: str = "/ecs/web") -> None:
    desk(logs, "CreateLogGroup", logGroupName=group)
    for name in streams:
        desk(logs, "CreateLogStream", logGroupName=group, logStreamName=name)


def put(desk: Desk, stream: str, *events: tuple[int, str], group: str = "/ecs/web") -> Any:
    return desk(logs, "PutLogEvents", logGroupName=group, logStreamName=stream,
                logEvents=[{"timestamp": timestamp, "message": message} for timestamp, message in events])


def names(answer: Any) -> list[str]:
    return [group["logGroupName"] for group in answer["logGroups"]]


def test_create_log_group_and_describe_it(desk: Desk) -> None:
    desk(logs, "CreateLogGroup", logGroupName="/ecs/web", tags={"a": "b"})
    assert desk(logs, "DescribeLogGroups") == {"logGroups": [{
        "logGroupName": "/ecs/web", "creationTime": int(desk.clock.now() * 1000), "metricFilterCount": 0,
        "arn": f"{ARN}:*", "logGroupArn": ARN, "storedBytes": 0, "logGroupClass": "STANDARD",
        "deletionProtectionEnabled": False}]}
    with pytest.raises(ResourceAlreadyExists, match="The specified log group already exists"):
        make(desk)
    make(desk, group="other")
    assert desk(logs, "DescribeLogGroups", root("210987654321"))["logGroups"] == []
    assert desk(logs, "DescribeLogGroups", region="eu-west-1")["logGroups"] == []


@pytest.mark.parametrize("request_", [
    {"logGroupName": "a b"}, {"logGroupName": "a:b"}, {"logGroupName": "x" * 513}, {"kmsKeyId": "arn:aws:kms:::key/x"},
    {"logGroupClass": "DELIVERY"}, {"tags": {"aws:x": "y"}}])
def test_groups_that_cannot_be(desk: Desk, request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        desk(logs, "CreateLogGroup", **{"logGroupName": "g", **request_})


def test_describe_log_groups_by_prefix_part_and_identifier(desk: Desk) -> None:
    for name in ("/ecs/b", "/ecs/a", "/rds/a", "zzz"):
        make(desk, group=name)
    assert names(desk(logs, "DescribeLogGroups")) == ["/ecs/a", "/ecs/b", "/rds/a", "zzz"]
    assert names(desk(logs, "DescribeLogGroups", logGroupNamePrefix="/ecs/")) == ["/ecs/a", "/ecs/b"]
    assert names(desk(logs, "DescribeLogGroups", logGroupNamePattern="/a")) == ["/ecs/a", "/rds/a"]
    arns = [ARN.replace("/ecs/web", "/rds/a:*"), ARN.replace("/ecs/web", "/ecs/b")]
    assert names(desk(logs, "DescribeLogGroups", logGroupIdentifiers=["zzz", *arns])) == ["/ecs/b", "/rds/a", "zzz"]
    assert names(desk(logs, "DescribeLogGroups", logGroupClass="INFREQUENT_ACCESS")) == []
    for both in ({"logGroupNamePrefix": "a", "logGroupNamePattern": "a"}, {"includeLinkedAccounts": True}):
        with pytest.raises(InvalidParameter):
            desk(logs, "DescribeLogGroups", **both)


@pytest.mark.parametrize(("operation", "more"), [
    ("DeleteLogGroup", {}), ("CreateLogStream", {"logStreamName": "s"}), ("DeleteLogStream", {"logStreamName": "s"}),
    ("DescribeLogStreams", {}), ("PutRetentionPolicy", {"retentionInDays": 1}), ("DeleteRetentionPolicy", {}),
    ("ListTagsLogGroup", {}), ("TagLogGroup", {"tags": {}}), ("UntagLogGroup", {"tags": []}), ("FilterLogEvents", {}),
    ("GetLogEvents", {"logStreamName": "s"}), ("PutLogEvents", {"logStreamName": "s", "logEvents": []})])
def test_a_group_that_is_not_there(desk: Desk, operation: str, more: dict[str, Any]) -> None:
    with pytest.raises(ResourceNotFound, match=r"The specified log group does not exist\."):
        desk(logs, operation, logGroupName="ghost", **more)


def test_delete_log_group_takes_everything_with_it(desk: Desk) -> None:
    make(desk, "s")
    now = int(desk.clock.now() * 1000)
    put(desk, "s", (now, "old"))
    assert desk(logs, "DescribeLogGroups")["logGroups"][0]["storedBytes"] == len("old") + 26
    desk(logs, "DeleteLogGroup", logGroupName="/ecs/web")
    with desk.store.tx() as tx:
        ((gone,),) = tx.execute("select key from work where kind=?", (storage.DELETE,))
    assert asyncio.run(Deletion(desk.store).reconcile(gone)) == Done()
    with desk.store.tx() as tx:
        for table in ("logs_stream", "logs_chunk"):
            assert tx.execute(f"select count(*) from {table}").fetchone() == (0,)
    make(desk, "s")
    assert desk(logs, "GetLogEvents", logGroupName="/ecs/web", logStreamName="s")["events"] == []


def test_retention_hides_at_once_and_deletes_soon(desk: Desk) -> None:
    make(desk, "s")
    step = controller(desk.store, None, desk.site).reconcilers["logs.group"]
    key = f"{ACCOUNT}/us-east-1//ecs/web"
    now = int(desk.clock.now() * 1000)
    put(desk, "s", (now - 2 * DAY_S * 1000, "old"))
    put(desk, "s", (now, "new"))
    desk(logs, "PutRetentionPolicy", logGroupName="/ecs/web", retentionInDays=1)
    assert desk(logs, "DescribeLogGroups")["logGroups"][0]["retentionInDays"] == 1
    with desk.store.tx() as tx:
        assert tx.execute("select key from work where kind='logs.group'").fetchall() == [(key,)]
    for operation, more in (("FilterLogEvents", {}), ("GetLogEvents", {"logStreamName": "s", "startFromHead": True})):
        found = desk(logs, operation, logGroupName="/ecs/web", **more)["events"]
        assert [event["message"] for event in found] == ["new"]
    assert asyncio.run(step(key)) == Again(900.0)
    assert desk(logs, "DescribeLogGroups")["logGroups"][0]["storedBytes"] == len("new") + 26
    with desk.store.tx() as tx:
        assert tx.execute("select count(*) from logs_chunk").fetchone() == (1,)
    desk(logs, "DeleteRetentionPolicy", logGroupName="/ecs/web")
    assert "retentionInDays" not in desk(logs, "DescribeLogGroups")["logGroups"][0]
    assert asyncio.run(step(key)) == Done()
    desk(logs, "DeleteLogGroup", logGroupName="/ecs/web")
    assert asyncio.run(step(key)) == Done()


@pytest.mark.parametrize("days", [0, 2, 4000])
def test_retentions_that_cannot_be(desk: Desk, days: int) -> None:
    make(desk)
    with pytest.raises(InvalidParameter, match=r"must satisfy enum value set: \[1, 3, 5, 7, 14"):
        desk(logs, "PutRetentionPolicy", logGroupName="/ecs/web", retentionInDays=days)


def test_tags_in_their_new_and_their_old_form(desk: Desk) -> None:
    make(desk)
    desk(logs, "TagResource", resourceArn=ARN, tags={"a": "1", "b": "2"})
    desk(logs, "TagLogGroup", logGroupName="/ecs/web", tags={"b": "3", "c": "4"})
    assert desk(logs, "ListTagsForResource", resourceArn=f"{ARN}:*")["tags"] == {"a": "1", "b": "3", "c": "4"}
    desk(logs, "UntagResource", resourceArn=ARN, tagKeys=["a", "x"])
    desk(logs, "UntagLogGroup", logGroupName="/ecs/web", tags=["c"])
    assert desk(logs, "ListTagsLogGroup", logGroupName="/ecs/web")["tags"] == {"b": "3"}
    with pytest.raises(TooManyTags):
        desk(logs, "TagResource", resourceArn=ARN, tags={f"k{number}": "" for number in range(50)})


@pytest.mark.parametrize(("arn", "error"), [
    ("/ecs/web", InvalidParameter), ("arn:aws:s3:::x", InvalidParameter), (ARN + "2", ResourceNotFound),
    (ARN.replace(ACCOUNT, "210987654321"), ResourceNotFound),
    (ARN.replace("us-east-1", "eu-west-1"), ResourceNotFound)])
def test_arns_of_nothing_here(desk: Desk, arn: str, error: type[AwsError]) -> None:
    make(desk)
    with pytest.raises(error):
        desk(logs, "ListTagsForResource", resourceArn=arn)


def test_streams_are_made_described_and_deleted(desk: Desk) -> None:
    make(desk, "b", "a")
    with pytest.raises(ResourceAlreadyExists, match="The specified log stream already exists"):
        desk(logs, "CreateLogStream", logGroupName="/ecs/web", logStreamName="a")
    described = desk(logs, "DescribeLogStreams", logGroupIdentifier=ARN)["logStreams"]
    assert [stream["logStreamName"] for stream in described] == ["a", "b"]
    assert described[0] == {"logStreamName": "a", "creationTime": int(desk.clock.now() * 1000), "storedBytes": 0,
                            "arn": f"{ARN}:log-stream:a", "uploadSequenceToken": described[0]["uploadSequenceToken"]}
    now = int(desk.clock.now() * 1000)
    put(desk, "a", (now - 5, "x"), (now - 3, "y"))
    stream = desk(logs, "DescribeLogStreams", logGroupName="/ecs/web", logStreamNamePrefix="a")["logStreams"][0]
    assert (stream["firstEventTimestamp"], stream["lastEventTimestamp"], stream["lastIngestionTime"]) == (
        now - 5, now - 3, now)
    desk(logs, "DeleteLogStream", logGroupName="/ecs/web", logStreamName="a")
    for operation, more in (("DeleteLogStream", {}), ("GetLogEvents", {}), ("PutLogEvents", {"logEvents": []})):
        with pytest.raises(ResourceNotFound, match=r"The specified log stream does not exist\."):
            desk(logs, operation, logGroupName="/ecs/web", logStreamName="a", **more)
    for bad in ("a:b", "a*", "", "x" * 513):
        with pytest.raises(InvalidParameter):
            desk(logs, "CreateLogStream", logGroupName="/ecs/web", logStreamName=bad)


def test_describe_log_streams_orders_and_pages(desk: Desk) -> None:
    make(desk, "a", "b", "c", "d")
    now = int(desk.clock.now() * 1000)
    for stream, age in (("a", 2), ("b", 3), ("c", 1)):
        put(desk, stream, (now - age, "x"))

    def order(**more: Any) -> str:
        found, token = [], {}
        while True:
            page = desk(logs, "DescribeLogStreams", logGroupName="/ecs/web", limit=2, **more, **token)
            found += [stream["logStreamName"] for stream in page["logStreams"]]
            if page["nextToken"] is None:
                return "".join(found)
            token = {"nextToken": page["nextToken"]}

    assert order() == "abcd"
    assert order(descending=True) == "dcba"
    assert order(orderBy="LastEventTime") == "dbac"
    assert order(orderBy="LastEventTime", descending=True) == "cabd"
    assert order(logStreamNamePrefix="c") == "c"
    with pytest.raises(InvalidParameter, match="Cannot order by LastEventTime with a logStreamNamePrefix"):
        order(orderBy="LastEventTime", logStreamNamePrefix="c")
    with pytest.raises(InvalidParameter, match="The specified nextToken is invalid"):
        desk(logs, "DescribeLogStreams", logGroupName="/ecs/web", nextToken="stranger")


@pytest.mark.parametrize("request_", [{}, {"logGroupName": "/ecs/web", "logGroupIdentifier": ARN}])
def test_exactly_one_way_to_name_a_group(desk: Desk, request_: dict[str, str]) -> None:
    make(desk)
    with pytest.raises(InvalidParameter, match="Exactly one of"):
        desk(logs, "DescribeLogStreams", **request_)


def test_put_log_group_deletion_protection(desk: Desk) -> None:
    desk(logs, "CreateLogGroup", logGroupName="/ecs/web", deletionProtectionEnabled=True)
    assert desk(logs, "DescribeLogGroups")["logGroups"][0]["deletionProtectionEnabled"] is True
    with pytest.raises(Validation, match="deletion protection"):
        desk(logs, "DeleteLogGroup", logGroupName="/ecs/web")
    desk(logs, "PutLogGroupDeletionProtection", logGroupIdentifier=ARN, deletionProtectionEnabled=False)
    desk(logs, "DeleteLogGroup", logGroupName="/ecs/web")
    assert names(desk(logs, "DescribeLogGroups")) == []


def test_infrequent_access_leaves_out_what_it_leaves_out_on_aws(desk: Desk) -> None:
    make(desk)
    desk(logs, "CreateLogGroup", logGroupName="rare", logGroupClass="INFREQUENT_ACCESS")
    desk(logs, "CreateLogStream", logGroupName="rare", logStreamName="s")
    put(desk, "s", (int(desk.clock.now() * 1000), "kept"), group="rare")
    assert names(desk(logs, "DescribeLogGroups", logGroupClass="INFREQUENT_ACCESS")) == ["rare"]
    assert names(desk(logs, "DescribeLogGroups", logGroupClass="STANDARD")) == ["/ecs/web"]
    for operation, more in (("GetLogEvents", {"logStreamName": "s"}), ("FilterLogEvents", {})):
        with pytest.raises(InvalidParameter, match="Insights only"):
            desk(logs, operation, logGroupName="rare", **more)
    for operation, more in (
            ("PutMetricFilter", {"metricTransformations": []}), ("PutSubscriptionFilter", {"destinationArn": "x"})):
        with pytest.raises(InvalidOperation, match="not supported for log groups of the log class INFREQUENT_ACCESS"):
            desk(logs, operation, logGroupName="rare", filterName="f", filterPattern="", **more)


def test_list_log_groups(desk: Desk) -> None:
    for name, tags in (("/ecs/web", {"env": "a"}), ("/ecs/job", {"env": "b"}), ("/rds/ecs", {}), ("zzz", {"env": "a"})):
        desk(logs, "CreateLogGroup", logGroupName=name, tags=tags)
    listed = desk(logs, "ListLogGroups")["logGroups"]
    assert listed[1] == {"logGroupName": "/ecs/web", "logGroupArn": ARN, "logGroupClass": "STANDARD"}

    def found(**more: Any) -> list[str]:
        return names(desk(logs, "ListLogGroups", **more))

    assert found(logGroupNamePattern="ecs") == ["/ecs/job", "/ecs/web", "/rds/ecs"]
    assert found(logGroupNamePattern="^/ecs|zzz") == ["/ecs/job", "/ecs/web", "zzz"]
    assert found(logGroupTags=[{"key": "env", "values": ["a"]}]) == ["/ecs/web", "zzz"]
    assert found(logGroupTags=[{"key": "env"}]) == ["/ecs/job", "/ecs/web", "zzz"]
    assert found(logGroupClass="INFREQUENT_ACCESS") == []
    first = desk(logs, "ListLogGroups", limit=3)
    rest = desk(logs, "ListLogGroups", limit=3, nextToken=first["nextToken"])
    assert (len(first["logGroups"]), names(rest), rest["nextToken"]) == (3, ["zzz"], None)
    with pytest.raises(InvalidParameter):
        found(nextToken="x")
    with pytest.raises(InvalidParameter):
        found(includeLinkedAccounts=True)


def test_conditions_see_the_tags_of_the_group_of_a_stream(desk: Desk) -> None:
    desk(logs, "CreateLogGroup", logGroupName="/ecs/web", tags={"env": "a"})
    assert logs.tags_of is not None
    with desk.store.tx() as tx:
        for ending in ("", ":*", ":log-stream:", ":log-stream:s"):
            assert logs.tags_of(tx, ARN + ending) == {"env": "a"}
        assert logs.tags_of(tx, ARN + "2") == logs.tags_of(tx, "arn:aws:logs:us-east-1:1:destination:x") == {}
