"""Tags on repositories, as on any AWS resource (not to be confused with the tags of images)."""

import dataclasses
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.services.ecr.contents import require_repository
from cloudlet.services.ecr.records import Repository, repository_at
from cloudlet.services.ecr.service import InvalidParameter, InvalidTagParameter, TooManyTags, ecr
from cloudlet.store.db import Tx

TAGS_MAX = 50
KEY_MAX, VALUE_MAX = 128, 256


def checked_tags(present: dict[str, str], added: list[dict[str, str]]) -> dict[str, str]:
    """The tags with the added ones among them. Raises InvalidTagParameter or TooManyTags."""
    tags = dict(present)
    for tag in added:
        key, value = tag["Key"], tag["Value"]
        if not 1 <= len(key) <= KEY_MAX or len(value) > VALUE_MAX:
            raise InvalidTagParameter(f"Invalid parameter at 'tags' failed to satisfy constraint: 'tag keys have 1 to "
                                      f"{KEY_MAX} characters and values at most {VALUE_MAX}'")
        if key.lower().startswith("aws:"):
            raise InvalidTagParameter("Invalid parameter at 'tags' failed to satisfy constraint: "
                                      "'tag keys must not begin with aws:'")
        tags[key] = value
    if len(tags) > TAGS_MAX:
        raise TooManyTags(f"The number of tags exceeds the maximum of {TAGS_MAX} per repository")
    return tags


@ecr.resource_tags
def tags_of(tx: Tx, arn: str) -> dict[str, str]:
    """The tags of the repository of that ARN; none where there is none."""
    repository = repository_at(tx, arn)
    return repository.tags if repository is not None else {}


def _resource(call: Call, request: dict[str, Any]) -> list[str]:
    return [request["resourceArn"]]


def _tagged(call: Call, tx: Tx, request: dict[str, Any]) -> Repository:
    arn = Arn.parse(request["resourceArn"])
    if arn is None or arn.service != "ecr" or not arn.resource.startswith("repository/"):
        raise InvalidParameter("Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'")
    if arn.region != call.region:
        raise InvalidParameter("Invalid parameter at 'resourceArn' failed to satisfy constraint: "
                               f"'the repository is not in the region {call.region}'")
    return require_repository(tx, arn.account, arn.region, arn.resource.removeprefix("repository/"))


@ecr.write(resources=_resource)
def tag_resource(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Adds tags to a repository; a key that is there gets the new value."""
    repository = _tagged(call, tx, request)
    tx.put(dataclasses.replace(repository, tags=checked_tags(repository.tags, request["tags"])))
    return {}


@ecr.write(resources=_resource)
def untag_resource(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Takes tags from a repository; keys that are not there are fine."""
    repository = _tagged(call, tx, request)
    kept = {key: value for key, value in repository.tags.items() if key not in request["tagKeys"]}
    tx.put(dataclasses.replace(repository, tags=kept))
    return {}


@ecr.read(resources=_resource)
def list_tags_for_resource(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """A repository's tags."""
    return {"tags": [{"Key": key, "Value": value} for key, value in _tagged(call, tx, request).tags.items()]}
