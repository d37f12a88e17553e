"""Live tails: what is put into some groups, second by second, for as long as a client listens.

https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartLiveTail.html
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.logs import pattern, storage
from cloudlet.services.logs.chunks import Event
from cloudlet.services.logs.groups import Group, group_key, named, of_standard_class
from cloudlet.services.logs.service import (
    InvalidParameter,
    LimitExceeded,
    ResourceNotFound,
    SessionTimeout,
    logs,
)
from cloudlet.store.db import Store, Tx

EVERY_S, SESSION_S_MAX = 1.0, 3 * 3600.0
EVENTS_MAX = 500  # in one update; of more, a sample is sent
READ_BYTES_MAX = 4 * 1_048_576  # looked at for one update, so that nobody waits long behind it
SESSIONS_MAX = 15  # of an account in a region

_sessions: WeakKeyDictionary[Store, Counter[str]] = WeakKeyDictionary()


@dataclass(slots=True)
class Tail:
    """A session: whose events it shows, and how far it has read each stream that it knows."""

    groups: list[Group]
    names: tuple[str, ...]
    prefixes: tuple[str, ...]
    wanted: pattern.Pattern | None
    since_ms: int
    polled_ms: int
    read: dict[int, int] = field(default_factory=dict)  # by stream, the sequence number of what comes next

    def poll(self, tx: Tx) -> tuple[list[dict[str, Any]], bool]:
        """What came since the last time, at most EVENTS_MAX; whether there was more."""
        found: list[dict[str, Any]] = []
        left, until, sampled = READ_BYTES_MAX, int(tx.now * 1000), False
        for group in self.groups:
            for stream in storage.streams_since(tx, group.id, self.polled_ms):
                known = self.read.get(stream.id, 0)
                if stream.next_seq == known or not self._shows(stream.name):
                    continue
                events, size, whole = storage.appended(tx, stream.id, known, self.since_ms, left)
                self.read[stream.id], left, sampled = stream.next_seq, left - size, sampled or not whole
                found += [_shown(group, stream.name, event) for event in events
                          if self.wanted is None or self.wanted.matches(event[4])]
        self.polled_ms = until
        found.sort(key=lambda event: event["timestamp"])
        if len(found) <= EVENTS_MAX:
            return found, sampled
        return [found[at * len(found) // EVENTS_MAX] for at in range(EVENTS_MAX)], True

    def _shows(self, stream: str) -> bool:
        return not (self.names or self.prefixes) or stream in self.names or stream.startswith(self.prefixes or ("\0",))


def _resources(call: Call, request: Input) -> list[str]:
    return [call.arn("logs", f"log-group:{named(call, identifier)}:log-stream:")
            for identifier in request["logGroupIdentifiers"]]


@logs.wait(resources=_resources)
async def start_live_tail(call: Call, store: Store, request: Input) -> Output:
    """A session: its start, and an update every second, until the client leaves or three hours have passed."""
    names, prefixes = request.get("logStreamNames") or [], request.get("logStreamNamePrefixes") or []
    if names and prefixes:
        raise InvalidParameter("Cannot specify both logStreamNames and logStreamNamePrefixes.")
    if (names or prefixes) and len(request["logGroupIdentifiers"]) > 1:
        raise InvalidParameter("Log streams can be specified only together with a single log group.")
    if _sessions.setdefault(store, Counter())[call.scope] >= SESSIONS_MAX:
        raise LimitExceeded("The limit of concurrent Live Tail sessions has been reached.")
    with store.tx() as tx:
        now_ms = int(tx.now * 1000)
        tail = Tail(_groups(call, tx, request), tuple(names), tuple(prefixes),
                    pattern.compiled(request.get("logEventFilterPattern") or ""), now_ms, now_ms)
        session = tx.token(32)
    start = {"requestId": call.request_id, "sessionId": session, "logGroupIdentifiers": [
        group.arn for group in tail.groups], "logStreamNames": names, "logStreamNamePrefixes": prefixes,
        "logEventFilterPattern": request.get("logEventFilterPattern", "")}
    return {"responseStream": _events(store, call.scope, start, tail)}


def _groups(call: Call, tx: Tx, request: Input) -> list[Group]:
    found = []
    for identifier in dict.fromkeys(request["logGroupIdentifiers"]):
        group = tx.get(Group, group_key(call.account, call.region, named(call, identifier)))
        if group is None:
            raise ResourceNotFound("The specified log group does not exist.")
        of_standard_class(group, "Live Tail")
        found.append(group)
    return found


async def _events(store: Store, scope: str, start: dict[str, Any], tail: Tail) -> AsyncIterator[dict[str, Any]]:
    open_here = _sessions.setdefault(store, Counter())
    open_here[scope] += 1
    end = store.clock.now() + SESSION_S_MAX
    try:
        yield {"sessionStart": start}
        while store.clock.now() < end:
            await store.clock.sleep(EVERY_S)
            with store.tx() as tx:
                results, sampled = tail.poll(tx)
            yield {"sessionUpdate": {"sessionMetadata": {"sampled": sampled}, "sessionResults": results}}
        raise SessionTimeout("The session has reached its time limit of three hours.")
    finally:
        open_here[scope] -= 1


def _shown(group: Group, stream: str, event: Event) -> dict[str, Any]:
    return {"logGroupIdentifier": group.arn, "logStreamName": stream, "message": event[4], "timestamp": event[0],
            "ingestionTime": event[5]}
