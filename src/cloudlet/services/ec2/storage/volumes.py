"""EBS volumes: made empty or of a snapshot, described, deleted.

https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volumes.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.names import Installation
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, pool
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.nouns import described, find
from cloudlet.services.ec2.regions import zone_id, zones
from cloudlet.services.ec2.storage.performance import order_of
from cloudlet.services.ec2.storage.records import HostSpace, Performance, Snapshot, StorageDefaults, Volume
from cloudlet.services.ec2.storage.sharing import find_snapshot
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx

SPACE_KEY = "disks"


def require_space(tx: Tx) -> None:
    """Refuses what would need a new disk while the host's is known to be full. Raises InsufficientVolumeCapacity."""
    space = tx.get(HostSpace, SPACE_KEY)
    if space is not None and space.full:
        raise api.InsufficientVolumeCapacity(
            "There is not enough capacity to fulfill your EBS volume provision request: the disk that holds Cloudlet's "
            "data is full.")


def make_volume(tx: Tx, call: Call, zone: str, performance: Performance, *, snapshot: Snapshot | None = None,
                tags: Mapping[str, str] | None = None, encrypted: bool = False) -> Volume:
    """The record of a new volume, not yet kept. Raises IncorrectState for a snapshot that is not completed."""
    if snapshot is not None and snapshot.state != "completed":
        raise api.IncorrectState(f"Snapshot is in invalid state - {snapshot.state}")
    id = f"vol-{tx.token(17)}"
    key = f"{call.scope}/{id}"
    disk = Installation(pool.ground(tx).installation).name("vol", key)
    volume = Volume(key, id, call.account, call.region, zone, performance, tx.now, disk, tags=dict(tags or {}),
                    encrypted=encrypted or bool(snapshot and snapshot.encrypted))
    if snapshot is None:
        return volume
    return replace(volume, base=snapshot.layer, kernel=snapshot.kernel, snapshot_id=snapshot.id)


# ── Views ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def attachment_view(volume: Volume, *, state: str = "") -> dict[str, Any]:
    """A volume's attachment as answers show it."""
    attachment = volume.attachment
    if attachment is None:
        return {"VolumeId": volume.id, "State": "detached"}
    return {"VolumeId": volume.id, "InstanceId": attachment.instance_id, "Device": attachment.device,
            "State": state or volume.attachment_state, "AttachTime": attachment.at,
            "DeleteOnTermination": attachment.delete_on_termination}


def _view(volume: Volume) -> dict[str, Any]:
    performance = volume.performance
    view: dict[str, Any] = {
        "VolumeId": volume.id, "Size": performance.size_gib, "SnapshotId": volume.snapshot_id,
        "AvailabilityZone": volume.zone, "AvailabilityZoneId": zone_id(volume.zone), "State": volume.state,
        "CreateTime": volume.created, "VolumeType": performance.type, "Encrypted": volume.encrypted,
        "Attachments": [attachment_view(volume)] if volume.attachment else [], "Tags": tag_set(volume.tags),
        "MultiAttachEnabled": False, "Operator": {"Managed": False},
    }
    if performance.iops is not None:
        view["Iops"] = performance.iops
    if performance.throughput is not None:
        view["Throughput"] = performance.throughput
    return view


def _attached(name: str) -> Any:
    def value(view: Mapping[str, Any]) -> Any:
        return next((attachment.get(name) for attachment in view["Attachments"]), None)
    return value


FILTERS: dict[str, Any] = {
    "attachment.attach-time": _attached("AttachTime"),
    "attachment.delete-on-termination": _attached("DeleteOnTermination"),
    "attachment.device": _attached("Device"),
    "attachment.instance-id": _attached("InstanceId"),
    "attachment.status": _attached("State"),
    "availability-zone": lambda v: v["AvailabilityZone"],
    "availability-zone-id": lambda v: v["AvailabilityZoneId"],
    "create-time": lambda v: str(v["CreateTime"]),
    "encrypted": lambda v: v["Encrypted"],
    "fast-restored": lambda v: False,
    "multi-attach-enabled": lambda v: False,
    "operator.managed": lambda v: False,
    "operator.principal": lambda v: None,
    "size": lambda v: v["Size"],
    "snapshot-id": lambda v: v["SnapshotId"] or None,
    "status": lambda v: v["State"],
    "volume-id": lambda v: v["VolumeId"],
    "volume-type": lambda v: v["VolumeType"],
}


def tags_of_view(view: Mapping[str, Any]) -> dict[str, str]:
    """The tags that a view shows."""
    return {tag["Key"]: tag["Value"] for tag in view["Tags"]}


# ── Operations ───────────────────────────────────────────────────────────────────────────────────────────────────────


def zone_of(call: Call, request: Input) -> str:
    """The zone that a request names, by name or by id."""
    name, id = request.get("AvailabilityZone"), request.get("AvailabilityZoneId")
    if bool(name) == bool(id):
        if name:
            raise api.InvalidParameterCombination("You can only specify one of AvailabilityZone and AvailabilityZoneId")
        raise api.MissingParameter("The request must contain the parameter availabilityZone")
    found = next((zone.name for zone in zones(call.region) if name == zone.name or id == zone.id), None)
    if found is None:
        raise api.InvalidZoneNotFound(f"The zone '{name or id}' does not exist.")
    return found


