"""Tags of parameters."""

import dataclasses
from collections.abc import Iterable, Mapping

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ssm.names import refer
from cloudlet.services.ssm.records import Parameter, find
from cloudlet.services.ssm.service import (
    InvalidResourceId,
    InvalidResourceType,
    ParameterNotFound,
    TooManyTags,
    ValidationException,
    ssm,
)
from cloudlet.store.db import Tx

TAGS_MAX = 50


def merged(have: Mapping[str, str], more: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Tags with those of a request added. Raises TooManyTags; ValidationException for a key of AWS's own."""
    added = {tag["Key"]: tag["Value"] for tag in more}
    if any(key.lower().startswith("aws:") for key in added):
        raise ValidationException("Tag keys beginning with 'aws:' are reserved for system use.")
    tags = {**have, **added}
    if len(tags) > TAGS_MAX:
        raise TooManyTags(f"The maximum number of tags that can be applied to a resource is {TAGS_MAX}.")
    return tags


def _tagged(call: Call, request: Input) -> list[str]:
    return [refer(call.account, call.region, request["ResourceId"]).arn]


def _found(call: Call, tx: Tx, request: Input) -> Parameter:
    if request["ResourceType"] != "Parameter":
        raise InvalidResourceType()
    try:
        return find(tx, refer(call.account, call.region, request["ResourceId"]))
    except ParameterNotFound:
        raise InvalidResourceId() from None


@ssm.write(resources=_tagged)
def add_tags_to_resource(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags to a parameter or changes their values."""
    parameter = _found(call, tx, request)
    tx.put(dataclasses.replace(parameter, tags=merged(parameter.tags, request["Tags"])))


@ssm.write(resources=_tagged)
def remove_tags_from_resource(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags from a parameter."""
    parameter, gone = _found(call, tx, request), set(request["TagKeys"])
    tx.put(dataclasses.replace(
        parameter, tags={key: value for key, value in parameter.tags.items() if key not in gone}))


@ssm.read(resources=_tagged)
def list_tags_for_resource(call: Call, tx: Tx, request: Input) -> Output:
    """A parameter's tags."""
    return {"TagList": [{"Key": key, "Value": value} for key, value in _found(call, tx, request).tags.items()]}


@ssm.resource_tags
def tags_of(tx: Tx, arn: str) -> Mapping[str, str]:
    """The tags of the parameter of an ARN; none where there is no such parameter."""
    try:
        return find(tx, refer("", "", arn)).tags
    except ParameterNotFound:
        return {}
