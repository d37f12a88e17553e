"""Brings what was written to a file to the disk while the event loop goes on."""

import asyncio
import os
from contextlib import suppress
from functools import partial

from caio import linux_aio

from cloudlet.store.flush import Told

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

    def sync(self, descriptor: int, told: Told) -> None:
        """Calls `told` in the event loop when what was written to the file before would survive a power cut, or with
        what went wrong. The file may be closed meanwhile."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._context = loop, _open_context(loop)
        if self._context is not None:
            operation = linux_aio.Operation.fdsync(descriptor)
            operation.set_callback(partial(_end, told))
            with suppress(*_REFUSALS):
                if self._context.submit(operation):
                    return
        done = loop.run_in_executor(None, _sync, os.dup(descriptor))
        done.add_done_callback(lambda done: told(None if done.cancelled() else done.result()))


def _open_context(loop: asyncio.AbstractEventLoop) -> linux_aio.Context | None:
    try:
        context = linux_aio.Context(max_requests=REQUESTS)
        loop.add_reader(context.fileno, _collect, context)
    except (*_REFUSALS, NotImplementedError):
        return None
    return context


def _sync(descriptor: int) -> OSError | None:
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        return error
    finally:
        os.close(descriptor)
    return None


def _collect(context: linux_aio.Context) -> None:
    with suppress(BlockingIOError):
        context.poll()
    context.process_events()


def _end(told: Told, result: int) -> None:
    error = (1 << 64) - result if result >> 63 else 0  # its number below zero, as caio gives it
    told(OSError(error, os.strerror(error)) if error else None)
