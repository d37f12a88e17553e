"""EBS snapshots: taken of volumes, described, deleted.

https://docs.aws.amazon.com/ebs/latest/userguide/ebs-snapshots.html
"""

from dataclasses import replace
from typing import Any

import msgspec

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.names import Installation
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, pool
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.instances.records import Instance
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.storage.attachments import attached
from cloudlet.services.ec2.storage.records import Image, Snapshot, StockImage, StorageDefaults, Volume
from cloudlet.services.ec2.storage.sharing import (
    changed,
    find_snapshot,
    is_usable,
    of_owners,
    open_to,
    own_snapshot,
    permissions,
    stock_snapshot,
)
from cloudlet.services.ec2.storage.volumes import require_space, tags_of_view
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx

DESCRIPTION_LENGTH_MAX = 255


def make_snapshot(tx: Tx, call: Call, volume: Volume, description: str, tags: dict[str, str], *,
                  after: str = "") -> Snapshot:
    """A snapshot of a volume, kept; its loop takes it, once the instance of the key `after` was seen to stand still.
    Raises IncorrectState where the volume has no disk."""
    if not volume.disk_ready or volume.problem or volume.deleting:
        raise api.IncorrectState(f"The volume '{volume.id}' is in the state '{volume.state}'.")
    require_space(tx)
    if len(description) > DESCRIPTION_LENGTH_MAX:
        raise api.InvalidParameterValue(f"A description may have {DESCRIPTION_LENGTH_MAX} characters.")
    id = f"snap-{tx.token(17)}"
    key = f"{call.scope}/{id}"
    made = Snapshot(key, id, call.account, call.region, volume.id, volume.size_gib, tx.now,
                    Installation(pool.ground(tx).installation).name("snap", key), volume.disk, volume.kernel,
                    description, volume.encrypted, after=after, tags=tags)
    tx.put(made)
    return made


def _view(snapshot: Snapshot) -> dict[str, Any]:
    view = {
        "SnapshotId": snapshot.id, "VolumeId": snapshot.volume_id, "VolumeSize": snapshot.size_gib,
        "State": snapshot.state, "Progress": "100%" if snapshot.state == "completed" else "0%",
        "StartTime": snapshot.started, "OwnerId": snapshot.account, "Description": snapshot.description,
        "Encrypted": snapshot.encrypted, "StorageTier": "standard", "Tags": tag_set(snapshot.tags),
    }
    if snapshot.problem:
        view["StateMessage"] = snapshot.problem
    if snapshot.completed is not None and snapshot.state == "completed":
        view["CompletionTime"] = snapshot.completed
    if snapshot.owner_alias:
        view["OwnerAlias"] = snapshot.owner_alias
    return view


_FILTERS: dict[str, Any] = {
    "description": lambda v: v["Description"],
    "encrypted": lambda v: v["Encrypted"],
    "owner-alias": lambda v: v.get("OwnerAlias"),
    "owner-id": lambda v: v["OwnerId"],
    "progress": lambda v: v["Progress"],
    "snapshot-id": lambda v: v["SnapshotId"],
    "start-time": lambda v: str(v["StartTime"]),
    "status": lambda v: v["State"],
    "storage-tier": lambda v: v["StorageTier"],
    "transfer-type": lambda v: None,
    "volume-id": lambda v: v["VolumeId"],
    "volume-size": lambda v: v["VolumeSize"],
}


@ec2.write(resources=touches(snapshot="", volume="VolumeId"))
def create_snapshot(call: Call, tx: Tx, request: Input) -> Output:
    """Keeps a volume's content of this moment, whether an instance uses it or not."""
    refuse(request, "OutpostArn")
    if request.get("Location") not in (None, "regional"):
        raise api.UnsupportedOperation("Snapshots are kept in the region only.")
    volume = find(tx, call, Volume, request["VolumeId"])
    return _view(make_snapshot(tx, call, volume, request.get("Description") or "", tags_for(request, "snapshot")))


@ec2.read(resources=any_resource)
def describe_snapshots(call: Call, tx: Tx, request: Input) -> Output:
    """Snapshots that the caller may restore: by id, by owner, by who may restore them, by filter."""
    if request.get("SnapshotIds"):
        found = [find_snapshot(tx, call, id) for id in dict.fromkeys(request["SnapshotIds"])]
    else:
        found = [s for s in tx.find(Snapshot) if s.region == call.region and not s.releasing and is_usable(call, s)]
        found += [stock_snapshot(stock, call.region) for stock in tx.find(StockImage)
                  if stock.size_gib and not stock.withdrawn]
    found = open_to(of_owners(found, request.get("OwnerIds"), call), request.get("RestorableByUserIds"), call)
    return {"Snapshots": matching([_view(s) for s in found], request.get("Filters"), _FILTERS, tags_of_view)}


@ec2.write(resources=touches(snapshot="SnapshotId"))
def delete_snapshot(call: Call, tx: Tx, request: Input) -> Output:
    """The snapshot goes; volumes made of it, and later snapshots of its volume, stay whole."""
    release_snapshot(tx, own_snapshot(tx, call, request["SnapshotId"]))


