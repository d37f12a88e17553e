"""FIFO queues: order within groups, no duplicates for five minutes, receives that may be repeated."""

import asyncio
import json
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudlet.services.sqs import expiry
from tests.services.desk import ACCOUNT
from tests.services.sqs.clerk import Clerk

numbers = count()


def put(clerk: Clerk, group: str, body: str, name: str = "q.fifo") -> None:
    clerk.send(name, body, MessageGroupId=group, MessageDeduplicationId=f"d{next(numbers)}")


def test_a_group_waits_for_what_is_in_flight(clerk: Clerk) -> None:
    clerk.fifo("q.fifo")
    for group, body in (("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")):
        put(clerk, group, body)
    (first,) = clerk.receive("q.fifo", count=1)
    assert first["Body"] == "a1"
    assert clerk.bodies("q.fifo") == ["b1"]
    assert clerk.bodies("q.fifo") == []
    clerk.at("q.fifo", "DeleteMessage", ReceiptHandle=first["ReceiptHandle"])
    held = clerk.receive("q.fifo")
    assert [message["Body"] for message in held] == ["a2", "a3"]
    clerk.at("q.fifo", "DeleteMessage", ReceiptHandle=held[1]["ReceiptHandle"])
    clerk.clock.time += 31
    assert clerk.refused("q.fifo", "DeleteMessage", ReceiptHandle=held[0]["ReceiptHandle"]) == "InvalidParameterValue"
    assert sorted(clerk.bodies("q.fifo")) == ["a2", "b1"]


