"""Whether a request shows a code of one of its caller's MFA devices."""

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.iam import mfa_problem
from cloudlet.services.sts.service import AccessDenied
from cloudlet.store.db import Tx

PRESENT = (("aws:multifactorauthpresent", "true"),)  # the fact that a session has which was opened with a device


def shows_code(tx: Tx, call: Call, request: Input) -> bool:
    """True where the code is right, and False where there is none. Raises AccessDenied for a wrong one."""
    serial, code = request.get("SerialNumber"), request.get("TokenCode")
    if serial is None and code is None:
        return False
    if serial is None or code is None:
        raise AccessDenied("MultiFactorAuthentication failed, must provide both MFA serial number and one time pass"
                           " code. ")
    problem = mfa_problem(tx, call.principal, serial, code)
    if problem:
        raise AccessDenied(problem)
    return True
