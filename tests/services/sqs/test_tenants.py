"""Fair queues: message groups of standard queues share the consumers, whatever backlog one of them has."""

import asyncio
import heapq
import json
import random
from collections import Counter
from itertools import count
from typing import Any

import pytest

from cloudlet.control.outcome import Done
from cloudlet.services.sqs import find_by_arn, messages, receiving, sending, tenants
from cloudlet.services.sqs.expiry import Expiry
from cloudlet.services.sqs.moves import Moving
from tests.services.desk import ACCOUNT
from tests.services.sqs.clerk import Clerk

ARN = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"


def put(clerk: Clerk, group: str | None, bodies: list[str]) -> None:
    """Sends them all in one transaction."""
    with clerk.store.tx() as tx:
        for body in bodies:
            queue = find_by_arn(tx, ARN)
            assert queue is not None
            sending.send(tx, queue, "me", {"MessageBody": body, "MessageGroupId": group})


async def longest_wait(clerk: Clerk, consumers: int, work_s: float, at_once: int, *, grouped: bool = True) -> float:
    """How long the messages of twenty tenants wait at most, who have a quarter of the consumers' time, while another
    one has a backlog of 10,000 and each message needs `work_s`."""
    clerk.queue("q", VisibilityTimeout="3600")
    put(clerk, "noisy" if grouped else None, ["noise"] * 10_000)
    start, turns, waiting, longest = clerk.clock.time, count(), dict[str, float](), 0.0
    every_s, end = work_s * 4 / consumers, start + 120
    events: list[tuple[float, int, list[str] | None]] = [
        *((start + number / consumers, next(turns), []) for number in range(consumers)),
        *((start + 30 + number * every_s, next(turns), None) for number in range(int(80 / every_s)))]
    heapq.heapify(events)
    while events[0][0] < end:
        clerk.clock.time, turn, done = heapq.heappop(events)
        if done is None:  # a quiet tenant sends
            waiting[str(turn)] = clerk.clock.time
            put(clerk, f"quiet{turn % 20}" if grouped else None, [str(turn)])
            continue
        if done:
            await clerk.ask("q", "DeleteMessageBatch", Entries=[
                {"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(done)])
        got = (await clerk.ask("q", "ReceiveMessage", MaxNumberOfMessages=at_once)).get("Messages", [])
        for message in got:
            longest = max(longest, clerk.clock.time - waiting.pop(message["Body"], clerk.clock.time))
        heapq.heappush(events, (clerk.clock.time + work_s * max(1, len(got)), next(turns),
                                [message["ReceiptHandle"] for message in got]))
    return max(longest, *(end - since for since in waiting.values()), 0)


@pytest.mark.parametrize(("consumers", "work_s", "at_once"), [(60, 20, 1), (2, 5, 1), (1, 0.5, 10)])
def test_quiet_tenants_do_not_wait_for_a_noisy_one(clerk: Clerk, consumers: int, work_s: float, at_once: int) -> None:
    longest = asyncio.run(longest_wait(clerk, consumers, work_s, at_once))
    assert longest <= 1.5 * work_s * at_once  # until a consumer has done what it has in its hands


def test_without_groups_all_wait_in_one_line(clerk: Clerk) -> None:
    assert asyncio.run(longest_wait(clerk, 60, 20, 1, grouped=False)) > 80


def test_a_tenth_of_what_is_in_flight_is_much(clerk: Clerk) -> None:
    clerk.queue("q")
    put(clerk, "noisy", [f"n{number}" for number in range(200)])
    for _ in range(3):
        clerk.receive("q")  # thirty, all of them the noisy one's
    put(clerk, "quiet", ["q1", "q2"])
    clerk.clock.time += 1
    put(clerk, None, ["alone"])
    assert clerk.bodies("q", count=4) == ["q1", "q2", "alone", "n30"]  # then what there is, as ever
    put(clerk, "quiet", ["q3"])
    clerk.clock.time += 30  # all came back: what is there longest goes first, unless it takes much of the time
    assert clerk.bodies("q", count=1) == ["q3"]
    clerk.clock.time += 3600
    assert clerk.bodies("q", count=2) == ["n31", "n32"]


def test_who_keeps_long_what_it_has_is_noisy_too(clerk: Clerk) -> None:
    clerk.queue("q", VisibilityTimeout="1000")
    put(clerk, "slow", ["s1", "s2"])
    for group in range(20):
        put(clerk, f"quick{group}", [f"{group}a"])
    (slow,) = clerk.receive("q", count=1)
    clerk.clock.time += 100
    for _ in range(2):
        for message in clerk.receive("q"):
            assert message["Body"] != "s2"
            clerk.at("q", "DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
    clerk.at("q", "DeleteMessage", ReceiptHandle=slow["ReceiptHandle"])
    assert clerk.bodies("q") == ["s2"]


def test_noisy_ones_share_what_is_left(clerk: Clerk) -> None:
    clerk.queue("q")
    put(clerk, "a", ["a"] * 200)
    for _ in range(10):
        clerk.receive("q")
    put(clerk, "b", ["b"] * 200)
    got = Counter(body for _ in range(16) for body in clerk.bodies("q"))
    assert got == {"b": 130, "a": 30}  # which makes 130 of each


def test_too_many_in_flight_of_all_tenants(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "IN_FLIGHT_MAX", 3)
    clerk.queue("q")
    for group in ("a", None, "b"):
        put(clerk, group, ["x"] * 5)
    assert [len(clerk.receive("q", count=1)) for _ in range(3)] == [1, 1, 1]
    assert clerk.refused("q", "ReceiveMessage") == "OverLimit"
    clerk.clock.time += 30
    assert len(clerk.receive("q", count=1)) == 1


def test_who_waits_is_woken_by_the_first_message_that_has_a_group(clerk: Clerk) -> None:
    clerk.queue("q")

    async def scene() -> None:
        waiting = [asyncio.ensure_future(clerk.ask("q", "ReceiveMessage", WaitTimeSeconds=20)) for _ in range(2)]
        await asyncio.sleep(0.01)
        await clerk.ask("q", "SendMessageBatch", Entries=[
            {"Id": group, "MessageBody": group, "MessageGroupId": group} for group in "ab"])
        async with asyncio.timeout(5):
            assert [(await each)["Messages"][0]["Body"] for each in waiting] == ["a", "b"]
    asyncio.run(scene())


def test_who_waits_is_woken_by_what_a_tenant_gets_back(clerk: Clerk) -> None:
    clerk.queue("q", VisibilityTimeout="1")
    put(clerk, "a", ["x"])

    async def scene() -> None:
        (held,) = (await clerk.ask("q", "ReceiveMessage"))["Messages"]
        waiting = asyncio.ensure_future(clerk.ask("q", "ReceiveMessage", WaitTimeSeconds=20))
        await asyncio.sleep(0.01)
        await clerk.ask("q", "ChangeMessageVisibility", ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=0)
        async with asyncio.timeout(5):
            assert (await waiting)["Messages"][0]["MessageId"] == held["MessageId"]
    asyncio.run(scene())


def steps(clerk: Clerk, *doings: tuple[str, dict[str, Any]]) -> int:
    """How many instructions SQLite needs for operations."""
    made = count()
    clerk.store._db.set_progress_handler(lambda: bool(next(made) < 0), 1)
    handles: list[str] = []
    for operation, request in doings:
        handle = {"ReceiptHandle": handles.pop()} if operation == "DeleteMessage" else {}
        answer = clerk.at("q", operation, **request, **handle) or {}
        handles += [message["ReceiptHandle"] for message in answer.get("Messages", [])]
    clerk.store._db.set_progress_handler(None, 1)
    return next(made)


CYCLE = (("SendMessage", {"MessageBody": "x", "MessageGroupId": "quiet"}), ("ReceiveMessage", {}),
         ("ReceiveMessage", {}), ("DeleteMessage", {}), ("DeleteMessage", {}))


def test_backlogs_and_many_tenants_cost_nothing(clerk: Clerk) -> None:
    clerk.queue("q")
    put(clerk, "noisy", ["noise"] * 200)
    steps(clerk, *CYCLE)
    small = steps(clerk, *CYCLE)
    put(clerk, "noisy", ["noise"] * 10_000)
    for number in range(1000):
        put(clerk, f"tenant{number}", ["x"])
    steps(clerk, *CYCLE)
    assert steps(clerk, *CYCLE) <= small * 1.2


def test_queues_without_groups_know_nothing_of_it(clerk: Clerk) -> None:
    clerk.queue("q")
    said: list[str] = []
    clerk.store._db.exec_trace = lambda cursor, sql, values: said.append(sql) or True
    steps(clerk, ("SendMessage", {"MessageBody": "x"}), *CYCLE[1:2], ("DeleteMessage", {}))
    assert said
    assert not [sql for sql in said if "sqs_tenant" in sql]
    clerk.at("q", "SendMessage", MessageBody="x", MessageGroupId="a")
    assert [sql for sql in said if "sqs_tenant" in sql]


def test_what_is_known_of_tenants_is_so(clerk: Clerk) -> None:
    """After whatever happened, be it that the clock went back: where each has its first message, and how many are in
    flight."""
    drawn, handles = random.Random(7), list[str]()
    clerk.queue("q", VisibilityTimeout="20")
    for _ in range(400):
        match drawn.choice(("send", "send", "send", "receive", "receive", "delete", "change", "time")):
            case "send":
                clerk.send("q", "x", MessageGroupId=drawn.choice((None, "a", "b", "c")),
                           DelaySeconds=drawn.choice((0, 0, 5)))
            case "receive":
                handles += [got["ReceiptHandle"] for got in clerk.receive("q", drawn.choice((1, 3, 10)))]
            case "delete" if handles:
                clerk.at("q", "DeleteMessage", ReceiptHandle=handles.pop(drawn.randrange(len(handles))))
            case "change" if handles:
                clerk.at("q", "ChangeMessageVisibilityBatch", Entries=[
                    {"Id": "a", "ReceiptHandle": drawn.choice(handles), "VisibilityTimeout": drawn.choice((0, 3, 30))}])
            case "time":
                clerk.clock.time += drawn.choice((0.1, 3, 9, -5))
        with clerk.store.tx() as tx:
            queue, now = find_by_arn(tx, ARN), int(tx.now * 1000)
            assert queue is not None
            if not queue.fair:
                continue
            heads = dict(tx.execute("select id, head_ms from sqs_tenant where grp<>''"))
            assert heads == dict(tx.execute("select -store, min(visible_ms) from sqs_message where store<0 group by 1"))
            soonest = tx.execute("select min(visible_ms) from sqs_message").fetchone()[0]
            assert messages.next_in(tx, queue) == (None if soonest is None else max(0, soonest / 1000 - tx.now))
            if drawn.random() < 0.7:
                continue  # which would have it look at them only now and then
            for number in heads:
                tenants.settle(tx, queue.store, -number, now)
            tenants.settle(tx, queue.store, queue.store, now)
            latest = max(now, tx.execute("select max(seen_ms) from sqs_tenant").fetchone()[0])
            said = dict(tx.execute("select id, flying from sqs_tenant where flying>0 and grp<>''"))
            assert said == dict(tx.execute("select -store, count(*) from sqs_message where store<0 and receives>0 and"
                                           " visible_ms>? group by 1", (latest,)))
            flying = tx.execute("select count(*) from sqs_message where receives>0 and visible_ms>?",
                                (latest,)).fetchone()
            assert tx.execute("select flying from sqs_tenant where grp=''").fetchone() == flying
        assert latest > now or clerk.counts("q")[1] == flying[0]
        assert sum(clerk.counts("q")) == clerk.store._db.execute("select count(*) from sqs_message").fetchone()[0]
    clerk.clock.time += 60
    while got := clerk.receive("q"):
        for message in got:
            clerk.at("q", "DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
    assert clerk.counts("q") == (0, 0, 0)
    assert clerk.store._db.execute("select count(*) from sqs_tenant").fetchone() == (1,)  # the whole


def test_fair_queues_are_emptied_and_deleted(clerk: Clerk) -> None:
    clerk.queue("q", MessageRetentionPeriod="60")
    for group in (None, "a", "b"):
        put(clerk, group, ["x"] * 3)
    clerk.receive("q", count=1)
    clerk.clock.time += 91  # that one was hidden for thirty
    asyncio.run(Expiry(clerk.store).look())
    assert clerk.counts("q") == (0, 0, 0)
    put(clerk, "a", ["x"] * 1200)
    clerk.at("q", "PurgeQueue")
    put(clerk, "a", ["y", "z"])
    assert clerk.bodies("q") == ["y", "z"]
    clerk.at("q", "DeleteQueue")
    for (key,) in clerk.store._db.execute("select key from work where kind='sqs.drop'").fetchall():
        while asyncio.run(Expiry(clerk.store).drop(key)) != Done():
            pass
    for table in ("sqs_body", "sqs_message", "sqs_tenant"):
        assert clerk.store._db.execute(f"select count(*) from {table}").fetchone() == (0,), table


@pytest.mark.parametrize("name", ["q", "q.fifo"])
def test_many_groups_go_some_at_a_time(clerk: Clerk, name: str) -> None:
    (clerk.fifo if name.endswith(".fifo") else clerk.queue)(name)
    with clerk.store.tx() as tx:
        for number in range(1200):
            queue = find_by_arn(tx, ARN.replace(":q", f":{name}"))
            assert queue is not None
            sending.send(tx, queue, "me", {"MessageBody": "x", "MessageGroupId": f"g{number}", **(
                {"MessageDeduplicationId": str(number)} if queue.fifo else {})})
    clerk.at(name, "DeleteQueue")
    (key,) = (key for (key,) in clerk.store._db.execute("select key from work where kind='sqs.drop'"))
    before, rounds = clerk.store._db.total_changes(), 0
    while asyncio.run(Expiry(clerk.store).drop(key)) != Done():
        after, rounds = clerk.store._db.total_changes(), rounds + 1
        assert 0 < after - before <= 1500  # rows of three tables
        before = after
    assert rounds >= 2
    for table in ("sqs_body", "sqs_message", "sqs_tenant", "sqs_group"):
        assert clerk.store._db.execute(f"select count(*) from {table}").fetchone() == (0,), table


def test_dead_letters_of_tenants_are_moved_back(clerk: Clerk) -> None:
    clerk.queue("dead")
    clerk.queue("q", VisibilityTimeout="1", RedrivePolicy=json.dumps(
        {"deadLetterTargetArn": ARN.replace(":q", ":dead"), "maxReceiveCount": 1}))
    for group in ("a", "b", None):
        put(clerk, group, [f"{group}{number}" for number in range(3)])
    assert len(clerk.receive("q")) == 9
    clerk.clock.time += 1
    assert (clerk.receive("q"), clerk.counts("q"), clerk.counts("dead")) == ([], (0, 0, 0), (9, 0, 0))
    clerk.at("dead", "StartMessageMoveTask", SourceArn=ARN.replace(":q", ":dead"))
    (key,) = (key for (key,) in clerk.store._db.execute("select key from work where kind='sqs.move'"))
    asyncio.run(Moving(clerk.store).reconcile(key))
    got = clerk.receive("q", AttributeNames=["MessageGroupId"])
    assert Counter(message.get("Attributes", {}).get("MessageGroupId") for message in got) == {"a": 3, "b": 3, None: 3}
    assert clerk.counts("dead") == (0, 0, 0)
