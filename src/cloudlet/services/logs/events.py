"""Log events: put in batches, read along one stream in both directions, filtered across a group."""

import re
from bisect import bisect_left, bisect_right
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.logs import pattern, storage
from cloudlet.services.logs.chunks import Event
from cloudlet.services.logs.groups import DAY_MS, STANDARD, Group, requested_group, the_group
from cloudlet.services.logs.service import InvalidParameter, logs
from cloudlet.services.logs.storage import EVENT_OVERHEAD_BYTES, Place, Scan, Source, event_id, place_of
from cloudlet.services.logs.streams import find_stream, the_stream
from cloudlet.store.db import Tx

BATCH_BYTES_MAX, SPAN_MS_MAX = 1_048_576, 86_400_000
OLDEST_MS, NEWEST_MS = 14 * DAY_MS, 2 * 3_600_000
PAGE_EVENTS_MAX, PAGE_BYTES_MAX = 10_000, 1_048_576
SCAN_BYTES_MAX = 8 * 1_048_576  # looked at for one page of FilterLogEvents, so that nobody waits long behind it
TIME_MAX_MS = 1 << 53
_TOKEN = re.compile(r"([fb])/(\d{1,60})(?:/s)?")


@logs.write(resources=the_stream)
def put_log_events(call: Call, tx: Tx, request: Input) -> Output:
    """Adds a batch to a stream. Events that are too old or too new are left out and reported; sequence tokens are
    ignored, as AWS does since 2023."""
    group = requested_group(call, tx, request)
    stream = find_stream(tx, group, request["logStreamName"])
    times = [event["timestamp"] for event in request["logEvents"]]
    messages = [event["message"] for event in request["logEvents"]]
    _check_batch(times, messages)
    first, end, rejected = _sifted(times, int(tx.now * 1000), group)
    if first < end and times[end - 1] - times[first] > SPAN_MS_MAX:
        raise InvalidParameter("The batch of log events in a single PutLogEvents request cannot span more than 24"
                               " hours.")
    accepted = list(zip(times[first:end], messages[first:end], strict=True))
    answer: dict[str, Any] = {"nextSequenceToken": f"{storage.append(tx, group.id, stream, accepted):056d}"}
    return {**answer, "rejectedLogEventsInfo": rejected} if rejected else answer


def _check_batch(times: list[int], messages: list[str]) -> None:
    size = len("".join(messages).encode()) + EVENT_OVERHEAD_BYTES * len(messages)
    if size > BATCH_BYTES_MAX:
        raise InvalidParameter(f"Upload too large: {size} bytes exceeds limit of {BATCH_BYTES_MAX}")
    if times != sorted(times):
        raise InvalidParameter("Log events in a single PutLogEvents request must be in chronological order.")


def _sifted(times: list[int], now_ms: int, group: Group) -> tuple[int, int, dict[str, int]]:
    """Where the events that are accepted begin and end, and what is said of the others."""
    expired, too_old = bisect_left(times, group.oldest_ms(now_ms / 1000)), bisect_left(times, now_ms - OLDEST_MS)
    not_too_new = bisect_right(times, now_ms + NEWEST_MS)
    rejected = {}
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired:
        rejected["expiredLogEventEndIndex"] = expired
    if not_too_new < len(times):
        rejected["tooNewLogEventStartIndex"] = not_too_new
    return max(expired, too_old), not_too_new, rejected


@logs.read(resources=the_stream)
def get_log_events(call: Call, tx: Tx, request: Input) -> Output:
    """A page of one stream, in order of time. Its tokens go on from either end, and at an end they stay the same."""
    group = requested_group(call, tx, request)
    _check_class(group)
    stream = find_stream(tx, group, request["logStreamName"])
    start = max(_time(request.get("startTime"), 0), group.oldest_ms(tx.now))
    low: Place = (start,)
    high: Place = (_time(request.get("endTime"), TIME_MAX_MS),)
    forward, token = bool(request.get("startFromHead")), _token(request.get("nextToken"))
    if token is not None:
        forward = token[0] == "f"
        low, high = (max(low, token[1]), high) if forward else (low, min(high, token[1]))
    scan = Scan(tx, Source.streams([stream.id]), low, high)
    page, _ = _page(scan, forward, request.get("limit") or PAGE_EVENTS_MAX, SCAN_BYTES_MAX)
    if not forward:
        page.reverse()
    edge = event_id(token[1] if token is not None else low)
    return {"events": [{"timestamp": event[0], "message": event[4], "ingestionTime": event[5]} for event in page],
            "nextForwardToken": f"f/{event_id(page[-1][:4]) + 1 if page else edge:056d}/s",
            "nextBackwardToken": f"b/{event_id(page[0][:4]) if page else edge:056d}/s"}


