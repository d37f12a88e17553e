"""Messages of queues as rows: put in, taken out for a while, removed; whatever the backlog, at the same cost."""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from cloudlet.kernel.clock import as_uuid
from cloudlet.services.sqs import groups, tenants
from cloudlet.services.sqs.records import Queue, find_by_arn
from cloudlet.store.db import Tx

IDS_AHEAD = 10_000_000  # of messages, that are given without a note of it: they are microseconds
GONE_MAX = 1000  # messages that one receive removes or sets aside on its way; the next goes on, and so does a loop


class Attribute(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a message attribute: a text or bytes."""

    type: str
    text: str | None = None
    data: bytes | None = None


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came with a message beside its body. `source` is the ARN of the queue whose dead letter it is, `receives`
    how often it was received before it became one."""

    sender: str
    attributes: dict[str, Attribute] = {}
    trace: str = ""
    group: str = ""
    token: str = ""  # for deduplication
    source: str = ""
    receives: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(About).decode


class Message(NamedTuple):
    """A message; `receives` counts how often it was taken, the last time included."""

    id: int
    message_id: str
    body: str
    about: About
    sent_ms: int
    first_received_ms: int
    receives: int


class Held(NamedTuple):
    """A message that somebody has, or had: `visible_ms` is until when, `taken_ms` since when."""

    id: int
    store: int
    group: str | None
    visible_ms: int
    receives: int
    first_received_ms: int
    taken_ms: int
    sent_ms: int

    @property
    def held_ms(self) -> int:
        """Until when somebody has it, or had it last; 0 where nobody ever had."""
        return self.visible_ms if self.receives else 0


def now_ms(tx: Tx) -> int:
    """The transaction's time, which does not go back, in milliseconds since the epoch."""
    return int(tx.steady * 1000)


def new_store(tx: Tx) -> int:
    """A number under which no message has ever been stored."""
    tx.execute("insert into sqs_store (messages) values (0)")
    return tx.last_id()


def new_message_id(tx: Tx) -> str:
    """A message's name for customers."""
    return as_uuid(tx.token(32))


# ── In ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

def add(tx: Tx, queue: Queue, message_id: str, body: str, about: About, delay_s: int) -> int:
    """Puts a message in; its id, greater than all that ever were, whatever the clock does."""
    now, number = now_ms(tx), tx.rising("sqs.message", int(tx.now * 1e6), IDS_AHEAD)
    tx.put_off("insert into sqs_body values (?,?,?,?)", (number, message_id, body, _encode(about)))
    _enter(tx, queue, number, about.group, now + delay_s * 1000, now)
    return number


def _enter(tx: Tx, queue: Queue, number: int, group: str, visible_ms: int, sent_ms: int) -> None:
    store = queue.store
    if group and not queue.fifo:
        store = tenants.enter(tx, queue.store, group, visible_ms, now_ms(tx))
        if not queue.fair:
            fair = dataclasses.replace(queue, fair=True)
            tx.put(fair)
            arouse(tx, fair)  # since whoever put this in knows the queue as it was
    tx.put_off("insert into sqs_message values (?,?,?,?,0,0,0,?)",
               (number, store, group if queue.fifo else None, visible_ms, sent_ms))
    tx.put_off("update sqs_store set messages=messages+1 where id=?", (queue.store,))
    if queue.fifo:
        groups.enter(tx, queue.store, group, visible_ms)


# ── Taken for a while ────────────────────────────────────────────────────────────────────────────────────────────────

def take(tx: Tx, queue: Queue, count: int, visibility_s: int) -> list[Message]:
    """At most `count` messages that nobody has; nobody else gets them for so many seconds. On the way those past their
    retention go, and those that were received too often become dead letters."""
    now = now_ms(tx)
    oldest, until = now - queue.number("MessageRetentionPeriod") * 1000, now + visibility_s * 1000
    redrive, gone = queue.redrive, 0
    taken: list[Message] = []
    while len(taken) < count and gone < GONE_MAX:
        before, wanted = len(taken), count - len(taken)
        store, rows = _visible(tx, queue, wanted)
        for number, group, receives, first_ms, sent_ms, message_id, body, about in rows:
            message = Held(number, store, group, now, receives, first_ms, 0, sent_ms)
            if sent_ms <= oldest:
                _delete(tx, queue, message)
                gone += 1
            elif redrive is not None and receives >= redrive[1] and _die(tx, queue, redrive[0], message):
                gone += 1
            else:
                tx.put_off("update sqs_message set visible_ms=?, receives=?, first_received_ms=?, taken_ms=?"
                           " where id=?", (until, receives + 1, first_ms or now, now, number))
                if group is not None:
                    groups.block(tx, queue.store, group, until)
                taken.append(Message(number, message_id, body, _decode(about), sent_ms, first_ms or now, receives + 1))
        if queue.fair and len(taken) > before:
            tenants.settle(tx, queue.store, store, now, after_ms=until, count=len(taken) - before)
        plain = not queue.fifo and not queue.fair  # has all it can give in one place
        if not rows or (plain and len(rows) < wanted) or (taken and until == now):
            break  # there is nothing more, or what was just taken is there again
    return taken


def _visible(tx: Tx, queue: Queue, count: int) -> tuple[int, list[Any]]:
    """At most `count` messages that can be received, as `groups.ROW` says, and under which number they all are
    stored."""
    now = now_ms(tx)
    if queue.fifo:
        return queue.store, groups.ready(tx, queue.store, now, count)
    store, until = queue.store, now
    if queue.fair:
        source = tenants.source(tx, queue.store, now, count)
        if source is None:
            return store, []
        store, until, count = source
    return store, tx.rows(
        f"select {groups.ROW} from sqs_message m join sqs_body b on b.id=m.id where m.store=? and m.visible_ms<=?"
        " order by m.visible_ms, m.id limit ?", store, until, count)


def retake(tx: Tx, queue: Queue, taken: Iterable[tuple[int, int, int]], visibility_s: int) -> list[Message]:
    """What a receive was given before, as (id, receives, visible_ms), from now on for so many seconds; nothing if any
    of it was deleted, came back, or is hidden until another time."""
    now, found = now_ms(tx), []
    for number, receives, visible_ms in taken:
        message = held(tx, queue, number)
        if message is None or (message.receives, message.visible_ms) != (receives, visible_ms) or visible_ms <= now:
            return []
        found.append(message)
    for message in found:
        set_visible(tx, queue, message, now + visibility_s * 1000)
    return [whole(tx, each.id, each.sent_ms, each.first_received_ms, each.receives) for each in found]


def whole(tx: Tx, number: int, sent_ms: int, first_received_ms: int, receives: int) -> Message:
    """A message with its body, of which the rest is known."""
    message_id, body, raw = tx.row("select message_id, body, about from sqs_body where id=?", number)
    return Message(number, message_id, body, _decode(raw), sent_ms, first_received_ms, receives)


def held(tx: Tx, queue: Queue, number: int) -> Held | None:
    """One message of a queue by its id, None once it has left."""
    row = tx.row("select id, store, grp, visible_ms, receives, first_received_ms, taken_ms, sent_ms from sqs_message"
                 " where id=?", number)
    return Held(*row) if row and tenants.belongs(tx, row[1], queue.store) else None


def set_visible(tx: Tx, queue: Queue, message: Held, at_ms: int) -> None:
    """Nobody else gets it until then."""
    tx.put_off("update sqs_message set visible_ms=? where id=?", (at_ms, message.id))
    if message.group is not None:
        groups.settle(tx, message.store, message.group)
    elif queue.fair:
        tenants.settle(tx, queue.store, message.store, now_ms(tx), before_ms=message.held_ms, after_ms=at_ms)


# ── Out ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

def remove(tx: Tx, queue: Queue, message: Held) -> None:
    """It was dealt with."""
    _delete(tx, queue, message)


def _delete(tx: Tx, queue: Queue, message: Held) -> None:
    tx.put_off("delete from sqs_body where id=?", (message.id,))
    _leave(tx, queue, message)


def _leave(tx: Tx, queue: Queue, message: Held) -> None:
    tx.put_off("delete from sqs_message where id=?", (message.id,))
    tx.put_off("update sqs_store set messages=messages-1 where id=?", (queue.store,))
    if message.group is not None:
        groups.settle(tx, queue.store, message.group)
    elif queue.fair:
        tenants.settle(tx, queue.store, message.store, now_ms(tx), before_ms=message.held_ms)


def _die(tx: Tx, queue: Queue, target_arn: str, message: Held) -> bool:
    """Moves a message that was received too often to the dead-letter queue, where there still is one that takes it.

    It keeps its id, the count of its receives and, in standard queues, its age.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    """
    target = find_by_arn(tx, target_arn)
    if target is None or target.fifo != queue.fifo:
        return False
    now, about = now_ms(tx), _decode(tx.row("select about from sqs_body where id=?", message.id)[0])
    dead = msgspec.structs.replace(about, source=queue.arn, receives=about.receives + message.receives)
    _leave(tx, queue, message)
    tx.execute("update sqs_body set about=? where id=?", (_encode(dead), message.id))  # and now it has left
    _enter(tx, target, message.id, about.group, now, now if target.fifo else message.sent_ms)
    if message.group is not None:
        groups.settle(tx, target.store, message.group)  # it goes before others that came later, be they delayed
    arouse(tx, target)
    return True


def waiting(tx: Tx, queue: Queue, count: int) -> list[Message]:
    """Some messages that nobody has, at most `count`, the oldest first, and those of a group in their order; they stay
    where they are."""
    return [Message(number, message_id, body, _decode(about), sent_ms, first_ms, receives)
            for number, _, receives, first_ms, sent_ms, message_id, body, about in _visible(tx, queue, count)[1]]


def move(tx: Tx, source: Queue, message: Message, target: Queue) -> None:
    """Puts a message into another queue as a new one.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
    """
    found = held(tx, source, message.id)
    if found is not None:
        _delete(tx, source, found)
    add(tx, target, new_message_id(tx), message.body, msgspec.structs.replace(message.about, source="", receives=0),
        target.number("DelaySeconds"))
    arouse(tx, target)


def drop(tx: Tx, store: int, limit: int) -> bool:
    """Removes messages that are stored under a number which no queue has any more; whether there may be others."""
    left, of_tenants = limit, tenants.stores(tx, store, limit)
    for place in (store, *of_tenants):
        numbers = tx.rows("select id from sqs_message where store=? limit ?", place, left)
        for number in numbers:
            tx.execute("delete from sqs_message where id=?", number)
            tx.execute("delete from sqs_body where id=?", number)
        left -= len(numbers)
        if not left:
            return True
        tenants.drop(tx, place)
    named = tx.rows("select store, grp from sqs_group where store=? limit ?", store, left)
    for group in named:
        tx.execute("delete from sqs_group where store=? and grp=?", group)
    if len(named) == left or len(of_tenants) == limit:
        return True
    for table, name in (("sqs_room", "store"), ("sqs_count", "store"), ("sqs_store", "id")):
        tx.execute(f"delete from {table} where {name}=?", (store,))
    return False


def expire(tx: Tx, queue: Queue, limit: int) -> bool:
    """Removes messages that are past their retention; whether there may be others. Those that were hidden lately are
    found when they are to be received, or later."""
    oldest = now_ms(tx) - queue.number("MessageRetentionPeriod") * 1000
    count = 0
    for store in (queue.store, *(tenants.expired(tx, queue.store, oldest, limit) if queue.fair else ())):
        rows = tx.rows("select id, store, grp, visible_ms, receives, first_received_ms, taken_ms, sent_ms from"
                       " sqs_message where store=? and visible_ms<=? limit ?", store, oldest, limit - count)
        for row in rows:
            _delete(tx, queue, Held(*row))
        count += len(rows)
    return count == limit


# ── What a queue says ────────────────────────────────────────────────────────────────────────────────────────────────

def topic(queue: Queue) -> str:
    """What receivers of a queue wait for."""
    return f"sqs:{queue.key}"


def next_in(tx: Tx, queue: Queue) -> float | None:
    """In how many seconds a queue has something to give (0: now); None where it is empty."""
    table, column = ("sqs_group", "ready_ms") if queue.fifo else ("sqs_message", "visible_ms")
    at_ms = tx.row(f"select min({column}) from {table} where store=?", queue.store)[0]
    if queue.fair:
        at_ms = min((at for at in (at_ms, tenants.next_ms(tx, queue.store)) if at is not None), default=None)
    return None if at_ms is None else max(0.0, at_ms / 1000 - tx.steady)


def arouse(tx: Tx, queue: Queue) -> None:
    """Tells who waits for messages of a queue, once there is one, after this transaction or later."""
    news, name = tx.news, topic(queue)
    seconds = next_in(tx, queue) if news.awaited(name) else None
    if seconds is not None:
        tx.after.append((lambda: news.tell_in(name, seconds)) if seconds else (lambda: news.tell(name)))


def has_room(tx: Tx, queue: Queue, count: int, limit: int) -> bool:
    """Whether less than `limit` messages are in flight; `count` more are then taken. They are counted only where
    the queue is that large, and then only once the room found by the last count is used up."""
    stored, room = tx.row("select messages, (select room from sqs_room where store=id) from sqs_store where id=?",
                          queue.store)
    if stored < limit:
        if room is not None:  # what is taken now makes it untrue
            tx.put_off("delete from sqs_room where store=?", (queue.store,))
        return True
    if tx.row("update sqs_room set room=room-? where store=? and room>=? returning 1", count, queue.store, count):
        return True
    flying = tenants.flying(tx, queue.store, now_ms(tx)) if queue.fair else tx.row(
        "select count(*) from (select 1 from sqs_message where store=? and visible_ms>? and receives>0 limit ?)"
        " as flying", queue.store, now_ms(tx), limit)[0]
    tx.execute("insert into sqs_room values (?,?) on conflict (store) do update set room=excluded.room",
               (queue.store, max(0, limit - flying - count)))
    return bool(flying < limit)


def total(tx: Tx, queue: Queue) -> int:
    """How many messages a queue has."""
    row = tx.row("select messages from sqs_store where id=?", queue.store)
    return int(row[0]) if row else 0
