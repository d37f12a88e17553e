"""Log streams: made, described, deleted."""

import re
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.logs import storage
from cloudlet.services.logs.groups import Group, requested_group, requested_name, the_group
from cloudlet.services.logs.service import InvalidParameter, ResourceAlreadyExists, ResourceNotFound, logs
from cloudlet.services.logs.storage import Stream
from cloudlet.store.db import Tx

DESCRIBE_MAX = 50
_TOKEN = re.compile(r"p(\d{1,9})")
_NAME = re.compile(r"[^:*]{1,512}")


def the_stream(call: Call, request: Input) -> list[str]:
    """The resource of operations on one stream."""
    return [call.arn("logs", f"log-group:{requested_name(call, request)}:log-stream:{request['logStreamName']}")]


def find_stream(tx: Tx, group: Group, name: str) -> Stream:
    """A group's stream. Raises ResourceNotFound."""
    stream = storage.find_stream(tx, group.id, name)
    if stream is None:
        raise ResourceNotFound("The specified log stream does not exist.")
    return stream


def create_stream(tx: Tx, group: Group, name: str) -> None:
    """An empty stream. Raises ResourceAlreadyExists, InvalidParameter for a name that no stream may have."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter(f"1 validation error detected: Value '{name}' at 'logStreamName' failed to satisfy"
                               " constraint: Member must satisfy regular expression pattern: [^:*]*")
    if storage.find_stream(tx, group.id, name) is not None:
        raise ResourceAlreadyExists("The specified log stream already exists")
    storage.create_stream(tx, group.id, name)


@logs.write(resources=the_group)
def create_log_stream(call: Call, tx: Tx, request: Input) -> Output:
    """Makes an empty stream in a group."""
    create_stream(tx, requested_group(call, tx, request), request["logStreamName"])


@logs.write(resources=the_stream)
def delete_log_stream(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a stream and its events."""
    group = requested_group(call, tx, request)
    storage.delete_stream(tx, find_stream(tx, group, request["logStreamName"]).id)


@logs.read(resources=the_group)
def describe_log_streams(call: Call, tx: Tx, request: Input) -> Output:
    """A group's streams in order of name, or of the time of their last event: a page, as there may be very many."""
    prefix, by_time = request.get("logStreamNamePrefix") or "", request.get("orderBy") == "LastEventTime"
    if prefix and by_time:
        raise InvalidParameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
    group = requested_group(call, tx, request)
    start, limit = _start_of(request.get("nextToken")), request.get("limit") or DESCRIBE_MAX
    streams = storage.find_streams(tx, group.id, prefix=prefix, by_time=by_time,
                                   descending=bool(request.get("descending")), offset=start, limit=limit + 1)
    return {"logStreams": [_described(group, stream) for stream in streams[:limit]],
            "nextToken": f"p{start + limit}" if len(streams) > limit else None}


def _start_of(token: str | None) -> int:
    """How many streams the pages before a token have shown."""
    if token is None:
        return 0
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise InvalidParameter("The specified nextToken is invalid.")
    return int(found[1])


def _described(group: Group, stream: Stream) -> dict[str, Any]:
    """`storedBytes` of a stream is always zero, as on AWS since 2019."""
    shown = {"logStreamName": stream.name, "creationTime": stream.created_ms, "storedBytes": 0,
             "arn": f"{group.arn}:log-stream:{stream.name}", "uploadSequenceToken": f"{stream.next_seq:056d}"}
    if stream.last_ms is not None:
        shown |= {"firstEventTimestamp": stream.first_ms, "lastEventTimestamp": stream.last_ms,
                  "lastIngestionTime": stream.ingested_ms}
    return shown
