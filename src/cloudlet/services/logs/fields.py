"""The fields that a group's events have: those of every event, and those found in messages of JSON."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.logs.groups import requested_group, the_group
from cloudlet.services.logs.service import logs
from cloudlet.services.logs.storage import Place, Scan, Source
from cloudlet.store.db import Tx

EVERYWHERE = ("@ingestionTime", "@log", "@logStream", "@message", "@timestamp")
MINUTE_MS = 60_000
EVENTS_MAX, FIELDS_MAX, DEPTH_MAX = 2000, 200, 20  # looked at; of one event, as on AWS; of one message's nesting

_decode = msgspec.json.Decoder().decode


@logs.read(resources=the_group)
def get_log_group_fields(call: Call, tx: Tx, request: Input) -> Output:
    """The fields of a group's events, each with the share of events (of the latest, where there are many) that have it:
    from eight minutes before to eight after `time` (in seconds), else of the last fifteen."""
    group, time = requested_group(call, tx, request), request.get("time")
    now_ms = int(tx.now * 1000)
    first, last = (now_ms - 15 * MINUTE_MS, now_ms) if time is None else (
        time * 1000 - 8 * MINUTE_MS, time * 1000 + 8 * MINUTE_MS)
    low: Place = (max(first, group.oldest_ms(tx.now), 0),)
    scan = Scan(tx, Source.group(group.id), low, (max(last, 0) + 1,))
    messages = [event[4] for event in islice((event for batch, _ in scan.backward() for event in batch), EVENTS_MAX)]
    counts = Counter(name for message in messages for name in set(islice(_names(message), FIELDS_MAX)))
    shares = {name: round(100 * count / len(messages)) for name, count in counts.items()}
    every = dict.fromkeys(EVERYWHERE if messages else (), 100)
    found = sorted({**shares, **every}.items(), key=lambda field: (-field[1], field[0]))
    return {"logGroupFields": [{"name": name, "percent": percent} for name, percent in found]}


def _names(message: str) -> Iterator[str]:
    if not message.lstrip().startswith("{"):
        return
    try:
        document = _decode(message)
    except (ValueError, RecursionError):
        return
    yield from _leaves(document, "", DEPTH_MAX)


def _leaves(value: Any, name: str, depth: int) -> Iterator[str]:
    """The names of what is neither an object nor an array: `user.id`, `items.0.name`."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None or depth == 0:
        yield name
        return
    for key, item in inside:
        yield from _leaves(item, f"{name}.{key}" if name else str(key), depth - 1)
