"""The network cards of instances: which a launch asks for, and the interfaces that become them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input
from cloudlet.services.ec2 import api, pool
from cloudlet.services.ec2.fabric import join_network, refresh_fabric
from cloudlet.services.ec2.groups import by_name
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.instances.types import InstanceType
from cloudlet.services.ec2.interfaces import groups_for, mapped, new_interface, own_interface, vpc_key
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.private_addresses import ANY, Wish, read_wish, require_room
from cloudlet.services.ec2.records import InterfaceAttachment, NetworkInterface, Subnet, Vpc
from cloudlet.services.ec2.vpcs import default_vpc
from cloudlet.store.db import Tx


@dataclass(frozen=True, slots=True)
class Card:
    """One card: an interface that is there already, or a new one with the addresses wished for. `public`: it gets a
    public address."""

    index: int
    subnet: Subnet
    existing: NetworkInterface | None = None
    groups: tuple[str, ...] = ()
    wish: Wish = ANY
    description: str = ""
    public: bool = False
    delete_on_termination: bool = True


def interfaces_of(tx: Tx, instance_id: str) -> list[NetworkInterface]:
    """The interfaces of an instance by device index, those too that are to be taken out."""
    found = [i for i in tx.find(NetworkInterface, instance=instance_id) if not i.releasing]
    return sorted(found, key=lambda i: i.attachment.device_index if i.attachment else 0)


# ── What a launch asks for ───────────────────────────────────────────────────────────────────────────────────────────


def read_cards(tx: Tx, call: Call, request: Input, type: InstanceType, zone: str | None) -> tuple[Card, ...]:
    """The cards of each instance of a launch, the primary one first. Raises EC2's errors."""
    listed = request.get("NetworkInterfaces") or ()
    cards = _listed(tx, call, request, listed, zone) if listed else (_simple(tx, call, request, zone),)
    if len(cards) > type.interfaces:
        raise api.InterfaceLimitExceeded(f"Interface count {len(cards)} exceeds the limit for {type.name}")
    for card in cards:
        require_room(len(card.existing.addresses) if card.existing else card.wish.size, type.addresses)
    if zone and cards[0].subnet.zone != zone:
        raise api.InvalidParameterValue(f"The subnet {cards[0].subnet.id} is in the Availability Zone "
                                        f"{cards[0].subnet.zone}, and the launch asks for {zone}.")
    if any(card.subnet.vpc_id != cards[0].subnet.vpc_id or card.subnet.zone != cards[0].subnet.zone for card in cards):
        raise api.InvalidParameterCombination("All network interfaces must be in the same VPC and Availability Zone.")
    if request["MaxCount"] > 1 and any(card.existing or card.wish.names_some for card in cards):
        raise api.InvalidParameterCombination("Only one instance may be launched with a given network interface or "
                                              "private IP address.")
    return cards


def _simple(tx: Tx, call: Call, request: Input, zone: str | None) -> Card:
    """The one card of a launch that says nothing of interfaces."""
    id, names = request.get("SubnetId"), request.get("SecurityGroups") or ()
    if id and names:
        raise api.InvalidParameterCombination("The parameter groupName cannot be used with the parameter subnet")
    subnet = find(tx, call, Subnet, id) if id else _default_subnet(tx, call, zone)
    groups = (*(request.get("SecurityGroupIds") or ()), *(by_name(tx, call, name).id for name in names))
    return Card(0, subnet, groups=groups_for(tx, call, subnet, groups),
                wish=Wish(request.get("PrivateIpAddress") or None), public=subnet.map_public_ip)


def _default_subnet(tx: Tx, call: Call, zone: str | None) -> Subnet:
    vpc = default_vpc(tx, call)
    if vpc is None:
        raise api.VpcIdNotSpecified("No default VPC for this user. GroupName is only supported for EC2-Classic and "
                                    "default VPC.")
    subnets = sorted((s for s in tx.find(Subnet, vpc=vpc.id) if s.default_for_az), key=lambda s: s.zone)
    found = next((subnet for subnet in subnets if zone in (None, subnet.zone)), None)
    if found is None:
        raise api.MissingInput(f"No default subnet for availability zone: '{zone}'." if zone else
                               f"No subnets found for the default VPC '{vpc.id}'. Please specify a subnet.")
    return found


