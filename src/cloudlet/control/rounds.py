"""Workers that look at something over and over, since nothing tells of it."""

from collections.abc import Awaitable, Callable

from cloudlet.kernel.clock import Clock

Look = Callable[[], Awaitable[None]]
DAY_S = 86_400


def every(seconds: float, look: Look, clock: Clock, *, at_once: bool = True) -> Look:
    """A worker that looks now, unless it is not to begin `at_once`, and again so long after each look."""
    async def rounds() -> None:
        if at_once:
            await look()
        while True:
            await clock.sleep(seconds)
            await look()
    return rounds


def every_day(look: Look, clock: Clock) -> Look:
    """A worker that looks now and just after each midnight of UTC."""
    async def rounds() -> None:
        while True:
            await look()
            await clock.sleep(DAY_S - clock.now() % DAY_S + 1)
    return rounds
