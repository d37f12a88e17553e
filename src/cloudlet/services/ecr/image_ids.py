"""How requests name an image of a repository, by digest, by tag or by both, and what is wrong where they do not."""

import re
from typing import Any

from cloudlet.services.ecr.contents import find_image
from cloudlet.services.ecr.records import Image, Repository
from cloudlet.services.ecr.service import ImageNotFoundException, InvalidParameter, is_digest, is_tag
from cloudlet.store.db import Tx

_ANY_DIGEST = re.compile(r"[a-zA-Z0-9_+.-]+:[a-fA-F0-9]+")


class Unfit(Exception):
    """Why one image of a batch cannot be served: AWS's failure code and reason."""

    def __init__(self, code: str, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(code, reason)


def wanted(tx: Tx, repository: Repository, image_id: dict[str, str]) -> Image:
    """The image that an imageId names. Raises Unfit."""
    digest, tag = image_id.get("imageDigest"), image_id.get("imageTag")
    if digest is None and tag is None:
        raise Unfit("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
    if digest is not None and not _ANY_DIGEST.fullmatch(digest):
        raise Unfit("InvalidImageDigest", "Invalid request parameters: image digest should satisfy the regex "
                    "'[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
    if tag is not None and not is_tag(tag):
        raise Unfit("InvalidImageTag", "Invalid request parameters: image tag should satisfy the regex "
                    "'[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
    found = find_image(tx, repository.key, tag) if tag is not None else None
    if tag is None and digest is not None and is_digest(digest):
        found = find_image(tx, repository.key, digest)
    if found is None:
        raise Unfit("ImageNotFound", "Requested image not found")
    if digest is not None and found.digest != digest:
        raise Unfit("ImageTagDoesNotMatchDigest", "Requested image tag does not match the requested image digest")
    return found


def failure(image_id: dict[str, str], unfit: Unfit) -> dict[str, Any]:
    """One failure as batch operations answer it."""
    return {"imageId": image_id, "failureCode": unfit.code, "failureReason": unfit.reason}


def require_image(tx: Tx, repository: Repository, image_id: dict[str, str]) -> Image:
    """The image, where it must be there. Raises InvalidParameter or ImageNotFoundException in AWS's words."""
    try:
        return wanted(tx, repository, image_id)
    except Unfit as unfit:
        if unfit.code not in ("ImageNotFound", "ImageTagDoesNotMatchDigest"):
            raise InvalidParameter(unfit.reason) from None
        raise ImageNotFoundException(
            f"The image with imageId {{imageDigest:'{image_id.get('imageDigest', 'null')}', "
            f"imageTag:'{image_id.get('imageTag', 'null')}'}} does not exist within the repository with name "
            f"'{repository.name}' in the registry with id '{repository.account}'") from None
