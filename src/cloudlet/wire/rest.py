"""The protocols rest-json and rest-xml: members in the path, the query string, headers and the body."""

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import unquote

import msgspec
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.utils import is_json_value_header

from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Body, Request, Response
from cloudlet.kernel.service import Service
from cloudlet.wire import json, scalars, tree, xml
from cloudlet.wire.eventstream import CONTENT_TYPE, compile_events
from cloudlet.wire.protocol import MIB, Located, Message, Parse, Print, Protocol
from cloudlet.wire.query import error_text, parameters, query_failure
from cloudlet.wire.scalars import Malformed, MalformedParameter

Put = Callable[[Message, dict[str, Any]], None]  # finds one member in a message
ReadBody = Callable[[bytes], Any]
WriteBody = Callable[[Any], bytes]

_STATUS = "statusCode"  # where a member stands that is the answer's status


class Templates:
    """A service's URI templates: which operation a method, a path and a query string mean."""

    def __init__(self, service: Service) -> None:
        self._by_method: dict[str, list[_Template]] = {}
        for name in service.model.operation_names:
            template = _Template(service.model.operation_model(name))
            self._by_method.setdefault(template.method, []).append(template)
        for templates in self._by_method.values():
            templates.sort(key=lambda template: template.rank, reverse=True)
        self._plain = {method: [template for template in templates if not template.needs_parameters]
                       for method, templates in self._by_method.items()}

    def find(self, method: str, path: str, parameters: Mapping[str, str],
             headers: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
        """The most particular operation that fits, and the values of its labels, decoded."""
        for template in (self._by_method if parameters else self._plain).get(method, ()):
            if template.headers and not template.headers <= headers.keys():  # first: that is known soonest
                continue
            found = template.pattern.fullmatch(path)
            if found is not None and (not template.needs_parameters or template.fits(parameters)):
                values = map(unquote, found.groups()) if "%" in path else found.groups()
                return template.operation, dict(zip(template.labels, values, strict=True))
        return None


class _Template:
    """One operation's `requestUri`, e.g. `/{Bucket}/{Key+}?uploads`."""

    def __init__(self, operation: OperationModel) -> None:
        self.operation: str = operation.name
        self.method: str = operation.http.get("method", "POST")
        path, _, query = operation.http["requestUri"].partition("?")
        self._literals = [tuple(pair.partition("=")[::2]) for pair in query.split("&") if pair]
        members = operation.input_shape.members if operation.input_shape else {}
        required = [members[name].serialization for name in
                    (operation.input_shape.required_members if operation.input_shape else ())]
        self._parameters = [at["name"] for at in required if at.get("location") == "querystring"]
        # A header tells CopyObject from PutObject; where the query string names the operation, it is merely missing.
        self.headers = frozenset(at["name"].lower() for at in required
                                  if at.get("location") == "header" and not self._literals)
        self.labels = [name.rstrip("+") for name in re.findall(r"\{(.*?)\}", path)]
        self.needs_parameters = bool(self._literals or self._parameters)
        pattern = "".join(
            ("(.+)" if part.endswith("+}") else "([^/]+)") if part.startswith("{") else re.escape(part)
            for part in re.split(r"(\{.*?\})", path))
        self.pattern = re.compile(pattern)
        fixed = len(re.sub(r"\{.*?\}", "", path))
        self.rank = (len(self._literals), len(self._parameters) + len(self.headers), fixed, not operation.deprecated)

    def fits(self, parameters: Mapping[str, str]) -> bool:
        return all(name in parameters and (not value or parameters[name] == value)
                   for name, value in self._literals) and all(name in parameters for name in self._parameters)


def _header_list(text: str) -> list[str]:
    """The elements of a list in a header; one in quotes may hold commas."""
    found = re.findall(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^,]*?))\s*(?:,|$)', text)
    items = [quoted.replace('\\"', '"') if quoted else plain for quoted, plain in found]
    return items[:-1] if items and not items[-1] else items


def _json_value(text: str) -> Any:
    return json.decode(scalars.blob(text))


