"""Files of bytes that never change: either whole under their name or not there at all.

One `Blobs` belongs to one owner, whose records say which names are wanted. Names are digests, taken while the bytes
stream in, or ("unhashed") what the owner draws at random. All file work runs in threads of its own; what is marked sync
is one quick system call.
"""

import asyncio
import ctypes
import errno
import hashlib
import os
import re
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cloudlet.kernel.digests import finished
from cloudlet.kernel.http import Body
from cloudlet.store import space
from cloudlet.store.blocks import Blocks, Sums
from cloudlet.store.outgoing import Check, File, read, send, writable
from cloudlet.store.outgoing import Rotten as Rotten

T = TypeVar("T")

HASH_BYTES = 1 << 20  # of one read of a file that is hashed again
WRITEBACK_BYTES = 16 << 20  # after so many the disk is asked to begin, so that the final sync finds little to do
HASHES_MAX = 1000  # uploads whose running hash is kept; others are hashed again from their file
THREADS = 8
UNSEEN_BYTES = 1 << 16  # that are taken before the disk is asked again whether it is full

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[0-9a-f-]{8,64}")  # of an upload
_DRAWN = re.compile(r"[0-9a-f]{32}")  # of an unhashed blob
_SYNC_FILE_RANGE_WRITE = 2


class BlobMissing(Exception):
    """No blob has that name."""


class DigestMismatch(Exception):
    """The bytes that came are not those that were announced; `actual` is their digest."""

    def __init__(self, actual: str) -> None:
        self.actual = actual
        super().__init__(actual)


class UploadBusy(Exception):
    """Another request is writing to this upload."""


def is_digest(text: str) -> bool:
    """Whether the text is a digest as we take them: `sha256:` and 64 lower-case hex digits."""
    return _DIGEST.fullmatch(text) is not None


def digest_of(data: bytes) -> str:
    """The digest of bytes in memory."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _find_writeback() -> Callable[[int], None]:
    """sync_file_range(2), which begins to write a file's dirty pages and does not wait; nothing where it is missing."""
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is None:
        return lambda fd: None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda fd: call(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)


_writeback = _find_writeback()


def _sync_directory(path: Path) -> None:
    directory = File(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory.fd)


