"""Attributes of subscriptions: what they may be, and what a subscription says of itself.

https://docs.aws.amazon.com/sns/latest/api/API_SetSubscriptionAttributes.html
"""

import dataclasses
from collections.abc import Mapping

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.sns import delivery_policies, filters, replays
from cloudlet.services.sns.filter_operators import BadFilter
from cloudlet.services.sns.records import Subscription, Topic, find_subscription
from cloudlet.services.sns.service import (
    AuthorizationError,
    FilterPolicyLimitExceeded,
    NotFound,
    invalid,
    json_map,
    sns,
)
from cloudlet.store.db import Tx

FILTERS_MAX = 200  # of a topic
SCOPES = ("MessageAttributes", "MessageBody")
_ABSENT = ("SubscriptionRoleArn",)
_KNOWN = ("DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy",
          replays.POLICY)
_RAW = ("sqs", "http", "https")
_REMOVABLE = ("DeliveryPolicy", "FilterPolicy", "RedrivePolicy", replays.POLICY)


def merged(tx: Tx, topic_key: str, protocol: str, endpoint: str, have: Mapping[str, str], asked: Mapping[str, str],
           where: str = "") -> dict[str, str]:
    """The attributes of an endpoint's subscription after a change; an empty value takes one away. Raises
    InvalidParameter, its sentence beginning with `where`."""
    changed = dict(have)
    for name, value in asked.items():
        if name in _ABSENT:
            raise invalid(f"{where}{name} is not available here")
        if name not in _KNOWN:
            raise invalid(f"{where}Unknown attribute: {name[:64]}" if where else "AttributeName")
        if name == "RawMessageDelivery" and value == "true" and protocol not in _RAW:
            raise invalid(f"{where}Delivery protocol [{protocol}] does not support raw message delivery.")
        if value == "" and name in _REMOVABLE:
            changed.pop(name, None)
            continue
        if name == replays.POLICY:
            replays.check(tx, tx.get(Topic, topic_key), value, where)
        _check(topic_key, name, value, where, topic_key.endswith(".fifo") and endpoint.endswith(".fifo"))
        changed[name] = value
    policy = changed.get("FilterPolicy")
    if policy is None:
        return changed
    try:
        filters.parse(policy, changed.setdefault("FilterPolicyScope", SCOPES[0]))
    except BadFilter as wrong:
        raise invalid(f"{where}{wrong}") from None
    if "FilterPolicy" not in have and tx.count(Subscription, filtered=topic_key) >= FILTERS_MAX:
        raise FilterPolicyLimitExceeded(f"Filter policy limit exceeded: a topic may have {FILTERS_MAX}")
    return changed


def _check(topic_key: str, name: str, value: str, where: str, is_ordered: bool) -> None:
    match name:
        case "RawMessageDelivery":
            if value not in ("true", "false"):
                raise invalid(f"{where}RawMessageDelivery: Invalid value [{value[:64]}]. Must be true or false.")
        case "FilterPolicyScope":
            if value not in SCOPES:
                raise invalid(f"{where}FilterPolicyScope: Invalid value [{value[:64]}]. Please use either MessageBody"
                              " or MessageAttributes")
        case "DeliveryPolicy":
            delivery_policies.checked(value, where, of_topic=False)
        case "RedrivePolicy":
            _check_redrive(topic_key, value, where, is_ordered)


def _check_redrive(topic_key: str, text: str, where: str, is_ordered: bool) -> None:
    content = json_map(text, f"{where}RedrivePolicy", {"deadLetterTargetArn"}, ())
    target, parts = content["deadLetterTargetArn"], topic_key.split("/")
    if not isinstance(target, str) or target.split(":")[:3] != ["arn", "aws", "sqs"] or target.count(":") != 5:
        raise invalid(f"{where}RedrivePolicy: deadLetterTargetArn is an invalid arn")
    if target.split(":")[3] != parts[1]:
        raise invalid(f"{where}RedrivePolicy: deadLetterTargetArn must be of the topic's region")
    if is_ordered and not target.endswith(".fifo"):
        raise invalid(f"{where}RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.")
    if target.endswith(".fifo") and not topic_key.endswith(".fifo"):
        raise invalid(f"{where}RedrivePolicy: must use a standard queue as DLQ for a standard topic")


def view(tx: Tx, subscription: Subscription) -> dict[str, str]:
    """All that a subscription says of itself."""
    topic, more = subscription.arn.rpartition(":")[0], {}
    if subscription.replay:
        more["ReplayStatus"] = subscription.replay
    if subscription.protocol in ("http", "https") and (found := tx.get(Topic, subscription.topic)) is not None:
        more["EffectiveDeliveryPolicy"] = delivery_policies.effective_of(found, subscription)
    shown = {name: value for name, value in subscription.attributes.items()
             if name != "FilterPolicyScope" or "FilterPolicy" in subscription.attributes}
    return {
        "SubscriptionArn": subscription.arn, "TopicArn": topic, "Owner": subscription.owner,
        "Protocol": subscription.protocol, "Endpoint": subscription.shown_endpoint, "RawMessageDelivery": "false",
        "PendingConfirmation": "true" if subscription.token else "false",
        "ConfirmationWasAuthenticated": "true" if not subscription.token and subscription.secure else "false",
        "SubscriptionPrincipal": subscription.principal, **more, **shown}


def require(call: Call, tx: Tx, arn: str) -> Subscription:
    """A subscription, for its owner or its topic's. Raises InvalidParameter, NotFound, AuthorizationError."""
    found = find_subscription(call, tx, arn)
    if found is None or found.ended or tx.get(Topic, found.topic) is None:
        raise NotFound("Subscription does not exist")
    check_owner(call, found)
    return found


def check_owner(call: Call, subscription: Subscription) -> None:
    """Raises AuthorizationError for a caller of another account than the subscription's or its topic's."""
    if call.account not in (subscription.owner, subscription.key.partition("/")[0]):
        raise AuthorizationError("Not entitled")


@sns.read(resources=any_resource)
def get_subscription_attributes(call: Call, tx: Tx, request: Input) -> Output:
    """What a subscription is like."""
    return {"Attributes": view(tx, require(call, tx, request["SubscriptionArn"]))}


@sns.write(resources=any_resource, durable=True)
def set_subscription_attributes(call: Call, tx: Tx, request: Input) -> Output:
    """Changes one attribute."""
    found = require(call, tx, request["SubscriptionArn"])
    asked = {request["AttributeName"]: request.get("AttributeValue") or ""}
    changed = dataclasses.replace(found, attributes=merged(tx, found.topic, found.protocol, found.endpoint,
                                                           found.attributes, asked))
    if replays.POLICY in asked and not found.token:
        changed = replays.begin(tx, changed)
    tx.put(changed)
