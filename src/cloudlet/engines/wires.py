"""The wires of a running machine's cards: taps that its process holds open, led into its VPC's namespace again.

A tap's open file outlives the device, and a device can be moved between namespaces; so whatever was lost around a
machine and made anew, its guest sees the same cards, and packets come again.
"""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from cloudlet.engines import netns
from cloudlet.engines.netlink import Netlink
from cloudlet.kernel.errors import Busy, Conflict

TUN, TUNSETIFF, TAP_FLAGS = "/dev/net/tun", 0x400454CA, 0x0002 | 0x1000 | 0x4000  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
_TUNGETIFF, _TUNSETPERSIST, _TUNSETVNETHDRSZ, _TUNGETDEVNETNS = 0x800454D2, 0x400454CB, 0x400454D8, 0x54E3
_HEADER_BYTES = 12  # of virtio 1.0, which is what QEMU said to the device that was there before
_PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)


def request(device: str) -> bytes:
    """What TUNSETIFF is asked for a device."""
    return struct.pack("=16sH22x", device.encode(), TAP_FLAGS)


def dead(network: str, devices: Sequence[str]) -> set[str]:
    """Those of a namespace's taps that nobody has open, or that are not there."""
    if netns.inode(network) is None:
        return set(devices)
    with netns.inside(network), Netlink() as vpc:
        return {device for device in devices if not ((link := vpc.link(device)) and link.wired)}


def lead(pid: int, devices: Mapping[str, int | None], network: str) -> None:
    """Has a process' taps be these devices of a namespace: one that was deleted is opened again, one that is in a
    namespace that lost its name is brought here. `devices` are all that the process has, with the number of their files
    in it; those without one it opened in this order. Raises Conflict where one was brought, so that it is routed anew,
    and Busy where it cannot be done."""
    if netns.inode(network) is None:
        raise Conflict(f"the namespace {network} does not exist")
    with ExitStack() as stack:
        files = {number: stack.enter_context(file) for number, file in _taps(pid)}
        found = {name: file for file in files.values() if (name := _name(file))}
        nameless = {number: file for number, file in files.items() if not _name(file)}
        lost = [device for device in devices if device not in found]
        known = {device: nameless.pop(number) for device in lost if (number := devices[device]) in nameless}
        unknown = [device for device in lost if device not in known]
        if len(unknown) != len(nameless):
            raise Busy(f"the process {pid} has {len(nameless)} taps without a device where {len(unknown)} are missing")
        for device, file in (known | dict(zip(unknown, nameless.values(), strict=True))).items():
            fcntl.ioctl(file, TUNSETIFF, request(device))
            fcntl.ioctl(file, _TUNSETVNETHDRSZ, struct.pack("=i", _HEADER_BYTES))
            fcntl.ioctl(file, _TUNSETPERSIST, 1)
            found[device] = file
        brought = [device for device in devices if _bring(found[device], device, network)]
    if brought:
        raise Conflict(f"{', '.join(brought)} came from a namespace that was lost: to be routed anew")


def _bring(file: int, device: str, network: str) -> bool:
    """Moves a tap's device to the namespace, unless it is there; whether it had to be."""
    with _opened(fcntl.ioctl(file, _TUNGETDEVNETNS)) as home, _opened(os.open(network, os.O_RDONLY)) as target:
        if os.fstat(home).st_ino == os.fstat(target).st_ino:
            return False
        with netns.inside(network), Netlink() as vpc:
            vpc.delete_link(device)  # made anew, and nobody is behind it
        with netns.inside(f"/proc/self/fd/{home}"), Netlink() as old:
            old.move_link(device, target)
    return True


@contextmanager
def _opened(file: int) -> Iterator[int]:
    """An open file, for a while."""
    try:
        yield file
    finally:
        os.close(file)


def _taps(pid: int) -> Iterator[tuple[int, AbstractContextManager[int]]]:
    """The open files of a process that are taps, or were, by their number in it, as files of ours."""
    with _opened(os.pidfd_open(pid)) as process:
        for number in sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd")):
            try:
                if os.readlink(f"/proc/{pid}/fd/{number}") != TUN:
                    continue
            except FileNotFoundError:
                continue
            copy = _libc.syscall(_PIDFD_GETFD, process, number, 0)
            if copy < 0:
                reason = os.strerror(ctypes.get_errno())
                raise Busy(f"the taps of the process {pid} cannot be reached: {reason}")
            yield number, _opened(copy)


def _name(file: int) -> str:
    """The device behind a tap's file, "" where it is gone."""
    try:
        return fcntl.ioctl(file, _TUNGETIFF, bytes(40))[:16].rstrip(b"\0").decode()
    except OSError as error:
        if error.errno != errno.EBADFD:
            raise
        return ""
