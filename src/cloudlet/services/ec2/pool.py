"""Public addresses: one pool for every account and region, each address in one place at a time."""

from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv4Network

from cloudlet.services.ec2.api import InsufficientAddressCapacity
from cloudlet.services.ec2.records import Ground, Network, PublicAddress
from cloudlet.store.db import Tx

_PROBES = 16
GROUND_KEY = "site"


class NotOpened(RuntimeError):
    """A transaction came before `controller()` said what this installation is: a mistake of ours."""


def ground(tx: Tx) -> Ground:
    """What the installation is called and which public range it has."""
    found = tx.get(Ground, GROUND_KEY)
    if found is None:
        raise NotOpened("ec2's controller has not been made")
    return found


@cache
def pool_range(cidr: str) -> range:
    """The addresses that can be handed out, as numbers: not the first two (one is the router's) and not the last."""
    network = IPv4Network(cidr)
    first = int(network.network_address)
    return range(first + 2, first + network.num_addresses - 1)


def take(tx: Tx) -> str:
    """A public address that nobody has. Raises InsufficientAddressCapacity."""
    pool = pool_range(ground(tx).public_cidr)
    for _ in range(_PROBES if pool else 0):
        if address := _taken(tx, pool[int(tx.token(8), 16) % len(pool)]):
            return address
    for number in pool:
        if address := _taken(tx, number):
            return address
    raise InsufficientAddressCapacity("There are not enough free public addresses to satisfy your request.")


def _taken(tx: Tx, number: int) -> str | None:
    address = str(IPv4Address(number))
    if tx.get(PublicAddress, address):
        return None
    tx.put(PublicAddress(address))
    return address


def unmap(tx: Tx, address: str, vpc_key: str) -> None:
    """The address is no longer used in a VPC, whose fabric may still carry it until it is applied again."""
    found = tx.get(PublicAddress, address)
    if found and tx.get(Network, vpc_key):
        tx.put(replace(found, draining=vpc_key))


def give_back(tx: Tx, address: str) -> None:
    """Nobody has the address any more: it is free, or will be as soon as no fabric carries it."""
    found = tx.get(PublicAddress, address)
    if found and found.draining:
        tx.put(replace(found, released=True))
    elif found:
        tx.delete(PublicAddress, address)


def drained(tx: Tx, vpc_key: str, carried: frozenset[str] = frozenset()) -> None:
    """The VPC's fabric was applied and carries these addresses: what drained from it is free, or may be used again."""
    for address in tx.find(PublicAddress, draining=vpc_key):
        if address.key in carried:
            continue
        if address.released:
            tx.delete(PublicAddress, address.key)
        else:
            tx.put(replace(address, draining=None))
