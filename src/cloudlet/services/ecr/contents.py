"""What is in a repository: adding, finding, untagging and deleting images, within a caller's transaction."""

import dataclasses

from cloudlet.kernel.clock import as_uuid
from cloudlet.services.ecr.manifests import Document
from cloudlet.services.ecr.records import (
    Image,
    Layer,
    LifecyclePolicy,
    Manifest,
    Preview,
    Replica,
    ReplicationRules,
    Repository,
    Tag,
    Upload,
    repository_key,
)
from cloudlet.services.ecr.service import (
    ImageTagAlreadyExists,
    InvalidLayer,
    LayersNotFound,
    ReferencedImagesNotFound,
    RepositoryNotFound,
    is_digest,
)
from cloudlet.store.blobs import Blobs
from cloudlet.store.db import Tx

REPOSITORY = "ecr.repository"  # work: layers of this repository that nothing uses
BLOB = "ecr.blob"  # work: the file of this digest, if no repository has it
UPLOAD = "ecr.upload"  # work: this upload, if it was abandoned
LIFECYCLE = "ecr.lifecycle"  # work: apply the lifecycle policy of this repository
PREVIEW = "ecr.preview"  # work: find what a lifecycle policy would do to this repository
REPLICA = "ecr.replica"  # work: bring this image to this destination
UNUSED_LAYER_S = 3600.0  # how long an unused layer is kept after a client last relied on it
ABANDONED_UPLOAD_S = 24 * 3600.0


def require_repository(tx: Tx, account: str, region: str, name: str) -> Repository:
    """The repository of that name. Raises RepositoryNotFound in AWS's words."""
    found = tx.get(Repository, repository_key(account, region, name))
    if found is None:
        raise RepositoryNotFound(f"The repository with name '{name}' does not exist in the registry with id "
                                 f"'{account}'")
    return found


def find_image(tx: Tx, repository: str, reference: str) -> Image | None:
    """The image of a digest or a tag in the repository of that key."""
    if is_digest(reference):
        return tx.get(Image, f"{repository}@{reference}")
    tag = tx.get(Tag, f"{repository}:{reference}")
    return tx.get(Image, tag.image) if tag else None


def tags_of(tx: Tx, image: Image) -> list[str]:
    """The tags of an image, in order."""
    return [tag.name for tag in tx.find(Tag, image=image.key)]


def put_image(tx: Tx, blobs: Blobs, repository: Repository, document: Document, tag: str | None) -> Image:
    """Stores a manifest, all of whose parts must be in the repository already, and tags it.

    Raises LayersNotFound, ReferencedImagesNotFound, InvalidLayer or ImageTagAlreadyExists.
    """
    key = f"{repository.key}@{document.digest}"
    _require_parts(tx, blobs, repository.key, document)
    if tag is not None:
        _require_free(tx, repository, tag, document.digest)
    image = tx.get(Image, key)
    if image is None:
        children = [child for digest in document.children if (child := tx.get(Image, f"{repository.key}@{digest}"))]
        size = sum(part.size for part in document.parts) or max((child.size for child in children), default=0)
        image = Image(key, repository.key, document.digest, document.media_type, document.artifact_media_type, size,
                      tuple(dict.fromkeys(part.digest for part in document.parts)), document.children,
                      document.subject, pushed_at=tx.now)
        tx.put(image)
        tx.put(Manifest(key, document.text))
    if tag is not None:
        tx.put(Tag(f"{repository.key}:{tag}", key))
    _replicate(tx, repository, image)
    return image


def _replicate(tx: Tx, repository: Repository, image: Image) -> None:
    """Sends an image wherever the rules of the registry want it."""
    rules = tx.get(ReplicationRules, f"{repository.account}/{repository.region}")
    for destination in rules.destinations(repository.name) if rules is not None else ():
        replica = Replica(f"{image.key}>{destination}")
        tx.put(replica)
        tx.enqueue(REPLICA, replica.key)


def _require_parts(tx: Tx, blobs: Blobs, repository: str, document: Document) -> None:
    missing = []
    for part in document.parts:
        layer, size = tx.get(Layer, f"{repository}@{part.digest}"), blobs.size(part.digest)
        if layer is None or size is None:
            missing.append(part.digest)
        elif size != part.size:
            raise InvalidLayer(f"Layer '{part.digest}' has {size} bytes, but the manifest says {part.size}")
    if missing:
        raise LayersNotFound(f"Layers with digests '{', '.join(missing)}' required for pushing image into repository "
                             f"with name '{repository.split('/', 2)[2]}' in the registry with id "
                             f"'{repository.split('/', 1)[0]}' do not exist")
    lost = [digest for digest in document.children if tx.get(Image, f"{repository}@{digest}") is None]
    if lost:
        raise ReferencedImagesNotFound(f"Images with digests '{', '.join(lost)}' required for pushing image into "
                                       f"repository with name '{repository.split('/', 2)[2]}' in the registry with id "
                                       f"'{repository.split('/', 1)[0]}' do not exist")


def _require_free(tx: Tx, repository: Repository, tag: str, digest: str) -> None:
    held = tx.get(Tag, f"{repository.key}:{tag}")
    if held is not None and held.digest != digest and repository.pins(tag):
        raise ImageTagAlreadyExists(f"The image tag '{tag}' already exists in the '{repository.name}' repository and "
                                    "cannot be overwritten because the repository is immutable.")


def touch_layer(tx: Tx, layer: Layer) -> None:
    """Notes that a client relies on a layer: it will not push it, because we said that it is here."""
    if tx.now - layer.touched > UNUSED_LAYER_S / 4:
        tx.put(dataclasses.replace(layer, touched=tx.now))


def put_layer(tx: Tx, repository: str, digest: str, size: int) -> None:
    """The repository has this blob from now on; collected later, unless an image comes that uses it."""
    tx.put(Layer(f"{repository}@{digest}", repository, digest, size, touched=tx.now))
    tx.enqueue(REPOSITORY, repository, after=UNUSED_LAYER_S)


def delete_layer(tx: Tx, layer: Layer) -> None:
    """The repository has this blob no longer; its file goes if no other has it."""
    tx.delete(Layer, layer.key)
    tx.enqueue(BLOB, layer.digest)


def begin_upload(tx: Tx, repository: str) -> str:
    """The name of a new upload to a repository."""
    name = as_uuid(tx.token(32))
    tx.put(Upload(name, repository, tx.now))
    return name


def list_holding(tx: Tx, image: Image) -> Image | None:
    """An image list that refers to this image."""
    holding = tx.find(Image, child=image.key, limit=1)
    return holding[0] if holding else None


def delete_image(tx: Tx, image: Image) -> None:
    """Removes an image and its tags; layers that nothing else uses are collected."""
    for tag in tx.find(Tag, image=image.key):
        tx.delete(Tag, tag.key)
    for replica in tx.find(Replica, f"{image.key}>"):
        tx.delete(Replica, replica.key)
    tx.delete(Manifest, image.key)
    tx.delete(Image, image.key)
    tx.enqueue(REPOSITORY, image.repository)


def delete_contents(tx: Tx, repository: Repository) -> None:
    """Removes everything that is in a repository or about it, uploads under way included."""
    tx.delete(LifecyclePolicy, repository.key)
    tx.delete(Preview, repository.key)
    for image in tx.find(Image, f"{repository.key}@"):
        delete_image(tx, image)
    for layer in tx.find(Layer, f"{repository.key}@"):
        delete_layer(tx, layer)
    for upload in tx.find(Upload, repository=repository.key):
        tx.delete(Upload, upload.key)
        tx.enqueue(UPLOAD, upload.key)
