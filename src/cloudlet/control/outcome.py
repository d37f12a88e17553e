"""How a step ends, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """Wanted and observed agree; nothing more until somebody asks."""


@dataclass(frozen=True, slots=True)
class Again:
    """Look once more after some seconds. `why` is the sentence `cloudlet status` shows meanwhile."""

    after: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """This will not come right by trying again; `reason` is what AWS would show. Looked at again on the next write."""

    reason: str


Outcome = Done | Again | Broken
