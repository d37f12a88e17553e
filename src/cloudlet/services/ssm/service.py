"""Parameter Store's declaration: the service and its errors in AWS's words."""

from cloudlet.kernel.errors import declare
from cloudlet.kernel.service import Service

ssm = Service("ssm")

AccessDenied = declare("AccessDeniedException")
HierarchyLevelLimitExceeded = ssm.error(
    "HierarchyLevelLimitExceededException",
    "A hierarchy can have a maximum of 15 levels. For more information, see Requirements and constraints for parameter"
    " names in the AWS Systems Manager User Guide.")
InvalidAllowedPattern = ssm.error("InvalidAllowedPatternException")
InvalidFilterKey = ssm.error("InvalidFilterKey")
InvalidFilterOption = ssm.error("InvalidFilterOption")
InvalidFilterValue = ssm.error("InvalidFilterValue")
InvalidKeyId = ssm.error("InvalidKeyId")
InvalidResourceId = ssm.error("InvalidResourceId", "Invalid Resource Id")
InvalidResourceType = ssm.error("InvalidResourceType", "Invalid Resource Type")
ParameterAlreadyExists = ssm.error(
    "ParameterAlreadyExists",
    "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
ParameterLimitExceeded = ssm.error(
    "ParameterLimitExceeded",
    "You have exceeded the number of parameters for this AWS account. Delete one or more parameters and try again.")
ParameterMaxVersionLimitExceeded = ssm.error("ParameterMaxVersionLimitExceeded")
ParameterNotFound = ssm.error("ParameterNotFound")
ParameterPatternMismatch = ssm.error("ParameterPatternMismatchException")
ParameterVersionLabelLimitExceeded = ssm.error(
    "ParameterVersionLabelLimitExceeded",
    "A parameter version can have maximum 10 labels. Move one or more labels to another version and try again.")
ParameterVersionNotFound = ssm.error("ParameterVersionNotFound")
TooManyTags = ssm.error("TooManyTagsError")
UnsupportedParameterType = ssm.error("UnsupportedParameterType")
ValidationException = declare("ValidationException")
