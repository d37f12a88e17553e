"""Images that are named by a parameter of Systems Manager: `resolve:ssm:NAME`, `:VERSION` or `:LABEL` after it.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-systems-manager-parameter-to-find-AMI.html
"""

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2.api import error
from cloudlet.services.iam import refusal
from cloudlet.services.ssm import permission, read_value
from cloudlet.store.db import Tx

PREFIX = "resolve:ssm:"
DATA_TYPE = "aws:ec2:image"

SsmAccessDenied = error("SsmAccessDenied")
SsmInvalidParameter = error("SsmInvalidParameter")


def resolve_image(tx: Tx, call: Call, id: str) -> str:
    """The id of the image that a request means, which may be what a parameter says now. Who asks must be allowed to
    read it. Raises SsmAccessDenied, SsmInvalidParameter."""
    if not id.startswith(PREFIX):
        return id
    reference = id.removeprefix(PREFIX)
    action, parameter = permission(call.account, call.region, reference)
    if refusal(tx, call, action, parameter) is not None:
        raise SsmAccessDenied("Access denied to SSM")
    try:
        return read_value(tx, call.account, call.region, reference, data_type=DATA_TYPE)
    except AwsError as wrong:
        raise SsmInvalidParameter(wrong.message) from None
