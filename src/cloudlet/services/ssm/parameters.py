"""Parameters made, overwritten and deleted."""

import dataclasses
import re
from collections.abc import Iterable

from cloudlet.kernel import pattern
from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ssm.names import check_name, refer, the_parameter, the_parameters
from cloudlet.services.ssm.records import (
    Former,
    Parameter,
    Version,
    find,
    former_key,
    parameter_key,
    sealed_for,
    versions,
)
from cloudlet.services.ssm.service import (
    InvalidAllowedPattern,
    InvalidKeyId,
    ParameterAlreadyExists,
    ParameterLimitExceeded,
    ParameterMaxVersionLimitExceeded,
    ParameterNotFound,
    ParameterPatternMismatch,
    ValidationException,
    ssm,
)
from cloudlet.services.ssm.tags import merged
from cloudlet.store.db import Tx

PARAMETERS_MAX, VERSIONS_MAX = 10_000, 100  # of an account in a region; of a parameter
SIZES = {"Standard": 4096, "Advanced": 8192}
DEFAULT_KEY = "alias/aws/ssm"
_IMAGE_ID = re.compile(r"ami-(?:[0-9a-f]{8}|[0-9a-f]{17})")
_DEFAULT_KEY_ARN = re.compile(r"arn:aws:kms:[a-z0-9-]+:\d{12}:alias/aws/ssm")
_TIERS_PAGE = "https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"


@ssm.write(resources=the_parameter, durable=True,
           context=lambda call, request: {"ssm:Overwrite": str(request.get("Overwrite", False)).lower()})
def put_parameter(call: Call, tx: Tx, request: Input) -> Output:
    """Makes a parameter, or with Overwrite a new version of one; what is not said again stays as it was."""
    name, overwrite = request["Name"], request.get("Overwrite", False)
    check_name(name)
    if request.get("Tags") and overwrite:
        raise ValidationException(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove"
            " overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or"
            " RemoveTagsFromResource.")
    if request.get("Policies"):
        raise ValidationException("Parameter policies are not supported.")
    key = parameter_key(call.account, call.region, name)
    there = tx.get(Parameter, key)
    if there is not None and not overwrite:
        raise ParameterAlreadyExists()
    if there is None and tx.count(Parameter, scope=call.scope) >= PARAMETERS_MAX:
        raise ParameterLimitExceeded()
    version = _version(call, tx, request, key, there.current if there else None)
    if there is None:
        tx.put(Parameter(key, call.account, call.region, name, version, merged({}, request.get("Tags") or ())))
    else:
        _make_room(tx, there)
        tx.put(Former(former_key(there, there.current.number), there.current))
        tx.put(dataclasses.replace(there, current=version))
    return {"Version": version.number, "Tier": version.tier}


def _version(call: Call, tx: Tx, request: Input, key: str, before: Version | None) -> Version:
    """The version that a request makes after `before`."""
    kind = request.get("Type") or (before.type if before else None)
    if kind is None:
        raise ValidationException("A parameter type is required when you create a parameter.")
    number, value = before.number + 1 if before else 1, request["Value"]
    tier = _tier(request.get("Tier"), value, before.tier if before else "Standard")
    allowed = request.get("AllowedPattern", before.allowed_pattern if before else "")
    _check_value(value, allowed)
    key_id = _key_id(request.get("KeyId"), kind, before)
    return Version(
        number, kind, tx.seal.close(value.encode(), sealed_for(key, number)) if kind == "SecureString" else value,
        tx.now, call.principal.arn, tier, _data_type(request.get("DataType"), request["Value"]),
        request.get("Description", before.description if before else ""), allowed, key_id)


