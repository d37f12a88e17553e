"""What S3 keeps of buckets as records, and what it keeps of a version beyond the columns of its row."""

from dataclasses import field
from typing import Any

import msgspec

from cloudlet.services.s3.service import bucket_arn
from cloudlet.store.records import record

ENFORCED = "BucketOwnerEnforced"  # the bucket's owner owns everything in it, and lists do not count
SWITCHES = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@record("s3.bucket", indexes={"account": lambda bucket: bucket.account})
class Bucket:
    """A bucket, with what every request asks of it. `id` is what its objects are stored under: a bucket made again
    starts empty. `versioning`: "", "Enabled" or "Suspended"; `ownership`: "" where it has no such controls; `block` are
    the switches of its public access block that are on, None where it has no block; `acl` its grants and `policy` its
    document, "" for none; `requester_pays`: others must say that they pay; `acts`: kinds of its
    configurations that requests on objects act on."""

    name: str
    id: int
    account: str
    region: str
    created: float
    versioning: str = ""
    ownership: str = ENFORCED
    block: tuple[str, ...] | None = SWITCHES
    acl: str = ""
    policy: str = ""
    lock_enabled: bool = False
    requester_pays: bool = False
    acts: tuple[str, ...] = ()
    mfa_delete: str = ""  # "Disabled" where that was said

    @property
    def arn(self) -> str:
        """`arn:aws:s3:::NAME`."""
        return bucket_arn(self.name)

    def shuts(self, switch: str) -> bool:
        """Whether a switch of its public access block is on."""
        return self.block is not None and switch in self.block


@record("s3.new_buckets", lasting=True)
class NewBuckets:
    """What new buckets are like here: the ownership of their objects. Where that is not as on AWS since 2023, they have
    no public access block either. There is one at most, whose key is empty."""

    key: str = ""
    ownership: str = ENFORCED


@record("s3.bucket_configuration")
class BucketConfiguration:
    """What is configured of a bucket that few requests ask for: its key is `BUCKET/kind` or `BUCKET/kind/ID`; `body`
    has the members as AWS's model names them."""

    key: str
    body: dict[str, object] = field(default_factory=dict)


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a version beyond its row. Checksums are base64, by the algorithm's name in lower case."""

    content_type: str = ""
    cache_control: str = ""
    content_disposition: str = ""
    content_encoding: str = ""
    content_language: str = ""
    expires: str = ""  # as it was sent
    redirect: str = ""
    metadata: dict[str, str] = {}
    checksums: dict[str, str] = {}
    checksum_type: str = "FULL_OBJECT"
    encryption: str = "AES256"  # or aws:kms, aws:kms:dsse; "" with a customer's key
    kms_key: str = ""
    bucket_key: bool = False
    customer_key_md5: str = ""  # base64, of a customer's key
    tags: dict[str, str] = {}
    acl: str = ""
    replication: str = ""
    tracked: dict[str, str] = {}  # of what waits to be copied: measured rules' ids, and the buckets that they copy to
    parts: int = 0  # of a completed multipart upload
    lock: tuple[str, int, int] | None = None  # that a multipart upload asked for: see `lock.Lock`
    disturbed: bool = False  # of a multipart upload during which something of its key was deleted
    restored_until: int = 0  # in epoch seconds, of what is archived

    def replace(self, **fields: Any) -> "About":
        """The same but for some fields."""
        return msgspec.structs.replace(self, **fields)


encode_about = msgspec.json.Encoder().encode
decode_about = msgspec.json.Decoder(About).decode
