"""Parameters listed, without their values."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ssm.filters import listed, older
from cloudlet.services.ssm.reading import optional
from cloudlet.services.ssm.records import Parameter
from cloudlet.services.ssm.service import ValidationException, ssm
from cloudlet.store.db import Tx


@ssm.read(resources=lambda call, request: [call.arn("ssm", "*")])
def describe_parameters(call: Call, tx: Tx, request: Input) -> Output:
    """The account's parameters in order of name, filtered."""
    new, old = request.get("ParameterFilters"), request.get("Filters")
    if new and old:
        raise ValidationException("You can use either Filters or ParameterFilters in a single request.")
    wanted = older(old) if old else listed(new or ())
    if request.get("Shared"):
        return {"Parameters": []}  # nobody shares: there is no AWS RAM, so what others share with this account is none
    return {"Parameters": [_described(each) for each in tx.find(Parameter, f"{call.scope}/") if wanted(each)]}


def _described(parameter: Parameter) -> dict[str, Any]:
    version = parameter.current
    return {"Name": parameter.name, "ARN": parameter.arn, "Type": version.type, "LastModifiedDate": version.modified,
            "LastModifiedUser": version.modified_by, "Version": version.number, "Tier": version.tier, "Policies": [],
            "DataType": version.data_type} | optional(version)
