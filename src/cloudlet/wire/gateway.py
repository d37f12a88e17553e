"""The path of a request. Read `Gateway.handle` and you have read the front half of the house."""

import logging
from collections.abc import Iterable

from cloudlet.kernel.call import Call
from cloudlet.kernel.clock import Clock
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Request, Response
from cloudlet.kernel.identity import Identities
from cloudlet.kernel.service import Service
from cloudlet.wire import sigv4
from cloudlet.wire.faults import InternalFailure
from cloudlet.wire.invoke import Store, invoke
from cloudlet.wire.protocol import Protocol
from cloudlet.wire.query import query_failure
from cloudlet.wire.route import Router, Target

log = logging.getLogger(__name__)


class Gateway:
    """Answers AWS's API for some services, over one store."""

    def __init__(self, services: Iterable[Service], store: Store, clock: Clock, identities: Identities) -> None:
        self.store, self.clock, self.identities = store, clock, identities
        self.router = Router(services)

    async def handle(self, request: Request) -> Response:
        """One request, from bytes to bytes. Never raises but for cancellation."""
        token = self.clock.token(32)
        request_id = f"{token[:8]}-{token[8:12]}-{token[12:16]}-{token[16:20]}-{token[20:]}"
        protocol: Protocol | None = None
        try:
            protocol = self.router.aim(request)                                          # 1 route
            target = await self.router.find(protocol, request)
            call = self._verify(request, target, request_id)                             # 2 verify the signature
            operation, model = target.operation, target.operation.model
            members = protocol.parse(model, target.message)                              # 3 parse
            self._authorise(target, call, members)                                       # 4 authorise
            output = await invoke(operation, call, members, self.store, protocol.faults)  # 5 run
            return protocol.print(model, output, request_id)                             # 6 print
        except AwsError as error:
            return _failure(protocol, error, request_id)
        except Exception:  # One of the two places that may catch everything; the other is the control loop.
            log.exception("a bug of ours, request %s", request_id)
            return _failure(protocol, InternalFailure(), request_id)

    def _verify(self, request: Request, target: Target, request_id: str) -> Call:
        faults, now = target.protocol.faults, self.clock.now()
        signed = sigv4.read(request, faults)
        sigv4.check_time(signed, now, faults)
        with self.store.tx() as tx:
            credential = sigv4.find_credential(self.identities, tx, signed, now, faults)
        digest = sigv4.digest_of(target.message.whole, signed, target.protocol.service.name, faults)
        sigv4.check(request, signed, credential.secret, digest, faults)
        principal = credential.principal
        return Call(request_id, principal.account, signed.scope.region, principal, now, request.endpoint,
                    request.source)

    def _authorise(self, target: Target, call: Call, members: dict[str, object]) -> None:
        operation = target.operation
        resources = tuple(operation.resources(call, members)) if operation.resources else ("*",)
        with self.store.tx() as tx:
            refusal = self.identities.refuses(tx, call, operation.action, resources or ("*",))
        if refusal is not None:
            raise target.protocol.faults.denied(refusal.message)


def _failure(protocol: Protocol | None, error: AwsError, request_id: str) -> Response:
    if protocol is None:
        return query_failure(error, request_id, "")
    return protocol.failure(error, request_id)
