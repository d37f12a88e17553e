"""Who is there: a question by ARP to each of many devices at once, and the answers that were heard (RFC 826)."""

import asyncio
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TRIES, PAUSE_S = 3, 1.0  # an emulated guest on a busy host takes its time
_KIND = 0x0806
_BODY = struct.Struct(">HHBBH6s4s6s4s")
_ETHERNET, _IPV4, _REQUEST, _REPLY = 1, 0x0800, 1, 2
_RCVBUFFORCE, _BUFFER_BYTES = 33, 4 << 20  # room for the answers of thousands that come at once
_BATCH = 64  # frames at a time: nobody inside keeps the loop busy by talking much


@dataclass(frozen=True, slots=True)
class Party:
    """Who is asked: the address and the hardware address that must answer, on a device of ours; `router` is where we
    say that we ask from."""

    device: str
    address: str
    mac: str
    router: str


def ear() -> socket.socket:
    """A socket for all devices of the namespace in which it is opened."""
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                          socket.htons(_KIND))
    found.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER_BYTES)
    return found


async def answering(ear: socket.socket, parties: Mapping[str, Party], mac: str) -> frozenset[str]:
    """The names of those that answer within some seconds, asked from the hardware address `mac`."""
    silent, done = {_answer(party): name for name, party in parties.items()}, asyncio.Event()

    def hear() -> None:
        for _ in range(_BATCH):
            try:
                frame, source = ear.recvfrom(64)
            except OSError:
                return
            silent.pop((source[0], frame[6:12], frame[14:32][6:18]), None)
            if not silent:
                done.set()
    loop = asyncio.get_running_loop()
    loop.add_reader(ear, hear)
    try:
        for _ in range(TRIES if silent else 0):
            _ask(ear, (parties[name] for name in silent.values()), mac)
            try:
                async with asyncio.timeout(PAUSE_S):
                    await done.wait()
                    break
            except TimeoutError:
                pass
    finally:
        loop.remove_reader(ear)
    return frozenset(parties.keys() - silent.values())


def _answer(party: Party) -> tuple[str, bytes, bytes]:
    """What tells a party's answer from all else: the device, the sender, and the body from the operation to there."""
    mac = _raw(party.mac)
    return party.device, mac, struct.pack(">H", _REPLY) + mac + socket.inet_aton(party.address)


def _ask(ear: socket.socket, parties: Iterable[Party], mac: str) -> None:
    """To each one alone: nobody else hears of it."""
    for party in parties:
        body = _BODY.pack(_ETHERNET, _IPV4, 6, 4, _REQUEST, _raw(mac), socket.inet_aton(party.router), bytes(6),
                          socket.inet_aton(party.address))
        try:
            ear.sendto(_raw(party.mac) + _raw(mac) + struct.pack(">H", _KIND) + body, (party.device, _KIND))
        except OSError:
            pass  # its device is gone, or has no wire: it will not answer


def _raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
