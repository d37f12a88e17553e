"""The tags of log groups: the operations of today name a group by its ARN, the older ones by its name."""

import dataclasses
from collections.abc import Mapping

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input, Output
from cloudlet.services.logs.groups import Group, find_group, group_key, merged_tags, named, requested_group, the_group
from cloudlet.services.logs.service import InvalidParameter, logs
from cloudlet.store.db import Tx


@logs.resource_tags
def tags_by_arn(tx: Tx, text: str) -> Mapping[str, str]:
    """What conditions on aws:ResourceTag/… see: the tags of the group that an ARN names, or that its stream is in."""
    arn = Arn.parse(text)
    if arn is None or not arn.resource.startswith("log-group:"):
        return {}
    group = tx.get(Group, group_key(arn.account, arn.region, arn.resource.split(":")[1]))
    return group.tags if group is not None else {}


def _resource(call: Call, request: Input) -> list[str]:
    arn = request.get("resourceArn")
    return the_group(call, request) if arn is None else [str(arn).removesuffix(":*")]


def _group(call: Call, tx: Tx, request: Input) -> Group:
    arn = request.get("resourceArn")
    if arn is None:
        return requested_group(call, tx, request)
    if not str(arn).startswith("arn:"):
        raise InvalidParameter("Invalid ARN provided as resourceArn.")
    return find_group(tx, call.account, call.region, named(call, arn))


def _tag(call: Call, tx: Tx, request: Input) -> None:
    group = _group(call, tx, request)
    tx.put(dataclasses.replace(group, tags=merged_tags(group.tags, request["tags"])))


def _untag(call: Call, tx: Tx, request: Input, keys: list[str]) -> None:
    group = _group(call, tx, request)
    tx.put(dataclasses.replace(group, tags={key: value for key, value in group.tags.items() if key not in keys}))


@logs.write(resources=_resource)
def tag_resource(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags to a group or changes their values."""
    _tag(call, tx, request)


@logs.write(resources=_resource)
def untag_resource(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags from a group."""
    _untag(call, tx, request, request["tagKeys"])


@logs.read(resources=_resource)
def list_tags_for_resource(call: Call, tx: Tx, request: Input) -> Output:
    """A group's tags."""
    return {"tags": _group(call, tx, request).tags}


@logs.write(resources=_resource)
def tag_log_group(call: Call, tx: Tx, request: Input) -> Output:
    """The older form of TagResource."""
    _tag(call, tx, request)


@logs.write(resources=_resource)
def untag_log_group(call: Call, tx: Tx, request: Input) -> Output:
    """The older form of UntagResource."""
    _untag(call, tx, request, request["tags"])


@logs.read(resources=_resource)
def list_tags_log_group(call: Call, tx: Tx, request: Input) -> Output:
    """The older form of ListTagsForResource."""
    return {"tags": _group(call, tx, request).tags}