@ec2.write(resources=touches(volume="", snapshot="SnapshotId"))
def create_volume(call: Call, tx: Tx, request: Input) -> Output:
    """A volume: empty, or with a snapshot's content."""
    refuse(request, "OutpostArn", "KmsKeyId", "MultiAttachEnabled", "Operator", "VolumeInitializationRate")
    zone = zone_of(call, request)
    snapshot = find_snapshot(tx, call, request["SnapshotId"]) if request.get("SnapshotId") else None
    size_gib = request.get("Size")
    if size_gib is None:
        if snapshot is None:
            raise api.MissingParameter("The request must contain the parameter size or snapshotId")
        size_gib = snapshot.size_gib
    if snapshot is not None and size_gib < snapshot.size_gib:
        raise api.InvalidParameterValue(f"Volume of size {size_gib}GB is smaller than snapshot '{snapshot.id}', expect "
                                        f"size >= {snapshot.size_gib}GB")
    performance = order_of(request, size_gib)
    require_space(tx)
    defaults = tx.get(StorageDefaults, call.scope)
    encrypted = bool(request.get("Encrypted")) or bool(defaults and defaults.encrypted)
    volume = make_volume(tx, call, zone, performance, snapshot=snapshot, tags=tags_for(request, "volume"),
                         encrypted=encrypted)
    tx.put(volume)
    return _view(volume)


@ec2.read(resources=any_resource)
def describe_volumes(call: Call, tx: Tx, request: Input) -> Output:
    """Volumes by id and filter."""
    views = [_view(volume) for volume in described(tx, call, Volume, request.get("VolumeIds"))]
    return {"Volumes": matching(views, request.get("Filters"), FILTERS, tags_of_view)}


@ec2.write(resources=touches(volume="VolumeId"))
def delete_volume(call: Call, tx: Tx, request: Input) -> Output:
    """The volume and what is on it goes; snapshots of it stay."""
    volume = find(tx, call, Volume, request["VolumeId"])
    if volume.attachment:
        raise api.VolumeInUse(f"Volume {volume.id} is currently attached to {volume.attachment.instance_id}")
    if not volume.deleting:
        tx.put(replace(volume, deleting=True))


@ec2.read(resources=any_resource)
def describe_volume_status(call: Call, tx: Tx, request: Input) -> Output:
    """Whether volumes can be read and written, as far as was seen."""
    views = [_status_view(volume) for volume in described(tx, call, Volume, request.get("VolumeIds"))
             if not volume.deleting]
    return {"VolumeStatuses": matching(views, request.get("Filters"), {
        "action.code": lambda v: None, "action.description": lambda v: None, "action.event-id": lambda v: None,
        "availability-zone": lambda v: v["AvailabilityZone"],
        "availability-zone-id": lambda v: v["AvailabilityZoneId"],
        "event.description": lambda v: None, "event.event-id": lambda v: None, "event.event-type": lambda v: None,
        "event.not-after": lambda v: None, "event.not-before": lambda v: None, "operator.managed": lambda v: False,
        "operator.principal": lambda v: None,
        "volume-status.details-name": lambda v: [d["Name"] for d in v["VolumeStatus"]["Details"]],
        "volume-status.details-status": lambda v: [d["Status"] for d in v["VolumeStatus"]["Details"]],
        "volume-status.status": lambda v: v["VolumeStatus"]["Status"],
    })}


def _status_view(volume: Volume) -> dict[str, Any]:
    status = "impaired" if volume.problem else "ok" if volume.disk_ready else "insufficient-data"
    enabled = {"ok": "passed", "impaired": "failed"}.get(status, "insufficient-data")
    return {"VolumeId": volume.id, "AvailabilityZone": volume.zone, "AvailabilityZoneId": zone_id(volume.zone),
            "Actions": [], "Events": [], "AttachmentStatuses": [],
            "VolumeStatus": {"Status": status, "Details": [{"Name": "io-enabled", "Status": enabled}]}}


@ec2.read(resources=touches(volume="VolumeId"))
def describe_volume_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """One attribute of one volume."""
    volume = find(tx, call, Volume, request["VolumeId"])
    if request["Attribute"] == "autoEnableIO":
        return {"VolumeId": volume.id, "AutoEnableIO": {"Value": volume.auto_enable_io}}
    return {"VolumeId": volume.id, "ProductCodes": []}


@ec2.write(resources=touches(volume="VolumeId"))
def modify_volume_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Whether the volume is used again by itself after it was found damaged; no volume here is ever held back."""
    volume = find(tx, call, Volume, request["VolumeId"])
    wanted = (api.require(request, "AutoEnableIO") or {}).get("Value")
    tx.put(replace(volume, auto_enable_io=bool(wanted)), wake=False)


@ec2.write(resources=touches(volume="VolumeId"))
def enable_volume_io(call: Call, tx: Tx, request: Input) -> Output:
    """Allows reading and writing, which nothing here ever forbids."""
    find(tx, call, Volume, request["VolumeId"])
