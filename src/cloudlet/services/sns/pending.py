"""What is still to be posted to subscribers over HTTP, as rows: whatever the backlog, the next is found at once."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from cloudlet.services.sns.records import Subscription
from cloudlet.store.db import Tx

NEWS = "sns.pending"  # what the deliverer waits for


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one subscriber. `attempts` were made in vain."""

    id: int
    attempts: int
    kind: str
    message_id: str
    request_id: str
    body: str


def add(tx: Tx, subscription: Subscription, kind: str, message_id: str, request_id: str, body: str) -> None:
    """It is to be posted, now."""
    tx.execute("insert into sns_delivery (subscription, due, attempts, kind, message_id, request_id, body)"
               " values (?,?,0,?,?,?,?)", (subscription.key, tx.now, kind, message_id, request_id, body))
    tx.execute("insert into sns_turn values (?,?) on conflict (subscription) do update set due=min(due, excluded.due)",
               (subscription.key, tx.now))
    news = tx.news
    tx.after.append(lambda: news.tell(NEWS))


def turns(tx: Tx, busy: Collection[str], limit: int) -> tuple[list[str], float | None]:
    """Subscribers that have something due, beside those that are busy; and when the next will have, None for never."""
    due: list[Any] = tx.execute("select subscription from sns_turn where due<=? order by due limit ?",
                                (tx.now, limit + len(busy))).fetchall()
    later: Any = tx.execute("select min(due) from sns_turn where due>?", (tx.now,)).fetchone()
    return [key for (key,) in due if key not in busy][:limit], later[0]


def first(tx: Tx, subscription: str) -> Delivery | None:
    """The one that is due and has waited longest."""
    row: Any = tx.execute("select id, attempts, kind, message_id, request_id, body from sns_delivery"
                          " where subscription=? and due<=? order by due, id limit 1",
                          (subscription, tx.now)).fetchone()
    return Delivery(*row) if row else None


def postpone(tx: Tx, delivery: Delivery, seconds: float) -> None:
    """It was tried in vain, and is to be tried again."""
    tx.execute("update sns_delivery set due=?, attempts=attempts+1 where id=?", (tx.now + seconds, delivery.id))


def remove(tx: Tx, delivery: Delivery) -> None:
    """It was dealt with."""
    tx.execute("delete from sns_delivery where id=?", (delivery.id,))


def settle(tx: Tx, subscription: str) -> None:
    """Says anew from when the subscriber has something due."""
    row: Any = tx.execute("select min(due) from sns_delivery where subscription=?", (subscription,)).fetchone()
    if row[0] is None:
        tx.execute("delete from sns_turn where subscription=?", (subscription,))
    else:
        tx.execute("update sns_turn set due=? where subscription=?", (row[0], subscription))


def forget(tx: Tx, subscription: str) -> None:
    """The subscriber is gone."""
    tx.execute("delete from sns_delivery where subscription=?", (subscription,))
    tx.execute("delete from sns_turn where subscription=?", (subscription,))
