"""Images that customers make: of an instance, of snapshots, of another image; and taking them out of use.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/creating-an-ami-ebs.html
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2, refuse, require, touches
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.storage.attachments import attached
from cloudlet.services.ec2.storage.mappings import read_mappings
from cloudlet.services.ec2.storage.records import Image, Mapping, Snapshot, StockImage
from cloudlet.services.ec2.storage.sharing import find_image, find_snapshot, own_image, stock_image
from cloudlet.services.ec2.storage.snapshots import copied_snapshot, make_snapshot, release_snapshot
from cloudlet.services.ec2.tags import tags_for
from cloudlet.store.db import Tx

_NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")


def _new(tx: Tx, call: Call, request: Input, root_device: str, mappings: tuple[Mapping, ...]) -> Image:
    """The record of a new image, not yet kept. Raises InvalidAMIName.Malformed or …Duplicate."""
    name = request["Name"]
    if not _NAME.fullmatch(name):
        raise api.InvalidAmiNameMalformed("AMI names must be between 3 and 128 characters long, and may contain "
                                          "letters, numbers, '(', ')', '.', '-', '/' and '_'")
    other = next((image for image in tx.find(Image, f"{call.scope}/") if image.name == name), None)
    if other is not None:
        raise api.InvalidAmiNameDuplicate(f"AMI name {name} is already in use by AMI {other.id}")
    id = f"ami-{tx.token(17)}"
    return Image(f"{call.scope}/{id}", id, call.account, call.region, name, tx.now, root_device, mappings,
                 request.get("Description") or "", tags=_tags(request, "image"))


def _tags(request: Input, resource_type: str) -> dict[str, str]:
    """The tags of the image, or of its snapshots."""
    given = request.get("TagSpecifications") or ()
    mine = [item for item in given if item.get("ResourceType") == resource_type]
    others = [item for item in given if item.get("ResourceType") not in ("image", "snapshot")]
    return tags_for({"TagSpecifications": [*mine, *others]}, resource_type)


def _inherited(tx: Tx, region: str, image_id: str, image: Image) -> Image:
    """The image of an instance with what stays as it was of the image that the instance began as, if that is there."""
    stock = tx.get(StockImage, image_id)
    before = stock_image(stock, region) if stock else next(
        (found for found in tx.find(Image, id=image_id) if found.region == region), None)
    return image if before is None else replace(
        image, user=before.user, imds_v2=before.imds_v2, boot_mode=before.boot_mode, sriov=before.sriov, ena=before.ena)


@ec2.write(resources=touches(image="", snapshot="", instance="InstanceId"))
def create_image(call: Call, tx: Tx, request: Input) -> Output:
    """An image of an instance's volumes. One that runs is shut down for it and started again, unless `NoReboot`."""
    refuse(request, "BootModeOverride")
    if request.get("SnapshotLocation") not in (None, "regional"):
        raise api.UnsupportedOperation("Snapshots are kept in the region only.")
    instance = find(tx, call, Instance, request["InstanceId"])
    if instance.state not in ("running", "stopped"):
        raise api.IncorrectState(f"The instance '{instance.id}' is in the state '{instance.state}'.")
    given = request.get("BlockDeviceMappings") or ()
    without = {item.get("DeviceName") for item in given if item.get("NoDevice") is not None}
    if instance.root_device_name in without:
        raise api.InvalidBlockDeviceMapping(f"The root device '{instance.root_device_name}' cannot be left out")
    reboots = instance.state == "running" and not request.get("NoReboot")
    image = _new(tx, call, request, instance.root_device_name, ())
    devices = []
    for volume in attached(tx, instance.id, instance.root_device_name):
        attachment = volume.attachment
        if attachment is None or attachment.device in without:
            continue
        snapshot = make_snapshot(tx, call, volume, f"Created by CreateImage({instance.id}) for {image.id}",
                                 _tags(request, "snapshot"), after=instance.key if reboots else "")
        devices.append(Mapping(attachment.device, volume.performance, snapshot.id, attachment.delete_on_termination,
                               volume.encrypted))
    image = replace(image, mappings=read_mappings(tx, call, given, devices, instance.root_device_name),
                    source_instance=instance.id, source_image=instance.image_id, source_region=call.region)
    tx.put(_inherited(tx, call.region, instance.image_id, image))
    if reboots:
        tx.put(replace(instance, rebooting_at=instance.rebooting_at or tx.now))
    return {"ImageId": image.id}


