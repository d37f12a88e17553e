"""What EC2 keeps of volumes, snapshots and images. Keys are `account/region/id`."""

from dataclasses import dataclass, field
from typing import Literal

from cloudlet.store.records import record

VolumeType = Literal["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"]
SnapshotState = Literal["pending", "completed", "error"]
ImageState = Literal["pending", "available", "failed", "disabled"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A volume's place in an instance. Not `wanted`: the volume leaves it as soon as the guest lets go."""

    instance_id: str
    device: str
    at: float
    delete_on_termination: bool = False
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Performance:
    """How a volume was ordered: GiB, type, operations per second, MiB/s (None where the type has no such figure)."""

    size_gib: int
    type: VolumeType
    iops: int | None = None
    throughput: int | None = None


@dataclass(frozen=True, slots=True)
class Modification:
    """The last change of a volume's order. `ended` is when the disk was seen as it is wanted."""

    original: Performance
    target: Performance
    started: float
    ended: float | None = None
    problem: str = ""


@record("ec2.volume", reconciled=True, indexes={
    "instance": lambda v: v.attachment.instance_id if v.attachment else None,
    "disk": lambda v: v.disk,
    "base": lambda v: None if v.disk_ready else v.base,
})
class Volume:
    """An EBS volume. `disk` is its disk's engine name; that began as the layer `base` (that of a snapshot), and
    `kernel` is the layer whose kernel starts what is on it (None: it brings a boot loader, or nothing is known of it).

    Observed: `disk_ready` (the disk is there, in the size of `performance`), `plugged` (the machine was seen with it,
    or there is none because the instance is stopped), `problem` (why there never will be a disk). `deleting`: nobody
    may use it any more.
    """

    key: str
    id: str
    account: str
    region: str
    zone: str
    performance: Performance
    created: float
    disk: str
    base: str | None = None
    kernel: str | None = None
    snapshot_id: str = ""
    encrypted: bool = False
    attachment: Attachment | None = None
    modification: Modification | None = None
    auto_enable_io: bool = False
    disk_ready: bool = False
    plugged: bool = False
    deleting: bool = False
    problem: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def size_gib(self) -> int:
        """The size as it is."""
        return self.performance.size_gib

    @property
    def serial(self) -> str:
        """What the drive shows inside a machine: the id without its hyphen."""
        return self.id.replace("-", "")

    @property
    def state(self) -> str:
        """As AWS calls it."""
        if self.deleting:
            return "deleting"
        if self.problem:
            return "error"
        if not self.disk_ready:
            return "creating"
        return "in-use" if self.attachment else "available"

    @property
    def attachment_state(self) -> str:
        """As AWS calls it."""
        if self.attachment is None:
            return "detached"
        return "detaching" if not self.attachment.wanted else "attached" if self.plugged else "attaching"


@record("ec2.snapshot", reconciled=True, indexes={
    "id": lambda s: s.id,
    "layer": lambda s: s.layer,
    "pending": lambda s: s.disk if s.state == "pending" else None,
    "after": lambda s: s.after if s.after and s.state == "pending" else None,
})
class Snapshot:
    """A volume's content of one moment, or a copy of such (which shares its `layer`). `disk` is the engine name of the
    volume it is taken of ("" for a copy), `kernel` as that of the volume.

    `state` is observed. It may be restored by its owner, the accounts of `shared_with`, and, if `public`, by all.
    `after`: the key of an instance that must have been seen to stand still before. `releasing`: deleted, and kept until
    no volume that is being made needs its layer.
    """

    key: str
    id: str
    account: str
    region: str
    volume_id: str
    size_gib: int
    started: float
    layer: str
    disk: str = ""
    kernel: str | None = None
    description: str = ""
    encrypted: bool = False
    state: SnapshotState = "pending"
    problem: str = ""
    completed: float | None = None
    shared_with: tuple[str, ...] = ()
    public: bool = False
    owner_alias: str = ""
    releasing: bool = False
    after: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mapping:
    """One volume that instances of an image start with. Without a `snapshot_id` it begins empty. `said` are those
    figures of its performance that were asked for by name: "Iops", "Throughput"."""

    device: str
    performance: Performance
    snapshot_id: str = ""
    delete_on_termination: bool = True
    encrypted: bool = False
    said: tuple[str, ...] = ()


@record("ec2.image", reconciled=True, indexes={
    "id": lambda i: i.id,
    "snapshot": lambda i: [m.snapshot_id for m in i.mappings if m.snapshot_id],
})
class Image:
    """An Amazon machine image. `state` is observed: available once all its snapshots are completed.

    `user` is whom one logs in as, if that is known; with `imds_v2`, instances need tokens for their metadata;
    `boot_mode`, `sriov` and `ena` are as it was registered. It may be launched by its owner, the accounts of
    `shared_with`, and, if `public`, by all.
    """

    key: str
    id: str
    account: str
    region: str
    name: str
    created: float
    root_device: str
    mappings: tuple[Mapping, ...]
    description: str = ""
    user: str = ""
    state: ImageState = "pending"
    problem: str = ""
    shared_with: tuple[str, ...] = ()
    public: bool = False
    deprecated_at: float | None = None
    deregistration_protection: bool = False
    imds_v2: bool = False
    boot_mode: str = ""
    sriov: str = ""
    ena: bool = False
    source_instance: str = ""
    source_image: str = ""
    source_region: str = ""
    owner_alias: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@record("ec2.stock-image", reconciled=True, lasting=True, indexes={
    "name": lambda s: s.name,
    "snapshot": lambda s: s.snapshot_id,
    "layer": lambda s: s.layer,
})
class StockImage:
    """An image of the installation itself, built here or imported: everybody in every region has it, under the owner
    that people know its distribution by. The key is its id, which is derived from its name.

    `size_gib` is None until its layer was seen. `withdrawn`: it was removed from the shelf.
    """

    key: str
    snapshot_id: str
    name: str
    description: str
    owner: str
    alias: str
    root_device: str
    user: str
    created: float
    layer: str
    kernel: bool = False
    size_gib: int | None = None
    problem: str = ""
    withdrawn: bool = False
    tags: dict[str, str] = field(default_factory=dict)


@record("ec2.host-space", lasting=True)
class HostSpace:
    """Whether the host's disk is full, as observed last; the key is "disks"."""

    key: str
    full: bool


@record("ec2.storage-defaults")
class StorageDefaults:
    """What holds for the volumes and images of an account in a region, which is the key (`account/region`):
    whether new volumes are encrypted, and whether no image can be made public."""

    key: str
    encrypted: bool = False
    images_blocked: bool = False
