"""CloudWatch Logs' declaration: the service and its errors."""

from cloudlet.kernel.service import Service

logs = Service("logs")

InvalidOperation = logs.error("InvalidOperationException")
InvalidParameter = logs.error("InvalidParameterException")
LimitExceeded = logs.error("LimitExceededException")
MalformedQuery = logs.error("MalformedQueryException")
ResourceAlreadyExists = logs.error("ResourceAlreadyExistsException")
ResourceNotFound = logs.error("ResourceNotFoundException")
SessionTimeout = logs.error("SessionTimeoutException")
TooManyTags = logs.error("TooManyTagsException")
Validation = logs.error("ValidationException")
