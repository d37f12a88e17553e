"""The protocols json 1.0 and 1.1: an object each way, the operation in X-Amz-Target."""

from collections.abc import Callable
from typing import Any

import msgspec
from botocore.model import OperationModel, Shape, StructureShape

from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.service import Service
from cloudlet.wire.eventstream import CONTENT_TYPE, compile_events
from cloudlet.wire.protocol import Located, Message, Parse, Print, Protocol
from cloudlet.wire.scalars import Malformed
from cloudlet.wire.tree import Reader, Writer

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

ITEMS_MAX = 1_000_000  # brackets and commas: what a small body may unfold to in memory


def decode(body: bytes) -> Any:
    """What a JSON text says. Raises Malformed."""
    if len(body) > ITEMS_MAX and body.count(b",") + body.count(b"[") + body.count(b"{") > ITEMS_MAX:
        raise Malformed("The request has too many elements")
    try:
        return _decode(body)
    except RecursionError:
        raise Malformed("The request is nested too deeply") from None
    except ValueError:
        raise Malformed("The request is not valid JSON") from None


class Json(Protocol):
    """json 1.0 or 1.1, as the model says; SQS and CloudWatch keep their query protocol's codes in a header."""

    name = "json"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        version = service.model.metadata.get("jsonVersion", "1.1")
        self._type = f"application/x-amz-json-{version}"
        self._compatible = bool(service.model.is_query_compatible)
        self._reader, self._writer = Reader(), Writer()

    def locate(self, request: Request, path: str, body: bytes) -> Located:
        """See Protocol: `X-Amz-Target: PREFIX.OPERATION`."""
        return Located(request.headers.get("x-amz-target", "").rpartition(".")[2])

    def compile_parser(self, operation: OperationModel) -> Parse:
        """See Protocol."""
        shape = operation.input_shape
        if shape is None:
            return lambda message: {}
        read = self._reader.of(shape)

        def parse(message: Message) -> dict[str, Any]:
            body = message.whole
            request: dict[str, Any] = read(decode(body)) if body else {}
            return request
        return parse

    def compile_printer(self, operation: OperationModel) -> Print:
        """See Protocol."""
        shape, content_type = operation.output_shape, self._type
        events = compile_events(operation, self._encoder, content_type, initial=True)
        if events is not None:
            return lambda output, request_id: Response(
                200, {"content-type": CONTENT_TYPE, "x-amzn-requestid": request_id}, events(output))
        write = self._writer.of(shape) if shape else None

        def print_(output: Any, request_id: str) -> Response:
            headers = {"content-type": content_type, "x-amzn-requestid": request_id}
            if write is None:
                return Response(200, headers, b"{}" if content_type.endswith("0") else b"")
            return Response(200, headers, encode(write(output or {})))
        return print_

    def _encoder(self, shape: Shape) -> Callable[[Any], bytes]:
        write = self._writer.of(shape)
        return lambda value: encode(write(value))

    def failure(self, error: AwsError, request_id: str) -> Response:
        """See Protocol."""
        headers = {"content-type": self._type, "x-amzn-requestid": request_id}
        return Response(error.status, headers | query_error(self._compatible, error), encode(self._error_body(error)))

    def _error_body(self, error: AwsError) -> dict[str, Any]:
        shape = self.error_shape(error)
        return {"__type": error.shape_name or error.code, **error_body(self, self._writer, error, shape)}


def error_body(protocol: Protocol, writer: Writer, error: AwsError, shape: StructureShape | None) -> dict[str, Any]:
    """An error's message and members as a tree."""
    known, others = protocol.error_members(error, shape)
    return {protocol.message_name(shape): error.message, **others, **(writer.of(shape)(known) if shape else {})}


def query_error(compatible: bool, error: AwsError) -> dict[str, str]:
    """The header by which a service that came from the query protocol keeps its old codes."""
    if not compatible:
        return {}
    return {"x-amzn-query-error": f"{error.code};{'Sender' if error.sender_fault else 'Receiver'}"}


def json_failure(error: AwsError, request_id: str) -> Response:
    """An error of no service in particular."""
    headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": request_id}
    return Response(error.status, headers, encode({"__type": error.code, "message": error.message}))
