"""Services from CreateService to forgotten, on fake engines in virtual time."""

from typing import Any

import pytest

from cloudlet.engines.fake import Faults, Program
from cloudlet.kernel.errors import AwsError
from cloudlet.services.ecs.api import InvalidParameterException
from tests.services.ecs.plane import IMAGE, Plane, create, said, virtual_time


@virtual_time
async def test_a_service_comes_up_scales_and_goes(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        made = create(plane)
        assert (made["status"], made["runningCount"], made["deployments"][0]["rolloutState"]) == (
            "ACTIVE", 0, "IN_PROGRESS")
        service = await plane.steady()
        (deployment,) = service["deployments"]
        assert (deployment["status"], deployment["rolloutState"]) == ("PRIMARY", "IN_PROGRESS")
        (deployment,) = (await plane.completed())["deployments"]
        assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} completed."
        newest, completed, started = said(plane)
        assert newest == "(service web) has reached a steady state."
        assert completed == f"(service web) (deployment {deployment['id']}) deployment completed."
        assert started.startswith("(service web) has started 2 tasks: (task ")
        tasks = [plane.task(arn) for arn in plane.tasks(serviceName="web")]
        assert {task["startedBy"] for task in tasks} == {deployment["id"]}
        assert {task["group"] for task in tasks} == {"service:web"}
        assert len({task["attachments"][0]["details"][0]["value"] for task in tasks}) == 2
        plane.ask("UpdateService", service="web", desiredCount=5)
        assert (await plane.steady())["runningCount"] == 5
        plane.ask("UpdateService", service="web", desiredCount=1)
        await plane.until(lambda: "has reached a steady state" in said(plane)[0])
        assert "has stopped 4 running tasks: (task " in said(plane)[1]
        assert plane.service()["deployments"][0]["id"] == deployment["id"]
        stopped = [plane.task(arn) for arn in plane.tasks(desiredStatus="STOPPED")]
        assert {task["stopCode"] for task in stopped} == {"ServiceSchedulerInitiated"}
        assert {task["stoppedReason"] for task in stopped} == {
            f"Scaling activity initiated by (deployment {deployment['id']})"}
        with pytest.raises(InvalidParameterException, match="cannot be stopped while it is scaled above 0"):
            plane.ask("DeleteService", service="web")
        assert plane.ask("ListServices")["serviceArns"] == [service["serviceArn"]]
        assert plane.ask("DeleteService", service="web", force=True)["service"]["status"] == "DRAINING"
        with pytest.raises(InvalidParameterException, match="still Draining"):
            create(plane)
        await plane.until(lambda: plane.service()["status"] == "INACTIVE")
        assert plane.ask("ListServices")["serviceArns"] == []
        for operation in ("UpdateService", "DeleteService"):
            with pytest.raises(Exception, match=r"Service not found\.|Service was not ACTIVE\."):
                plane.ask(operation, service="web")
        plane.ask("DeleteCluster", cluster="default")
        plane.ask("CreateCluster")
        await plane.clock.sleep(3700)
        assert plane.ask("DescribeServices", services=["web"])["failures"][0]["reason"] == "MISSING"
        assert plane.world.containers.bodies == plane.world.networks.interfaces == {}


@virtual_time
async def test_a_task_that_dies_or_is_stopped_is_replaced_at_once(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane)
        await plane.steady()
        for _ in range(12):  # being killed from outside does not slow the scheduler down
            plane.world.containers.exit(plane.world.containers.running()[0], 137)
            await plane.clock.sleep(0.2)
            assert plane.service()["runningCount"] == 2
        plane.ask("StopTask", task=plane.tasks()[0])
        await plane.clock.sleep(0.2)
        assert plane.service()["runningCount"] == 2
        assert plane.service()["deployments"][0]["failedTasks"] == 0


@virtual_time
async def test_a_new_definition_rolls_without_a_gap(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 3)
        await plane.steady()
        plane.world.faults = Faults(lag_s=0.5)
        plane.register()
        answer = plane.ask("UpdateService", service="web", taskDefinition="web")["service"]
        assert [(d["status"], d["desiredCount"]) for d in answer["deployments"]] == [("PRIMARY", 3), ("ACTIVE", 0)]

        def rolled() -> bool:
            running, pending = (plane.service()[name] for name in ("runningCount", "pendingCount"))
            assert running >= 3
            assert running + pending <= 6
            return len(plane.service()["deployments"]) == 1
        await plane.until(rolled)
        assert {plane.task(arn)["taskDefinitionArn"][-5:] for arn in plane.tasks()} == {"web:2"}
        before = set(plane.tasks())
        plane.ask("UpdateService", service="web", taskDefinition="web:2")
        await plane.clock.sleep(5)
        assert set(plane.tasks()) == before
        plane.ask("UpdateService", service="web", forceNewDeployment=True)
        await plane.clock.sleep(0.2)
        await plane.steady()
        assert not before & set(plane.tasks())


@virtual_time
async def test_tasks_that_keep_failing_are_started_less_and_less_often(plane: Plane) -> None:
    plane.world.containers.programs[IMAGE] = Program(exits_after_s=0.1, exit_code=1)
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 1)
        await plane.clock.sleep(60)
        assert 5 <= sum(plane.world.containers.starts.values()) <= 9
        impaired = "(service web) is unable to consistently start tasks successfully."
        assert sum(message.startswith(impaired) for message in said(plane)) == 1
        assert plane.service()["deployments"][0]["failedTasks"] >= 5
        plane.register("good", [{"image": "good:1"}])
        plane.ask("UpdateService", service="web", taskDefinition="good")
        await plane.steady()


