"""What the parts may know of this installation: the settings that reach beyond the app."""

from dataclasses import dataclass
from pathlib import Path

from cloudlet.kernel.names import Installation


@dataclass(frozen=True, slots=True)
class Site:
    """`port` of the endpoint; `public_cidr` from which public addresses come; `egress`: workloads may reach the
    internet; `development_key`: the well-known key `test`/`test` is honoured; `instance_memory_bytes`: how much of the
    host's memory virtual machines may have together, as measured at the start (None: nobody counts);
    `object_ownership`: that of new S3 buckets."""

    installation: Installation
    data_dir: Path
    port: int = 4566
    public_cidr: str = "203.0.113.0/24"
    egress: bool = False
    development_key: bool = True
    instance_memory_bytes: int | None = None
    object_ownership: str = "BucketOwnerEnforced"
