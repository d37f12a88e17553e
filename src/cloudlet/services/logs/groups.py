"""Log groups: made, described, listed, protected, deleted; how long they keep what they hold."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.names import Arn
from cloudlet.kernel.paging import InvalidToken, cut
from cloudlet.kernel.service import Input, Output
from cloudlet.services.logs import storage
from cloudlet.services.logs.filter_records import delete_filters, filter_count
from cloudlet.services.logs.service import (
    InvalidOperation,
    InvalidParameter,
    ResourceAlreadyExists,
    ResourceNotFound,
    TooManyTags,
    Validation,
    logs,
)
from cloudlet.store.db import Tx
from cloudlet.store.records import record

RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288,
                  3653)
DAY_MS = 86_400_000
LIST_MAX = 50
TAGS_MAX = 50
STANDARD = "STANDARD"
CLASSES = (STANDARD, "INFREQUENT_ACCESS")  # the others are written by AWS's own services only
_NAME = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}")


@record("logs.group")
class Group:
    """A log group. `id` is what its streams and events are stored under: a group made again starts empty."""

    key: str
    account: str
    region: str
    name: str
    id: int
    created: float
    retention_days: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    log_class: str = STANDARD
    protected: bool = False

    @property
    def arn(self) -> str:
        """`arn:aws:logs:REGION:ACCOUNT:log-group:NAME`, without the `:*` that stands for its streams."""
        return f"arn:aws:logs:{self.region}:{self.account}:log-group:{self.name}"

    def oldest_ms(self, now: float) -> int:
        """The time before which events are gone."""
        return int(now * 1000) - self.retention_days * DAY_MS if self.retention_days else 0


def group_key(account: str, region: str, name: str) -> str:
    """The key of a group's record."""
    return f"{account}/{region}/{name}"


def create_group(tx: Tx, account: str, region: str, name: str, tags: Mapping[str, str] | None = None,
                 log_class: str = STANDARD, protected: bool = False) -> Group:
    """A new group. Raises ResourceAlreadyExists, InvalidParameter for a name that no group may have."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter(f"1 validation error detected: Value '{name}' at 'logGroupName' failed to satisfy"
                               r" constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+")
    key = group_key(account, region, name)
    if tx.get(Group, key) is not None:
        raise ResourceAlreadyExists("The specified log group already exists")
    group = Group(key, account, region, name, storage.random_id(tx), tx.now, None, merged_tags({}, tags or {}),
                  log_class, protected)
    tx.put(group)
    return group


def find_group(tx: Tx, account: str, region: str, name: str) -> Group:
    """The group of that name. Raises ResourceNotFound."""
    group = tx.get(Group, group_key(account, region, name))
    if group is None:
        raise ResourceNotFound("The specified log group does not exist.")
    return group


def requested_name(call: Call, request: Input) -> str:
    """The group's name in a request that takes a name, or an identifier (a name or an ARN)."""
    name, identifier = request.get("logGroupName"), request.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise InvalidParameter("Exactly one of logGroupName or logGroupIdentifier must be specified.")
    return str(name) if name is not None else named(call, str(identifier))


def requested_group(call: Call, tx: Tx, request: Input) -> Group:
    """The group that a request names. Raises ResourceNotFound, InvalidParameter."""
    return find_group(tx, call.account, call.region, requested_name(call, request))


def the_group(call: Call, request: Input) -> list[str]:
    """The resource of operations on one group, as AWS writes it: the streams under the group, none named."""
    return [call.arn("logs", f"log-group:{requested_name(call, request)}:log-stream:")]


def named(call: Call, identifier: str) -> str:
    """The group that a name or an ARN (with or without `:*`) names, in the caller's account and region."""
    if not identifier.startswith("arn:"):
        return identifier
    arn = Arn.parse(identifier)
    if arn is None or arn.service != "logs" or not arn.resource.startswith("log-group:"):
        raise InvalidParameter(f"Invalid ARN: {identifier}")
    if (arn.account, arn.region) != (call.account, call.region):
        raise ResourceNotFound("The specified log group does not exist.")
    return arn.resource.removeprefix("log-group:").removesuffix(":*")


