"""The only reader of time and of randomness, so that a test can own both."""

import asyncio
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Time in seconds since the epoch, sleep, and tokens that nobody can guess."""

    def now(self) -> float:
        """Seconds since the epoch (UTC)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; in a simulation, virtual seconds."""
        ...

    def token(self, length: int = 17) -> str:
        """`length` random lower-case hex digits."""
        ...


class SystemClock:
    """The real one."""

    def now(self) -> float:
        """Seconds since the epoch (UTC)."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait real seconds."""
        await asyncio.sleep(seconds)

    def token(self, length: int = 17) -> str:
        """`length` random lower-case hex digits from the system's secure source."""
        return secrets.token_hex((length + 1) // 2)[:length]
