"""Queues whose machine has its clock set back by hours: nothing waits for that long."""

import asyncio

from cloudlet.services.sqs.expiry import Expiry
from cloudlet.store import steadiness
from tests.services.desk import ACCOUNT
from tests.services.sqs.clerk import Clerk
from tests.simulation.virtual import run

BACK_S = 7200.0


def set_back(clerk: Clerk) -> None:
    clerk.clock.time -= BACK_S
    steadiness.follow(clerk.store, -BACK_S)


def test_messages_are_there_when_they_would_have_been(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.send("q", "taken")
    clerk.receive("q", VisibilityTimeout=30)
    clerk.send("q", "delayed", DelaySeconds=60)
    clerk.send("q", "there")
    set_back(clerk)
    assert clerk.counts("q") == (1, 1, 1) and clerk.bodies("q", VisibilityTimeout=600) == ["there"]
    clerk.clock.time += 31
    assert clerk.bodies("q", VisibilityTimeout=600) == ["taken"]
    clerk.clock.time += 30
    clerk.send("q", "new")
    assert clerk.bodies("q") == ["delayed", "new"]


def test_groups_and_tenants_too(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.fifo("q.fifo", ContentBasedDeduplication="true")
    for name in ("q", "q.fifo"):
        for number in range(4):
            clerk.send(name, str(number), MessageGroupId=f"g{number % 2}")
        assert len(clerk.receive(name, 2, VisibilityTimeout=30)) == 2
    set_back(clerk)
    assert (len(clerk.receive("q", VisibilityTimeout=30)), clerk.counts("q")) == (2, (0, 4, 0))
    assert clerk.bodies("q.fifo", VisibilityTimeout=30) == ["1", "3"]
    clerk.clock.time += 31
    assert len(clerk.receive("q")) == len(clerk.receive("q.fifo")) == 4


def test_duplicates_are_known_for_five_minutes_and_no_longer(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", ContentBasedDeduplication="true")
    first = clerk.send("q.fifo", "x", MessageGroupId="g")["MessageId"]
    set_back(clerk)
    assert clerk.send("q.fifo", "x", MessageGroupId="g")["MessageId"] == first
    clerk.clock.time += 301
    assert clerk.send("q.fifo", "x", MessageGroupId="g")["MessageId"] != first
    assert clerk.counts("q.fifo") == (2, 0, 0)


def test_times_that_are_told_are_the_clocks(clerk: Clerk) -> None:
    """Whoever asks how old a message is compares them with its own clock, which is right."""
    clerk.queue("q", MessageRetentionPeriod="600")
    clerk.send("q", "before")
    clerk.clock.time += 10
    set_back(clerk)
    clerk.send("q", "after")
    names = ("SentTimestamp", "ApproximateFirstReceiveTimestamp")
    told = [tuple(int(message["Attributes"][name]) for name in names)
            for message in clerk.receive("q", AttributeNames=["All"], VisibilityTimeout=0)]
    now_ms = int(clerk.clock.time * 1000)
    assert told == [(now_ms - 10_000, now_ms), (now_ms, now_ms)]
    clerk.clock.time += 595
    asyncio.run(Expiry(clerk.store).look())
    assert clerk.bodies("q") == ["after"]


def test_a_purge_is_possible_after_a_minute(clerk: Clerk) -> None:
    clerk.queue("q")
    clerk.at("q", "PurgeQueue")
    set_back(clerk)
    assert clerk.refused("q", "PurgeQueue") == "AWS.SimpleQueueService.PurgeQueueInProgress"
    clerk.clock.time += 60
    clerk.at("q", "PurgeQueue")
    clerk.clock.time -= BACK_S  # while nobody looked
    clerk.at("q", "PurgeQueue")


def test_a_long_poll_ends_in_time(clerk: Clerk) -> None:
    clerk.queue("q")

    async def main() -> None:
        waiting = asyncio.ensure_future(clerk.ask("q", "ReceiveMessage", WaitTimeSeconds=20))
        await asyncio.sleep(1)
        clerk.clock.time -= BACK_S
        await asyncio.sleep(1)
        clerk.store.news.tell(f"sqs:{ACCOUNT}/us-east-1/q")  # of a message that somebody else gets
        async with asyncio.timeout(25):
            assert await waiting == {}
    run(main())
