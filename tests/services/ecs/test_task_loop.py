"""Tasks from RunTask to forgotten, on fake engines in virtual time."""

import json
from typing import Any

import pytest

from cloudlet.engines.fake import Faults, Program
from cloudlet.engines.ports import Interface, InterfaceSpec
from cloudlet.kernel.errors import Busy
from cloudlet.services import iam
from cloudlet.services.ecs.api import ClientException, InvalidParameterException
from tests.services.ecs.plane import ACCOUNT, IMAGE, Plane, virtual_time


@virtual_time
async def test_a_task_runs_until_it_is_stopped(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        (arn,) = plane.run(startedBy="me", group="g", tags=[{"key": "k", "value": "v"}])
        fresh = plane.task(arn)
        assert (fresh["lastStatus"], fresh["desiredStatus"]) == ("PROVISIONING", "RUNNING")
        task = await plane.becomes(arn, "RUNNING")
        assert (task["startedBy"], task["group"], task["connectivity"]) == ("me", "g", "CONNECTED")
        assert task["createdAt"] <= task["pullStartedAt"] <= task["pullStoppedAt"] <= task["startedAt"]
        (attachment,) = task["attachments"]
        assert (attachment["type"], attachment["status"]) == ("ElasticNetworkInterface", "ATTACHED")
        details = {detail["name"]: detail["value"] for detail in attachment["details"]}
        assert set(details) == {"subnetId", "networkInterfaceId", "macAddress", "privateDnsName", "privateIPv4Address"}
        (container,) = task["containers"]
        assert container["lastStatus"] == "RUNNING"
        assert container["networkInterfaces"][0]["privateIpv4Address"] == details["privateIPv4Address"]
        assert len(container["runtimeId"]) == 64
        assert plane.ask("DescribeClusters")["clusters"][0]["runningTasksCount"] == 1
        assert plane.tasks() == plane.tasks(startedBy="me") == plane.tasks(family="web") == [arn]
        assert plane.tasks(desiredStatus="STOPPED") == plane.tasks(startedBy="you") == []
        assert plane.ask("StopTask", task=arn, reason="enough")["task"]["desiredStatus"] == "STOPPED"
        task = await plane.becomes(arn, "STOPPED")
        assert (task["stopCode"], task["stoppedReason"], task["containers"][0]["exitCode"]) == (
            "UserInitiated", "enough", 0)
        assert task["stoppingAt"] <= task["executionStoppedAt"] <= task["stoppedAt"]
        assert plane.tasks(desiredStatus="STOPPED") == [arn]
        assert plane.world.containers.bodies == {}
        await plane.until(lambda: not plane.world.networks.interfaces)
        await plane.clock.sleep(3590)
        assert plane.task(arn)
        await plane.clock.sleep(20)
        gone = plane.ask("DescribeTasks", tasks=[arn])
        assert (gone["tasks"], gone["failures"]) == ([], [{"arn": arn, "reason": "MISSING"}])


@virtual_time
async def test_what_ends_by_itself_says_how(plane: Plane) -> None:
    plane.world.containers.programs[IMAGE] = Program(exits_after_s=2.0, exit_code=3)
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        (arn,) = plane.run()
        task = await plane.becomes(arn, "STOPPED")
        assert (task["stopCode"], task["stoppedReason"]) == (
            "EssentialContainerExited", "Essential container in task exited")
        assert task["containers"][0]["exitCode"] == 3
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        plane.world.containers.exit(plane.world.containers.running()[0], 137, out_of_memory=True)
        task = await plane.becomes(arn, "STOPPED")
        assert task["containers"][0]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


@virtual_time
async def test_containers_share_a_namespace_and_end_with_the_essential_one(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[{"name": "a"}, {"name": "b", "essential": False}])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        one, two = (body.spec for body in plane.world.containers.bodies.values())
        assert (one.namespace, one.group) == (two.namespace, two.group)
        plane.world.containers.exit(two.name, 9)
        await plane.clock.sleep(1)
        task = plane.task(arn)
        assert [(c["lastStatus"], c.get("exitCode")) for c in task["containers"]] == [("RUNNING", None), ("STOPPED", 9)]
        assert task["lastStatus"] == "RUNNING"
        plane.world.containers.exit(one.name, 0)
        await plane.becomes(arn, "STOPPED")


@virtual_time
async def test_one_that_ignores_the_signal_is_killed_after_its_time_even_across_a_crash(plane: Plane) -> None:
    plane.world.containers.programs[IMAGE] = Program(stop_code=None)
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[{"stopTimeout": 10}])
        (arn,) = plane.run()
        await plane.becomes(arn, "RUNNING")
        plane.ask("StopTask", task=arn)
        await plane.becomes(arn, "STOPPING")
        asked = plane.clock.now()
        await plane.clock.sleep(3)
        await plane.crash()
        await plane.clock.sleep(3)
        plane.start()
        task = await plane.becomes(arn, "STOPPED")
        assert 9.9 < task["stoppedAt"] - asked < 10.5
        assert task["containers"][0]["exitCode"] == 137


