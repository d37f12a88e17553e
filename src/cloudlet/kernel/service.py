"""How a service declares itself on top of AWS's model: one decorated function an operation, one class an error."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, overload

import msgspec
from botocore import xform_name
from botocore.model import OperationModel

from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import RequestKeys
from cloudlet.kernel.errors import AwsError, DeclarationError
from cloudlet.kernel.exchange import Exchange
from cloudlet.kernel.http import Handler, Response
from cloudlet.kernel.model import paginators, service_model
from cloudlet.kernel.policy import Grant

Mode = Literal["read", "write", "wait"]
Input = dict[str, Any]
Output = Any  # a mapping by the output shape's member names; None where the operation answers nothing
Run = Callable[..., Any]


class Need(NamedTuple):
    """One thing that a caller must be allowed: an IAM action on one resource (an ARN, or "*")."""

    action: str
    resource: str


Resources = Callable[[Call, Input], Iterable[str | Need]]
ActionOf = Callable[[Call, Input], str]  # where the IAM action depends on the request
ConditionKeys = Callable[[Call, Input], Mapping[str, str | Iterable[str] | None]]
TagsOf = Callable[[Any, str], Mapping[str, str]]  # (tx, ARN) → the resource's tags, none where there is no resource
FactsOf = Callable[[Any, str], Mapping[str, str]]  # (tx, ARN) → the condition keys that the resource itself has
ArnOf = Callable[[Any, str], str]  # (tx, ARN as a request names the resource) → its ARN in full
PolicyOf = Callable[[Any, str], str | None]  # (tx, ARN) → the resource's policy document, or None
Admit = Callable[[Call, Any, str, Input], Any]  # (call, tx, operation, request): raises what no permission changes
Front = Callable[[Any, Exchange, Handler], Awaitable[Response]]  # (store, exchange, what answers else)
Witness = Callable[[Any, Exchange, Response], Response]  # (store, exchange, its answer) → what is sent
KeysOf = Callable[[Call, Any, Input], Mapping[str, str | Iterable[str] | None]]  # (call, tx, request) → condition keys


class Access(msgspec.Struct, frozen=True):
    """What a resource itself says of who may do something with it: the account it belongs to ("": nobody's), its
    policy, and what else it grants the caller (S3's access control lists)."""

    owner: str
    policy: str | None = None
    grant: Grant = "none"


AccessOf = Callable[[Any, Call, str, str, RequestKeys], Access]  # (tx, call, action, ARN, the request's keys)
F = TypeVar("F", bound=Run)


def any_resource(call: Call, request: Input) -> tuple[str, ...]:
    """The resources of an operation that AWS lets nobody allow on single ones: only "*" matches."""
    return ("*",)


def asked_within(call: Call, request: Input) -> tuple[str, ...]:
    """The resources of an operation that asks for permission itself, since what it needs depends on what it finds."""
    return ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as declared.

    `run(call, tx, request)` for the modes "read" and "write" (sync, inside one transaction); `await
    run(call, store, request)` for "wait" (a data plane: it owns its transactions and may hold the request open).
    `action` is the IAM action, which may depend on the request (S3's do); `resources` names the ARNs that the action
    needs (None: only "*" matches), and, as `Need`, those that need another action; `context` names condition keys of
    the service's own, such as ecs:cluster (the request's tags are found without it).
    `durable`: answer only after the commit would survive a power cut.
    """

    service: str
    model: OperationModel
    run: Run
    mode: Mode
    action: str | ActionOf
    resources: Resources | None
    durable: bool
    pages: dict[str, Any] | None
    context: ConditionKeys | None = None

    def action_of(self, call: Call, request: Input) -> str:
        """The IAM action of a request."""
        return self.action if isinstance(self.action, str) else self.action(call, request)

    def needs(self, call: Call, request: Input) -> dict[str, list[str]]:
        """All that the caller must be allowed: IAM actions, and the resources of each."""
        if self.resources is asked_within:
            return {}
        own, wanted = self.action_of(call, request), self.resources(call, request) if self.resources else ()
        if type(wanted) is list and len(wanted) == 1 and type(wanted[0]) is str:  # nearly always
            return {own: wanted}
        found: dict[str, list[str]] = {}
        for each in wanted:
            action, resource = (own, each) if isinstance(each, str) else each
            found.setdefault(action, []).append(resource)
        return found or {own: ["*"]}


class Service:
    """The registry of one AWS service: its model, its operations, its errors.

    `protocols` adds what AWS still speaks but the model no longer lists (SQS: query). `prefix` is the service's name
    in IAM actions where it differs from the signing name.
    """

    def __init__(self, name: str, *, protocols: tuple[str, ...] = (), prefix: str | None = None) -> None:
        self.name = name
        self.model = service_model(name)
        listed = tuple(self.model.metadata.get("protocols") or (self.model.metadata["protocol"],))
        self.protocols: tuple[str, ...] = listed + tuple(p for p in protocols if p not in listed)
        self.prefix = prefix or self.model.signing_name
        self.operations: dict[str, Operation] = {}
        self.arn_of: ArnOf | None = None
        self.tags_of: TagsOf | None = None
        self.facts_of: FactsOf | None = None
        self.policy_of: PolicyOf | None = None
        self.access_of: AccessOf | None = None
        self.keys_of: KeysOf | None = None
        self.admit: Admit | None = None
        self.front: Front | None = None
        self.witness: Witness | None = None
        self._names = {xform_name(name): name for name in self.model.operation_names}

    @overload
    def read(self, fn: F) -> F: ...
    @overload
    def read(self, *, resources: Resources | None = None, action: str | ActionOf | None = None,
             context: ConditionKeys | None = None) -> Callable[[F], F]: ...
    def read(self, fn: Any = None, *, resources: Resources | None = None, action: str | ActionOf | None = None,
             context: ConditionKeys | None = None) -> Any:
        """Declares an operation that changes nothing a customer asked to be changed."""
        return self._declare(fn, "read", resources, action, False, context)

    @overload
    def write(self, fn: F) -> F: ...
    @overload
    def write(self, *, resources: Resources | None = None, action: str | ActionOf | None = None,
              durable: bool = False, context: ConditionKeys | None = None) -> Callable[[F], F]: ...
    def write(self, fn: Any = None, *, resources: Resources | None = None, action: str | ActionOf | None = None,
              durable: bool = False, context: ConditionKeys | None = None) -> Any:
        """Declares an operation that writes intent."""
        return self._declare(fn, "write", resources, action, durable, context)

    @overload
    def wait(self, fn: F) -> F: ...
    @overload
    def wait(self, *, resources: Resources | None = None, action: str | ActionOf | None = None,
             context: ConditionKeys | None = None) -> Callable[[F], F]: ...
    def wait(self, fn: Any = None, *, resources: Resources | None = None, action: str | ActionOf | None = None,
             context: ConditionKeys | None = None) -> Any:
        """Declares an asynchronous operation: a data plane that owns its transactions."""
        return self._declare(fn, "wait", resources, action, False, context)

    def resource_arn(self, fn: ArnOf) -> ArnOf:
        """Declares a resource's ARN in full, where requests may name it in short: policies are asked about that."""
        self.arn_of = fn
        return fn

    def resource_tags(self, fn: TagsOf) -> TagsOf:
        """Declares how a resource's tags are found: what conditions on aws:ResourceTag/… are asked of."""
        self.tags_of = fn
        return fn

    def resource_keys(self, fn: FactsOf) -> FactsOf:
        """Declares condition keys that a resource has by what it is, such as ec2:Vpc. Asked only where a policy is."""
        self.facts_of = fn
        return fn

    def resource_policy(self, fn: PolicyOf) -> PolicyOf:
        """Declares how a resource's own policy is found; it counts in every decision about the resource."""
        self.policy_of = fn
        return fn

    def resource_access(self, fn: AccessOf) -> AccessOf:
        """Declares what resources say of who may do something with them, where it is more than a policy and the account
        in the ARN. Callers from elsewhere are then not told why they are refused."""
        self.access_of = fn
        return fn

    def condition_keys(self, fn: KeysOf) -> KeysOf:
        """Declares condition keys that any of the operations may have; asked only where a policy asks for one."""
        self.keys_of = fn
        return fn

    def admission(self, fn: Admit) -> Admit:
        """Declares what raises, before anybody's permission is asked, where the request cannot be meant for us. What it
        returns is what the record of the request begins with: see `Exchange`."""
        self.admit = fn
        return fn

    def front_door(self, fn: Front) -> Front:
        """Declares what stands in front of all operations: it may answer in their place, or change what they
        answer."""
        self.front = fn
        return fn

    def record_of_requests(self, fn: Witness) -> Witness:
        """Declares who is told of every request when it has been answered, be it by the front door or by an error. It
        may see how the answer is sent."""
        self.witness = fn
        return fn

    def _declare(self, fn: F | None, mode: Mode, resources: Resources | None, action: str | ActionOf | None,
                 durable: bool, context: ConditionKeys | None) -> Any:
        def declare(fn: F) -> F:
            name = self._names.get(fn.__name__)
            if name is None:
                raise DeclarationError(f"{self.name} has no operation called {fn.__name__}")
            if name in self.operations:
                raise DeclarationError(f"{self.name}.{name} is declared twice")
            self.operations[name] = Operation(
                self.name, self.model.operation_model(name), fn, mode, action or f"{self.prefix}:{name}", resources,
                durable, paginators(self.name).get(name), context)
            return fn
        return declare if fn is None else declare(fn)

    def error(self, shape_name: str, message: str = "", *, status: int | None = None) -> type[AwsError]:
        """A class for one error of this service. The model supplies code, status and fault.

        `status` declares a code that the model lacks (all of EC2's). Raises DeclarationError where neither is known.
        """
        code, http, sender = shape_name, status or 400, True
        if shape_name in self.model.shape_names:
            trait = self.model.shape_for(shape_name).metadata.get("error", {})
            code = trait.get("code", shape_name)
            http = trait.get("httpStatusCode", status or 400)
            sender = trait.get("senderFault", http < 500)
        elif status is None:
            raise DeclarationError(f"{self.name} has no error shape {shape_name}; pass status= if it is unmodelled")
        else:
            sender = status < 500
        return type(shape_name, (AwsError,), {
            "code": code, "status": http, "sender_fault": sender,
            "shape_name": shape_name, "default_message": message or code,
        })
