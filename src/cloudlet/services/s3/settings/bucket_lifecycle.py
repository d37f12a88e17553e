"""The lifecycle rules of a bucket: put, with what is wrong with them in AWS's words, and read.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3 import notifications
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.lifecycle_rules import ALL_128K, DAY_S, RANKS
from cloudlet.services.s3.service import (
    InvalidArgument,
    InvalidRequest,
    MalformedXml,
    NoSuchLifecycle,
    bucket_arns,
    s3,
)
from cloudlet.services.s3.settings import kept
from cloudlet.services.s3.settings.kept import LIFECYCLE
from cloudlet.services.s3.tags import checked
from cloudlet.store.db import Tx

RULES_MAX, ID_MAX, NEWER_MAX = 1000, 255, 100
INFREQUENT = ("STANDARD_IA", "ONEZONE_IA")
INFREQUENT_DAYS_MIN = 30  # before an object gets there, and that it stays
WORK = "s3.lifecycle"  # kind of work: a bucket's rules are to be carried out
SIZE_MAX = 1000 << 40
_SIZES = ("ObjectSizeGreaterThan", "ObjectSizeLessThan")
_ACTIONS = ("Expiration", "Transitions", "NoncurrentVersionExpiration", "NoncurrentVersionTransitions",
            "AbortIncompleteMultipartUpload")


@s3.write(resources=bucket_arns, action="s3:PutLifecycleConfiguration", durable=True)
def put_bucket_lifecycle_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Gives a bucket its rules, in the place of those it had; they are carried out from now on."""
    bucket, given = require_bucket(tx, call, request), (request.get("LifecycleConfiguration") or {}).get("Rules") or []
    minimum = request.get("TransitionDefaultMinimumObjectSize", ALL_128K)
    if not 0 < len(given) <= RULES_MAX:
        raise MalformedXml()
    rules = [{**rule, "ID": rule.get("ID") or tx.token(32)} for rule in given]
    if len({rule["ID"] for rule in rules}) < len(rules):
        raise InvalidArgument("Rule ID must be unique. Found same ID for more than one rule")
    for rule in rules:
        _check(rule)
    kept.act_on(tx, bucket, LIFECYCLE, {"Rules": rules, "TransitionDefaultMinimumObjectSize": minimum})
    tx.enqueue(WORK, bucket.name)
    return {"TransitionDefaultMinimumObjectSize": minimum}


@s3.read(resources=bucket_arns, action="s3:GetLifecycleConfiguration")
def get_bucket_lifecycle_configuration(call: Call, tx: Tx, request: dict[str, Any]) -> Any:
    """A bucket's rules."""
    return kept.require(tx, require_bucket(tx, call, request), LIFECYCLE, NoSuchLifecycle)


@s3.write(resources=bucket_arns, action="s3:PutLifecycleConfiguration", durable=True)
def delete_bucket_lifecycle(call: Call, tx: Tx, request: dict[str, Any]) -> None:
    """Takes a bucket's rules away, where it has some."""
    kept.act_on(tx, require_bucket(tx, call, request), LIFECYCLE, None)


def _check(rule: Mapping[str, Any]) -> None:
    if len(rule["ID"]) > ID_MAX:
        raise InvalidArgument(f"ID length should not exceed allowed limit of {ID_MAX}")
    if rule["Status"] not in ("Enabled", "Disabled") or ("Prefix" in rule) == ("Filter" in rule):
        raise MalformedXml()
    only: Mapping[str, Any] = rule.get("Filter") or {}
    _check_filter(only)
    if not any(action in rule for action in _ACTIONS):
        raise InvalidRequest("At least one action needs to be specified in a rule")
    both: Mapping[str, Any] = only.get("And") or {}
    tagged = "Tag" in only or bool(both.get("Tags"))
    sized = any(size in only or size in both for size in _SIZES)
    prefix = rule.get("Prefix") or only.get("Prefix") or both.get("Prefix") or ""
    expiration: Mapping[str, Any] = rule.get("Expiration") or {}
    if "Expiration" in rule:
        _check_expiration(expiration, tagged, sized)
    transitions: Sequence[Mapping[str, Any]] = rule.get("Transitions") or ()
    _check_transitions(transitions, prefix)
    if any("Date" in one for one in (expiration, *transitions)) and any("Days" in one for one in (
            expiration, *transitions)):
        raise InvalidRequest("Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule"
                             f" for filter '(prefix={prefix})'")
    for unit in ("Days", "Date"):
        last = max((one[unit] for one in transitions if unit in one), default=None)
        if last is not None and unit in expiration and expiration[unit] <= last:
            raise InvalidArgument(f"'{unit}' in the Expiration action for filter '(prefix={prefix})' must be"
                                  f" {'greater' if unit == 'Days' else 'later'} than '{unit}' in the Transition action")
    _check_noncurrent(rule, prefix)
    if "AbortIncompleteMultipartUpload" in rule:
        _check_abort(rule["AbortIncompleteMultipartUpload"], tagged, sized)


