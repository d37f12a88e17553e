"""Both directions of every operation, against botocore's own client code: what its serializers write we read, what we
write its parsers read, in every protocol that a service speaks."""

import asyncio
import copy
import json
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.exceptions import EventStreamError
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from cloudlet.kernel import model
from cloudlet.kernel.http import Body, Request, Response
from cloudlet.kernel.service import Service
from cloudlet.wire.protocol import Message, Protocol
from cloudlet.wire.route import speak
from tests.wire.shapes import SERVICES, Values, from_botocore, to_botocore

SPOKEN = [(name, protocol) for name in SERVICES
          for protocol in Service(name, protocols=("query",) if name == "sqs" else ()).protocols]
SAMPLES = 4
REQUEST_ID = "00000000-0000-0000-0000-000000000000"


async def nothing() -> Any:
    return
    yield


@cache
def protocol_of(name: str, protocol: str) -> Protocol:
    return speak(Service(name, protocols=("query",) if name == "sqs" else ()), protocol)


@cache
def client_model(name: str, protocol: str) -> ServiceModel:
    """The model as that protocol's clients have it: those of SQS's query form know names that today's model lacks."""
    if (name, protocol) != ("sqs", "query"):
        return protocol_of(name, protocol).service.model
    document = copy.deepcopy(model._document("sqs", "service-2"))
    assert document is not None
    model._merge(document, model._patches()["sqs"])
    for operation in document["operations"].values():
        if "output" in operation:
            operation["output"]["resultWrapper"] = operation["name"] + "Result"

    def rename(node: Any) -> None:
        if isinstance(node, dict):
            if "queryName" in node:
                node["locationName"] = node.pop("queryName")
            for value in node.values():
                rename(value)
    rename(document["shapes"])
    return ServiceModel(document, "sqs")


def empties(protocol: str) -> bool:
    return protocol in ("json", "rest-json", "smithy-rpc-v2-cbor")


def sent(protocol: Protocol, operation: OperationModel, value: dict[str, Any], *, whole: bool = True) -> Message:
    """What a client that passes `value` sends. Not `whole`: something may be missing, so that it means another one."""
    shape = operation.input_shape
    serialized = create_serializer(protocol.name, False).serialize_to_request(
        to_botocore(shape, value) if shape else {}, operation)
    serialized["context"] = {}
    prepare_request_dict(serialized, "http://localhost:4566")
    prepared = create_request_object(serialized).prepare()
    body = prepared.body or b""
    body = body.encode() if isinstance(body, str) else bytes(body)
    _, _, path, query, _ = urlsplit(prepared.url)
    headers = {name.lower(): text.decode() if isinstance(text, bytes) else text
               for name, text in prepared.headers.items()}
    request = Request(prepared.method, path, query, headers, Body(nothing()))
    located = protocol.locate(request, protocol.path(request), body)
    assert located.name == operation.name or not whole
    return Message(request, body, located.labels, located.parameters)


def received(protocol: Protocol, operation: OperationModel, response: Response) -> Any:
    """What a client makes of a response."""
    raw = {"status_code": response.status, "headers": HeadersDict(response.headers), "body": response.body,
           "context": {"operation_name": operation.name}}
    shape = operation.output_shape
    payload = shape.serialization.get("payload") if shape else None
    if shape and payload and shape.members[payload].type_name == "blob":
        raw["body"] = FileBody(response.body)
    parsed = create_parser(protocol.name).parse(raw, shape)
    named = parsed.pop("ResponseMetadata", {}).get("RequestId")
    assert named or response.headers["x-amzn-requestid"] == REQUEST_ID, "an answer names its request"
    return from_botocore(parsed)


class FileBody:
    """A streaming body, as urllib3 hands it over."""

    def __init__(self, data: Any) -> None:
        self.data = data


def names_of(protocol: Protocol) -> list[str]:
    """Every operation but those of S3 that look like another: four deprecated ones, and one told apart by its host."""
    model = protocol.service.model
    return [name for name in model.operation_names if protocol.service.name != "s3"
            or not (name == "ListDirectoryBuckets" or model.operation_model(name).deprecated)]


@pytest.mark.parametrize(("name", "protocol"), SPOKEN)
def test_requests(name: str, protocol: str) -> None:
    ours, wrong = protocol_of(name, protocol), []
    for operation_name in names_of(ours):
        operation = client_model(name, protocol).operation_model(operation_name)
        parse = ours.compile_parser(ours.service.model.operation_model(operation_name))
        for sample in range(SAMPLES):
            values = Values(f"{name} {protocol} {operation_name} {sample}", empties(protocol))
            value = values.of(operation.input_shape) if operation.input_shape else {}
            got = parse(sent(ours, operation, value))
            if "ContentLength" not in value:
                got.pop("ContentLength", None)  # HTTP says it anyway
            if got != value:
                wrong.append((operation_name, value, got))
    assert not wrong, json.dumps(wrong[:3], default=repr)


