"""Which service, protocol and operation a request means."""

from collections.abc import Iterable
from dataclasses import dataclass

from cloudlet.kernel.errors import AwsError, declare
from cloudlet.kernel.http import BodyTooLarge, Request
from cloudlet.kernel.service import Operation, Service
from cloudlet.wire.json import Json
from cloudlet.wire.protocol import Message, Protocol
from cloudlet.wire.query import Ec2, Query, form, parameters
from cloudlet.wire.scalars import Malformed
from cloudlet.wire.sigv4 import Scope, find_scope

PROTOCOLS: dict[str, type[Protocol]] = {kind.name: kind for kind in (Json, Query, Ec2)}

NoSuchService = declare("NotImplemented", status=501)
UnknownService = declare("UnknownOperationException", "The request names no service", status=404)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request means: an operation of a service in a protocol, and its message."""

    protocol: Protocol
    operation: Operation
    message: Message


class Router:
    """Finds targets. A service is known by its name in the credential scope, and by what its protocols say."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._by_scope: dict[str, list[dict[str, Protocol]]] = {}
        self._by_target: dict[str, dict[str, Protocol]] = {}
        self._by_version: dict[str, dict[str, Protocol]] = {}
        for service in services:
            spoken = {name: PROTOCOLS[name](service) for name in service.protocols if name in PROTOCOLS}
            self._by_scope.setdefault(service.model.signing_name, []).append(spoken)
            if prefix := service.model.metadata.get("targetPrefix"):
                self._by_target[prefix] = spoken
            self._by_version.setdefault(service.model.api_version, spoken)

    def aim(self, request: Request) -> Protocol:
        """The protocol of the service that a request speaks to, from its headers. Raises NoSuchService."""
        scope = find_scope(request)
        candidates = self._by_scope.get(scope.service, []) if scope else []
        target = request.headers.get("x-amz-target")
        if target is not None:
            return self._aim_json(target.rpartition(".")[0], candidates, scope)
        if not candidates:
            raise _nobody(scope)
        spoken = candidates[0]
        for name in ("query", "ec2"):
            if name in spoken:
                return spoken[name]
        return next(iter(spoken.values()))

    def _aim_json(self, prefix: str, candidates: list[dict[str, Protocol]], scope: Scope | None) -> Protocol:
        spoken = self._by_target.get(prefix)
        if spoken is None or "json" not in spoken or (scope and spoken not in candidates):
            for other in candidates:
                if "json" in other:
                    return other["json"]
            raise _nobody(scope)
        return spoken["json"]

    async def find(self, protocol: Protocol, request: Request) -> Target:
        """The operation, with the body read as far as its protocol reads it. Raises the service's AwsErrors."""
        faults = protocol.faults
        try:
            body = await request.body.read(protocol.body_limit)
        except BodyTooLarge:
            raise faults.too_large() from None
        if isinstance(protocol, Json):
            name = request.headers.get("x-amz-target", "").rpartition(".")[2]
            return Target(protocol, self._operation(protocol, name), Message(request, body))
        try:
            pairs = parameters(request.query) + form(body)
        except Malformed as wrong:
            raise faults.malformed(str(wrong)) from None
        name = next((value for key, value in pairs if key == "Action"), "")
        return Target(protocol, self._operation(protocol, name), Message(request, body, {}, pairs))

    def _operation(self, protocol: Protocol, name: str) -> Operation:
        service = protocol.service
        found = service.operations.get(name)
        if found is None:
            if name in service.model.operation_names:
                raise protocol.faults.not_implemented(f"{service.name} {name} is not implemented by Cloudlet")
            raise protocol.faults.unknown_operation(f"There is no operation {name[:128]!r}")
        return found


def _nobody(scope: Scope | None) -> AwsError:
    return NoSuchService(f"The service {scope.service[:64]!r} is not implemented") if scope else UnknownService()
