"""Subscriptions: made, confirmed, listed and ended.

https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html
"""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.clock import as_uuid
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.sns import delivering, endpoints, envelopes, pending, subscription_attributes
from cloudlet.services.sns.records import BYTES, Subscription, Topic, endpoint_key, find_subscription, require
from cloudlet.services.sns.service import SubscriptionLimitExceeded, invalid, sns, topic_arns
from cloudlet.services.sns.topic_attributes import LARGE_SUBSCRIPTIONS_MAX
from cloudlet.store.db import Tx

FIFO_SUBSCRIPTIONS_MAX = 100
PENDING = "pending confirmation"
_TOKEN = 64  # hex digits


@sns.write(resources=topic_arns, durable=True)
def subscribe(call: Call, tx: Tx, request: Input) -> Output:
    """Subscribes an endpoint to a topic. That of a queue by its owner is confirmed at once, and so is a telephone;
    others are sent a message with the token that confirms it."""
    topic, protocol, endpoint = require(call, tx, request["TopicArn"]), request["Protocol"], request.get("Endpoint")
    owner = endpoints.owner_of(call.account, topic, protocol, endpoint or "")
    asked = request.get("Attributes") or {}
    known = tx.find(Subscription, endpoint=endpoint_key(topic.key, protocol, endpoint or ""))
    if known:
        if known[0].token:
            _ask(call, tx, topic, known[0])
        return _known(tx, request, known[0], asked)
    _check_limits(tx, topic)
    attributes = subscription_attributes.merged(tx, topic.key, protocol, {}, asked, "Attributes Reason: ")
    made = Subscription(f"{topic.key}/{as_uuid(tx.token(32))}", call.account, call.principal.arn, protocol,
                        endpoint or "", "" if owner == call.account else tx.token(_TOKEN), attributes=attributes)
    tx.put(made)
    if made.token:
        _ask(call, tx, topic, made)
    return _named(request, made)


def _ask(call: Call, tx: Tx, topic: Topic, subscription: Subscription) -> None:
    """Sends an endpoint the token by which it confirms."""
    protocol, endpoint = subscription.protocol, subscription.endpoint
    message_id, text = envelopes.confirmation(tx, topic, subscription.token, call.endpoint)
    if protocol == "sqs":
        delivering.put(tx, topic, endpoint, {"MessageBody": text})
    else:
        pending.add(tx, subscription, "SubscriptionConfirmation", message_id, call.request_id, text)


def _check_limits(tx: Tx, topic: Topic) -> None:
    limit = (FIFO_SUBSCRIPTIONS_MAX if topic.fifo else None) or (
        LARGE_SUBSCRIPTIONS_MAX if topic.bytes_max > BYTES else None)
    if limit is None:
        return
    if tx.count(Subscription, confirmed=topic.key) + tx.count(Subscription, pending=topic.key) >= limit:
        raise SubscriptionLimitExceeded(f"Subscription limit exceeded: the topic may have {limit}")


def _known(tx: Tx, request: Input, known: Subscription, asked: dict[str, str]) -> Any:
    """The answer for an endpoint that is subscribed already."""
    shown = subscription_attributes.view(known)
    wanted = subscription_attributes.merged(tx, known.topic, known.protocol, known.attributes, asked,
                                            "Attributes Reason: ")
    if any(shown.get(name) != wanted.get(name) for name in asked):
        raise invalid("Attributes Reason: Subscription already exists with different attributes")
    return _named(request, known)


def _named(request: Input, subscription: Subscription) -> Any:
    if subscription.token and not request.get("ReturnSubscriptionArn"):
        return {"SubscriptionArn": PENDING}
    return {"SubscriptionArn": subscription.arn}


@sns.write(resources=topic_arns, durable=True)
def confirm_subscription(call: Call, tx: Tx, request: Input) -> Output:
    """Confirms a subscription by the token that its endpoint was sent."""
    topic = require(call, tx, request["TopicArn"])
    secure = request.get("AuthenticateOnUnsubscribe") == "true"
    return {"SubscriptionArn": confirm(tx, topic, request["Token"], secure=secure).arn}


def confirm(tx: Tx, topic: Topic, token: str, *, secure: bool) -> Subscription:
    """The subscription that the token confirms. `secure`: the link in its messages does not end it. Raises
    InvalidParameter."""
    found = [each for each in tx.find(Subscription, pending=topic.key) if each.token == token]
    if not token or not found:
        raise invalid("Token")
    confirmed = dataclasses.replace(found[0], token="", secure=secure)
    tx.put(confirmed)
    return confirmed


@sns.write(resources=any_resource, durable=True)
def unsubscribe(call: Call, tx: Tx, request: Input) -> Output:
    """Ends a subscription; one that was not there is no error."""
    found = find_subscription(call, tx, request["SubscriptionArn"])
    if found is not None:
        subscription_attributes.check_owner(call, found)
        end(tx, found)


def end(tx: Tx, subscription: Subscription) -> None:
    """Nothing more goes to it."""
    tx.delete(Subscription, subscription.key)
    pending.forget(tx, subscription.key)
    topic = tx.get(Topic, subscription.topic)
    if topic is not None:
        tx.put(dataclasses.replace(topic, gone=topic.gone + 1))


@sns.read(resources=any_resource)
def list_subscriptions(call: Call, tx: Tx, request: Input) -> Output:
    """The caller's subscriptions."""
    return {"Subscriptions": [_line(each) for each in tx.find(Subscription, of=f"{call.account}/{call.region}")]}


@sns.read(resources=topic_arns)
def list_subscriptions_by_topic(call: Call, tx: Tx, request: Input) -> Output:
    """A topic's subscriptions."""
    topic = require(call, tx, request["TopicArn"])
    return {"Subscriptions": [_line(each) for each in tx.find(Subscription, f"{topic.key}/")]}


def _line(subscription: Subscription) -> dict[str, str]:
    return {"SubscriptionArn": "PendingConfirmation" if subscription.token else subscription.arn,
            "Owner": subscription.owner, "Protocol": subscription.protocol, "Endpoint": subscription.endpoint,
            "TopicArn": subscription.arn.rpartition(":")[0]}
