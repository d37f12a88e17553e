"""Where a bucket tells what happens to its objects: put, once all of it can be reached, and read.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html
"""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3 import notifications
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.notifications import DESTINATIONS, ENDPOINT
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import InvalidArgument, MalformedXml, NotImplementedHere, bucket_arns, s3
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import NOTIFICATION
from cloudlet.store.db import Tx

CONFIGURATIONS_MAX = 100
_VALUE_MAX = 1024
_SERVICES = {"queue": "SQS", "topic": "SNS"}
_WHAT = {"QueueConfigurations": "queue", "TopicConfigurations": "topic"}
_ELSEWHERE = ("LambdaFunctionConfigurations", "EventBridgeConfiguration")


@s3.write(resources=bucket_arns, action="s3:PutBucketNotification", durable=True)
def put_bucket_notification_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Says what a bucket tells to which queues and topics, in the place of what it was; each gets a test event."""
    bucket, wanted = require_bucket(tx, call, request), request["NotificationConfiguration"]
    for kind in _ELSEWHERE:
        if wanted.get(kind) or (kind == "EventBridgeConfiguration" and kind in wanted):
            raise NotImplementedHere(f"Cloudlet notifies queues and topics only, and has nothing for {kind}")
    found = {kind: [_checked(tx, each) for each in wanted[kind]] for kind in DESTINATIONS if wanted.get(kind)}
    configurations = [each for kind in found for each in found[kind]]
    if not configurations:
        kept.act_on(tx, bucket, NOTIFICATION, None)
        return
    if len(configurations) > CONFIGURATIONS_MAX:
        raise InvalidArgument(f"Notification configuration exceeds the limit of {CONFIGURATIONS_MAX}")
    if len({each["Id"] for each in configurations}) < len(configurations):
        raise InvalidArgument("Same ID used for multiple configurations. IDs must be unique")
    for one, other in combinations(configurations, 2):
        _check_apart(one, other)
    arns = dict.fromkeys((each[DESTINATIONS[kind]], _WHAT[kind]) for kind in found for each in found[kind])
    for arn, what in arns:
        _check_arn(bucket, arn, what)
    if not request.get("SkipDestinationValidation"):
        _check_targets(tx, bucket, arns)
    kept.act_on(tx, bucket, NOTIFICATION, {**found, ENDPOINT: call.endpoint})
    identity = notifications.host_id(call.request_id)
    for arn, _ in arns:
        notifications.deliver(tx, bucket, arn, {
            "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": notifications.time_text(tx.now),
            "Bucket": bucket.name, "RequestId": identity[:16], "HostId": identity},
            notifications.cause_of(call), call.endpoint)


@s3.read(resources=bucket_arns, action="s3:GetBucketNotification")
def get_bucket_notification_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """What was put; nothing where nobody put anything."""
    found = kept.get(tx, require_bucket(tx, call, request), NOTIFICATION) or {}
    return {kind: found[kind] for kind in DESTINATIONS if kind in found}


def _checked(tx: Tx, said: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that is right in itself, as it is kept. Raises InvalidArgument, MalformedXML."""
    if not said.get("Events"):
        raise MalformedXml()
    found = {**said, "Id": said.get("Id") or tx.token(32), "Events": list(dict.fromkeys(said["Events"]))}
    rules = ((said.get("Filter") or {}).get("Key") or {}).get("FilterRules") or []
    names = [rule.get("Name", "").lower() for rule in rules]
    for name, rule in zip(names, rules, strict=True):
        if name not in ("prefix", "suffix"):
            raise InvalidArgument("filter rule name must be either prefix or suffix", ArgumentName="FilterRule.Name",
                                  ArgumentValue=rule.get("Name", "")[:256])
        if names.count(name) > 1:
            raise InvalidArgument(f"Cannot specify more than one {name} rule in a filter.",
                                  ArgumentName="FilterRule.Name", ArgumentValue=name)
    if any(len(rule.get("Value", "")) > _VALUE_MAX for rule in rules):
        raise InvalidArgument(f"Size of filter rule value cannot exceed {_VALUE_MAX} characters in length",
                              ArgumentName="FilterRule.Value")
    found.pop("Filter", None)
    if rules:
        found["Filter"] = {"Key": {"FilterRules": [
            {"Name": name.capitalize(), "Value": rule.get("Value", "")}
            for name, rule in zip(names, rules, strict=True)]}}
    return found


def _check_apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Raises InvalidArgument where two configurations would both be told of one event."""
    if not any(_same(a, b) for a in one["Events"] for b in other["Events"]):
        return
    (prefix, suffix), (prefix2, suffix2) = notifications.ends_of(one), notifications.ends_of(other)
    if (prefix.startswith(prefix2) or prefix2.startswith(prefix)) and (
            suffix.endswith(suffix2) or suffix2.endswith(suffix)):
        if prefix or suffix or prefix2 or suffix2:
            raise InvalidArgument("Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules"
                                  " if the prefixes are overlapping for the same event type.")
        raise InvalidArgument("Configurations overlap. Configurations on the same bucket cannot share a common event"
                              " type.")


def _same(one: str, other: str) -> bool:
    return one == other or any(wide.endswith("*") and narrow.startswith(wide[:-1])
                               for wide, narrow in ((one, other), (other, one)))


def _check_arn(bucket: Bucket, arn: str, what: str) -> None:
    """Raises InvalidArgument where it is not the ARN of a "queue" or a "topic" in the bucket's region."""
    parts, service = arn.split(":"), _SERVICES[what]
    if len(parts) != 6 or parts[:3] != ["arn", "aws", service.lower()]:
        raise InvalidArgument("The ARN could not be parsed", ArgumentName=what.title(), ArgumentValue=arn)
    if parts[3] != bucket.region:
        raise InvalidArgument("The notification destination service region is not valid for the bucket location"
                              " constraint", ArgumentName=arn, ArgumentValue="null")


def _check_targets(tx: Tx, bucket: Bucket, arns: Iterable[tuple[str, str]]) -> None:
    """Raises InvalidArgument, in AWS's words, with all those that cannot be sent to."""
    problems = [(arn, problem) for arn, what in arns if (problem := _problem(tx, bucket, arn, what)) is not None]
    if problems:
        raise InvalidArgument("Unable to validate the following destination configurations", **{
            f"Argument{part}{number}": text for number, each in enumerate(problems, 1)
            for part, text in zip(("Name", "Value"), each, strict=True)})


def _problem(tx: Tx, bucket: Bucket, arn: str, what: str) -> str | None:
    target = notifications.find_target(tx, arn)
    if target is None:
        return f"The destination {what} does not exist"
    if target.fifo:
        return f"FIFO {_SERVICES[what]} {what}s are not supported"
    if not notifications.may_send(target, bucket):
        return f"Permissions on the destination {what} do not allow S3 to publish notifications from this bucket"
    return None
