"""Labels of versions: names that move from one version of a parameter to another."""

import dataclasses
import re

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ssm.names import refer, the_parameter
from cloudlet.services.ssm.records import Parameter, Version, find, put_version, versions
from cloudlet.services.ssm.service import (
    ParameterVersionLabelLimitExceeded,
    ParameterVersionNotFound,
    ValidationException,
    ssm,
)
from cloudlet.store.db import Tx

LABELS_MAX, LABEL_LENGTH_MAX = 10, 100
_LABEL = re.compile(r"(?!\d|aws|ssm)[a-zA-Z0-9_.-]+", re.ASCII | re.IGNORECASE)


@ssm.write(resources=the_parameter)
def label_parameter_version(call: Call, tx: Tx, request: Input) -> Output:
    """Moves labels to a version, by default the newest; labels that none may be are left out and named."""
    parameter = find(tx, refer(call.account, call.region, request["Name"]))
    asked = _checked(request["Labels"])
    number = request.get("ParameterVersion") or parameter.current.number
    kept = versions(tx, parameter)
    target = _numbered(parameter, kept, number)
    valid = [label for label in asked if _LABEL.fullmatch(label)]
    labels = tuple(dict.fromkeys((*target.labels, *valid)))
    if len(labels) > LABELS_MAX:
        raise ParameterVersionLabelLimitExceeded()
    for version in kept:
        left = labels if version is target else tuple(each for each in version.labels if each not in valid)
        if left != version.labels:
            put_version(tx, parameter, dataclasses.replace(version, labels=left))
    return {"InvalidLabels": [label for label in asked if label not in valid], "ParameterVersion": number}


@ssm.write(resources=the_parameter)
def unlabel_parameter_version(call: Call, tx: Tx, request: Input) -> Output:
    """Takes labels from a version; those it does not have are named."""
    parameter = find(tx, refer(call.account, call.region, request["Name"]))
    version = _numbered(parameter, versions(tx, parameter), request["ParameterVersion"])
    asked = _checked(request["Labels"])
    removed = [label for label in asked if label in version.labels]
    if removed:
        put_version(tx, parameter, dataclasses.replace(
            version, labels=tuple(label for label in version.labels if label not in removed)))
    return {"RemovedLabels": removed, "InvalidLabels": [label for label in asked if label not in removed]}


def _checked(labels: list[str]) -> list[str]:
    for label in labels:
        if len(label) > LABEL_LENGTH_MAX:
            raise ValidationException(
                f"1 validation error detected: Value '[{label}]' at 'labels' failed to satisfy constraint: Member must"
                f" satisfy constraint: [Member must have length less than or equal to {LABEL_LENGTH_MAX}, Member must"
                " have length greater than or equal to 1]")
    return list(dict.fromkeys(labels))


def _numbered(parameter: Parameter, kept: list[Version], number: int) -> Version:
    for version in kept:
        if version.number == number:
            return version
    raise ParameterVersionNotFound(f"Systems Manager could not find version {number} of {parameter.name}. Verify the"
                                   " version and try again.")