def _check_filter(only: Mapping[str, Any]) -> None:
    if len(only) > 1:
        raise MalformedXml()
    both = only.get("And")
    parts = only if both is None else both
    tags = parts.get("Tags") or ([parts["Tag"]] if "Tag" in parts else [])
    if both is not None and sum(name in both for name in ("Prefix", *_SIZES)) + len(tags) < 2:
        raise MalformedXml()
    if len({tag.get("Key") for tag in tags}) < len(tags):
        raise InvalidRequest("Duplicate Tag Keys are not allowed.")
    checked((tag["Key"], tag["Value"]) for tag in tags)
    larger, smaller = (parts.get(size) for size in _SIZES)
    for name, size, least in zip(_SIZES, (larger, smaller), (0, 1), strict=True):
        if size is not None and not least <= size <= SIZE_MAX:
            raise InvalidRequest(f"'{name}' should be between {least} and {SIZE_MAX}.")
    if larger is not None and smaller is not None and smaller <= larger:
        raise InvalidRequest("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'")


def _check_expiration(action: Mapping[str, Any], tagged: bool, sized: bool) -> None:
    if sum(name in action for name in ("Days", "Date", "ExpiredObjectDeleteMarker")) != 1:
        raise MalformedXml()
    _check_days(action.get("Days", 1), "'Days' for Expiration action")
    _check_date(action)
    if (tagged or sized) and "ExpiredObjectDeleteMarker" in action:
        raise InvalidRequest("ExpiredObjectDeleteMarker cannot be specified with"
                             f" {'Tags' if tagged else 'Object Size'}.")


def _check_days(days: int, what: str) -> None:
    if days < 1:
        raise InvalidArgument(f"{what} must be a positive integer")


def _check_date(action: Mapping[str, Any]) -> None:
    at = action.get("Date", 0)
    if at % DAY_S:
        raise InvalidArgument("'Date' must be at midnight GMT", ArgumentName="Date",
                              ArgumentValue=notifications.time_text(at))


def _check_transitions(transitions: Sequence[Mapping[str, Any]], prefix: str) -> None:
    for one in transitions:
        if ("Days" in one) == ("Date" in one):
            raise MalformedXml()
        _check_date(one)
    for unit in ("Days", "Date"):
        _check_order([one for one in transitions if unit in one], unit, "Transition", prefix)


def _check_order(actions: Sequence[Mapping[str, Any]], unit: str, what: str, prefix: str) -> None:
    """Raises unless transitions go down the classes, each later than the one before."""
    if any(one.get("StorageClass") not in RANKS for one in actions):
        raise MalformedXml()
    if len({one["StorageClass"] for one in actions}) < len(actions):
        raise InvalidRequest(f"'StorageClass' must be different for '{what}' actions in same 'Rule' with filter"
                             f" '(prefix={prefix})'")
    for one in actions:
        if unit != "Date" and one[unit] < 0:
            raise InvalidArgument(f"'{unit}' in {what} action must be nonnegative")
        if unit != "Date" and one["StorageClass"] in INFREQUENT and one[unit] < INFREQUENT_DAYS_MIN:
            raise InvalidArgument(f"'{unit}' in {what} action must be greater than or equal to {INFREQUENT_DAYS_MIN}"
                                  f" for storageClass '{one['StorageClass']}'")
    for first, then in pairwise(sorted(actions, key=lambda one: RANKS[one["StorageClass"]])):
        stays = INFREQUENT_DAYS_MIN if first["StorageClass"] in INFREQUENT else 0
        least = first[unit] + (stays * DAY_S if unit == "Date" else stays)
        if then[unit] < least or then[unit] <= first[unit]:
            raise InvalidArgument(
                f"'{unit}' in the '{what}' action for StorageClass '{then['StorageClass']}' for filter"
                f" '(prefix={prefix})' must be {f'{stays} days' if stays else ''} more than '{unit}' in the '{what}'"
                f" action for StorageClass '{first['StorageClass']}'".replace("  ", " "))


def _check_noncurrent(rule: Mapping[str, Any], prefix: str) -> None:
    transitions: Sequence[Mapping[str, Any]] = rule.get("NoncurrentVersionTransitions") or ()
    expiration: Mapping[str, Any] | None = rule.get("NoncurrentVersionExpiration")
    for one in (*transitions, *((expiration,) if expiration is not None else ())):
        if "NoncurrentDays" not in one:
            raise MalformedXml()
        if "NewerNoncurrentVersions" in one and "Filter" not in rule:
            raise InvalidRequest("NewerNoncurrentVersions element can only be used in Lifecycle V2.")
        if not 1 <= one.get("NewerNoncurrentVersions", 1) <= NEWER_MAX:
            raise InvalidArgument(f"'NewerNoncurrentVersions' must be a positive integer up to {NEWER_MAX}")
    _check_order(transitions, "NoncurrentDays", "NoncurrentVersionTransition", prefix)
    if expiration is not None:
        _check_days(expiration["NoncurrentDays"], "'NoncurrentDays' for NoncurrentVersionExpiration action")
        if any(one["NoncurrentDays"] >= expiration["NoncurrentDays"] for one in transitions):
            raise InvalidArgument(
                f"'NoncurrentDays' in the NoncurrentVersionExpiration action for filter '(prefix={prefix})' must be"
                " greater than 'NoncurrentDays' in the NoncurrentVersionTransition action")


def _check_abort(action: Mapping[str, Any], tagged: bool, sized: bool) -> None:
    if tagged or sized:
        raise InvalidRequest("AbortIncompleteMultipartUpload cannot be specified with"
                             f" {'Tags' if tagged else 'Object Size'}.")
    if "DaysAfterInitiation" not in action:
        raise MalformedXml()
    _check_days(action["DaysAfterInitiation"], "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action")
