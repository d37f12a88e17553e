"""What happens to objects is told to queues and topics, within the transaction in which it happens.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from cloudlet.kernel import policy
from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.services import sns, sqs
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import NOTIFICATION
from cloudlet.services.s3.versions import Version
from cloudlet.store.db import Tx

SERVICE = "s3.amazonaws.com"
SUBJECT = "Amazon S3 Notification"
DESTINATIONS = {"QueueConfigurations": "QueueArn", "TopicConfigurations": "TopicArn"}
ENDPOINT = "endpoint"  # what is kept beside them: by what name we were reached when they were put
_VERSIONS = {"ObjectCreated": "2.1", "ObjectRemoved": "2.1", "ObjectRestore": "2.1", "Replication": "2.2",
             "ObjectRestore:Delete": "2.3"}
# By its name in policies, and as one of all, where a policy lets anybody in.
_CALLER = policy.Caller(frozenset({("Service", SERVICE), ("AWS", SERVICE)}))


class Cause(NamedTuple):
    """Who did something, from where, and the request's id and X-Amzn-Trace-Id."""

    principal: str
    address: str
    request_id: str
    trace: str = ""


def cause_of(call: Call) -> Cause:
    """A request."""
    return Cause("Anonymous" if call.principal.kind == "anonymous" else f"AWS:{call.principal.user_id}",
                 call.source_ip, call.request_id, call.trace)


def by_s3(tx: Tx) -> Cause:
    """S3 itself, by the rules of a bucket."""
    return Cause(SERVICE, SERVICE, tx.token(32))


def find_target(tx: Tx, arn: str) -> sqs.Queue | sns.Topic | None:
    """The queue or the topic of an ARN."""
    return sns.find_by_arn(tx, arn) if arn.startswith("arn:aws:sns:") else sqs.find_by_arn(tx, arn)


def may_send(target: sqs.Queue | sns.Topic, bucket: Bucket) -> bool:
    """Whether the policy of a queue or a topic lets S3 send what happens in a bucket."""
    document, action = target.attributes.get("Policy"), (
        "sns:Publish" if isinstance(target, sns.Topic) else "sqs:SendMessage")
    facts = {"aws:sourcearn": (bucket.arn,), "aws:sourceaccount": (bucket.account,), "aws:principalservicename": (
        SERVICE,), "aws:principalisawsservice": ("true",)}
    return document is not None and policy.granted(
        policy.parse(document), _CALLER, action, target.arn, facts.get) == "direct"


def deliver(tx: Tx, bucket: Bucket, destination: str, message: Mapping[str, Any], cause: Cause, endpoint: str) -> None:
    """Sends a message to where an ARN says. What cannot be sent to is passed over, as on AWS: what happened, happened.
    `endpoint` is where a topic's subscribers find what its messages speak of."""
    target, text = find_target(tx, destination), json.dumps(message, separators=(",", ":"))
    if target is None or not may_send(target, bucket):
        return
    try:
        if isinstance(target, sns.Topic):
            sns.send(tx, target, {"Message": text, "Subject": SUBJECT}, endpoint, cause.request_id)
        else:
            traced = {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": cause.trace}}}
            sqs.send(tx, target, SERVICE, {"MessageBody": text, **(traced if cause.trace else {})})
    except AwsError:
        return


def announce(tx: Tx, cause: Cause, bucket: Bucket, event: str, version: Version, **data: Any) -> None:
    """Tells of an event, such as `ObjectCreated:Put`, whoever wants to know; `version` is what it happened to, and
    `data` what the record says beside it."""
    if NOTIFICATION not in bucket.acts:
        return
    said = kept.get(tx, bucket, NOTIFICATION) or {}
    for configurations, member in DESTINATIONS.items():
        for configuration in said.get(configurations, ()):
            if wants(configuration, event, version.key):
                record = {**_record(tx, cause, bucket, event, version, configuration["Id"]), **data}
                deliver(tx, bucket, configuration[member], {"Records": [record]}, cause, said[ENDPOINT])


def wants(configuration: Mapping[str, Any], event: str, key: str) -> bool:
    """Whether an event of a key is one that a configuration asks for."""
    if not any(_covers(asked, f"s3:{event}") for asked in configuration["Events"]):
        return False
    prefix, suffix = ends_of(configuration)
    return key.startswith(prefix) and key.endswith(suffix)


def _covers(asked: str, event: str) -> bool:
    return event.startswith(asked[:-1]) if asked.endswith("*") else event == asked


def ends_of(configuration: Mapping[str, Any]) -> tuple[str, str]:
    """The prefix and the suffix of the keys that a configuration is about."""
    rules = ((configuration.get("Filter") or {}).get("Key") or {}).get("FilterRules") or ()
    ends = {rule["Name"].lower(): rule.get("Value", "") for rule in rules}
    return ends.get("prefix", ""), ends.get("suffix", "")


def time_text(at: float) -> str:
    """A time as messages say it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def host_id(request_id: str) -> str:
    """What answers call x-amz-id-2."""
    return request_id.replace("-", "").upper()


def _record(tx: Tx, cause: Cause, bucket: Bucket, event: str, version: Version, name: str) -> dict[str, Any]:
    removed = event.endswith(":Delete") and event.startswith(("ObjectRemoved", "LifecycleExpiration"))
    beside = event.startswith(("ObjectTagging", "ObjectAcl"))  # which change no bytes
    about: dict[str, Any] = {"key": quote_plus(version.key, safe="/")}
    if not removed:
        about |= {"eTag": version.etag} if version.marker or beside else {"size": version.size, "eTag": version.etag}
    if bucket.versioning:
        about["versionId"] = version.version
    if not beside:
        about["sequencer"] = f"{int(tx.now * 1_000_000):018X}"
    identity = host_id(cause.request_id)
    return {
        "eventVersion": _VERSIONS.get(event) or _VERSIONS.get(event.partition(":")[0], "2.3"),
        "eventSource": "aws:s3", "awsRegion": bucket.region, "eventTime": time_text(tx.now), "eventName": event,
        "userIdentity": {"principalId": cause.principal}, "requestParameters": {"sourceIPAddress": cause.address},
        "responseElements": {"x-amz-request-id": identity[:16], "x-amz-id-2": identity},
        "s3": {"s3SchemaVersion": "1.0", "configurationId": name,
               "bucket": {"name": bucket.name, "ownerIdentity": {"principalId": canonical_id(bucket.account)},
                          "arn": bucket.arn},
               "object": about}}
