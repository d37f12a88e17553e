"""The JSON in which subscribers get messages.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from cloudlet.kernel.clock import as_uuid
from cloudlet.services.sns import signing
from cloudlet.services.sns.messages import Message
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.store.db import Tx

SUBSCRIBED, UNSUBSCRIBED = "SubscriptionConfirmation", "UnsubscribeConfirmation"


def _written(content: Mapping[str, Any]) -> str:
    """As AWS writes it."""
    return json.dumps(content, indent=2, separators=(",", " : "), ensure_ascii=False)


def _time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


class Notification:
    """The envelope of one message, encoded once for all subscribers: they differ in how they unsubscribe only."""

    def __init__(self, tx: Tx, topic: Topic, message: Message, endpoint: str) -> None:
        content: dict[str, Any] = {"Type": "Notification", "MessageId": message.id}
        if message.sequence:
            content["SequenceNumber"] = message.sequence
        content["TopicArn"] = topic.arn
        if message.subject is not None:
            content["Subject"] = message.subject
        content |= {"Message": message.text, "Timestamp": _time(tx.now if message.at is None else message.at)}
        if message.replayed:
            content["Replayed"] = True
        if not topic.fifo:  # those of FIFO topics are not signed
            content |= _signed(tx, topic, content, endpoint)
        url = json.dumps(unsubscribe_url(endpoint, f"{topic.arn}:"))[:-1]  # and the subscription's own name
        self._head = f'{_written(content)[:-2]},\n  "UnsubscribeURL" : {url}'
        self._tail = '"\n}'
        if message.attributes:
            attributes = _written({"MessageAttributes": {
                name: {"Type": value["DataType"], "Value": _value(value)}
                for name, value in message.attributes.items()}})
            self._tail = '",' + attributes[1:]

    def to(self, subscription: Subscription) -> str:
        """What one of the topic's subscribers gets."""
        return self._head + subscription.name + self._tail


def unsubscribe_url(endpoint: str, subscription_arn: str) -> str:
    """What ends a subscription that is visited."""
    return f"{endpoint}/?Action=Unsubscribe&SubscriptionArn={subscription_arn}"


def subscribe_url(endpoint: str, topic: Topic, token: str) -> str:
    """What confirms one."""
    return f"{endpoint}/?Action=ConfirmSubscription&TopicArn={quote(topic.arn, safe=':')}&Token={token}"


def _signed(tx: Tx, topic: Topic, content: Mapping[str, str], endpoint: str) -> dict[str, str]:
    version, by = topic.attributes.get("SignatureVersion", "1"), signing.signer(tx)
    return {"SignatureVersion": version, "Signature": signing.signature(tx, by, content, version),
            "SigningCertURL": endpoint + by.path}


def _value(attribute: Mapping[str, Any]) -> str:
    data = attribute.get("BinaryValue")
    return base64.b64encode(data).decode() if data is not None else attribute["StringValue"]


def confirmation(tx: Tx, topic: Topic, subscription: Subscription, endpoint: str) -> tuple[str, str]:
    """What an endpoint gets that has to confirm its subscription, or may restore one that was ended: the message's id,
    and the text."""
    kind, says = SUBSCRIBED, (f"You have chosen to subscribe to the topic {topic.arn}.\nTo confirm the subscription,"
                              " visit the SubscribeURL included in this message.")
    if subscription.ended:
        kind, says = UNSUBSCRIBED, (f"You have chosen to deactivate subscription {subscription.arn}.\nTo cancel this"
                                    " operation and restore the subscription, visit the SubscribeURL included in this"
                                    " message.")
    content = {
        "Type": kind,
        "MessageId": as_uuid(tx.token(32)),
        "Token": subscription.token, "TopicArn": topic.arn, "Message": says,
        "SubscribeURL": subscribe_url(endpoint, topic, subscription.token),
        "Timestamp": _time(tx.now)}
    return content["MessageId"], _written({**content, **_signed(tx, topic, content, endpoint)})
