"""What every protocol does: requests to values, values to responses, errors to responses; compiled per operation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from botocore.model import OperationModel, StructureShape

from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Body, Request, Response
from cloudlet.kernel.service import Service
from cloudlet.wire import sigv4
from cloudlet.wire.faults import Faults, faults_of
from cloudlet.wire.scalars import Malformed
from cloudlet.wire.sigv4 import Signed
from cloudlet.wire.validate import Check, Validator, Violation


class Message(msgspec.Struct, frozen=True):
    """A routed request: `labels` are the values of the URI's template, decoded; `body` is whole unless the operation
    takes a stream; `parameters` are those of the query string or the form, decoded; `raw` is the body as it was sent,
    and signed, where that was read whole."""

    request: Request
    body: bytes | Body = b""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    parameters: Sequence[tuple[str, str]] = ()
    raw: bytes = b""

    def with_body(self, body: bytes | Body) -> "Message":
        """The same with another body."""
        return Message(self.request, body, self.labels, self.parameters, self.raw)

    @property
    def whole(self) -> bytes:
        """The body of an operation that takes no stream."""
        return self.body if isinstance(self.body, bytes) else b""


class Located(msgspec.Struct, frozen=True):
    """An operation's name ("" where the request names none), and what was read on the way to it (see Message)."""

    name: str
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    parameters: Sequence[tuple[str, str]] = ()


MIB = 1024 * 1024
_LIMITS = {"ecr": 32 * MIB}  # a layer part of 20 MiB in base64

Parse = Callable[[Message], dict[str, Any]]
Print = Callable[[Any, str], Response]


class Protocol(ABC):
    """One protocol as one service speaks it. Parsers and printers are compiled at an operation's first use."""

    name: ClassVar[str]
    body_limit: ClassVar[int] = 16 * MIB  # bytes of a request that is read whole
    routes_by_body: ClassVar[bool] = False
    takes_unsigned: ClassVar[bool] = False  # whether a header may say what of the body is signed (S3)
    checksum_needed: ClassVar[tuple[str, ...]] = ()  # operations whose requests must say a checksum of their body

    def __init__(self, service: Service) -> None:
        self.service = service
        self.faults: Faults = faults_of(service.name, self.name)
        self.limit = _LIMITS.get(service.name, self.body_limit)
        self._validator = Validator(self.faults.demands)
        self._parsers: dict[str, Parse] = {}
        self._printers: dict[str, Print] = {}
        self._checks: dict[str, Check | None] = {}

    @abstractmethod
    def locate(self, request: Request, path: str, body: bytes) -> Located:
        """The operation that a request means; `path` is what `path` says of it, and `body` is there where the protocol
        routes by it. Raises Malformed."""

    def signature(self, request: Request, operation: OperationModel, now: float) -> Signed | None:
        """What a request says of its signature, which is of about now; None where it bears none and needs none. Raises
        what is wrong with it."""
        if operation.auth_type == "none" and sigv4.find_scope(request) is None:
            return None
        return sigv4.read_in_time(request, now, self.faults)

    def check(self, request: Request, signed: Signed, secret: str, whole: bytes | None) -> bytes:
        """Raises unless the signature is the secret's; the key that signs what follows. `whole` is the body, None where
        it streams."""
        said = sigv4.payload_of(signed, whole, self.takes_unsigned, self.faults)
        return sigv4.check(request, signed, secret, said, self.faults)

    def path(self, request: Request) -> str:
        """The path that a service's templates, and what stands in front of it, speak of."""
        return request.path

    def bucket_of_form(self, request: Request) -> str | None:
        """The bucket into which a browser's form puts an object; None for every other request."""
        return None

    def meant(self, request: Request) -> Request:
        """The request as it is parsed, where that differs from how it was signed."""
        return request

    @abstractmethod
    def compile_parser(self, operation: OperationModel) -> Parse:
        """The function from a message to the members of the input shape; it raises Malformed."""

    @abstractmethod
    def compile_printer(self, operation: OperationModel) -> Print:
        """The function from the members of the output shape and the request's id to the response."""

    @abstractmethod
    def failure(self, error: AwsError, request_id: str) -> Response:
        """An error as this protocol says it."""

    def parse(self, operation: OperationModel, message: Message) -> dict[str, Any]:
        """The request's members, checked against the input shape. Raises the service's AwsErrors."""
        name = operation.name
        parser = self._parsers.get(name)
        if parser is None:
            parser = self._parsers[name] = self.compile_parser(operation)
            shape = operation.input_shape
            self._checks[name] = self._validator.of(shape) if shape else None
        try:
            request = parser(message)
        except Malformed as wrong:
            raise self.malformed(wrong) from None
        except RecursionError:
            raise self.faults.malformed("The request is nested too deeply") from None
        check = self._checks[name]
        if check is not None:
            violations: list[Violation] = []
            check(request, "", violations)
            if violations:
                raise self.faults.invalid(violations)
        return request

    def print(self, operation: OperationModel, output: Any, request_id: str) -> Response:
        """The answer. KeyError where the operation returned a member that its shape does not have."""
        printer = self._printers.get(operation.name)
        if printer is None:
            printer = self._printers[operation.name] = self.compile_printer(operation)
        return printer(output, request_id)

    def malformed(self, wrong: Malformed) -> AwsError:
        """What is said of a request that does not fit its shape."""
        return self.faults.malformed(str(wrong))

    def error_shape(self, error: AwsError) -> StructureShape | None:
        """The modelled shape of an error, where it has one."""
        name = error.shape_name
        if name is None or name not in self.service.model.shape_names:
            return None
        shape: StructureShape = self.service.model.shape_for(name)
        return shape

    def error_members(self, error: AwsError, shape: StructureShape | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """The members passed to an error: those of its shape, and others, which AWS also sends here and there."""
        names = shape.members if shape else ()
        known = {name: value for name, value in error.members.items() if name in names}
        return known, {name: value for name, value in error.members.items() if name not in names}

    def message_name(self, shape: StructureShape | None) -> str:
        """What an error's shape calls its message: `message` or `Message`."""
        names = shape.members if shape else ()
        return next((name for name in names if name.lower() == "message"), "message")
