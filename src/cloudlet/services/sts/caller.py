"""Who is calling, and whose an access key is."""

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.iam import account_of
from cloudlet.services.sts.service import ValidationError, sts
from cloudlet.store.db import Tx


@sts.read(resources=any_resource)
def get_caller_identity(call: Call, tx: Tx, request: Input) -> Output:
    """The account, the unique id and the ARN of the caller; needs no permission."""
    return {"UserId": call.principal.user_id, "Account": call.principal.account, "Arn": call.principal.arn}


@sts.read(resources=any_resource)
def get_access_key_info(call: Call, tx: Tx, request: Input) -> Output:
    """The account of an access key, which its id carries; says nothing of whether the key is there."""
    account = account_of(request["AccessKeyId"])
    if account is None:
        raise ValidationError(f"{request['AccessKeyId']} is not a valid access key id.")
    return {"Account": account}
