"""The protocols query and ec2: a form in, XML out."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import unquote_plus

from botocore.model import ListShape, MapShape, OperationModel, Shape, StringShape, StructureShape

from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.service import Service
from cloudlet.wire import scalars
from cloudlet.wire.compiler import Compiler
from cloudlet.wire.protocol import MIB, Located, Message, Parse, Print, Protocol
from cloudlet.wire.scalars import Malformed
from cloudlet.wire.xml import Names, Writer, escape

PARAMETERS_MAX = 100_000
PARTS_MAX = 400_000  # of all parameters' names: each is a node of the tree
DEPTH_MAX = 32  # dots in one parameter's name

Node = dict[str, Any]  # a parameter's own value stands under ""
Read = Callable[[Node], Any]

XML = "text/xml;charset=UTF-8"
UnknownParameter = declare("UnknownParameter")
NoAction = declare("UnknownOperationException", status=404)  # of SQS, whose queues have URLs that people visit
# What comes with a form but is no member: the protocol's own, and signatures in the query string.
OWN = ("Action", "Version", "Operation", "AUTHPARAMS")


def parameters(text: str) -> list[tuple[str, str]]:
    """The pairs of a form or a query string, decoded. Raises Malformed: too many, or not UTF-8."""
    if not text:
        return []
    if text.count("&") >= PARAMETERS_MAX:
        raise Malformed(f"The request has more than {PARAMETERS_MAX} parameters")
    out = []
    for pair in text.split("&"):
        key, _, value = pair.partition("=")
        try:
            if "%" in key or "+" in key:
                key = unquote_plus(key, errors="strict")
            if "%" in value or "+" in value:
                value = unquote_plus(value, errors="strict")
        except UnicodeDecodeError:
            raise Malformed("The parameters are not UTF-8") from None
        if key:
            out.append((key, value))
    return out


def form(body: bytes) -> list[tuple[str, str]]:
    """The pairs of a request's body. Raises Malformed."""
    try:
        return parameters(body.decode())
    except UnicodeDecodeError:
        raise Malformed("The request is not UTF-8") from None


def locate(request: Request, body: bytes) -> Located:
    """The action of a form or a query string, and all parameters."""
    pairs = parameters(request.query) + form(body)
    return Located(next((value for key, value in pairs if key == "Action"), ""), {}, pairs)


def tree(pairs: Any) -> Node:
    """Parameters grouped by the parts of their names: `A.member.1=x` is `{"A": {"member": {"1": {"": "x"}}}}`."""
    root: Node = {}
    count = 0
    for key, value in pairs:
        node, parts = root, key.split(".", DEPTH_MAX)
        count += len(parts)
        if count > PARTS_MAX:
            raise Malformed("The request has too many parameters")
        for part in parts:
            if not part:
                raise Malformed(f"{key[:64]} is not a parameter's name")
            node = node.setdefault(part, {})
        node[""] = value
    return root


def _value(node: Node) -> str:
    try:
        value: str = node[""]
    except KeyError:
        raise Malformed("Start of structure or map found where not expected.") from None
    return value


def _elements(node: Node) -> list[Node]:
    """The elements of a list, by number; gaps close."""
    numbered: list[tuple[int, Node]] = []
    for index, element in node.items():
        if index:
            if not (index.isascii() and index.isdigit() and len(index) < 10):
                raise Malformed(f"{index[:64]} is not a valid index")
            numbered.append((int(index), element))
    numbered.sort(key=lambda pair: pair[0])
    return [element for _, element in numbered]


