"""Subscriptions: made, confirmed, listed and ended.

https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html
"""

import dataclasses
import re
from typing import Any

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.kernel.call import Call
from cloudlet.kernel.clock import as_uuid
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.sns import delivering, endpoints, envelopes, pending, replays, subscription_attributes
from cloudlet.services.sns.records import BYTES, Subscription, Topic, endpoint_key, find_subscription, require
from cloudlet.services.sns.service import (
    InvalidParameter,
    SubscriptionLimitExceeded,
    invalid,
    key_of_arn,
    sns,
    topic_arns,
)
from cloudlet.services.sns.topic_attributes import LARGE_SUBSCRIPTIONS_MAX
from cloudlet.store.db import Store, Tx

FIFO_SUBSCRIPTIONS_MAX = 100
PENDING = "pending confirmation"
EXPIRY = "sns.expiry"  # kind of work: a subscription may have waited long enough
PENDING_S = 2 * 86400.0  # https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html
ENDED_S = 3 * 86400.0  # https://repost.aws/knowledge-center/sns-cross-account-subscription
_TOKEN = 64  # hex digits


@sns.write(resources=topic_arns, durable=True, context=lambda call, request: {
    "sns:Endpoint": request.get("Endpoint"), "sns:Protocol": request["Protocol"]})
def subscribe(call: Call, tx: Tx, request: Input) -> Output:
    """Subscribes an endpoint to a topic. That of a queue by its owner is confirmed at once, and so is a telephone;
    others are sent a message with the token that confirms it."""
    topic, protocol, endpoint = require(call, tx, request["TopicArn"]), request["Protocol"], request.get("Endpoint")
    owner = endpoints.owner_of(call.account, topic, protocol, endpoint or "")
    asked = request.get("Attributes") or {}
    known = tx.find(Subscription, endpoint=endpoint_key(topic.key, protocol, endpoint or ""))
    if known:
        there = _begin(call, tx, topic, known[0], owner) if known[0].token else known[0]
        return _known(tx, request, there, asked)
    _check_limits(tx, topic)
    attributes = subscription_attributes.merged(tx, topic.key, protocol, endpoint or "", {}, asked,
                                                "Attributes Reason: ")
    made = Subscription(f"{topic.key}/{as_uuid(tx.token(32))}", call.account, call.principal.arn, protocol,
                        endpoint or "", tx.token(_TOKEN), attributes=attributes)
    return _named(request, _begin(call, tx, topic, made, owner))


def _begin(call: Call, tx: Tx, topic: Topic, subscription: Subscription, owner: str) -> Subscription:
    """Confirms it, where its endpoint is the caller's; else the endpoint is asked to. `subscription` bears a token."""
    if owner == call.account:
        begun = _confirmed(tx, dataclasses.replace(subscription, token="", ended=0.0))
    else:
        begun = dataclasses.replace(subscription, asked=tx.now, ended=0.0)
        tx.put(begun)
        _ask(tx, topic, begun, call.endpoint, call.request_id)
    return begun


def _ask(tx: Tx, topic: Topic, subscription: Subscription, endpoint: str, request_id: str) -> None:
    """Sends the token by which the endpoint confirms, or restores."""
    message_id, text = envelopes.confirmation(tx, topic, subscription, endpoint)
    if subscription.protocol == "sqs":
        order = {"MessageGroupId": topic.name, "MessageDeduplicationId": message_id} if (
            subscription.endpoint.endswith(".fifo")) else {}
        delivering.put(tx, topic, subscription.endpoint, {"MessageBody": text, **order})
    elif subscription.protocol != "sms":
        kind = envelopes.UNSUBSCRIBED if subscription.ended else envelopes.SUBSCRIBED
        pending.add(tx, subscription, kind, message_id, request_id, text)
    tx.enqueue(EXPIRY, subscription.key, after=ENDED_S if subscription.ended else PENDING_S)


