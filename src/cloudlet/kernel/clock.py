"""The only reader of time and of randomness, so that a test can own both."""

import asyncio
import secrets
import time
from typing import Protocol

RANDOM_BYTES = 4096  # drawn at a time


class Clock(Protocol):
    """Time in seconds since the epoch, sleep, and tokens that nobody can guess. `ahead`: how much later it is for what
    waits, since somebody set this clock back (see `store.steadiness`)."""

    ahead: float

    def now(self) -> float:
        """Seconds since the epoch (UTC)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; in a simulation, virtual seconds."""
        ...

    def token(self, length: int = 17) -> str:
        """`length` random lower-case hex digits."""
        ...


def as_uuid(digits: str) -> str:
    """32 hex digits in the way in which UUIDs are written (RFC 9562, section 4)."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class SystemClock:
    """The real one."""

    ahead = 0.0
    _random, _at = "", 0  # digits, and how many of them somebody has had

    def now(self) -> float:
        """Seconds since the epoch (UTC)."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait real seconds."""
        await asyncio.sleep(seconds)

    def token(self, length: int = 17) -> str:
        """`length` random lower-case hex digits from the system's secure source, which is asked for many at a time."""
        token = self._random[self._at:self._at + length]
        self._at += length
        if len(token) == length:
            return token
        self._random, self._at = secrets.token_hex(max(length, RANDOM_BYTES)), 0
        return self.token(length)
