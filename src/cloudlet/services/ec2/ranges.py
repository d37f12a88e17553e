"""Address ranges as customers write them."""

from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Network, NetmaskValueError

from cloudlet.services.ec2.api import InvalidParameterValue

RESERVED_FIRST, RESERVED_LAST = 4, 1  # of every subnet: https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html


def parse_cidr(text: str, parameter: str) -> IPv4Network:
    """An IPv4 range; bits below the prefix are dropped, as AWS does. Raises InvalidParameterValue."""
    try:
        if "/" not in text:
            raise ValueError(text)
        return IPv4Network(text, strict=False)
    except ValueError:
        raise InvalidParameterValue(
            f"Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block.") from None


def parse_cidr6(text: str, parameter: str) -> IPv6Network:
    """An IPv6 range. Raises InvalidParameterValue."""
    try:
        return IPv6Network(text, strict=False)
    except ValueError:
        raise InvalidParameterValue(
            f"Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block.") from None


def parse_address(text: str, parameter: str) -> IPv4Address:
    """An IPv4 address. Raises InvalidParameterValue."""
    try:
        return IPv4Address(text)
    except (AddressValueError, NetmaskValueError):
        raise InvalidParameterValue(f"Value ({text}) for parameter {parameter} is invalid. "
                                    "Invalid IPv4 address.") from None


def usable(cidr: str) -> range:
    """The addresses of a subnet that interfaces can have, as numbers."""
    network = IPv4Network(cidr)
    first = int(network.network_address)
    return range(first + RESERVED_FIRST, first + network.num_addresses - RESERVED_LAST)


def gateway_of(cidr: str) -> str:
    """A subnet's router: its base plus one."""
    return str(IPv4Network(cidr).network_address + 1)


def resolver_of(vpc_cidr: str) -> str:
    """A VPC's DNS: the base of its primary range plus two."""
    return str(IPv4Network(vpc_cidr).network_address + 2)
