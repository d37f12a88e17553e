"""Tags of topics.

https://docs.aws.amazon.com/sns/latest/dg/sns-tags.html
"""

import dataclasses
from collections.abc import Iterable, Mapping

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sns.records import Topic, find_by_arn
from cloudlet.services.sns.service import ResourceNotFound, TagLimitExceeded, invalid, key_of_arn, resource_arns, sns
from cloudlet.store.db import Tx

TAGS_MAX = 50


def checked(listed: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Tags as they are kept. Raises InvalidParameter, TagLimitExceeded."""
    tags: dict[str, str] = {}
    for tag in listed:
        if tag["Key"] in tags:
            raise invalid("Duplicated keys are not allowed.")
        if tag["Key"].lower().startswith("aws:"):
            raise invalid("Tags Reason: Tag keys that begin with aws: are reserved.")
        tags[tag["Key"]] = tag["Value"]
    if len(tags) > TAGS_MAX:
        raise TagLimitExceeded()
    return tags


def _required(call: Call, tx: Tx, request: Input) -> Topic:
    found = tx.get(Topic, key_of_arn(call, request["ResourceArn"], "ResourceArn"))
    if found is None:
        raise ResourceNotFound()
    return found


@sns.read(resources=resource_arns)
def list_tags_for_resource(call: Call, tx: Tx, request: Input) -> Output:
    """A topic's tags."""
    return {"Tags": [{"Key": key, "Value": value} for key, value in _required(call, tx, request).tags.items()]}


@sns.write(resources=resource_arns, durable=True)
def tag_resource(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags to a topic, or changes their values."""
    topic = _required(call, tx, request)
    tags = {**topic.tags, **checked(request["Tags"])}
    if len(tags) > TAGS_MAX:
        raise TagLimitExceeded()
    tx.put(dataclasses.replace(topic, tags=tags))
    return {}


@sns.write(resources=resource_arns, durable=True)
def untag_resource(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags from a topic."""
    topic, gone = _required(call, tx, request), set(request["TagKeys"])
    tx.put(dataclasses.replace(topic, tags={key: value for key, value in topic.tags.items() if key not in gone}))
    return {}


@sns.resource_tags
def tags_of(tx: Tx, arn: str) -> Mapping[str, str]:
    """The tags of a topic, for conditions."""
    topic = find_by_arn(tx, arn)
    return topic.tags if topic is not None else {}
