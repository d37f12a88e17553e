"""Archives of FIFO topics: messages that are kept for some days, so that subscribers can have them once more.

https://docs.aws.amazon.com/sns/latest/dg/message-archiving-and-replay-topic-owner.html
"""

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.sns.messages import Message
from cloudlet.services.sns.records import Topic
from cloudlet.services.sns.service import invalid, json_map
from cloudlet.store.db import Store, Tx

POLICY, PERIOD = "ArchivePolicy", "MessageRetentionPeriod"
DAYS_MAX, DAY_S = 365, 86400.0
KIND = "sns.archive"  # of work: a topic's archive may have what is too old
LOOKED_AT_EVERY_S, REMOVED_AT_ONCE = 3600.0, 200


class Kept(NamedTuple):
    """A message of an archive: its number there, when it was published, and where subscribers reach us."""

    id: int
    at: float
    endpoint: str
    message: Message


def checked(topic: Topic, text: str, where: str) -> str:
    """A policy as it is kept, "" for none. Raises InvalidParameter."""
    if not topic.fifo:
        raise invalid(f"{where}{POLICY}: only FIFO topics have it")
    content = json_map(text, f"{where}{POLICY}", allowed={PERIOD})
    if not content:
        return ""
    days = content[PERIOD]
    if isinstance(days, bool) or not str(days).isascii() or not str(days).isdigit() or not 1 <= int(days) <= DAYS_MAX:
        raise invalid(f"{where}{POLICY}: {PERIOD} must be from 1 to {DAYS_MAX} days")
    return text


def changed(tx: Tx, topic: Topic, before: Topic | None) -> Topic:
    """The topic as it is put: its archive begins, goes on or ends."""
    was, now = before is not None and POLICY in before.attributes, POLICY in topic.attributes
    if was != now:
        tx.enqueue(KIND, topic.key, after=LOOKED_AT_EVERY_S if now else 0.0)
        return dataclasses.replace(topic, archived_since=tx.now if now else 0.0)
    return topic


def beginning(topic: Topic, now: float) -> float:
    """The time from which on the archive has everything."""
    return max(topic.archived_since, now - int(json.loads(topic.attributes[POLICY])[PERIOD]) * DAY_S)


def written(at: float) -> str:
    """A time as AWS writes it, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def keep(tx: Tx, topic: Topic, message: Message, endpoint: str) -> None:
    """A message was published."""
    if POLICY in topic.attributes:
        tx.execute("insert into sns_archive (topic, at, endpoint, message) values (?,?,?,?)",
                   (topic.key, tx.now, endpoint, msgspec.msgpack.encode(message)))


def first(tx: Tx, topic: Topic, since: float) -> int:
    """The number after which the messages come that were published then or later."""
    row: Any = tx.execute("select id from sns_archive where topic=? and at>=? order by at, id limit 1",
                          (topic.key, max(since, beginning(topic, tx.now)))).fetchone()
    if row is not None:
        return int(row[0]) - 1
    newest: Any = tx.execute("select max(id) from sns_archive where topic=?", (topic.key,)).fetchone()
    return int(newest[0] or 0)


def after(tx: Tx, topic: Topic, number: int, until: float | None, limit: int) -> Iterator[Kept]:
    """The next messages, those up to a time (None: all), in the order in which they were published."""
    rows: list[Any] = tx.execute("select id, at, endpoint, message from sns_archive where topic=? and id>?"
                                 " order by id limit ?", (topic.key, number, limit)).fetchall()
    for id, at, endpoint, message in rows:
        if until is not None and at > until:
            return
        yield Kept(id, at, endpoint, msgspec.msgpack.decode(message, type=Message))


class Expiry:
    """The loop that removes what is older than a topic keeps it, and all where it keeps nothing any more."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, key: str) -> Outcome:
        """Some of it."""
        with self._store.tx() as tx:
            topic = tx.get(Topic, key)
            keeps = topic is not None and POLICY in topic.attributes
            before = beginning(topic, tx.now) if topic is not None and keeps else tx.now + 1
            gone = tx.execute("delete from sns_archive where id in (select id from sns_archive where topic=? and at<?"
                              " order by at limit ?) returning 1", (key, before, REMOVED_AT_ONCE)).fetchall()
        if len(gone) == REMOVED_AT_ONCE:
            return Again(0.01, "what is too old is removed")
        return Again(LOOKED_AT_EVERY_S, "its archive is kept short") if keeps else Done()
