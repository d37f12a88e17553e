"""DNS inside a VPC: one dnsmasq, detached, that answers from a file of ours and asks nobody else."""

import grp
import os
import pwd
import re
import signal
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path

from cloudlet.engines import netns, process
from cloudlet.engines.ports import Member
from cloudlet.kernel.errors import Busy, Refused

AMAZON_DNS = "169.254.169.253"  # https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html
START_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S, ANSWER_TRIES = 2.0, 200
_MARKER_ADDRESS = "127.0.0.53"
UNPRIVILEGED = "nobody"
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")


class Resolver:
    """The resolver of one VPC, whose files are in `directory`."""

    def __init__(self, directory: Path, network: str) -> None:
        self._directory, self._network = directory, network
        self._hosts, self._pid = directory / "hosts", directory / "dnsmasq.pid"

    def is_ready(self, address: str) -> bool:
        """Whether it runs as it should on that address and on 169.254.169.253. If not, whatever ran is ended, and
        all is ready for `start`."""
        command, running = self._command(address), self._running()
        if running and all(self._is_as_wanted(pid, command) for pid in running):
            return True
        self._kill(running)
        if not self._hosts.exists():
            self.write(())
        return False

    async def start(self, address: str) -> None:
        """Starts it with the names last written. Raises Unavailable where dnsmasq is not installed."""
        result = await process.run(["nsenter", f"--net={netns.path_of(self._network)}", *self._command(address)],
                                   timeout_s=START_TIMEOUT_S)
        if result.status != 0:
            raise Busy(f"dnsmasq did not start: {result.complaint}")

    def _command(self, address: str) -> list[str]:
        return [
            process.find("dnsmasq"), "--conf-file=/dev/null", f"--pid-file={self._pid}", f"--user={UNPRIVILEGED}",
            f"--group={_group()}", "--no-hosts", f"--addn-hosts={self._hosts}", "--no-resolv", "--no-poll",
            "--local=/#/", "--bind-interfaces", f"--listen-address={address},{AMAZON_DNS}", "--cache-size=1000",
            "--log-facility=/dev/null", "--no-negcache",
        ]

    def write(self, members: Sequence[Member]) -> None:
        """Exactly these names are answered from now on. Raises Refused for one that cannot be a host's."""
        for name in (name for member in members for name in member.names):
            if not _HOST_NAME.fullmatch(name):
                raise Refused(f"{name!r} cannot be a host's name")
        lines = sorted(f"{member.address} {' '.join(member.names)}\n" for member in members if member.names)
        text = "".join(lines)
        text += f"{_MARKER_ADDRESS} {_marker(text)}\n"
        if self._hosts.exists() and self._hosts.read_text() == text:
            return
        draft = self._hosts.with_name(".hosts")
        draft.write_text(text)
        draft.chmod(0o644)
        os.replace(draft, self._hosts)
        running = self._running()
        for pid in running:
            os.kill(pid, signal.SIGHUP)
        if running:
            self.settle()

    def settle(self) -> None:
        """Waits until it has read the file as it is now. Raises Busy if it does not."""
        marker = self._hosts.read_text().split()[-1]
        with netns.inside(netns.path_of(self._network)):
            question = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with question:
            question.settimeout(ANSWER_TIMEOUT_S / ANSWER_TRIES)
            question.connect((AMAZON_DNS, 53))
            for _ in range(ANSWER_TRIES):
                with suppress(OSError):
                    question.send(_query(marker))
                    if question.recv(512)[3] & 15 == 0:  # NOERROR, be it to an earlier try
                        return
        raise Busy("dnsmasq does not read its new names")

    def stop(self) -> None:
        """Ends it, and any that was started twice."""
        self._kill(self._strays())

    def _running(self) -> list[int]:
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

    def _is_as_wanted(self, pid: int, command: list[str]) -> bool:
        """Whether it was started as it would be today, in the namespace that bears the name today."""
        try:
            where = os.stat(f"/proc/{pid}/ns/net").st_ino
        except FileNotFoundError:
            return False
        return where == netns.inode(netns.path_of(self._network)) and (
            _command_line(pid)[1:] == [os.fsencode(word) for word in command[1:]])

    def _kill(self, pids: Iterable[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._pid.unlink(missing_ok=True)


def _marker(text: str) -> str:
    """A name that is answered only once that text was read."""
    return f"{blake2s(text.encode(), digest_size=8).hexdigest()}.cloudlet.invalid"


def _query(name: str) -> bytes:
    """A question for a name's address (RFC 1035)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 1, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def _group() -> str:
    return grp.getgrgid(pwd.getpwnam(UNPRIVILEGED).pw_gid).gr_name


def _pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _command_line(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
