"""The operations on images: describe, list, fetch manifests, delete."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.ecr.contents import delete_image, list_holding, require_repository, tags_of
from cloudlet.services.ecr.image_ids import Unfit, failure, require_image, wanted
from cloudlet.services.ecr.pull_times import record_pulls
from cloudlet.services.ecr.records import Image, Manifest, Repository, Tag
from cloudlet.services.ecr.scanning import scan_status
from cloudlet.services.ecr.service import ecr, refused, registry_of, repository_arns
from cloudlet.store.db import Store, Tx


def _repository(call: Call, tx: Tx, request: dict[str, Any]) -> Repository:
    return require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])


def _detail(repository: Repository, image: Image, tags: list[str], scan: dict[str, str] | None) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "registryId": repository.account,
        "repositoryName": repository.name,
        "imageDigest": image.digest,
        "imageSizeInBytes": image.size,
        "imagePushedAt": image.pushed_at,
        "imageManifestMediaType": image.media_type,
        "imageStatus": "ACTIVE",
    }
    if tags:
        detail["imageTags"] = tags
    for member, value in (("artifactMediaType", image.artifact_media_type), ("subjectManifestDigest", image.subject),
                          ("lastRecordedPullTime", image.pulled_at), ("imageScanStatus", scan)):
        if value is not None:
            detail[member] = value
    return detail


def _passes(request: dict[str, Any], tags: list[str]) -> bool:
    asked = request.get("filter", {})
    if asked.get("imageStatus", "ACTIVE") not in ("ACTIVE", "ANY"):
        return False  # nothing is ever archived here
    return asked.get("tagStatus", "ANY") in ("ANY", "TAGGED" if tags else "UNTAGGED")


@ecr.read(resources=repository_arns)
def describe_images(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Images with their tags, sizes and times; those of `imageIds`, or all that pass the filter."""
    repository = _repository(call, tx, request)
    image_ids, scan = request.get("imageIds"), scan_status(tx, repository)
    if not image_ids:
        listed = [(image, tags_of(tx, image)) for image in tx.find(Image, f"{repository.key}@")]
        return {"imageDetails": [_detail(repository, image, tags, scan) for image, tags in listed
                                 if _passes(request, tags)]}
    for member in ("maxResults", "nextToken"):
        if request.get(member) is not None:
            raise refused(member, "must be absent when imageIds are given")
    found: dict[str, Image] = {}
    for image_id in image_ids:
        image = require_image(tx, repository, image_id)
        found[image.key] = image
    return {"imageDetails": [_detail(repository, image, tags, scan) for image in found.values()
                             if _passes(request, tags := tags_of(tx, image))]}


@ecr.read(resources=repository_arns)
def list_images(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """One identifier for each tag, and one for each image without any."""
    repository = _repository(call, tx, request)
    image_ids = []
    for image in tx.find(Image, f"{repository.key}@"):
        tags = tags_of(tx, image)
        if _passes(request, tags):
            image_ids += [{"imageDigest": image.digest, "imageTag": tag} for tag in tags] \
                or [{"imageDigest": image.digest}]
    return {"imageIds": image_ids}


@ecr.wait(resources=repository_arns)
async def batch_get_image(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """Manifests, exactly as they were pushed. Fetching one is a pull, and noted as such."""
    with store.tx() as tx:
        answer, pulled = _fetched(call, tx, request)
    record_pulls(store, pulled, call.now)
    return answer


def _fetched(call: Call, tx: Tx, request: dict[str, Any]) -> tuple[dict[str, Any], list[Image]]:
    repository, pulled = _repository(call, tx, request), []
    accepted = request.get("acceptedMediaTypes")
    images, failures = [], []
    for image_id in request["imageIds"]:
        try:
            image = wanted(tx, repository, image_id)
            if accepted and image.media_type not in accepted:
                # AWS converts between some old formats; a manifest here is only ever what was pushed.
                raise Unfit("ImageNotFound", "Requested image not found in the accepted media types")
        except Unfit as unfit:
            failures.append(failure(image_id, unfit))
            continue
        manifest = tx.get(Manifest, image.key)
        assert manifest is not None
        pulled.append(image)
        tag = {"imageTag": image_id["imageTag"]} if "imageTag" in image_id else {}
        images.append({"registryId": repository.account, "repositoryName": repository.name,
                       "imageId": {"imageDigest": image.digest, **tag}, "imageManifest": manifest.text,
                       "imageManifestMediaType": image.media_type})
    return {"images": images, "failures": failures}, pulled


@ecr.write(resources=repository_arns)
def batch_delete_image(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Deletes by digest or by tag; what cannot be deleted is answered as a failure."""
    repository = _repository(call, tx, request)
    deleted: list[dict[str, str]] = []
    failures = []
    for image_id in request["imageIds"]:
        try:
            deleted += _delete(tx, repository, image_id)
        except Unfit as unfit:
            failures.append(failure(image_id, unfit))
    return {"imageIds": deleted, "failures": failures}


def _delete(tx: Tx, repository: Repository, image_id: dict[str, str]) -> list[dict[str, str]]:
    """Deletes by digest with all tags; by tag only the tag, and the image with its last one. Raises Unfit."""
    image = wanted(tx, repository, image_id)
    tags, tag = tags_of(tx, image), image_id.get("imageTag")
    if tag is not None and len(tags) > 1:
        tx.delete(Tag, f"{repository.key}:{tag}")
        return [{"imageDigest": image.digest, "imageTag": tag}]
    holding = list_holding(tx, image)
    if holding is not None:
        raise Unfit("ImageReferencedByManifestList",
                     f"Requested image referenced by manifest list: [{holding.digest}]")
    delete_image(tx, image)
    return [{"imageDigest": image.digest, "imageTag": tag} for tag in tags] or [{"imageDigest": image.digest}]