def _from_header(shape: Shape) -> Callable[[str], Any]:
    if is_json_value_header(shape):
        return _json_value
    if isinstance(shape, ListShape):
        member = scalars.from_text(shape.member, "rfc822")
        if shape.member.type_name == "timestamp":  # an HTTP date has a comma of its own
            return lambda text: [member(item) for item in re.findall(r"[^,]+,[^,]+", text)]
        return lambda text: [member(item) for item in _header_list(text)]
    return scalars.from_text(shape, "rfc822")


def _to_header(shape: Shape) -> Callable[[Any], str]:
    if is_json_value_header(shape):
        return lambda value: scalars.blob_text(msgspec.json.encode(value))
    if isinstance(shape, ListShape):
        member = scalars.to_text(shape.member, "rfc822")
        return lambda value: ",".join(_quoted(member(item)) for item in value)
    return scalars.to_text(shape, "rfc822")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"' if '"' in text or "," in text else text


def _header_finder(members: Mapping[str, Shape]) -> Put:
    """What finds all members that are headers, or all headers of a prefix: a request has few headers where its shape
    has many."""
    places = [(name, member.serialization.get("location"), member.serialization.get("name", name).lower(), member)
              for name, member in members.items()]
    of_header = {at: (name, _from_header(member)) for name, place, at, member in places if place == "header"}
    of_prefix = {at: name for name, place, at, member in places if place == "headers"}

    def headers(message: Message, out: dict[str, Any]) -> None:
        given = message.request.headers
        for key in filter(of_header.__contains__, given):
            name, convert = of_header[key]
            try:
                out[name] = convert(given[key])
            except Malformed as wrong:
                raise MalformedParameter(key, given[key], str(wrong)) from None
        for prefix, name in of_prefix.items():
            if prefix in "\n".join(given):  # sooner known than by looking at each
                found = {key[len(prefix):]: value for key, value in given.items()
                         if key.startswith(prefix) and key not in of_header}
                if found:
                    out[name] = found
    return headers


def _label_finder(members: Mapping[str, Shape]) -> Put:
    """What finds all members that are in the path."""
    of_label = {member.serialization.get("name", name): (name, scalars.from_text(member, "iso8601"))
                for name, member in members.items() if member.serialization.get("location") == "uri"}

    def labels(message: Message, out: dict[str, Any]) -> None:
        for at, value in message.labels.items():
            name, convert = of_label[at]
            out[name] = convert(value)
    return labels


def _parameter_finder(name: str, at: str, shape: Shape) -> Put:
    if isinstance(shape, MapShape):
        def every(message: Message, out: dict[str, Any]) -> None:
            out[name] = dict(message.parameters)
        return every
    many = isinstance(shape, ListShape)
    convert = scalars.from_text(shape.member if isinstance(shape, ListShape) else shape, "iso8601")

    def parameter(message: Message, out: dict[str, Any]) -> None:
        found = [value for key, value in message.parameters if key == at]
        try:
            if found:
                out[name] = [convert(value) for value in found] if many else convert(found[0])
        except Malformed as wrong:
            raise MalformedParameter(at, found[0], str(wrong)) from None
    return parameter


