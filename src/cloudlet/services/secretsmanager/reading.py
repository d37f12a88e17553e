"""Values read: one secret, several, or what a task's definition refers to."""

from dataclasses import replace
from typing import Any

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.names import Arn
from cloudlet.kernel.paging import InvalidToken, cut
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.iam import Permissions
from cloudlet.services.secretsmanager.conditions import asked
from cloudlet.services.secretsmanager.listing import matching
from cloudlet.services.secretsmanager.records import (
    Secret,
    check_active,
    check_own,
    find_active,
    lookup,
    lookup_arn,
    partial_arn,
    the_secret,
)
from cloudlet.services.secretsmanager.service import (
    AccessDenied,
    InvalidNextToken,
    InvalidParameter,
    InvalidRequest,
    ResourceNotFound,
    secretsmanager,
)
from cloudlet.services.secretsmanager.versions import CURRENT, read
from cloudlet.store.db import Tx

DAY_S, PAGE = 86_400, 20
_PERMISSIONS = Permissions((secretsmanager,))


@secretsmanager.read(resources=the_secret, context=asked)
def get_secret_value(call: Call, tx: Tx, request: Input) -> Output:
    """The value of the current version, or of the one that has the id or the label."""
    secret = find_active(tx, call, request)
    check_own(call, secret)
    return shown(tx, secret, request.get("VersionId"), request.get("VersionStage"))


@secretsmanager.read(resources=any_resource)
def batch_get_secret_value(call: Call, tx: Tx, request: Input) -> Output:
    """The current values of several secrets: those listed, or those that filters find. Each must be allowed; what
    cannot be read is told apart from the rest."""
    secret_ids, filters = request.get("SecretIdList") or (), request.get("Filters") or ()
    if bool(secret_ids) == bool(filters):
        raise InvalidParameter("You must include Filters or SecretIdList, but not both.")
    if secret_ids and (request.get("MaxResults") or request.get("NextToken")):
        raise InvalidParameter("To use MaxResults or NextToken, you must also use Filters.")
    following, values, errors = None, [], []
    if filters:
        found = [secret.arn for secret in matching(call, tx, filters) if secret.deleted is None]
        try:
            secret_ids, following = cut(found, token=request.get("NextToken"), limit=request.get("MaxResults") or PAGE,
                                        identity=str, scope=f"{call.scope}/{filters}")
        except InvalidToken:
            raise InvalidNextToken() from None
    for secret_id in dict.fromkeys(secret_ids):
        try:
            values.append(_one_of_many(call, tx, secret_id))
        except AwsError as error:
            errors.append({"SecretId": secret_id, "ErrorCode": error.code, "Message": error.message})
    answer = {"SecretValues": values, "Errors": errors}
    return answer if following is None else {**answer, "NextToken": following}


def _one_of_many(call: Call, tx: Tx, secret_id: str) -> dict[str, Any]:
    request = {"SecretId": secret_id}
    refused = _PERMISSIONS.refusal(tx, call, "secretsmanager:GetSecretValue", the_secret(call, request))
    if refused is not None:
        raise AccessDenied(refused.message)
    answer: dict[str, Any] = get_secret_value(call, tx, request)
    return answer


def shown(tx: Tx, secret: Secret, version_id: str | None = None, stage: str | None = None) -> dict[str, Any]:
    """A version with its value, as GetSecretValue answers it; that it was read today is noted.

    Raises ResourceNotFound, InvalidRequest where the version does not have the label, SealFailure.
    """
    chosen = selected(secret, version_id, stage)
    data, binary = read(tx, secret, chosen)
    _note(tx, secret, chosen)
    value = {"SecretBinary": data} if binary else {"SecretString": data.decode()}
    return {"ARN": secret.arn, "Name": secret.name, "VersionId": chosen, **value,
            "VersionStages": secret.stages_of(chosen), "CreatedDate": secret.versions[chosen].created}


