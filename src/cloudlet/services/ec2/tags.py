"""Tags: given when something is made, changed later, and found again.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2.api import InvalidParameterValue, TagLimitExceeded, ec2
from cloudlet.services.ec2.nouns import NOUNS, find, noun_of
from cloudlet.store.db import Tx

TAGS_MAX = 50
KEY_LENGTH_MAX, VALUE_LENGTH_MAX = 128, 256


def tags_for(request: Input, resource_type: str) -> dict[str, str]:
    """The tags that a request to make a `resource_type` gives it (`TagSpecifications`)."""
    return tags_by_type(request, resource_type)[resource_type]


def tags_by_type(request: Input, *resource_types: str) -> dict[str, dict[str, str]]:
    """The tags that a request to make several kinds of things gives each."""
    found: dict[str, dict[str, str]] = {each: {} for each in resource_types}
    for specification in request.get("TagSpecifications") or ():
        given = specification.get("ResourceType")
        if not given:
            raise InvalidParameterValue("Tag specification resource type must have a value")
        if given not in found:
            raise InvalidParameterValue(f"'{given}' is not a valid taggable resource type for this operation.")
        if not specification.get("Tags"):
            raise InvalidParameterValue("Tag specification must have at least one tag")
        for key, value in _pairs(specification["Tags"]):
            if key in found[given]:
                raise InvalidParameterValue(f"Duplicate tag key '{key}' specified.")
            found[given][key] = value
    return {each: _checked(tags) for each, tags in found.items()}


def tag_set(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as answers list them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _pairs(tags: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    for tag in tags:
        key, value = tag.get("Key") or "", tag.get("Value") or ""
        if not key:
            raise InvalidParameterValue("Tag key cannot be empty")
        if len(key) > KEY_LENGTH_MAX:
            raise InvalidParameterValue(f"Tag key exceeds the maximum length of {KEY_LENGTH_MAX} characters")
        if len(value) > VALUE_LENGTH_MAX:
            raise InvalidParameterValue(f"Tag value exceeds the maximum length of {VALUE_LENGTH_MAX} characters")
        if key.lower().startswith("aws:"):
            raise InvalidParameterValue("Tag keys starting with 'aws:' are reserved for internal use")
        yield key, value


def _checked(tags: dict[str, str]) -> dict[str, str]:
    if sum(not key.startswith("aws:") for key in tags) > TAGS_MAX:
        raise TagLimitExceeded(f"The maximum number of Tags per resource is {TAGS_MAX}.")
    return tags


def _resource_arns(call: Call, request: Input) -> list[str]:
    return [call.arn("ec2", f"{noun_of(id).resource_type}/{id}") for id in request["Resources"]]


@ec2.write(resources=_resource_arns)
def create_tags(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags, or gives those that are there another value."""
    added = dict(_pairs(request["Tags"]))
    for id in request["Resources"]:
        found = find(tx, call, noun_of(id).cls, id)
        tx.put(replace(found, tags=_checked({**found.tags, **added})), wake=False)


@ec2.write(resources=_resource_arns)
def delete_tags(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags by key, by key and value, or all; one that is not there is no error."""
    asked = request.get("Tags")
    for id in request["Resources"]:
        found = find(tx, call, noun_of(id).cls, id)
        tags = {key: value for key, value in found.tags.items() if not _named(asked, key, value)}
        tx.put(replace(found, tags=tags), wake=False)


def _named(asked: list[dict[str, str]] | None, key: str, value: str) -> bool:
    if not asked:
        return not key.startswith("aws:")
    return any(tag.get("Key") == key and tag.get("Value", value) == value for tag in asked)


@ec2.read(resources=any_resource)
def describe_tags(call: Call, tx: Tx, request: Input) -> Output:
    """Every tag of everything, one a line."""
    rows = [{"Key": key, "ResourceId": found.id, "ResourceType": noun.resource_type, "Value": value}
            for noun in NOUNS for found in tx.find(noun.cls, f"{call.scope}/") if not getattr(found, "releasing", False)
            for key, value in found.tags.items()]
    return {"Tags": matching(rows, request.get("Filters"), {
        "key": lambda row: row["Key"],
        "value": lambda row: row["Value"],
        "resource-id": lambda row: row["ResourceId"],
        "resource-type": lambda row: row["ResourceType"],
    }, lambda row: {row["Key"]: row["Value"]})}
