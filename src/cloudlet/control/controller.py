"""What one service contributes to the loops."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cloudlet.control.loop import Reconcile
from cloudlet.store.db import Tx

Port = Literal["networks", "images", "containers", "storages", "disks", "machines"]


@dataclass(frozen=True, slots=True)
class Controller:
    """Reconcilers by kind; per port, the engine names that today's records account for (the sweep destroys the rest);
    per port, the (kind, key) that an engine's event about a name should wake; background workers by name."""

    reconcilers: Mapping[str, Reconcile]
    keeps: Mapping[Port, Callable[[Tx], Iterable[str]]] = field(default_factory=dict)
    wakes: Mapping[Port, Callable[[Tx, str], tuple[str, str] | None]] = field(default_factory=dict)
    workers: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