def _tier(asked: str | None, value: str, before: str) -> str:
    """The tier that fits: the one asked for, else the one it had; Intelligent-Tiering takes the cheapest that does."""
    if not value:
        raise ValidationException("1 validation error detected: Value at 'value' failed to satisfy constraint: Member"
                                  " must have length greater than or equal to 1.")
    if asked == "Standard" and before == "Advanced":
        raise ValidationException(
            "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the"
            " advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced"
            " parameter and recreate it as a standard parameter.")
    size = len(value.encode())
    if asked == "Intelligent-Tiering":
        tier = "Advanced" if before == "Advanced" or size > SIZES["Standard"] else "Standard"
    else:
        tier = asked or before
    if size <= SIZES[tier]:
        return tier
    if tier == "Standard":
        raise ValidationException(
            f"Standard tier parameters support a maximum parameter value of {SIZES[tier]} characters. To create a"
            " larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information,"
            f" see {_TIERS_PAGE}")
    raise ValidationException(
        f"Advanced tier parameters support a maximum parameter value of {SIZES[tier]} characters.")


def _check_value(value: str, allowed: str) -> None:
    if not allowed:
        return
    try:
        fits = pattern.matches(allowed, value)
    except pattern.Unusable as error:
        raise InvalidAllowedPattern(f"The request does not meet the regular expression requirement: {error}") from None
    if not fits:
        raise ParameterPatternMismatch(f"Parameter value, cannot be validated against allowedPattern: {allowed}")


def _key_id(asked: str | None, kind: str, before: Version | None) -> str:
    """The key of a SecureString: AWS's own for Parameter Store, the only one there is."""
    if kind != "SecureString":
        if asked:
            raise ValidationException("KeyId is required for SecureString type parameter only.")
        return ""
    key_id = asked or (before.key_id if before else "") or DEFAULT_KEY
    if key_id != DEFAULT_KEY and not _DEFAULT_KEY_ARN.fullmatch(key_id):
        raise InvalidKeyId(f"Invalid keyId {key_id}")
    return key_id


def _data_type(asked: str | None, value: str) -> str:
    """What a value is said to be; that of an image's type must look like an image's id, whether there is one or not."""
    if asked in (None, "text"):
        return "text"
    if asked == "aws:ec2:image":
        if not _IMAGE_ID.fullmatch(value):
            raise ValidationException(f"The value {value[:64]} is not valid for the data type {asked}.")
        return asked
    if asked == "aws:ssm:integration":
        raise ValidationException(f"The data type {asked} is not supported here.")
    raise ValidationException(f"The following data type is not supported: {asked} (Data type names are all lowercase.)")


def _make_room(tx: Tx, parameter: Parameter) -> None:
    """Drops the oldest version where there are as many as may be. Raises ParameterMaxVersionLimitExceeded."""
    oldest = tx.get(Former, former_key(parameter, parameter.current.number - VERSIONS_MAX + 1))
    if oldest is None:
        return
    if oldest.version.labels:
        raise ParameterMaxVersionLimitExceeded(
            f"You attempted to create a new version of {parameter.name} by calling the PutParameter API with the"
            f" overwrite flag. Version {oldest.version.number}, the oldest version, can't be deleted because it has"
            " a label associated with it. Move the label to another version of the parameter, and try again.")
    tx.delete(Former, oldest.key)


@ssm.write(resources=the_parameter)
def delete_parameter(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes a parameter with all its versions."""
    _delete(tx, find(tx, refer(call.account, call.region, request["Name"])))


@ssm.write(resources=the_parameters)
def delete_parameters(call: Call, tx: Tx, request: Input) -> Output:
    """Deletes those that are there, and says which were not."""
    deleted, invalid = [], []
    for name in _once(request["Names"]):
        try:
            _delete(tx, find(tx, refer(call.account, call.region, name)))
            deleted.append(name)
        except ParameterNotFound:
            invalid.append(name)
    return {"DeletedParameters": deleted, "InvalidParameters": invalid}


def _delete(tx: Tx, parameter: Parameter) -> None:
    for version in versions(tx, parameter)[:-1]:
        tx.delete(Former, former_key(parameter, version.number))
    tx.delete(Parameter, parameter.key)


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
