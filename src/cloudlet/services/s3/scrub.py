"""The scrub: bytes at rest are read again, slowly, so that rot is known before somebody needs them.

A file is read from the disk itself, at most once in EVERY_S; of what lies in the database, whose every read is checked
anyway, samples are. What is rotten is not answered any more, and stands in `cloudlet status` until it is deleted or is
what it was again.
"""

import errno
from typing import Any

from cloudlet.control.outcome import Broken, Done, Outcome
from cloudlet.kernel.digests import digest_of
from cloudlet.services.s3 import contents
from cloudlet.services.s3.contents import CRC64, ROTTEN
from cloudlet.services.s3.records import Bucket
from cloudlet.store.blobs import BlobMissing, Blobs
from cloudlet.store.blocks import Sums
from cloudlet.store.db import Store, Tx

EVERY_S = 14 * 86400.0
RATE_BYTES = 16 << 20  # of files, in a second
REST_S = 60.0  # while no file is due
SAMPLE = 20  # contents in the database that are read in each turn
NAMES_MAX = 5  # objects that are named where their bytes are lost
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # errors that say nothing of the disk


class Scrubber:
    """The worker, and the step that tells."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store, self._blobs = store, blobs

    async def run(self) -> None:
        """Reads what is due, one after the other; whatever the last start did not come to is still due."""
        while True:
            due = self._due()
            for content in (*self._sample(), *due):
                await self.look(content)
            if not due:
                await self._store.clock.sleep(REST_S)

    def suspect(self, file: str) -> None:
        """Has a file looked at soon, which somebody could not read to its end."""
        with self._store.tx() as tx:
            rows: list[Any] = tx.execute("select id from s3_content where file=? and rotten=0", (file,)).fetchall()
            for (content,) in rows:
                tx.enqueue(ROTTEN, str(content))

    async def rotten(self, key: str) -> Outcome:
        """Reads a content again that was found rotten, is suspected of it, or is gone now."""
        wrong = await self.look(int(key))
        if not wrong:
            return Done()
        with self._store.tx() as tx:
            return Broken(f"{wrong}; it is not answered any more: {_names(tx, int(key))}")

    def _due(self) -> list[int]:
        with self._store.tx() as tx:
            rows: list[Any] = tx.execute(
                "select id from s3_content where file is not null and scrubbed_ms<=? order by scrubbed_ms limit 1",
                (int((tx.now - EVERY_S) * 1000),)).fetchall()
        return [content for (content,) in rows]

    def _sample(self) -> list[int]:
        with self._store.tx() as tx:
            last: Any = tx.execute("select max(id) from s3_content").fetchone()
            rows: list[Any] = tx.execute(
                "select id from s3_content where id>=? and body is not null order by id limit ?",
                (int(tx.token(16), 16) % ((last[0] or 0) + 1), SAMPLE)).fetchall()
        return [content for (content,) in rows]

    async def look(self, content: int) -> str | None:
        """What is wrong with a content, "" for nothing; None where it is gone. What was found is kept."""
        with self._store.tx() as tx:
            row: Any = tx.execute("select size, body, file, crc64 from s3_content where id=?", (content,)).fetchone()
        if row is None:
            return None
        size, body, file, crc64 = row
        sums = Sums()
        if body is None:
            wrong = await self._read(file, size, crc64, sums)
        else:
            wrong = "" if (len(body), digest_of(CRC64, body)) == (size, crc64) else "its checksum is another"
        with self._store.tx() as tx:
            before = tx.execute("select rotten from s3_content where id=? and coalesce(file, '')=?",
                                (content, file or "")).fetchone()
            if before is None:  # what has this number now is another
                return None
            if body is None or wrong or before[0]:
                tx.execute("update s3_content set scrubbed_ms=?, rotten=? where id=?",
                           (int(tx.now * 1000), int(bool(wrong)), content))
            if body is None and not wrong:
                contents.keep_sums(tx, content, size, sums.finish()[0])
            if bool(wrong) != bool(before[0]):
                tx.enqueue(ROTTEN, str(content))
        return wrong

    async def _read(self, file: str, size: int, crc64: bytes, sums: Sums) -> str:
        """What is wrong with a file; "" for nothing. Raises OSError where it cannot be known."""
        try:
            reader = self._blobs.open(file, crc64=crc64)
            if reader.size != size:
                return f"its file {file} has {reader.size} bytes instead of {size}"
            reader.forget_cached()
            async for chunk in reader:
                sums.update(chunk)
                await self._store.clock.sleep(len(chunk) / RATE_BYTES)
            reader.forget_cached()
        except BlobMissing:
            return f"its file {file} is missing"
        except OSError as error:
            if error.errno in _OURS:
                raise
            return f"its file {file} cannot be read: {error.strerror}"
        return ""


def _names(tx: Tx, content: int) -> str:
    """The objects that have a content. It looks at all of them, which is once in a disk's life."""
    rows: list[Any] = tx.execute(
        "select bucket, key, version from s3_version where content=? or upload in"
        " (select upload from s3_part where content=?) limit ?", (content, content, NAMES_MAX)).fetchall()
    buckets = {bucket.id: bucket.name for bucket in tx.find(Bucket)} if rows else {}
    return ", ".join(f"s3://{buckets.get(bucket)}/{key} (version {version})" for bucket, key, version in rows) or (
        "a part of an upload")
