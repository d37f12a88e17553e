"""A mail server in memory."""

from collections.abc import Awaitable, Callable

from cloudlet.engines.ports.mail import Letter
from cloudlet.kernel.errors import EngineError


class FakeMail:
    """See `ports.Mail`. Each letter meets the next of `faults`, and once there are none it is taken. `tried` counts."""

    def __init__(self, *faults: EngineError) -> None:
        self.faults, self.taken, self.tried = list(faults), list[Letter](), 0
        self.before: Callable[[], Awaitable[None]] | None = None  # waited for before it answers

    async def send(self, letter: Letter) -> None:
        """See `ports.Mail`."""
        self.tried += 1
        if self.before is not None:
            await self.before()
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(letter)
