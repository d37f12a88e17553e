"""CloudWatch Logs' declaration: the service and its errors."""

from cloudlet.kernel.service import Service

logs = Service("logs")

InvalidParameter = logs.error("InvalidParameterException")
LimitExceeded = logs.error("LimitExceededException")
ResourceAlreadyExists = logs.error("ResourceAlreadyExistsException")
ResourceNotFound = logs.error("ResourceNotFoundException")
TooManyTags = logs.error("TooManyTagsException")
