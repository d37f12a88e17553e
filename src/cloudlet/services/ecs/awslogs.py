"""The awslogs driver: containers' output into CloudWatch Logs, each line once, whatever dies in between.

How far a container's output was shipped is stored in the transaction that appends its lines, and a chunk is appended
only where the stored position is still the one it was read from. So any number of readers may race, and any crash
loses nothing and doubles nothing. Lines of an event that may go on are stored with the position until it ends.
"""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from cloudlet.engines.ports import Containers, LogChunk
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import AwsError, Busy, EngineError
from cloudlet.kernel.names import Installation
from cloudlet.services import logs
from cloudlet.services.ecs.container_spec import container_name
from cloudlet.services.ecs.log_events import Event, Unfinished, beginning, joined
from cloudlet.services.ecs.records import Definition, LogPosition, Task
from cloudlet.store.db import OutOfSpace, Store, Tx

log = logging.getLogger(__name__)

TICK_S = 0.1  # how often a container that just spoke is read
QUIET_S = 0.2  # how often one that is silent is: a whole number of ticks
STILL_S = 1.0  # how often one that has been silent for long is: hundreds of idle tasks should cost next to nothing
HOT_S = 5.0  # how long after its last line a container counts as speaking
WARM_S = 60.0  # … and how long as one that may speak again soon
LINES_MAX, MATCHED_MAX = 5000, 500  # lines read and appended at once; the same where each is matched with a pattern
DRAIN_AGAIN_S, DRAIN_S_MAX = 0.01, 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A container whose output goes to a log stream. `key` is that of its LogPosition; `first` the regular expression
    of an event's first line, "" where each line is an event."""

    key: str
    container: str  # the engine's name
    account: str
    region: str
    group: str
    stream: str
    create_group: bool
    first: str = ""


def targets(installation: Installation, task: Task, definition: Definition) -> Iterator[Target]:
    """The containers of a task that use awslogs."""
    for position, container in enumerate(definition.containers):
        options = (container.get("logConfiguration") or {}).get("options") or {}
        if options.get("awslogs-group"):
            yield Target(f"{task.key}/{container['name']}", container_name(installation, task, position), task.account,
                         options["awslogs-region"], options["awslogs-group"],
                         f"{options['awslogs-stream-prefix']}/{container['name']}/{task.id}",
                         options.get("awslogs-create-group") == "true", beginning(options))


def prepare(tx: Tx, target: Target) -> None:
    """Makes the stream, and the group where asked. Raises AwsError where the group is missing."""
    logs.ensure_stream(tx, target.account, target.region, target.group, target.stream,
                       create_group=target.create_group)


@dataclass(slots=True)
class Tail:
    """A container that is followed: `position` as last stored, when to look next, and when it last spoke; the event
    that was `unfinished` then."""

    target: Target
    position: int
    unfinished: Unfinished | None = None
    due: float = 0.0
    spoke: float = 0.0


