"""Tags: their rules, and the operations on those of clusters, task definitions, tasks and services."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import InvalidParameterException, ResourceNotFoundException, ecs
from cloudlet.services.ecs.records import Cluster, Definition, Service, Tags, Task
from cloudlet.store.db import Tx

TAGS_MAX = 50


def tags_of(request: Input) -> Tags:
    """The tags of a request, sorted by key. Raises InvalidParameterException for reserved, doubled or too many."""
    given = request.get("tags") or []
    for tag in given:
        key, value = tag.get("key") or "", tag.get("value") or ""
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise InvalidParameterException("Tag keys have 1 to 128 characters, and tag values at most 256.")
        if key.lower().startswith("aws:"):
            raise InvalidParameterException("Tag keys cannot start with 'aws:': this prefix is reserved.")
    tags = {tag["key"]: tag.get("value") or "" for tag in given}
    if len(tags) != len(given):
        raise InvalidParameterException("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    return merged((), tags)


def merged(tags: Tags, more: Mapping[str, str]) -> Tags:
    """Tags with others over them. Raises InvalidParameterException where that is more than fifty."""
    together = tuple(sorted({**dict(tags), **more}.items()))
    if sum(not key.startswith("aws:") for key, _ in together) > TAGS_MAX:
        raise InvalidParameterException(f"The maximum number of tags is {TAGS_MAX}.")
    return together


def tag_list(tags: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Tags as the API speaks them."""
    return [{"key": key, "value": value} for key, value in tags]


def tagged(call: Call, tx: Tx, text: str) -> Any:
    """The record that an ARN names. Raises InvalidParameterException or ResourceNotFoundException."""
    arn = Arn.parse(text)
    if arn is None or arn.service != "ecs":
        raise InvalidParameterException(f"Invalid identifier: {text}")
    found = _named(tx, arn) if (arn.account, arn.region) == (call.account, call.region) else None
    if found is None:
        raise ResourceNotFoundException("The specified resource is not found.")
    return found


def _named(tx: Tx, arn: Arn) -> Any:
    """The record that an ARN names, or None."""
    kind, _, path = arn.resource.partition("/")
    scope = f"{arn.account}/{arn.region}"
    match kind:
        case "cluster":
            return tx.get(Cluster, f"{scope}/{path}")
        case "service":
            return tx.get(Service, f"{scope}/{path}")
        case "task":
            return tx.get(Task, f"{scope}/{path}")
        case "task-definition":
            family, _, number = path.partition(":")
            return tx.get(Definition, f"{scope}/{family}:{int(number):06d}") if number.isdecimal() else None
    return None


@ecs.resource_tags
def tags_by_arn(tx: Tx, text: str) -> Mapping[str, str]:
    """What conditions on aws:ResourceTag/… see."""
    arn = Arn.parse(text)
    found = _named(tx, arn) if arn is not None else None
    return dict(found.tags) if found is not None else {}


def _arn(call: Call, request: Input) -> list[str]:
    return [request["resourceArn"]]


@ecs.write(resources=_arn)
def tag_resource(call: Call, tx: Tx, request: Input) -> Any:
    """Adds or replaces tags."""
    found = tagged(call, tx, request["resourceArn"])
    tx.put(replace(found, tags=merged(found.tags, dict(tags_of(request)))), wake=False)
    return {}


@ecs.write(resources=_arn)
def untag_resource(call: Call, tx: Tx, request: Input) -> Any:
    """Removes tags; keys that are not there are fine."""
    found = tagged(call, tx, request["resourceArn"])
    gone = set(request["tagKeys"])
    tx.put(replace(found, tags=tuple(tag for tag in found.tags if tag[0] not in gone)), wake=False)
    return {}


@ecs.read(resources=_arn)
def list_tags_for_resource(call: Call, tx: Tx, request: Input) -> Any:
    """The tags of one resource."""
    return {"tags": tag_list(tagged(call, tx, request["resourceArn"]).tags)}
