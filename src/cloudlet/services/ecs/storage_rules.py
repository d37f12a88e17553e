"""What a task definition may say of storage on Fargate: volumes, where they are mounted, how much there is of it."""

import re
from collections.abc import Mapping, Sequence
from posixpath import normpath
from typing import Any

from cloudlet.kernel.errors import AwsError
from cloudlet.kernel.service import Input
from cloudlet.services.ecs.api import ClientException, unsupported

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html
STORAGE_GIB, STORAGE_MIN_GIB, STORAGE_MAX_GIB = 20, 21, 200
VOLUMES_MAX = 50
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_NOT_YET = ("efsVolumeConfiguration", "fsxWindowsFileServerVolumeConfiguration", "s3filesVolumeConfiguration",
            "configuredAtLaunch")


def volumes(given: Sequence[Input]) -> list[dict[str, Any]]:
    """A task definition's volumes. Raises ClientException for those that are no bind mounts of the task's own."""
    if len(given) > VOLUMES_MAX:
        raise ClientException(f"A task definition can have at most {VOLUMES_MAX} volumes.")
    names = [volume.get("name") or "" for volume in given]
    for name, volume in zip(names, given, strict=True):
        if not name:
            raise ClientException("Volume.name should not be null or empty.")
        if not _NAME.fullmatch(name):
            raise ClientException("Volume.name contains invalid characters.")
        if names.count(name) > 1:
            raise ClientException(f"Duplicate volume name '{name}'.")
        if (volume.get("host") or {}).get("sourcePath"):
            raise ClientException("Fargate compatible task definitions do not support sourcePath")
        if volume.get("dockerVolumeConfiguration"):
            raise ClientException("Fargate compatible task definitions do not support dockerVolumeConfiguration")
        for member in _NOT_YET:
            if volume.get(member):
                raise unsupported(f"The volume's {member}", ClientException)
    return [{"name": name, "host": {}} for name in names]


def mount_points(given: Sequence[Input]) -> list[dict[str, Any]]:
    """A container's mount points, each at a place of its own. Raises ClientException."""
    seen = set[str]()
    for point in given:
        path = point.get("containerPath") or ""
        if not path:
            raise ClientException("MountPoint.containerPath should not be null or empty.")
        if not path.startswith("/") or normpath(path).strip("/") == "" or "\0" in path or len(path) > 4000:
            raise ClientException(f"Invalid containerPath '{path}': an absolute path below / is needed.")
        if target(path) in seen:
            raise ClientException(f"Duplicate mount point: '{path}'.")
        seen.add(target(path))
    return [dict(point) for point in given]


def target(path: str) -> str:
    """A mount point's path in one form only."""
    return "/" + normpath(path).strip("/")


def check_mounts(containers: Sequence[Mapping[str, Any]], declared: Sequence[Mapping[str, Any]]) -> None:
    """Raises ClientException where a mount point's volume, or the container that volumes are taken from, is not there.
    That none takes them from itself in the end is a matter of the order in which they start."""
    known, names = ({each["name"] for each in every} for every in (declared, containers))
    for container in containers:
        for point in container["mountPoints"]:
            if point.get("sourceVolume") not in known:
                raise ClientException(f"Unknown volume '{point.get('sourceVolume') or 'null'}'.")
        for source in container["volumesFrom"]:
            if source.get("sourceContainer") not in names:
                raise ClientException(f"Unknown container '{source.get('sourceContainer') or 'null'}' in volumesFrom.")


def ephemeral_storage(given: Input, error: type[AwsError] = ClientException) -> dict[str, int]:
    """How much ephemeral storage is asked for. Raises that error."""
    size: int = given["sizeInGiB"]
    if not STORAGE_MIN_GIB <= size <= STORAGE_MAX_GIB:
        raise error(f"The size of ephemeral storage must be between {STORAGE_MIN_GIB} and {STORAGE_MAX_GIB} GiB.")
    return {"sizeInGiB": size}
