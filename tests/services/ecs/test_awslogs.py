"""Containers' output in CloudWatch Logs: every line once, whoever dies."""

from typing import Any

import pytest

from cloudlet.engines.fake import Faults, Program
from cloudlet.engines.ports import LogChunk
from cloudlet.services.logs import logs
from cloudlet.store.db import OutOfSpace
from tests.services.ecs.plane import IMAGE, Plane, virtual_time


def awslogs(**more: str) -> dict[str, Any]:
    return {"logConfiguration": {"logDriver": "awslogs", "options": {
        "awslogs-group": "/ecs/web", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p",
        "awslogs-create-group": "true", **more}}}


def lines(plane: Plane, arn: str, group: str = "/ecs/web") -> list[str]:
    """The messages of a task's stream, as GetLogEvents pages them."""
    found, token = list[str](), None
    while True:
        with plane.store.tx() as tx:
            answer = logs.operations["GetLogEvents"].run(plane.call(), tx, {
                "logGroupName": group, "logStreamName": f"p/web/{arn.rsplit('/', 1)[1]}", "startFromHead": True,
                **({"nextToken": token} if token else {})})
        found += [event["message"] for event in answer["events"]]
        if answer["nextForwardToken"] == token or not answer["events"]:
            return found
        token = answer["nextForwardToken"]


@virtual_time
async def test_lines_arrive_promptly_and_the_last_before_the_task_has_stopped(plane: Plane) -> None:
    plane.world.containers.programs[IMAGE] = Program(lines=("hello", "world"))
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[awslogs()])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        await plane.clock.sleep(0.25)
        assert lines(plane, arn) == ["hello", "world"]
        (name,) = plane.world.containers.running()
        await plane.clock.sleep(30)
        plane.world.containers.write(name, "still there")
        await plane.clock.sleep(0.25)
        assert lines(plane, arn)[2:] == ["still there"]
        await plane.clock.sleep(600)
        plane.world.containers.write(name, "and there")
        await plane.clock.sleep(1.05)
        assert lines(plane, arn)[3:] == ["and there"]
        plane.world.containers.write(name, "goodbye")
        plane.world.containers.exit(name, 0)
        await plane.becomes(arn, "STOPPED")
        assert lines(plane, arn)[4:] == ["goodbye"]
        assert plane.world.containers.bodies == {}


@virtual_time
async def test_no_line_is_lost_or_doubled_by_crashes(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[awslogs()])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        (name,) = plane.world.containers.running()
        plane.world.faults = Faults(lag_s=0.2, busy=0.1, lost=0.1)
        for number in range(400):
            plane.world.containers.write(name, f"{number}")
            if number % 4 == 0:
                await plane.clock.sleep(0.07)
            if number % 50 == 49:
                await plane.crash()
                plane.world.containers.write(name, f"{number} in the dark")
                plane.start()
        plane.ask("StopTask", task=arn)
        await plane.becomes(arn, "STOPPED")
        found = lines(plane, arn)
        assert [line for line in found if " " not in line] == [str(number) for number in range(400)]
        assert len(found) == 408


@virtual_time
async def test_lines_of_an_event_are_shipped_as_one_whoever_dies(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[awslogs(**{"awslogs-multiline-pattern": "^ERROR"})])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        (name,) = plane.world.containers.running()
        plane.world.faults = Faults(lag_s=0.1, busy=0.1, lost=0.1)
        said = [text for number in range(60) for text in (f"ERROR {number}", "  at a", f"  at b {number}")]
        for count, text in enumerate(said):
            plane.world.containers.write(name, text)
            await plane.clock.sleep(0.06)
            if count % 25 == 24:
                await plane.crash()
                plane.start()
        await plane.clock.sleep(8)  # the last event has no successor: it is shipped for its age, while the task runs
        events = lines(plane, arn)
        assert events == [f"ERROR {number}\n  at a\n  at b {number}\n" for number in range(60)]
        plane.world.containers.write(name, "ERROR last")
        plane.ask("StopTask", task=arn)
        await plane.becomes(arn, "STOPPED")
        assert lines(plane, arn)[60:] == ["ERROR last\n"]


@virtual_time
async def test_a_full_disk_delays_lines_and_loses_none(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[awslogs(**{"awslogs-datetime-format": "%H:%M"})])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        (name,) = plane.world.containers.running()

        def full(*args: object) -> None:
            raise OutOfSpace
        with monkeypatch.context() as patch:
            patch.setattr("cloudlet.services.logs.append", full)
            plane.world.containers.write(name, "12:00 one")
            plane.world.containers.write(name, "12:01 two")
            await plane.clock.sleep(30)
            assert lines(plane, arn) == []
            await plane.crash()
            plane.start()
            await plane.clock.sleep(3)
        await plane.clock.sleep(90)
        assert lines(plane, arn) == ["12:00 one\n", "12:01 two\n"]


@virtual_time
async def test_the_driver_none_keeps_nothing(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[{"logConfiguration": {"logDriver": "none"}}])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        (body,) = plane.world.containers.bodies.values()
        assert not body.spec.keep_log


@virtual_time
async def test_a_group_that_is_deleted_loses_lines_and_nothing_else(plane: Plane) -> None:
    plane.world.containers.programs[IMAGE] = Program(lines=("hello",))
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[awslogs()])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        await plane.clock.sleep(0.25)
        with plane.store.tx() as tx:
            logs.operations["DeleteLogGroup"].run(plane.call(), tx, {"logGroupName": "/ecs/web"})
        (name,) = plane.world.containers.running()
        plane.world.containers.write(name, "into the void")
        await plane.clock.sleep(1)
        plane.ask("StopTask", task=arn)
        await plane.becomes(arn, "STOPPED")


@virtual_time
async def test_without_a_driver_nothing_is_shipped(plane: Plane) -> None:
    plane.world.containers.programs[IMAGE] = Program(lines=("hello",))
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[{"logConfiguration": {"logDriver": "json-file"}}])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        with pytest.raises(Exception, match="does not exist"):
            lines(plane, arn)


@virtual_time
async def test_a_log_whose_end_comes_late_holds_nobody_up(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine may know that a container has ended before its log says so; reading it does not even yield."""
    containers, since = plane.world.containers, list[float]()

    async def read_log(name: str, offset: int, limit: int = 0) -> LogChunk:
        since.append(plane.clock.now())
        return LogChunk((), offset, whole=plane.clock.now() - since[0] > 1)
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[awslogs()])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        monkeypatch.setattr(containers, "read_log", read_log)
        plane.ask("StopTask", task=arn)
        await plane.becomes(arn, "STOPPED")
        assert since[-1] - since[0] > 1
