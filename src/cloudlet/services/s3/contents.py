"""Bytes of objects: received whole and verified, and kept once however many versions share them.

Small ones lie in the database, so that they cost neither an inode nor a sync of their own; others are files.
"""

import errno
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack

import msgspec
from cryptography.hazmat.primitives.ciphers import CipherContext

from cloudlet.kernel.digests import digest_of
from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.http import Body
from cloudlet.services.s3.encryption import NONCE_BYTES, CustomerKey
from cloudlet.services.s3.service import EntityTooLarge
from cloudlet.store.blobs import Blobs
from cloudlet.store.blocks import BLOCK_BYTES
from cloudlet.store.db import OutOfSpace, Store, Tx

INLINE_BYTES = 64 << 10  # up to which bytes lie in the database
UPLOAD_BYTES_MAX = 5 << 30  # of one request
GARBAGE = "s3.garbage"  # kind of work: files to remove
ROTTEN = "s3.rotten"  # kind of work: contents that were another when they were last read
CRC64 = "crc64nvme"
IDS_AHEAD = 1000  # that are given without a note of it
# Whether nothing else has a content, `c`, which lies in the database and is what it was.
IS_PLACE = "c.refs=1 and c.file is null and c.rotten=0"
_INSERT = "insert into s3_content (id, refs, size, body, file, crc64, nonce, scrubbed_ms) values (?,1,?,?,?,?,?,?)"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Received(msgspec.Struct, frozen=True):
    """Bytes that came whole: in `body`, or in the file of that name, on the disk, which is removed at the end of the
    context that this is unless a content has it then. `digests` are those of what the customer sent, by algorithm, and
    `crc64` that of what is kept, which is something else where `nonce` says that it is encrypted; `sums` are those of
    the blocks of a file. `checksum` is the algorithm of the checksum that the client sent, and which was right, "" for
    none."""

    size: int
    digests: Mapping[str, bytes]
    checksum: str
    crc64: bytes
    nonce: bytes | None
    body: bytes | None
    file: str | None = None
    sums: bytes | None = None
    held: ExitStack | None = None

    def __enter__(self) -> "Received":
        return self

    def __exit__(self, *_: object) -> None:
        if self.held is not None:
            self.held.close()

    @property
    def etag(self) -> str:
        """Its MD5 in hex; of encrypted bytes something else, as on AWS.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
        """
        md5 = self.digests["md5"]
        return md5.hex() if self.nonce is None else digest_of("md5", self.nonce + md5).hex()


async def receive(store: Store, body: Body, wanted: Sequence[str] = (), key: CustomerKey | None = None) -> Received:
    """The bytes of a body with their digests (MD5, CRC64NVME and those wanted), to be kept within the context that they
    are. They are encrypted where there is a key.

    Raises EntityTooLarge, OutOfSpace, and what the body does where it is not what was announced.
    """
    length = body.length
    if length is not None and length > UPLOAD_BYTES_MAX:
        raise _too_large(length)
    if store.blobs["s3"].is_full(length):  # the little that is left is for the database, to say what was deleted
        raise OutOfSpace
    nonce = cipher = None
    if key is not None:
        nonce = bytes.fromhex(store.clock.token(2 * NONCE_BYTES))
        cipher = key.cipher(nonce)
    source: Body | AsyncIterator[bytes] = body
    if length is None or length <= INLINE_BYTES:
        body.want("md5", CRC64, *wanted)
        if length is not None:
            data = await body.read(INLINE_BYTES)
        else:
            pieces = aiter(body)
            data, more = await anext(pieces, b""), await anext(pieces, b"")
            source = _limited(data, more, pieces)
        if len(data) <= INLINE_BYTES:  # of many pieces each is larger than that, but for the last
            kept = data if cipher is None else cipher.update(data)
            crc64 = body.digests[CRC64] if cipher is None else digest_of(CRC64, kept)
            return Received(len(kept), body.digests, body.checksum, crc64, nonce, kept)
    else:
        body.want("md5", *wanted, *(() if key is None else (CRC64,)))  # a file's follows from its blocks'
    blobs, name = store.blobs["s3"], store.clock.token(32)
    with ExitStack() as stack:
        stack.callback(_discard_unknown, store, name)
        stack.enter_context(blobs.hold(name))
        kept_of = source if cipher is None else _encrypted(aiter(source), cipher)
        size, sums, crc64 = await _write(blobs, name, kept_of)
        digests = {**body.digests, CRC64: crc64} if cipher is None else body.digests
        return Received(size, digests, body.checksum, crc64, nonce, None, name, sums, stack.pop_all())


