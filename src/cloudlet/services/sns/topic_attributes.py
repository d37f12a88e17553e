"""Attributes of topics: which there are, what they may be, and what a topic says of itself.

https://docs.aws.amazon.com/sns/latest/api/API_SetTopicAttributes.html
"""

import dataclasses
import json
import re
from typing import Any

from cloudlet.kernel import policy, policy_grammar
from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sns import archive, delivery_policies, status_logs
from cloudlet.services.sns.records import BYTES, Subscription, Topic, find_by_arn, require
from cloudlet.services.sns.service import invalid, sns, topic_arns
from cloudlet.store.db import Tx

BYTES_MAX, BYTES_MIN, LARGE_SUBSCRIPTIONS_MAX = 1 << 20, 1024, 100
ACTIONS = ("GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic", "Subscribe",
           "ListSubscriptionsByTopic", "Publish")
# What a topic's policy may let others do. https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-language-api-permissions-reference.html
GRANTED = frozenset(f"sns:{action}".lower() for action in (
    *ACTIONS, "Receive", "ListTagsForResource", "GetDataProtectionPolicy", "PutDataProtectionPolicy"))
POLICY_BYTES_MAX, STATEMENTS_MAX = 30 * 1024, 100
_FIFO_ONLY = {"FifoTopic", "ContentBasedDeduplication", "FifoThroughputScope"}
_VALUES = {"ContentBasedDeduplication": ("true", "false"), "FifoThroughputScope": ("Topic", "MessageGroup"),
           "SignatureVersion": ("1", "2"), "FifoTopic": ("true", "false"), "TracingConfig": ("PassThrough", "Active")}
_ABSENT = ("DataProtectionPolicy",)
_REMOVABLE = (archive.POLICY, "DisplayName", "Policy", "DeliveryPolicy", "KmsMasterKeyId")
_SOME = re.compile(r"sns:.*[*?].*")  # by a pattern
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def checked(topic: Topic, name: str, value: str, where: str = "") -> str:
    """An attribute as it is kept, "" for none. Raises InvalidParameter; `where` begins its sentence."""
    if name in _ABSENT and value:
        raise invalid(f"{where}{name} is not available here")
    if name in _ABSENT or status_logs.ROLE.fullmatch(name):
        return value
    if status_logs.RATE.fullmatch(name):
        if value and not (value.isascii() and value.isdigit() and int(value) <= 100):
            raise invalid(f"{where}{name}: Invalid value [{value[:64]}]. It must be a percentage from 0 to 100")
        return value
    if name in _VALUES:
        if name in _FIFO_ONLY and not topic.fifo and value != "false":
            raise invalid(f"{where}{name}: only FIFO topics have it")
        if value not in _VALUES[name] or (name == "FifoTopic" and topic.fifo and value != "true"):
            raise invalid(f"{where}{name}: Invalid value [{value[:64]}]. Please use one of {', '.join(_VALUES[name])}")
        if value == "Active":
            raise invalid(f"{where}TracingConfig: X-Ray is not available here")
        return "" if name in _FIFO_ONLY and not topic.fifo else value
    match name:
        case archive.POLICY:
            return archive.checked(topic, value, where)
        case "DisplayName":
            if len(value) > 100 or _CONTROL.search(value):
                raise invalid(f"{where}DisplayName")
        case "Policy":
            return _policy(topic, value, where)
        case "DeliveryPolicy":
            return delivery_policies.checked(value, where, of_topic=True)
        case "KmsMasterKeyId":
            if len(value) > 2048:
                raise invalid(f"{where}KmsMasterKeyId")
        case "MaximumMessageSize":
            if not (value.isascii() and value.isdigit() and BYTES_MIN <= int(value) <= BYTES_MAX):
                raise invalid(f"{where}MaximumMessageSize: must be between {BYTES_MIN} and {BYTES_MAX}")
        case _:
            raise invalid(f"{where}Unknown attribute {name[:64]}" if where else "AttributeName")
    return value


