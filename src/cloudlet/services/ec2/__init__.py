"""EC2: VPCs, subnets, routes, gateways, security groups, interfaces and addresses, and the network behind them."""

from cloudlet.services.ec2 import (
    absent,
    acls,
    addresses,
    attachments,
    conditions,
    dhcp,
    gateways,
    groups,
    interfaces,
    keypairs,
    places,
    routes,
    rules,
    secondary_addresses,
    subnets,
    tags,
    templates,
    vpcs,
)
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.connect import authorized_key, find_instance, give_key
from cloudlet.services.ec2.infrastructure import infrastructure
from cloudlet.services.ec2.instances import (
    attributes,
    console,
    launching,
    offerings,
    power,
    profiles,
    status,
    views,
)
from cloudlet.services.ec2.interfaces import (
    create_interface,
    find_interface,
    find_interface_by_address,
    release_interface,
)
from cloudlet.services.ec2.loops import controller
from cloudlet.services.ec2.metadata import instance_metadata
from cloudlet.services.ec2.records import NetworkInterface
from cloudlet.services.ec2.storage import (
    attaching,
    image_attributes,
    images,
    making_images,
    modifications,
    snapshots,
    volumes,
)
from cloudlet.services.ec2.storage.image_parameters import machine_images

NOUNS = (absent, acls, addresses, attachments, conditions, dhcp, gateways, groups, interfaces, keypairs, places,
         routes, rules, secondary_addresses, subnets, tags, templates, vpcs, attaching, image_attributes, images,
         making_images, modifications, snapshots, volumes, attributes, console, launching, offerings, power, profiles,
         status, views)

__all__ = ["NOUNS", "NetworkInterface", "authorized_key", "controller", "create_interface", "ec2", "find_instance",
           "find_interface", "find_interface_by_address", "give_key", "infrastructure", "instance_metadata",
           "machine_images", "release_interface"]
