"""The one door through which commands are run."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloudlet.kernel.errors import Busy, Unavailable


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished command said."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """The last lines of its standard error, as one short text."""
        return self.stderr.decode(errors="replace").strip()[-2000:]


def find(program: str) -> str:
    """The program's path, /usr/sbin included. Raises Unavailable where it is missing."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise Unavailable(f"{program} is not installed (cloudlet doctor tells what installs it)")
    return path


async def run(command: Sequence[str], *, timeout_s: float, stdin: bytes | None = None,
              environment: Mapping[str, str] | None = None, mute: bool = False) -> Result:
    """Runs a command to its end. `environment` is added to ours; `mute`: what it says is not kept. Raises Busy when the
    time is up (and kills it)."""
    said = subprocess.DEVNULL if mute else subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        find(command[0]), *command[1:],
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=said, stderr=said,
        env=None if environment is None else {**os.environ, **environment})
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await process.communicate(stdin)
    except TimeoutError:
        raise Busy(f"{command[0]} did not finish within {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    return Result(process.returncode or 0, stdout or b"", stderr or b"")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that outlives us, found again by pid and start time (clock ticks since boot), which never recur."""

    pid: int
    started: int


def identify(pid: int) -> Process | None:
    """The process of that pid, unless it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def send(process: Process, number: int) -> bool:
    """Sends a signal to that very process; whether it was there."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if identify(process.pid) != process:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


async def gone(process: Process) -> None:
    """Returns as soon as that process has ended, whoever's child it is."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        if identify(process.pid) == process:
            loop.add_reader(handle, ended.set)
            await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


_detached: set[int] = set()  # pids of our detached children, to be reaped should they end before we do


def spawn(command: Sequence[str], *, log: str, environment: Mapping[str, str] | None = None,
          directory: str = "/") -> Process:
    """Starts a detached process in a session of its own, output appended to `log`. Raises Busy if it dies at once.

    `directory` is where it stands: never where we happened to be started, which it would keep from being unmounted.
    """
    _detached.difference_update([pid for pid in _detached if _reap(pid)])
    # posix_spawn cannot change the directory, so env does, and becomes the program.
    pid = os.posix_spawn(find("env"), ["env", "-C", directory, find(command[0]), *command[1:]],
                         {**os.environ, **(environment or {})}, setsid=True,
                         setsigdef=[signal.SIGPIPE],  # which Python itself ignores
                         file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                                       (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                                       (os.POSIX_SPAWN_DUP2, 1, 2)])
    found = identify(pid)
    if found is None:
        raise Busy(f"{command[0]} ended at once; see {log}")
    _detached.add(pid)
    return found


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