def _discard_unknown(store: Store, name: str) -> None:
    with store.tx() as tx:
        if not is_known(tx, name):
            store.blobs["s3"].discard(name)


def _too_large(size: int) -> AwsError:
    return EntityTooLarge(ProposedSize=str(size), MaxSizeAllowed=str(UPLOAD_BYTES_MAX))


async def _limited(first: bytes, second: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body that did not say how long it is."""
    size, known = 0, [second, first]
    while piece := known.pop() if known else await anext(pieces, b""):
        size += len(piece)
        if size > UPLOAD_BYTES_MAX:
            raise _too_large(size)
        yield piece


async def _encrypted(chunks: AsyncIterator[bytes], cipher: CipherContext) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield cipher.update(chunk)


async def _write(blobs: Blobs, name: str, source: Body | AsyncIterator[bytes]) -> tuple[int, bytes, bytes]:
    """Writes bytes to a file that survives a power cut; how many there were, the checksums of its blocks and its own.
    """
    upload = None
    try:
        upload = await blobs.begin(name)
        size = await upload.write(source)
        await upload.publish(name)
        assert upload.sums is not None
        return size, *upload.sums.finish()
    except BaseException as error:
        if upload is not None:
            await upload.discard()
        if isinstance(error, OSError) and error.errno in FULL:
            raise OutOfSpace from error
        raise


def is_known(tx: Tx, file: str) -> bool:
    """Whether a content has that file, or had it until a transaction that may not be on the disk yet."""
    return tx.execute("select 1 from s3_content where file=? union all select 1 from s3_garbage where file=?",
                      (file, file)).fetchone() is not None


def new_id(tx: Tx) -> int:
    """An id for a row, which rises with time; known before anything is written, so that this can be put off."""
    return tx.rising("s3", 1, IDS_AHEAD)


def keep(tx: Tx, received: Received, place: int | None = None) -> int:
    """A new content, of one version or part; its id. Where there is the place of one that goes (see IS_PLACE) it takes
    that, and so its id: that writes half the pages."""
    if place is not None and received.body is not None:
        tx.put_off("update s3_content set size=?, body=?, crc64=?, nonce=?, scrubbed_ms=? where id=?", (
            received.size, received.body, received.crc64, received.nonce, int(tx.now * 1000), place))
        return place
    content = new_id(tx)
    tx.put_off(_INSERT, (content, received.size, received.body, received.file, received.crc64, received.nonce,
                         int(tx.now * 1000)))
    if received.sums is not None:
        keep_sums(tx, content, received.size, received.sums)
    return content


def keep_sums(tx: Tx, content: int, size: int, sums: bytes) -> None:
    """Remembers the checksums of the blocks of a file; the only block of a small one has that of the file."""
    if size > BLOCK_BYTES:
        tx.execute("insert into s3_blocks values (?,?) on conflict do nothing", (content, sums))


def sums_of(tx: Tx, content: int, size: int, crc64: bytes) -> bytes | None:
    """Those checksums; None of a file that is older than they are and has not been scrubbed since."""
    if size <= BLOCK_BYTES:
        return crc64
    row = tx.execute("select sums from s3_blocks where content=?", (content,)).fetchone()
    return row[0] if row else None


def share(tx: Tx, content: int) -> None:
    """One more version or part has it."""
    tx.execute("update s3_content set refs=refs+1 where id=?", (content,))


def release(tx: Tx, content: int) -> None:
    """One version or part less has it; the bytes go with the last."""
    last = tx.execute("delete from s3_content where id=? and refs=1 returning file, rotten", (content,)).fetchone()
    if last is None:
        tx.execute("update s3_content set refs=refs-1 where id=?", (content,))
        return
    file, rotten = last
    if rotten:
        tx.enqueue(ROTTEN, str(content))
    if file is not None:
        tx.execute("delete from s3_blocks where content=?", (content,))
        tx.execute("insert into s3_garbage values (?) on conflict do nothing", (file,))
        tx.enqueue(GARBAGE, "files")