def test_duplicates_are_accepted_and_not_put_in(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", ContentBasedDeduplication="true")
    one = clerk.send("q.fifo", "x", MessageGroupId="a")
    again = clerk.send("q.fifo", "x", MessageGroupId="b")
    assert (one["MessageId"], one["SequenceNumber"]) == (again["MessageId"], again["SequenceNumber"])
    (message,) = clerk.receive("q.fifo")
    clerk.at("q.fifo", "DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
    clerk.send("q.fifo", "x", MessageGroupId="a")
    assert clerk.counts("q.fifo") == (0, 0, 0)
    clerk.clock.time += 300
    clerk.send("q.fifo", "x", MessageGroupId="a")
    assert clerk.bodies("q.fifo") == ["x"]


def test_duplicates_within_groups(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for group in ("a", "b", "a"):
        clerk.send("q.fifo", group, MessageGroupId=group, MessageDeduplicationId="same")
    assert clerk.bodies("q.fifo") == ["a", "b"]


def test_what_a_fifo_queue_demands(clerk: Clerk) -> None:
    clerk.fifo("q.fifo")
    assert clerk.refused("q.fifo", "SendMessage", MessageBody="x") == "MissingParameter"
    assert clerk.refused("q.fifo", "SendMessage", MessageBody="x", MessageGroupId="a") == "InvalidParameterValue"
    assert clerk.refused("q.fifo", "SendMessage", MessageBody="x", MessageGroupId="a", MessageDeduplicationId="d",
                         DelaySeconds=3) == "InvalidParameterValue"
    assert clerk.refused("q.fifo", "SendMessage", MessageBody="x", MessageGroupId="a b",
                         MessageDeduplicationId="d") == "InvalidParameterValue"


def test_what_is_older_than_five_minutes_is_forgotten_a_little_at_a_time(clerk: Clerk,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "SLICE", 2)
    monkeypatch.setattr(clerk.clock, "sleep", asyncio.sleep)
    clerk.fifo("q.fifo")

    def known() -> tuple[int, ...]:
        return tuple(clerk.store._db.execute(f"select count(*) from {table}").fetchall()[0][0]
                     for table in ("sqs_dedup", "sqs_attempt"))
    for number in range(5):
        put(clerk, "a", f"old {number}")
        clerk.receive("q.fifo", 1, ReceiveRequestAttemptId=f"t{number}", VisibilityTimeout=0)
    clerk.clock.time += 299
    put(clerk, "a", "new")
    asyncio.run(expiry.Expiry(clerk.store).look())
    assert known() == (6, 5)
    clerk.clock.time += 1
    asyncio.run(expiry.Expiry(clerk.store).look())
    assert known() == (1, 0)


def test_a_receive_is_repeated(clerk: Clerk) -> None:
    clerk.fifo("q.fifo")
    put(clerk, "a", "one")
    put(clerk, "a", "two")
    first = clerk.receive("q.fifo", ReceiveRequestAttemptId="t1", count=1)
    assert clerk.receive("q.fifo", ReceiveRequestAttemptId="t1", count=1) == first
    assert clerk.receive("q.fifo", ReceiveRequestAttemptId="t2") == []
    clerk.clock.time += 20
    assert clerk.receive("q.fifo", ReceiveRequestAttemptId="t1", count=1) == first  # which hides it anew
    clerk.clock.time += 20
    assert clerk.receive("q.fifo", ReceiveRequestAttemptId="t2") == []
    clerk.at("q.fifo", "DeleteMessage", ReceiptHandle=first[0]["ReceiptHandle"])
    assert clerk.refused("q.fifo", "ReceiveMessage", ReceiveRequestAttemptId="t1") == "InvalidParameterValue"
    assert clerk.bodies("q.fifo", ReceiveRequestAttemptId="t2") == ["two"]
    clerk.clock.time += 300
    assert clerk.bodies("q.fifo", ReceiveRequestAttemptId="t1") == ["two"]  # five minutes later it is a name as any


@pytest.mark.parametrize("visibility_s", [0, 5, 40])
def test_a_receive_is_not_repeated_once_what_it_gave_has_changed(clerk: Clerk, visibility_s: int) -> None:
    clerk.fifo("q.fifo")
    put(clerk, "a", "one")
    put(clerk, "b", "two")
    held = clerk.receive("q.fifo", ReceiveRequestAttemptId="t1")
    assert [message["Body"] for message in held] == ["one", "two"]
    clerk.at("q.fifo", "ChangeMessageVisibility", ReceiptHandle=held[1]["ReceiptHandle"],
             VisibilityTimeout=visibility_s)
    assert clerk.refused("q.fifo", "ReceiveMessage", ReceiveRequestAttemptId="t1") == "InvalidParameterValue"
    clerk.clock.time += 29
    assert clerk.bodies("q.fifo") == (["two"] if visibility_s < 29 else [])  # and nothing was hidden longer
    clerk.clock.time += 1
    assert clerk.bodies("q.fifo") == ["one"]


def test_a_dead_letter_does_not_wait_for_a_delayed_one_that_came_later(clerk: Clerk) -> None:
    clerk.fifo("dead.fifo", DelaySeconds="600")
    clerk.fifo("q.fifo", VisibilityTimeout="5", RedrivePolicy=json.dumps(
        {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead.fifo", "maxReceiveCount": 1}))
    put(clerk, "a", "dead")
    clerk.receive("q.fifo")
    put(clerk, "a", "delayed", "dead.fifo")
    clerk.clock.time += 5
    assert clerk.bodies("q.fifo") == []
    assert clerk.bodies("dead.fifo") == ["dead"]


def test_numbers_grow_whatever_the_clock_does(clerk: Clerk) -> None:
    clerk.fifo("q.fifo", ContentBasedDeduplication="true")
    before, old = "", ""
    for body in ("one", "two", "three"):
        sent = clerk.send("q.fifo", body, MessageGroupId="a")
        assert sent["SequenceNumber"] > before
        (message,) = clerk.receive("q.fifo")
        assert message["ReceiptHandle"] != old
        clerk.at("q.fifo", "DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
        before, old = sent["SequenceNumber"], message["ReceiptHandle"]
        clerk.clock.time -= 86400  # the newest is gone, and so is the time it came at


def test_the_next_of_a_group_wakes_who_waits(clerk: Clerk) -> None:
    clerk.fifo("q.fifo")
    put(clerk, "a", "one")
    put(clerk, "a", "two")

    async def scene() -> None:
        (held,) = (await clerk.ask("q.fifo", "ReceiveMessage", MaxNumberOfMessages=1))["Messages"]
        waiting = asyncio.ensure_future(clerk.ask("q.fifo", "ReceiveMessage", WaitTimeSeconds=20))
        await asyncio.sleep(0.01)
        await clerk.ask("q.fifo", "DeleteMessage", ReceiptHandle=held["ReceiptHandle"])
        async with asyncio.timeout(5):
            assert (await waiting)["Messages"][0]["Body"] == "two"
    asyncio.run(scene())


STEP = st.one_of(
    st.tuples(st.just("send"), st.sampled_from("abc")), st.tuples(st.just("receive"), st.integers(1, 4)),
    st.tuples(st.just("delete"), st.integers(0, 9)), st.tuples(st.just("return"), st.integers(0, 9)),
    st.tuples(st.just("time"), st.integers(1, 40)))


@settings(max_examples=60)
@given(st.lists(STEP, max_size=40))
def test_each_group_keeps_its_order(tmp_path_factory: object, steps: list[tuple[str, object]]) -> None:
    """Whatever happens: what is received of a group next is the first that was not deleted, unless that is in
    flight."""
    clerk = Clerk(tmp_path_factory.mktemp("fifo"))  # type: ignore[attr-defined]
    clerk.fifo("q.fifo")
    left: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    flying: dict[str, tuple[str, float, str]] = {}  # body → group, until, handle
    for number, (kind, value) in enumerate(steps):
        now = clerk.clock.time
        flying = {body: it for body, it in flying.items() if it[1] > now}
        if kind == "send":
            put(clerk, str(value), f"{value}{number}")
            left[str(value)].append(f"{value}{number}")
        elif kind == "receive":
            given: dict[str, list[str]] = {}
            for message in clerk.receive("q.fifo", int(str(value)), AttributeNames=["All"]):
                group, body = message["Attributes"]["MessageGroupId"], message["Body"]
                assert body not in flying
                given.setdefault(group, []).append(body)
                flying[body] = group, now + 30, message["ReceiptHandle"]
            for group, bodies in given.items():
                assert left[group][:len(bodies)] == bodies
        elif kind in ("delete", "return") and flying:
            body = sorted(flying)[int(str(value)) % len(flying)]
            group, _, handle = flying.pop(body)
            if kind == "delete":
                clerk.at("q.fifo", "DeleteMessage", ReceiptHandle=handle)
                left[group].remove(body)
            else:
                clerk.at("q.fifo", "ChangeMessageVisibility", ReceiptHandle=handle, VisibilityTimeout=0)
        elif kind == "time":
            clerk.clock.time += int(str(value))
    assert sum(clerk.counts("q.fifo")) == sum(map(len, left.values()))
    clerk.store.close()
