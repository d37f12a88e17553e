"""The connections that a namespace remembers: cut when the address they belong to goes to somebody else."""

import errno
import logging
import socket
import struct

from cloudlet.engines.netlink import Netlink, attribute, attributes

log = logging.getLogger(__name__)

_NETFILTER = 12  # NETLINK_NETFILTER
_GET, _DELETE = 0x101, 0x102  # IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE
_DUMP = 0x300
_ORIGINAL, _REPLY = 1, 2  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY
_NESTED = 0x8000
_HEAD = struct.pack("=BBH", socket.AF_INET, 0, 0)


def forget(addresses: frozenset[str]) -> int:
    """Drops every connection from, to or translated to one of the addresses, in the namespace that the calling thread
    is in; how many there were."""
    wanted, dropped = {socket.inet_aton(address) for address in addresses}, 0
    with Netlink(_NETFILTER) as kernel:
        try:
            entries = kernel.ask(_GET, _HEAD, _DUMP)
        except OSError as error:
            log.warning("connections of %s cannot be cut: %s", ", ".join(sorted(addresses)), error)
            return 0
        for entry in entries:
            told = attributes(entry[4:])
            if any(_ends(told.get(side, b"")) & wanted for side in (_ORIGINAL, _REPLY)):
                try:
                    kernel.ask(_DELETE, _HEAD + attribute(_ORIGINAL | _NESTED, told[_ORIGINAL]))
                    dropped += 1
                except OSError as error:
                    if error.errno != errno.ENOENT:  # it ended by itself
                        raise
    return dropped


def _ends(side: bytes) -> set[bytes]:
    """Source and destination address of one direction."""
    addresses = attributes(attributes(side).get(1, b""))
    return {value for kind, value in addresses.items() if kind in (1, 2)}
