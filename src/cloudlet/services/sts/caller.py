"""Who is calling, and whose an access key is."""

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.sts.service import sts
from cloudlet.store.db import Tx


@sts.read
def get_caller_identity(call: Call, tx: Tx, request: Input) -> Output:
    """The account, the unique id and the ARN of the caller; needs no permission."""
    return {"UserId": call.principal.user_id, "Account": call.principal.account, "Arn": call.principal.arn}
