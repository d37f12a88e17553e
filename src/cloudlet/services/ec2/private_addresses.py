"""Private addresses: which ones a request asks for, and which of a subnet are free."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from cloudlet.services.ec2 import api
from cloudlet.services.ec2.ranges import parse_address, usable
from cloudlet.services.ec2.records import NetworkInterface, PrivateAddress, Subnet
from cloudlet.store.db import Tx

_PROBES = 16


@dataclass(frozen=True, slots=True)
class Wish:
    """The addresses that an interface is to have: the primary one (None: any), further ones by name, and how many
    more, whichever they are."""

    primary: str | None = None
    further: tuple[str, ...] = ()
    count: int = 0

    @property
    def size(self) -> int:
        """How many these are."""
        return 1 + len(self.further) + self.count

    @property
    def names_some(self) -> bool:
        """Whether it can be fulfilled only once."""
        return self.primary is not None or bool(self.further)


ANY = Wish()  # one address, whichever it is


def read_wish(item: Mapping[str, Any]) -> Wish:
    """What a new interface's PrivateIpAddress, PrivateIpAddresses and SecondaryPrivateIpAddressCount ask for. "If you
    don't specify a primary private IP address, Amazon EC2 automatically assigns" one, whatever else is listed:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-ec2-networkinterface-privateipaddressspecification.html
    """
    listed = item.get("PrivateIpAddresses") or ()
    named = [each.get("PrivateIpAddress") or "" for each in listed]
    primaries = [name for name, each in zip(named, listed, strict=True) if each.get("Primary")]
    if item.get("PrivateIpAddress"):
        if primaries:
            raise api.InvalidParameterCombination("Only one primary private IP address can be specified: by "
                                                  "privateIpAddress, or as the primary one of privateIpAddresses.")
        primaries = [item["PrivateIpAddress"]]
    if len(primaries) > 1:
        raise api.InvalidParameterValue("Only one primary private IP address can be specified.")
    primary = primaries[0] if primaries else None
    further = [name for name, each in zip(named, listed, strict=True) if not each.get("Primary")]
    count = read_count(item)
    if count and len(named) > 1:
        raise api.InvalidParameterCombination("The parameter secondaryPrivateIpAddressCount may not be used with more "
                                              "than one of privateIpAddresses")
    _refuse_repeated([*primaries, *further])
    return Wish(primary, tuple(further), count)


def read_count(item: Mapping[str, Any]) -> int:
    """SecondaryPrivateIpAddressCount."""
    count: int = item.get("SecondaryPrivateIpAddressCount") or 0
    if count < 0:
        raise api.InvalidParameterValue(f"Value ({count}) for parameter secondaryPrivateIpAddressCount is invalid.")
    return count


def _refuse_repeated(addresses: list[str]) -> None:
    for address in addresses:
        if addresses.count(address) > 1:
            raise api.InvalidParameterValue(f"The address {address} is specified more than once.")


def require_room(size: int, limit: int, who: str = "") -> None:
    """Raises PrivateIpAddressLimitExceeded where an interface would have more addresses than it may."""
    if size > limit:
        raise api.PrivateIpAddressLimitExceeded(f"{f'{who}: ' if who else ''}Number of private addresses will exceed "
                                                "limit.")


def choose(tx: Tx, subnet: Subnet, wish: Wish) -> tuple[PrivateAddress, ...]:
    """Addresses of a new interface, the primary one first. Raises EC2's errors where one is taken or none is left."""
    named = [address for address in (wish.primary, *wish.further) if address is not None]
    for address in named:
        require_inside(subnet, address)
        if holder(tx, subnet, address):
            raise api.InvalidIpAddressInUse(f"The address '{address}' is in use.")
    found = free(tx, subnet, wish.size - len(named), frozenset(named))
    primary = wish.primary or found.pop()
    return tuple(PrivateAddress(ip) for ip in (primary, *wish.further, *found))


def require_inside(subnet: Subnet, address: str) -> None:
    """Raises InvalidParameterValue for what can be no interface's address in a subnet."""
    if int(parse_address(address, "privateIpAddress")) not in usable(subnet.cidr):
        raise api.InvalidParameterValue(f"Address {address} does not fall within the subnet's address range or is "
                                        "reserved.")


def holder(tx: Tx, subnet: Subnet, address: str) -> NetworkInterface | None:
    """The interface that has an address of a subnet."""
    return next(iter(tx.find(NetworkInterface, address=f"{subnet.id}/{address}")), None)


def free(tx: Tx, subnet: Subnet, count: int, but: frozenset[str] = frozenset()) -> list[str]:
    """So many addresses that no interface has: guessed, as most subnets are nearly empty; else searched for. Raises
    InsufficientFreeAddressesInSubnet."""
    addresses, found = usable(subnet.cidr), dict[str, None]()
    for _ in range(count + _PROBES if count else 0):
        guess = str(IPv4Address(addresses[int(tx.token(8), 16) % len(addresses)]))
        if guess not in but and guess not in found and not tx.count(NetworkInterface, address=f"{subnet.id}/{guess}"):
            found[guess] = None
        if len(found) == count:
            return list(found)
    taken = {address.ip for other in tx.find(NetworkInterface, subnet=subnet.id) for address in other.addresses}
    for number in addresses if len(found) < count else ():
        address = str(IPv4Address(number))
        if address not in taken and address not in but:
            found[address] = None
        if len(found) == count:
            return list(found)
    if len(found) < count:
        raise api.InsufficientFreeAddresses(f"The specified subnet '{subnet.id}' does not have enough free addresses "
                                            "to satisfy the request.")
    return list(found)