@virtual_time
async def test_an_image_that_cannot_be_pulled(plane: Plane) -> None:
    plane.world.images.refusals[IMAGE] = "no route to host"
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        plane.register("mine", [{"image": "localhost:4599/nothing:1"}])
        (elsewhere,), (here,) = plane.run(), plane.run("mine")
        task = await plane.becomes(elsewhere, "STOPPED")
        assert (task["stopCode"], task["stoppedReason"]) == (
            "TaskFailedToStart", "CannotPullContainerError: no route to host")
        assert task["containers"][0]["reason"] == "CannotPullContainerError: no route to host"
        task = await plane.becomes(here, "STOPPED")
        assert task["stoppedReason"].startswith(
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref"
            " localhost:4599/nothing:1: ")
        await plane.until(lambda: not plane.world.networks.interfaces)


@virtual_time
async def test_a_role_or_log_group_that_is_not_there_stops_the_task(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register("role", taskRoleArn="arn:aws:iam::123456789012:role/nobody")
        plane.register("logs", [{"logConfiguration": {"logDriver": "awslogs", "options": {
            "awslogs-group": "nowhere", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}}}])
        (role,), (logs,) = plane.run("role"), plane.run("logs")
        assert (await plane.becomes(role, "STOPPED"))["stoppedReason"].startswith(
            "ECS was unable to assume the role 'arn:aws:iam::123456789012:role/nobody' that was provided")
        task = await plane.becomes(logs, "STOPPED")
        assert task["stoppedReason"] == (
            "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times:"
            " failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not"
            " exist. : exit status 1")
        assert task["stopCode"] == "TaskFailedToStart"


@virtual_time
async def test_a_reboot_ends_tasks_and_a_crash_does_not(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        (arn,) = plane.run()
        runtime = (await plane.becomes(arn, "RUNNING"))["containers"][0]["runtimeId"]
        await plane.crash()
        plane.start()
        await plane.clock.sleep(5)
        task = plane.task(arn)
        assert (task["lastStatus"], task["containers"][0]["runtimeId"]) == ("RUNNING", runtime)
        await plane.crash()
        plane.world.containers.vanish(plane.world.containers.running()[0])
        plane.start()
        task = await plane.becomes(arn, "STOPPED")
        assert (task["stopCode"], task["stoppedReason"]) == ("InfrastructureHealth", "The task's host was restarted.")


@virtual_time
async def test_an_interface_that_never_comes(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(spec: InterfaceSpec) -> Interface:
        raise Busy("not now")
    monkeypatch.setattr(plane.world.networks, "ensure_interface", never)
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        (arn,) = plane.run()
        await plane.clock.sleep(590)
        assert plane.task(arn)["lastStatus"] == "PROVISIONING"
        task = await plane.becomes(arn, "STOPPED")
        assert (task["stopCode"], task["stoppedReason"]) == (
            "TaskFailedToStart", "Timeout waiting for network interface provisioning to complete.")


@virtual_time
async def test_stopping_before_it_runs(plane: Plane) -> None:
    plane.world.faults = Faults(lag_s=1.0)
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        for pause in (0.0, 0.5, 1.0, 2.0, 4.0):
            (arn,) = plane.run()
            await plane.clock.sleep(pause)
            plane.ask("StopTask", task=arn)
            task = await plane.becomes(arn, "STOPPED")
            assert task["stopCode"] == "UserInitiated"
            assert plane.world.containers.bodies == {}


@pytest.mark.parametrize(("change", "error", "words"), [
    ({"count": 11}, InvalidParameterException, "Count must be between 1 and 10"),
    ({"taskDefinition": "nothing"}, ClientException, "TaskDefinition not found."),
    ({"networkConfiguration": None}, InvalidParameterException,
     "Network Configuration must be provided when networkMode 'awsvpc' is specified."),
    ({"launchType": "EC2"}, InvalidParameterException, "No Container Instances were found in your cluster."),
    ({"launchType": None}, InvalidParameterException, "No Container Instances were found in your cluster."),
    ({"capacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}, InvalidParameterException,
     "both a launch type and capacity provider strategy"),
    ({"platformVersion": "9"}, Exception, "The specified platform does not exist."),
    ({"group": "service:web"}, InvalidParameterException, "group name"),
    ({"enableExecuteCommand": True}, InvalidParameterException, "enableExecuteCommand is not supported"),
    ({"placementStrategy": [{"type": "random"}]}, InvalidParameterException, "Placement strategies are not supported"),
    ({"overrides": {"containerOverrides": [{"name": "x"}]}}, InvalidParameterException,
     "Override for container named x is not a container in the TaskDefinition."),
    ({"overrides": {"cpu": "256", "memory": "8192"}}, InvalidParameterException, "No Fargate configuration exists"),
    ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}, InvalidParameterException,
     "Error retrieving subnet information for [subnet-1]: The subnet ID 'subnet-1' does not exist"
     " (ErrorCode: InvalidSubnetID.NotFound)"),
])
def test_run_task_refuses(plane: Plane, change: dict[str, Any], error: type[Exception], words: str) -> None:
    @virtual_time
    async def play() -> None:
        async with plane:
            plane.ask("CreateCluster")
            plane.register()
            with pytest.raises(error) as caught:
                plane.run(**change)
            assert words in str(caught.value)
            assert plane.tasks() == []
    play()


@virtual_time
async def test_run_task_takes_groups_public_addresses_providers_and_overrides(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register(tags=[{"key": "of", "value": "definition"}])
        group = plane.ask("DescribeSecurityGroups")["SecurityGroups"][0]["GroupId"]
        with pytest.raises(InvalidParameterException, match=r"InvalidGroup\.NotFound"):
            plane.run(networkConfiguration=plane.network(securityGroups=["sg-0123456789abcdef0"]))
        (arn,) = plane.run(
            networkConfiguration=plane.network(securityGroups=[group], assignPublicIp="ENABLED"), launchType=None,
            capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT"}], propagateTags="TASK_DEFINITION",
            enableECSManagedTags=True, referenceId="a scheduler's",
            overrides={"cpu": "512", "memory": "1024", "containerOverrides": [{"name": "web", "command": ["x"]}]})
        task = await plane.becomes(arn, "RUNNING")
        assert (task["capacityProviderName"], task["cpu"], task["memory"]) == ("FARGATE_SPOT", "512", "1024")
        assert task["overrides"]["containerOverrides"] == [{"name": "web", "command": ["x"]}]
        assert "a scheduler's" not in task.values()
        tags = plane.ask("DescribeTasks", tasks=[arn], include=["TAGS"])["tasks"][0]["tags"]
        assert tags == [{"key": "aws:ecs:clusterName", "value": "default"}, {"key": "of", "value": "definition"}]
        interface = next(d["value"] for d in task["attachments"][0]["details"] if d["name"] == "networkInterfaceId")
        shown = plane.ask("DescribeNetworkInterfaces", NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
        assert shown["Association"]["PublicIp"]
        assert [g["GroupId"] for g in shown["Groups"]] == [group]
        (body,) = plane.world.containers.bodies.values()
        assert (body.spec.command, body.spec.group.cpus) == (("x",), 0.5)


@virtual_time
async def test_describe_and_stop_what_is_not_there(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        with pytest.raises(InvalidParameterException, match=r"taskId length should be one of \[32,36\]"):
            plane.ask("DescribeTasks", tasks=["x"])
        with pytest.raises(InvalidParameterException, match=r"for cluster other\. Your cluster is default"):
            plane.ask("DescribeTasks", tasks=["arn:aws:ecs:us-east-1:123456789012:task/other/" + "0" * 32])
        with pytest.raises(InvalidParameterException, match=r"The referenced task was not found\."):
            plane.ask("StopTask", task="0" * 32)
        with pytest.raises(InvalidParameterException, match="more than 100"):
            plane.ask("DescribeTasks", tasks=["0" * 32] * 101)


@virtual_time
async def test_many_crashes_end_well(plane: Plane) -> None:
    """The control plane dies every half second while tasks come and go; nothing is lost, doubled or left."""
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        plane.world.faults = Faults(lag_s=0.3, busy=0.05, lost=0.05)
        arns = []
        for round_ in range(12):
            arns += plane.run(count=2)
            if round_ % 3 == 2:
                plane.ask("StopTask", task=arns[round_])
            await plane.clock.sleep(0.5)
            await plane.crash()
            plane.start()
        plane.world.faults = Faults()
        stopped = {arns[round_] for round_ in range(12) if round_ % 3 == 2}
        for arn in arns:
            await plane.becomes(arn, "STOPPED" if arn in stopped else "RUNNING", 300)
        assert len(plane.world.containers.running()) == len(arns) - len(stopped)
        assert set(plane.world.containers.starts.values()) == {1}




def started(plane: Plane) -> dict[str, float]:
    """When each container that there is was started, by its own name."""
    return {name.rpartition("-")[2]: body.seen.started_at or 0.0
            for name, body in plane.world.containers.bodies.items()}


@virtual_time
async def test_containers_start_in_order_whatever_is_killed_when(plane: Plane) -> None:
    """A migration, a database that gets well, the program, its proxy: up in order, and down in reverse."""
    programs = plane.world.containers.programs
    programs["migrate:1"], programs["db:1"] = Program(exits_after_s=3), Program(healthy_after_s=4)
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[
            {"name": "app", "image": "app:1", "dependsOn": [
                {"containerName": "migrate", "condition": "SUCCESS"}, {"containerName": "db", "condition": "HEALTHY"}]},
            {"name": "migrate", "image": "migrate:1", "essential": False},
            {"name": "db", "image": "db:1", "healthCheck": {"command": ["CMD", "true"], "interval": 5}},
            {"name": "proxy", "image": "proxy:1", "dependsOn": [{"containerName": "app", "condition": "START"}]}])
        (arn,) = plane.run()
        while plane.task(arn)["lastStatus"] != "RUNNING":
            assert plane.clock.now() - plane.task(arn)["createdAt"] < 60
            await plane.clock.sleep(0.7)
            await plane.crash()
            plane.start()
        times = started(plane)
        assert times["app"] >= max(times["migrate"] + 3, times["db"] + 4)
        assert times["proxy"] >= times["app"]
        assert set(plane.world.containers.starts.values()) == {1}
        heard: list[str] = []
        plane.world.trace = lambda text: heard.append(text.rpartition("-")[2]) if text.startswith("exited") else None
        plane.ask("StopTask", task=arn)
        await plane.becomes(arn, "STOPPED")
        assert [text.partition(" ")[0] for text in heard].index("proxy") == 0
        assert heard[1].startswith("app")


@virtual_time
async def test_a_dependency_that_fails_or_is_late_fails_the_task(plane: Plane) -> None:
    plane.world.containers.programs["broken:1"] = Program(exits_after_s=1, exit_code=2)
    async with plane:
        plane.ask("CreateCluster")
        for family, image in (("broken", "broken:1"), ("late", "late:1")):
            plane.register(family, [
                {"dependsOn": [{"containerName": "init", "condition": "SUCCESS"}]},
                {"name": "init", "image": image, "essential": False, "startTimeout": 10}])
        (broken,), (late,) = plane.run("broken"), plane.run("late")
        for arn, why in ((broken, "did not exit successfully."), (late, "has timed out.")):
            task = await plane.becomes(arn, "STOPPED")
            assert (task["stopCode"], task["stoppedReason"]) == ("TaskFailedToStart", "Task failed to start")
            assert task["containers"][0]["reason"].endswith(why)
            assert "exitCode" not in task["containers"][0]
        assert plane.task(late)["stoppingAt"] - plane.task(late)["createdAt"] >= 10
        assert all("web" not in name for name in plane.world.containers.starts)


@virtual_time
async def test_a_restart_policy_keeps_the_task(plane: Plane) -> None:
    plane.world.containers.programs[IMAGE] = Program(("hello",), exits_after_s=100, exit_code=1)
    async with plane:
        plane.ask("CreateCluster")
        plane.register(containers=[{"restartPolicy": {"enabled": True, "restartAttemptPeriod": 60}}])
        (arn,) = plane.run()
        runtime = (await plane.becomes(arn, "RUNNING"))["containers"][0]["runtimeId"]
        plane.world.faults = Faults(lag_s=0.5, busy=0.2, lost=0.2)
        for restarts in (1, 2):
            await plane.clock.sleep(95)
            await plane.crash()
            await plane.clock.sleep(10 * restarts)
            plane.start()
            (name,) = plane.world.containers.bodies
            await plane.until(lambda n=name, r=restarts: plane.world.containers.starts[n] == r + 1)  # type: ignore[misc]
            assert plane.task(arn)["lastStatus"] == "RUNNING"
        plane.world.faults = Faults()
        await plane.until(lambda: plane.task(arn)["containers"][0]["lastStatus"] == "RUNNING")
        assert plane.task(arn)["containers"][0]["runtimeId"] == runtime
        assert "exitCode" not in plane.task(arn)["containers"][0]
        plane.world.containers.exit(name, 1)  # too soon
        task = await plane.becomes(arn, "STOPPED")
        assert (task["stopCode"], task["containers"][0]["exitCode"]) == ("EssentialContainerExited", 1)
        assert plane.world.containers.starts[name] == 3


@virtual_time
async def test_an_image_of_another_account_is_pulled_as_the_execution_role(plane: Plane) -> None:
    """Which its owner's policies must let in; Cloudlet's own right to pull ends at the account."""
    image = "210987654321.dkr.ecr.us-east-1.amazonaws.com/app:1"
    async with plane:
        with plane.store.tx() as tx:
            role = iam.iam.operations["CreateRole"].run(plane.call(), tx, {
                "RoleName": "pull", "AssumeRolePolicyDocument": json.dumps({
                    "Version": "2012-10-17", "Statement": [{
                        "Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                        "Action": "sts:AssumeRole"}]})})["Role"]
        plane.ask("CreateCluster")
        plane.register(containers=[{"image": image}], executionRoleArn=role["Arn"])
        (arn,) = plane.run()
        task = await plane.becomes(arn, "STOPPED")
        assert task["stoppedReason"].startswith("CannotPullContainerError: ")
        assert (f"User: arn:aws:sts::{ACCOUNT}:assumed-role/pull/ecs is not authorized to perform: "
                "ecr:BatchCheckLayerAvailability on resource: arn:aws:ecr:us-east-1:210987654321:repository/app "
                "because no resource-based policy allows") in task["stoppedReason"]
