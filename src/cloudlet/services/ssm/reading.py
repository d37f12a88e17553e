"""Values read: one parameter, several, or a hierarchy of them."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ssm.filters import BAD_PATH, by_path
from cloudlet.services.ssm.names import (
    PUBLIC,
    Reference,
    is_below,
    is_path,
    parameter_arn,
    refer,
    the_parameter,
    the_parameters,
)
from cloudlet.services.ssm.public import PublicParameter, find_public, published
from cloudlet.services.ssm.records import Parameter, Version, find, parameter_key, sealed_for, versions
from cloudlet.services.ssm.service import (
    ParameterNotFound,
    ParameterVersionNotFound,
    UnsupportedParameterType,
    ValidationException,
    ssm,
)
from cloudlet.store.db import Tx


@ssm.read(resources=the_parameter)
def get_parameter(call: Call, tx: Tx, request: Input) -> Output:
    """One parameter by name or ARN, in its newest version or the one whose number or label follows a colon."""
    reference = refer(call.account, call.region, request["Name"])
    return {"Parameter": _read(call, tx, reference, request.get("WithDecryption", False))}


@ssm.read(resources=the_parameters)
def get_parameters(call: Call, tx: Tx, request: Input) -> Output:
    """Several parameters; names that nothing has are listed apart."""
    found, invalid = [], []
    for name in dict.fromkeys(request["Names"]):
        try:
            found.append(_read(call, tx, refer(call.account, call.region, name), request.get("WithDecryption", False)))
        except (ParameterNotFound, ParameterVersionNotFound):
            invalid.append(name)
    return {"Parameters": found, "InvalidParameters": invalid}


@ssm.read(resources=lambda call, request: [parameter_arn(call.account, call.region, request["Path"])],
          context=lambda call, request: {"ssm:Recursive": str(request.get("Recursive", False)).lower()})
def get_parameters_by_path(call: Call, tx: Tx, request: Input) -> Output:
    """The parameters of a hierarchy: its next level, or all of it. Those with a label, in the version that has it."""
    path, recursive = request["Path"], request.get("Recursive", False)
    if not is_path(path):
        raise ValidationException(BAD_PATH)
    chosen = by_path(request.get("ParameterFilters") or ())
    if path.startswith(PUBLIC) or path == PUBLIC.removesuffix("/"):
        return {"Parameters": [_shown_public(each, call.region) for each in published(tx, call.region)
                               if is_below(each.name, path, recursive)]}
    prefix = parameter_key(call.account, call.region, "" if path == "/" else path.rstrip("/") + "/")
    shown = []
    for parameter in tx.find(Parameter, prefix):
        if is_below(parameter.name, path, recursive):
            shown += [_shown(tx, parameter, version, request.get("WithDecryption", False))
                      for version in chosen(tx, parameter)]
    return {"Parameters": shown}


@ssm.read(resources=the_parameter)
def get_parameter_history(call: Call, tx: Tx, request: Input) -> Output:
    """All versions that are kept, the oldest first."""
    parameter = find(tx, refer(call.account, call.region, request["Name"]))
    decrypt, history = request.get("WithDecryption", False), []
    for version in versions(tx, parameter):
        shown = {"Name": parameter.name, "Type": version.type, "LastModifiedDate": version.modified,
                 "LastModifiedUser": version.modified_by, "Value": value_of(tx, parameter, version, decrypt),
                 "Version": version.number, "Labels": list(version.labels), "Tier": version.tier, "Policies": [],
                 "DataType": version.data_type}
        history.append(shown | optional(version))
    return {"Parameters": history}


def optional(version: Version) -> dict[str, Any]:
    """The members that are left out where they are empty."""
    members = {"KeyId": version.key_id, "Description": version.description, "AllowedPattern": version.allowed_pattern}
    return {name: value for name, value in members.items() if value}


def read_value(tx: Tx, account: str, region: str, reference: str, data_type: str = "") -> str:
    """The value, decrypted, of the parameter that `reference` names: a name or an ARN, a version or label after it.
    With `data_type` (e.g. "aws:ec2:image"), only that of a parameter that is said to hold such.

    Whoever gets it must have been allowed `ssm:GetParameters` on `permission(account, region, reference)[1]`: this
    function asks nobody. Raises ParameterNotFound, ParameterVersionNotFound, UnsupportedParameterType, SealFailure, in
    words a customer may read.
    """
    parsed = refer(account, region, reference)
    public = find_public(tx, parsed)
    if public is not None:
        return _of_type(data_type, public.data_type, public.value)
    if parsed.account != account:
        raise ParameterNotFound(f"Parameter {reference} not found.")  # nobody shares parameters
    parameter = find(tx, parsed, any_version=True)
    version = _selected(tx, parameter, parsed)
    return _of_type(data_type, version.data_type, value_of(tx, parameter, version, decrypt=True))


def _of_type(wanted: str, found: str, value: str) -> str:
    if wanted not in ("", found):
        raise UnsupportedParameterType(
            f"Unsupported data type. The following parameter data types are supported: {wanted}")
    return value


def permission(account: str, region: str, reference: str) -> tuple[str, str]:
    """The action and the resource that reading `reference` needs, as ECS asks for them of an execution role."""
    return "ssm:GetParameters", refer(account, region, reference).arn


def value_of(tx: Tx, parameter: Parameter, version: Version, decrypt: bool) -> str:
    """A version's value; that of a SecureString as it is stored, unless it is to be decrypted."""
    if version.type != "SecureString" or not decrypt:
        return version.value
    return tx.seal.open(version.value, sealed_for(parameter.key, version.number)).decode()


def _read(call: Call, tx: Tx, reference: Reference, decrypt: bool) -> dict[str, Any]:
    public = find_public(tx, reference)
    if public is not None:
        shown = _shown_public(public, reference.region)
    else:
        parameter = find(tx, reference, any_version=True)
        shown = _shown(tx, parameter, _selected(tx, parameter, reference), decrypt)
    return shown if reference.selector is None else {**shown, "Selector": f":{reference.selector}"}


def _selected(tx: Tx, parameter: Parameter, reference: Reference) -> Version:
    """The version that a reference means. A number that no version has is ParameterVersionNotFound, as is a label."""
    wanted = reference.selector
    if wanted is None:
        return parameter.current
    if not wanted or ":" in wanted:
        raise ParameterNotFound(f"Parameter {reference.text} not found.")
    for version in versions(tx, parameter):
        if wanted == str(version.number) or wanted in version.labels:
            return version
    what = "version" if wanted.isdigit() else "label"
    raise ParameterVersionNotFound(f"Systems Manager could not find {what} {wanted} of {parameter.name}. Verify the"
                                   f" {what} and try again.")


def _shown(tx: Tx, parameter: Parameter, version: Version, decrypt: bool) -> dict[str, Any]:
    return {"Name": parameter.name, "Type": version.type, "Value": value_of(tx, parameter, version, decrypt),
            "Version": version.number, "LastModifiedDate": version.modified, "ARN": parameter.arn,
            "DataType": version.data_type}


def _shown_public(public: PublicParameter, region: str) -> dict[str, Any]:
    return {"Name": public.name, "Type": "String", "Value": public.value, "Version": public.version,
            "LastModifiedDate": public.modified, "ARN": public.arn(region), "DataType": public.data_type}
