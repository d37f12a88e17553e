"""PutImage: a manifest put by the API, as the registry puts those that are pushed."""

from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.ecr import contents, manifests
from cloudlet.services.ecr.records import Image, Tag
from cloudlet.services.ecr.service import (
    ImageAlreadyExists,
    ImageDigestDoesNotMatch,
    ecr,
    is_tag,
    refused,
    registry_of,
    repository_arns,
)
from cloudlet.store.db import Store


@ecr.wait(resources=repository_arns)
async def put_image(call: Call, store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """Stores a manifest whose layers were uploaded before, and tags it. It survives a power cut when this answers."""
    text, tag, digest = request["imageManifest"], request.get("imageTag"), request.get("imageDigest")
    if tag is not None and not is_tag(tag):
        raise refused("imageTag", "must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
    try:
        document = manifests.parse(text.encode(), request.get("imageManifestMediaType", ""))
    except manifests.InvalidManifest as error:
        raise refused("ImageManifest", str(error)) from None
    if digest is not None and digest != document.digest:
        raise ImageDigestDoesNotMatch(f"Image digest '{digest}' does not match the digest '{document.digest}' of the "
                                      "image manifest")
    with store.tx() as tx:
        repository = contents.require_repository(tx, registry_of(call, request), call.region, request["repositoryName"])
        there = tx.get(Image, f"{repository.key}@{document.digest}")
        held = tx.get(Tag, f"{repository.key}:{tag}") if tag is not None else None
        if there is not None and (tag is None or (held is not None and held.image == there.key)):
            tagged = f" and tag '{tag}'" if tag is not None else ""
            raise ImageAlreadyExists(f"Image with digest '{document.digest}'{tagged} already exists in the repository "
                                     f"with name '{repository.name}' in registry with id '{repository.account}'")
        image = contents.put_image(tx, store.blobs["ecr"], repository, document, tag)
    await store.flush()
    named = {"imageDigest": image.digest, **({"imageTag": tag} if tag is not None else {})}
    return {"image": {"registryId": repository.account, "repositoryName": repository.name, "imageId": named,
                      "imageManifest": text, "imageManifestMediaType": image.media_type}}
