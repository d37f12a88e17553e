"""Reading the bytes of objects: all of them or a range, from one content or from the parts of an upload."""

import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, cast

from cryptography.hazmat.primitives.ciphers import CipherContext

from cloudlet.kernel.digests import digest_of
from cloudlet.services.s3 import contents
from cloudlet.services.s3.conditions import Range
from cloudlet.services.s3.contents import CRC64
from cloudlet.services.s3.encryption import CustomerKey
from cloudlet.services.s3.service import InternalError
from cloudlet.services.s3.versions import Version
from cloudlet.store.blobs import BlobMissing, Blobs, Reader
from cloudlet.store.db import Tx

LOOKED_AT_MAX = 100  # files of an answer that are looked at before it begins
_CONTENT = "c.id, c.size, c.body, c.file, c.crc64, c.nonce, c.rotten"
_ALONE = f"select 0, {_CONTENT} from s3_content c where id=?"
_Row = tuple[Any, ...]  # where a content begins in the object, and the columns above

log = logging.getLogger(__name__)


def read(tx: Tx, version: Version, part: Range | None = None,
         key: CustomerKey | None = None) -> "bytes | AsyncIterator[bytes]":
    """The bytes of a version, or a part of them; whatever becomes of it after this transaction, they can be read to
    their end. An iterator is `Sendable` where nothing needs to be decrypted.

    Raises InternalError where they are not what they were: wrong bytes are never answered.
    """
    start, end = (0, version.size) if part is None else (part.start, part.start + part.length)
    if version.content is not None:
        row = tx.row(_ALONE, version.content)
        if row is None:
            raise _lost(version.content, "it has no row")
        _check_known(row)
        (piece,) = _pieces([row], start, end, key, _sums_of_ends(tx, [row], start, end))
        return piece if isinstance(piece, bytes) else piece.open(tx.blobs["s3"])
    rows: list[_Row] = tx.execute(
        f"select p.start, {_CONTENT} from s3_part p join s3_content c on c.id=p.content where p.upload=? and p.start<?"
        " and p.start+p.size>? order by p.start", (version.upload, end, start)).fetchall()
    if not _covers(rows, start, end):
        raise _lost(version.id, "some of its parts have none", of="version")
    for row in rows:
        _check_known(row)
    pieces = _pieces(rows, start, end, key, _sums_of_ends(tx, rows, start, end))
    files = [row[4] for row in rows if row[3] is None]
    if not files:  # a last part, or nothing: no file that could be sent
        return b"".join(cast(Iterator[bytes], pieces))
    blobs, begun = tx.blobs["s3"], list(islice(pieces, LOOKED_AT_MAX))
    for piece in begun:
        if isinstance(piece, _Piece):
            piece.check(blobs)
    return (Joined if key is None else _Sequence)(blobs, files, chain(begun, pieces))


def _covers(rows: list[_Row], start: int, end: int) -> bool:
    """Whether contents, one after the other, have all bytes of a range."""
    if not rows:
        return start == end
    before: int = start - rows[0][0]
    after: int = rows[-1][0] + rows[-1][2] - end
    return before >= 0 and after >= 0 and sum(row[2] for row in rows) == before + (end - start) + after


def _sums_of_ends(tx: Tx, rows: list[_Row], start: int, end: int) -> dict[int, bytes | None]:
    """The checksums of the blocks of those contents of which only a range is read: the first or the last."""
    return {row[1]: contents.sums_of(tx, row[1], row[2], row[5]) for row in rows[:1] + rows[-1:]
            if row[0] < start or row[0] + row[2] > end}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A range of one file."""

    content: int
    file: str
    size: int
    start: int
    length: int
    crc64: bytes
    sums: bytes | None
    cipher: CipherContext | None

    def check(self, blobs: Blobs) -> None:
        """Raises InternalError unless its file is there, as long as it should be."""
        if blobs.size(self.file) != self.size:
            raise _lost(self.content, f"its file {self.file} has {blobs.size(self.file)} bytes instead of {self.size}")

    def open(self, blobs: Blobs) -> "Reader | _Decrypted":
        """Its bytes, whatever becomes of the file later. Raises InternalError."""
        try:
            reader = blobs.open(self.file, self.start, self.length, self.crc64, self.sums)
        except (BlobMissing, OSError) as error:
            raise _lost(self.content, f"its file {self.file} cannot be opened: {error}") from None
        if reader.size != self.size:
            raise _lost(self.content, f"its file {self.file} has {reader.size} bytes instead of {self.size}")
        return reader if self.cipher is None else _Decrypted(reader, self.cipher)


def _pieces(rows: Iterable[_Row], start: int, end: int, key: CustomerKey | None,
            sums: Mapping[int, bytes | None]) -> "Iterator[bytes | _Piece]":
    """A range of contents that come one after the other, made as they are needed: there may be thousands."""
    for row in rows:
        at, content, size, body, file, crc64, nonce, _ = row
        first, last = max(start - at, 0), min(end - at, size)
        cipher = key.cipher(nonce, first) if key is not None and nonce is not None else None
        if body is None:
            yield _Piece(content, file, size, first, last - first, crc64,
                         sums[content] if last - first < size else None, cipher)
            continue
        if len(body) != size or digest_of(CRC64, body) != crc64:
            raise _lost(content, "its checksum is another")
        found: bytes = body if last - first == size else body[first:last]
        yield found if cipher is None else cipher.update(found)


def _check_known(row: _Row) -> None:
    """Raises InternalError for a content that was found rotten."""
    if row[7]:
        raise _lost(row[1], "it was found rotten")


def _lost(id: int, why: str, of: str = "content") -> Exception:
    log.error("the bytes of %s %d are lost: %s", of, id, why)
    return InternalError()


class _Decrypted:
    """A file's bytes as the customer sent them."""

    def __init__(self, reader: Reader, cipher: CipherContext) -> None:
        self._reader, self._cipher = reader, cipher

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return self._cipher.update(await anext(self._reader))


class _Sequence:
    """Pieces one after the other. Their files are kept until this has been read or is forgotten, but opened one by one,
    since there may be thousands of them."""

    def __init__(self, blobs: Blobs, files: list[str], pieces: Iterator[bytes | _Piece]) -> None:
        self._blobs, self._pieces, self._holds = blobs, pieces, ExitStack()
        self._holds.enter_context(blobs.hold(*files))
        self._chunks = _chunks(blobs, pieces)  # which does not know us, so that we go as soon as we are forgotten

    def __del__(self) -> None:
        self._holds.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)


async def _chunks(blobs: Blobs, pieces: Iterator[bytes | _Piece]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        else:
            async for chunk in piece.open(blobs):
                yield chunk


class Joined(_Sequence):
    """The same of pieces that nobody encrypted, to be sent to a socket as well."""

    async def send_to(self, descriptor: int, head: bytes) -> None:
        """See `kernel.http.Sendable`."""
        last: _Piece | None = None
        for piece in self._pieces:
            if isinstance(piece, bytes):
                head += piece
            else:
                await piece.open(self._blobs).send_to(descriptor, head)  # type: ignore[union-attr]
                head, last = b"", piece
        if head and last is not None:  # by a reader that has nothing of its own to send
            await self._blobs.open(last.file, last.size).send_to(descriptor, head)
