"""Which volumes a task has and where its containers see them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cloudlet.engines.ports import Mount
from cloudlet.services.ecs.records import Definition, Task
from cloudlet.services.ecs.storage_rules import target


@dataclass(frozen=True, slots=True)
class _Place:
    """A volume as one container sees it. `fill`: its image has content for it."""

    volume: str
    read_only: bool = False
    fill: bool = False


def volume_names(task: Task, definition: Definition) -> tuple[str, ...]:
    """The task's volumes: those that its definition declares, and one for each path that an image declares as such
    (VOLUME in a Dockerfile) and that nothing else is mounted at."""
    declared = [volume["name"] for volume in definition.document["volumes"]]
    seen = [place.volume for position in range(len(task.containers))
            for place in _places(task, definition, position).values()]
    return tuple(dict.fromkeys((*declared, *seen)))


def mounts(task: Task, definition: Definition, position: int, paths: Mapping[str, str]) -> tuple[Mount, ...]:
    """What a container sees of the volumes, whose directories are at `paths`.

    A volume gets what the image has at the mount point only where the image declares it as one, as on Fargate:
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html
    """
    return tuple(Mount(paths[place.volume], where, place.read_only, place.fill)
                 for where, place in _places(task, definition, position).items() if place.volume in paths)


def _places(task: Task, definition: Definition, position: int) -> dict[str, _Place]:
    """By path: the container's own mount points, then what it takes from others, then the volumes of its image."""
    container, declared = definition.containers[position], task.containers[position].volumes
    found = {where: _Place(point["sourceVolume"], bool(point.get("readOnly")), where in declared)
             for point in container["mountPoints"] for where in (target(point["containerPath"]),)}
    names = [each["name"] for each in definition.containers]
    for source in container["volumesFrom"]:
        for where, place in _places(task, definition, names.index(source["sourceContainer"])).items():
            read_only = place.read_only or bool(source.get("readOnly"))
            found.setdefault(where, replace(place, read_only=read_only, fill=False))
    for number, where in enumerate(declared):
        found.setdefault(where, _Place(f"{position}@{number}", fill=True))
    return found