class Reader:
    """The bytes of an open blob, whole even if it is discarded meanwhile: to iterate over, or to send to a socket.

    `size` is the whole blob's. Raises Rotten instead of its end where it has become shorter, or is another than its
    `crc64` says; of a range, than the `sums` of its blocks do.
    """

    def __init__(self, blobs: "Blobs", name: str, file: File, size: int, start: int, length: int,
                 crc64: bytes | None = None, sums: bytes | None = None) -> None:
        self._blobs, self._name, self._file, self.size, self._at, self._end = (
            blobs, name, file, size, start, start + length)
        self._check: Check | Blocks | None = None
        if length == size:
            self._check = Check(crc64, size) if crc64 is not None else None
        elif sums is not None:
            self._check = Blocks(file, sums, size, start, self._end)
        self._ahead: asyncio.Future[bytes] | None = None  # the next chunk is read while the last is sent

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await (self._ahead or self._read())
        except OSError as error:
            self._tell(error)
            raise
        if not chunk:
            raise StopAsyncIteration
        self._at += len(chunk)
        self._ahead = self._read()
        return chunk

    def _read(self) -> "asyncio.Future[bytes]":
        return self._blobs.run(read, self._file, self._at, self._end, self._check)

    def forget_cached(self) -> None:
        """Has it read from the disk itself, so far as the memory need not keep it. Sync."""
        os.posix_fadvise(self._file.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    async def send_to(self, descriptor: int, head: bytes) -> None:
        """See `kernel.http.Sendable`: by a thread for as long as the client keeps up."""
        socket, at = File(descriptor), self._at  # of our own: the connection may close while the thread still sends
        try:
            while head or at < self._end:
                head, at, keeps_up = await asyncio.shield(
                    self._blobs.send(send, socket, self._file, head, at, self._end, self._check))
                if not keeps_up:
                    await writable(socket)
        except OSError as error:
            socket.close()  # or the client would not see the connection close
            self._tell(error)
            raise

    def _tell(self, error: OSError) -> None:
        if error.errno == errno.EIO:  # the disk's, not the client's
            self._blobs.on_failure(self._name)


class Upload:
    """A blob on its way in: a file that grows, and the hash of what it holds so far (unless names are no digests)."""

    def __init__(self, blobs: "Blobs", name: str, path: Path, offset: int) -> None:
        self._blobs, self.name, self._path = blobs, name, path
        self.offset = offset  # bytes that are in the file and in the hash
        self.busy = False
        self._hash = None if offset else hashlib.sha256()
        self._hashed = blobs.hashed
        self.sums = None if blobs.hashed or offset else Sums()  # of a blob that is not named by its digest

    async def write(self, source: Body | AsyncIterator[bytes]) -> int:
        """Appends; returns the new offset. What came before a client went away stays, for it to resume.

        Raises UploadBusy, OSError (ENOSPC, also where little space is left: the caller discards the upload), and what
        the source does.
        """
        file = await self._begin()
        try:
            await (source if isinstance(source, Body) else Body(source)).pour(partial(self._absorb, file))
        finally:
            self.busy = False
        return self.offset

    async def publish(self, digest: str) -> None:
        """Puts the upload under its name, safe from a power cut; call it while holding the name (`Blobs.hold`).

        Raises DigestMismatch, after which the upload is gone; UploadBusy; OSError.
        """
        file = await self._begin()
        try:
            actual = await finished(self._blobs.run(self._publish, file, digest))
        finally:
            self.busy = False
        self._blobs.forget(self.name)
        if actual != digest:
            raise DigestMismatch(actual)

    async def discard(self) -> None:
        """Removes what has come so far."""
        self._blobs.forget(self.name)
        await self._blobs.run(self._path.unlink, True)

    async def _begin(self) -> File:
        if self.busy:
            raise UploadBusy(self.name)
        self.busy = True
        try:
            return await finished(self._blobs.run(self._open))
        except BaseException:
            self.busy = False
            raise

    def _open(self) -> File:
        file = File(self._path, os.O_RDWR | os.O_APPEND)
        if not self._hashed:
            self.offset = os.fstat(file.fd).st_size
        elif self._hash is None:  # it began before our last start, or a write failed half-way: hash what is there
            running, self.offset = hashlib.sha256(), 0
            while chunk := os.pread(file.fd, HASH_BYTES, self.offset):
                running.update(chunk)
                self.offset += len(chunk)
            self._hash = running
        return file

    def _absorb(self, file: File, data: memoryview) -> None:
        if space.is_full(file.fd):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        running, self._hash = self._hash, None
        if self._hashed:
            assert running is not None
            running.update(data)
        rest = data
        while rest:
            rest = rest[os.write(file.fd, rest):]
        if self.sums is not None:
            self.sums.update(data)
        before, self.offset = self.offset, self.offset + len(data)
        self._hash = running
        if before // WRITEBACK_BYTES != self.offset // WRITEBACK_BYTES:
            _writeback(file.fd)

    def _publish(self, file: File, digest: str) -> str:
        actual = digest
        if self._hashed:
            assert self._hash is not None
            actual = f"sha256:{self._hash.hexdigest()}"
        if actual == digest:
            os.fdatasync(file.fd)
            self._blobs.place(self._path, digest)
        else:
            self._path.unlink(missing_ok=True)
        return actual


class Blobs:
    """The blobs under one directory, named by their SHA-256 (`sha256:` and hex digits), or unhashed by 32 hex digits.

    Raises OSError where the directory cannot be made or written.
    """

    def __init__(self, root: Path, *, hashed: bool = True) -> None:
        self.hashed = hashed
        self.on_failure: Callable[[str], None] = lambda name: None  # is told of what could not be read to its end
        self._blobs = root / ("sha256" if hashed else "files")
        self._incoming, self._doomed = root / "incoming", root / "doomed"
        for directory in (self._blobs, self._incoming, self._doomed):
            directory.mkdir(parents=True, exist_ok=True)
        for directory in (root, root.parent):
            _sync_directory(directory)  # or a power cut might take all of it
        self._root = File(root, os.O_RDONLY)  # by which the disk is asked, since to look a path up takes longer
        self._lasting: set[Path] = set()  # directories of blobs whose names are on the disk
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self._senders = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs-send")
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._held: Counter[str] = Counter()
        self._unseen = 0  # bytes that may still come before the disk is asked

    def close(self) -> None:
        """Waits for the threads."""
        self._pool.shutdown()
        self._senders.shutdown()
        self._root.close()

    def run(self, function: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        """Runs file work in one of our threads."""
        return asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def send(self, function: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        """The same for sending, which waits for clients and must not keep others from the disk."""
        return asyncio.get_running_loop().run_in_executor(self._senders, function, *args)

    # ── Blobs ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _path(self, digest: str) -> Path:
        if not (is_digest(digest) if self.hashed else _DRAWN.fullmatch(digest)):
            raise BlobMissing(digest)
        value = digest.removeprefix("sha256:")
        return self._blobs / value[:2] / value

    def is_full(self, size: int | None) -> bool:
        """Whether their disk takes no more, be it only so many bytes (None: nobody knows how many). Sync. While it is
        not, it is asked again after UNSEEN_BYTES, since that takes as long as to keep a small one."""
        if size is not None and size <= self._unseen:
            self._unseen -= size
            return False
        full = space.is_full(self._root.fd)
        self._unseen = 0 if full else UNSEEN_BYTES
        return full

    def size(self, digest: str) -> int | None:
        """How long a blob is in bytes; None where there is none. Sync."""
        try:
            return self._path(digest).stat().st_size
        except (FileNotFoundError, BlobMissing):
            return None

    def open(self, digest: str, start: int = 0, length: int | None = None, crc64: bytes | None = None,
             sums: bytes | None = None) -> Reader:
        """Its bytes, or a range of them; where all are read they are compared with their CRC-64/NVME, and a range with
        those of its blocks. Sync. Raises BlobMissing."""
        try:
            file = File(self._path(digest), os.O_RDONLY)
        except FileNotFoundError:
            raise BlobMissing(digest) from None
        size = os.fstat(file.fd).st_size
        start = min(start, size)
        length = size - start if length is None else min(length, size - start)
        return Reader(self, digest, file, size, start, length, crc64, sums)

    @contextmanager
    def hold(self, *digests: str) -> Iterator[None]:
        """Keeps `discard` off names while they are published and until a record wants them, or while they are read."""
        self._held.update(digests)
        try:
            yield
        finally:
            for digest in digests:
                self._held[digest] -= 1
                if not self._held[digest]:
                    del self._held[digest]

    def held(self, digest: str) -> bool:
        """Whether somebody holds it."""
        return digest in self._held

    def discard(self, digest: str) -> bool:
        """Takes a blob away, unless it is held. Sync, so that a check of the records just before it still holds.

        Downloads under way end well. The space comes back with the next `purge`.
        """
        if digest in self._held:
            return False
        try:
            path = self._path(digest)
            try:
                os.rename(path, self._doomed / path.name)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                path.unlink()  # there is no room for another name, but this makes some
        except (FileNotFoundError, BlobMissing):
            pass
        return True

    async def purge(self) -> None:
        """Frees the space of what was discarded."""
        def unlink() -> None:
            for path in self._doomed.iterdir():
                path.unlink(missing_ok=True)
        await self.run(unlink)

    async def names(self) -> list[str]:
        """All blobs there are."""
        prefix = "sha256:" if self.hashed else ""
        return await self.run(lambda: [f"{prefix}{path.name}" for path in self._blobs.glob("??/*")])

    def place(self, source: Path, digest: str) -> None:
        """Renames a synced file to its name and syncs the directory. For `Upload`, in a thread."""
        path = self._path(digest)
        if path.parent not in self._lasting:  # that it exists says nothing: another thread may have made it just now
            path.parent.mkdir(exist_ok=True)
            _sync_directory(path.parent.parent)
            self._lasting.add(path.parent)
        os.rename(source, path)
        _sync_directory(path.parent)

    # ── Uploads ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin(self, name: str) -> Upload:
        """A new upload; `name` is of hex digits and dashes."""
        path = self._upload_path(name)
        made = self.run(lambda: File(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            await asyncio.shield(made)
        except asyncio.CancelledError:  # the thread goes on: what it makes is nobody's
            made.add_done_callback(lambda done: done.exception() or self._pool.submit(path.unlink, True))
            raise
        return self._keep(Upload(self, name, path, 0))

    def upload(self, name: str) -> Upload | None:
        """An upload under way, also one from before our last start. Sync."""
        found = self._uploads.get(name)
        if found is None and _NAME.fullmatch(name):
            path = self._upload_path(name)
            try:
                found = self._keep(Upload(self, name, path, path.stat().st_size))
            except FileNotFoundError:
                pass
        return found

    async def uploads(self) -> list[str]:
        """The names of all uploads under way."""
        return await self.run(lambda: [path.name for path in self._incoming.iterdir()])

    def forget(self, name: str) -> None:
        """The upload has ended."""
        self._uploads.pop(name, None)

    def _upload_path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not the name of an upload: {name!r}")
        return self._incoming / name

    def _keep(self, upload: Upload) -> Upload:
        self._uploads[upload.name] = upload
        for name in list(self._uploads) if len(self._uploads) > HASHES_MAX else ():
            if not self._uploads[name].busy and name != upload.name:
                del self._uploads[name]
                break
        return upload
