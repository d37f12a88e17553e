"""A stand-in for a machine: a namespace whose only card is the far end of an interface's tap, so that a kernel of its
own speaks ARP and DHCP there, and frames of any kind can be sent."""

import fcntl
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cloudlet.engines import netns
from cloudlet.engines.ports import Interface, InterfaceSpec

_TUNSETIFF, _TAP = 0x400454CA, 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_FRAME_BYTES = 65600
_HEADER = bytes(10)  # of virtio-net: nothing is left to the card
_SCRIPT = """#!/bin/busybox sh
busybox env > {told}
[ "$1" = deconfig ] && exit 0
busybox ip addr flush dev eth0
busybox ip addr add $ip/$mask dev eth0
busybox ip route add default via $router
"""


class Guest:
    """`name` is that of its namespace, in which its card is `eth0`."""

    def __init__(self, spec: InterfaceSpec, made: Interface, directory: Path, mac: str = "") -> None:
        self.spec, self.path, self.name = spec, made.path, f"{spec.name}-guest"
        self.told = directory / f"{self.name}.told"
        self._script = directory / f"{self.name}.sh"
        self._script.write_text(_SCRIPT.format(told=self.told))
        self._script.chmod(0o755)
        self._wire = _open_tap(spec.network, made.path)
        netns.create(self.name)
        self._card = _open_tap(self.name, "eth0")
        self.run("ip", "link", "set", "eth0", "address", mac or spec.mac, "up")
        self._end, self._ended = os.pipe()
        self._pump = threading.Thread(target=self._carry)
        self._pump.start()

    def _carry(self) -> None:
        other = {self._wire: self._card, self._card: self._wire}
        while self._end not in (ready := select.select([*other, self._end], [], [])[0]):
            for descriptor in ready if other else ():
                try:
                    os.write(other[descriptor], os.read(descriptor, _FRAME_BYTES))
                except OSError:  # the interface was removed
                    other = {}

    def run(self, *words: str, ok: bool = True) -> str:
        """What a command in the guest says."""
        return subprocess.run(["nsenter", f"--net={netns.path_of(self.name)}", *words], capture_output=True, text=True,
                              check=ok).stdout

    def ask(self, *options: str, tries: int = 8) -> dict[str, str] | None:
        """What DHCP tells it, which it then has; None where nobody answers, a second for each try."""
        self.told.unlink(missing_ok=True)
        words = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", str(tries), "-T", "1",
                 "-s", str(self._script), "-O", "mtu", *options]
        found = subprocess.run(["nsenter", f"--net={netns.path_of(self.name)}", *words], capture_output=True, text=True,
                               check=False)
        if found.returncode != 0:
            return None
        lines = (line.partition("=") for line in self.told.read_text().splitlines())
        return {name: value for name, _, value in lines}

    def send(self, frame: bytes) -> None:
        """Puts a whole Ethernet frame on the wire."""
        os.write(self._wire, _HEADER + frame)

    def close(self) -> None:
        """Pulls the plug."""
        os.write(self._ended, b"x")
        self._pump.join()
        for descriptor in (self._wire, self._card, self._end, self._ended):
            os.close(descriptor)
        netns.remove(self.name)


@contextmanager
def guests(*found: Guest) -> Iterator[Sequence[Guest]]:
    """They go in the end."""
    try:
        yield found
    finally:
        for guest in found:
            guest.close()


def ethernet(source: str, target: str, kind: int, body: bytes) -> bytes:
    """A frame."""
    head = bytes.fromhex(target.replace(":", "")) + bytes.fromhex(source.replace(":", ""))
    return head + struct.pack(">H", kind) + body


def arp(mac: str, address: str, asked: str) -> bytes:
    """Who has `asked`? says somebody who claims to be at `address`."""
    return ethernet(mac, "ff:ff:ff:ff:ff:ff", 0x0806, struct.pack(
        ">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, bytes.fromhex(mac.replace(":", "")), socket.inet_aton(address),
        bytes(6), socket.inet_aton(asked)))


def _open_tap(network: str, device: str) -> int:
    with netns.inside(netns.path_of(network)):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("=16sH22x", device.encode(), _TAP))
    return descriptor