def selected(secret: Secret, version_id: str | None, stage: str | None) -> str:
    """The id of the version that is meant. Raises ResourceNotFound, InvalidRequest."""
    if version_id is not None:
        if version_id not in secret.versions:
            raise ResourceNotFound(
                f"Secrets Manager can't find the specified secret value for VersionId: {version_id}")
        if stage is not None and secret.stages.get(stage) != version_id:
            raise InvalidRequest("You provided a VersionStage that is not associated to the provided VersionId.")
        return version_id
    holder = secret.stages.get(stage or CURRENT)
    if holder is None:
        raise ResourceNotFound(
            f"Secrets Manager can't find the specified secret value for staging label: {stage or CURRENT}")
    return holder


def _note(tx: Tx, secret: Secret, version_id: str) -> None:
    """The day, without the time of day: written once a day at most."""
    today, version = tx.now // DAY_S * DAY_S, secret.versions[version_id]
    if secret.accessed != today or version.accessed != today:
        versions = {**secret.versions, version_id: replace(version, accessed=today)}
        tx.put(replace(secret, accessed=today, versions=versions))


def read_value(tx: Tx, account: str, region: str, reference: str) -> str:
    """The value that a task's definition refers to: `NAME` or `ARN`, or an ARN and `:json-key:version-stage:version-id`
    after it, each of which may be empty. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html

    Whoever gets it must have been allowed what `permission(tx, account, region, reference)` says: this function asks
    nobody. Raises ResourceNotFound, InvalidRequest, InvalidParameter, SealFailure, in words a customer may read.
    """
    secret_id, key, stage, version_id = _parts(reference)
    secret = _referred(tx, account, region, secret_id)
    if secret is None or secret.account != account:
        raise ResourceNotFound()
    check_active(secret)
    value = shown(tx, secret, version_id or None, stage or None)
    if "SecretString" not in value:
        raise InvalidParameter(f"The secret {secret.arn} is binary; only the text of a secret can be used.")
    return str(value["SecretString"]) if not key else _member(value["SecretString"], key)


def permission(tx: Tx, account: str, region: str, reference: str) -> tuple[str, str]:
    """The action and the resource that reading `reference` needs of an execution role."""
    secret_id = _parts(reference)[0]
    secret = _referred(tx, account, region, secret_id)
    if secret is not None:
        return "secretsmanager:GetSecretValue", secret.arn
    return "secretsmanager:GetSecretValue", (
        secret_id if secret_id.startswith("arn:") else partial_arn(account, region, secret_id))


def _referred(tx: Tx, account: str, region: str, secret_id: str) -> Secret | None:
    """An ARN may name a secret of another region, which a request to a region's endpoint may not."""
    return lookup_arn(tx, secret_id) if secret_id.startswith("arn:") else lookup(tx, account, region, secret_id)


def _parts(reference: str) -> tuple[str, str, str, str]:
    """The secret's name or ARN, the JSON key, the label and the version's id."""
    arn = Arn.parse(reference)
    if arn is None or not arn.resource.startswith("secret:"):
        return reference, "", "", ""
    name, *rest = arn.resource.removeprefix("secret:").split(":")
    if len(rest) > 3:
        raise InvalidParameter(f"{reference} is not a reference to a secret: more than a JSON key, a version stage and"
                               " a version id follow its ARN.")
    key, stage, version_id = [*rest, "", "", ""][:3]
    return str(replace(arn, resource=f"secret:{name}")), key, stage, version_id


def _member(text: str, key: str) -> str:
    """One member of a value that is a JSON object: a text as it is, anything else as JSON."""
    try:
        members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        raise InvalidParameter("The value of the secret is not a JSON object.") from None
    if key not in members:
        raise InvalidParameter(f"retrieved secret from Secrets Manager did not contain json key {key}")
    raw = bytes(members[key])
    return str(msgspec.json.decode(raw)) if raw.startswith(b'"') else raw.decode()

