"""Secrets made, changed, described, tagged; deleted after a time in which they can be restored."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.secretsmanager.conditions import asked
from cloudlet.services.secretsmanager.deletion import DAY_S, KIND, purge
from cloudlet.services.secretsmanager.records import (
    Secret,
    check_active,
    check_name,
    check_own,
    find,
    find_active,
    partial_arn,
    secret_key,
    the_secret,
)
from cloudlet.services.secretsmanager.service import (
    InvalidParameter,
    InvalidRequest,
    LimitExceeded,
    ResourceExists,
    ResourceNotFound,
    secretsmanager,
)
from cloudlet.services.secretsmanager.versions import CURRENT, add_version, content_of, token_of
from cloudlet.store.db import Tx

TAGS_MAX = 50
WINDOW_DAYS, WINDOW_DAYS_MIN, WINDOW_DAYS_MAX = 30, 7, 30
_DEFAULT_KEY = re.compile(r"(arn:aws:kms:[a-z0-9-]+:\d{12}:)?alias/aws/secretsmanager")
_SUFFIX_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_UNSUPPORTED = ("AddReplicaRegions", "ForceOverwriteReplicaSecret", "Type", "CrossAccountPrimaryARN")


@secretsmanager.write(resources=lambda call, request: [partial_arn(call.account, call.region, request["Name"])],
                      context=asked, durable=True)
def create_secret(call: Call, tx: Tx, request: Input) -> Output:
    """A secret, with its first version where the request brings a value. The same request again changes nothing."""
    name, token, content = request["Name"], token_of(request), content_of(request)
    check_name(name)
    _refuse_unsupported(request)
    key = secret_key(call.account, call.region, name)
    there = tx.get(Secret, key)
    if there is not None and there.deleted is not None:
        raise InvalidRequest(
            "You can't create this secret because a secret with this name is already scheduled for deletion.")
    if there is not None and (content is None or token not in there.versions):
        raise ResourceExists(f"The operation failed because the secret {name} already exists.")
    secret = there or Secret(
        key, call.account, call.region, name, _suffix(tx), tx.now, tx.now, request.get("Description") or "",
        _kms_key_id(request.get("KmsKeyId")), tags=_merged({}, request.get("Tags") or ()))
    if there is None:
        tx.put(secret)
    if content is not None:
        secret = add_version(tx, secret, token, content, [CURRENT])
    return _named(secret, token if content is not None else None)


@secretsmanager.write(resources=the_secret, context=asked, durable=True)
def update_secret(call: Call, tx: Tx, request: Input) -> Output:
    """Changes what the request names; a value becomes a new, current version."""
    secret, content = find_active(tx, call, request), content_of(request)
    _refuse_unsupported(request)
    changed = dataclasses.replace(
        secret, description=request.get("Description", secret.description), changed=tx.now,
        kms_key_id=_kms_key_id(request["KmsKeyId"]) if "KmsKeyId" in request else secret.kms_key_id)
    tx.put(changed)
    if content is None:
        return _named(changed, None)
    check_own(call, secret)
    token = token_of(request)
    return _named(add_version(tx, changed, token, content, [CURRENT]), token)


def _named(secret: Secret, version_id: str | None) -> dict[str, Any]:
    answer = {"ARN": secret.arn, "Name": secret.name}
    return answer if version_id is None else {**answer, "VersionId": version_id}


def _suffix(tx: Tx) -> str:
    """Six random letters and digits."""
    drawn = int(tx.token(32), 16)
    return "".join(_SUFFIX_CHARACTERS[drawn // len(_SUFFIX_CHARACTERS) ** place % len(_SUFFIX_CHARACTERS)]
                   for place in range(6))


def _kms_key_id(asked: str | None) -> str:
    if asked and not _DEFAULT_KEY.fullmatch(asked):
        raise InvalidParameter(f"KmsKeyId {asked} is not supported: secrets are encrypted with aws/secretsmanager.")
    return asked or ""


def _refuse_unsupported(request: Input) -> None:
    for member in _UNSUPPORTED:
        if request.get(member):
            raise InvalidParameter(f"{member} is not supported.")


@secretsmanager.read(resources=the_secret, context=asked)
def describe_secret(call: Call, tx: Tx, request: Input) -> Output:
    """Everything of a secret but its values."""
    secret = find(tx, call, request["SecretId"])
    shown = described(secret)
    stages = shown.pop("SecretVersionsToStages", None)
    return shown if stages is None else {**shown, "VersionIdsToStages": stages}


def described(secret: Secret) -> dict[str, Any]:
    """A secret as ListSecrets shows it; members that say nothing are left out."""
    stages = {each: stages for each in secret.versions if (stages := secret.stages_of(each))}
    members = {
        "ARN": secret.arn, "Name": secret.name, "Description": secret.description or None,
        "KmsKeyId": secret.kms_key_id or None, "LastChangedDate": secret.changed, "LastAccessedDate": secret.accessed,
        "DeletedDate": secret.deleted, "CreatedDate": secret.created,
        "Tags": [{"Key": key, "Value": value} for key, value in secret.tags.items()],
        "SecretVersionsToStages": stages or None}
    return {name: value for name, value in members.items() if value is not None}


@secretsmanager.write(resources=the_secret, context=asked)
def delete_secret(call: Call, tx: Tx, request: Input) -> Output:
    """Marks a secret for deletion after the recovery window; without recovery, deletes it now."""
    days, force = request.get("RecoveryWindowInDays"), request.get("ForceDeleteWithoutRecovery", False)
    if force and days is not None:
        raise InvalidParameter("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
    if days is not None and not WINDOW_DAYS_MIN <= days <= WINDOW_DAYS_MAX:
        raise InvalidParameter(f"The RecoveryWindowInDays value must be between {WINDOW_DAYS_MIN} and"
                               f" {WINDOW_DAYS_MAX} days (inclusive).")
    if force:
        return _delete_now(call, tx, request["SecretId"])
    secret = find(tx, call, request["SecretId"])
    check_active(secret)
    after = (WINDOW_DAYS if days is None else days) * DAY_S
    tx.put(dataclasses.replace(secret, deleted=tx.now, purge=tx.now + after))
    tx.enqueue(KIND, secret.key, after)
    return {"ARN": secret.arn, "Name": secret.name, "DeletionDate": tx.now + after}


def _delete_now(call: Call, tx: Tx, secret_id: str) -> dict[str, Any]:
    """Deletes a secret, marked or not. What is not there was deleted before, as a repeated request must be told:
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html"""
    try:
        secret = find(tx, call, secret_id)
    except ResourceNotFound:
        is_arn = secret_id.startswith("arn:")
        arn = secret_id if is_arn else partial_arn(call.account, call.region, secret_id)
        name = secret_id.rpartition(":secret:")[2] if is_arn else secret_id
        return {"ARN": arn, "Name": name, "DeletionDate": tx.now}
    purge(tx, secret)
    return {"ARN": secret.arn, "Name": secret.name, "DeletionDate": tx.now}


@secretsmanager.write(resources=the_secret, context=asked)
def restore_secret(call: Call, tx: Tx, request: Input) -> Output:
    """Takes back that a secret was marked for deletion."""
    secret = find(tx, call, request["SecretId"])
    tx.put(dataclasses.replace(secret, deleted=None, purge=None))
    return {"ARN": secret.arn, "Name": secret.name}


@secretsmanager.write(resources=the_secret, context=asked)
def tag_resource(call: Call, tx: Tx, request: Input) -> Output:
    """Adds tags to a secret or changes their values."""
    secret = find_active(tx, call, request)
    tx.put(dataclasses.replace(secret, tags=_merged(secret.tags, request["Tags"])))


@secretsmanager.write(resources=the_secret, context=asked)
def untag_resource(call: Call, tx: Tx, request: Input) -> Output:
    """Removes tags from a secret."""
    secret, gone = find_active(tx, call, request), set(request["TagKeys"])
    tx.put(dataclasses.replace(secret, tags={key: value for key, value in secret.tags.items() if key not in gone}))


def _merged(have: Mapping[str, str], more: Iterable[Mapping[str, str]]) -> dict[str, str]:
    added: dict[str, str] = {}
    for tag in more:
        if "Key" not in tag:
            raise InvalidParameter("A tag must have a key.")
        added[tag["Key"]] = tag.get("Value", "")
    if any(key.lower().startswith("aws:") for key in added):
        raise InvalidParameter("Tag keys beginning with 'aws:' are reserved for system use.")
    tags = {**have, **added}
    if len(tags) > TAGS_MAX:
        raise LimitExceeded(f"The maximum number of tags that can be applied to a secret is {TAGS_MAX}.")
    return tags

