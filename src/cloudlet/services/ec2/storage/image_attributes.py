"""What may be changed about an image: who launches it, its description, and how long it is in use.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/sharing-amis.html
"""

from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.storage.images import timestamp
from cloudlet.services.ec2.storage.mappings import mapping_view
from cloudlet.services.ec2.storage.records import StorageDefaults
from cloudlet.services.ec2.storage.sharing import changed, own_image, permissions
from cloudlet.store.db import Tx

_YEARS_10_S = 10 * 365.25 * 86400


@ec2.write(resources=touches(image="ImageId"))
def modify_image_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Sets one attribute: the launch permission, the description, or that instances need tokens for their metadata."""
    refuse(request, "ProductCodes", "OrganizationArns", "OrganizationalUnitArns")
    image = own_image(tx, call, request["ImageId"])
    attribute, value = request.get("Attribute"), request.get("Value")
    if request.get("Description") is not None or attribute == "description":
        text = (request.get("Description") or {}).get("Value")
        tx.put(replace(image, description=(value if text is None else text) or ""), wake=False)
    elif request.get("ImdsSupport") is not None or attribute == "imdsSupport":
        if ((request.get("ImdsSupport") or {}).get("Value") or value) != "v2.0":
            raise api.InvalidParameterValue("The only value for imdsSupport is v2.0")
        tx.put(replace(image, imds_v2=True), wake=False)
    elif request.get("LaunchPermission") or request.get("UserIds") or request.get("UserGroups"):
        after = changed(image, request, "LaunchPermission")
        blocked = tx.get(StorageDefaults, call.scope)
        if after.public and not image.public and blocked and blocked.images_blocked:
            raise api.OperationNotPermitted("You can't publicly share this image: block public access is enabled.")
        if image.state == "disabled":
            raise api.InvalidAmiUnavailable(f"The image ID '{image.id}' is disabled.")
        tx.put(after, wake=False)
    else:
        raise api.MissingParameter("The request must contain an attribute to be modified")


@ec2.write(resources=touches(image="ImageId"))
def reset_image_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Its owner alone launches it again."""
    if request["Attribute"] != "launchPermission":
        raise api.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
    tx.put(replace(own_image(tx, call, request["ImageId"]), shared_with=(), public=False), wake=False)


@ec2.read(resources=touches(image="ImageId"))
def describe_image_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """One attribute of one image."""
    image = own_image(tx, call, request["ImageId"])
    members: dict[str, dict[str, Any]] = {
        "description": {"Description": {"Value": image.description}},
        "launchPermission": {"LaunchPermissions": permissions(image)},
        "blockDeviceMapping": {"BlockDeviceMappings": [mapping_view(m) for m in image.mappings]},
        "productCodes": {"ProductCodes": []},
        "kernel": {"KernelId": {}}, "ramdisk": {"RamdiskId": {}},
        "sriovNetSupport": {"SriovNetSupport": {"Value": image.sriov} if image.sriov else {}},
        "tpmSupport": {"TpmSupport": {}}, "uefiData": {"UefiData": {}},
        "bootMode": {"BootMode": {"Value": image.boot_mode} if image.boot_mode else {}},
        "imdsSupport": {"ImdsSupport": {"Value": "v2.0"} if image.imds_v2 else {}},
        "deregistrationProtection": {"DeregistrationProtection": {
            "Value": "enabled" if image.deregistration_protection else "disabled"}},
    }
    if request["Attribute"] not in members:
        raise api.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
    return {"ImageId": image.id, **members[request["Attribute"]]}


@ec2.write(resources=touches(image="ImageId"))
def enable_image_deprecation(call: Call, tx: Tx, request: Input) -> Output:
    """From that minute on, others see the image only where they ask for it by id."""
    image, at = own_image(tx, call, request["ImageId"]), float(request["DeprecateAt"])
    if not tx.now <= at <= tx.now + _YEARS_10_S:
        raise api.InvalidParameterValue(f"Value ({timestamp(at)}) for parameter deprecateAt is invalid. It must lie in "
                                        "the next ten years.")
    tx.put(replace(image, deprecated_at=at - at % 60), wake=False)
    return {"Return": True}


@ec2.write(resources=touches(image="ImageId"))
def disable_image_deprecation(call: Call, tx: Tx, request: Input) -> Output:
    """It is no longer deprecated, and will not be."""
    tx.put(replace(own_image(tx, call, request["ImageId"]), deprecated_at=None), wake=False)
    return {"Return": True}


@ec2.write(resources=touches(image="ImageId"))
def disable_image(call: Call, tx: Tx, request: Input) -> Output:
    """Nobody launches it, and it is shared with nobody, until it is enabled again."""
    image = own_image(tx, call, request["ImageId"])
    if image.state not in ("available", "disabled"):
        raise api.InvalidAmiUnavailable(f"The image ID '{image.id}' is in the state '{image.state}'.")
    tx.put(replace(image, state="disabled", shared_with=(), public=False), wake=False)
    return {"Return": True}


@ec2.write(resources=touches(image="ImageId"))
def enable_image(call: Call, tx: Tx, request: Input) -> Output:
    """It may be launched again."""
    image = own_image(tx, call, request["ImageId"])
    if image.state == "disabled":
        tx.put(replace(image, state="available"), wake=False)
    return {"Return": True}


@ec2.write(resources=touches(image="ImageId"))
def enable_image_deregistration_protection(call: Call, tx: Tx, request: Input) -> Output:
    """It cannot be deregistered until the protection is taken away."""
    refuse(request, "WithCooldown")
    tx.put(replace(own_image(tx, call, request["ImageId"]), deregistration_protection=True), wake=False)
    return {"Return": "enabled-without-cooldown"}


@ec2.write(resources=touches(image="ImageId"))
def disable_image_deregistration_protection(call: Call, tx: Tx, request: Input) -> Output:
    """It may be deregistered."""
    tx.put(replace(own_image(tx, call, request["ImageId"]), deregistration_protection=False), wake=False)
    return {"Return": "disabled"}


# ── Keeping all images of an account from the public ─────────────────────────────────────────────────────────────────


def _note_block(call: Call, tx: Tx, *, blocked: bool) -> str:
    defaults = tx.get(StorageDefaults, call.scope) or StorageDefaults(call.scope)
    tx.put(replace(defaults, images_blocked=blocked))
    return "block-new-sharing" if blocked else "unblocked"


@ec2.read(resources=any_resource)
def get_image_block_public_access_state(call: Call, tx: Tx, request: Input) -> Output:
    """Whether images of the account can be made public; they can until that is blocked."""
    defaults = tx.get(StorageDefaults, call.scope)
    return {"ImageBlockPublicAccessState": "block-new-sharing" if defaults and defaults.images_blocked
            else "unblocked", "ManagedBy": "account"}


@ec2.write(resources=any_resource)
def enable_image_block_public_access(call: Call, tx: Tx, request: Input) -> Output:
    """No further image of the account can be made public."""
    if request["ImageBlockPublicAccessState"] != "block-new-sharing":
        raise api.InvalidParameterValue("The only value for imageBlockPublicAccessState is block-new-sharing")
    return {"ImageBlockPublicAccessState": _note_block(call, tx, blocked=True)}


@ec2.write(resources=any_resource)
def disable_image_block_public_access(call: Call, tx: Tx, request: Input) -> Output:
    """Images of the account can be made public."""
    return {"ImageBlockPublicAccessState": _note_block(call, tx, blocked=False)}