class Rest(Protocol):
    """What the two protocols share; they differ in how a body says a structure."""

    content_type: ClassVar[str]

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.templates = Templates(service)

    @abstractmethod
    def body_reader(self, shape: Shape) -> ReadBody:
        """The function from a body that is not empty to the shape's value."""

    @abstractmethod
    def body_writer(self, shape: StructureShape, operation: OperationModel, payload: str | None) -> WriteBody:
        """The function from the shape's members, or from the payload member's value, to a body."""

    def locate(self, request: Request, path: str, body: bytes) -> Located:
        """See Protocol: method, path and query string."""
        pairs = parameters(request.query)
        found = self.templates.find(request.method, path, dict(pairs), request.headers)
        return Located(found[0], found[1], pairs) if found else Located("")

    @abstractmethod
    def event_writer(self, shape: Shape) -> WriteBody:
        """The function from a value to the payload of an event."""

    def headers(self, request_id: str) -> dict[str, str]:
        """What every answer carries."""
        return {"x-amzn-requestid": request_id}

    def compile_parser(self, operation: OperationModel) -> Parse:
        """See Protocol."""
        shape = operation.input_shape
        if shape is None:
            return lambda message: {}
        find_labels, find_headers = _label_finder(shape.members), _header_finder(shape.members)
        of_query = [_parameter_finder(name, member.serialization.get("name", name), member)
                    for name, member in shape.members.items() if member.serialization.get("location") == "querystring"]
        payload = shape.serialization.get("payload")
        in_body = any("location" not in member.serialization for member in shape.members.values())
        read_body = self._payload_reader(shape, payload) if payload else None
        read_members = self.body_reader(shape) if in_body and not payload else None

        def parse(message: Message) -> dict[str, Any]:
            out: dict[str, Any] = {}
            if message.parameters:
                for find in of_query:
                    find(message, out)
            find_labels(message, out)
            find_headers(message, out)
            if payload is not None and read_body is not None:
                value = read_body(message.body)
                if value is not None:
                    out[payload] = value
            elif read_members is not None and message.whole:
                out.update(read_members(message.whole))
            return out
        return parse

    def _payload_reader(self, shape: StructureShape, payload: str) -> Callable[[bytes | Body], Any]:
        member = shape.members[payload]
        if member.type_name == "blob":
            return lambda body: body if isinstance(body, Body) else body or None
        if member.type_name == "string":
            return lambda body: _utf8(body) if isinstance(body, bytes) and body else None
        read = self.body_reader(member)
        return lambda body: read(body) if isinstance(body, bytes) and body else None

    def compile_printer(self, operation: OperationModel) -> Print:
        """See Protocol."""
        shape, status = operation.output_shape, int(operation.http.get("responseCode", 200))
        if shape is None:
            return lambda output, request_id: Response(status, self.headers(request_id))
        events = compile_events(operation, self.event_writer, self.content_type, initial=False)
        if events is not None:
            return lambda output, request_id: Response(
                status, self.headers(request_id) | {"content-type": CONTENT_TYPE}, events(output))
        places = {name: _place(name, member) for name, member in shape.members.items()
                  if "location" in member.serialization}
        texts = {name: place for name, place in places.items() if isinstance(place, str) and place != _STATUS}
        payload = shape.serialization.get("payload")
        write = self._payload_writer(shape, operation, payload)

        def print_(output: Any, request_id: str) -> Response:
            headers, code, members = self.headers(request_id), status, {}
            for name, value in (output or {}).items():
                if value is None:
                    continue
                if (header := texts.get(name)) is not None:
                    headers[header] = value if type(value) is str else scalars.plain_text(value)
                elif (place := places.get(name)) is None:
                    members[name] = value
                elif place is _STATUS:
                    code = value
                else:
                    place(value, headers)
            body, content_type = write(members)
            if content_type:
                headers.setdefault("content-type", content_type)
            return Response(code, headers, body)
        return print_

    def _payload_writer(self, shape: StructureShape, operation: OperationModel,
                        payload: str | None) -> Callable[[dict[str, Any]], tuple[Any, str]]:
        if payload and shape.members[payload].type_name in ("blob", "string"):
            raw = self.content_type if shape.members[payload].type_name == "string" else "application/octet-stream"
            if any(at.serialization.get("name", "").lower() == "content-type" for at in shape.members.values()):
                raw = ""  # the operation says it

            def stream(members: dict[str, Any]) -> tuple[Any, str]:
                value = members.pop(payload, b"")
                if members:
                    raise KeyError(next(iter(members)))
                return (value.encode() if isinstance(value, str) else value), raw
            return stream
        if not payload and all("location" in member.serialization for member in shape.members.values()):
            return lambda members: (_nothing(members), "")
        write = self.body_writer(shape, operation, payload)

        def whole(members: dict[str, Any]) -> tuple[Any, str]:
            if payload and payload not in members:
                return _nothing(members), ""
            return write(members[payload] if payload else members), self.content_type
        return whole


