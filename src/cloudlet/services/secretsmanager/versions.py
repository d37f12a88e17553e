"""Versions of a secret: their values, and the staging labels that move between them."""

import hmac
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.paging import InvalidToken, cut
from cloudlet.kernel.service import Input, Output
from cloudlet.services.secretsmanager.conditions import asked
from cloudlet.services.secretsmanager.records import (
    Secret,
    Value,
    Version,
    check_own,
    find,
    find_active,
    the_secret,
    value_key,
)
from cloudlet.services.secretsmanager.service import (
    InvalidNextToken,
    InvalidParameter,
    InvalidRequest,
    LimitExceeded,
    ResourceExists,
    secretsmanager,
)
from cloudlet.store.db import Tx

CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
VERSIONS_MAX, STAGES_MAX, VERSION_BYTES_MAX = 100, 20, 65_536
KEPT_S = 24 * 3600.0  # so long a deprecated version is kept in any case
PAGE = 100

Content = tuple[bytes, bool]  # a value, and whether it is binary


def content_of(request: Input) -> Content | None:
    """The value that a request brings. Raises InvalidParameter for two, or one that is too long."""
    text: Any = request.get("SecretString")
    binary: Any = request.get("SecretBinary")
    if text is not None and binary is not None:
        raise InvalidParameter("You can't specify both a binary secret value and a string secret value in the same"
                               " secret.")
    if text is None and binary is None:
        return None
    data: bytes = text.encode() if text is not None else binary
    if len(data) > VERSION_BYTES_MAX:
        raise InvalidParameter(f"The secret value can have at most {VERSION_BYTES_MAX} bytes.")
    return data, text is None


def token_of(request: Input) -> str:
    """The id of the version that a request makes. Raises InvalidRequest where there is none (every SDK sends one)."""
    token: str = request.get("ClientRequestToken") or ""
    if not token:
        raise InvalidRequest("You must provide a ClientRequestToken value. We recommend a UUID-type value.")
    return token


def add_version(tx: Tx, secret: Secret, version_id: str, content: Content, stages: Iterable[str]) -> Secret:
    """The secret with one more version, written. The same version again changes nothing; raises ResourceExists where
    the id is that of another value, LimitExceeded where there are too many that may not be dropped."""
    if version_id in secret.versions:
        if not _is_same(tx, secret, version_id, content):
            raise ResourceExists(f"You can't use ClientRequestToken {version_id} because that value is already in use"
                                 f" for a version of secret {secret.arn}.")
        return secret
    wanted = set(stages) if secret.versions else {*stages, CURRENT}  # the first is the current one in any case
    if len(wanted) > STAGES_MAX:
        raise LimitExceeded(f"A version can have at most {STAGES_MAX} staging labels.")
    data, binary = content
    key = value_key(secret, version_id)
    tx.put(Value(key, tx.seal.close(data, sealed_for(key)), binary))
    made = replace(secret, versions={**secret.versions, version_id: Version(tx.now)}, changed=tx.now)
    for stage in sorted(wanted):
        made = move(made, stage, version_id)
    made = _without_oldest(tx, made)
    tx.put(made)
    return made


def sealed_for(key: str) -> str:
    """Whom a value is sealed for: the version whose key this is."""
    return f"secretsmanager/{key}"


def move(secret: Secret, stage: str, version_id: str) -> Secret:
    """The secret with a label on that version and no other; the version that AWSCURRENT leaves becomes AWSPREVIOUS."""
    stages, before = {**secret.stages, stage: version_id}, secret.stages.get(stage)
    if stage == CURRENT and before not in (None, version_id):
        stages[PREVIOUS] = str(before)
    return replace(secret, stages=stages)


def read(tx: Tx, secret: Secret, version_id: str) -> Content:
    """The value of a version that is there."""
    key = value_key(secret, version_id)
    stored = tx.get(Value, key)
    assert stored is not None, key
    return tx.seal.open(stored.sealed, sealed_for(key)), stored.binary


def _is_same(tx: Tx, secret: Secret, version_id: str, content: Content) -> bool:
    data, binary = read(tx, secret, version_id)
    return binary == content[1] and hmac.compare_digest(data, content[0])


