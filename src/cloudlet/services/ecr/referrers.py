"""What refers to an image as its subject: signatures, attestations, bills of materials.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec

from cloudlet.kernel.http import Response
from cloudlet.services.ecr.exchange import Exchange, RegistryError, json_response
from cloudlet.services.ecr.manifests import OCI_INDEX
from cloudlet.services.ecr.records import Image, Manifest, Repository
from cloudlet.services.ecr.service import is_digest
from cloudlet.store.db import Store, Tx

PAGE_BYTES = 4 << 20  # of the descriptors in one answer: a client may refuse a larger index


class Referrers:
    """The referrers of an image, whether or not that image is here."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, exchange: Exchange, digest: str) -> Response:
        """GET: an index of all that name the digest as their subject, of one artifact type if the client says so."""
        if not is_digest(digest):
            raise RegistryError(400, "DIGEST_INVALID", f"'{digest[:200]}' is not a sha256 digest")
        # A plus sign that a client left as it is: a media type has no spaces.
        artifact_type = (exchange.parameter("artifactType") or "").replace(" ", "+")
        last = exchange.parameter("last") or ""
        with self._store.tx() as tx:
            repository = exchange.repository(tx, "ecr:BatchGetImage")
            found = [image for image in referring(tx, repository, digest)
                     if image.digest > last and artifact_type in ("", image.artifact_media_type)]
            descriptors, more = _page(tx, found)
        headers = {"content-type": OCI_INDEX}
        if artifact_type:
            headers["oci-filters-applied"] = "artifactType"
        if more:
            query = {"last": descriptors[-1]["digest"], **({"artifactType": artifact_type} if artifact_type else {})}
            headers["link"] = f'</v2/{repository.name}/referrers/{digest}?{urlencode(query)}>; rel="next"'
        return json_response({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}, **headers)


def referring(tx: Tx, repository: Repository, digest: str) -> list[Image]:
    """The images of a repository that name the digest as their subject, in order of their own."""
    return tx.find(Image, subject=f"{repository.key}@{digest}")


def _page(tx: Tx, images: Iterable[Image]) -> tuple[list[dict[str, Any]], bool]:
    """The first descriptors, at least one of them, and whether there are more."""
    descriptors: list[dict[str, Any]] = []
    size = 0
    for image in images:
        descriptor = _descriptor(tx, image)
        size += len(msgspec.json.encode(descriptor))
        if descriptors and size > PAGE_BYTES:
            return descriptors, True
        descriptors.append(descriptor)
    return descriptors, False


def _descriptor(tx: Tx, image: Image) -> dict[str, Any]:
    manifest = tx.get(Manifest, image.key)
    assert manifest is not None
    found = {"mediaType": image.media_type, "digest": image.digest, "size": len(manifest.text.encode())}
    if image.artifact_media_type:
        found["artifactType"] = image.artifact_media_type
    annotations = msgspec.json.decode(manifest.text).get("annotations")
    return {**found, "annotations": annotations} if isinstance(annotations, dict) else found
