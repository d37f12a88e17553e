"""The bytes of files on their way out: read or sent to a socket, and verified where their checksum is known."""

import asyncio
import copy
import ctypes
import errno
import mmap
import os
import select
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cloudlet.kernel.digests import ALGORITHMS, Digest

READ_BYTES = 512 << 10  # of one read; two of them are in memory for each download
WINDOW_BYTES = 4 << 20  # that are verified, and then sent; whole huge pages, which cost least to look at
SEND_BYTES = 16 << 20  # that a thread sends before others have their turn
SEND_BUFFER_BYTES = 128 << 10
SEND_PATIENCE_MS = 50  # that it waits for a client; a slower one is waited for without a thread
STALL_S = 60.0  # without progress until a client is given up

_MADV_POPULATE_READ = 22  # https://man7.org/linux/man-pages/man2/madvise.2.html, since Linux 5.14


class Rotten(OSError):
    """The bytes of a file are not those that were published."""

    def __init__(self, why: str = "it is shorter than it was") -> None:
        super().__init__(errno.EIO, why)


class File:
    """An open descriptor that closes when nobody (no reader, no thread) refers to it any more."""

    __slots__ = ("fd",)

    def __init__(self, source: Path | int, flags: int = 0) -> None:
        """Opens a path, or duplicates a descriptor."""
        self.fd = -1
        self.fd = os.dup(source) if isinstance(source, int) else os.open(source, flags | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Closes it although somebody (an error's traceback) refers to it; no thread may use it any more."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close


class Verifier(Protocol):
    """Knows what the bytes of a file should be."""

    def take(self, data: bytes) -> None:
        """Takes the next bytes. Raises Rotten, or OSError."""
        ...

    def window(self, file: File, at: int) -> int:
        """Up to where the bytes from `at` on are as they should be. Raises Rotten, or OSError."""
        ...


class Check:
    """Compares a file that is read from its beginning with its CRC-64/NVME, before the last of its bytes are used."""

    def __init__(self, expected: bytes, size: int) -> None:
        self._expected, self._size = expected, size
        self._known, self._running = 0, ALGORITHMS["crc64nvme"]()  # bytes so far, and what they come to
        self._start, self._before = 0, copy.copy(self._running)  # the window that came last, and what is before it

    def take(self, data: bytes) -> None:
        """Takes the next bytes. Raises Rotten."""
        self._running.update(data)
        self._known += len(data)
        if self._known == self._size and self._running.digest() != self._expected:
            raise Rotten("its checksum is another")

    def window(self, file: File, at: int) -> int:
        """Up to where the bytes from `at` on are as they should be, as far as it can be known before the end. Who comes
        back to the middle of a window has been away, so that it is looked at anew. Raises Rotten, or OSError."""
        if at < self._known:
            stop = self._known
        else:
            self._start, self._before = self._known, self._running
            stop = min(self._start + WINDOW_BYTES, self._size)
        running = copy.copy(self._before)
        digest(file, self._start, [(running, stop - self._start)])
        if (running.digest() != self._expected if stop == self._size
                else stop == self._known and running.digest() != self._running.digest()):
            raise Rotten("its checksum is another")
        self._known, self._running = stop, running
        return stop


_madvise = ctypes.CDLL(None, use_errno=True).madvise  # Python's own keeps all other threads waiting for the disk
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def digest(file: File, start: int, parts: Sequence[tuple[Digest, int]]) -> None:
    """Feeds each digest with the next so many bytes of a file, from a multiple of a page on, in the memory where the
    system has them: a copy would cost several times as much as the digest.

    They are brought there by a call of their own beforehand, since what cannot be read fails there with an error, but
    would end the process where it was merely looked at. Raises Rotten, or OSError.
    """
    length, at = sum(size for _, size in parts), 0
    try:
        view = mmap.mmap(file.fd, length, flags=mmap.MAP_PRIVATE, offset=start)
    except ValueError:  # it ends before
        raise Rotten from None
    with view:
        if not _madvise(ctypes.addressof(ctypes.c_char.from_buffer(view)), length, _MADV_POPULATE_READ):
            for running, size in parts:
                with memoryview(view) as whole, whole[at:at + size] as part:
                    running.update(part)
                at += size
            return
    why = ctypes.get_errno()
    if why != errno.EINVAL:
        raise OSError(errno.EIO if why == errno.EFAULT else why, os.strerror(why))
    for running, size in parts:  # an older kernel does not know the call
        for begin in range(at, at + size, READ_BYTES):
            running.update(os.pread(file.fd, min(READ_BYTES, at + size - begin), start + begin))
        at += size


def read(file: File, at: int, end: int, check: Verifier | None) -> bytes:
    """The next bytes, none at the end. Raises Rotten, or OSError."""
    data = os.pread(file.fd, min(READ_BYTES, end - at), at) if at < end else b""
    if at < end and not data:
        raise Rotten
    if check is not None and data:
        check.take(data)
    return data


def send(socket: File, file: File, head: bytes, at: int, end: int, check: Verifier | None) -> tuple[bytes, int, bool]:
    """Sends for a while; what is left of head and file, and whether the client keeps up. Raises Rotten, or OSError.

    What nobody verifies goes by one small buffer that stays in the processor's cache: sendfile(2) costs us less, but a
    client on this machine then waits for the memory itself, and its time is what counts (measured: a pull from the
    registry took 10 to 20 % longer). What was just verified is in the cache anyway.
    """
    stop = min(end, at + SEND_BYTES)
    known = at if check is not None else stop
    buffer = memoryview(bytearray(min(SEND_BUFFER_BYTES, stop - at) if check is None else 0))
    poll = select.poll()
    poll.register(socket.fd, select.POLLOUT)
    while head or at < stop:
        if check is not None and not head and at == known:
            known = check.window(file, at)
        try:
            if head:
                head = head[os.write(socket.fd, head):]
                continue
            if check is not None:
                size = os.sendfile(socket.fd, file.fd, at, min(known, stop) - at)
            elif size := os.preadv(file.fd, [buffer[:stop - at]], at):
                size = os.write(socket.fd, buffer[:size])
        except BlockingIOError:
            if not poll.poll(SEND_PATIENCE_MS):
                return head, at, False
            continue
        if not size:
            raise Rotten
        at += size
    return head, at, True


async def writable(socket: File) -> None:
    """Until the client takes more. Raises TimeoutError (an OSError) after STALL_S."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(socket.fd, ready.set)
    try:
        async with asyncio.timeout(STALL_S):
            await ready.wait()
    finally:
        loop.remove_writer(socket.fd)
