"""Topics: made, listed and deleted.

https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
"""

import re

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.sns import archive, order, pending, status_logs, topic_attributes
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.services.sns.service import InvalidState, invalid, key_of_arn, sns, topic_arns
from cloudlet.services.sns.tags import checked
from cloudlet.store.db import Store, Tx

DELETED = "sns.deleted"  # kind of work: subscriptions of a topic that is gone
AT_ONCE = 500  # of them, in one transaction
_NAME, _FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}"), re.compile(r"[A-Za-z0-9_-]{1,251}\.fifo")


def _named(call: Call, request: Input) -> list[str]:
    return [call.arn("sns", request["Name"])]


@sns.write(resources=_named, durable=True)
def create_topic(call: Call, tx: Tx, request: Input) -> Output:
    """A new topic, or the one that is as asked already."""
    name, asked = request["Name"], request.get("Attributes") or {}
    if asked.get("FifoTopic") == "true":
        if not _FIFO_NAME.fullmatch(name):
            raise invalid("Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase"
                          " ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters"
                          " long.")
    elif not _NAME.fullmatch(name):
        raise invalid("Topic Name")
    if request.get("DataProtectionPolicy"):
        raise invalid("DataProtectionPolicy Reason: data protection policies are not available here")
    topic = Topic(f"{call.scope}/{name}", tx.now, tags=checked(request.get("Tags") or ()))
    attributes = {attribute: kept for attribute, value in asked.items()
                  if (kept := topic_attributes.checked(topic, attribute, value, "Attributes Reason: ")) != ""}
    for attribute in filter(status_logs.ROLE.fullmatch, attributes):
        status_logs.check_role(call, tx, attribute, attributes[attribute], "Attributes Reason: ")
    found = tx.get(Topic, topic.key)
    if found is None:
        while _end_subscriptions(tx, topic.key):  # those of a topic of that name which was deleted a moment ago
            pass
        tx.put(archive.changed(tx, Topic(topic.key, tx.now, attributes, topic.tags), None))
        return {"TopicArn": topic.arn}
    shown = topic_attributes.view(tx, found)
    if any(shown.get(attribute, "") != value for attribute, value in attributes.items()):
        raise invalid("Attributes Reason: Topic already exists with different attributes")
    if request.get("Tags") is not None and found.tags != topic.tags:
        raise invalid("Tags Reason: Topic already exists with different tags")
    return {"TopicArn": found.arn}


@sns.write(resources=topic_arns, durable=True)
def delete_topic(call: Call, tx: Tx, request: Input) -> Output:
    """A topic and its subscriptions are gone; one that was not there is no error. Many subscriptions go little by
    little; nothing is published to them any more."""
    key = key_of_arn(call, request["TopicArn"])
    found = tx.get(Topic, key)
    if found is not None and archive.POLICY in found.attributes:
        raise InvalidState("Invalid state: the topic has an ArchivePolicy: take it away before")
    tx.delete(Topic, key)
    order.forget(tx, key)
    if _end_subscriptions(tx, key):
        tx.enqueue(DELETED, key)


def _end_subscriptions(tx: Tx, topic: str) -> bool:
    """Ends some of a topic that is gone; whether there may be others."""
    found = tx.find(Subscription, f"{topic}/", limit=AT_ONCE)
    for subscription in found:
        tx.delete(Subscription, subscription.key)
        pending.forget(tx, subscription.key)
    return len(found) == AT_ONCE


class Ending:
    """The loop that ends the subscriptions of topics that are gone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """Some of them; none of a topic that was made anew under that name."""
        with self._store.tx() as tx:
            left = tx.get(Topic, key) is None and _end_subscriptions(tx, key)
        return Again(0.0, "its subscriptions are ended") if left else Done()


@sns.read(resources=any_resource)
def list_topics(call: Call, tx: Tx, request: Input) -> Output:
    """The ARNs of the caller's topics in order of name."""
    return {"Topics": [{"TopicArn": topic.arn} for topic in tx.find(Topic, f"{call.scope}/")]}