def release_snapshot(tx: Tx, snapshot: Snapshot) -> None:
    """Nobody may use it any more. Raises InvalidSnapshot.InUse while an image does."""
    user = next((i for i in tx.find(Image, snapshot=snapshot.id) if i.region == snapshot.region), None)
    if user is not None:
        raise api.InvalidSnapshotInUse(f"The snapshot {snapshot.id} is currently in use by {user.id}")
    tx.put(replace(snapshot, releasing=True))


@ec2.write(resources=touches(snapshot="", instance=""))
def create_snapshots(call: Call, tx: Tx, request: Input) -> Output:
    """Keeps all volumes of an instance, or some."""
    refuse(request, "OutpostArn")
    if request.get("Location") not in (None, "regional"):
        raise api.UnsupportedOperation("Snapshots are kept in the region only.")
    chosen = request["InstanceSpecification"]
    instance = find(tx, call, Instance, chosen["InstanceId"])
    without = set(chosen.get("ExcludeDataVolumeIds") or ())
    volumes = attached(tx, instance.id, instance.root_device_name)
    if unknown := without - {volume.id for volume in volumes}:
        raise api.InvalidVolumeNotFound(f"The volume '{min(unknown)}' is not attached to '{instance.id}'.")
    if volumes and volumes[0].id in without:
        raise api.InvalidParameterValue("The boot volume is excluded by ExcludeBootVolume.")
    volumes = volumes[1:] if chosen.get("ExcludeBootVolume") else volumes
    given, copied = tags_for(request, "snapshot"), request.get("CopyTagsFromSource") == "volume"
    made = [make_snapshot(tx, call, volume, request.get("Description") or "",
                          {**(volume.tags if copied else {}), **given})
            for volume in volumes if volume.id not in without]
    return {"Snapshots": [{name: value for name, value in _view(snapshot).items() if name != "StorageTier"}
                          for snapshot in made]}


@ec2.write(resources=touches(snapshot=""))
def copy_snapshot(call: Call, tx: Tx, request: Input) -> Output:
    """A snapshot of the caller's own with the content of one in any region. Copies share what they have in common."""
    refuse(request, "DestinationOutpostArn", "KmsKeyId", "CompletionDurationMinutes", "DestinationAvailabilityZone")
    if request.get("DestinationRegion") not in (None, "", call.region):
        raise api.InvalidParameterValue(f"Value ({request['DestinationRegion']}) for parameter destinationRegion is "
                                        "invalid. A copy is made in the region that is asked.")
    there = msgspec.structs.replace(call, region=request["SourceRegion"])
    source = find_snapshot(tx, there, request["SourceSnapshotId"])
    copy = copied_snapshot(tx, call, source, request.get("Description") or "",
                           tags_for(request, "snapshot"), encrypted=bool(request.get("Encrypted")))
    return {"SnapshotId": copy.id, "Tags": tag_set(copy.tags)}


def copied_snapshot(tx: Tx, call: Call, source: Snapshot, description: str, tags: dict[str, str], *,
                    encrypted: bool = False) -> Snapshot:
    """A copy, kept. Raises IncorrectState for a source that is not completed."""
    if source.state != "completed":
        raise api.IncorrectState(f"Snapshot is in invalid state - {source.state}")
    defaults = tx.get(StorageDefaults, call.scope)
    id = f"snap-{tx.token(17)}"
    copy = Snapshot(f"{call.scope}/{id}", id, call.account, call.region, "vol-ffffffff", source.size_gib, tx.now,
                    source.layer, kernel=source.kernel, description=description,
                    encrypted=source.encrypted or encrypted or bool(defaults and defaults.encrypted), tags=tags)
    tx.put(copy)
    return copy


@ec2.read(resources=touches(snapshot="SnapshotId"))
def describe_snapshot_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Who may make volumes of it."""
    snapshot = own_snapshot(tx, call, request["SnapshotId"])
    if request["Attribute"] == "createVolumePermission":
        return {"SnapshotId": snapshot.id, "CreateVolumePermissions": permissions(snapshot)}
    return {"SnapshotId": snapshot.id, "ProductCodes": []}


@ec2.write(resources=touches(snapshot="SnapshotId"))
def modify_snapshot_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Lets other accounts, or everybody, make volumes of it, or no longer."""
    if request.get("Attribute") not in (None, "createVolumePermission"):
        raise api.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
    tx.put(changed(own_snapshot(tx, call, request["SnapshotId"]), request, "CreateVolumePermission"), wake=False)


@ec2.write(resources=touches(snapshot="SnapshotId"))
def reset_snapshot_attribute(call: Call, tx: Tx, request: Input) -> Output:
    """Its owner alone may make volumes of it again."""
    if request["Attribute"] != "createVolumePermission":
        raise api.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
    tx.put(replace(own_snapshot(tx, call, request["SnapshotId"]), shared_with=(), public=False), wake=False)
