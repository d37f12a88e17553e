"""Metric filters and subscription filters."""

from typing import Any

import pytest

from cloudlet.services.logs import logs
from cloudlet.services.logs.metric_filters import FILTERS_MAX
from cloudlet.services.logs.service import InvalidParameter, LimitExceeded, ResourceNotFound
from tests.services.desk import Desk
from tests.services.logs.test_groups import make

GROUP = "/ecs/web"


def metric(value: str = "1", **more: Any) -> dict[str, Any]:
    return {"metricName": "errors", "metricNamespace": "app", "metricValue": value, **more}


def put(desk: Desk, name: str = "f", pattern: str = "ERROR", group: str = GROUP, **more: Any) -> None:
    desk(logs, "PutMetricFilter", logGroupName=group, filterName=name, filterPattern=pattern,
         metricTransformations=[metric(**more)])


def described(desk: Desk, **more: Any) -> list[str]:
    return [each["filterName"] for each in desk(logs, "DescribeMetricFilters", **more)["metricFilters"]]


def test_put_metric_filter_describe_and_delete_it(desk: Desk) -> None:
    make(desk)
    make(desk, group="other")
    put(desk)
    created = int(desk.clock.now() * 1000)
    desk.clock.time += 10
    put(desk, pattern="{ $.ms = * }", value="$.ms", dimensions={"path": "$.path"}, unit="Milliseconds")
    assert desk(logs, "DescribeMetricFilters", logGroupName=GROUP)["metricFilters"] == [{
        "filterName": "f", "filterPattern": "{ $.ms = * }", "logGroupName": GROUP, "creationTime": created,
        "metricTransformations": [metric("$.ms", dimensions={"path": "$.path"}, unit="Milliseconds")],
        "applyOnTransformedLogs": False}]
    put(desk, "g", group="other", defaultValue=0.0)
    put(desk, "e")
    assert described(desk) == ["e", "f", "g"]
    assert described(desk, logGroupName=GROUP) == ["e", "f"]
    assert described(desk, filterNamePrefix="f") == ["f"]
    assert described(desk, metricName="errors", metricNamespace="app") == ["e", "f", "g"]
    assert described(desk, metricName="errors", metricNamespace="else") == []
    counts = {group["logGroupName"]: group["metricFilterCount"]
              for group in desk(logs, "DescribeLogGroups")["logGroups"]}
    assert counts == {GROUP: 2, "other": 1}
    desk(logs, "DeleteMetricFilter", logGroupName=GROUP, filterName="e")
    with pytest.raises(ResourceNotFound, match="The specified metric filter does not exist"):
        desk(logs, "DeleteMetricFilter", logGroupName=GROUP, filterName="e")
    desk(logs, "DeleteLogGroup", logGroupName=GROUP)
    make(desk)
    assert described(desk) == ["g"]
    with pytest.raises(InvalidParameter):
        described(desk, metricName="errors")


@pytest.mark.parametrize("wrong", [
    {"pattern": "{ $.x"}, {"value": "$.ms"}, {"value": "many"}, {"dimensions": {"a": "$.a"}},
    {"pattern": "[a, b]", "dimensions": {"a": "$a"}, "defaultValue": 1.0},
    {"pattern": "[a, b]", "dimensions": dict.fromkeys("abcd", "$a")}])
def test_metric_filters_that_cannot_be(desk: Desk, wrong: dict[str, Any]) -> None:
    make(desk)
    with pytest.raises(InvalidParameter):
        put(desk, **wrong)
    with pytest.raises(InvalidParameter, match="applyOnTransformedLogs is not supported"):
        desk(logs, "PutMetricFilter", logGroupName=GROUP, filterName="f", filterPattern="",
             metricTransformations=[metric()], applyOnTransformedLogs=True)
    assert described(desk) == []


def test_a_group_has_a_hundred_metric_filters_and_five_with_regular_expressions(desk: Desk) -> None:
    make(desk)
    for number in range(5):
        put(desk, f"regex{number}", "%a+%")
    with pytest.raises(LimitExceeded):
        put(desk, "regex5", "%a+%")
    put(desk, "regex4", "%b+%")
    for number in range(FILTERS_MAX - 5):
        put(desk, f"f{number}")
    with pytest.raises(LimitExceeded):
        put(desk, "more")
    put(desk, "f0", "WARN")


def test_test_metric_filter(desk: Desk) -> None:
    # https://docs.aws.amazon.com/cli/latest/reference/logs/test-metric-filter.html
    messages = ["[ERROR] 400 BAD REQUEST", "[INFO] 200 OK", "[ERROR] 500"]
    assert desk(logs, "TestMetricFilter", filterPattern="ERROR", logEventMessages=messages)["matches"] == [
        {"eventNumber": 1, "eventMessage": messages[0], "extractedValues": {}},
        {"eventNumber": 3, "eventMessage": messages[2], "extractedValues": {}}]
    assert desk(logs, "TestMetricFilter", filterPattern="[level, code = 5*]", logEventMessages=messages)["matches"] == [
        {"eventNumber": 3, "eventMessage": messages[2], "extractedValues": {"$level": "ERROR", "$code": "500"}}]
    assert len(desk(logs, "TestMetricFilter", filterPattern="", logEventMessages=messages)["matches"]) == 3
    with pytest.raises(InvalidParameter):
        desk(logs, "TestMetricFilter", filterPattern="[", logEventMessages=messages)


@pytest.mark.parametrize(("arn", "error", "words"), [
    ("arn:aws:lambda:us-east-1:123456789012:function:f", InvalidParameter, "Could not execute the lambda function"),
    ("arn:aws:kinesis:us-east-1:123456789012:stream/s", InvalidParameter, "message to specified Kinesis stream"),
    ("arn:aws:firehose:us-east-1:123456789012:deliverystream/d", InvalidParameter, "specified Firehose stream"),
    ("arn:aws:logs:us-east-1:123456789012:destination:d", ResourceNotFound, "The specified destination does not exist"),
    ("arn:aws:s3:::bucket", InvalidParameter, "cannot be used"), ("lambda", InvalidParameter, "cannot be used")])
def test_put_subscription_filter_is_refused_as_no_destination_is_there(desk: Desk, arn: str, error: Any,
                                                                       words: str) -> None:
    make(desk)
    with pytest.raises(error, match=words):
        desk(logs, "PutSubscriptionFilter", logGroupName=GROUP, filterName="f", filterPattern="", destinationArn=arn)
    with pytest.raises(InvalidParameter, match="Invalid filter pattern"):
        desk(logs, "PutSubscriptionFilter", logGroupName=GROUP, filterName="f", filterPattern="{", destinationArn=arn)
    assert desk(logs, "DescribeSubscriptionFilters", logGroupName=GROUP) == {"subscriptionFilters": []}
    with pytest.raises(ResourceNotFound, match="The specified subscription filter does not exist"):
        desk(logs, "DeleteSubscriptionFilter", logGroupName=GROUP, filterName="f")
