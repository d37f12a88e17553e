"""Brings what was written to a file to the disk while the event loop goes on."""

import asyncio
import os
from contextlib import suppress
from functools import partial

from caio import linux_aio

REQUESTS = 16  # that the kernel may have at a time
_REFUSALS = (OSError, OverflowError, SystemError, ValueError)  # of caio: none left, or not of such a file


class Disk:
    """Has the kernel sync files and say when it has, or a thread where it does not take that: each time that a thread
    wakes up, it and the event loop wait for one another, which costs more than all the rest.

    https://man7.org/linux/man-pages/man2/io_submit.2.html
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: linux_aio.Context | None = None

    def sync(self, descriptor: int) -> asyncio.Future[None]:
        """Is done when what was written to the file before would survive a power cut, or fails with OSError. The file
        may be closed meanwhile."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._context = loop, _open_context(loop)
        if self._context is not None:
            done: asyncio.Future[None] = loop.create_future()
            operation = linux_aio.Operation.fdsync(descriptor)
            operation.set_callback(partial(_end, done))
            with suppress(*_REFUSALS):
                if self._context.submit(operation):
                    return done
        return loop.run_in_executor(None, _sync, os.dup(descriptor))


def _open_context(loop: asyncio.AbstractEventLoop) -> linux_aio.Context | None:
    try:
        context = linux_aio.Context(max_requests=REQUESTS)
        loop.add_reader(context.fileno, _collect, context)
    except (*_REFUSALS, NotImplementedError):
        return None
    return context


def _sync(descriptor: int) -> None:
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _collect(context: linux_aio.Context) -> None:
    with suppress(BlockingIOError):
        context.poll()
    context.process_events()


def _end(done: asyncio.Future[None], result: int) -> None:
    if done.done():
        return
    if result < 1 << 63:
        done.set_result(None)
    else:  # an error's number below zero, as caio gives it
        error = (1 << 64) - result
        done.set_exception(OSError(error, os.strerror(error)))