@pytest.mark.parametrize(("name", "protocol"), SPOKEN)
def test_responses(name: str, protocol: str) -> None:
    ours, wrong = protocol_of(name, protocol), []
    for operation_name in names_of(ours):
        operation = client_model(name, protocol).operation_model(operation_name)
        if operation.has_event_stream_output or operation_name == "GetBucketLocation":
            continue
        print_ = ours.compile_printer(ours.service.model.operation_model(operation_name))
        for sample in range(SAMPLES):
            values = Values(f"{name} {protocol} {operation_name} {sample} out", empties(protocol))
            value = values.of(operation.output_shape) if operation.output_shape else {}
            got = received(ours, operation, print_(value, REQUEST_ID))
            got = {key: item.data if isinstance(item, FileBody) else item for key, item in got.items()}
            if dropped(got) != dropped(value):
                wrong.append((operation_name, value, got))
    assert not wrong, json.dumps(wrong[:3], default=repr)


def dropped(value: Any) -> Any:
    """Without empty maps: botocore makes one of headers that are not there."""
    return {key: item for key, item in value.items() if item != {}}


@pytest.mark.parametrize(("name", "protocol"), SPOKEN)
def test_errors(name: str, protocol: str) -> None:
    ours = protocol_of(name, protocol)
    client = client_model(name, protocol)
    for shape in client.error_shapes:
        error = ours.service.error(shape.name)
        members = {key: value for key, value in Values(f"{name} {shape.name}", False).of(shape).items()
                   if key.lower() not in ("message", "code")}
        response = ours.failure(error("It <did> not & work", **members), REQUEST_ID)
        raw = {"status_code": response.status, "headers": HeadersDict(response.headers), "body": response.body,
               "context": {}}
        assert response.status == shape.metadata.get("error", {}).get("httpStatusCode", error.status)
        parsed = create_parser(protocol).parse(raw, None)
        expected = error.code if "query" in protocol or name in ("sqs", "cloudwatch", "s3", "ec2") else shape.name
        assert parsed["Error"]["Code"] == expected
        assert parsed["Error"]["Message"] == "It <did> not & work"
        assert parsed["ResponseMetadata"]["RequestId"]
        if shape.metadata.get("exception") and name != "s3":
            modelled = from_botocore(create_parser(protocol).parse(raw, shape))
            assert members.items() <= modelled.items()
            assert {key.lower() for key in modelled.keys() - members.keys()} <= {"message", "code"}


def test_a_location_stands_in_the_root_itself() -> None:
    ours = protocol_of("s3", "rest-xml")
    operation = ours.service.model.operation_model("GetBucketLocation")
    response = ours.print(operation, {"LocationConstraint": "eu-west-1"}, REQUEST_ID)
    assert response.body == (b'<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns='
                             b'"http://s3.amazonaws.com/doc/2006-03-01/">eu-west-1</LocationConstraint>')


async def several(events: list[dict[str, Any]]) -> Any:
    for event in events:
        yield event


def test_events_stream() -> None:
    ours = protocol_of("logs", "json")
    operation = ours.service.model.operation_model("StartLiveTail")
    update = {"sessionMetadata": {"sampled": False}, "sessionResults": [{"message": "é", "timestamp": 5}]}
    answer = {"responseStream": several([{"sessionStart": {"requestId": "r"}}, {"sessionUpdate": update}])}
    response = ours.print(operation, answer, REQUEST_ID)
    assert not isinstance(response.body, bytes)
    raw = {"status_code": 200, "headers": HeadersDict(response.headers), "context": {"operation_name": "StartLiveTail"},
           "body": Arriving(collect(response.body))}
    parsed = create_parser("json").parse(raw, operation.output_shape)
    assert list(parsed["responseStream"]) == [{"sessionStart": {"requestId": "r"}}, {"sessionUpdate": update}]


def test_an_error_ends_a_stream_of_events() -> None:
    ours = protocol_of("s3", "rest-xml")
    operation = ours.service.model.operation_model("SelectObjectContent")

    async def failing() -> Any:
        yield {"Records": {"Payload": b"a,b"}}
        yield {"Stats": {"Details": {"BytesScanned": 3}}}
        raise ours.service.error("NoSuchKey")("It \"went\"")
    response = ours.print(operation, {"Payload": failing()}, REQUEST_ID)
    raw = {"status_code": 200, "headers": HeadersDict(response.headers), "context": {"operation_name": "Select"},
           "body": Arriving(collect(response.body))}
    stream = iter(create_parser("rest-xml").parse(raw, operation.output_shape)["Payload"])
    assert next(stream) == {"Records": {"Payload": b"a,b"}}
    assert next(stream) == {"Stats": {"Details": {"BytesScanned": 3}}}
    with pytest.raises(EventStreamError):
        next(stream)


def collect(chunks: Any) -> bytes:
    async def run() -> bytes:
        return b"".join([chunk async for chunk in chunks])
    return asyncio.run(run())


class Arriving:
    """A body in pieces, as urllib3 streams it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self) -> Any:
        for index in range(0, len(self._data), 7):
            yield self._data[index:index + 7]