@virtual_time
async def test_failures_are_forgotten_once_tasks_have_proven_themselves(plane: Plane) -> None:
    plane.world.containers.programs[IMAGE] = Program(exits_after_s=0.1, exit_code=1)
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 1)
        await plane.clock.sleep(10)
        plane.world.containers.programs.clear()
        await plane.until(lambda: plane.service()["runningCount"] == 1, 60)
        assert plane.service()["deployments"][0]["failedTasks"] >= 3
        await plane.clock.sleep(6)
        assert plane.service()["deployments"][0]["failedTasks"] == 0


@virtual_time
async def test_a_subnet_without_addresses_is_said_and_tried_again(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        vpc = plane.ask("CreateVpc", CidrBlock="10.0.0.0/24")["Vpc"]["VpcId"]
        subnet = plane.ask("CreateSubnet", VpcId=vpc, CidrBlock="10.0.0.0/28")["Subnet"]["SubnetId"]
        create(plane, 13, networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}})
        await plane.until(lambda: plane.service()["runningCount"] == 11)
        assert any("was unable to place a task. Reason: The specified subnet" in message for message in said(plane))
        plane.ask("UpdateService", service="web", desiredCount=10)
        await plane.steady()


@virtual_time
async def test_services_come_back_after_a_reboot(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 4)
        await plane.steady()
        await plane.clock.sleep(10)
        await plane.crash()
        plane.world.reboot()
        plane.start()
        await plane.clock.sleep(1)
        service = await plane.steady()
        assert service["runningCount"] == len(plane.world.containers.running()) == 4
        assert service["deployments"][0]["failedTasks"] == 0


@virtual_time
async def test_many_crashes_end_at_the_wanted_number(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 3)
        plane.world.faults = Faults(lag_s=0.3, busy=0.05, lost=0.05, deaf=0.2)
        for count in (3, 6, 1, 4, 2, 5):
            plane.ask("UpdateService", service="web", desiredCount=count, forceNewDeployment=count == 4)
            await plane.clock.sleep(0.7)
            await plane.crash()
            plane.start()
        plane.world.faults = Faults()
        await plane.clock.sleep(60)
        assert plane.service()["runningCount"] == len(plane.world.containers.running()) == 5
        assert len(plane.world.networks.interfaces) == 5
        assert len(plane.service()["deployments"]) == 1


@virtual_time
async def test_tags_are_propagated(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane, 1, tags=[{"key": "k", "value": "v"}], propagateTags="SERVICE", enableECSManagedTags=True)
        await plane.steady()
        arn = plane.service()["serviceArn"]
        assert plane.ask("ListTagsForResource", resourceArn=arn)["tags"] == [{"key": "k", "value": "v"}]
        assert plane.ask("ListTagsForResource", resourceArn=plane.tasks()[0])["tags"] == [
            {"key": "aws:ecs:clusterName", "value": "default"}, {"key": "aws:ecs:serviceName", "value": "web"},
            {"key": "k", "value": "v"}]


@virtual_time
async def test_a_strategy_shares_tasks_between_providers(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        strategy = [{"capacityProvider": "FARGATE", "base": 1, "weight": 1},
                    {"capacityProvider": "FARGATE_SPOT", "base": 0, "weight": 3}]
        create(plane, 5, launchType=None, capacityProviderStrategy=strategy)
        service = await plane.steady()
        assert service["capacityProviderStrategy"] == strategy
        providers = [plane.task(arn)["capacityProviderName"] for arn in plane.tasks()]
        assert sorted(providers) == ["FARGATE"] * 2 + ["FARGATE_SPOT"] * 3


@pytest.mark.parametrize(("change", "words"), [
    ({"schedulingStrategy": "DAEMON"}, "The daemon scheduling strategy does not support the FARGATE launch type."),
    ({"desiredCount": None}, "DesiredCount is missing"),
    ({"taskDefinition": None}, "TaskDefinition can not be blank."),
    ({"taskDefinition": "nothing"}, "TaskDefinition not found."),
    ({"serviceName": "a b"}, "Service name"),
    ({"loadBalancers": [{"containerName": "web"}]}, "loadBalancers is not supported by Cloudlet yet."),
    ({"enableExecuteCommand": True}, "enableExecuteCommand is not supported by Cloudlet yet."),
    ({"deploymentController": {"type": "EXTERNAL"}}, "The deployment controller EXTERNAL is not supported"),
    ({"healthCheckGracePeriodSeconds": 5}, "Health check grace period is only valid"),
    ({"deploymentConfiguration": {"alarms": {"enable": True, "rollback": True, "alarmNames": ["a"]}}},
     "alarms is not supported by Cloudlet yet."),
    ({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}, "The deployment strategy BLUE_GREEN"),
    ({"deploymentConfiguration": {"deploymentCircuitBreaker": {
        "enable": True, "rollback": True, "thresholdConfiguration": {"type": "COUNT", "value": 0}}}}, "at least 1"),
    ({"deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 100},
      "availabilityZoneRebalancing": "ENABLED"}, "requires a maximumPercent greater than 100"),
    ({"deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 100}},
     "cannot be 100 as this will block deployments"),
    ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}, "InvalidSubnetID.NotFound"),
])
def test_create_service_refuses(plane: Plane, change: dict[str, Any], words: str) -> None:
    @virtual_time
    async def play() -> None:
        async with plane:
            plane.ask("CreateCluster")
            plane.register()
            with pytest.raises(AwsError) as caught:
                create(plane, **change)
            assert words in str(caught.value)
            assert plane.ask("ListServices")["serviceArns"] == []
    play()


@virtual_time
async def test_a_service_cannot_be_made_twice(plane: Plane) -> None:
    async with plane:
        plane.ask("CreateCluster")
        plane.register()
        create(plane)
        with pytest.raises(InvalidParameterException, match="not idempotent"):
            create(plane)
