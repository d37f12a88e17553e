"""Parts and files that nothing has any more: removed once that is on the disk, and looked for after a crash."""

from cloudlet.control.outcome import Again, Done, Outcome
from cloudlet.services.s3 import parts
from cloudlet.services.s3.contents import is_known
from cloudlet.store.blobs import Blobs
from cloudlet.store.db import Store

SWEEP_S, HELD_RETRY_S = 600.0, 10.0
BATCH = 1000  # files of one transaction
PARTS = 500  # of one transaction


class Collector:
    """The steps."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store, self._blobs = store, blobs

    async def files(self, key: str) -> Outcome:
        """Forgets the parts that nothing needs, and removes the files whose last content has gone, which is on the disk
        first: no power cut undoes it."""
        while self._forget_parts():
            await self._store.clock.sleep(0)
        after = ""
        while True:
            with self._store.tx() as tx:
                rows = tx.execute("select file from s3_garbage where file>? order by file limit ?", (after, BATCH))
                names = [str(name) for (name,) in rows.fetchall()]
            if not names:
                break
            await self._store.flush()
            with self._store.tx() as tx:
                for name in names:
                    if self._blobs.discard(name):
                        tx.execute("delete from s3_garbage where file=?", (name,))
            await self._blobs.purge()
            after = names[-1]
        with self._store.tx() as tx:
            left = tx.execute("select 1 from s3_garbage limit 1").fetchone()
        return Again(HELD_RETRY_S, "some are still being read") if left else Done()

    def _forget_parts(self) -> bool:
        with self._store.tx() as tx:
            return parts.collect(tx, PARTS)

    async def look(self) -> None:
        """Removes what a crash left: files that never got a content, and uploads that nobody writes to."""
        await self._blobs.purge()
        for name in await self._blobs.uploads():
            upload = self._blobs.upload(name)
            if upload is not None and not upload.busy and not self._blobs.held(name):
                await upload.discard()
        names = await self._blobs.names()
        for at in range(0, len(names), BATCH):
            await self._discard_strays(names[at:at + BATCH])
        await self._blobs.purge()

    async def _discard_strays(self, names: list[str]) -> None:
        """Files that the database does not know, now and as it is on the disk; those being received are held."""
        with self._store.tx() as tx:
            strays = [name for name in names if not is_known(tx, name)]
        await self._store.flush()
        with self._store.tx() as tx:
            for name in strays:
                if not is_known(tx, name):
                    self._blobs.discard(name)
