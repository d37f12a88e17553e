"""Attaching volumes to instances and taking them off, while those run or stand still.

https://docs.aws.amazon.com/ebs/latest/userguide/ebs-attaching-volume.html
"""

from dataclasses import replace

from cloudlet.kernel.call import Call
from cloudlet.kernel.service import Input, Output
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.storage.mappings import VOLUMES_MAX, require_device
from cloudlet.services.ec2.storage.records import Attachment, Volume
from cloudlet.services.ec2.storage.volumes import attachment_view
from cloudlet.store.db import Tx


@ec2.write(resources=touches(volume="VolumeId", instance="InstanceId"))
def attach_volume(call: Call, tx: Tx, request: Input) -> Output:
    """The instance gets the volume: at once while it runs, else when it is started."""
    refuse(request, "EbsCardIndex")
    volume = find(tx, call, Volume, request["VolumeId"])
    instance = find(tx, call, Instance, request["InstanceId"])
    device = require_device(request["Device"])
    if volume.attachment:
        raise api.VolumeInUse(f"{volume.id} is already attached to an instance")
    if volume.state != "available":
        raise api.IncorrectState(f"{volume.id} is not 'available'.")
    if instance.state not in ("running", "stopped"):
        raise api.IncorrectState(f"Instance '{instance.id}' is not 'running' or 'stopped'.")
    if volume.zone != instance.zone:
        raise api.InvalidVolumeZoneMismatch(f"The volume '{volume.id}' is not in the same availability zone as "
                                            f"instance '{instance.id}'")
    others = tx.find(Volume, instance=instance.id)
    if any(other.attachment and other.attachment.device == device for other in others):
        raise api.InvalidParameterValue(f"Invalid value '{device}' for unixDevice. Attachment point {device} is already"
                                        " in use")
    if len(others) >= VOLUMES_MAX:
        raise api.AttachmentLimitExceeded(f"An instance may have {VOLUMES_MAX} volumes.")
    volume = replace(volume, attachment=Attachment(instance.id, device, tx.now), plugged=instance.state == "stopped")
    tx.put(volume)
    tx.enqueue("ec2.instance", instance.key)
    return attachment_view(volume, state="attaching")


@ec2.write(resources=touches(volume="VolumeId", instance="InstanceId"))
def detach_volume(call: Call, tx: Tx, request: Input) -> Output:
    """The volume leaves its instance as soon as the guest lets go; one that stands still has nothing to say."""
    volume = find(tx, call, Volume, request["VolumeId"])
    attachment = volume.attachment
    if attachment is None:
        raise api.IncorrectState(f"Volume '{volume.id}' is in the '{volume.state}' state.")
    if (request.get("InstanceId") not in (None, "", attachment.instance_id)
            or request.get("Device") not in (None, "", attachment.device)):
        raise api.InvalidAttachmentNotFound(f"The volume '{volume.id}' is not attached to instance "
                                            f"'{request.get('InstanceId') or attachment.instance_id}' as device "
                                            f"'{request.get('Device') or attachment.device}'.")
    instance = tx.get(Instance, f"{call.scope}/{attachment.instance_id}")
    stands = instance is None or instance.state in ("stopped", "terminated")
    if instance is not None and not stands and attachment.device == instance.root_device_name:
        raise api.OperationNotPermitted(f"Unable to detach root volume '{volume.id}' from instance '{instance.id}'")
    leaving = replace(volume, attachment=replace(attachment, wanted=False))
    tx.put(replace(volume, attachment=None, plugged=False) if stands else leaving)
    if instance is not None:
        tx.enqueue("ec2.instance", instance.key)
    return attachment_view(leaving)
