"""Nothing waits longer where the clock is set back, also through a restart, or shorter once it is right again."""

import asyncio
from pathlib import Path

import pytest

from cloudlet.control.loop import IDLE_S, Loop
from cloudlet.store import steadiness
from cloudlet.store.db import Store
from tests.simulation.virtual import EPOCH, VirtualClock, run


class Clock(VirtualClock):
    """It stands still until a test moves it."""

    at = EPOCH

    def now(self) -> float:
        return self.at


def steady(store: Store) -> float:
    with store.tx() as tx:
        return tx.steady


def test_it_goes_on_where_the_clock_went_back(tmp_path: Path) -> None:
    clock = Clock()
    store = Store(str(tmp_path / "db"), clock)
    steadiness.restore(store)
    assert steady(store) == EPOCH
    for back, then in ((7200, EPOCH), (100, EPOCH)):
        clock.at -= back
        steadiness.follow(store, -back)
        assert steady(store) == then
    clock.at += 50
    steadiness.follow(store, 0.0)
    store.close()
    for starts_at, expected in ((EPOCH - 7250, EPOCH + 50), (EPOCH - 10_000, EPOCH + 50), (EPOCH - 3600, EPOCH + 50),
                                (EPOCH + 60, EPOCH + 60)):
        clock = Clock()  # another process, which finds what the last noted
        clock.at = starts_at
        store = Store(str(tmp_path / "db"), clock)
        steadiness.restore(store)
        assert steady(store) == expected
        store.close()


def test_it_is_the_clocks_again_once_that_is_right(tmp_path: Path) -> None:
    clock = Clock()
    store = Store(str(tmp_path / "db"), clock)
    steadiness.follow(store, -7200)
    steadiness.follow(store, 7000)
    assert clock.ahead == 200
    steadiness.follow(store, 7000)
    with store.tx() as tx:
        assert clock.ahead == 0 and tx.find(steadiness.Steadiness) == []
        tx.clear()
    store.close()


@pytest.mark.parametrize(("moves", "ahead"), [
    ((-7200.0,), 7200), ((-7200.0, 7200.0), 0), ((7200.0,), 0), ((-0.5,), 0), ((-7200.0, 3600.0), 3600),
    ((-3600.0, -3600.0), 7200)])
def test_the_loop_notices(tmp_path: Path, moves: tuple[float, ...], ahead: float) -> None:
    async def main() -> None:
        clock = VirtualClock()
        store = Store(str(tmp_path / "db"), clock)
        runner = asyncio.ensure_future(Loop(store, clock, {}).run())
        await asyncio.sleep(10)
        for moved in moves:
            clock.offset += moved
            await asyncio.sleep(200)
        assert abs(clock.ahead - ahead) <= IDLE_S * len(moves)
        before, at = clock.ahead, steady(store)
        await asyncio.sleep(1000)
        assert clock.ahead == before and steady(store) == pytest.approx(at + 1000)
        with store.tx() as tx:
            noted = tx.get(steadiness.Steadiness, "")
            assert (noted is not None) == bool(ahead)
            assert noted is None or tx.steady - noted.seen <= steadiness.NOTED_EVERY_S + IDLE_S
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)
        store.close()
    run(main())
