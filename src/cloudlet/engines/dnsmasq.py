"""One detached dnsmasq in a VPC's namespace, found again by the pid file that its command line names."""

import grp
import os
import pwd
import select
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cloudlet.engines import netns, process
from cloudlet.kernel.errors import Busy

START_TIMEOUT_S, GONE_S = 10.0, 5.0
UNPRIVILEGED = "nobody"


class Dnsmasq:
    """The process whose pid file is `pid_file`, in the namespace of `network`."""

    def __init__(self, network: str, pid_file: Path) -> None:
        self._network, self._pid = network, pid_file

    def command(self, *words: str) -> list[str]:
        """How it is started: with these words and those that every one of ours has."""
        return [process.find("dnsmasq"), "--conf-file=/dev/null", f"--pid-file={self._pid}", f"--user={UNPRIVILEGED}",
                f"--group={_group()}", "--no-hosts", "--log-facility=/dev/null", *words]

    def is_as_wanted(self, command: Sequence[str]) -> bool:
        """Whether it runs as it should. If not, whatever ran is ended, and all is ready for `start`."""
        running = self.running()
        if running and all(self._is(pid, command) for pid in running):
            return True
        self._kill(running)
        return False

    async def start(self, command: Sequence[str]) -> None:
        """Starts it. Raises Busy where it does not start."""
        result = await process.run(["nsenter", f"--net={netns.path_of(self._network)}", *command],
                                   timeout_s=START_TIMEOUT_S)
        if result.status != 0:
            raise Busy(f"dnsmasq did not start: {result.complaint}")

    def reload(self) -> bool:
        """Has it read its files again; whether it runs."""
        running = self.running()
        for pid in running:
            os.kill(pid, signal.SIGHUP)
        return bool(running)

    def stop(self) -> None:
        """Ends it, and any that was started twice."""
        self._kill(self._strays())

    def running(self) -> list[int]:
        """Its process: the one that the pid file names, if that is it; else whatever is found."""
        try:
            pid = int(self._pid.read_text())
        except (FileNotFoundError, ValueError):
            return self._strays()
        return [pid] if self._is_ours(pid) else self._strays()

    def _strays(self) -> list[int]:
        """All its processes, found by their command line."""
        return [pid for pid in _pids() if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        return os.fsencode(f"--pid-file={self._pid}") in _command_line(pid)

    def _is(self, pid: int, command: Sequence[str]) -> bool:
        """Whether it was started as it would be today, in the namespace that bears the name today."""
        try:
            where = os.stat(f"/proc/{pid}/ns/net").st_ino
        except FileNotFoundError:
            return False
        return where == netns.inode(netns.path_of(self._network)) and (
            _command_line(pid)[1:] == [os.fsencode(word) for word in command[1:]])

    def _kill(self, pids: Iterable[int]) -> None:
        """Ends them, and returns when they have gone."""
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], GONE_S)
            except ProcessLookupError:
                pass
            finally:
                os.close(handle)
        self._pid.unlink(missing_ok=True)


def _group() -> str:
    return grp.getgrgid(pwd.getpwnam(UNPRIVILEGED).pw_gid).gr_name


def _pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _command_line(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
