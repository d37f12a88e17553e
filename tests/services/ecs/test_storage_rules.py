"""Volumes, mount points and ephemeral storage in task definitions."""

from typing import Any

import pytest

from cloudlet.services.ecs.definition_rules import normalized
from tests.services.ecs.test_definition_rules import refusal, request

DATA = {"name": "data"}


def point(path: str = "/data", volume: str = "data", **more: Any) -> dict[str, Any]:
    return {"sourceVolume": volume, "containerPath": path, **more}


def test_what_is_given_is_shown() -> None:
    document = normalized(request(
        {"mountPoints": [point(readOnly=True), point("/more")], "volumesFrom": []},
        volumes=[DATA, {"name": "other", "host": {}}], ephemeralStorage={"sizeInGiB": 21}))
    assert document["volumes"] == [{"name": "data", "host": {}}, {"name": "other", "host": {}}]
    assert document["containerDefinitions"][0]["mountPoints"] == [point(readOnly=True), point("/more")]
    assert document["ephemeralStorage"] == {"sizeInGiB": 21}


@pytest.mark.parametrize(("change", "words"), [
    ({"volumes": [{"name": "v", "host": {"sourcePath": "/etc"}}]},
     "Fargate compatible task definitions do not support sourcePath"),
    ({"volumes": [{"name": "v", "dockerVolumeConfiguration": {"scope": "task"}}]},
     "Fargate compatible task definitions do not support dockerVolumeConfiguration"),
    ({"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]},
     "efsVolumeConfiguration is not supported by Cloudlet yet."),
    ({"volumes": [{"name": "v", "fsxWindowsFileServerVolumeConfiguration": {"fileSystemId": "fs-1"}}]},
     "fsxWindowsFileServerVolumeConfiguration is not supported"),
    ({"volumes": [{"name": "v", "configuredAtLaunch": True}]}, "configuredAtLaunch is not supported by Cloudlet yet."),
    ({"volumes": [{}]}, "Volume.name should not be null or empty."),
    ({"volumes": [{"name": "../v"}]}, "Volume.name contains invalid characters."),
    ({"volumes": [DATA, DATA]}, "Duplicate volume name 'data'."),
    ({"volumes": [{"name": f"v{n}"} for n in range(51)]}, "at most 50 volumes"),
    ({"ephemeralStorage": {"sizeInGiB": 20}}, "must be between 21 and 200 GiB"),
    ({"ephemeralStorage": {"sizeInGiB": 201}}, "must be between 21 and 200 GiB"),
])
def test_refused_for_a_task(change: dict[str, Any], words: str) -> None:
    assert words in refusal(request(**change))


@pytest.mark.parametrize(("change", "words"), [
    ({"mountPoints": [point(volume="else")]}, "Unknown volume 'else'."),
    ({"mountPoints": [{"containerPath": "/x"}]}, "Unknown volume 'null'."),
    ({"mountPoints": [{"sourceVolume": "data"}]}, "MountPoint.containerPath should not be null or empty."),
    ({"mountPoints": [point("relative")]}, "Invalid containerPath 'relative'"),
    ({"mountPoints": [point("/x/..")]}, "Invalid containerPath '/x/..'"),
    ({"mountPoints": [point("/x"), point("//x/")]}, "Duplicate mount point: '//x/'."),
    ({"volumesFrom": [{"sourceContainer": "else"}]}, "Unknown container 'else' in volumesFrom."),
    ({"volumesFrom": [{"sourceContainer": "web"}]}, "The container dependencies of web form a cycle."),
])
def test_refused_for_a_container(change: dict[str, Any], words: str) -> None:
    assert words in refusal(request(change, volumes=[DATA]))


def test_volumes_that_go_round_in_a_circle() -> None:
    def taking(name: str, *sources: str) -> dict[str, Any]:
        return {"name": name, "image": "i", "volumesFrom": [{"sourceContainer": source} for source in sources]}
    circle = request(containerDefinitions=[taking("a", "b"), taking("b", "c"), taking("c", "a")])
    assert "The container dependencies of a, b, c form a cycle." in refusal(circle)
    crossed = request(containerDefinitions=[
        taking("a", "b"), {**taking("b"), "dependsOn": [{"containerName": "a", "condition": "START"}]}])
    assert "The container dependencies of a, b form a cycle." in refusal(crossed)
    assert normalized(request(containerDefinitions=[taking("a", "b", "c"), taking("b", "c"), taking("c")]))
