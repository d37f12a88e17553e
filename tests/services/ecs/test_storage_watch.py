"""Volumes of tasks and the limit of what they may hold, from RunTask to forgotten."""

from typing import Any

from cloudlet.engines.fake import Faults
from cloudlet.engines.ports import Mount
from cloudlet.kernel.errors import Refused
from tests.services.ecs.plane import IMAGE, Plane, virtual_time
from tests.services.ecs.test_metadata import fetch

GIB = 1 << 30


def register(plane: Plane, **more: Any) -> None:
    plane.register(volumes=[{"name": "data"}], containers=[
        {"mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}]},
        {"name": "side", "volumesFrom": [{"sourceContainer": "web", "readOnly": True}]}], **more)


@virtual_time
async def test_volumes_are_made_before_the_containers_and_go_after_them(plane: Plane) -> None:
    plane.world.images.volumes[IMAGE] = ("/cache", "/data")
    async with plane:
        plane.ask("CreateCluster")
        register(plane)
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        ((storage, volumes),) = plane.world.storages.storages.items()
        assert volumes == ("data", "0@0")
        web, side = (set(plane.world.containers.bodies[name].spec.mounts) for name in plane.world.containers.running())
        here = f"/volumes/{storage}"
        assert web == {Mount(f"{here}/data", "/data", fill=True), Mount(f"{here}/0@0", "/cache", fill=True)}
        assert side == {Mount(f"{here}/data", "/data", read_only=True), Mount(f"{here}/0@0", "/cache", read_only=True)}
        plane.ask("StopTask", task=arn)
        await plane.becomes(arn, "STOPPED")
        assert plane.world.storages.storages == {}


@virtual_time
async def test_crashes_anywhere_leave_neither_two_nor_one_too_many(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        register(plane)
        plane.world.faults = Faults(lag_s=0.5, busy=0.1, lost=0.2)
        arns = plane.run(count=4)
        for _ in range(12):
            await plane.clock.sleep(0.35)
            await plane.crash()
            plane.start()
        plane.world.faults = Faults(lag_s=0.1)
        for arn in arns:
            await plane.becomes(arn, "RUNNING", 300)
        plane.world.faults = Faults(lag_s=0.5, busy=0.1, lost=0.2)
        assert len(plane.world.storages.storages) == 4
        for arn in arns:
            plane.ask("StopTask", task=arn)
        for _ in range(6):
            await plane.clock.sleep(0.35)
            await plane.crash()
            plane.start()
        plane.world.faults = Faults(lag_s=0.1)
        for arn in arns:
            await plane.becomes(arn, "STOPPED", 300)
        assert plane.world.storages.storages == {}


@virtual_time
async def test_a_volume_that_cannot_be_made_stops_the_task(plane: Plane) -> None:
    async def ensure(spec: object) -> object:
        raise Refused("ResourceInitializationError: failed to create a volume: No space left on device")
    plane.world.storages.ensure = ensure  # type: ignore[assignment]
    async with plane:
        plane.ask("CreateCluster")
        register(plane)
        (arn,) = plane.run()
        task = await plane.becomes(arn, "STOPPED")
        assert (task["stopCode"], task["stoppedReason"]) == (
            "TaskFailedToStart", "ResourceInitializationError: failed to create a volume: No space left on device")


@virtual_time
async def test_a_task_that_takes_more_than_its_storage_is_stopped(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        register(plane, ephemeralStorage={"sizeInGiB": 30})
        (large,) = plane.run()
        (larger,) = plane.run(overrides={"ephemeralStorage": {"sizeInGiB": 50}})
        plane.register("small")
        (small,) = plane.run("small")
        for arn, size in ((large, 30), (larger, 50), (small, 20)):
            task = await plane.becomes(arn, "RUNNING")
            assert task["ephemeralStorage"] == task["fargateEphemeralStorage"] == {"sizeInGiB": size}
        for name in plane.world.containers.running():
            plane.world.storages.used[name.rpartition("-")[0].rpartition("-")[0]] = 30 * GIB + 1
        for arn in (large, small):
            task = await plane.becomes(arn, "STOPPED")
            assert task["stopCode"] == "TerminationNotice"
        assert plane.task(large)["stoppedReason"] == (
            "Task used 30720 MiB of ephemeral storage, more than its 30 GiB: no space left on device")
        assert plane.task(larger)["lastStatus"] == "RUNNING"


@virtual_time
async def test_the_metadata_endpoint_tells_what_is_used(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        (arn,) = plane.run()
        task = await plane.becomes(arn, "RUNNING")
        (body,) = plane.world.containers.bodies.values()
        plane.world.storages.used[body.spec.group.name] = 261 << 20
        address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
        uri = dict(body.spec.environment)["ECS_CONTAINER_METADATA_URI_V4"].removeprefix("http://169.254.170.2")
        _, found = await fetch(plane, f"{uri}/task", address)
        assert found["EphemeralStorageMetrics"] == {"Utilized": 261, "Reserved": 20480}
        assert "EphemeralStorageMetrics" not in (await fetch(plane, f"{uri.replace('v4', 'v3')}/task", address))[1]
