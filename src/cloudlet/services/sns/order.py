"""What FIFO topics remember: what was published in the last five minutes, and the last sequence number.

https://docs.aws.amazon.com/sns/latest/dg/fifo-message-dedup.html
"""

from typing import Any

from cloudlet.store.db import Tx

INTERVAL_S = 300.0
FORGOTTEN_AT_ONCE = 20  # old ones that go when a new one comes


def find_duplicate(tx: Tx, topic: str, token: str) -> tuple[str, str] | None:
    """The message id and the sequence number of what was published under that token."""
    row: tuple[str, str] | None = tx.execute(
        "select message_id, sequence from sns_dedup where topic=? and token=? and until>?",
        (topic, token, tx.steady)).fetchone()
    return row


def remember(tx: Tx, topic: str, token: str, message_id: str) -> str:
    """It is being published; its sequence number, twenty digits and greater than all before it."""
    row: Any = tx.execute("select last from sns_sequence where topic=?", (topic,)).fetchone()
    number = max(row[0] + 1 if row else 0, int(tx.now * 1e6))  # by the clock, for a topic that is made anew
    tx.execute("insert into sns_sequence values (?,?) on conflict (topic) do update set last=excluded.last",
               (topic, number))
    sequence = f"{10 ** 19 + number}"
    tx.execute("delete from sns_dedup where (topic, token) in (select topic, token from sns_dedup where topic=?"
               " and until<=? limit ?)", (topic, tx.steady, FORGOTTEN_AT_ONCE))
    tx.execute("insert into sns_dedup values (?,?,?,?,?) on conflict (topic, token) do update set"
               " message_id=excluded.message_id, sequence=excluded.sequence, until=excluded.until",
               (topic, token, message_id, sequence, tx.steady + INTERVAL_S))
    return sequence


def forget(tx: Tx, topic: str) -> None:
    """The topic is gone."""
    tx.execute("delete from sns_dedup where topic=?", (topic,))
    tx.execute("delete from sns_sequence where topic=?", (topic,))
