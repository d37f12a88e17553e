"""Secrets Manager's declaration: the service and its errors in AWS's words."""

from cloudlet.kernel.errors import declare
from cloudlet.kernel.service import Service

secretsmanager = Service("secretsmanager")

AccessDenied = declare("AccessDeniedException")
InvalidNextToken = secretsmanager.error("InvalidNextTokenException", "The pagination token is invalid.")
InvalidParameter = secretsmanager.error("InvalidParameterException")
InvalidRequest = secretsmanager.error("InvalidRequestException")
LimitExceeded = secretsmanager.error("LimitExceededException")
MalformedPolicyDocument = secretsmanager.error("MalformedPolicyDocumentException")
PublicPolicy = secretsmanager.error("PublicPolicyException")
ResourceExists = secretsmanager.error("ResourceExistsException")
ResourceNotFound = secretsmanager.error(
    "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
ValidationException = declare("ValidationException")
