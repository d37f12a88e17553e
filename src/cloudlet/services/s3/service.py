"""S3's declaration: the service, its errors in AWS's words, and what its operations act on, for the policies.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import ActionOf, Service

s3 = Service("s3")

AccessControlListNotSupported = s3.error(
    "AccessControlListNotSupported", "The bucket does not allow ACLs", status=400)
AccessDenied = s3.error("AccessDenied", "Access Denied", status=403)
AccessForbidden = s3.error("AccessForbidden", status=403)
AuthorizationHeaderMalformed = s3.error("AuthorizationHeaderMalformed", status=400)
AuthorizationQueryParametersError = s3.error("AuthorizationQueryParametersError", status=400)
BadDigest = s3.error("BadDigest", status=400)
BadRequest = s3.error("BadRequest", status=400)
BucketAlreadyExists = s3.error(
    "BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of"
    " the system. Please select a different name and try again.")
BucketAlreadyOwnedByYou = s3.error(
    "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
BucketNotEmpty = s3.error("BucketNotEmpty", "The bucket you tried to delete is not empty", status=409)
ConditionalRequestConflict = s3.error(
    "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation against this"
    " resource.", status=409)
CrossLocationLogging = s3.error(
    "CrossLocationLoggingProhibitted", "Cross S3 location logging not allowed. ", status=403)
EntityTooLarge = s3.error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", status=400)
EntityTooSmall = s3.error(
    "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", status=400)
IdMismatch = s3.error(
    "IdMismatch", "Document ID does not match the specified configuration ID.", status=400)
IllegalLocationConstraint = s3.error("IllegalLocationConstraintException", status=400)
IllegalVersioningConfiguration = s3.error(
    "IllegalVersioningConfigurationException",
    "The Versioning element must be specified", status=400)
InternalError = s3.error("InternalError", "We encountered an internal error. Please try again.", status=500)
InvalidArgument = s3.error("InvalidArgument", status=400)
InvalidBucketAclWithBlockPublicAccess = s3.error(
    "InvalidBucketAclWithBlockPublicAccessError", "Bucket cannot have public ACLs set with BlockPublicAccess enabled",
    status=400)
InvalidBucketAclWithObjectOwnership = s3.error(
    "InvalidBucketAclWithObjectOwnership",
    "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting", status=400)
InvalidBucketOwner = s3.error("InvalidBucketOwnerAWSAccountID", status=400)
InvalidBucketName = s3.error("InvalidBucketName", "The specified bucket is not valid.", status=400)
InvalidBucketState = s3.error(
    "InvalidBucketState", "The request is not valid with the current state of the bucket.", status=409)
InvalidDestination = s3.error("InvalidS3DestinationBucket", status=400)
InvalidEncryptionAlgorithm = s3.error(
    "InvalidEncryptionAlgorithmError", "The Encryption request you specified is not valid. Supported value: AES256.",
    status=400)
InvalidLocationConstraint = s3.error(
    "InvalidLocationConstraint", "The specified location-constraint is not valid", status=400)
InvalidObjectState = s3.error(
    "InvalidObjectState", "The operation is not valid for the object's storage class")
InvalidPart = s3.error(
    "InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the"
    " specified entity tag may not match the part's entity tag.", status=400)
InvalidPartNumber = s3.error("InvalidPartNumber", "The requested partnumber is not satisfiable", status=416)
InvalidPartOrder = s3.error(
    "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.",
    status=400)
InvalidRange = s3.error("InvalidRange", "The requested range is not satisfiable", status=416)
InvalidRedirectLocation = s3.error(
    "InvalidRedirectLocation", "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    status=400)
InvalidRequest = s3.error("InvalidRequest")
InvalidStorageClass = s3.error("InvalidStorageClass", "The storage class you specified is not valid", status=400)
InvalidTag = s3.error("InvalidTag", status=400)
InvalidTargetBucket = s3.error("InvalidTargetBucketForLogging", status=400)
KeyTooLong = s3.error("KeyTooLongError", "Your key is too long", status=400)
MalformedAcl = s3.error(
    "MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema",
    status=400)
MalformedPolicy = s3.error("MalformedPolicy", status=400)
MalformedXml = s3.error(
    "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema",
    status=400)
MetadataTooLarge = s3.error(
    "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size", status=400)
MethodNotAllowed = s3.error(
    "MethodNotAllowed", "The specified method is not allowed against this resource.", status=405)
MissingSecurityHeader = s3.error(
    "MissingSecurityHeader", "Your request was missing a required header", status=400)
NoSuchBucket = s3.error("NoSuchBucket", "The specified bucket does not exist")
NoSuchBucketPolicy = s3.error("NoSuchBucketPolicy", "The bucket policy does not exist", status=404)
NoSuchConfiguration = s3.error("NoSuchConfiguration", "The specified configuration does not exist.", status=404)
NoSuchCorsConfiguration = s3.error(
    "NoSuchCORSConfiguration", "The CORS configuration does not exist", status=404)
NoSuchKey = s3.error("NoSuchKey", "The specified key does not exist.")
NoSuchLifecycle = s3.error(
    "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist", status=404)
NoSuchReplication = s3.error(
    "ReplicationConfigurationNotFoundError", "The replication configuration was not found", status=404)
NoSuchObjectLock = s3.error(
    "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration", status=404)
NoSuchPublicAccessBlock = s3.error(
    "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found", status=404)
NoSuchTagSet = s3.error("NoSuchTagSet", "The TagSet does not exist", status=404)
NoSuchUpload = s3.error(
    "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been"
    " aborted or completed.")
NoSuchVersion = s3.error("NoSuchVersion", "The specified version does not exist.", status=404)
NoSuchWebsiteConfiguration = s3.error(
    "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration", status=404)
NotImplementedHere = s3.error(
    "NotImplemented", "A header you provided implies functionality that is not implemented", status=501)
NotModified = s3.error("NotModified", status=304)
ObjectLockNotFound = s3.error(
    "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket", status=404)
OwnershipControlsNotFound = s3.error(
    "OwnershipControlsNotFoundError", "The bucket ownership controls were not found", status=404)
PermanentRedirect = s3.error(
    "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint."
    " Please send all future requests to this endpoint.", status=301)
PreconditionFailed = s3.error(
    "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", status=412)
TooManyConfigurations = s3.error(
    "TooManyConfigurations", "You are attempting to create a new configuration but have already reached the"
    " 1,000-configuration limit.", status=400)
TooManyBuckets = s3.error(
    "TooManyBuckets", "You have attempted to create more buckets than allowed", status=400)
UnexpectedContent = s3.error("UnexpectedContent", "This request does not support content", status=400)
UnresolvableGrant = s3.error(
    "UnresolvableGrantByEmailAddress", "The e-mail address you provided does not match any account on record.",
    status=400)


def bucket_arn(name: str) -> str:
    """The ARN of a bucket, which has neither account nor region; `*` for any."""
    return f"arn:aws:s3:::{name}"


def bucket_arns(call: Call, request: dict[str, Any]) -> list[str]:
    """What an operation on a bucket acts on."""
    return [bucket_arn(request["Bucket"])]


def object_arns(call: Call, request: dict[str, Any]) -> list[str]:
    """What an operation on an object acts on."""
    return [f"arn:aws:s3:::{request['Bucket']}/{request['Key']}"]


def by_version(action: str, of_version: str) -> ActionOf:
    """The action of an operation that needs another permission where the request names a version."""
    return lambda call, request: of_version if request.get("VersionId") else action
