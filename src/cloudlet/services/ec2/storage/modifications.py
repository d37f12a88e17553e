"""Changing a volume's order: larger, of another type, faster; and what holds for all new volumes of an account.

https://docs.aws.amazon.com/ebs/latest/userguide/ebs-modify-volume.html
"""

from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.nouns import described, find
from cloudlet.services.ec2.storage.performance import order
from cloudlet.services.ec2.storage.records import Modification, StorageDefaults, Volume
from cloudlet.store.db import Tx


def _state(change: Modification) -> str:
    """There is nothing to optimize here: no data moves."""
    if change.ended is None:
        return "modifying"
    return "failed" if change.problem else "completed"


def _view(volume: Volume, change: Modification) -> dict[str, Any]:
    view: dict[str, Any] = {
        "VolumeId": volume.id, "ModificationState": _state(change), "StartTime": change.started,
        "Progress": 100 if change.ended is not None and not change.problem else 0,
        "TargetMultiAttachEnabled": False, "OriginalMultiAttachEnabled": False,
    }
    for prefix, performance in (("Original", change.original), ("Target", change.target)):
        view |= {f"{prefix}Size": performance.size_gib, f"{prefix}VolumeType": performance.type}
        if performance.iops is not None:
            view[f"{prefix}Iops"] = performance.iops
        if performance.throughput is not None:
            view[f"{prefix}Throughput"] = performance.throughput
    if change.ended is not None:
        view["EndTime"] = change.ended
    if change.problem:
        view["StatusMessage"] = change.problem
    return view


@ec2.write(resources=touches(volume="VolumeId"))
def modify_volume(call: Call, tx: Tx, request: Input) -> Output:
    """Orders the volume anew; it goes on being used meanwhile, and a running instance sees it grow."""
    refuse(request, "MultiAttachEnabled")
    volume = find(tx, call, Volume, request["VolumeId"])
    if not volume.disk_ready or volume.problem or volume.deleting:
        raise api.IncorrectState(f"The volume '{volume.id}' is in the state '{volume.state}'.")
    if volume.modification is not None and volume.modification.ended is None:
        raise api.IncorrectModificationState(f"Cannot modify {volume.id}: it is currently being modified.")
    known = volume.performance
    if not any(request.get(member) for member in ("Size", "VolumeType", "Iops", "Throughput")):
        raise api.MissingParameter("The request must contain the parameter size, volumeType, iops or throughput")
    size_gib = request.get("Size") or known.size_gib
    if size_gib < known.size_gib:
        raise api.InvalidParameterValue("New size cannot be smaller than existing size")
    type = request.get("VolumeType") or known.type
    same = type == known.type
    target = order(size_gib, type, request.get("Iops") or (known.iops if same and type != "gp2" else None),
                   request.get("Throughput") or (known.throughput if same else None))
    change = Modification(known, target, tx.now)
    tx.put(replace(volume, modification=change))
    return {"VolumeModification": _view(volume, change)}


@ec2.read(resources=any_resource)
def describe_volumes_modifications(call: Call, tx: Tx, request: Input) -> Output:
    """The last change of each volume that was ever changed."""
    views = []
    for volume in described(tx, call, Volume, request.get("VolumeIds")):
        if volume.modification is not None:
            views.append(_view(volume, volume.modification))
        elif request.get("VolumeIds"):
            raise api.InvalidVolumeModificationNotFound(f"Modification for volume '{volume.id}' does not exist.")
    return {"VolumesModifications": matching(views, request.get("Filters"), {
        "modification-state": lambda v: v["ModificationState"],
        "original-iops": lambda v: v.get("OriginalIops"), "original-size": lambda v: v["OriginalSize"],
        "original-volume-type": lambda v: v["OriginalVolumeType"],
        "originalMultiAttachEnabled": lambda v: False, "targetMultiAttachEnabled": lambda v: False,
        "start-time": lambda v: str(v["StartTime"]),
        "target-iops": lambda v: v.get("TargetIops"), "target-size": lambda v: v["TargetSize"],
        "target-volume-type": lambda v: v["TargetVolumeType"], "volume-id": lambda v: v["VolumeId"],
    })}


# ── What holds for all new volumes ───────────────────────────────────────────────────────────────────────────────────


def _default(call: Call, tx: Tx) -> StorageDefaults:
    return tx.get(StorageDefaults, call.scope) or StorageDefaults(call.scope)


@ec2.read(resources=any_resource)
def get_ebs_encryption_by_default(call: Call, tx: Tx, request: Input) -> Output:
    """Whether new volumes bear the flag "encrypted"."""
    return {"EbsEncryptionByDefault": _default(call, tx).encrypted}


@ec2.write(resources=any_resource)
def enable_ebs_encryption_by_default(call: Call, tx: Tx, request: Input) -> Output:
    """New volumes bear it from now on."""
    tx.put(replace(_default(call, tx), encrypted=True))
    return {"EbsEncryptionByDefault": True}


@ec2.write(resources=any_resource)
def disable_ebs_encryption_by_default(call: Call, tx: Tx, request: Input) -> Output:
    """They bear it when asked to."""
    tx.put(replace(_default(call, tx), encrypted=False))
    return {"EbsEncryptionByDefault": False}
