"""DNS inside a VPC: one dnsmasq, detached, that answers from a file of ours and asks nobody else."""

import os
import re
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path

from cloudlet.engines import netns
from cloudlet.engines.dnsmasq import Dnsmasq
from cloudlet.engines.ports import Member
from cloudlet.kernel.errors import Busy, Refused

AMAZON_DNS = "169.254.169.253"  # https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html
ANSWER_TIMEOUT_S, ANSWER_TRIES = 2.0, 200
_MARKER_ADDRESS = "127.0.0.53"
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")


class Resolver:
    """The resolver of one VPC, whose files are in `directory`."""

    def __init__(self, directory: Path, network: str) -> None:
        self._network, self._hosts = network, directory / "hosts"
        self._dnsmasq = Dnsmasq(network, directory / "dnsmasq.pid")

    def is_ready(self, address: str) -> bool:
        """Whether it runs as it should on that address and on 169.254.169.253. If not, whatever ran is ended, and
        all is ready for `start`."""
        if self._dnsmasq.is_as_wanted(self._command(address)):
            return True
        if not self._hosts.exists():
            self.write(())
        return False

    async def start(self, address: str) -> None:
        """Starts it with the names last written. Raises Unavailable where dnsmasq is not installed."""
        await self._dnsmasq.start(self._command(address))

    def _command(self, address: str) -> list[str]:
        return self._dnsmasq.command(
            f"--addn-hosts={self._hosts}", "--no-resolv", "--no-poll", "--local=/#/", "--bind-interfaces",
            f"--listen-address={address},{AMAZON_DNS}", "--cache-size=1000", "--no-negcache")

    def write(self, members: Sequence[Member]) -> None:
        """Exactly these names are answered from now on. Raises Refused for one that cannot be a host's."""
        addresses = [address for member in members for address in member.addresses]
        for name in (name for address in addresses for name in address.names):
            if not _HOST_NAME.fullmatch(name):
                raise Refused(f"{name!r} cannot be a host's name")
        lines = sorted(f"{address.private} {' '.join(address.names)}\n" for address in addresses if address.names)
        text = "".join(lines)
        text += f"{_MARKER_ADDRESS} {_marker(text)}\n"
        if self._hosts.exists() and self._hosts.read_text() == text:
            return
        draft = self._hosts.with_name(".hosts")
        draft.write_text(text)
        draft.chmod(0o644)
        os.replace(draft, self._hosts)
        if self._dnsmasq.reload():
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
        self._dnsmasq.stop()


def _marker(text: str) -> str:
    """A name that is answered only once that text was read."""
    return f"{blake2s(text.encode(), digest_size=8).hexdigest()}.cloudlet.invalid"


def _query(name: str) -> bytes:
    """A question for a name's address (RFC 1035)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 1, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
