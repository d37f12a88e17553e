"""How many messages a queue has of which kind: exactly where they are few, and cheaply where they are many."""

import asyncio

import pytest

from cloudlet.services.sqs import counting, messages
from cloudlet.services.sqs.expiry import Expiry
from cloudlet.store.db import OutOfSpace, Tx
from tests.services.sqs.clerk import Clerk

STORE = 2  # under which the first queue's messages are


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "EXACT", 4)
    monkeypatch.setattr(counting, "AT_ONCE", 3)


def delay(clerk: Clerk, count: int) -> None:
    for number in range(count):
        clerk.send("q", str(number), DelaySeconds=300)
        clerk.clock.time += 0.001  # as it does


def test_few_are_counted_anew_each_time(clerk: Clerk) -> None:
    clerk.queue("q")
    delay(clerk, 2)
    for number in range(6):
        clerk.send("q", str(number))
    assert clerk.counts("q") == (6, 0, 2)
    (got,) = clerk.receive("q", 1)
    assert clerk.counts("q") == (5, 1, 2)
    clerk.at("q", "DeleteMessage", ReceiptHandle=got["ReceiptHandle"])
    assert clerk.counts("q") == (5, 0, 2)
    assert counted(clerk) == []


def counted(clerk: Clerk) -> list[tuple[int, int]]:
    with clerk.store.tx() as tx:
        return [(hidden, flying) for hidden, flying in tx.execute("select hidden, flying from sqs_count")]


@pytest.mark.parametrize("taken", [0, 3, 10])
def test_many_are_counted_in_slices(clerk: Clerk, taken: int) -> None:
    clerk.queue("q")
    for number in range(11):
        clerk.send("q", str(number))
        clerk.clock.time += 0.001
    for _ in range(taken):
        clerk.receive("q", 1)
        clerk.clock.time += 0.001
    delay(clerk, 12)
    assert clerk.counts("q") == (11 - taken, taken, 12)
    assert counted(clerk) == [(12 + taken, taken)]


def test_messages_of_one_millisecond_are_in_one_slice(clerk: Clerk) -> None:
    clerk.queue("q")
    for number in range(20):
        clerk.send("q", str(number), DelaySeconds=100 + number // 15)
    assert clerk.counts("q") == (0, 0, 20)


def test_tenants_are_counted_too(clerk: Clerk) -> None:
    clerk.queue("q")
    for number in range(20):
        clerk.send("q", str(number), DelaySeconds=300, MessageGroupId=f"tenant-{number % 5}")
        clerk.send("q", str(number), MessageGroupId=f"tenant-{number % 7}")
    delay(clerk, 3)
    assert len(clerk.receive("q", 10)) == 10
    assert clerk.counts("q") == (10, 10, 23)


def test_fifo_queues(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", ContentBasedDeduplication="true")
    for number in range(20):
        clerk.send("q.fifo", str(number), MessageGroupId=f"g{number % 4}")
        clerk.clock.time += 0.001
    assert len(clerk.receive("q.fifo")) == 10
    assert clerk.counts("q.fifo") == (10, 10, 0)


def test_a_count_of_many_is_kept_for_seconds(clerk: Clerk) -> None:
    """As AWS's numbers need up to a minute; all together they are what the queue has."""
    clerk.queue("q")
    delay(clerk, 10)
    assert clerk.counts("q") == (0, 0, 10)
    clerk.send("q", "seen at once")
    delay(clerk, 5)
    assert clerk.counts("q") == (6, 0, 10)
    clerk.clock.time += 5
    assert clerk.counts("q") == (1, 0, 15)
    clerk.send("q", "x")
    delay(clerk, 1)
    assert clerk.counts("q") == (3, 0, 15)
    clerk.clock.time -= 3600
    assert clerk.counts("q") == (0, 0, 18), "and a count that comes from the future is not believed"


def test_what_became_few_is_counted_at_once(clerk: Clerk) -> None:
    clerk.queue("q")
    for number in range(10):
        clerk.send("q", str(number))
    taken = clerk.receive("q")
    assert clerk.counts("q") == (0, 10, 0)
    for message in taken[:5]:
        clerk.at("q", "DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
    assert clerk.counts("q") == (0, 5, 0), "there are no more than the queue has"
    for message in taken[5:7]:
        clerk.at("q", "DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
    assert clerk.counts("q") == (0, 3, 0)
    clerk.clock.time += 31
    assert clerk.counts("q") == (3, 0, 0)


def test_others_have_their_turn_while_many_are_counted(clerk: Clerk) -> None:
    clerk.queue("q")
    delay(clerk, 40)

    async def main(gone_at: int) -> tuple[int, list[str]]:
        turns = 0
        count = asyncio.ensure_future(clerk.ask("q", "GetQueueAttributes", AttributeNames=list(counting.COUNTS)))
        while not count.done():
            await asyncio.sleep(0)
            turns += 1
            if turns == gone_at:
                with clerk.store.tx() as tx:
                    assert not messages.drop(tx, STORE, 1000)
        return turns, list((await count)["Attributes"].values())
    turns, found = asyncio.run(main(0))
    assert turns > 40 / 3 and found == ["0", "0", "40"]
    clerk.clock.time += 6
    assert asyncio.run(main(5))[1] == ["0", "0", "0"], "the queue was deleted meanwhile"


def test_a_full_disk_keeps_nobody_from_counting(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    clerk.queue("q")
    delay(clerk, 10)

    def refuse(*_: object) -> None:
        raise OutOfSpace
    with monkeypatch.context() as full:
        full.setattr(Tx, "put_off", refuse)
        assert clerk.counts("q") == (0, 0, 10)
    assert counted(clerk) == []


def test_nothing_of_a_count_stays_behind(clerk: Clerk) -> None:
    clerk.queue("q")
    delay(clerk, 10)
    assert (clerk.counts("q"), counted(clerk)) == ((0, 0, 10), [(10, 0)])
    clerk.at("q", "PurgeQueue")
    assert clerk.counts("q") == (0, 0, 0)
    asyncio.run(Expiry(clerk.store).drop(str(STORE)))
    assert counted(clerk) == []
