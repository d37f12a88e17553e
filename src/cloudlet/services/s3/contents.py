"""Bytes of objects: received whole and verified, kept once however many versions share them, and read again.

Small ones lie in the database, so that they cost neither an inode nor a sync of their own; others are files.
"""

import errno
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cloudlet.kernel.digests import digest_of
from cloudlet.kernel.http import Body
from cloudlet.services.s3.service import EntityTooLarge, InternalError, MissingContentLength
from cloudlet.store.blobs import BlobMissing, Blobs, Reader
from cloudlet.store.db import OutOfSpace, Store, Tx

INLINE_BYTES = 32 << 10  # up to which bytes lie in the database
UPLOAD_BYTES_MAX = 5 << 30  # of one request
GARBAGE = "s3.garbage"  # kind of work: files to remove
CRC64 = "crc64nvme"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that came whole: in `body`, or in the file of that name, on the disk. `digests` are theirs, by algorithm;
    `checksum` is the algorithm of the one that the client sent, and which was right, "" for none."""

    size: int
    digests: Mapping[str, bytes]
    checksum: str
    body: bytes | None
    file: str | None

    @property
    def md5(self) -> str:
        """In hex, as an ETag has it."""
        return self.digests["md5"].hex()


@asynccontextmanager
async def receive(store: Store, body: Body, wanted: Sequence[str] = ()) -> AsyncIterator[Received]:
    """The bytes of a body with their digests (MD5, CRC64NVME and those wanted), to be kept within this context: a file
    that no content has at its end is removed.

    Raises MissingContentLength, EntityTooLarge, OutOfSpace, and what the body does where it is not what was announced.
    """
    if body.length is None:
        raise MissingContentLength()
    if body.length > UPLOAD_BYTES_MAX:
        raise EntityTooLarge(ProposedSize=str(body.length), MaxSizeAllowed=str(UPLOAD_BYTES_MAX))
    body.want("md5", CRC64, *wanted)
    if body.length <= INLINE_BYTES:
        data = await body.read(INLINE_BYTES)
        yield Received(len(data), body.digests, body.checksum, data, None)
        return
    blobs, name = store.blobs["s3"], store.clock.token(32)
    with blobs.hold(name):
        size = await _write(blobs, name, body)
        try:
            yield Received(size, body.digests, body.checksum, None, name)
        finally:
            with store.tx() as tx:
                known = tx.execute("select 1 from s3_content where file=?", (name,)).fetchone()
            if not known:
                blobs.discard(name)


async def _write(blobs: Blobs, name: str, body: Body) -> int:
    """Writes a body to a file that survives a power cut; its size."""
    upload = None
    try:
        upload = await blobs.begin(name)
        size = await upload.write(aiter(body))
        await upload.publish(name)
    except BaseException as error:
        if upload is not None:
            await upload.discard()
        if isinstance(error, OSError) and error.errno in FULL:
            raise OutOfSpace from error
        raise
    return size


def keep(tx: Tx, received: Received) -> int:
    """A new content, of one version or part; its id."""
    tx.execute("insert into s3_content (refs, size, body, file, crc64, nonce, scrubbed_ms) values (1,?,?,?,?,null,?)",
               (received.size, received.body, received.file, received.digests[CRC64], int(tx.now * 1000)))
    return tx.last_id()


def share(tx: Tx, content: int) -> None:
    """One more version or part has it."""
    tx.execute("update s3_content set refs=refs+1 where id=?", (content,))


def release(tx: Tx, content: int) -> None:
    """One version or part less has it; the bytes go with the last."""
    row = tx.execute("update s3_content set refs=refs-1 where id=? returning refs, file", (content,)).fetchone()
    if row is not None and row[0] <= 0:
        tx.execute("delete from s3_content where id=?", (content,))
        if row[1] is not None:
            tx.execute("insert or ignore into s3_garbage values (?)", (row[1],))
            tx.enqueue(GARBAGE, "files")


def read(tx: Tx, content: int, start: int = 0, length: int | None = None) -> bytes | Reader:
    """The bytes of a content, or a range of them; a file is open, whatever becomes of it later.

    Raises InternalError where they are not what they were: wrong bytes are never answered.
    """
    row: Any = tx.execute("select size, body, file, crc64 from s3_content where id=?", (content,)).fetchone()
    if row is None:
        raise _lost(content, "it has no row")
    size, body, file, crc64 = row
    inline: bytes | None = body
    if inline is not None:
        if len(inline) != size or digest_of(CRC64, inline) != crc64:
            raise _lost(content, "its checksum is another")
        return inline if not start and length is None else inline[start:None if length is None else start + length]
    try:
        reader = tx.blobs["s3"].open(file, start, length)
    except (BlobMissing, OSError) as error:
        raise _lost(content, f"its file {file} cannot be opened: {error}") from None
    if reader.size != size:
        raise _lost(content, f"its file {file} has {reader.size} bytes instead of {size}")
    return reader


def _lost(content: int, why: str) -> Exception:
    log.error("the bytes of content %d are lost: %s", content, why)
    return InternalError()