@logs.read(resources=the_group)
def filter_log_events(call: Call, tx: Tx, request: Input) -> Output:
    """The events of a group, or of some of its streams, that match a pattern, in order of time.

    A page may be short or empty and still carry a token: it looks at a limited amount of text, as on AWS.
    """
    group = requested_group(call, tx, request)
    _check_class(group)
    low: Place = (max(_time(request.get("startTime"), 0), group.oldest_ms(tx.now)),)
    high: Place = (_time(request.get("endTime"), TIME_MAX_MS) + 1,)
    forward, token = request.get("startFromHead", True), _token(request.get("nextToken"))
    if token is not None:
        forward = token[0] == "f"
        low, high = (max(low, token[1]), high) if forward else (low, min(high, token[1]))
    wanted = pattern.compiled(request.get("filterPattern") or "")
    matches, needles, cost = (wanted.matches, wanted.needles, wanted.cost) if wanted else (None, (), 1)
    scan = Scan(tx, _source(tx, group, request), low, high, matches, needles)
    page, rest = _page(scan, forward, request.get("limit") or PAGE_EVENTS_MAX, SCAN_BYTES_MAX // cost)
    names = {stream: storage.stream_name(tx, stream) for stream in {event[1] for event in page}}
    return {"searchedLogStreams": [], "events": [
        {"logStreamName": names[event[1]], "timestamp": event[0], "message": event[4], "ingestionTime": event[5],
         "eventId": f"{event_id(event[:4]):056d}"} for event in page],
        "nextToken": None if rest is None else f"{'f' if forward else 'b'}/{event_id(rest):056d}"}


def _check_class(group: Group) -> None:
    if group.log_class != STANDARD:
        raise InvalidParameter(f"Log events of the log class {group.log_class} can be read by CloudWatch Logs Insights"
                               " only.")


def _source(tx: Tx, group: Group, request: Input) -> Source:
    """The streams that a request chooses; without a choice the whole group."""
    names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
    if names and prefix:
        raise InvalidParameter("Cannot specify both logStreamNames and logStreamNamePrefix.")
    if names:
        return Source.streams([find_stream(tx, group, name).id for name in names])
    return Source.prefix(group.id, prefix) if prefix else Source.group(group.id)


def _time(value: int | None, default: int) -> int:
    return default if value is None else max(0, min(value, TIME_MAX_MS))


def _token(text: str | None) -> tuple[str, Place] | None:
    if text is None:
        return None
    found = _TOKEN.fullmatch(text)
    if found is None:
        raise InvalidParameter("The specified nextToken is invalid.")
    place = place_of(int(found[2]))
    return found[1], (min(place[0], TIME_MAX_MS), *place[1:])


def _page(scan: Scan, forward: bool, limit: int, budget: int) -> tuple[list[Event], Place | None]:
    """The first events within the limits of a page, and the place to go on from (None: there is nothing more).

    The place is a low bound going forward and a high one going backward. The page also ends when `budget` bytes were
    looked at, though only at a place other than where it began, or no reader would ever get on.
    """
    page: list[Event] = []
    size = 0
    for batch, bound in scan.forward() if forward else scan.backward():
        for event in batch:
            size += len(event[4].encode()) + EVENT_OVERHEAD_BYTES
            if len(page) == limit or (page and size > PAGE_BYTES_MAX):
                return page, event[:4] if forward else page[-1][:4]
            page.append(event)
        if bound is not None and scan.bytes >= budget:
            edge = (bound,) if forward else (bound + 1,)
            moved = event_id(edge) - event_id(scan.low) if forward else event_id(scan.high) - event_id(edge)
            if moved > 0:
                return page, edge
    return page, None