def _policy(topic: Topic, text: str, where: str) -> str:
    try:
        policy_grammar.check(text, "resource")
    except policy_grammar.Malformed:
        raise invalid(f"{where}Policy failed to parse") from None
    statements = policy.listed(json.loads(text)["Statement"])
    if len(text.encode()) > POLICY_BYTES_MAX or len(statements) > STATEMENTS_MAX:
        raise invalid(f"{where}Policy Error: it may have {POLICY_BYTES_MAX} bytes and {STATEMENTS_MAX} statements")
    for statement in statements:
        for action in (*policy.listed(statement.get("Action", [])), *policy.listed(statement.get("NotAction", []))):
            if not (action.lower() in GRANTED or action == "*" or _SOME.fullmatch(action.lower())):
                raise invalid(f"{where}Policy statement action out of service scope!")
        for resource in policy.listed(statement.get("Resource", [])):
            if resource != topic.arn and "*" not in resource:
                raise invalid(f"{where}Policy Error: the resource must be the topic")
    return text


def default_policy(topic: Topic) -> dict[str, Any]:
    """The policy of a topic that was given none: its owner's services may use it."""
    return {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [{
        "Sid": "__default_statement_ID", "Effect": "Allow", "Principal": {"AWS": "*"},
        "Action": [f"SNS:{action}" for action in ACTIONS], "Resource": topic.arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": topic.account}}}]}


def view(tx: Tx, topic: Topic) -> dict[str, str]:
    """All that a topic says of itself."""
    answer = {
        "TopicArn": topic.arn, "Owner": topic.account, "DisplayName": "",
        "Policy": json.dumps(default_policy(topic), separators=(",", ":")),
        "SubscriptionsConfirmed": str(tx.count(Subscription, confirmed=topic.key)),
        "SubscriptionsPending": str(tx.count(Subscription, pending=topic.key)),
        "SubscriptionsDeleted": str(topic.gone),
        "EffectiveDeliveryPolicy": delivery_policies.effective(topic.attributes.get("DeliveryPolicy"))}
    if topic.fifo:
        answer |= {"FifoTopic": "true", "ContentBasedDeduplication": "false", "FifoThroughputScope": "Topic"}
    if archive.POLICY in topic.attributes:
        answer["BeginningArchiveTime"] = archive.written(archive.beginning(topic, tx.now))
    return answer | topic.attributes


@sns.read(resources=topic_arns)
def get_topic_attributes(call: Call, tx: Tx, request: Input) -> Output:
    """What a topic is like."""
    return {"Attributes": view(tx, require(call, tx, request["TopicArn"]))}


@sns.write(resources=topic_arns, durable=True)
def set_topic_attributes(call: Call, tx: Tx, request: Input) -> Output:
    """Changes one attribute; nothing as its value takes it back to the default."""
    topic, name = require(call, tx, request["TopicArn"]), request["AttributeName"]
    value = request.get("AttributeValue") or ""
    if name == "FifoTopic":
        raise invalid("AttributeName")
    attributes = {each: kept for each, kept in topic.attributes.items() if each != name}
    if value or name not in _REMOVABLE:
        value = checked(topic, name, value)
    if value and status_logs.ROLE.fullmatch(name):
        status_logs.check_role(call, tx, name, value, "")
    if value:
        attributes[name] = value
    if name == "MaximumMessageSize" and int(value) > BYTES:
        found = tx.find(Subscription, f"{topic.key}/", limit=LARGE_SUBSCRIPTIONS_MAX + 1)
        if len(found) > LARGE_SUBSCRIPTIONS_MAX or any(each.protocol != "sqs" for each in found):
            raise invalid(f"MaximumMessageSize: above {BYTES} a topic has at most {LARGE_SUBSCRIPTIONS_MAX}"
                          " subscriptions, all of queues")
    tx.put(archive.changed(tx, dataclasses.replace(topic, attributes=attributes), topic))


@sns.resource_policy
def policy_of(tx: Tx, arn: str) -> str | None:
    """The policy of a topic; the default one gives nothing to who calls himself, without a service between."""
    topic = find_by_arn(tx, arn)
    return topic.attributes.get("Policy") if topic is not None else None
