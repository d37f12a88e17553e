"""Multi-step verbs that leave nothing half-made: what was done is undone in reverse order unless it is kept."""

import logging
from collections.abc import Awaitable, Callable
from types import TracebackType

from cloudlet.kernel.errors import EngineError

log = logging.getLogger(__name__)


class Undo:
    """`async with Undo() as undo:` … `undo.add(step)` after each step … `undo.keep()` at the end."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], Awaitable[object]]] = []

    def add(self, step: Callable[[], Awaitable[object]]) -> None:
        """What to run, should a later step fail."""
        self._steps.append(step)

    def keep(self) -> None:
        """All steps succeeded: nothing is to be undone."""
        self._steps.clear()

    async def __aenter__(self) -> "Undo":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        for step in reversed(self._steps):
            try:
                await step()
            except (EngineError, OSError) as failed:
                log.warning("while undoing: %s", failed)
