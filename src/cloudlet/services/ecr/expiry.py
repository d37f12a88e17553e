"""The loop of lifecycle policies: images that a repository's policy expires are deleted, soon and again and again.

An image that was pushed a moment ago is spared, because the list that it belongs to may be yet to come.
"""

import dataclasses
from collections import defaultdict

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.ecr.contents import delete_image
from cloudlet.services.ecr.lifecycle_rules import Candidate, evaluate, parse
from cloudlet.services.ecr.records import Image, LifecyclePolicy, Preview, Tag
from cloudlet.store.db import Store, Tx

EVALUATE_S = 600.0  # AWS: within 24 hours
SETTLED_S = 300.0  # how long an image is spared after it was pushed
DELETED_MAX = 200  # in one transaction


class Expiry:
    """The steps."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def repository(self, key: str) -> Outcome:
        """Applies a repository's policy once."""
        with self._store.tx() as tx:
            policy = tx.get(LifecyclePolicy, key)
            if policy is None:
                return Done()
            images, candidates = _contents(tx, key)
            expired = evaluate(parse(policy.text), candidates, tx.now)
            spared = [image for image in images.values()
                      if image.digest in expired and tx.now - image.pushed_at < SETTLED_S]
            doomed = sorted((images[digest] for digest in expired.keys() - {image.digest for image in spared}),
                            key=lambda image: image.pushed_at)
            for image in doomed[:DELETED_MAX]:
                _delete_with_referrers(tx, image)
            tx.put(dataclasses.replace(policy, evaluated_at=tx.now))
            if doomed:  # what a list held, or was too much for now, may be next
                return Again(0.0, "there may be more images to expire")
            settled = min((image.pushed_at for image in spared), default=tx.now) + SETTLED_S - tx.now
            return Again(min(EVALUATE_S, max(1.0, settled)) if spared else EVALUATE_S, "applies its lifecycle policy")

    async def preview(self, key: str) -> Outcome:
        """Finds what a policy would do to the images that are there now."""
        with self._store.tx() as tx:
            preview = tx.get(Preview, key)
            if preview is None or preview.complete:
                return Done()
            images, candidates = _contents(tx, key)
            tags = {candidate.digest: candidate.tags for candidate in candidates}
            found = evaluate(parse(preview.text), candidates, tx.now)
            expired = [{"imageDigest": image.digest, "imagePushedAt": image.pushed_at, "action": {"type": "EXPIRE"},
                        "appliedRulePriority": found[image.digest], "storageClass": "STANDARD",
                        **({"imageTags": tags[image.digest]} if tags[image.digest] else {})}
                       for image in sorted((images[digest] for digest in found), key=lambda image: image.pushed_at)]
            tx.put(dataclasses.replace(preview, complete=True, expired=expired))
        return Done()


def _contents(tx: Tx, key: str) -> tuple[dict[str, Image], list[Candidate]]:
    """The images of a repository, and those among them that rules may be about: what only refers to an image that is
    here (a signature, an attestation) goes when that goes."""
    tags: dict[str, list[str]] = defaultdict(list)
    for tag in tx.find(Tag, f"{key}:"):
        tags[tag.digest].append(tag.name)
    images = {image.digest: image for image in tx.find(Image, f"{key}@")}
    held = {child for image in images.values() for child in image.children}
    return images, [Candidate(image.digest, tuple(tags[image.digest]), image.pushed_at, image.digest in held)
                    for image in images.values() if image.subject not in images]


def _delete_with_referrers(tx: Tx, image: Image) -> None:
    """Deletes an image, and what refers to it and to nothing else, in turn."""
    doomed = [image]
    while doomed:
        one = doomed.pop()
        if tx.get(Image, one.key) is not None:
            delete_image(tx, one)
            doomed += [each for each in tx.find(Image, subject=one.key) if not tx.find(Image, child=each.key, limit=1)]
