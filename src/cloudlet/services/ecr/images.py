"""The operations on images: describe, list, fetch manifests, delete."""

import re
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.ecr.contents import delete_image, find_image, list_holding, require_repository, tags_of
from cloudlet.services.ecr.records import Image, Manifest, Repository, Tag
from cloudlet.services.ecr.service import (
    ImageNotFoundException,
    InvalidParameter,
    ecr,
    is_digest,
    is_tag,
    registry_of,
    repository_arns,
)
from cloudlet.store.db import Tx

_ANY_DIGEST = re.compile(r"[a-zA-Z0-9_+.-]+:[a-fA-F0-9]+")


class _Unfit(Exception):
    """Why one image of a batch cannot be served: AWS's failure code and reason."""


def _repository(call: Call, tx: Tx, request: dict[str, Any]) -> Repository:
    return require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])


def _wanted(tx: Tx, repository: Repository, image_id: dict[str, str]) -> Image:
    """The image that an imageId names. Raises _Unfit."""
    digest, tag = image_id.get("imageDigest"), image_id.get("imageTag")
    if digest is None and tag is None:
        raise _Unfit("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
    if digest is not None and not _ANY_DIGEST.fullmatch(digest):
        raise _Unfit("InvalidImageDigest", "Invalid request parameters: image digest should satisfy the regex "
                     "'[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
    if tag is not None and not is_tag(tag):
        raise _Unfit("InvalidImageTag", "Invalid request parameters: image tag should satisfy the regex "
                     "'[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
    found = find_image(tx, repository.key, tag) if tag is not None else None
    if tag is None and digest is not None and is_digest(digest):
        found = find_image(tx, repository.key, digest)
    if found is None:
        raise _Unfit("ImageNotFound", "Requested image not found")
    if digest is not None and found.digest != digest:
        raise _Unfit("ImageTagDoesNotMatchDigest", "Requested image tag does not match the requested image digest")
    return found


def _failure(image_id: dict[str, str], unfit: _Unfit) -> dict[str, Any]:
    code, reason = unfit.args
    return {"imageId": image_id, "failureCode": code, "failureReason": reason}


def _detail(tx: Tx, repository: Repository, image: Image, tags: list[str]) -> dict[str, Any]:
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
                          ("lastRecordedPullTime", image.pulled_at)):
        if value is not None:
            detail[member] = value
    return detail


def _passes(request: dict[str, Any], tags: list[str]) -> bool:
    wanted = request.get("filter", {})
    if wanted.get("imageStatus", "ACTIVE") not in ("ACTIVE", "ANY"):
        return False  # nothing is ever archived here
    return wanted.get("tagStatus", "ANY") in ("ANY", "TAGGED" if tags else "UNTAGGED")


@ecr.read(resources=repository_arns)
def describe_images(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Images with their tags, sizes and times; those of `imageIds`, or all that pass the filter."""
    repository = _repository(call, tx, request)
    image_ids = request.get("imageIds")
    if not image_ids:
        listed = [(image, tags_of(tx, image)) for image in tx.find(Image, f"{repository.key}@")]
        return {"imageDetails": [_detail(tx, repository, image, tags) for image, tags in listed
                                 if _passes(request, tags)]}
    for member in ("maxResults", "nextToken"):
        if request.get(member) is not None:
            raise InvalidParameter(f"Invalid parameter at '{member}' failed to satisfy constraint: "
                                   "'must be absent when imageIds are given'")
    found: dict[str, Image] = {}
    for image_id in image_ids:
        try:
            image = _wanted(tx, repository, image_id)
        except _Unfit as unfit:
            if unfit.args[0] not in ("ImageNotFound", "ImageTagDoesNotMatchDigest"):
                raise InvalidParameter(unfit.args[1]) from None
            raise ImageNotFoundException(
                f"The image with imageId {{imageDigest:'{image_id.get('imageDigest', 'null')}', "
                f"imageTag:'{image_id.get('imageTag', 'null')}'}} does not exist within the repository with name "
                f"'{repository.name}' in the registry with id '{repository.account}'") from None
        found[image.key] = image
    return {"imageDetails": [_detail(tx, repository, image, tags) for image in found.values()
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


@ecr.read(resources=repository_arns)
def batch_get_image(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Manifests, exactly as they were pushed."""
    repository = _repository(call, tx, request)
    accepted = request.get("acceptedMediaTypes")
    images, failures = [], []
    for image_id in request["imageIds"]:
        try:
            image = _wanted(tx, repository, image_id)
            if accepted and image.media_type not in accepted:
                # AWS converts between some old formats; a manifest here is only ever what was pushed.
                raise _Unfit("ImageNotFound", "Requested image not found in the accepted media types")
        except _Unfit as unfit:
            failures.append(_failure(image_id, unfit))
            continue
        manifest = tx.get(Manifest, image.key)
        assert manifest is not None
        tag = {"imageTag": image_id["imageTag"]} if "imageTag" in image_id else {}
        images.append({"registryId": repository.account, "repositoryName": repository.name,
                       "imageId": {"imageDigest": image.digest, **tag}, "imageManifest": manifest.text,
                       "imageManifestMediaType": image.media_type})
    return {"images": images, "failures": failures}


@ecr.write(resources=repository_arns)
def batch_delete_image(call: Call, tx: Tx, request: dict[str, Any]) -> dict[str, Any]:
    """Deletes by digest or by tag; what cannot be deleted is answered as a failure."""
    repository = _repository(call, tx, request)
    deleted: list[dict[str, str]] = []
    failures = []
    for image_id in request["imageIds"]:
        try:
            deleted += _delete(tx, repository, image_id)
        except _Unfit as unfit:
            failures.append(_failure(image_id, unfit))
    return {"imageIds": deleted, "failures": failures}


def _delete(tx: Tx, repository: Repository, image_id: dict[str, str]) -> list[dict[str, str]]:
    """Deletes by digest with all tags; by tag only the tag, and the image with its last one. Raises _Unfit."""
    image = _wanted(tx, repository, image_id)
    tags, tag = tags_of(tx, image), image_id.get("imageTag")
    if tag is not None and len(tags) > 1:
        tx.delete(Tag, f"{repository.key}:{tag}")
        return [{"imageDigest": image.digest, "imageTag": tag}]
    holding = list_holding(tx, image)
    if holding is not None:
        raise _Unfit("ImageReferencedByManifestList",
                     f"Requested image referenced by manifest list: [{holding.digest}]")
    delete_image(tx, image)
    return [{"imageDigest": image.digest, "imageTag": tag} for tag in tags] or [{"imageDigest": image.digest}]