class Shipper:
    """Follows containers and appends what they say. What it remembers is only a hint: the store knows."""

    def __init__(self, store: Store, containers: Containers, installation: Installation, clock: Clock) -> None:
        self._store, self._containers, self._installation, self._clock = store, containers, installation, clock
        self._tails: dict[str, Tail] = {}
        self._more = asyncio.Event()

    def follow(self, target: Target) -> None:
        """From now on this container's output is shipped soon after it is written."""
        if target.key not in self._tails:
            self._tails[target.key] = self._tail(target)
            self._more.set()

    async def drain(self, target: Target) -> None:
        """Ships all there is of a container that has ended. Raises Busy where the end of its log does not come."""
        tail = self._tails.get(target.key) or self._tail(target)
        deadline = self._clock.now() + DRAIN_S_MAX
        while True:
            before = tail.position
            if await self._ship(tail):
                return
            if self._clock.now() > deadline:
                raise Busy(f"the log of {target.container} does not end")
            # Always lets others run, and waits where the engine has not seen the end of the container yet.
            await self._clock.sleep(DRAIN_AGAIN_S if tail.position == before else 0.0)

    def leave(self, target: Target) -> None:
        """There is nothing to follow any more."""
        self._tails.pop(target.key, None)

    async def run(self) -> None:
        """The worker: reads whoever is due, over and over. A silent container costs one look at its log's size."""
        self._adopt()
        while True:
            if not self._tails:
                self._more.clear()
                await self._more.wait()
            now = self._clock.now()
            for tail in [tail for tail in self._tails.values() if tail.due <= now]:
                await self._look(tail, now)
            await self._clock.sleep(TICK_S)

    async def _look(self, tail: Tail, now: float) -> None:
        before = tail.position
        try:
            await self._ship(tail)
        except (EngineError, OutOfSpace) as error:  # what could not be stored is read again
            log.debug("the log of %s: %s", tail.target.container, error)
        if tail.position != before:
            tail.spoke = now
        silent_s = now - tail.spoke
        if silent_s < HOT_S:
            tail.due = now
        else:
            tail.due = now + (QUIET_S if silent_s < WARM_S else STILL_S) - TICK_S / 2

    async def _ship(self, tail: Tail) -> bool:
        """One chunk; whether it was the last there will ever be."""
        position = tail.position  # not what it is after the wait: a drain may share this tail
        most = MATCHED_MAX if tail.target.first else LINES_MAX
        chunk = await self._containers.read_log(tail.target.container, position, most)
        waits = tail.unfinished
        if chunk.next_offset != position or (waits and (chunk.whole or waits.is_due(self._clock.now()))):
            stored = self._append(tail.target, position, chunk)
            tail.position, tail.unfinished = stored.offset, unfinished_of(stored)
            return chunk.whole and stored.offset == chunk.next_offset
        return chunk.whole

    def _append(self, target: Target, position: int, chunk: LogChunk) -> LogPosition:
        """Lines and position in one transaction, unless another reader was quicker; the position that then holds."""
        with self._store.tx() as tx:
            if tx.get(Task, target.key.rpartition("/")[0]) is None:  # forgotten by a reset, while it still ran
                self.leave(target)
                return LogPosition(target.key, chunk.next_offset)
            stored = tx.get(LogPosition, target.key) or LogPosition(target.key, 0)
            if stored.offset != position:
                return stored
            events, left = self._events(target, stored, chunk)
            try:  # with the stream made anew where a power cut took it
                logs.ensure_stream(tx, target.account, target.region, target.group, target.stream, create_group=False)
                logs.append(tx, target.account, target.region, target.group, target.stream, events)
            except OutOfSpace:
                raise
            except AwsError as error:  # The group was deleted under us: awslogs drops the lines, too.
                log.warning("%d events of %s dropped: %s", len(events), target.stream, error)
            changed = LogPosition(target.key, chunk.next_offset, left.text if left else "", left.since if left else 0.0)
            tx.put(changed)
        return changed

    def _events(self, target: Target, stored: LogPosition, chunk: LogChunk) -> tuple[list[Event], Unfinished | None]:
        """What a chunk's lines, after those that wait, are as events; and what waits then."""
        if not target.first:
            return [(int(line.timestamp * 1000), line.text) for line in chunk.lines], None
        return joined(target.first, unfinished_of(stored), chunk.lines, self._clock.now(), ended=chunk.whole)

    def _tail(self, target: Target) -> Tail:
        with self._store.tx() as tx:
            return self._tail_in(tx, target)

    @staticmethod
    def _tail_in(tx: Tx, target: Target) -> Tail:
        stored = tx.get(LogPosition, target.key) or LogPosition(target.key, 0)
        return Tail(target, stored.offset, unfinished_of(stored))

    def _adopt(self) -> None:
        """Follows every container that ran when we last stopped."""
        with self._store.tx() as tx:
            for task in tx.find(Task):
                definition = tx.get(Definition, task.definition) if task.status != "STOPPED" else None
                if definition is None or not any(container.runtime_id for container in task.containers):
                    continue
                for target in targets(self._installation, task, definition):
                    self._tails.setdefault(target.key, self._tail_in(tx, target))


def unfinished_of(stored: LogPosition) -> Unfinished | None:
    """The event that was not whole at a position."""
    return Unfinished(stored.since, stored.unfinished) if stored.unfinished else None


def forget(tx: Tx, task: Task) -> None:
    """Removes the positions of a task whose containers are gone."""
    for container in task.containers:
        tx.delete(LogPosition, f"{task.key}/{container.name}")
