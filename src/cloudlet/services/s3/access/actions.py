"""Which actions and condition keys of S3 there are, and what each action is done to; pure.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from functools import lru_cache

from cloudlet.kernel.policy_match import glob

OBJECT, BUCKET = "object", "bucket"
_ACTIONS = {
    OBJECT: """
        AbortMultipartUpload BypassGovernanceRetention DeleteObject DeleteObjectTagging DeleteObjectVersion
        DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAttributes GetObjectLegalHold GetObjectRetention
        GetObjectTagging GetObjectTorrent GetObjectVersion GetObjectVersionAcl GetObjectVersionAttributes
        GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent InitiateReplication
        ListMultipartUploadParts ObjectOwnerOverrideToBucketOwner PutObject PutObjectAcl PutObjectLegalHold
        PutObjectRetention PutObjectTagging PutObjectVersionAcl PutObjectVersionTagging ReplicateDelete ReplicateObject
        ReplicateTags RestoreObject UpdateObjectEncryption""",
    BUCKET: """
        CreateBucket CreateBucketMetadataTableConfiguration DeleteBucket DeleteBucketMetadataTableConfiguration
        DeleteBucketPolicy DeleteBucketWebsite GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAbac
        GetBucketAcl GetBucketCORS GetBucketLocation GetBucketLogging GetBucketMetadataTableConfiguration
        GetBucketNotification GetBucketObjectLockConfiguration GetBucketOwnershipControls GetBucketPolicy
        GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging GetBucketVersioning
        GetBucketWebsite GetEncryptionConfiguration GetIntelligentTieringConfiguration GetInventoryConfiguration
        GetLifecycleConfiguration GetMetricsConfiguration GetReplicationConfiguration ListBucket
        ListBucketMultipartUploads ListBucketVersions ListTagsForResource PauseReplication PutAccelerateConfiguration
        PutAnalyticsConfiguration PutBucketAbac PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification
        PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock
        PutBucketRequestPayment PutBucketTagging PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration
        PutIntelligentTieringConfiguration PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration
        PutReplicationConfiguration TagResource UntagResource UpdateBucketMetadataInventoryTableConfiguration
        UpdateBucketMetadataJournalTableConfiguration""",
    "": """
        CreateAccessPoint CreateJob DeleteAccessPoint DeleteAccessPointPolicy DescribeJob GetAccessPoint
        GetAccessPointPolicy GetAccessPointPolicyStatus GetAccountPublicAccessBlock GetDataAccess ListAccessPoints
        ListAllMyBuckets ListJobs ListStorageLensConfigurations PutAccessPointPolicy PutAccessPointPublicAccessBlock
        PutAccountPublicAccessBlock"""}
_KEYS = """
    accessgrantsinstancearn accessgrantslocationscope accessgrantscope accesspointnetworkorigin accesspointtag authtype
    buckettag dataaccesspointaccount dataaccesspointarn delimiter destinationregion existingobjecttag if-match
    if-none-match inventoryaccessibleoptionalfields isreplicationpauserequest locationconstraint max-keys
    object-lock-legal-hold object-lock-mode object-lock-remaining-retention-days object-lock-retain-until-date
    objectcreationoperation prefix requestobjecttag requestobjecttagkeys resourceaccount signatureage signatureversion
    tlsversion versionid x-amz-acl x-amz-bucket-namespace x-amz-content-sha256 x-amz-copy-source
    x-amz-grant-full-control x-amz-grant-read x-amz-grant-read-acp x-amz-grant-write x-amz-grant-write-acp
    x-amz-metadata-directive x-amz-object-ownership x-amz-server-side-encryption
    x-amz-server-side-encryption-aws-kms-key-id x-amz-server-side-encryption-customer-algorithm x-amz-storage-class
    x-amz-website-redirect-location"""
_CONDITION_KEYS = frozenset(_KEYS.split())
_NAMES = {kind: tuple(f"s3:{name.lower()}" for name in names.split()) for kind, names in _ACTIONS.items()}


@lru_cache(maxsize=1024)
def done_to(pattern: str) -> frozenset[str]:
    """What the actions that a pattern means are done to: OBJECT, BUCKET, "" for neither; empty where it means none."""
    if pattern == "*":
        return frozenset((OBJECT, BUCKET))
    if not pattern.lower().startswith("s3:"):
        return frozenset()
    means = glob([pattern.lower()])
    return frozenset(kind for kind, names in _NAMES.items() if any(map(means, names)))


def is_condition_key(key: str) -> bool:
    """Whether a condition may ask about it: S3 knows its own keys, and not those of others."""
    service, _, name = key.lower().partition(":")
    return service != "s3" or name.partition("/")[0] in _CONDITION_KEYS
