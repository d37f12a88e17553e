"""Health checks: what probes make of a container, and what that does to its task."""

from typing import Any

import pytest

from cloudlet.engines.fake import Faults, Program
from cloudlet.services.ecs.health import Check, check_of, verdict
from tests.services.ecs.plane import IMAGE, Plane, virtual_time

CHECK = Check(("true",), 30, 5, 3, 60)
PROBED = {"healthCheck": {"command": ["CMD-SHELL", "true"], "interval": 5, "retries": 2}}


@pytest.mark.parametrize(("before", "passed", "age", "after"), [
    (("UNKNOWN", 0), True, 10, ("HEALTHY", 0)),
    (("UNKNOWN", 0), False, 59, ("UNKNOWN", 0)),  # within the start period
    (("UNKNOWN", 0), False, 60, ("UNKNOWN", 1)),
    (("UNKNOWN", 2), False, 100, ("UNHEALTHY", 3)),
    (("HEALTHY", 0), False, 10, ("HEALTHY", 1)),  # it was well before: failures count even within the start period
    (("HEALTHY", 2), False, 10, ("UNHEALTHY", 3)),
    (("HEALTHY", 2), True, 10, ("HEALTHY", 0)),
    (("UNHEALTHY", 9), False, 10, ("UNHEALTHY", 10)),
    (("UNHEALTHY", 9), True, 10, ("HEALTHY", 0))])
def test_what_a_probe_says(before: Any, passed: bool, age: float, after: Any) -> None:
    assert verdict(CHECK, *before, passed, age) == after


def test_what_is_run() -> None:
    base = {"interval": 30, "timeout": 5, "retries": 3}
    assert check_of({}) is None
    assert check_of({"healthCheck": {"command": ["NONE"], **base}}) is None
    assert check_of({"healthCheck": {"command": ["CMD", "a", "b"], **base}}) == Check(("a", "b"), 30, 5, 3, 0)
    shell = check_of({"healthCheck": {"command": ["CMD-SHELL", "a || b"], **base, "startPeriod": 9}})
    assert shell == Check(("/bin/sh", "-c", "a || b"), 30, 5, 3, 9)


def health(plane: Plane, arn: str) -> tuple[str, list[str]]:
    task = plane.task(arn)
    return task["healthStatus"], [container["healthStatus"] for container in task["containers"]]


@virtual_time
async def test_a_task_of_its_own_is_told_unhealthy_and_runs_on(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[PROBED, {"name": "other", "essential": False}])
        (arn,) = plane.run()
        started = (await plane.becomes(arn, "RUNNING"))["startedAt"]
        assert health(plane, arn) == ("UNKNOWN", ["UNKNOWN", "UNKNOWN"])
        await plane.until(lambda: health(plane, arn) == ("HEALTHY", ["HEALTHY", "UNKNOWN"]))
        assert plane.clock.now() - started >= 4.9
        name = next(name for name in plane.world.containers.bodies if name.endswith("web"))
        plane.world.containers.sick[name] = 1
        sick_at = plane.clock.now()
        await plane.until(lambda: health(plane, arn)[0] == "UNHEALTHY")
        assert plane.clock.now() - sick_at >= 5
        await plane.clock.sleep(60)
        assert plane.task(arn)["lastStatus"] == "RUNNING"
        plane.world.containers.sick.clear()
        await plane.until(lambda: health(plane, arn)[0] == "HEALTHY")


@virtual_time
async def test_an_unhealthy_task_of_a_service_is_replaced(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[PROBED])
        plane.ask("CreateService", serviceName="web", taskDefinition="web", desiredCount=1, launchType="FARGATE",
                  networkConfiguration=plane.network())
        await plane.steady()
        (first,) = plane.tasks()
        assert not any("steady state" in event["message"] for event in plane.service()["events"])
        await plane.until(lambda: health(plane, first)[0] == "HEALTHY")
        await plane.until(lambda: any("steady state" in event["message"] for event in plane.service()["events"]))
        plane.world.containers.sick[plane.world.containers.running()[0]] = None  # it hangs
        task = await plane.becomes(first, "STOPPED")
        assert (task["stopCode"], task["stoppedReason"], task["healthStatus"]) == (
            "ServiceSchedulerInitiated", "Task failed container health checks", "UNHEALTHY")
        assert any("has stopped 1 running tasks" in event["message"] for event in plane.service()["events"])
        await plane.steady()
        (second,) = plane.tasks()
        assert second != first
        await plane.until(lambda: health(plane, second)[0] == "HEALTHY")


@virtual_time
async def test_probes_go_on_after_a_crash_and_on_a_bad_day(plane: Plane) -> None:
    plane.world.containers.programs[IMAGE] = Program(healthy_after_s=60)
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[PROBED])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        await plane.until(lambda: health(plane, arn)[0] == "UNHEALTHY")
        plane.world.faults = Faults(lag_s=0.5, busy=0.3, lost=0.3)
        for pause in (3, 12, 20):
            await plane.crash()
            await plane.clock.sleep(pause)
            plane.start()
            assert health(plane, arn)[0] == "UNHEALTHY"  # what was seen last
        await plane.until(lambda: health(plane, arn)[0] == "HEALTHY", 120)
        plane.world.faults = Faults()
        plane.ask("StopTask", task=arn)
        await plane.becomes(arn, "STOPPED")


@virtual_time
async def test_a_task_that_a_reset_forgot_is_left_alone(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[PROBED])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        heard: list[str] = []
        plane.world.trace = lambda text: heard.append(text) if text.startswith("probe") else None
        await plane.until(lambda: heard)
        with plane.store.tx() as tx:
            tx.clear()
        heard.clear()
        await plane.clock.sleep(60)
        assert heard == []