def _check_limits(tx: Tx, topic: Topic) -> None:
    limit = (FIFO_SUBSCRIPTIONS_MAX if topic.fifo else None) or (
        LARGE_SUBSCRIPTIONS_MAX if topic.bytes_max > BYTES else None)
    if limit is None:
        return
    if tx.count(Subscription, confirmed=topic.key) + tx.count(Subscription, pending=topic.key) >= limit:
        raise SubscriptionLimitExceeded(f"Subscription limit exceeded: the topic may have {limit}")


def _known(tx: Tx, request: Input, known: Subscription, asked: dict[str, str]) -> Any:
    """The answer for an endpoint that is subscribed already."""
    shown = subscription_attributes.view(tx, known)
    wanted = subscription_attributes.merged(tx, known.topic, known.protocol, known.endpoint, known.attributes, asked,
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
    if not re.fullmatch("[0-9a-f]+", request["Token"]):
        raise InvalidParameter("Invalid token")
    secure = request.get("AuthenticateOnUnsubscribe") == "true"
    return {"SubscriptionArn": confirm(tx, key_of_arn(call, request["TopicArn"]), request["Token"], secure=secure).arn}


def confirm(tx: Tx, topic: str, token: str, *, secure: bool) -> Subscription:
    """The subscription, of the topic of that key, that the token confirms. `secure`: the link in its messages does not
    end it. Raises InvalidParameter."""
    found = [each for each in tx.find(Subscription, token=token) if each.topic == topic] if token else []
    if not found:
        raise invalid("Token")
    if not found[0].token:
        return found[0]  # the link was visited once more
    return _confirmed(tx, dataclasses.replace(found[0], token="", confirmed_by=token, secure=secure, ended=0.0))


def _confirmed(tx: Tx, subscription: Subscription) -> Subscription:
    """It goes on from here, or begins with a replay."""
    begun = replays.begin(tx, subscription)
    tx.put(begun)
    return begun


@sns.write(resources=any_resource, durable=True)
def unsubscribe(call: Call, tx: Tx, request: Input) -> Output:
    """Ends a subscription; one that was not there is no error."""
    found = find_subscription(call, tx, request["SubscriptionArn"])
    if found is not None:
        if found.secure or found.token:
            subscription_attributes.check_owner(call, found)
        end(tx, found, call.account, call.endpoint, call.request_id)


def end(tx: Tx, subscription: Subscription, account: str, endpoint: str, request_id: str) -> None:
    """Nothing more goes to it. Where another account than its owner's ends it ("": nobody knows whose), it is told of
    that, and may be restored for some days."""
    topic = tx.get(Topic, subscription.topic)
    pending.forget(tx, subscription.key)
    if topic is None or account == subscription.owner or subscription.token:
        tx.delete(Subscription, subscription.key)
    else:
        attributes = {name: value for name, value in subscription.attributes.items() if name != replays.POLICY}
        ended = dataclasses.replace(subscription, token=tx.token(_TOKEN), ended=tx.now, attributes=attributes)
        tx.put(ended)
        _ask(tx, topic, ended, endpoint, request_id)
    if topic is not None and not subscription.ended:
        tx.put(dataclasses.replace(topic, gone=topic.gone + 1))


class Expiry:
    """The loop that removes subscriptions that nobody has confirmed, or restored, in time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """Removes one, unless it is not yet time."""
        with self._store.tx() as tx:
            found = tx.get(Subscription, key)
            if found is None or not found.token:
                return Done()
            left_s = (found.ended + ENDED_S if found.ended else found.asked + PENDING_S) - tx.now
            if left_s > 0:
                return Again(left_s, "it is not confirmed yet")
            tx.delete(Subscription, key)
            pending.forget(tx, key)
        return Done()


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
    return {"SubscriptionArn": "Deleted" if subscription.ended else
            "PendingConfirmation" if subscription.token else subscription.arn,
            "Owner": subscription.owner, "Protocol": subscription.protocol, "Endpoint": subscription.shown_endpoint,
            "TopicArn": subscription.arn.rpartition(":")[0]}
