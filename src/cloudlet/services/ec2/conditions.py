"""What conditions of policies see of EC2's things: their tags, and keys that EC2 has for them.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html#amazonec2-policy-keys
"""

from collections.abc import Mapping
from typing import Any

from cloudlet.kernel.names import Arn
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.nouns import NOUNS
from cloudlet.services.ec2.records import NetworkInterface, RouteTable, SecurityGroup, Subnet, Vpc
from cloudlet.services.ec2.storage.records import Image, Snapshot, StockImage, Volume
from cloudlet.services.ec2.storage.sharing import stock_image
from cloudlet.store.db import Tx

_CLASSES = {noun.resource_type: noun.cls for noun in NOUNS}


def _named(tx: Tx, text: str) -> Any:
    """The record of an ARN, or None. Images and snapshots are named without an account too."""
    arn = Arn.parse(text)
    kind, _, id = arn.resource.partition("/") if arn else ("", "", "")
    if arn is None or kind not in _CLASSES or id in ("", "*"):
        return None
    cls = _CLASSES[kind]
    if cls not in (Image, Snapshot):
        return tx.get(cls, f"{arn.account}/{arn.region}/{id}")
    stock = tx.get(StockImage, id)
    return stock_image(stock, arn.region) if stock else next(
        (found for found in tx.find(cls, id=id) if found.region == arn.region), None)


@ec2.resource_tags
def tags_by_arn(tx: Tx, text: str) -> Mapping[str, str]:
    """The tags of what an ARN names, for aws:ResourceTag/… and ec2:ResourceTag/…."""
    found = _named(tx, text)
    tags: Mapping[str, str] = found.tags if found is not None else {}
    return tags


@ec2.resource_keys
def keys_by_arn(tx: Tx, text: str) -> Mapping[str, str]:
    """EC2's own keys of what an ARN names."""
    match _named(tx, text):
        case Instance() as found:
            return {"ec2:InstanceID": found.id, "ec2:InstanceType": found.type, "ec2:AvailabilityZone": found.zone,
                    "ec2:MetadataHttpTokens": found.metadata.tokens, "ec2:EbsOptimized": _said(found.ebs_optimized),
                    "ec2:RootDeviceType": "ebs", "ec2:Tenancy": "default",
                    **({"ec2:InstanceProfile": found.profile.arn} if found.profile else {})}
        case Subnet() as found:
            return {"ec2:SubnetID": found.id, "ec2:AvailabilityZone": found.zone, "ec2:Vpc": _vpc(found)}
        case NetworkInterface() as found:
            return {"ec2:NetworkInterfaceID": found.id, "ec2:AvailabilityZone": found.availability_zone,
                    "ec2:Subnet": _arn(found, f"subnet/{found.subnet_id}"), "ec2:Vpc": _vpc(found)}
        case SecurityGroup() as found:
            return {"ec2:SecurityGroupID": found.id, "ec2:Vpc": _vpc(found)}
        case RouteTable() as found:
            return {"ec2:RouteTableID": found.id, "ec2:Vpc": _vpc(found)}
        case Vpc() as found:
            return {"ec2:VpcID": found.id, "ec2:Tenancy": "default"}
        case Volume() as found:
            return {"ec2:VolumeID": found.id, "ec2:AvailabilityZone": found.zone,
                    "ec2:VolumeSize": str(found.size_gib), "ec2:VolumeType": found.performance.type,
                    "ec2:Encrypted": _said(found.encrypted)}
        case Snapshot() as found:
            return {"ec2:SnapshotID": found.id, "ec2:Owner": found.owner_alias or found.account,
                    "ec2:VolumeSize": str(found.size_gib), "ec2:Encrypted": _said(found.encrypted),
                    "ec2:ParentVolume": _arn(found, f"volume/{found.volume_id}")}
        case Image() as found:
            return {"ec2:ImageID": found.id, "ec2:Owner": found.owner_alias or found.account,
                    "ec2:Public": _said(found.public), "ec2:ImageType": "machine", "ec2:RootDeviceType": "ebs"}
    return {}


def _said(value: bool) -> str:
    return "true" if value else "false"


def _arn(found: Any, resource: str) -> str:
    return f"arn:aws:ec2:{found.region}:{found.account}:{resource}"


def _vpc(found: Any) -> str:
    return _arn(found, f"vpc/{found.vpc_id}")