def _listed(tx: Tx, call: Call, request: Input, listed: Sequence[Mapping[str, Any]],
            zone: str | None) -> tuple[Card, ...]:
    for member, noun in (("SubnetId", "an instance-level subnet ID"), ("SecurityGroupIds", "security groups"),
                         ("SecurityGroups", "security groups"), ("PrivateIpAddress", "a private IP address")):
        if request.get(member):
            raise api.InvalidParameterCombination(f"Network interfaces and {noun} may not be specified on the same "
                                                  "request")
    if len(listed) > 1 and any(item.get("AssociatePublicIpAddress") for item in listed):
        raise api.InvalidParameterCombination("The associatePublicIPAddress parameter cannot be specified when "
                                              "launching with multiple network interfaces.")
    cards = sorted((_card(tx, call, item, zone, alone=len(listed) == 1) for item in listed), key=lambda c: c.index)
    if [card.index for card in cards] != list(range(len(cards))):
        raise api.InvalidParameterValue("Each network interface requires a device index of its own, from 0 on without "
                                        "a gap.")
    existing = [card.existing.id for card in cards if card.existing]
    if len(set(existing)) != len(existing):
        raise api.InvalidParameterValue("A network interface may be specified only once.")
    return tuple(cards)


_REFUSED = ("Ipv6AddressCount", "Ipv6Addresses", "AssociateCarrierIpAddress", "Ipv4Prefixes",
            "Ipv4PrefixCount", "Ipv6Prefixes", "Ipv6PrefixCount", "PrimaryIpv6", "EnaSrdSpecification",
            "ConnectionTrackingSpecification", "EnaQueueCount", "NetworkCardIndex")


def _card(tx: Tx, call: Call, item: Mapping[str, Any], zone: str | None, *, alone: bool) -> Card:
    api.refuse(dict(item), *_REFUSED)
    if item.get("InterfaceType") not in (None, "", "interface"):
        raise api.UnsupportedOperation("Only the interface type 'interface' is supported.")
    index = item.get("DeviceIndex")
    if index is None:
        raise api.InvalidParameterValue("Each network interface requires a device index.")
    if item.get("NetworkInterfaceId"):
        return _existing(tx, call, item, index)
    subnet = find(tx, call, Subnet, item["SubnetId"]) if item.get("SubnetId") else _default_subnet(tx, call, zone)
    public, delete = item.get("AssociatePublicIpAddress"), item.get("DeleteOnTermination")
    return Card(index, subnet, None, groups_for(tx, call, subnet, item.get("Groups") or ()), read_wish(item),
                item.get("Description") or "", (alone and subnet.map_public_ip) if public is None else bool(public),
                True if delete is None else bool(delete))


def _existing(tx: Tx, call: Call, item: Mapping[str, Any], index: int) -> Card:
    """An interface that is there already, with its own subnet, groups and addresses."""
    if any(item.get(name) for name in ("SubnetId", "Groups", "PrivateIpAddress", "PrivateIpAddresses",
                                       "SecondaryPrivateIpAddressCount", "Description", "AssociatePublicIpAddress")):
        raise api.InvalidParameterCombination("A network interface that is there already cannot be given a subnet, "
                                              "groups, addresses or a description.")
    interface = own_interface(tx, call, item["NetworkInterfaceId"])
    if interface.real:
        raise api.InvalidInterfaceInUse(f"Interface: [{interface.id}] in use.")
    return Card(index, find(tx, call, Subnet, interface.subnet_id), interface, interface.groups,
                delete_on_termination=bool(item.get("DeleteOnTermination")))


# ── Joining and leaving ──────────────────────────────────────────────────────────────────────────────────────────────


def make_card(tx: Tx, call: Call, instance: Instance, vpc: Vpc, card: Card, tags: dict[str, str]) -> NetworkInterface:
    """The interface of a card, in its place in the instance."""
    interface = card.existing or new_interface(tx, call, vpc, card.subnet, card.groups, card.wish, card.description,
                                               dict(tags))
    if card.public:
        interface = mapped(interface, interface.private_ip, pool.take(tx))
    return plug(tx, interface, instance, vpc, card.index, delete_on_termination=card.delete_on_termination)


def plug(tx: Tx, interface: NetworkInterface, instance: Instance, vpc: Vpc, index: int, *,
         delete_on_termination: bool = False) -> NetworkInterface:
    """Makes an interface that nothing uses an instance's: it gets a tap, and a card where the machine runs."""
    attachment = InterfaceAttachment(f"eni-attach-{tx.token(17)}", instance.id, index, tx.now, delete_on_termination)
    joined = replace(interface, attachment=attachment, workload="tap", notify=("ec2.instance", instance.key))
    tx.put(joined)
    join_network(tx, vpc)
    return joined


def unplug(tx: Tx, interface: NetworkInterface) -> None:
    """The machine has the card no more, or there is none: the interface stays as a record, with its addresses."""
    for public in interface.public_ips:
        pool.unmap(tx, public, vpc_key(interface))
    tx.put(replace(interface, attachment=None, notify=None, workload="namespace", ready=False))
    refresh_fabric(tx, vpc_key(interface))
