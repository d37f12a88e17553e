"""The work queue: nothing asked is ever lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlet.store import queue
from cloudlet.store.db import Store
from tests.simulation.virtual import EPOCH


class Clock:
    time, ahead = EPOCH, 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def token(self, length: int = 17) -> str:
        raise NotImplementedError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    made = Store(str(tmp_path / "db"), clock)
    yield made
    made.close()


def ask(store: Store, key: str, after: float = 0.0) -> None:
    with store.tx() as tx:
        tx.enqueue("k", key, after)


def only(store: Store) -> queue.Work:
    [work] = queue.waiting(store, 9)
    return work


def test_one_row_a_key_and_the_earliest_counts(store: Store) -> None:
    ask(store, "a", 10)
    ask(store, "a", 5)
    ask(store, "a", 20)
    assert only(store) == queue.Work("k", "a", EPOCH + 5, 3, 0, "")


def test_finish_keeps_what_was_asked_meanwhile(store: Store) -> None:
    ask(store, "a")
    step = only(store)
    ask(store, "a")
    queue.finish(store, step)
    assert only(store).asked == 2
    queue.finish(store, only(store))
    assert queue.waiting(store, 9) == []


@pytest.mark.parametrize("meanwhile", [False, True])
def test_postpone_looks_at_once_where_asked_meanwhile(store: Store, clock: Clock, meanwhile: bool) -> None:
    ask(store, "a")
    step = only(store)
    if meanwhile:
        ask(store, "a")
    clock.time += 1
    queue.postpone(store, step, 30, "waits")
    assert (only(store).due - clock.time, only(store).why) == (0 if meanwhile else 30, "waits")


def test_failures_back_off_and_a_new_wish_does_not_wait_for_them(store: Store, clock: Clock) -> None:
    ask(store, "a")
    delays = []
    for _ in range(10):
        queue.fail(store, only(store), "no")
        delays.append(only(store).due - clock.time)
    assert delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert only(store).attempts == 10
    step = only(store)
    ask(store, "a")
    queue.fail(store, step, "no")
    assert only(store).due - clock.time == 0.5
    ask(store, "a")
    assert only(store).due == clock.time
    queue.postpone(store, only(store), 1, "")
    assert only(store).attempts == 0


def test_what_broke_is_on_show_until_the_next_step_ends(store: Store) -> None:
    ask(store, "a")
    queue.finish(store, only(store), broken="no such subnet")
    assert queue.waiting(store, 9) == []
    assert [(b.key, b.at, b.reason) for b in queue.broken(store)] == [("a", EPOCH, "no such subnet")]
    ask(store, "a")
    assert queue.broken(store)
    queue.finish(store, only(store))
    assert queue.broken(store) == []


def test_due_skips_the_busy_and_says_when_to_look_again(store: Store) -> None:
    for n in range(5):
        ask(store, str(n), n - 4)
    ask(store, "later", 7)
    busy = {("k", "0"), ("k", "1")}
    found, then = queue.due(store, busy, 2)
    assert ([w.key for w in found], then) == (["2", "3"], None)
    found, then = queue.due(store, busy, 9)
    assert ([w.key for w in found], then) == (["2", "3", "4"], EPOCH + 7)
    assert queue.due(store, busy, 0) == ([], None)
    assert queue.due(store, {*busy, ("k", "later")}, 9)[1] is None


def test_a_clock_that_was_set_back_delays_nothing(store: Store, clock: Clock) -> None:
    ask(store, "a", 10)
    clock.time, clock.ahead = clock.time - 100, 100.0
    assert only(store).due == EPOCH - 90 and queue.due(store, set(), 1) == ([], EPOCH + 10)
    clock.time += 11
    assert [work.key for work in queue.due(store, set(), 1)[0]] == ["a"]