class Reader(Compiler[Read]):
    """Compiles shapes into functions from a node of the tree of parameters to values."""

    def __init__(self, ec2: bool) -> None:
        self._ec2, self._names = ec2, Names(query=True)
        self._structures: dict[str, Read] = {}

    def _scalar(self, shape: Shape) -> Read:
        if isinstance(shape, StringShape):
            return _value
        convert = scalars.from_text(shape, "iso8601")
        return lambda node: convert(_value(node))

    def _structure(self, shape: StructureShape) -> Read:
        """A structure; unknown parameters are ignored, as the query protocol does."""
        known = self._structures.get(shape.name)
        if known:
            return known
        members: dict[str, tuple[str, Read]] = {}

        def read(node: Node) -> dict[str, Any]:
            out = {}
            for key, child in node.items():
                found = members.get(key)
                if found is not None:
                    out[found[0]] = found[1](child)
            return out

        self._structures[shape.name] = read
        for name, member in shape.members.items():
            members[self.key(name, member)] = (name, self.of(member))
        return read

    def key(self, name: str, member: Shape) -> str:
        """The parameter that stands for a member."""
        if self._ec2:
            given: str = member.serialization.get("queryName") or member.serialization.get("name") or name
            return given[:1].upper() + given[1:]
        return self._names.of_list(member, name) if isinstance(member, ListShape) else self._names.of(member, name)

    def _list(self, shape: ListShape) -> Read:
        member = self.of(shape.member)
        if self._ec2 or shape.serialization.get("flattened"):
            return lambda node: [member(element) for element in _elements(node)]
        name = self._names.of(shape.member, "member")

        def read(node: Node) -> list[Any]:  # RDS takes `.member.` too where the list names its elements otherwise
            return [member(element) for element in _elements(node.get(name) or node.get("member") or {})]
        return read

    def _map(self, shape: MapShape) -> Read:
        read_key, read_value = self.of(shape.key), self.of(shape.value)
        key_name, value_name = self._names.of(shape.key, "key"), self._names.of(shape.value, "value")
        flattened = shape.serialization.get("flattened")

        def read(node: Node) -> dict[str, Any]:
            out = {}
            for entry in _elements(node if flattened else node.get("entry", {})):
                if key_name not in entry or value_name not in entry:
                    raise Malformed(f"an entry of a map needs a {key_name} and a {value_name}")
                out[read_key(entry[key_name])] = read_value(entry[value_name])
            return out
        return read


class Query(Protocol):
    """The query protocol: Action and members in a form, a result wrapper in the answer."""

    name: ClassVar[str] = "query"
    body_limit: ClassVar[int] = 4 * MIB
    routes_by_body: ClassVar[bool] = True

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._reader, self._writer = Reader(ec2=False), Writer(Names(query=True))
        self._xmlns = service.model.metadata.get("xmlNamespace", "")

    def locate(self, request: Request, path: str, body: bytes) -> Located:
        """See Protocol: `Action` in the form or the query string."""
        located = locate(request, body)
        if not located.name and self.service.name == "sqs":
            raise NoAction()
        return located

    def compile_parser(self, operation: OperationModel) -> Parse:
        """See Protocol."""
        shape = operation.input_shape
        if shape is None:
            return lambda message: {}
        read = self._reader.of(shape)
        if self.service.name == "sqs":
            return self._at_queue(operation, read)
        return lambda message: read(tree(message.parameters))

    def _at_queue(self, operation: OperationModel, read: Read) -> Parse:
        """Of SQS: old SDKs ask a queue's own URL, and do not repeat it; it does not answer for queues in general."""
        name, general = operation.name, operation.name in ("CreateQueue", "ListQueues")
        lists = ("Entries",) if name.endswith("Batch") else ()  # one that is empty cannot be said

        def parse(message: Message) -> dict[str, Any]:
            path, pairs = message.request.path, list(message.parameters)
            if general and path.count("/") > 1:
                raise self.faults.unknown_operation(f"The action {name} is not valid for this endpoint.")
            node: dict[str, Any] = read(tree([("QueueUrl", path)] * (path != "/") + pairs))
            for each in lists:
                node.setdefault(each, [])
            return node
        return parse

    def compile_printer(self, operation: OperationModel) -> Print:
        """See Protocol."""
        name, shape = operation.name, operation.output_shape
        opening = f'<{name}Response xmlns="{self._xmlns}">'
        ending = f"</RequestId></ResponseMetadata></{name}Response>"
        write = self._writer.members(shape) if shape else None
        wrapper = (shape.serialization.get("resultWrapper") or f"{name}Result") if shape else ""

        def print_(output: Any, request_id: str) -> Response:
            result = f"<{wrapper}>{write(output or {})}</{wrapper}>" if write else ""
            text = f"{opening}{result}<ResponseMetadata><RequestId>{request_id}{ending}"
            return Response(200, {"content-type": XML, "x-amzn-requestid": request_id}, text.encode())
        return print_

    def failure(self, error: AwsError, request_id: str) -> Response:
        """See Protocol."""
        if isinstance(error, NoAction):
            return Response(error.status, {"content-type": XML, "x-amzn-requestid": request_id},
                            f"<{error.code}/>\n".encode())
        text = error_text(self, self._writer, error)
        return query_failure(error, request_id, self._xmlns, text, self.faults.otherwise.get(error.message))


