"""Collecting what nothing uses any more: layers without an image, files without a layer, uploads that were abandoned.

A push never loses a blob to it: a layer stays for an hour after a client last relied on it, a file is held while it is
being published, and checking the records and taking the file away happen without anything in between.
"""

from cloudlet.control.controller import Controller
from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.control.rounds import every
from cloudlet.engines.ports import Engines
from cloudlet.services.ecr.contents import (
    ABANDONED_UPLOAD_S,
    BLOB,
    LIFECYCLE,
    PREVIEW,
    REPLICA,
    REPOSITORY,
    UNUSED_LAYER_S,
    UPLOAD,
    delete_layer,
)
from cloudlet.services.ecr.expiry import Expiry
from cloudlet.services.ecr.pull_through_rules import CHECK, UpstreamChecker
from cloudlet.services.ecr.records import Image, Layer, Upload
from cloudlet.services.ecr.replicating import Replication
from cloudlet.store.blobs import Blobs
from cloudlet.store.db import Store

SWEEP_S = 600.0
HELD_RETRY_S = 60.0


def controller(store: Store, blobs: Blobs, engines: Engines | None = None) -> Controller:
    """The registry's loops: by repository, by digest, by upload, a regular look for what was left behind, and the
    questions to other registries."""
    collector, expiry = Collector(store, blobs), Expiry(store)
    checker = UpstreamChecker(store, engines.upstreams if engines else None)
    return Controller({REPOSITORY: collector.repository, BLOB: collector.blob, UPLOAD: collector.upload,
                       LIFECYCLE: expiry.repository, PREVIEW: expiry.preview, REPLICA: Replication(store).replica,
                       CHECK: checker.reconcile},
                      workers={"ecr.sweep": every(SWEEP_S, collector.look, store.clock)})


class Collector:
    """The steps."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store, self._blobs = store, blobs

    async def repository(self, key: str) -> Outcome:
        """Forgets the layers of a repository that no image of it uses, once no push can rely on them."""
        with self._store.tx() as tx:
            unused = [layer for layer in tx.find(Layer, f"{key}@") if not tx.find(Image, blob=layer.key, limit=1)]
            late = [layer for layer in unused if tx.now - layer.touched >= UNUSED_LAYER_S]
            for layer in late:
                delete_layer(tx, layer)
            waits = [layer.touched + UNUSED_LAYER_S - tx.now for layer in unused if layer not in late]
        return Again(max(1.0, min(waits)), "waiting for pushes that may use its layers") if waits else Done()

    async def blob(self, digest: str) -> Outcome:
        """Frees a file that no repository has. Its layers' deletion is on the disk first: no power cut undoes it."""
        await self._store.flush()
        with self._store.tx() as tx:
            if tx.find(Layer, digest=digest, limit=1):
                return Done()
            if not self._blobs.discard(digest):
                return Again(HELD_RETRY_S, "a push of it is under way")
        await self._blobs.purge()
        return Done()

    async def upload(self, name: str) -> Outcome:
        """Ends an upload that no client has written to for a day, or whose repository is gone."""
        upload = self._blobs.upload(name)
        with self._store.tx() as tx:
            record = tx.get(Upload, name)
            if record is not None:
                left = record.touched + ABANDONED_UPLOAD_S - tx.now
                if left > 0:
                    return Again(left, "an upload under way")
        if upload is not None and upload.busy:
            return Again(HELD_RETRY_S, "an upload under way")
        if upload is not None:
            await upload.discard()
        with self._store.tx() as tx:
            tx.delete(Upload, name)
        return Done()

    async def look(self) -> None:
        """Asks about what clients abandoned and what a crash left: uploads, and blobs without a layer."""
        await self._blobs.purge()
        digests, uploads = await self._blobs.names(), await self._blobs.uploads()
        with self._store.tx() as tx:
            for digest in digests:
                if not tx.find(Layer, digest=digest, limit=1):
                    tx.enqueue(BLOB, digest)
            late = (upload.key for upload in tx.find(Upload) if tx.now - upload.touched >= ABANDONED_UPLOAD_S)
            for name in (*late, *(name for name in uploads if tx.get(Upload, name) is None)):
                tx.enqueue(UPLOAD, name)
