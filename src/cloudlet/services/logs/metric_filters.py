"""Metric filters: what of a group's events is to be counted as a metric; and trying patterns on messages."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.logs import pattern
from cloudlet.services.logs.filter_records import MetricFilter, key_of
from cloudlet.services.logs.groups import of_standard_class, requested_group, the_group
from cloudlet.services.logs.pattern_words import number
from cloudlet.services.logs.service import InvalidParameter, LimitExceeded, ResourceNotFound, logs
from cloudlet.store.db import Tx

FILTERS_MAX, REGEX_FILTERS_MAX, DIMENSIONS_MAX = 100, 5, 3  # of a group; of a group, with regular expressions
NOT_SUPPORTED = ("fieldSelectionCriteria", "emitSystemFieldDimensions", "emitSystemFields", "applyOnTransformedLogs")


@logs.write(resources=the_group)
def put_metric_filter(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a metric filter, or changes the one of that name."""
    group = requested_group(call, tx, request)
    of_standard_class(group, "Metric filters")
    refuse_unsupported(request)
    text, (transformation,) = request["filterPattern"], request["metricTransformations"]
    _check(pattern.compiled(text), transformation)
    key = key_of(group.key, request["filterName"])
    others = [each for each in tx.find(MetricFilter, group=group.key) if each.key != key]
    if len(others) >= FILTERS_MAX or (
            "%" in text and sum("%" in each.pattern for each in others) >= REGEX_FILTERS_MAX):
        raise LimitExceeded("Resource limit exceeded.")
    before = tx.get(MetricFilter, key)
    tx.put(MetricFilter(key, group.key, group.name, request["filterName"], text, transformation,
                        before.created if before else tx.now))


def refuse_unsupported(request: Input) -> None:
    """Raises InvalidParameter for what filters have beside their pattern and what is done with the events."""
    for name in NOT_SUPPORTED:
        if request.get(name):
            raise InvalidParameter(f"{name} is not supported.")


def _check(wanted: pattern.Pattern | None, transformation: dict[str, Any]) -> None:
    """Raises InvalidParameter where the metric cannot be made of what the pattern finds."""
    value, dimensions = transformation["metricValue"], transformation.get("dimensions") or {}
    named = wanted is not None and wanted.names
    if number(value) is None and not (value.startswith("$") and named):
        raise InvalidParameter("Invalid metric transformation: metricValue must be a number, or a field of a JSON or"
                               " space-delimited filter pattern.")
    if len(dimensions) > DIMENSIONS_MAX:
        raise InvalidParameter(f"Invalid metric transformation: at most {DIMENSIONS_MAX} dimensions are allowed.")
    if dimensions and not named:
        raise InvalidParameter("Invalid metric transformation: dimensions require a JSON or space-delimited filter"
                               " pattern.")
    if dimensions and transformation.get("defaultValue") is not None:
        raise InvalidParameter("Invalid metric transformation: dimensions and default value are mutually exclusive"
                               " properties.")


@logs.read(resources=lambda call, request: the_group(call, request) if "logGroupName" in request
           else [call.arn("logs", "log-group::log-stream:")])
def describe_metric_filters(call: Call, tx: Tx, request: Input) -> Output:
    """Metric filters of a group, or of all, in order of name; of one metric only, where one is named."""
    metric, namespace = request.get("metricName"), request.get("metricNamespace")
    if (metric is None) != (namespace is None):
        raise InvalidParameter("metricName and metricNamespace must be specified together.")
    if "logGroupName" in request:
        found = tx.find(MetricFilter, group=requested_group(call, tx, request).key)
    else:
        found = tx.find(MetricFilter, f"{call.scope}/")
    return {"metricFilters": [_described(each) for each in found
                              if each.name.startswith(request.get("filterNamePrefix") or "") and metric in (
                                  None, each.transformation["metricName"]) and namespace in (
                                  None, each.transformation["metricNamespace"])]}


def _described(found: MetricFilter) -> dict[str, Any]:
    return {"filterName": found.name, "filterPattern": found.pattern, "logGroupName": found.log_group,
            "metricTransformations": [found.transformation], "creationTime": int(found.created * 1000),
            "applyOnTransformedLogs": False}


@logs.write(resources=the_group)
def delete_metric_filter(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a metric filter."""
    key = key_of(requested_group(call, tx, request).key, request["filterName"])
    if tx.get(MetricFilter, key) is None:
        raise ResourceNotFound("The specified metric filter does not exist.")
    tx.delete(MetricFilter, key)


@logs.read(resources=any_resource)
def test_metric_filter(call: Call, tx: Tx, request: Input) -> Output:
    """Which of some messages a pattern matches, and what it finds in them."""
    wanted = pattern.compiled(request["filterPattern"])
    return {"matches": [
        {"eventNumber": at, "eventMessage": message, "extractedValues": wanted.extracted(message) if wanted else {}}
        for at, message in enumerate(request["logEventMessages"], 1) if wanted is None or wanted.matches(message)]}
