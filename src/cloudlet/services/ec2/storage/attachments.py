"""What instances need of the volumes that are attached to them."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from cloudlet.services.ec2.storage.records import Attachment, Snapshot, Volume
from cloudlet.store.db import Tx


def _all(tx: Tx, instance_id: str, root_device: str) -> list[tuple[Volume, Attachment]]:
    return _in_order(tx.find(Volume, instance=instance_id), root_device)


def _in_order(volumes: Iterable[Volume], root_device: str) -> list[tuple[Volume, Attachment]]:
    found = [(volume, volume.attachment) for volume in volumes if volume.attachment]
    return sorted(found, key=lambda pair: (pair[1].device != root_device, pair[1].at, pair[1].device))


def attached(tx: Tx, instance_id: str, root_device: str = "") -> tuple[Volume, ...]:
    """The volumes that an instance is to have, those that are still being made too: the root volume first, the others
    in the order in which they came. A volume that is to leave is none of them."""
    return tuple(volume for volume, attachment in _all(tx, instance_id, root_device) if attachment.wanted)


def attachment_problem(tx: Tx, instance_id: str) -> str:
    """Why one of an instance's volumes cannot be made; "" while nothing is known to be wrong."""
    return next((volume.problem for volume in attached(tx, instance_id) if volume.problem), "")


def must_stand_still(tx: Tx, instance_key: str) -> bool:
    """Whether the instance must not be powered on yet, because an image of it is being made."""
    return tx.count(Snapshot, after=instance_key) > 0


def mark_plugged(tx: Tx, instance_id: str, disks: Collection[str] | None) -> None:
    """Records what was observed of an instance: the engine names of the disks that its machine has now; None where it
    has no machine, so that what is attached to it stands and what was to leave has left."""
    for volume, attachment in _all(tx, instance_id, ""):
        if not attachment.wanted and (disks is None or volume.disk not in disks):
            tx.put(replace(volume, attachment=None, plugged=False))
        elif attachment.wanted:
            plugged = volume.disk_ready and (disks is None or volume.disk in disks)
            if volume.plugged != plugged:
                tx.put(replace(volume, plugged=plugged), wake=False)


def release_volumes(tx: Tx, instance_id: str) -> None:
    """The instance is terminated and its machine is gone: its volumes go with it, or are free."""
    for volume, attachment in _all(tx, instance_id, ""):
        tx.put(replace(volume, attachment=None, plugged=False, deleting=attachment.delete_on_termination))


def set_delete_on_termination(tx: Tx, instance_id: str, device: str, value: bool) -> bool:
    """Whether the volume at a device goes with the instance; False where nothing is attached there."""
    for volume, attachment in _all(tx, instance_id, ""):
        if attachment.device == device:
            tx.put(replace(volume, attachment=replace(attachment, delete_on_termination=value)), wake=False)
            return True
    return False


def device_views(volumes: Iterable[Volume], root_device: str = "") -> list[dict[str, Any]]:
    """The `BlockDeviceMappings` of the instance that has these volumes, as answers show them."""
    return [{"DeviceName": attachment.device, "Ebs": {
        "VolumeId": volume.id, "Status": volume.attachment_state, "AttachTime": attachment.at,
        "DeleteOnTermination": attachment.delete_on_termination}}
        for volume, attachment in _in_order(volumes, root_device)]
