"""The loop, in virtual time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudlet.control.loop import Loop, supervise
from cloudlet.control.outcome import Again, Broken, Done, Outcome
from cloudlet.kernel.errors import Busy, declare
from cloudlet.store import queue
from cloudlet.store.db import OutOfSpace, Store
from tests.simulation.virtual import VirtualClock, run


@contextmanager
def store_at(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "db"), VirtualClock())
    yield store
    store.close()


def ask(store: Store, *keys: str, kind: str = "k", after: float = 0.0) -> None:
    with store.tx() as tx:
        for key in keys:
            tx.enqueue(kind, key, after)


def test_a_key_is_stepped_one_at_a_time_and_keys_side_by_side(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        under_way: list[str] = []
        most = steps = 0

        async def step(key: str) -> Outcome:
            nonlocal most, steps
            assert key not in under_way
            under_way.append(key)
            most, steps = max(most, len(under_way)), steps + 1
            await asyncio.sleep(1)
            under_way.remove(key)
            return Done()

        loop = Loop(store, VirtualClock(), {"k": step}, limit=3)
        runner = asyncio.ensure_future(loop.run())
        for _ in range(4):
            ask(store, "a", "b", "c", "d", "e")
            await asyncio.sleep(0.4)
        await asyncio.sleep(10)
        assert most == 3
        assert 10 <= steps <= 20
        assert queue.waiting(store, 9) == []
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)
    with store_at(tmp_path) as store:
        run(main(store))


def test_what_is_asked_during_a_step_is_answered_after_it(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        wanted, seen = 1, []

        async def step(key: str) -> Outcome:
            read = wanted
            await asyncio.sleep(1)
            seen.append(read)
            return Done()

        runner = asyncio.ensure_future(Loop(store, VirtualClock(), {"k": step}).run())
        ask(store, "a")
        await asyncio.sleep(0.5)
        wanted = 2
        ask(store, "a")
        await asyncio.sleep(5)
        assert seen == [1, 2]
        runner.cancel()
    with store_at(tmp_path) as store:
        run(main(store))


def test_busy_keys_do_not_starve_the_others(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        done = []

        async def step(key: str) -> Outcome:
            if key.startswith("slow"):
                await asyncio.sleep(1000)
            done.append(key)
            return Done()

        runner = asyncio.ensure_future(Loop(store, VirtualClock(), {"k": step}, limit=4).run())
        ask(store, "slow1", "slow2", "slow3")
        await asyncio.sleep(1)
        for _ in range(50):  # the slow ones are asked again and again, and are always the first that are due
            ask(store, "slow1", "slow2", "slow3")
        ask(store, *map(str, range(20)))
        await asyncio.sleep(1)
        assert sorted(done, key=int) == list(map(str, range(20)))
        runner.cancel()
    with store_at(tmp_path) as store:
        run(main(store))


def test_again_broken_and_delays(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        times: list[float] = []
        outcomes: list[Outcome] = [Again(5, "waits"), Again(), Broken("no such thing")]
        start = asyncio.get_running_loop().time()

        async def step(key: str) -> Outcome:
            times.append(asyncio.get_running_loop().time() - start)
            return outcomes.pop(0)

        runner = asyncio.ensure_future(Loop(store, VirtualClock(), {"k": step}).run())
        ask(store, "a", after=100)
        await asyncio.sleep(200)
        assert times == pytest.approx([100, 105, 105])
        assert [b.reason for b in queue.broken(store)] == ["no such thing"]
        runner.cancel()
    with store_at(tmp_path) as store:
        run(main(store))


@pytest.mark.parametrize(("error", "shown", "trace"), [
    (Busy("locked"), "Busy: locked", False),
    (declare("SubnetFull", "no address is left")(), "SubnetFull: no address is left", False),
    (KeyError("oops"), "KeyError('oops')", True),
])
def test_failures_are_shown_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception,
                                            shown: str, trace: bool) -> None:
    async def main(store: Store) -> None:
        wrong, calls = True, []

        async def step(key: str) -> Outcome:
            calls.append(key)
            if wrong:
                raise error
            return Done()

        runner = asyncio.ensure_future(Loop(store, VirtualClock(), {"k": step}).run())
        ask(store, "a")
        await asyncio.sleep(100)
        [work] = queue.waiting(store, 9)
        assert (work.why, work.attempts, len(calls)) == (shown, 8, 8)
        wrong = False
        ask(store, "a")
        await asyncio.sleep(1)
        assert queue.waiting(store, 9) == []
        runner.cancel()
    with store_at(tmp_path) as store, caplog.at_level(logging.INFO):
        run(main(store))
    assert any(record.exc_info for record in caplog.records) == trace


def test_work_of_an_unknown_kind_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(store: Store) -> None:
        runner = asyncio.ensure_future(Loop(store, VirtualClock(), {}).run())
        ask(store, "a", kind="from.the.future")
        await asyncio.sleep(1000)
        [work] = queue.waiting(store, 9)
        assert "no loop is responsible for from.the.future" in work.why
        runner.cancel()
    with store_at(tmp_path) as store:
        run(main(store))
    assert not any(record.exc_info for record in caplog.records)


def test_cancelling_cuts_steps_off_and_keeps_their_questions(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        cut: list[str] = []

        async def step(key: str) -> Outcome:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cut.append(key)
                raise
            return Done()

        loop = Loop(store, VirtualClock(), {"k": step})
        runner = asyncio.ensure_future(loop.run())
        ask(store, "a", "b")
        await asyncio.sleep(1)
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)
        assert (cut, loop.busy) == (["a", "b"], {})
        assert [(w.key, w.asked, w.attempts) for w in queue.waiting(store, 9)] == [("a", 1, 0), ("b", 1, 0)]
    with store_at(tmp_path) as store:
        run(main(store))


def test_a_clock_that_is_set_back_delays_nothing(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        clock, times = store.clock, []
        assert isinstance(clock, VirtualClock)

        async def step(key: str) -> Outcome:
            times.append(asyncio.get_running_loop().time())
            return Again(100) if len(times) == 1 else Done()

        runner = asyncio.ensure_future(Loop(store, clock, {"k": step}).run())
        ask(store, "a")
        await asyncio.sleep(10)
        clock.offset -= 86400
        await asyncio.sleep(200)
        assert len(times) == 2
        assert times[1] < 140
        runner.cancel()
    with store_at(tmp_path) as store:
        run(main(store))


def test_a_full_disk_neither_loses_work_nor_makes_the_loop_spin(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(store: Store) -> None:
        calls = 0

        async def step(key: str) -> Outcome:
            nonlocal calls
            calls += 1
            return Done()

        def refuse(*_: object) -> None:
            raise OutOfSpace

        runner = asyncio.ensure_future(Loop(store, VirtualClock(), {"k": step}).run())
        with monkeypatch.context() as patch:
            patch.setattr(queue, "finish", refuse)
            patch.setattr(queue, "fail", refuse)
            ask(store, "a")
            await asyncio.sleep(60)
            assert 10 < calls < 70
            assert len(queue.waiting(store, 9)) == 1
        await asyncio.sleep(5)
        assert queue.waiting(store, 9) == []
        runner.cancel()
    with store_at(tmp_path) as store:
        run(main(store))


def test_workers_are_started_again_later_each_time() -> None:
    async def main() -> None:
        starts: list[float] = []

        async def worker() -> None:
            starts.append(asyncio.get_running_loop().time())
            if len(starts) == 4:
                await asyncio.sleep(100)
            raise Busy("no")

        endless: Callable[[], Awaitable[None]] = worker
        supervisor = asyncio.ensure_future(supervise("w", endless, VirtualClock()))
        await asyncio.sleep(104.2)
        assert starts == pytest.approx([0, 0.5, 1.5, 3.5, 104])  # and then anew, since it ran for a while
        supervisor.cancel()
    run(main())
