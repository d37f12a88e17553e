"""What was sent to a FIFO queue in the last five minutes is not sent again, and a receive may be repeated.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-exactly-once-processing.html
"""

import hashlib

import msgspec

from cloudlet.services.sqs.messages import now_ms
from cloudlet.services.sqs.records import Queue
from cloudlet.store.db import Tx

INTERVAL_MS = 5 * 60 * 1000
Taken = list[tuple[int, int, int]]  # ids of messages, which receive of each it was, and until when it is hidden

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Taken).decode


def content_token(body: str) -> str:
    """The deduplication id of a message whose content says it."""
    return hashlib.sha256(body.encode()).hexdigest()


def sequence(number: int) -> str:
    """A message's sequence number: twenty digits, greater than those before it."""
    return f"{10 ** 19 + number}"


def find_duplicate(tx: Tx, queue: Queue, group: str, token: str) -> tuple[int, str] | None:
    """The id and the message id of what was sent before under that token, since the last purge."""
    row: tuple[int, str] | None = tx.execute(
        "select id, message_id from sqs_dedup where queue=? and token=? and until_ms>?",
        (queue.store, _scoped(queue, group, token), now_ms(tx))).fetchone()
    return row


def remember(tx: Tx, queue: Queue, group: str, token: str, number: int, message_id: str) -> None:
    """It was sent."""
    tx.execute("insert into sqs_dedup values (?,?,?,?,?) on conflict (queue, token) do update set id=excluded.id,"
               " message_id=excluded.message_id, until_ms=excluded.until_ms",
               (queue.store, _scoped(queue, group, token), number, message_id, now_ms(tx) + INTERVAL_MS))


def _scoped(queue: Queue, group: str, token: str) -> str:
    return f"{group}\n{token}" if queue.by_group else token


def find_attempt(tx: Tx, queue: Queue, attempt: str) -> Taken | None:
    """What a receive of that name was given in the last five minutes."""
    row = tx.execute("select taken from sqs_attempt where queue=? and attempt=? and until_ms>?",
                     (queue.id, attempt, now_ms(tx))).fetchone()
    return _decode(row[0]) if row else None


def remember_attempt(tx: Tx, queue: Queue, attempt: str, taken: Taken) -> None:
    """It was given those."""
    tx.execute("insert into sqs_attempt values (?,?,?,?) on conflict (queue, attempt) do update set"
               " taken=excluded.taken, until_ms=excluded.until_ms",
               (queue.id, attempt, _encode(taken), now_ms(tx) + INTERVAL_MS))


def forget_old(tx: Tx, limit: int) -> bool:
    """Removes what is older than five minutes, at most so much of either; whether there may be more."""
    now = now_ms(tx)
    gone = [len(tx.execute(f"delete from {table} where (queue, {name}) in (select queue, {name} from {table}"
                           " where until_ms<=? limit ?) returning 1", (now, limit)).fetchall())
            for table, name in (("sqs_dedup", "token"), ("sqs_attempt", "attempt"))]
    return max(gone) == limit
