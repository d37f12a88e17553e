"""Which service, protocol and operation a request means."""

import zlib
from collections.abc import Iterable, Sequence

import msgspec

from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.http import BodyTooLarge, BodyTruncated, Request, Response
from cloudlet.kernel.service import Operation, Service
from cloudlet.wire.cbor import Cbor
from cloudlet.wire.faults import worded
from cloudlet.wire.json import Json, json_failure
from cloudlet.wire.protocol import Message, Protocol
from cloudlet.wire.query import Ec2, Query, query_failure
from cloudlet.wire.rest import RestJson, RestXml
from cloudlet.wire.s3 import S3
from cloudlet.wire.scalars import Malformed
from cloudlet.wire.sigv4 import find_scope

PROTOCOLS: dict[str, type[Protocol]] = {kind.name: kind for kind in (Json, Query, Ec2, RestJson, RestXml, Cbor)}

NoSuchService = declare("NotImplemented", status=501)
NoService = declare("MissingAuthenticationToken", "Missing Authentication Token", status=403)

Spoken = dict[str, Protocol]  # one service's protocols by name


class Target(msgspec.Struct, frozen=True):
    """What a request means: an operation of a service in a protocol, and its message."""

    protocol: Protocol
    operation: Operation
    message: Message


def speak(service: Service, name: str) -> Protocol:
    """A protocol of a service."""
    return S3(service) if service.name == "s3" else PROTOCOLS[name](service)


class Router:
    """Finds targets. A service is known by its name in the credential scope; where several share a name, or there is
    none, by what the protocols themselves say: the target's prefix, the API's version."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._by_scope: dict[str, list[Spoken]] = {}
        self._by_prefix: dict[str, Spoken] = {}
        self._by_version: dict[str, Spoken] = {}
        self._plain: dict[str, Protocol] = {}  # by scope: what is spoken where no header says what is
        for service in services:
            spoken = {name: speak(service, name) for name in service.protocols}
            self._by_scope.setdefault(service.model.signing_name, []).append(spoken)
            self._plain.setdefault(service.model.signing_name, _plain(spoken))
            if prefix := service.model.metadata.get("targetPrefix"):
                self._by_prefix[prefix] = spoken
            self._by_version.setdefault(service.model.api_version, spoken)

    def aim(self, request: Request) -> Protocol:
        """The service and the protocol that a request speaks. Raises NoService or NoSuchService."""
        scope = find_scope(request)
        candidates: Sequence[Spoken] = self._by_scope.get(scope.service, ()) if scope else ()
        headers = request.headers
        if "x-amz-target" in headers:
            return self._prefixed(headers["x-amz-target"].rpartition(".")[0], candidates, "json")
        if headers.get("smithy-protocol") == Cbor.name or "/operation/" in request.path[:512]:
            prefix = request.path.removeprefix("/service/").partition("/")[0]
            if request.path.startswith("/service/"):
                return self._prefixed(prefix, candidates, Cbor.name)
        if scope is not None and candidates:
            return self._plain[scope.service]
        candidates = self._unsigned(request)
        if not candidates:
            raise NoService() if scope is None else NoSuchService(
                f"The service '{scope.service[:64]}' is not implemented by Cloudlet")
        return _plain(candidates[0])

    def _prefixed(self, prefix: str, candidates: Sequence[Spoken], name: str) -> Protocol:
        """Of the services in the scope, the one whose prefix the request names."""
        spoken = self._by_prefix.get(prefix)
        for one in (spoken, *candidates):
            if one is not None and name in one and (one in candidates or not candidates):
                return one[name]
        if candidates:
            return next(iter(candidates[0].values()))
        raise NoSuchService(f"The service '{prefix[:64]}' is not implemented by Cloudlet")

    def _unsigned(self, request: Request) -> Sequence[Spoken]:
        """Whom a request without a scope means: an API version in the query string tells, else it can only be S3."""
        if find_scope(request) is not None:
            return ()
        for pair in request.query.split("&"):
            if pair.startswith("Version="):
                found = self._by_version.get(pair[8:])
                return (found,) if found else ()
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return self._by_scope.get("sts", ())  # of the services that speak so, the one that takes unsigned requests
        return self._by_scope.get("s3", ())

    def operation(self, protocol: Protocol, name: str) -> Operation:
        """A service's operation by its name. Raises its AwsErrors where there is none, or none here."""
        return _operation(protocol, name)

    async def find(self, protocol: Protocol, request: Request, path: str) -> Target:
        """The operation; its body is read whole unless it takes a stream. Raises the service's AwsErrors."""
        request = protocol.meant(request)
        raw = body = b""
        try:
            if protocol.routes_by_body:
                raw = await request.body.read(protocol.limit)
                body = _inflated(raw, protocol, request)
            located = protocol.locate(request, path, body)
            operation = _operation(protocol, located.name, request)
            if operation.model.has_streaming_input:
                return Target(protocol, operation, Message(request, request.body, located.labels, located.parameters))
            if not protocol.routes_by_body:
                raw = await request.body.read(protocol.limit)
                body = _inflated(raw, protocol, request)
        except (BodyTooLarge, BodyTruncated) as wrong:
            raise body_fault(wrong, protocol) from None
        except Malformed as wrong:
            raise protocol.faults.malformed(str(wrong)) from None
        return Target(protocol, operation, Message(request, body, located.labels, located.parameters, raw))


def _plain(spoken: Spoken) -> Protocol:
    """Of a service's protocols the one that says least of itself."""
    for name in ("query", "ec2", "rest-xml", "rest-json"):
        if name in spoken:
            return spoken[name]
    return next(iter(spoken.values()))


def _inflated(raw: bytes, protocol: Protocol, request: Request) -> bytes:
    """A body that a client compressed (CloudWatch's PutMetricData does). Raises Malformed."""
    if request.headers.get("content-encoding") != "gzip" or protocol.takes_unsigned or not raw:
        return raw
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = inflater.decompress(raw, protocol.limit)
    except zlib.error:
        raise Malformed("The request's body is not gzip, as its Content-Encoding says") from None
    if inflater.unconsumed_tail:
        raise protocol.faults.too_large()
    if not inflater.eof:
        raise Malformed("The request's body ended before its gzip stream did")
    return body


def body_fault(wrong: BodyTooLarge | BodyTruncated, protocol: Protocol) -> AwsError:
    """What a service says of a body that is too long, or shorter than announced."""
    if isinstance(wrong, BodyTooLarge):
        return protocol.faults.too_large()
    return protocol.faults.malformed("The request's body ended before its announced length")


def _operation(protocol: Protocol, name: str, request: Request | None = None) -> Operation:
    """`request` is given where it may bear no signature."""
    service = protocol.service
    found = service.operations.get(name)
    if service.name == "sts" and request is not None and find_scope(request) is None and (
            found is None or found.model.auth_type != "none"):
        raise NoService()
    if found is not None:
        return found
    if name in service.model.operation_names:
        raise protocol.faults.not_implemented(f"{service.name} {name} is not implemented by Cloudlet")
    faults = protocol.faults
    raise worded(faults.unknown_operation, f"The action {name[:128]} is not valid for this {faults.called}.")


def stray_failure(request: Request, error: AwsError, request_id: str) -> Response:
    """An error for a request that reached no service, in the form that its client most likely reads."""
    headers = request.headers
    if "x-amz-target" in headers or "json" in headers.get("content-type", ""):
        return json_failure(error, request_id)
    return query_failure(error, request_id, "http://webservices.amazon.com/AWSFault/2005-15-09")
