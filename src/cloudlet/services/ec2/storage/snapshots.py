"""EBS snapshots: taken of volumes, described, deleted.

https://docs.aws.amazon.com/ebs/latest/userguide/ebs-snapshots.html
"""

from dataclasses import replace
from typing import Any

from cloudlet.kernel.call import Call
from cloudlet.kernel.filters import matching
from cloudlet.kernel.names import Installation
from cloudlet.kernel.service import Input, Output, any_resource
from cloudlet.services.ec2 import api, pool
from cloudlet.services.ec2.api import ec2, refuse, touches
from cloudlet.services.ec2.nouns import find
from cloudlet.services.ec2.storage.records import Image, Snapshot, StockImage, Volume
from cloudlet.services.ec2.storage.sharing import (
    find_snapshot,
    is_usable,
    of_owners,
    open_to,
    own_snapshot,
    stock_snapshot,
)
from cloudlet.services.ec2.storage.volumes import require_space, tags_of_view
from cloudlet.services.ec2.tags import tag_set, tags_for
from cloudlet.store.db import Tx

DESCRIPTION_LENGTH_MAX = 255


def make_snapshot(tx: Tx, call: Call, volume: Volume, description: str, tags: dict[str, str]) -> Snapshot:
    """A snapshot of a volume, kept; its loop takes it. Raises IncorrectState where the volume has no disk."""
    if not volume.disk_ready or volume.problem or volume.deleting:
        raise api.IncorrectState(f"The volume '{volume.id}' is in the state '{volume.state}'.")
    require_space(tx)
    if len(description) > DESCRIPTION_LENGTH_MAX:
        raise api.InvalidParameterValue(f"A description may have {DESCRIPTION_LENGTH_MAX} characters.")
    id = f"snap-{tx.token(17)}"
    key = f"{call.scope}/{id}"
    made = Snapshot(key, id, call.account, call.region, volume.id, volume.size_gib, tx.now,
                    Installation(pool.ground(tx).installation).name("snap", key), volume.disk, volume.kernel,
                    description, volume.encrypted, tags=tags)
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
