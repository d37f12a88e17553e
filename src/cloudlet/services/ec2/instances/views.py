"""Instances as answers show them, and as customers look for them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.instances import profiles
from cloudlet.services.ec2.instances.records import CODES, Instance, MetadataOptions, Reservation, State
from cloudlet.services.ec2.instances.types import catalogue
from cloudlet.services.ec2.interfaces import attachment_status
from cloudlet.services.ec2.nouns import described
from cloudlet.services.ec2.records import ElasticIp, NetworkInterface, PrivateAddress, SecurityGroup, Vpc
from cloudlet.services.ec2.regions import private_dns_name, public_dns_name, zone_id
from cloudlet.services.ec2.storage.attachments import device_views
from cloudlet.services.ec2.storage.records import Volume
from cloudlet.services.ec2.tags import tag_set
from cloudlet.store.db import Tx

View = dict[str, Any]
_ALONE = 20  # so many instances are looked at one by one; for more, everything of the region is read at once


@dataclass(slots=True)
class Surroundings:
    """What belongs to the instances that are shown, by their ids; names of groups, owners of public addresses, and
    VPCs that give public names, by id or address."""

    interfaces: Mapping[str, list[NetworkInterface]]
    volumes: Mapping[str, list[Volume]]
    groups: dict[str, str] = field(default_factory=dict)
    elastic: dict[str, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)


def surroundings(tx: Tx, instances: Iterable[Instance]) -> Surroundings:
    """Reads what belongs to instances (of one account's region)."""
    shown = list(instances)
    interfaces: dict[str, list[NetworkInterface]] = {instance.id: [] for instance in shown}
    volumes: dict[str, list[Volume]] = {instance.id: [] for instance in shown}
    scope = f"{shown[0].account}/{shown[0].region}/" if shown else ""
    few = len(shown) <= _ALONE
    for interface in ((each for i in shown for each in tx.find(NetworkInterface, instance=i.id)) if few
                      else tx.find(NetworkInterface, scope)):
        if interface.attachment and interface.attachment.instance_id in interfaces and not interface.releasing:
            interfaces[interface.attachment.instance_id].append(interface)
    for volume in ((each for i in shown for each in tx.find(Volume, instance=i.id)) if few
                   else tx.find(Volume, scope)):
        if volume.attachment and volume.attachment.instance_id in volumes:
            volumes[volume.attachment.instance_id].append(volume)
    for found in interfaces.values():
        found.sort(key=lambda i: i.attachment.device_index if i.attachment else 0)
    seen = [interface for found in interfaces.values() for interface in found]
    around = Surroundings(interfaces, volumes)
    for id in {id for interface in seen for id in interface.groups}:
        group = tx.get(SecurityGroup, f"{scope}{id}")
        around.groups[id] = group.name if group else ""
    for id in {interface.vpc_id for interface in seen if interface.public_ips}:
        vpc = tx.get(Vpc, f"{scope}{id}")
        if vpc and vpc.dns_hostnames and vpc.dns_support:
            around.named.add(id)
    if any(interface.public_ips for interface in seen):
        around.elastic = {elastic.public_ip: elastic.account for elastic in tx.find(ElasticIp, scope)}
    return around


# ── One instance ─────────────────────────────────────────────────────────────────────────────────────────────────────


def state_view(state: State) -> View:
    """A state with its number."""
    return {"Code": CODES[state], "Name": state}


@cache  # as many as there are different options, which is few; nobody changes a view
def metadata_view(options: MetadataOptions, state: str = "applied") -> View:
    """How the guest may ask for its metadata."""
    return {"State": state, "HttpTokens": options.tokens, "HttpPutResponseHopLimit": options.hop_limit,
            "HttpEndpoint": "enabled" if options.enabled else "disabled", "HttpProtocolIpv6": "disabled",
            "InstanceMetadataTags": "enabled" if options.tags else "disabled"}


def auto_recovery_view(instance: Instance) -> str:
    """Whether it recovers by itself, in AWS's words."""
    return "default" if instance.auto_recovery else "disabled"


def monitoring_view(instance: Instance) -> View:
    """Whether it is monitored in detail."""
    return {"State": "enabled" if instance.monitoring else "disabled"}


def _address(interface: NetworkInterface, address: PrivateAddress, around: Surroundings) -> View:
    view: View = {"PrivateIpAddress": address.ip, "PrivateDnsName": private_dns_name(interface.region, address.ip),
                  "Primary": address.ip == interface.private_ip}
    if address.public_ip:
        name = public_dns_name(interface.region, address.public_ip) if interface.vpc_id in around.named else ""
        view["Association"] = {"IpOwnerId": around.elastic.get(address.public_ip, "amazon"),
                               "PublicIp": address.public_ip, "PublicDnsName": name}
    return view


def _interface(interface: NetworkInterface, around: Surroundings) -> View:
    addresses = [_address(interface, address, around) for address in interface.addresses]
    view: View = {
        "NetworkInterfaceId": interface.id, "Description": interface.description, "OwnerId": interface.account,
        "SubnetId": interface.subnet_id, "VpcId": interface.vpc_id, "MacAddress": interface.mac,
        "PrivateIpAddress": interface.private_ip, "PrivateDnsName": interface.private_dns_name,
        "PrivateIpAddresses": addresses, "Ipv6Addresses": [], "SourceDestCheck": interface.source_check,
        "Status": "in-use", "InterfaceType": "interface", "Groups": _groups(interface, around)}
    attachment = interface.attachment
    if attachment:
        view["Attachment"] = {"AttachmentId": attachment.id, "AttachTime": attachment.at,
                              "DeleteOnTermination": attachment.delete_on_termination, "NetworkCardIndex": 0,
                              "DeviceIndex": attachment.device_index, "Status": attachment_status(attachment)}
    if association := addresses[0].get("Association"):
        view["Association"] = association
    return view


def _groups(interface: NetworkInterface, around: Surroundings) -> list[View]:
    return [{"GroupId": id, "GroupName": around.groups.get(id, "")} for id in interface.groups]


_ALIKE: View = {  # what every instance shows
    "Architecture": "x86_64", "EnaSupport": False, "Hypervisor": "xen", "RootDeviceType": "ebs",
    "VirtualizationType": "hvm", "HibernationOptions": {"Configured": False}, "EnclaveOptions": {"Enabled": False},
    "CapacityReservationSpecification": {"CapacityReservationPreference": "open"}, "PlatformDetails": "Linux/UNIX",
    "UsageOperation": "RunInstances", "CurrentInstanceBootMode": "legacy-bios"}


def instance_view(instance: Instance, around: Surroundings) -> View:
    """An instance as DescribeInstances shows it. One that is terminated has no place in a network any more."""
    type, interfaces = catalogue()[instance.type], around.interfaces[instance.id]
    view: View = _ALIKE | {
        "InstanceId": instance.id, "ImageId": instance.image_id, "State": state_view(instance.state),
        "PrivateDnsName": "", "PublicDnsName": "", "StateTransitionReason": instance.transition,
        "AmiLaunchIndex": instance.launch_index, "ProductCodes": [], "InstanceType": instance.type,
        "LaunchTime": instance.launched, "Monitoring": monitoring_view(instance),
        "Placement": {"AvailabilityZone": instance.zone, "AvailabilityZoneId": zone_id(instance.zone),
                      "GroupName": "", "Tenancy": "default"},
        "BlockDeviceMappings": device_views(around.volumes[instance.id], instance.root_device_name),
        "ClientToken": instance.client_token, "EbsOptimized": instance.ebs_optimized,
        "NetworkInterfaces": [_interface(each, around) for each in interfaces],
        "RootDeviceName": instance.root_device_name, "SecurityGroups": [],
        "Tags": tag_set(instance.tags),
        "CpuOptions": {"CoreCount": type.cores, "ThreadsPerCore": type.vcpus // type.cores},
        "MetadataOptions": metadata_view(instance.metadata),
        "MaintenanceOptions": {"AutoRecovery": auto_recovery_view(instance)},
        "UsageOperationUpdateTime": instance.created,
    }
    if instance.key_name:
        view["KeyName"] = instance.key_name
    if instance.profile:
        view["IamInstanceProfile"] = profiles.view(instance.profile)
    if instance.reason:
        view["StateReason"] = {"Code": instance.reason.code, "Message": instance.reason.message}
    if interfaces:
        view |= _place(instance, interfaces[0], around)
    return view


def _place(instance: Instance, primary: NetworkInterface, around: Surroundings) -> View:
    """What is known of an instance by its primary interface."""
    place: View = {
        "SubnetId": instance.subnet_id, "VpcId": instance.vpc_id, "PrivateIpAddress": primary.private_ip,
        "PrivateDnsName": private_dns_name(instance.region, primary.private_ip),
        "SecurityGroups": _groups(primary, around), "SourceDestCheck": primary.source_check,
        "PrivateDnsNameOptions": {"HostnameType": "ip-name", "EnableResourceNameDnsARecord": False,
                                  "EnableResourceNameDnsAAAARecord": False}}
    if association := _address(primary, primary.addresses[0], around).get("Association"):
        place |= {"PublicIpAddress": association["PublicIp"], "PublicDnsName": association["PublicDnsName"]}
    return place


def reservation_view(tx: Tx, instances: list[Instance], reservation: Reservation) -> View:
    """A reservation with those of its instances."""
    around = surroundings(tx, instances)
    return _reservation(reservation, instances[0].account, [instance_view(i, around) for i in instances])


def _reservation(reservation: Reservation, account: str, views: list[View]) -> View:
    view: View = {"ReservationId": reservation.id, "OwnerId": account, "Groups": [], "Instances": views}
    return view | {"RequesterId": reservation.requester} if reservation.requester else view


# ── Looking for them ─────────────────────────────────────────────────────────────────────────────────────────────────


@ec2.read(resources=any_resource)
def describe_instances(call: Call, tx: Tx, request: Input) -> Output:
    """Instances by id and filter, together with those launched with them."""
    ids = request.get("InstanceIds")
    if ids and request.get("MaxResults"):
        raise api.InvalidParameterCombination("The parameter instancesSet cannot be used with the parameter maxResults")
    instances = described(tx, call, Instance, ids)
    around = surroundings(tx, instances)
    pairs = matching([(instance, instance_view(instance, around)) for instance in instances],
                     request.get("Filters"), _FILTERS, lambda pair: pair[0].tags)
    found: dict[Reservation, list[View]] = {}
    for instance, view in pairs:
        found.setdefault(instance.reservation, []).append(view)
    return {"Reservations": [_reservation(reservation, call.account, sorted(views, key=_launch_index))
                             for reservation, views in found.items()]}


def _launch_index(view: View) -> int:
    index: int = view["AmiLaunchIndex"]
    return index


Pair = tuple[Instance, View]


def _shown(*path: str) -> Callable[[Pair], Any]:
    """A filter's field: what the view has at a path of members, where lists give each of their items."""
    def value(pair: Pair) -> Any:
        found = [pair[1]]
        for name in path:
            found = [inner for item in found if isinstance(item, Mapping)
                     for inner in _items(item.get(name))]
        return [_text(item) for item in found]
    return value


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _card(*path: str) -> Callable[[Pair], Any]:
    return _shown("NetworkInterfaces", *path)


def _nothing(pair: Pair) -> None:
    return None


_FILTERS: dict[str, Any] = {
    "affinity": _nothing,
    "architecture": _shown("Architecture"),
    "availability-zone": _shown("Placement", "AvailabilityZone"),
    "availability-zone-id": _shown("Placement", "AvailabilityZoneId"),
    "block-device-mapping.attach-time": _nothing,
    "block-device-mapping.delete-on-termination": _shown("BlockDeviceMappings", "Ebs", "DeleteOnTermination"),
    "block-device-mapping.device-name": _shown("BlockDeviceMappings", "DeviceName"),
    "block-device-mapping.status": _shown("BlockDeviceMappings", "Ebs", "Status"),
    "block-device-mapping.volume-id": _shown("BlockDeviceMappings", "Ebs", "VolumeId"),
    "boot-mode": _nothing,
    "capacity-reservation-id": _nothing,
    "client-token": lambda pair: pair[0].client_token or None,
    "current-instance-boot-mode": _shown("CurrentInstanceBootMode"),
    "dns-name": lambda pair: pair[1]["PublicDnsName"] or None,
    "ebs-optimized": _shown("EbsOptimized"),
    "ena-support": _shown("EnaSupport"),
    "enclave-options.enabled": _shown("EnclaveOptions", "Enabled"),
    "group-id": _shown("SecurityGroups", "GroupId"),
    "group-name": _shown("SecurityGroups", "GroupName"),
    "hibernation-options.configured": _shown("HibernationOptions", "Configured"),
    "host-id": _nothing,
    "hypervisor": _shown("Hypervisor"),
    "iam-instance-profile.arn": _shown("IamInstanceProfile", "Arn"),
    "iam-instance-profile.id": _shown("IamInstanceProfile", "Id"),
    "iam-instance-profile.name": lambda pair: pair[0].profile and pair[0].profile.arn.rpartition("/")[2],
    "image-id": _shown("ImageId"),
    "instance-id": _shown("InstanceId"),
    "instance-lifecycle": _nothing,
    "instance-state-code": _shown("State", "Code"),
    "instance-state-name": _shown("State", "Name"),
    "instance-type": _shown("InstanceType"),
    "instance.group-id": _shown("SecurityGroups", "GroupId"),
    "instance.group-name": _shown("SecurityGroups", "GroupName"),
    "ip-address": _shown("PublicIpAddress"),
    "ipv6-address": _nothing,
    "kernel-id": _nothing,
    "key-name": _shown("KeyName"),
    "launch-index": _shown("AmiLaunchIndex"),
    "maintenance-options.auto-recovery": _shown("MaintenanceOptions", "AutoRecovery"),
    "metadata-options.http-endpoint": _shown("MetadataOptions", "HttpEndpoint"),
    "metadata-options.http-protocol-ipv4": _shown("MetadataOptions", "HttpEndpoint"),
    "metadata-options.http-protocol-ipv6": _shown("MetadataOptions", "HttpProtocolIpv6"),
    "metadata-options.http-put-response-hop-limit": _shown("MetadataOptions", "HttpPutResponseHopLimit"),
    "metadata-options.http-tokens": _shown("MetadataOptions", "HttpTokens"),
    "metadata-options.instance-metadata-tags": _shown("MetadataOptions", "InstanceMetadataTags"),
    "monitoring-state": _shown("Monitoring", "State"),
    "network-interface.addresses.association.ip-owner-id": _card("PrivateIpAddresses", "Association", "IpOwnerId"),
    "network-interface.addresses.association.public-ip": _card("PrivateIpAddresses", "Association", "PublicIp"),
    "network-interface.addresses.primary": _card("PrivateIpAddresses", "Primary"),
    "network-interface.addresses.private-ip-address": _card("PrivateIpAddresses", "PrivateIpAddress"),
    "network-interface.association.allocation-id": _nothing,
    "network-interface.association.association-id": _nothing,
    "network-interface.association.ip-owner-id": _card("PrivateIpAddresses", "Association", "IpOwnerId"),
    "network-interface.association.public-ip": _card("PrivateIpAddresses", "Association", "PublicIp"),
    "network-interface.attachment.attachment-id": _card("Attachment", "AttachmentId"),
    "network-interface.attachment.delete-on-termination": _card("Attachment", "DeleteOnTermination"),
    "network-interface.attachment.device-index": _card("Attachment", "DeviceIndex"),
    "network-interface.attachment.instance-id": _shown("InstanceId"),
    "network-interface.attachment.instance-owner-id": _card("OwnerId"),
    "network-interface.attachment.status": _card("Attachment", "Status"),
    "network-interface.availability-zone": _shown("Placement", "AvailabilityZone"),
    "network-interface.description": _card("Description"),
    "network-interface.group-id": _card("Groups", "GroupId"),
    "network-interface.group-name": _card("Groups", "GroupName"),
    "network-interface.mac-address": _card("MacAddress"),
    "network-interface.network-interface-id": _card("NetworkInterfaceId"),
    "network-interface.owner-id": _card("OwnerId"),
    "network-interface.private-dns-name": _card("PrivateDnsName"),
    "network-interface.private-ip-address": _card("PrivateIpAddresses", "PrivateIpAddress"),
    "network-interface.requester-id": _nothing,
    "network-interface.requester-managed": lambda pair: False if pair[1]["NetworkInterfaces"] else None,
    "network-interface.source-dest-check": _card("SourceDestCheck"),
    "network-interface.status": _card("Status"),
    "network-interface.subnet-id": _card("SubnetId"),
    "network-interface.vpc-id": _card("VpcId"),
    "outpost-arn": _nothing,
    "owner-id": lambda pair: pair[0].account,
    "placement-group-name": _nothing,
    "placement-partition-number": _nothing,
    "platform": _nothing,
    "platform-details": _shown("PlatformDetails"),
    "private-dns-name": lambda pair: pair[1]["PrivateDnsName"] or None,
    "private-dns-name-options.enable-resource-name-dns-a-record": lambda pair: False,
    "private-dns-name-options.enable-resource-name-dns-aaaa-record": lambda pair: False,
    "private-dns-name-options.hostname-type": lambda pair: "ip-name",
    "private-ip-address": _shown("PrivateIpAddress"),
    "product-code": _nothing,
    "product-code.type": _nothing,
    "ramdisk-id": _nothing,
    "reason": lambda pair: pair[0].transition or None,
    "requester-id": lambda pair: pair[0].reservation.requester or None,
    "reservation-id": lambda pair: pair[0].reservation.id,
    "root-device-name": _shown("RootDeviceName"),
    "root-device-type": _shown("RootDeviceType"),
    "source-dest-check": _shown("SourceDestCheck"),
    "spot-instance-request-id": _nothing,
    "state-reason-code": _shown("StateReason", "Code"),
    "state-reason-message": _shown("StateReason", "Message"),
    "subnet-id": _shown("SubnetId"),
    "tenancy": _shown("Placement", "Tenancy"),
    "usage-operation": _shown("UsageOperation"),
    "virtualization-type": _shown("VirtualizationType"),
    "vpc-id": _shown("VpcId"),
}
