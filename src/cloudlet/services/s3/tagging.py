"""The tags of objects.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
"""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.s3 import notifications, replication_rules, versions
from cloudlet.services.s3.access.decision import present_or_marker
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.metadata import require_key
from cloudlet.services.s3.notifications import cause_of
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import by_version, object_arns, s3
from cloudlet.services.s3.tags import checked
from cloudlet.services.s3.versions import Version
from cloudlet.store.db import Tx


@s3.write(resources=object_arns, action=by_version("s3:PutObjectTagging", "s3:PutObjectVersionTagging"), durable=True)
def put_object_tagging(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Gives a version of an object its tags, in the place of those it had."""
    tags = checked((tag["Key"], tag["Value"]) for tag in request["Tagging"].get("TagSet") or ())
    return _set(call, tx, *_find(call, tx, request, "PUT"), tags)


@s3.read(resources=object_arns, action=by_version("s3:GetObjectTagging", "s3:GetObjectVersionTagging"))
def get_object_tagging(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """The tags of a version of an object."""
    bucket, version = _find(call, tx, request)
    return {"TagSet": [{"Key": name, "Value": value} for name, value in version.about.tags.items()],
            "VersionId": version.version if bucket.versioning else None}


@s3.write(resources=object_arns, action=by_version("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"),
          durable=True)
def delete_object_tagging(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Takes all tags of a version of an object away."""
    return _set(call, tx, *_find(call, tx, request, "DELETE"), {})


def _find(call: Call, tx: Tx, request: dict[str, Any], method: str = "GET") -> tuple[Bucket, Version]:
    bucket = require_bucket(tx, call, request)
    return bucket, present_or_marker(tx, call, bucket, require_key(request), request.get("VersionId"), method)


def _set(call: Call, tx: Tx, bucket: Bucket, version: Version, tags: dict[str, str]) -> dict[str, Any]:
    version = versions.set_about(tx, version, version.about.replace(tags=tags))
    notifications.announce(tx, cause_of(call), bucket, f"ObjectTagging:{'Put' if tags else 'Delete'}", version)
    replication_rules.enqueue(tx, bucket, version)
    return {"VersionId": version.version if bucket.versioning else None}
