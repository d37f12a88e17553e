"""Pages for operations that answer the whole list: cut here, once, as AWS's paginators describe them."""

from typing import Any

import msgspec
from botocore.model import ListShape, Shape, StructureShape

from cloudlet.kernel.call import Call
from cloudlet.kernel.paging import InvalidToken, cut
from cloudlet.kernel.service import Operation
from cloudlet.wire.faults import Faults
from cloudlet.wire.validate import Violation

# How many items a page has where the client does not say, by the services' API references.
_DEFAULT = 100
_DEFAULTS = {"ec2": 1000, "elbv2": 400, "logs": 50, "autoscaling": 50, "cloudwatch": 50, "s3": 1000, "sqs": 1000,
             "ssm": 50}
_OPERATION_DEFAULTS = {("ecs", "ListServices"): 10, ("cloudwatch", "ListMetrics"): 500,
                       ("ssm", "GetParametersByPath"): 10}

_encode = msgspec.msgpack.Encoder(order="sorted").encode


class Pager:
    """One operation's pages: the names of its tokens, its limit and its lists."""

    def __init__(self, operation: Operation, pages: dict[str, Any], keys: list[str], output: StructureShape) -> None:
        self._service, self._name = operation.service, operation.model.name
        self._input, self._output, self._limit = pages["input_token"], pages["output_token"], pages.get("limit_key")
        self._more, self._keys = pages.get("more_results"), keys
        self._identities = {key: _identity_of(output.members[key]) for key in keys}
        self._default = _OPERATION_DEFAULTS.get((self._service, self._name), _DEFAULTS.get(self._service, _DEFAULT))

    def page(self, call: Call, request: dict[str, Any], output: Any, faults: Faults) -> Any:
        """The asked page of a full answer; an answer that carries its own token is left alone."""
        if not isinstance(output, dict) or self._output in output or (self._more and self._more in output):
            return output
        token, limit = request.get(self._input), self._limit_of(request, faults)
        items = [(key, item) for key in self._keys for item in output.get(key) or ()]
        if not token and len(items) <= limit:
            return output if self._more is None else {**output, self._more: False}
        asked = {name: value for name, value in request.items() if name not in (self._input, self._limit)}
        scope = f"{call.scope}/{self._service}/{self._name}/{_encode(asked).hex()}"
        try:
            shown, following = cut(items, token=token, limit=limit, scope=scope,
                                   identity=lambda pair: f"{pair[0]}/{self._identity(*pair)}")
        except InvalidToken:
            raise faults.bad_page() from None
        answer = {**output, **{key: [item for name, item in shown if name == key] for key in self._keys}}
        if following is not None:
            answer[self._output] = following
        return answer if self._more is None else {**answer, self._more: following is not None}

    def _limit_of(self, request: dict[str, Any], faults: Faults) -> int:
        value = request.get(self._limit) if self._limit else None
        if value is None:
            return self._default
        if int(value) < 1:
            raise faults.invalid([Violation(str(self._limit), str(self._limit), "range",
                                            "Member must have value greater than or equal to 1", value)])
        return int(value)

    def _identity(self, key: str, item: Any) -> str:
        """What an item is known by: itself, or its members that are names rather than state."""
        if not isinstance(item, dict):
            return str(item)
        names = self._identities[key]
        known = [str(item[name]) for name in names if name in item]
        return "/".join(known) if known else _encode(item).hex()


def _identity_of(shape: Shape) -> tuple[str, ...]:
    member = shape.member if isinstance(shape, ListShape) else None
    if not isinstance(member, StructureShape):
        return ()
    return tuple(name for name, item in member.members.items()
                 if item.type_name == "string" and name.lower().endswith(("arn", "id", "name", "key", "digest")))


def pager_of(operation: Operation) -> Pager | None:
    """The pager of an operation; None where AWS does not page it, or in a way that it must do itself."""
    pages, output = operation.pages, operation.model.output_shape
    if not pages or output is None:
        return None
    keys = pages.get("result_key")
    keys = [keys] if isinstance(keys, str) else keys
    tokens = (pages.get("input_token"), pages.get("output_token"))
    if not keys or not all(isinstance(token, str) for token in tokens) or tokens[1] not in output.members:
        return None
    lists = [key for key in keys if isinstance(output.members.get(key), ListShape)]
    return Pager(operation, pages, lists, output) if lists == keys else None
