"""DeleteObjects: up to a thousand keys or versions at once, each by its own permission and with its own outcome.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.condition_keys import keys_of
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.service import asked_within
from cloudlet.services.s3 import lock, versions
from cloudlet.services.s3.access import keys
from cloudlet.services.s3.access.decision import is_allowed
from cloudlet.services.s3.buckets import require_bucket
from cloudlet.services.s3.metadata import require_key
from cloudlet.services.s3.objects import delete
from cloudlet.services.s3.records import Bucket
from cloudlet.services.s3.service import AccessDenied, MalformedXml, NoSuchVersion, NotImplementedHere, object_arns, s3
from cloudlet.store.db import Tx

OBJECTS_MAX = 1000


@s3.write(resources=asked_within, durable=True)
def delete_objects(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Deletes what is named, one after the other; what cannot be deleted is told, and keeps nothing else from it."""
    bucket, wanted = require_bucket(tx, call, request), request["Delete"]
    guard = lock.guard(call, tx, bucket, request.get("BypassGovernanceRetention"))
    objects = wanted.get("Objects") or ()
    if not 0 < len(objects) <= OBJECTS_MAX or any(not one.get("Key") for one in objects):
        raise MalformedXml()
    deleted, errors = [], []
    for one in objects:
        try:
            deleted.append(_delete(call, tx, bucket, one, guard))
        except AwsError as error:
            errors.append({"Key": one["Key"], "VersionId": one.get("VersionId"), "Code": error.code,
                           "Message": error.message})
    return {"Deleted": [] if wanted.get("Quiet") else deleted, "Errors": errors}


def _delete(call: Call, tx: Tx, bucket: Bucket, one: dict[str, Any], guard: lock.Guard) -> dict[str, Any]:
    """Deletes one of them; what is told of it. Raises before anything has changed."""
    about, if_match = {"Bucket": bucket.name, **one}, one.get("ETag")
    if if_match is not None:
        about["IfMatch"] = if_match
    key, version_id = require_key(about), one.get("VersionId") or None
    action = "s3:DeleteObjectVersion" if version_id else "s3:DeleteObject"
    (arn,) = object_arns(call, about)
    for needed in (action, *(("s3:GetObject",) if if_match not in (None, "*") else ())):
        if not is_allowed(tx, call, needed, arn, lambda: keys_of(keys.keys_of(call, tx, about))):
            raise AccessDenied()
    if "Size" in one or "LastModifiedTime" in one:
        raise NotImplementedHere()  # directory buckets'
    if version_id is not None and not versions.is_id(version_id):
        raise NoSuchVersion()  # where DeleteObject says that it is none
    outcome = delete(call, tx, bucket, key, version_id, guard, if_match)
    marker = outcome.get("DeleteMarker")
    return {"Key": key, "VersionId": version_id, "DeleteMarker": marker,
            "DeleteMarkerVersionId": outcome.get("VersionId") if marker else None}