@ec2.write(resources=touches(image=""))
def register_image(call: Call, tx: Tx, request: Input) -> Output:
    """An image of snapshots: what starts the instance is that of the root snapshot."""
    refuse(request, "ImageLocation", "BillingProducts", "TpmSupport", "UefiData", "KernelId", "RamdiskId")
    for member, known in (("Architecture", "x86_64"), ("VirtualizationType", "hvm"), ("BootMode", "legacy-bios"),
                          ("ImdsSupport", "v2.0"), ("SriovNetSupport", "simple")):
        if request.get(member) not in (None, "", known):
            raise api.UnsupportedOperation(f"Value ({request[member]}) for parameter {member} is not supported; only "
                                           f"{known} is.")
    root = require(request, "RootDeviceName")
    mappings = read_mappings(tx, call, request.get("BlockDeviceMappings"), root=root)
    if not any(mapping.device == root and mapping.snapshot_id for mapping in mappings):
        raise api.InvalidBlockDeviceMapping("No root snapshot specified in device mapping")
    image = replace(_new(tx, call, request, root, mappings), imds_v2=bool(request.get("ImdsSupport")),
                    boot_mode=request.get("BootMode") or "", sriov=request.get("SriovNetSupport") or "",
                    ena=bool(request.get("EnaSupport")))
    tx.put(image)
    return {"ImageId": image.id}


@ec2.write(resources=touches(image=""))
def copy_image(call: Call, tx: Tx, request: Input) -> Output:
    """An image of the caller's own with the content of one in any region, whose data it shares."""
    refuse(request, "KmsKeyId", "DestinationOutpostArn", "SnapshotCopyCompletionDurationMinutes",
           "DestinationAvailabilityZone", "DestinationAvailabilityZoneId")
    there = msgspec.structs.replace(call, region=request["SourceRegion"])
    source = find_image(tx, there, request["SourceImageId"])
    if source.state != "available":
        raise api.InvalidAmiUnavailable(f"The image ID '{source.id}' is not available. Its state is '{source.state}'.")
    description = request.get("Description") or f"[Copied {source.id} from {there.region}] {source.name}"
    image = _new(tx, call, {**request, "Description": description}, source.root_device, ())
    mappings, encrypted = [], bool(request.get("Encrypted"))
    for mapping in source.mappings:
        if mapping.snapshot_id:
            copy = copied_snapshot(
                tx, call, find_snapshot(tx, there, mapping.snapshot_id),
                f"Copied for DestinationAmi {image.id} from SourceAmi {source.id} for SourceSnapshot "
                f"{mapping.snapshot_id}.", _tags(request, "snapshot"), encrypted=encrypted)
            mapping = replace(mapping, snapshot_id=copy.id, encrypted=copy.encrypted)
        mappings.append(mapping)
    copied = {k: v for k, v in source.tags.items() if not k.startswith("aws:")} if request.get("CopyImageTags") else {}
    tx.put(replace(image, mappings=tuple(mappings), user=source.user, imds_v2=source.imds_v2,
                   boot_mode=source.boot_mode, sriov=source.sriov, ena=source.ena, source_image=source.id,
                   source_region=there.region, tags={**copied, **image.tags}))
    return {"ImageId": image.id}


@ec2.write(resources=touches(image="ImageId"))
def deregister_image(call: Call, tx: Tx, request: Input) -> Output:
    """Nobody launches it any more; instances of it and its snapshots stay, unless those are to go with it. An image
    that was imported and is the caller's goes from the shelf, with its snapshot."""
    stock = tx.get(StockImage, request["ImageId"])
    if stock is not None and stock.owner == call.account and not stock.withdrawn:
        tx.put(replace(stock, withdrawn=True))
        return {"Return": True, "DeleteSnapshotResults": []}
    image = own_image(tx, call, request["ImageId"])
    if image.deregistration_protection:
        raise api.OperationNotPermitted(f"The image '{image.id}' is protected from deregistration.")
    tx.delete(Image, image.key)
    ids = [m.snapshot_id for m in image.mappings if m.snapshot_id] if request.get("DeleteAssociatedSnapshots") else []
    return {"Return": True, "DeleteSnapshotResults": list(_released(tx, call, ids))}


def _released(tx: Tx, call: Call, ids: Iterable[str]) -> Iterable[dict[str, Any]]:
    for id in ids:
        snapshot, code = tx.get(Snapshot, f"{call.scope}/{id}"), "success"
        if snapshot is None:
            code = "missing-permissions"
        elif any(other.region == call.region for other in tx.find(Image, snapshot=id)):
            code = "skipped"  # another image uses it
        elif not snapshot.releasing:
            release_snapshot(tx, snapshot)
        yield {"SnapshotId": id, "ReturnCode": code}