def error_text(protocol: Protocol, writer: Writer, error: AwsError) -> str:
    """An error's members beside its message, as elements."""
    shape = protocol.error_shape(error)
    known, others = protocol.error_members(error, shape)
    return "".join([writer.members(shape)(known) if shape else "",
                    *(f"<{name}>{escape(str(value))}</{name}>" for name, value in others.items())])


def query_failure(error: AwsError, request_id: str, xmlns: str, members: str = "",
                  says: str | None = None) -> Response:
    """The `ErrorResponse` that query services and most XML ones answer. `says`: what it says instead of its message."""
    fault = "Sender" if error.sender_fault else "Receiver"
    text = (f'<ErrorResponse xmlns="{xmlns}"><Error><Type>{fault}</Type><Code>{error.code}</Code><Message>'
            f"{escape(says or error.message)}</Message>{members}</Error><RequestId>{request_id}</RequestId>"
            "</ErrorResponse>")
    return Response(error.status, {"content-type": XML, "x-amzn-requestid": request_id}, text.encode())


class Ec2(Protocol):
    """The ec2 protocol: the query protocol's cousin, with names, envelopes and errors of its own."""

    name: ClassVar[str] = "ec2"
    body_limit: ClassVar[int] = 4 * MIB
    routes_by_body: ClassVar[bool] = True

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._reader, self._writer = Reader(ec2=True), Writer(Names(), scalars.iso_milliseconds)
        self._xmlns = service.model.metadata["xmlNamespace"] + "/"

    def locate(self, request: Request, path: str, body: bytes) -> Located:
        """See Protocol: `Action` in the form or the query string."""
        return locate(request, body)

    def compile_parser(self, operation: OperationModel) -> Parse:
        """See Protocol. Unlike query services, EC2 refuses what it does not know (UnknownParameter)."""
        shape = operation.input_shape
        known = {self._reader.key(name, member) for name, member in (shape.members if shape else {}).items()} | {*OWN}
        known.add("DryRun")
        read: Callable[[Node], dict[str, Any]] = self._reader.of(shape) if shape else lambda node: {}

        def parse(message: Message) -> dict[str, Any]:
            node = tree(message.parameters)
            if not node.keys() <= known:
                refuse_unknown(node, known)
            return read(node)
        return parse

    def compile_printer(self, operation: OperationModel) -> Print:
        """See Protocol. An operation without an output shape answers `<return>true</return>`."""
        name, shape = operation.name, operation.output_shape
        head, ending = f'<{name}Response xmlns="{self._xmlns}"><requestId>', f"</{name}Response>"
        write = self._writer.members(shape) if shape else None

        def print_(output: Any, request_id: str) -> Response:
            said = write(output or {}) if write else "<return>true</return>"
            text = f"{head}{request_id}</requestId>{said}{ending}"
            return Response(200, {"content-type": XML, "x-amzn-requestid": request_id}, text.encode())
        return print_

    def failure(self, error: AwsError, request_id: str) -> Response:
        """See Protocol."""
        text = (f"<Response><Errors><Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
                f"</Errors><RequestID>{request_id}</RequestID></Response>")
        return Response(error.status, {"content-type": XML, "x-amzn-requestid": request_id}, text.encode())


def refuse_unknown(node: Mapping[str, Any], known: set[str]) -> None:
    """Raises UnknownParameter for the first parameter that is neither known nor part of a signature."""
    for name in node:
        if name not in known and not name.startswith("X-Amz-"):
            raise UnknownParameter(f"The parameter {name[:128]} is not recognized")
