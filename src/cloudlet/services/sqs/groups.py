"""Message groups of FIFO queues: which has something to give, so that a receive costs the same with one or thousands.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/FIFO-queues-understanding-logic.html
"""

from typing import Any

from cloudlet.store.db import Tx

ROW = "m.id, m.grp, m.receives, m.first_received_ms, m.sent_ms, b.message_id, b.body, b.about"  # of what is to be given


def enter(tx: Tx, store: int, group: str, visible_ms: int) -> None:
    """A message came; a group that has others keeps its place."""
    tx.execute("insert into sqs_group values (?,?,?) on conflict do nothing", (store, group, visible_ms))


def ready(tx: Tx, store: int, now_ms: int, count: int) -> list[Any]:
    """At most `count` messages of groups whose first is not in flight, as `ROW` says: as many of one group as there
    are, then of the next."""
    found: list[Any] = []
    named: list[Any] = tx.execute("select grp from sqs_group where store=? and ready_ms<=? order by ready_ms limit ?",
                                  (store, now_ms, count)).fetchall()
    for (group,) in named:
        rows: list[Any] = tx.execute(
            f"select {ROW}, m.visible_ms from sqs_message m join sqs_body b on b.id=m.id where m.store=? and m.grp=?"
            " order by m.id limit ?", (store, group, count - len(found))).fetchall()
        for *row, visible_ms in rows:
            if visible_ms > now_ms:
                break
            found.append(row)
        if len(found) == count:
            break
    return found


def block(tx: Tx, store: int, group: str, until_ms: int) -> None:
    """One of its messages is in flight until then."""
    tx.execute("update sqs_group set ready_ms=max(ready_ms, ?) where store=? and grp=?", (until_ms, store, group))


def settle(tx: Tx, store: int, group: str) -> None:
    """Says anew from when a group has something to give, after one of its messages changed or left: when its first can
    be received. On AWS too a first one that is given back comes again while others of its group are in flight."""
    first: Any = tx.execute("select visible_ms from sqs_message where store=? and grp=? order by id limit 1",
                            (store, group)).fetchone()
    if first is None:
        tx.execute("delete from sqs_group where store=? and grp=?", (store, group))
        return
    tx.execute("update sqs_group set ready_ms=? where store=? and grp=?", (first[0], store, group))
