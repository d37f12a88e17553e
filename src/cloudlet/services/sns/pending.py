"""What is still to be delivered to web servers and by mail: rows, of which the next is found at once."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.sns.records import Subscription
from cloudlet.store.db import Store, Tx

NEWS = "sns.pending"  # what the deliverer waits for
FORGOTTEN = "sns.forgotten"  # kind of work: what waits for a subscription that is gone is to be removed
FORGOTTEN_AT_ONCE, FORGOTTEN_EVERY_S = 50, 0.01
# Where subscribers wait for their turn: those that answered last time, those that did not or have not been asked yet,
# and those that have mail. Who waits in one lane is not delayed by those in another.
ANSWERING, SILENT, MAIL = "answering", "silent", "mail"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one subscriber, published `at`. `attempts` were made in vain."""

    id: int
    attempts: int
    at: float
    kind: str
    raw: bool
    message_id: str
    request_id: str
    body: str


def lane_of(subscription: Subscription, *, answers: bool) -> str:
    """Where it waits."""
    return MAIL if subscription.protocol.startswith("email") else ANSWERING if answers else SILENT


def add(tx: Tx, subscription: Subscription, kind: str, message_id: str, request_id: str, body: str,
        raw: bool = False) -> None:
    """It is to be delivered, now."""
    tx.execute("insert into sns_pending (subscription, due, attempts, at, kind, raw, message_id, request_id, body)"
               " values (?,?,0,?,?,?,?,?,?)",
               (subscription.key, tx.steady, tx.now, kind, raw, message_id, request_id, body))
    tx.execute("insert into sns_lane (subscription, lane, due) values (?,?,?) on conflict (subscription) do update set"
               " due=max(pause_until, min(due, excluded.due))",
               (subscription.key, lane_of(subscription, answers=kind == "Notification"), tx.steady))
    news = tx.news
    tx.after.append(lambda: news.tell(NEWS))


def turns(tx: Tx, lane: str, busy: Container[str], room: int) -> tuple[list[str], float | None]:
    """At most `room` subscribers of a lane that have something due and are not busy, and when the next will have, None
    for never, or where there is no room."""
    found: list[str] = []
    if not room:
        return [], None
    for key, due in tx.execute("select subscription, due from sns_lane where lane=? order by due", (lane,)):
        if float(due) > tx.steady:
            return found, float(due)
        if str(key) in busy:
            continue
        if len(found) == room:
            break
        found.append(str(key))
    return found, None


def first(tx: Tx, subscription: str, limit: int) -> list[Delivery]:
    """Those that are due and have waited longest."""
    rows: list[Any] = tx.execute("select id, attempts, at, kind, raw, message_id, request_id, body from sns_pending"
                                 " where subscription=? and due<=? order by due, id limit ?",
                                 (subscription, tx.steady, limit)).fetchall()
    return [Delivery(*row) for row in rows]


def postpone(tx: Tx, delivery: Delivery, seconds: float) -> None:
    """It was tried in vain, and is to be tried again."""
    tx.execute("update sns_pending set due=?, attempts=attempts+1 where id=?", (tx.steady + seconds, delivery.id))


def remove(tx: Tx, delivery: Delivery) -> None:
    """It was dealt with."""
    tx.execute("delete from sns_pending where id=?", (delivery.id,))


def settle(tx: Tx, subscription: str, lane: str, pause_s: float = 0.0) -> None:
    """The subscriber had its turn: it waits in that lane for another, if there is more for it, behind those that wait
    already and no earlier than in `pause_s`; what comes within that pause waits as well."""
    row: Any = tx.execute("select min(due) from sns_pending where subscription=?", (subscription,)).fetchone()
    if row[0] is None and not pause_s:
        tx.execute("delete from sns_lane where subscription=?", (subscription,))
    else:
        tx.execute("update sns_lane set lane=?, due=?, pause_until=? where subscription=?",
                   (lane, max(row[0] or 0.0, tx.steady + pause_s), tx.steady + pause_s, subscription))


def forget(tx: Tx, subscription: str) -> None:
    """The subscriber is gone; what waits for it goes little by little, since it may be much."""
    tx.execute("delete from sns_lane where subscription=?", (subscription,))
    row: Any = tx.execute("select id from sns_pending where subscription=? limit 1", (subscription,)).fetchone()
    if row is not None:
        tx.execute("insert into sns_forgotten select ?, max(id) from sns_pending where true on conflict (subscription)"
                   " do update set last=excluded.last", (subscription,))
        tx.enqueue(FORGOTTEN, "all")


class Forgetting:
    """The loop that removes what waited for those who are gone, so much at a time that nobody is held up."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def remove(self, _key: str) -> Outcome:
        """Some of it: what waited when they went, since they may be back."""
        with self._store.tx() as tx:
            row: Any = tx.execute("select subscription, last from sns_forgotten limit 1").fetchone()
            if row is None:
                return Done()
            gone = tx.execute("delete from sns_pending where id in (select id from sns_pending where subscription=?"
                              " and id<=? limit ?) returning 1", (*row, FORGOTTEN_AT_ONCE)).fetchall()
            if len(gone) < FORGOTTEN_AT_ONCE:
                tx.execute("delete from sns_forgotten where subscription=?", (row[0],))
        return Again(FORGOTTEN_EVERY_S, "what waits for subscriptions that are gone is removed")
