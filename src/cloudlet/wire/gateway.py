"""The path of a request. Read `Gateway.handle` and you have read the front half of the house."""

import logging
from collections.abc import Iterable
from functools import partial

from msgspec.structs import replace

from cloudlet.kernel.call import ANONYMOUS, Call
from cloudlet.kernel.clock import Clock, as_uuid
from cloudlet.kernel.condition_keys import keys_of, tag_keys
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.exchange import Exchange
from cloudlet.kernel.http import BodyTooLarge, BodyTruncated, Request, Response
from cloudlet.kernel.identity import Credential, Identities
from cloudlet.kernel.service import Service
from cloudlet.wire import payload, s3_forms, sigv4
from cloudlet.wire.faults import Faults, InternalFailure
from cloudlet.wire.invoke import Invoker, Permit, Store
from cloudlet.wire.protocol import Message, Protocol
from cloudlet.wire.route import Router, Target, body_fault, stray_failure

DEFAULT_REGION = "us-east-1"  # of a request that no signature gives one
_BODILESS = ("GET", "HEAD")  # S3 reads nothing of what comes with them
LONG_BYTES = 256 << 10  # of a document that is read in one turn of the event loop, and then acted on in another

log = logging.getLogger(__name__)


class Gateway:
    """Answers AWS's API for some services, over one store."""

    def __init__(self, services: Iterable[Service], store: Store, clock: Clock, identities: Identities) -> None:
        self.store, self.clock, self.identities = store, clock, identities
        self.router, self.invoker = Router(services), Invoker(store)

    async def handle(self, request: Request) -> Response:
        """One request, from bytes to bytes. Never raises but for cancellation."""
        request_id = as_uuid(self.clock.token(32))
        protocol: Protocol | None = None
        try:
            protocol = self.router.aim(request)                                            # 1 route
            exchange = Exchange(request, protocol.path(request), request_id, self.clock, self.clock.now())
            front, witness = protocol.service.front, protocol.service.witness  # S3's: websites; access logs
            answer = partial(self._answer, protocol, exchange)
            try:
                response = await (answer(request) if front is None else
                                  front(self.store, exchange, answer))
            except Exception as error:  # of the front door: operations have answered theirs
                response = self._failed(protocol, exchange, error)
            return response if witness is None else witness(self.store, exchange, response)
        except Exception as error:
            failure = _failure(error, protocol, request_id)
            return protocol.failure(failure, request_id) if protocol else stray_failure(request, failure, request_id)

    async def _answer(self, protocol: Protocol, exchange: Exchange, request: Request) -> Response:
        """What an operation answers, be it an error."""
        exchange.error, request_id = None, exchange.request_id
        try:
            if (bucket := protocol.bucket_of_form(request)) is not None:
                return await self._put_form(protocol, exchange, request, bucket)
            path = exchange.path if request is exchange.request else protocol.path(request)
            target = await self.router.find(protocol, request, path)
            operation, model = target.operation, target.operation.model
            call, message = await self._verify(request, target, exchange)                  # 2 verify the signature
            exchange.members = members = protocol.parse(model, message)                    # 3 parse
            if len(message.raw) > LONG_BYTES:  # that took a while: whoever waits goes first
                await self.clock.sleep(0)
            permit = self._permit(target, exchange, call, members)                         # 4 authorise, and
            exchange.output = output = await self.invoker.invoke(
                operation, call, members, protocol.faults, permit)                         # 5 run
            return protocol.print(model, output, request_id)                               # 6 print
        except Exception as error:  # One of the two places that may catch everything; the other is the control loop.
            return self._failed(protocol, exchange, error)

    @staticmethod
    def _failed(protocol: Protocol, exchange: Exchange, error: Exception) -> Response:
        exchange.error = _failure(error, protocol, exchange.request_id)
        return protocol.failure(exchange.error, exchange.request_id)

    async def _put_form(self, protocol: Protocol, exchange: Exchange, request: Request, bucket: str) -> Response:
        """A browser's form: a PutObject that its signed policy allows, or that anybody may do."""
        form, call = await s3_forms.read(request, bucket), replace(
            self._nobody(request, exchange.request_id), is_form=True)
        now = self.clock.now()
        signed = form.signed()
        if signed is not None:
            credential = self._credential(signed, now, protocol.faults)
            form.verify(signed, credential, protocol.faults)
            call = replace(call, account=credential.principal.account, principal=credential.principal,
                           region=signed.scope.region or DEFAULT_REGION, access_key_id=credential.access_key_id,
                           names_region=bool(signed.scope.region), stamp=signed.stamp)
        form.check_policy(now)
        operation, message = self.router.operation(protocol, "PutObject"), form.message()
        target = Target(protocol, operation, message)
        message = await self._checked(message, sigv4.unsigned(message.request, protocol.faults), target)
        exchange.call, exchange.members = call, (members := protocol.parse(operation.model, message))
        permit = self._permit(target, exchange, call, members)
        output = await self.invoker.invoke(operation, call, members, protocol.faults, permit)
        return form.answer(protocol.print(operation.model, output, exchange.request_id))

    def _credential(self, signed: sigv4.Signed, now: float, faults: Faults) -> Credential:
        """The credential that a signature names. Raises where it is no good."""
        access_key_id = signed.scope.access_key_id
        found = self.identities.constant(access_key_id)
        if found is None:
            with self.store.tx(shared=True) as tx:  # or each request would commit for those that wait for the disk
                found = self.identities.credential(tx, access_key_id)
        return sigv4.check_credential(found, signed, now, faults)

    def _nobody(self, request: Request, request_id: str) -> Call:
        """A call that bears no signature."""
        return Call(request_id, "", DEFAULT_REGION, ANONYMOUS, self.clock.now(), request.endpoint, request.source,
                    user_agent=request.headers.get("user-agent", ""), referer=request.headers.get("referer", ""),
                    names_region=False)

    async def _verify(self, request: Request, target: Target, exchange: Exchange) -> tuple[Call, Message]:
        """Who calls, and the message with its body as signed."""
        protocol, message, now = target.protocol, target.message, self.clock.now()
        signed = protocol.signature(request, target.operation.model, now)
        if signed is None:
            exchange.call = call = self._nobody(request, exchange.request_id)
            signed = sigv4.unsigned(request, protocol.faults) if protocol.takes_unsigned else None
        else:
            credential = self._credential(signed, now, protocol.faults)
            whole = message.raw if isinstance(message.body, bytes) else None
            signed = signed.verified(protocol.check(request, signed, credential.secret, whole))
            scope, principal, headers = signed.scope, credential.principal, request.headers
            exchange.call = call = Call(
                exchange.request_id, principal.account, scope.region or DEFAULT_REGION, principal, now,
                request.endpoint, request.source, scope.access_key_id, headers.get("user-agent", ""),
                headers.get("referer", ""), headers.get("x-amzn-trace-id", ""), bool(scope.region), False,
                signed.expires_s is not None, signed.stamp, signed.payload or "")
        if signed is None or not protocol.takes_unsigned or request.method in _BODILESS:
            return call, message
        return call, await self._checked(message, signed, target)

    @staticmethod
    async def _checked(message: Message, signed: sigv4.Signed, target: Target) -> Message:
        """The message with its body as its digests and checksums promise it."""
        protocol, model, request = target.protocol, target.operation.model, message.request
        says = "requestAlgorithmMember" in model.http_checksum
        if model.name in protocol.checksum_needed:
            payload.require_checksum(request.headers)
        if isinstance(message.body, bytes):
            return message.with_body(await payload.verified_whole(
                message.raw, signed, request.headers, protocol.faults, protocol.limit, says_checksums=says))
        return message.with_body(payload.verified(
            request.body, signed, request.headers, protocol.faults, says_checksums=says))

    def _permit(self, target: Target, exchange: Exchange, call: Call, members: dict[str, object]) -> Permit:
        """What raises unless the caller may do this; it is asked in the transaction in which the operation runs."""
        operation = target.operation
        service, needs = target.protocol.service, operation.needs(call, members)

        def permit(tx: object) -> None:
            def keys() -> dict[str, tuple[str, ...]]:
                own = operation.context(call, members) if operation.context else {}
                of_service = service.keys_of(call, tx, members) if service.keys_of else {}
                return {**tag_keys(members), **keys_of(own), **keys_of(of_service)}

            if service.admit is not None:
                exchange.admitted = service.admit(call, tx, operation.model.name, members)
            for action, resources in needs.items():
                refusal = self.identities.refuses(tx, call, action, tuple(resources), keys)
                if refusal is not None:
                    faults = target.protocol.faults
                    raise faults.unknown_key() if refusal.stranger else faults.denied(refusal.message)
        return permit


def _failure(error: Exception, protocol: Protocol | None, request_id: str) -> AwsError:
    """What a customer is told of whatever was raised."""
    if isinstance(error, AwsError):
        return error
    if protocol is not None and isinstance(error, BodyTooLarge | BodyTruncated):  # met while a stream was read
        return body_fault(error, protocol)
    log.error("a bug of ours, request %s", request_id, exc_info=error)
    return InternalFailure()
