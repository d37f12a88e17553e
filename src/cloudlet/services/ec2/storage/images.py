"""Machine images (AMIs): the installation's own and those that customers make, described.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AMIs.html
"""

from datetime import UTC, datetime
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2
from cloudlet.services.ec2.storage.image_aliases import resolve_image
from cloudlet.services.ec2.storage.mappings import mapping_view
from cloudlet.services.ec2.storage.records import Image
from cloudlet.services.ec2.storage.sharing import find_image, is_usable, of_owners, open_to, stock_images
from cloudlet.services.ec2.storage.volumes import tags_of_view
from cloudlet.services.ec2.tags import tag_set
from cloudlet.store.db import Tx


def image_for_launch(tx: Tx, call: Call, id: str) -> Image:
    """An image that the caller may launch now, by its id or by a parameter that names it. Raises InvalidAMIID.NotFound,
    …Malformed or …Unavailable, and what `resolve_image` raises."""
    id = resolve_image(tx, call, id)
    found = find_image(tx, call, id)
    if found.state != "available":
        raise api.InvalidAmiUnavailable(f"The image ID '{id}' is not available. Its state is '{found.state}'.")
    return found


def timestamp(at: float) -> str:
    """A time as images have it: `2026-11-25T12:00:00.000Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _view(image: Image) -> dict[str, Any]:
    view: dict[str, Any] = {
        "ImageId": image.id, "Name": image.name, "Description": image.description, "OwnerId": image.account,
        "ImageLocation": f"{image.owner_alias or image.account}/{image.name}", "State": image.state,
        "CreationDate": timestamp(image.created), "Public": image.public, "Architecture": "x86_64",
        "ImageType": "machine", "PlatformDetails": "Linux/UNIX", "UsageOperation": "RunInstances",
        "RootDeviceName": image.root_device, "RootDeviceType": "ebs", "VirtualizationType": "hvm",
        "Hypervisor": "xen",
        "BlockDeviceMappings": [mapping_view(m) for m in image.mappings],
        "Tags": tag_set(image.tags), "ProductCodes": [],
        "DeregistrationProtection": "enabled" if image.deregistration_protection else "disabled",
    }
    for name, value in (("ImageOwnerAlias", image.owner_alias), ("SourceInstanceId", image.source_instance),
                        ("SourceImageId", image.source_image), ("SourceImageRegion", image.source_region),
                        ("BootMode", image.boot_mode), ("SriovNetSupport", image.sriov)):
        if value:
            view[name] = value
    if image.ena:
        view["EnaSupport"] = True
    if image.imds_v2:
        view["ImdsSupport"] = "v2.0"
    if image.deprecated_at is not None:
        view["DeprecationTime"] = timestamp(image.deprecated_at)
    if image.problem:
        view["StateReason"] = {"Code": "Server.InternalError", "Message": image.problem}
    return view



def _texts(name: str) -> Any:
    return lambda v: [str(m["Ebs"][name]) if not isinstance(m["Ebs"][name], bool) else str(m["Ebs"][name]).lower()
                      for m in v["BlockDeviceMappings"] if name in m["Ebs"]]


_FILTERS: dict[str, Any] = {
    "architecture": lambda v: v["Architecture"],
    "block-device-mapping.delete-on-termination": _texts("DeleteOnTermination"),
    "block-device-mapping.device-name": lambda v: [m["DeviceName"] for m in v["BlockDeviceMappings"]],
    "block-device-mapping.encrypted": _texts("Encrypted"),
    "block-device-mapping.snapshot-id": _texts("SnapshotId"),
    "block-device-mapping.volume-size": _texts("VolumeSize"),
    "block-device-mapping.volume-type": _texts("VolumeType"),
    "creation-date": lambda v: v["CreationDate"],
    "description": lambda v: v["Description"],
    "ena-support": lambda v: v.get("EnaSupport", False),
    "hypervisor": lambda v: v["Hypervisor"],
    "image-allowed": lambda v: None,
    "image-id": lambda v: v["ImageId"],
    "image-type": lambda v: v["ImageType"],
    "is-public": lambda v: v["Public"],
    "kernel-id": lambda v: None,
    "manifest-location": lambda v: v["ImageLocation"],
    "name": lambda v: v["Name"],
    "owner-alias": lambda v: v.get("ImageOwnerAlias"),
    "owner-id": lambda v: v["OwnerId"],
    "platform": lambda v: None,
    "platform-details": lambda v: v["PlatformDetails"],
    "product-code": lambda v: None,
    "product-code.type": lambda v: None,
    "ramdisk-id": lambda v: None,
    "root-device-name": lambda v: v["RootDeviceName"],
    "root-device-type": lambda v: v["RootDeviceType"],
    "source-image-id": lambda v: v.get("SourceImageId"),
    "source-image-region": lambda v: v.get("SourceImageRegion"),
    "source-instance-id": lambda v: v.get("SourceInstanceId"),
    "sriov-net-support": lambda v: v.get("SriovNetSupport"),
    "state": lambda v: v["State"],
    "state-reason-code": lambda v: v.get("StateReason", {}).get("Code"),
    "state-reason-message": lambda v: v.get("StateReason", {}).get("Message"),
    "usage-operation": lambda v: v["UsageOperation"],
    "virtualization-type": lambda v: v["VirtualizationType"],
}


@ec2.read(resources=any_resource)
def describe_images(call: Call, tx: Tx, request: Input) -> Output:
    """Images that the caller may see: by id, by owner, by who may launch them, by filter."""
    if request.get("ImageIds"):
        found = [find_image(tx, call, id) for id in dict.fromkeys(request["ImageIds"])]
    else:
        found = [i for i in tx.find(Image) if i.region == call.region and is_usable(call, i)]
        found += stock_images(tx, call.region)
        # Who asks by id, or owns it, sees what is deprecated; others must ask for it.
        found = [i for i in found if request.get("IncludeDeprecated") or i.account == call.account
                 or i.deprecated_at is None or i.deprecated_at > call.now]
        found = [i for i in found if i.state != "disabled" or request.get("IncludeDisabled")]
    found = open_to(of_owners(found, request.get("Owners"), call), request.get("ExecutableUsers"), call)
    return {"Images": matching([_view(i) for i in found], request.get("Filters"), _FILTERS, tags_of_view)}
