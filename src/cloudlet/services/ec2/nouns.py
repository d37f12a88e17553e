"""What has an id here, and how AWS says that an id stands for nothing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from cloudlet.kernel.call import Call
from cloudlet.kernel.errors import AwsError
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.instances.records import Instance, LaunchTemplate
from cloudlet.services.ec2.records import (
    DhcpOptions,
    ElasticIp,
    InternetGateway,
    KeyPair,
    NetworkAcl,
    NetworkInterface,
    RouteTable,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Vpc,
)
from cloudlet.services.ec2.storage.records import Image, Snapshot, Volume
from cloudlet.store.db import Tx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Noun:
    """`prefix` of its ids; `resource_type` in ARNs and tags; `label` in AWS's sentence; `malformed` where AWS looks at
    the form of an id before it looks for it."""

    cls: type[Any]
    prefix: str
    resource_type: str
    label: str
    not_found: type[AwsError]
    malformed: type[AwsError] | None = None


NOUNS = (
    Noun(Vpc, "vpc", "vpc", "vpc ID", api.InvalidVpcNotFound),
    Noun(Subnet, "subnet", "subnet", "subnet ID", api.InvalidSubnetNotFound),
    Noun(RouteTable, "rtb", "route-table", "routeTable ID", api.InvalidRouteTableNotFound),
    Noun(InternetGateway, "igw", "internet-gateway", "internetGateway ID", api.InvalidGatewayNotFound),
    Noun(SecurityGroup, "sg", "security-group", "security group", api.InvalidGroupNotFound, api.InvalidGroupMalformed),
    Noun(SecurityGroupRule, "sgr", "security-group-rule", "security group rule ID", api.InvalidRuleNotFound,
         api.InvalidRuleMalformed),
    Noun(NetworkInterface, "eni", "network-interface", "networkInterface ID", api.InvalidInterfaceNotFound,
         api.InvalidInterfaceMalformed),
    Noun(ElasticIp, "eipalloc", "elastic-ip", "allocation ID", api.InvalidAllocationNotFound),
    Noun(DhcpOptions, "dopt", "dhcp-options", "dhcpOption ID", api.InvalidDhcpOptionsNotFound),
    Noun(KeyPair, "key", "key-pair", "key pair", api.InvalidKeyPairNotFound),
    Noun(Volume, "vol", "volume", "volume", api.InvalidVolumeNotFound, api.InvalidVolumeMalformed),
    Noun(Snapshot, "snap", "snapshot", "snapshot", api.InvalidSnapshotNotFound, api.InvalidSnapshotMalformed),
    Noun(Image, "ami", "image", "image id", api.InvalidAmiNotFound, api.InvalidAmiMalformed),
    Noun(NetworkAcl, "acl", "network-acl", "networkAcl ID", api.InvalidNetworkAclNotFound),
    Noun(Instance, "i", "instance", "instance ID", api.InvalidInstanceNotFound, api.InvalidInstanceMalformed),
    Noun(LaunchTemplate, "lt", "launch-template", "launch template", api.InvalidTemplateNotFound,
         api.InvalidTemplateMalformed),
)
_BY_CLASS = {noun.cls: noun for noun in NOUNS}
_BY_PREFIX = {noun.prefix: noun for noun in NOUNS}


def noun_of(id: str) -> Noun:
    """The noun that an id's form belongs to. Raises InvalidID."""
    noun = _BY_PREFIX.get(id.rpartition("-")[0])
    if noun is None:
        raise api.InvalidID(f"The ID '{id}' is not valid")
    return noun


def find(tx: Tx, call: Call, cls: type[T], id: str) -> T:
    """The caller's record of that id in this region. Raises the noun's NotFound or Malformed."""
    found = tx.get(cls, f"{call.scope}/{id}")
    if found is None or getattr(found, "releasing", False):
        noun = _BY_CLASS[cls]
        if noun.malformed and not re.fullmatch(rf"{noun.prefix}-[0-9a-f]+", id):
            raise noun.malformed(f'Invalid id: "{id}" (expecting "{noun.prefix}-...")')
        raise noun.not_found(f"The {noun.label} '{id}' does not exist")
    return found


def described(tx: Tx, call: Call, cls: type[T], ids: Iterable[str] | None) -> list[T]:
    """What a Describe looks at: the records of these ids, or all of the caller's in this region."""
    if ids:
        return [find(tx, call, cls, id) for id in dict.fromkeys(ids)]
    return [found for found in tx.find(cls, f"{call.scope}/") if not getattr(found, "releasing", False)]


def arn(found: Any) -> str:
    """The ARN of a record."""
    return f"arn:aws:ec2:{found.region}:{found.account}:{_BY_CLASS[type(found)].resource_type}/{found.id}"