def _without_oldest(tx: Tx, secret: Secret) -> Secret:
    """Drops deprecated versions, the oldest first, while there are too many."""
    labelled = set(secret.stages.values())
    spare = [version_id for version_id, version in secret.versions.items()
             if version_id not in labelled and version.created <= tx.now - KEPT_S]
    surplus = len(secret.versions) - VERSIONS_MAX
    if surplus > len(spare):
        raise LimitExceeded(f"A secret can have at most {VERSIONS_MAX} versions; those of the last 24 hours are kept.")
    dropped = set(spare[:max(0, surplus)])
    for version_id in dropped:
        tx.delete(Value, value_key(secret, version_id))
    return replace(secret, versions={each: version for each, version in secret.versions.items() if each not in dropped})


@secretsmanager.write(resources=the_secret, context=asked, durable=True)
def put_secret_value(call: Call, tx: Tx, request: Input) -> Output:
    """A new version; it becomes the current one unless the request names other labels."""
    secret, version_id, content = find_active(tx, call, request), token_of(request), content_of(request)
    check_own(call, secret)
    if content is None:
        raise InvalidRequest("You must provide either SecretString or SecretBinary.")
    if request.get("RotationToken"):
        raise InvalidParameter("RotationToken is not supported: secrets are not rotated here.")
    made = add_version(tx, secret, version_id, content, request.get("VersionStages") or [CURRENT])
    return {"ARN": made.arn, "Name": made.name, "VersionId": version_id, "VersionStages": made.stages_of(version_id)}


@secretsmanager.read(resources=the_secret, context=asked)
def list_secret_version_ids(call: Call, tx: Tx, request: Input) -> Output:
    """A secret's versions, the newest first; deprecated ones only where they are asked for."""
    secret = find(tx, call, request["SecretId"])
    shown = [_listed(secret, version_id) for version_id in reversed(secret.versions)
             if request.get("IncludeDeprecated") or secret.stages_of(version_id)]
    try:
        page, following = cut(
            shown, token=request.get("NextToken"), limit=request.get("MaxResults") or PAGE, scope=secret.arn,
            identity=lambda entry: str(entry["VersionId"]))
    except InvalidToken:
        raise InvalidNextToken() from None
    answer = {"ARN": secret.arn, "Name": secret.name, "Versions": page}
    return answer if following is None else {**answer, "NextToken": following}


def _listed(secret: Secret, version_id: str) -> dict[str, Any]:
    version, stages = secret.versions[version_id], secret.stages_of(version_id)
    entry: dict[str, Any] = {
        "VersionId": version_id, "CreatedDate": version.created, "KmsKeyIds": ["DefaultEncryptionKey"]}
    if stages:
        entry["VersionStages"] = stages
    if version.accessed is not None:
        entry["LastAccessedDate"] = version.accessed
    return entry


@secretsmanager.write(resources=the_secret, context=asked)
def update_secret_version_stage(call: Call, tx: Tx, request: Input) -> Output:
    """Moves a label from one version to another, puts it on one, or takes it off."""
    secret, stage = find_active(tx, call, request), request["VersionStage"]
    target, source = request.get("MoveToVersionId"), request.get("RemoveFromVersionId")
    _check_move(secret, stage, source, target)
    if target is not None:
        changed = move(secret, stage, target)
        if len(changed.stages_of(target)) > STAGES_MAX:
            raise LimitExceeded(f"A version can have at most {STAGES_MAX} staging labels.")
    else:
        changed = replace(secret, stages={each: holder for each, holder in secret.stages.items() if each != stage})
    if changed != secret:
        tx.put(replace(changed, changed=tx.now))
    return {"ARN": secret.arn, "Name": secret.name}


def _check_move(secret: Secret, stage: str, source: str | None, target: str | None) -> None:
    """Raises InvalidParameter for a move that cannot be made as it was asked for."""
    holder = secret.stages.get(stage)
    if source is None and target is None:
        raise InvalidParameter("You must provide MoveToVersionId, RemoveFromVersionId, or both.")
    for version_id in (source, target):
        if version_id is not None and version_id not in secret.versions:
            raise InvalidParameter(f"Not a valid version: {version_id}")
    if target is None and stage == CURRENT:
        raise InvalidParameter("You can only move staging label AWSCURRENT to a different secret version. It can't be"
                               " completely removed.")
    if holder is not None and source is None and holder != target:
        raise InvalidParameter(
            f"The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version"
            f" {holder}, so you must explicitly reference that version in RemoveFromVersionId.")
    if source is not None and source != holder:
        raise InvalidParameter(
            f"When you move staging label {stage}, if you specify RemoveFromVersionId, it must be set to the version"
            f" that currently has the staging label {stage}.")
