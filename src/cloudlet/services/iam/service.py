"""IAM's declaration: the service, its errors, and what every noun of it asks of a request."""

from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.service import Service

iam = Service("iam")

AccessDenied = iam.error("AccessDenied", status=403)
DeleteConflict = iam.error("DeleteConflictException")
EntityAlreadyExists = iam.error("EntityAlreadyExistsException")
InvalidAuthenticationCode = iam.error("InvalidAuthenticationCodeException")
InvalidInput = iam.error("InvalidInputException")
InvalidUserType = iam.error("InvalidUserTypeException")
LimitExceeded = iam.error("LimitExceededException")
MalformedPolicyDocument = iam.error("MalformedPolicyDocumentException")
NoSuchEntity = iam.error("NoSuchEntityException")
PasswordPolicyViolation = iam.error("PasswordPolicyViolationException")
UnmodifiableEntity = iam.error("UnmodifiableEntityException")
ValidationError = iam.error("ValidationError", status=400)


def refuse_unsupported(request: Mapping[str, Any], *members: str) -> None:
    """Raises InvalidInput where the request sets a member that nothing here would honour."""
    for member in members:
        if request.get(member):
            raise InvalidInput(f"{member} is not supported.")