@logs.write(resources=the_group)
def create_log_group(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a group."""
    if request.get("kmsKeyId"):
        raise InvalidParameter("kmsKeyId is not supported: log groups cannot be encrypted with a key of AWS KMS here.")
    log_class = request.get("logGroupClass", STANDARD)
    if log_class not in CLASSES:
        raise InvalidParameter(f"The log group class {log_class} is not supported.")
    create_group(tx, call.account, call.region, request["logGroupName"], request.get("tags"), log_class,
                 bool(request.get("deletionProtectionEnabled")))


def of_standard_class(group: Group, what: str) -> None:
    """Raises InvalidOperation where the group's class leaves something out.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CloudWatch_Logs_Log_Classes.html
    """
    if group.log_class != STANDARD:
        raise InvalidOperation(f"{what} are not supported for log groups of the log class {group.log_class}.")


@logs.write(resources=the_group)
def delete_log_group(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a group with its streams and events: nobody sees them from now on, and a loop takes them away."""
    group = requested_group(call, tx, request)
    if group.protected:
        raise Validation("The log group cannot be deleted while deletion protection is enabled for it.")
    tx.delete(Group, group.key)
    delete_filters(tx, group.key)
    tx.enqueue(storage.DELETE, str(group.id))


@logs.read(resources=lambda call, request: [call.arn("logs", "log-group::log-stream:")])
def describe_log_groups(call: Call, tx: Tx, request: Input) -> Output:
    """Groups in order of name: all, by prefix, by a part of the name, or those named."""
    prefix, part = request.get("logGroupNamePrefix") or "", request.get("logGroupNamePattern") or ""
    if prefix and part:
        raise InvalidParameter("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    if request.get("includeLinkedAccounts"):
        raise InvalidParameter("includeLinkedAccounts is not supported: there are no linked accounts.")
    names = {named(call, each) for each in request.get("logGroupIdentifiers") or ()}
    groups = [group for group in tx.find(Group, group_key(call.account, call.region, prefix))
              if part in group.name and (not names or group.name in names)
              and request.get("logGroupClass") in (None, group.log_class)]
    return {"logGroups": [_described(tx, group) for group in groups]}


def _described(tx: Tx, group: Group) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "logGroupName": group.name, "creationTime": int(group.created * 1000),
        "metricFilterCount": filter_count(tx, group.key), "arn": f"{group.arn}:*", "logGroupArn": group.arn,
        "logGroupClass": group.log_class, "deletionProtectionEnabled": group.protected,
        "storedBytes": storage.stored_bytes(tx, group.id)}
    if group.retention_days is not None:
        shown["retentionInDays"] = group.retention_days
    return shown


@logs.read(resources=lambda call, request: [call.arn("logs", "log-group::log-stream:")])
def list_log_groups(call: Call, tx: Tx, request: Input) -> Output:
    """Groups in short, in order of name, by parts of their names (`^` marks a beginning), class and tags: a page."""
    for name in ("includeLinkedAccounts", "accountIdentifiers", "dataSources", "fieldIndexNames"):
        if request.get(name):
            raise InvalidParameter(f"{name} is not supported.")
    parts = (request.get("logGroupNamePattern") or "^").split("|")
    tags = {each["key"]: each.get("values") or [] for each in request.get("logGroupTags") or ()}
    found = [group for group in tx.find(Group, group_key(call.account, call.region, ""))
             if any(group.name.startswith(part[1:]) if part.startswith("^") else part in group.name for part in parts)
             and request.get("logGroupClass") in (None, group.log_class)
             and all(key in group.tags and (not values or group.tags[key] in values) for key, values in tags.items())]
    try:
        page, token = cut(found, token=request.get("nextToken"), limit=request.get("limit") or LIST_MAX,
                          identity=lambda group: group.name, scope=call.scope)
    except InvalidToken:
        raise InvalidParameter("The specified nextToken is invalid.") from None
    shown = [{"logGroupName": group.name, "logGroupArn": group.arn, "logGroupClass": group.log_class} for group in page]
    return {"logGroups": shown, "nextToken": token}


@logs.write(resources=the_group)
def put_log_group_deletion_protection(call: Call, tx: Tx, request: Input) -> Output:
    """Whether a group may be deleted."""
    group = requested_group(call, tx, request)
    tx.put(dataclasses.replace(group, protected=request["deletionProtectionEnabled"]))


@logs.write(resources=the_group)
def put_retention_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Events older than so many days are gone at once, and deleted soon."""
    group, days = requested_group(call, tx, request), request["retentionInDays"]
    if days not in RETENTION_DAYS:
        raise InvalidParameter(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: Member"
            f" must satisfy enum value set: [{', '.join(map(str, RETENTION_DAYS))}]")
    tx.put(dataclasses.replace(group, retention_days=days))
    tx.enqueue(Group.KIND, group.key)  # type: ignore[attr-defined]


@logs.write(resources=the_group)
def delete_retention_policy(call: Call, tx: Tx, request: Input) -> Output:
    """Events are kept for ever again."""
    tx.put(dataclasses.replace(requested_group(call, tx, request), retention_days=None))


def merged_tags(have: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Tags with more of them. Raises InvalidParameter, TooManyTags."""
    tags = {**have, **more}
    if any(key.lower().startswith("aws:") for key in more):
        raise InvalidParameter("Tag keys beginning with 'aws:' are reserved for system use.")
    if len(tags) > TAGS_MAX:
        raise TooManyTags(f"The maximum number of tags that can be applied to a resource is {TAGS_MAX}.")
    return tags
