"""Which container sees which volume, where."""

from dataclasses import replace
from typing import Any

from cloudlet.engines.ports import Mount
from cloudlet.services.ecs.definition_rules import normalized
from cloudlet.services.ecs.records import Definition, Task
from cloudlet.services.ecs.task_volumes import mounts, volume_names
from tests.services.ecs.test_container_spec import task as one_task


def made(containers: list[dict[str, Any]], images: list[tuple[str, ...]], *volumes: str) -> tuple[Task, Definition]:
    """A task of these containers, whose images declare these volumes."""
    document = normalized({"family": "web", "networkMode": "awsvpc", "cpu": "256", "memory": "512",
                           "volumes": [{"name": name} for name in volumes], "containerDefinitions": [
                               {"image": "i", **container} for container in containers]})
    first = one_task()
    task = replace(first, containers=tuple(
        replace(first.containers[0], name=container["name"], volumes=declared)
        for container, declared in zip(containers, images, strict=True)))
    return task, Definition("k", "1", "eu-west-1", "web", 3, document, 0.0, "me")


def seen(task: Task, definition: Definition, position: int) -> set[Mount]:
    return set(mounts(task, definition, position, {name: f"/v/{name}" for name in volume_names(task, definition)}))


def point(path: str, volume: str, **more: Any) -> dict[str, Any]:
    return {"sourceVolume": volume, "containerPath": path, **more}


def test_a_task_without_volumes_has_none() -> None:
    task, definition = made([{"name": "a"}], [()])
    assert volume_names(task, definition) == ()
    assert seen(task, definition, 0) == set()


def test_mount_points_share_what_the_task_declares() -> None:
    task, definition = made(
        [{"name": "a", "mountPoints": [point("/data/", "shared")]},
         {"name": "b", "mountPoints": [point("/in", "shared", readOnly=True)]}], [(), ()], "shared", "unused")
    assert volume_names(task, definition) == ("shared", "unused")
    assert seen(task, definition, 0) == {Mount("/v/shared", "/data")}
    assert seen(task, definition, 1) == {Mount("/v/shared", "/in", read_only=True)}


def test_the_images_own_volumes_are_filled_and_those_it_does_not_declare_are_not() -> None:
    task, definition = made(
        [{"name": "a", "mountPoints": [point("/site", "shared"), point("/other", "more")]}], [("/logs", "/site")],
        "shared", "more")
    assert volume_names(task, definition) == ("shared", "more", "0@0")
    assert seen(task, definition, 0) == {
        Mount("/v/shared", "/site", fill=True), Mount("/v/more", "/other"), Mount("/v/0@0", "/logs", fill=True)}


def test_volumes_from_another_container() -> None:
    task, definition = made(
        [{"name": "app", "volumesFrom": [{"sourceContainer": "agent", "readOnly": True}],
          "mountPoints": [point("/mine", "shared")]},
         {"name": "agent", "volumesFrom": [{"sourceContainer": "base"}], "mountPoints": [
             point("/mine", "theirs"), point("/conf", "theirs", readOnly=True)]},
         {"name": "base"}], [("/opt/agent",), ("/opt/agent",), ("/lib",)], "shared", "theirs")
    assert seen(task, definition, 1) == {
        Mount("/v/theirs", "/mine"), Mount("/v/theirs", "/conf", read_only=True),
        Mount("/v/1@0", "/opt/agent", fill=True), Mount("/v/2@0", "/lib")}
    assert seen(task, definition, 0) == {
        Mount("/v/shared", "/mine"), Mount("/v/theirs", "/conf", read_only=True),
        Mount("/v/1@0", "/opt/agent", read_only=True), Mount("/v/2@0", "/lib", read_only=True)}
    assert seen(task, definition, 2) == {Mount("/v/2@0", "/lib", fill=True)}
