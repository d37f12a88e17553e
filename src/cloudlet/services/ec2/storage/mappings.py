"""Block device mappings: what volumes an image's instances start with, as images and launches write it.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html
"""

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.storage.performance import NOT_FOR_ROOTS, order, order_of
from cloudlet.services.ec2.storage.records import Attachment, Image, Performance, StorageDefaults, Volume
from cloudlet.services.ec2.storage.records import Mapping as Device
from cloudlet.services.ec2.storage.sharing import any_snapshot, find_snapshot
from cloudlet.services.ec2.storage.volumes import make_volume, require_space
from cloudlet.store.db import Tx

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html
_DEVICE = re.compile(r"/dev/(sd[a-z]([1-9]|1[0-5])?|xvd[a-z]|xvd[b-d][a-z]|hd[a-z]([1-9]|1[0-5])?)|xvd[a-z]|sd[a-z]")
_FIGURES = "Iops", "Throughput"
VOLUMES_MAX = 13  # of an instance: beside the first, what a machine has ports for, with some left for network cards


def require_device(name: str) -> str:
    """A device name that AWS takes. Raises InvalidParameterValue."""
    if not _DEVICE.fullmatch(name):
        raise api.InvalidParameterValue(f"Value ({name}) for parameter device is invalid. {name} is not a valid EBS "
                                        "device name.")
    return name


def read_mappings(tx: Tx, call: Call, given: Iterable[Mapping[str, Any]] | None, base: Iterable[Device] = (),
                  root: str = "") -> tuple[Device, ...]:
    """The devices of `base` with what a request adds, changes or takes away (`NoDevice`). Raises EC2's errors."""
    devices = {device.device: device for device in base}
    known = {device.snapshot_id for device in devices.values()}  # whoever may launch an image may use its snapshots
    seen: set[str] = set()
    for item in given or ():
        name = item.get("DeviceName")
        if not name:
            raise api.MissingParameter("The request must contain the parameter deviceName")
        if name in seen:
            raise api.InvalidBlockDeviceMapping(f"The device '{name}' is used in more than one block-device mapping")
        seen.add(name)
        if item.get("NoDevice") is not None:
            devices.pop(name, None)
        elif item.get("Ebs") is not None:
            devices[name] = _device(tx, call, require_device(name), item["Ebs"], devices.get(name), known)
        elif not item.get("VirtualName"):  # instance store volumes: the types here have none, as AWS ignores them then
            raise api.MissingParameter(f"The device '{name}' needs Ebs, VirtualName or NoDevice")
    if root and root in devices and devices[root].performance.type in NOT_FOR_ROOTS:
        raise api.InvalidBlockDeviceMapping(f"Volume type {devices[root].performance.type} cannot be a root device.")
    return tuple(devices.values())


def _device(tx: Tx, call: Call, name: str, ebs: Mapping[str, Any], before: Device | None,
            known: Container[str]) -> Device:
    for member in ("KmsKeyId", "OutpostArn", "VolumeInitializationRate", "EbsCardIndex"):
        if ebs.get(member):
            raise api.UnsupportedOperation(f"The parameter {member} is not supported.")
    snapshot_id = ebs.get("SnapshotId") or (before.snapshot_id if before else "")
    size_gib, encrypted = ebs.get("VolumeSize"), bool(ebs.get("Encrypted"))
    if snapshot_id:
        snapshot = (any_snapshot if snapshot_id in known else find_snapshot)(tx, call, snapshot_id)
        encrypted = encrypted or snapshot.encrypted
        size_gib = snapshot.size_gib if size_gib is None else size_gib
        if before and not ebs.get("VolumeSize") and not ebs.get("SnapshotId"):
            size_gib = before.performance.size_gib
        if size_gib < snapshot.size_gib:
            raise api.InvalidBlockDeviceMapping(f"Volume of size {size_gib}GB is smaller than snapshot "
                                                f"'{snapshot_id}', expect size >= {snapshot.size_gib}GB")
    elif size_gib is None:
        if before is None:
            raise api.MissingParameter(f"The device '{name}' needs a snapshot or a size")
        size_gib = before.performance.size_gib
    performance = _performance(ebs, size_gib, before)
    keep = before.delete_on_termination if before else True
    delete = ebs.get("DeleteOnTermination")
    kept = before.said if before and before.performance.type == performance.type else ()
    said = tuple(figure for figure in _FIGURES if ebs.get(figure) is not None or figure in kept)
    return Device(name, performance, snapshot_id, keep if delete is None else bool(delete), encrypted, said)


def _performance(ebs: Mapping[str, Any], size_gib: int, before: Device | None) -> Performance:
    """As ordered; of what is not said, the image's word counts while the type is the same."""
    if before is None or ebs.get("VolumeType") not in (None, before.performance.type):
        return order_of(ebs, size_gib)
    known = before.performance
    iops = ebs.get("Iops", known.iops if known.type != "gp2" else None)
    return order(size_gib, known.type, iops, ebs.get("Throughput", known.throughput))


def mapping_view(device: Device) -> dict[str, Any]:
    """A device of an image as answers show it."""
    performance = device.performance
    ebs: dict[str, Any] = {"DeleteOnTermination": device.delete_on_termination, "VolumeType": performance.type,
                           "VolumeSize": performance.size_gib, "Encrypted": device.encrypted}
    if device.snapshot_id:
        ebs["SnapshotId"] = device.snapshot_id
    # What its type comes with anyway is shown only if it was said, as on AWS.
    usual = order(performance.size_gib, performance.type, None, None) if performance.type == "gp3" else None
    for figure, value, common in (("Iops", performance.iops, usual and usual.iops),
                                  ("Throughput", performance.throughput, usual and usual.throughput)):
        if value is not None and performance.type != "gp2" and (value != common or figure in device.said):
            ebs[figure] = value
    return {"DeviceName": device.device, "Ebs": ebs}


# ── Launches ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def volumes_for(tx: Tx, call: Call, *, image: Image, mappings: Iterable[Mapping[str, Any]] | None, zone: str,
                tags: Mapping[str, str], instance_id: str) -> tuple[Volume, ...]:
    """Makes the volumes that an instance of the image starts with, attached to it, the root volume first. `mappings`
    are the launch's own. Raises EC2's errors, also where the host's disk is known to be full."""
    require_space(tx)
    devices = read_mappings(tx, call, mappings, image.mappings, image.root_device)
    by_name = {device.device: device for device in devices}
    if image.root_device not in by_name:
        raise api.InvalidBlockDeviceMapping(f"The root device '{image.root_device}' cannot be taken away")
    if len(devices) > VOLUMES_MAX:
        raise api.AttachmentLimitExceeded(f"An instance may have {VOLUMES_MAX} volumes.")
    defaults = tx.get(StorageDefaults, call.scope)
    made = []
    for device in sorted(devices, key=lambda d: (d.device != image.root_device, d.device)):
        snapshot = any_snapshot(tx, call, device.snapshot_id) if device.snapshot_id else None
        volume = make_volume(tx, call, zone, device.performance, snapshot=snapshot, tags=tags,
                             encrypted=device.encrypted or bool(defaults and defaults.encrypted))
        volume = replace(volume, attachment=Attachment(instance_id, device.device, tx.now,
                                                       device.delete_on_termination))
        tx.put(volume)
        made.append(volume)
    return tuple(made)
