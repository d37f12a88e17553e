"""The loop of replication: an image appears in another region or account, with what it needs. Its blobs are there."""

import dataclasses

from cloudlet.control.outcome import Done, Outcome
from cloudlet.kernel.call import Call, Principal
from cloudlet.services.ecr.contents import find_image, put_layer, tags_of
from cloudlet.services.ecr.records import Image, Layer, Manifest, Replica, Repository, Tag, repository_key
from cloudlet.services.ecr.service import ecr, repository_arn
from cloudlet.services.ecr.templates import make_repository
from cloudlet.services.iam import Permissions
from cloudlet.store.db import Store, Tx

_permissions = Permissions((ecr,))


class Replication:
    """The step."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def replica(self, key: str) -> Outcome:
        """Brings one image to one destination, as it is now."""
        with self._store.tx() as tx:
            replica = tx.get(Replica, key)
            image = tx.get(Image, replica.image) if replica is not None else None
            if replica is None or image is None:
                return Done()
            account, _, name = image.repository.split("/", 2)
            refusal = _refusal(tx, account, replica, name)
            if refusal is None:
                _copy(tx, image, _repository(tx, replica, name))
            tx.put(dataclasses.replace(replica, status="FAILED" if refusal else "COMPLETE", failure=refusal))
        return Done()


def _refusal(tx: Tx, account: str, replica: Replica, name: str) -> str | None:
    """Why another account does not take the image, as a code; None where it does.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry-permissions-create-replication.html
    """
    if account == replica.account:
        return None
    source = Principal("root", account, f"arn:aws:iam::{account}:root", account)
    call = Call("", account, replica.region, source, tx.now, "http://localhost")
    there = tx.get(Repository, repository_key(replica.account, replica.region, name)) is not None
    for action in ("ecr:ReplicateImage",) if there else ("ecr:ReplicateImage", "ecr:CreateRepository"):
        if _permissions.refusal(tx, call, action, (repository_arn(replica.account, replica.region, name),)):
            return "AccessDenied"
    return None


def _repository(tx: Tx, replica: Replica, name: str) -> Repository:
    """Where the image goes: the repository of the same name."""
    found = tx.get(Repository, repository_key(replica.account, replica.region, name))
    return found or make_repository(tx, replica.account, replica.region, name, "REPLICATION")


def _copy(tx: Tx, image: Image, into: Repository) -> None:
    """The image with its parts and its tags, but for tags that must stay on another image there."""
    for digest in image.children:
        child = find_image(tx, image.repository, digest)
        if child is not None and find_image(tx, into.key, digest) is None:
            _copy(tx, child, into)
    copy = find_image(tx, into.key, image.digest)
    if copy is None:
        for digest in image.blobs:
            layer = tx.get(Layer, f"{image.repository}@{digest}")
            if layer is not None:
                put_layer(tx, into.key, digest, layer.size)
        copy = dataclasses.replace(image, key=f"{into.key}@{image.digest}", repository=into.key, pushed_at=tx.now,
                                   pulled_at=None)
        manifest = tx.get(Manifest, image.key)
        assert manifest is not None
        tx.put(copy)
        tx.put(Manifest(copy.key, manifest.text))
    for tag in tags_of(tx, image):
        held = tx.get(Tag, f"{into.key}:{tag}")
        if held is None or not into.pins(tag):
            tx.put(Tag(f"{into.key}:{tag}", copy.key))
