"""What S3 itself puts into buckets: logs and inventories."""

from collections.abc import AsyncIterator

from cloudlet.kernel.http import Body
from cloudlet.services.s3 import checksums, notifications, replication_rules, versions
from cloudlet.services.s3.contents import Received
from cloudlet.services.s3.notifications import Cause
from cloudlet.services.s3.owners import canonical_id
from cloudlet.services.s3.records import About, Bucket
from cloudlet.services.s3.versions import Draft
from cloudlet.store.db import Tx


def body_of(data: bytes) -> Body:
    """Bytes to be received."""
    async def chunks() -> AsyncIterator[bytes]:
        yield data
    return Body(chunks(), len(data))


def put(tx: Tx, target: Bucket, key: str, received: Received, cause: Cause, content_type: str, acl: str = "") -> None:
    """Makes them what a key is, owned by the bucket's owner."""
    about = About(content_type=content_type, checksums=checksums.checksums_of(received), acl=acl)
    version = versions.put_version(tx, target, key, Draft(
        received.size, received.etag, canonical_id(target.account), about, received))
    notifications.announce(tx, cause, target, "ObjectCreated:Put", version)
    replication_rules.enqueue(tx, target, version)
