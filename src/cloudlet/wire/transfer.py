"""Bytes that a thread takes from a socket, around the event loop, for as long as their sender keeps up."""

import asyncio
import errno
import os
import select
import threading
from concurrent.futures import ThreadPoolExecutor

from cloudlet.kernel.digests import finished
from cloudlet.kernel.http import Take

BUFFER_BYTES = 256 << 10  # small enough to stay in the processor's cache from the socket to the disk
TURN_BYTES = 16 << 20  # that a thread takes before others have their turn
KEEPS_UP_BYTES = 1 << 20  # who sent so many in a turn is waited for in the thread, but no longer than PATIENCE_MS
PATIENCE_MS = 20
STALL_S = 60.0  # without progress until a sender is given up
THREADS = 8

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="transfer")
_GONE = (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT)


async def receive(descriptor: int, length: int, take: Take, first: bytes) -> int:
    """Hands `first` and so many bytes of a non-blocking socket, which nobody else reads meanwhile, to `take`; how many
    of the latter came: fewer where the sender has gone, or sent nothing for STALL_S. Raises what `take` does."""
    loop, stop = asyncio.get_running_loop(), threading.Event()
    left, gone = length, False
    socket = os.dup(descriptor)  # the connection may be closed while the thread still reads
    try:
        if first:
            await finished(loop.run_in_executor(_threads, take, memoryview(first)))
        while left and not gone:
            turn = loop.run_in_executor(_threads, _turn, socket, left, take, stop)
            try:
                size, gone = await asyncio.shield(turn)
            except asyncio.CancelledError:
                stop.set()
                await finished(turn)
                raise
            left -= size
            if left and not gone and size < TURN_BYTES:
                gone = not await _readable(socket)
    finally:
        os.close(socket)
    return length - left


def _turn(socket: int, left: int, take: Take, stop: threading.Event) -> tuple[int, bool]:
    """How many bytes came, and whether the sender has gone."""
    buffer = memoryview(bytearray(min(BUFFER_BYTES, left)))
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    size, most = 0, min(left, TURN_BYTES)
    while size < most and not stop.is_set():
        try:
            came = os.readv(socket, [buffer[:most - size]])
        except BlockingIOError:
            if size < KEEPS_UP_BYTES or not poll.poll(PATIENCE_MS):
                break
            continue
        except OSError as error:
            if error.errno in _GONE:
                return size, True
            raise
        if not came:
            return size, True
        take(buffer[:came])
        size += came
    return size, False


async def _readable(socket: int) -> bool:
    """Whether something comes within STALL_S."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(socket, ready.set)
    try:
        async with asyncio.timeout(STALL_S):
            await ready.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(socket)
    return True
