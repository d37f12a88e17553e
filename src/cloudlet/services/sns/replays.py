"""Replays: a subscriber has messages of a topic's archive once more, in their order, and then what comes.

https://docs.aws.amazon.com/sns/latest/dg/message-archiving-and-replay-subscriber.html
"""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.sns import archive, delivering
from cloudlet.services.sns.records import Subscription, Topic
from cloudlet.services.sns.service import invalid, json_map
from cloudlet.store.db import Store, Tx

POLICY = "ReplayPolicy"
KIND = "sns.replay"  # of work: a subscription's replay
AT_ONCE = 50
PENDING, RUNNING, COMPLETED, FAILED = "Pending", "In progress", "Completed", "Failed"
_REQUIRED, _OPTIONAL = {"PointType", "StartingPoint"}, {"EndingPoint"}


def check(tx: Tx, topic: Topic | None, text: str, where: str) -> None:
    """Raises InvalidParameter for a policy that a topic's subscription cannot have."""
    if topic is None or archive.POLICY not in topic.attributes:
        raise invalid(f"{where}{POLICY}: the topic has no archive")
    content = json_map(text, f"{where}{POLICY}", _REQUIRED, _OPTIONAL)
    if content["PointType"] != "Timestamp":
        raise invalid(f"{where}{POLICY}: PointType must be Timestamp")
    begin = _time(content["StartingPoint"], "StartingPoint", where)
    end = _time(content["EndingPoint"], "EndingPoint", where) if content.get("EndingPoint") != "" and (
        "EndingPoint" in content) else None
    if end is not None and end <= begin:
        raise invalid(f"{where}{POLICY}: EndingPoint must be after StartingPoint")


def _time(text: Any, name: str, where: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise invalid(f"{where}{POLICY}: {name} must be a time such as 2023-10-01T10:00:00.000Z") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def begin(tx: Tx, subscription: Subscription) -> Subscription:
    """The subscription as it is put: what is published waits until its policy's replay is over."""
    text, topic = subscription.attributes.get(POLICY), tx.get(Topic, subscription.topic)
    tx.execute("delete from sns_replay where subscription=?", (subscription.key,))
    if text is None or topic is None:
        return dataclasses.replace(subscription, replay="", held=False)
    content = json.loads(text)
    until = _time(content["EndingPoint"], "EndingPoint", "") if content.get("EndingPoint") else None
    tx.execute("insert into sns_replay values (?,?,?)", (
        subscription.key, archive.first(tx, topic, _time(content["StartingPoint"], "StartingPoint", "")), until))
    tx.enqueue(KIND, subscription.key)
    return dataclasses.replace(subscription, replay=PENDING, held=True)


class Replays:
    """The loop. What is sent and how far it came are one transaction, so that nothing is left out or comes twice."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """Some messages."""
        with self._store.tx() as tx:
            subscription = tx.get(Subscription, key)
            topic = tx.get(Topic, subscription.topic) if subscription is not None else None
            row: Any = tx.execute("select last, until from sns_replay where subscription=?", (key,)).fetchone()
            if row is None or subscription is None or topic is None or subscription.token:
                tx.execute("delete from sns_replay where subscription=?", (key,))
                return Done()
            return _step(tx, topic, subscription, row[0], row[1])


def _step(tx: Tx, topic: Topic, subscription: Subscription, last: int, until: float | None) -> Outcome:
    """Where an end was given, the subscription then gets nothing new until its next replay."""
    status, found = COMPLETED, list[archive.Kept]()
    if archive.POLICY in topic.attributes:
        found = list(archive.after(tx, topic, last, until, AT_ONCE))
    else:
        status, until = FAILED, None
    for kept in found:
        delivering.replay(tx, topic, subscription, kept.message, kept.at, kept.endpoint)
    wait_s = 0.0 if len(found) == AT_ONCE else until - tx.now if until is not None else -1.0
    if wait_s >= 0:  # what is published until the end belongs to it as well
        tx.execute("update sns_replay set last=? where subscription=?",
                   (found[-1].id if found else last, subscription.key))
        tx.put(dataclasses.replace(subscription, replay=RUNNING))
        return Again(wait_s, "messages are replayed")
    tx.execute("delete from sns_replay where subscription=?", (subscription.key,))
    tx.put(dataclasses.replace(subscription, replay=status, held=until is not None))
    return Done()