def _nothing(members: dict[str, Any]) -> bytes:
    if members:
        raise KeyError(next(iter(members)))
    return b""


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Malformed("The request is not UTF-8") from None


def _place(name: str, shape: Shape) -> Any:
    """What puts a member into the headers; the header's name where a text stands there as it is, or _STATUS."""
    at = shape.serialization.get("name", name)
    if shape.serialization["location"] == _STATUS:
        return _STATUS
    if shape.serialization["location"] == "headers":
        def many(value: Mapping[str, str], headers: dict[str, str]) -> None:
            for key, text in value.items():
                headers[(at + key).lower()] = text
        return many
    convert, key = _to_header(shape), at.lower()
    if convert is scalars.plain_text:
        return key

    def one(value: Any, headers: dict[str, str]) -> None:
        headers[key] = convert(value)
    return one


class RestJson(Rest):
    """rest-json: bodies are JSON objects, the error's name stands in a header."""

    name: ClassVar[str] = "rest-json"
    content_type: ClassVar[str] = "application/json"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._reader, self._writer = tree.Reader(), tree.Writer()

    def body_reader(self, shape: Shape) -> ReadBody:
        """See Rest."""
        read = self._reader.of(shape)
        return lambda body: read(json.decode(body))

    def body_writer(self, shape: StructureShape, operation: OperationModel, payload: str | None) -> WriteBody:
        """See Rest."""
        write = self._writer.of(shape.members[payload] if payload else shape)
        return lambda value: json.encode(write(value))

    def event_writer(self, shape: Shape) -> WriteBody:
        """See Rest."""
        write = self._writer.of(shape)
        return lambda value: json.encode(write(value))

    def failure(self, error: AwsError, request_id: str) -> Response:
        """See Protocol."""
        headers = {**self.headers(request_id), "content-type": self.content_type,
                   "x-amzn-errortype": error.shape_name or error.code}
        body = json.error_body(self, self._writer, error, self.error_shape(error))
        return Response(error.status, headers, json.encode(body))


class RestXml(Rest):
    """rest-xml: bodies are XML documents."""

    name: ClassVar[str] = "rest-xml"
    body_limit: ClassVar[int] = 4 * MIB
    content_type: ClassVar[str] = "application/xml"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._xmlns = service.model.metadata.get("xmlNamespace", "")
        self._reader, self.writer = xml.Reader(), xml.Writer(xml.Names(), scalars.iso_milliseconds)

    def body_reader(self, shape: Shape) -> ReadBody:
        """See Rest."""
        read = self._reader.of(shape)
        return lambda body: read(xml.parse(body))

    def root(self, shape: StructureShape, operation: OperationModel, payload: str | None) -> str:
        """The name of an answer's root element."""
        if payload:
            return xml.location(shape.members[payload], payload)
        return xml.location(shape, shape.name)

    def body_writer(self, shape: StructureShape, operation: OperationModel, payload: str | None) -> WriteBody:
        """See Rest."""
        tag = self.root(shape, operation, payload)
        target = shape.members[payload] if payload else shape
        opening = f"<{tag}{xml.namespace(target) or self.default_namespace}>"
        write = self.writer.members(target)

        def body(value: Any) -> bytes:
            return f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}{write(value)}</{tag}>'.encode()
        return body

    def event_writer(self, shape: Shape) -> WriteBody:
        """See Rest."""
        write = self.writer.element(shape, xml.location(shape, shape.name))
        return lambda value: write(value).encode()

    @property
    def default_namespace(self) -> str:
        """The root's xmlns where its shape names none."""
        return f' xmlns="{self._xmlns}"' if self._xmlns else ""

    def failure(self, error: AwsError, request_id: str) -> Response:
        """See Protocol."""
        return query_failure(error, request_id, self._xmlns, error_text(self, self.writer, error))
