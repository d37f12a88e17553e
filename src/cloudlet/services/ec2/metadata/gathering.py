"""From records to what an instance is told about itself."""

import base64
from dataclasses import replace

from cloudlet.services.ec2.connect import active_keys
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.interfaces import association_view, find_interface_by_address
from cloudlet.services.ec2.metadata.facts import Card, Facts
from cloudlet.services.ec2.metadata.roles import Profile
from cloudlet.services.ec2.records import NetworkInterface, SecurityGroup, Vpc
from cloudlet.services.ec2.regions import zone_id
from cloudlet.services.ec2.storage.attachments import attached
from cloudlet.services.iam import find_instance_profile, find_role_of
from cloudlet.store.db import Tx

HEARD_S = 60.0  # how exactly it is kept when an instance last asked


def instance_at(tx: Tx, network: str, address: str) -> Instance | None:
    """The instance that has an address in the VPC of that engine name, unless it is gone."""
    interface = find_interface_by_address(tx, network, address)
    if interface is None or interface.attachment is None:
        return None
    instance = next(iter(tx.find(Instance, id=interface.attachment.instance_id)), None)
    return instance if instance is not None and instance.ended_at is None else None


def note_heard(tx: Tx, instance: Instance) -> None:
    """Its guest has asked: it is there, and its network works."""
    if instance.heard_at is None or not instance.heard_at <= tx.now < instance.heard_at + HEARD_S:
        tx.put(replace(instance, heard_at=tx.now), wake=instance.heard_at is None)


def facts_of(tx: Tx, instance: Instance) -> Facts:
    """What an instance may know of itself."""
    interfaces = sorted((i for i in tx.find(NetworkInterface, instance=instance.id) if i.attachment),
                        key=lambda i: i.attachment.device_index if i.attachment else 0)
    devices = tuple(volume.attachment.device for volume in attached(tx, instance.id, instance.root_device_name)
                    if volume.attachment and volume.attachment.device != instance.root_device_name)
    return Facts(
        instance.id, instance.account, instance.region, instance.zone, zone_id(instance.zone), instance.type,
        instance.image_id, instance.root_device_name, devices, instance.reservation.id, instance.launch_index,
        instance.launched, tuple(_card(tx, interface) for interface in interfaces), instance.key_name,
        instance.public_key, base64.b64decode(instance.user_data) if instance.user_data else None,
        dict(instance.tags) if instance.metadata.tags else None, active_keys(tx, instance))


def _card(tx: Tx, interface: NetworkInterface) -> Card:
    scope = f"{interface.account}/{interface.region}"
    groups = [(id, tx.get(SecurityGroup, f"{scope}/{id}")) for id in interface.groups]
    vpc = tx.get(Vpc, f"{scope}/{interface.vpc_id}")
    public = association_view(tx, interface, interface.addresses[0]) or {}
    return Card(
        interface.attachment.device_index if interface.attachment else 0, interface.id, interface.mac,
        interface.account, tuple(each.ip for each in interface.addresses), interface.private_dns_name, interface.groups,
        tuple(group.name if group else id for id, group in groups), interface.subnet_id, interface.subnet_cidr,
        interface.vpc_id, tuple(each.cidr for each in vpc.cidrs) if vpc else (interface.subnet_cidr,),
        {each.public_ip: each.ip for each in interface.addresses if each.public_ip}, public.get("PublicDnsName", ""))


def profile_of(tx: Tx, instance: Instance) -> Profile | None:
    """Its instance profile with the role that this hands out now; None where it has none."""
    if instance.profile is None:
        return None
    found = find_instance_profile(tx, instance.account, arn=instance.profile.arn)
    role = find_role_of(tx, found) if found is not None else None
    return Profile(instance.profile.arn, instance.profile.profile_id, role.arn if role else "",
                   f"arn:aws:ec2:{instance.region}:{instance.account}:instance/{instance.id}")
