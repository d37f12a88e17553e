"""Answers that go on: events framed as `application/vnd.amazon.eventstream`, one by one as they happen.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
"""

import struct
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
from botocore.model import OperationModel, Shape, StructureShape

from cloudlet.kernel.errors import AwsError

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING, _TIMESTAMP, _TRUE, _FALSE, _INTEGER, _LONG, _BYTES = 7, 8, 0, 1, 4, 5, 6

Encode = Callable[[Shape], Callable[[Any], bytes]]  # what turns a shape's value into a payload
Events = Callable[[Any], AsyncIterator[bytes]]


def frame(headers: Mapping[str, tuple[int, Any]], payload: bytes) -> bytes:
    """One message: lengths, their checksum, typed headers, payload, checksum of all."""
    head = b"".join(_header(name, kind, value) for name, (kind, value) in headers.items())
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, kind: int, value: Any) -> bytes:
    start = bytes([len(name)]) + name.encode() + bytes([kind])
    match kind:
        case 7 | 6:
            data = value.encode() if isinstance(value, str) else value
            return start + struct.pack(">H", len(data)) + data
        case 8 | 5:
            return start + struct.pack(">q", value)
        case 4:
            return start + struct.pack(">i", value)
    return start


def _typed(shape: Shape, value: Any) -> tuple[int, Any]:
    match shape.type_name:
        case "timestamp":
            return _TIMESTAMP, round(value * 1000)
        case "boolean":
            return (_TRUE if value else _FALSE), None
        case "integer":
            return _INTEGER, value
        case "long":
            return _LONG, value
        case "blob":
            return _BYTES, value
    return _STRING, value


def _event(shape: StructureShape, encode: Encode, content_type: str) -> Callable[[str, Any], bytes]:
    """The frame of one kind of event: its headers, and as payload one member or what is left of the structure."""
    members = shape.members
    in_headers = {name: member for name, member in members.items() if member.serialization.get("eventheader")}
    payload = next((name for name, member in members.items() if member.serialization.get("eventpayload")), None)
    raw = payload is not None and members[payload].type_name in ("blob", "string")
    write = encode(members[payload] if payload else shape) if not raw else None

    def event(name: str, value: Any) -> bytes:
        headers = {":message-type": (_STRING, "event"), ":event-type": (_STRING, name)}
        for key, member in in_headers.items():
            if value.get(key) is not None:
                headers[key] = _typed(member, value[key])
        body: Any = value.get(payload) if payload else {key: v for key, v in value.items() if key not in in_headers}
        if body is None or (payload is None and not body and not members):
            return frame(headers, b"")
        headers[":content-type"] = (_STRING, "application/octet-stream" if raw else content_type)
        if write:
            return frame(headers, write(body))
        return frame(headers, body.encode() if isinstance(body, str) else body)
    return event


def compile_events(operation: OperationModel, encode: Encode, content_type: str, initial: bool) -> Events | None:
    """What turns an answer whose streaming member is an async iterator of `{event: members}` into frames.

    None where the operation answers no events. `initial`: the other members come first, as an event of their own (the
    RPC protocols). An AwsError raised by the iterator ends the stream as an exception event.
    """
    if not operation.has_event_stream_output:
        return None
    output: StructureShape = operation.output_shape
    name = output.event_stream_name
    kinds = {key: _event(member, encode, content_type) for key, member in output.members[name].members.items()
             if not member.metadata.get("exception")}
    rest = encode(output) if initial else None

    async def events(answer: Any) -> AsyncIterator[bytes]:
        if rest:
            first = {key: value for key, value in answer.items() if key != name}
            yield frame({":message-type": (_STRING, "event"), ":event-type": (_STRING, "initial-response"),
                         ":content-type": (_STRING, content_type)}, rest(first))
        try:
            async for happened in answer[name]:
                for kind, members in happened.items():
                    yield kinds[kind](kind, members)
        except AwsError as error:
            yield frame({":message-type": (_STRING, "exception"), ":exception-type": (_STRING, error.shape_name
                         or error.code), ":content-type": (_STRING, "application/json")},
                        msgspec.json.encode({"message": error.message}))
    return events
