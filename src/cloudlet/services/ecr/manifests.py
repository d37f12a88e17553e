"""Manifests as documents: what one refers to, and whether it is what it says.

https://github.com/opencontainers/image-spec and https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from cloudlet.store.blobs import digest_of, is_digest

MANIFEST_BYTES_MAX = 4 << 20
PARTS_MAX = 5000

DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGES, LISTS = (DOCKER_IMAGE, OCI_IMAGE), (DOCKER_LIST, OCI_INDEX)


class InvalidManifest(Exception):
    """Not a manifest that we take; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A blob that a manifest refers to."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest: its bytes as text, its digest, and what it refers to."""

    text: str
    digest: str
    media_type: str
    artifact_media_type: str | None
    parts: tuple[Part, ...]
    children: tuple[str, ...]
    subject: str | None


def parse(body: bytes, content_type: str) -> Document:
    """The document in the body of a push. Raises InvalidManifest."""
    try:
        text = body.decode()
        tree = msgspec.json.decode(body)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise InvalidManifest(f"the manifest is not JSON: {error}") from None
    if not isinstance(tree, dict) or tree.get("schemaVersion") != 2:
        raise InvalidManifest("the manifest must be a JSON object with schemaVersion 2")
    media_type = _media_type(tree, content_type.partition(";")[0].strip().lower())
    descriptors, children = _references(tree, media_type)
    if len(descriptors) + len(children) > PARTS_MAX:
        raise InvalidManifest(f"the manifest refers to more than {PARTS_MAX} parts")
    subject = _descriptor(tree["subject"], "subject").digest if tree.get("subject") is not None else None
    return Document(text, digest_of(body), media_type, _artifact_type(tree, media_type),
                    tuple(descriptors), tuple(dict.fromkeys(children)), subject)


def _media_type(tree: dict[str, Any], content_type: str) -> str:
    inside = tree.get("mediaType")
    known = (*IMAGES, *LISTS)
    if content_type not in known:
        # A client that says nothing useful in the header may still say it in the document.
        if content_type in ("", "application/json", "application/octet-stream") and inside in known:
            return str(inside)
        raise InvalidManifest(f"the media type {content_type or inside!r} is not supported")
    if inside is not None and inside != content_type:
        raise InvalidManifest(f"the manifest says mediaType {inside!r}, but it was sent as {content_type!r}")
    if inside is None and content_type in (DOCKER_IMAGE, DOCKER_LIST):
        raise InvalidManifest(f"the manifest lacks mediaType {content_type!r}")
    # OCI documents may leave mediaType out, so one must not pass as the other (CVE-2021-41190).
    others = {"manifests"} if content_type in IMAGES else {"config", "layers"}
    if others & tree.keys():
        raise InvalidManifest(f"the manifest is not a {content_type!r}")
    return content_type


def _references(tree: dict[str, Any], media_type: str) -> tuple[list[Part], list[str]]:
    if media_type in LISTS:
        return [], [_descriptor(entry, "manifests").digest for entry in _list(tree, "manifests")]
    parts = [_descriptor(tree.get("config"), "config")]
    for entry in _list(tree, "layers"):
        part = _descriptor(entry, "layers")
        if not entry.get("urls"):  # a layer with addresses of its own is fetched there (Windows base images)
            parts.append(part)
    return parts, []


def _list(tree: dict[str, Any], member: str) -> list[Any]:
    value = tree.get(member)
    if not isinstance(value, list):
        raise InvalidManifest(f"{member} must be a list")
    return value


def _descriptor(value: Any, member: str) -> Part:
    if not isinstance(value, dict):
        raise InvalidManifest(f"{member} must be a descriptor")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise InvalidManifest(f"{member} has no sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidManifest(f"{member} has no size")
    return Part(digest, size)


def _artifact_type(tree: dict[str, Any], media_type: str) -> str | None:
    """What DescribeImages answers as artifactMediaType: artifactType, else the media type of the config."""
    config = tree.get("config") if media_type in IMAGES else None
    for value in (tree.get("artifactType"), config.get("mediaType") if isinstance(config, dict) else None):
        if isinstance(value, str) and value:
            return value
    return None
