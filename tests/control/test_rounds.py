"""When a worker that goes its rounds looks."""

import asyncio

from cloudlet.control.rounds import DAY_S, Look, every, every_day
from tests.simulation.virtual import VirtualClock, run


def looks_of(kind: str, for_s: float, takes_s: float = 0) -> list[float]:
    """When it looked, in virtual seconds, the first being the time at which it was started."""
    clock, found = VirtualClock(), []

    async def look() -> None:
        found.append(clock.now())
        await clock.sleep(takes_s)

    async def main() -> None:
        found.append(clock.now())
        workers: dict[str, Look] = {
            "every": every(10, look, clock), "later": every(10, look, clock, at_once=False),
            "daily": every_day(look, clock)}
        worker = asyncio.ensure_future(workers[kind]())
        await clock.sleep(for_s)
        worker.cancel()
    run(main())
    return found


def since(began: float, *looks: float) -> list[int]:
    return [round(at - began) for at in looks]


def test_it_looks_and_rests() -> None:
    assert since(*looks_of("every", 35)) == [0, 10, 20, 30]
    assert since(*looks_of("every", 35, takes_s=5)) == [0, 15, 30]


def test_it_may_begin_with_a_rest() -> None:
    assert since(*looks_of("later", 35)) == [10, 20, 30]


def test_days_begin_at_midnight_of_utc() -> None:
    began, first, *later = looks_of("daily", 3 * DAY_S)
    assert first == began and [round(at % DAY_S) for at in later] == [1, 1, 1]
